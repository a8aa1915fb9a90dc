//! Proofs of safety that are wrong: the new variant is exactly at the margin.

use ensign_control::evidence::watch::{Guard, Margin};
use ensign_control::ids::Span;
use ensign_control::rollout::{Advance, Plan};

use super::Ask;
use super::detect::{TRAFFIC, usual};
use crate::fleet::{Asked, Law, Outcome};
use crate::guards;
use crate::pilot::Pilot;
use crate::random::Random;
use crate::report::Row;

/// A plan whose first stage is left only on proof. The margin of harm is the margin of the proof, so that harm, which
/// would end the rollout first, is not there.
fn plan(guard: Guard, minutes: i64) -> Plan {
    let guard = Guard { safe_margins: vec![guard.margin], ..guard };
    let watch = guards::watch(vec![guard], 0.01);
    let mut plan = guards::plan(&watch, &[5, 50], Span::seconds(10), false);
    for stage in &mut plan.stages {
        stage.advance = Advance::ProvenSafe;
        stage.max_duration = Span::seconds(60 * minutes);
    }
    for guard in &mut plan.guards {
        guard.proof = vec![Some(0), None];
    }
    plan
}

/// S10: wrong proofs of a rate and of a score.
pub(super) fn wrong_proofs(ask: &Ask<'_>) -> Vec<Row> {
    let rate = |asked: &Asked, random: &mut Random| usual(if asked.new { 0.10 } else { 0.05 }, random);
    let score = |asked: &Asked, random: &mut Random| {
        let score = random.beta(if asked.new { 0.65 } else { 0.7 }, 0.18);
        Outcome { score: Some(score), ..Outcome::ok(random.lognormal(1.0, 0.6)) }
    };
    let (rate, score): (Law<'_>, Law<'_>) = (&rate, &score);
    let rows = [
        ("S10a", "errors 5→10 %, margin 2x", guards::errors(Margin::Relative(1.0)), rate, 8, (200, 3_000)),
        ("S10b", "score −0.05, margin 0.05", guards::score(Margin::Absolute(0.05)), score, 4, (300, 3_000)),
    ];
    rows.map(|(name, what, guard, law, minutes, (quick, full))| {
        let plan = plan(guard, minutes);
        let advanced = ask.repeat(name, quick, full).run(|seed| {
            let mut pilot = Pilot::start(seed, TRAFFIC, law, plan.clone(), false);
            let until = pilot.fleet.now() + Span::seconds(60 * minutes);
            let first = pilot.rollout.share();
            while pilot.fleet.now() < until && pilot.rollout.share() == first {
                pilot.tick();
            }
            pilot.rollout.share() > first
        });
        let wrong = advanced.iter().filter(|yes| **yes).count();
        Row::of_share("S10", what, wrong, advanced.len()).judged(ask.lines(name)).noted(format!(
            "beta 0.05, 5 % share, {minutes} minutes in which a proof may come (about {} new requests).",
            minutes * 60 * 5
        ))
    })
    .into()
}
