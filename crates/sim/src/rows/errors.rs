//! Rollbacks of new variants that are not worse.

use ensign_control::ids::Span;

use super::Ask;
use super::detect::{TRAFFIC, full};
use crate::fleet::{Asked, Law, Outcome, Traffic};
use crate::guards::{self, NONE};
use crate::pilot::{End, Pilot};
use crate::random::Random;
use crate::report::Row;

/// The period of the drifting baseline, seconds.
const PERIOD: f64 = 240.0;

/// Every metric drifts with the time of day, in both arms alike.
fn drifting(asked: &Asked, random: &mut Random) -> Outcome {
    let wave = libm::sin(asked.seconds / PERIOD * std::f64::consts::TAU);
    let mut outcome = full(0.015 * (1.0 + 0.6 * wave), random);
    outcome.seconds *= 1.0 + 0.25 * wave;
    outcome.tokens_out = outcome.tokens_out.map(|n| (f64::from(n) * (1.0 + 0.2 * wave)) as u32);
    outcome.score = outcome.score.map(|score| (score - 0.05 * wave).clamp(0.0, 1.0));
    outcome
}

/// S1: a whole rollout of a variant that is the same.
pub(super) fn false_rollbacks(ask: &Ask<'_>) -> Vec<Row> {
    let stage = Span::seconds(60);
    let plan = guards::plan(&guards::watch(guards::eight(), 0.01), &[1, 5, 10, 25, 50, 95], stage, true);
    let ends = ask.repeat("S1", 250, 2_500).run(|seed| {
        let mut pilot = Pilot::start(seed, TRAFFIC, &drifting, plan.clone(), false);
        let end = pilot.follow(Span(stage.0 * 20));
        (end, pilot.fleet.new_served())
    });
    let of = |end| ends.iter().filter(|(e, _)| *e == end).count();
    let served: u64 = ends.iter().map(|(_, served)| served).sum();
    let note = format!(
        "Stages 1-5-10-25-50 % and a 95 % soak of 60 s each, alpha 0.01, baseline swinging by 60 % (errors), \
         25 % (latency), 20 % (tokens) every 4 minutes; {} completed, {} still held after 20 minutes; \
         {} new requests each.",
        of(End::Completed),
        of(End::Standing),
        served / ends.len().max(1) as u64
    );
    vec![
        Row::of_share("S1", "false rollbacks of a whole rollout", of(End::Harm), ends.len())
            .judged(ask.lines("S1"))
            .noted(note),
    ]
}

/// One way in which the arms differ in speed and not in errors.
struct Speed {
    name: &'static str,
    what: &'static str,
    /// From when on the new arm's answers take 30 s instead of 10 s.
    slow_from: f64,
}

/// S8: failures are faster than answers.
pub(super) fn unequal_speed(ask: &Ask<'_>) -> Vec<Row> {
    let traffic = Traffic { per_second: 50.0, before: 60.0, ..TRAFFIC };
    let stage = Span::seconds(240);
    let plan = guards::plan(&guards::watch(vec![guards::errors(NONE)], 0.05), &[5, 25], stage, false);
    let speeds = [
        Speed { name: "S8a", what: "A/A, failures 1 s, answers 10 s", slow_from: f64::INFINITY },
        Speed { name: "S8b", what: "new answers 30 s from the start", slow_from: 0.0 },
        Speed { name: "S8c", what: "new answers 30 s from mid-stage", slow_from: 120.0 },
    ];
    speeds
        .map(|speed| {
            let from = speed.slow_from;
            let law = move |asked: &Asked, random: &mut Random| {
                if random.chance(0.05) {
                    return Outcome::failed(random.lognormal(1.0, 0.2));
                }
                let slow = asked.new && asked.seconds >= from;
                Outcome::ok(random.lognormal(if slow { 30.0 } else { 10.0 }, 0.2))
            };
            let law: Law<'_> = &law;
            let ends = ask.repeat(speed.name, 120, 1_000).run(|seed| {
                Pilot::start(seed, traffic, law, plan.clone(), false).follow(Span(stage.0 * 2 + 120_000_000))
            });
            let bad = ends.iter().filter(|end| **end == End::Harm).count();
            let row = Row::of_share("S8", speed.what, bad, ends.len());
            let note = format!(
                "Judged by the share itself (upper 99 % limit {:.2} %). 50 requests/s, errors 5 % in both arms, one \
                 guardrail, margin 0, alpha 0.05, default settle, stages 5 % and 25 % of 4 minutes each.",
                100.0 * row.value
            );
            Row { value: bad as f64 / ends.len().max(1) as f64, ..row }
                .judged(ask.lines("S8"))
                .noted(note)
        })
        .into()
}
