//! How many requests it takes to see harm that is there from the start.

use ensign_control::evidence::watch::{Guard, Margin, Watch};
use ensign_control::ids::Span;
use ensign_control::metric::Status;

use super::Ask;
use crate::fleet::{Asked, Fleet, Law, Outcome, Traffic};
use crate::guards::{self, NONE, TIMEOUT};
use crate::interval::{median, median_ratio};
use crate::random::Random;
use crate::report::{Row, Unit};

/// 5 % of the units get the new variant.
pub(super) const FIVE: u32 = 5_000;

/// The traffic of every row that does not say otherwise.
pub(super) const TRAFFIC: Traffic =
    Traffic { per_second: 100.0, tick: Span::millis(100), before: 30.0, announced: true };

/// An answer or a failure of the usual speed.
pub(super) fn usual(fails: f64, random: &mut Random) -> Outcome {
    if random.chance(fails) {
        Outcome::failed(random.lognormal(0.3, 0.6))
    } else {
        Outcome::ok(random.lognormal(1.0, 0.6))
    }
}

/// A request of all eight metrics, its failure rate given.
pub(super) fn full(fails: f64, random: &mut Random) -> Outcome {
    let mut outcome = usual(fails, random);
    if outcome.status == Status::Ok {
        outcome.status = match random.uniform() {
            u if u < 0.01 => Status::RateLimited,
            u if u < 0.015 => Status::ContentFilter,
            _ => Status::Ok,
        };
    } else if random.chance(0.3) {
        outcome.status = Status::Malformed;
    }
    outcome.tokens_out = Some(random.lognormal(300.0, 0.9) as u32);
    outcome.tokens_in = Some(random.lognormal(900.0, 0.7) as u32);
    outcome.score = Some(random.beta(0.7, 0.18));
    outcome
}

/// What one repetition saw.
struct Seen {
    /// New requests in the first guardrail's blocks when harm was proven; infinite if it was not.
    counted: f64,
    /// New requests served by then, those in flight included.
    served: f64,
    /// Whether each new request failed, in the order of their start.
    failures: Vec<bool>,
}

/// Runs a fleet until the rule asks for a rollback, at most until `at_most` new requests were served.
fn until_harm(seed: u64, watch: Watch, law: Law<'_>, at_most: u64) -> Seen {
    let mut fleet = Fleet::new(seed, TRAFFIC, TIMEOUT, law, false);
    fleet.begin(watch, FIVE);
    let mut seen = None;
    while seen.is_none() && fleet.new_served() < at_most {
        if fleet.tick() {
            seen = fleet.evidence().filter(|evidence| evidence.harm);
        }
    }
    let counted = seen.and_then(|evidence| Some(evidence.guards.first()?.n_new as f64));
    Seen {
        counted: counted.unwrap_or(f64::INFINITY),
        served: fleet.new_served() as f64,
        failures: std::mem::take(&mut fleet.failures),
    }
}

/// Requests Wald's test needs that knows both rates: it looks at new requests only, one by one, and stops at the same
/// threshold as one guardrail of weight 1/8. Those it has not decided by count as all there were.
fn sprt(failures: &[bool], p0: f64, p1: f64, threshold: f64) -> f64 {
    let (fail, pass) = (libm::log(p1 / p0), libm::log((1.0 - p1) / (1.0 - p0)));
    let mut sum = 0.0;
    for (at, failed) in failures.iter().enumerate() {
        sum += if *failed { fail } else { pass };
        if sum >= threshold {
            return (at + 1) as f64;
        }
    }
    failures.len() as f64
}

/// S2: the eight guardrails against a test that knows both rates.
pub(super) fn against_sprt(ask: &Ask<'_>) -> Vec<Row> {
    let rows = [
        ("S2a", 0.02, "errors 1→2 %, 8 guards ÷ SPRT", 60, 600, 40_000),
        ("S2b", 0.05, "errors 1→5 %, 8 guards ÷ SPRT", 200, 2_000, 8_000),
    ];
    let threshold = libm::log(8.0 / 0.01);
    rows.map(|(name, rate, what, quick, full_n, at_most)| {
        let law = move |asked: &Asked, random: &mut Random| full(if asked.new { rate } else { 0.01 }, random);
        let pairs = ask.repeat(name, quick, full_n).run(|seed| {
            let mut seen = until_harm(seed, guards::watch(guards::eight(), 0.01), &law, at_most);
            // The test that knows the rates may need more of the stream than the guard did.
            let mut random = Random::new(!seed);
            seen.failures.extend((0..at_most).map(|_| random.chance(rate)));
            (seen.counted, sprt(&seen.failures, 0.01, rate, threshold))
        });
        let (ours, theirs): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let of = |values: &[f64]| median(values).map_or(f64::INFINITY, |m| m.value);
        let note = format!(
            "Medians {:.0} and {:.0} new requests. The SPRT sees new requests one by one, without looks, \
             and stops at ln 800, the threshold of one guardrail of weight 1/8.",
            of(&ours),
            of(&theirs)
        );
        Row::of_median("S2", what, pairs.len(), median_ratio(&pairs, ask.seed), Unit::Ratio)
            .judged(ask.lines(name))
            .noted(note)
    })
    .into()
}

/// One row of a single guardrail whose harm is there from the start.
struct Single<'a> {
    id: &'static str,
    name: &'static str,
    what: &'static str,
    guard: Guard,
    alpha: f64,
    law: Law<'a>,
    runs: (usize, usize),
}

fn single(ask: &Ask<'_>, row: &Single<'_>) -> Row {
    let seen = ask.repeat(row.name, row.runs.0, row.runs.1).run(|seed| {
        let seen = until_harm(seed, guards::watch(vec![row.guard.clone()], row.alpha), row.law, 20_000);
        (seen.counted, seen.served)
    });
    let (counted, served): (Vec<f64>, Vec<f64>) = seen.into_iter().unzip();
    let never = counted.iter().filter(|n| n.is_infinite()).count();
    let p90 = {
        let mut sorted = counted.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() * 9 / 10).copied().unwrap_or(f64::INFINITY)
    };
    let mut note = format!(
        "90 % within {p90:.0}; with those in flight the median is {:.0}.",
        median(&served).map_or(0.0, |m| m.value)
    );
    if never > 0 {
        note = format!("{note} {never} not decided within 20,000.");
    }
    Row::of_median(row.id, row.what, counted.len(), median(&counted), Unit::Requests)
        .judged(ask.lines(row.name))
        .noted(note)
}

/// S4: an error rate of 5 % instead of 1 %.
pub(super) fn to_rollback(ask: &Ask<'_>) -> Vec<Row> {
    let law = |asked: &Asked, random: &mut Random| usual(if asked.new { 0.05 } else { 0.01 }, random);
    let eighth = Guard { weight: 0.125, ..guards::errors(NONE) };
    let margin = guards::errors(Margin::Relative(0.5));
    let row = |name, what, guard| Single {
        id: "S4",
        name,
        what,
        guard,
        alpha: 0.01,
        law: &law,
        runs: (300, 3_000),
    };
    vec![
        single(ask, &row("S4a", "1→5 %, margin 0, weight 1/8", eighth)),
        single(ask, &row("S4b", "1→5 %, margin 1.5x, weight 1", margin)),
    ]
}

/// S5: a latency law a quarter slower.
pub(super) fn latency(ask: &Ask<'_>) -> Vec<Row> {
    let law = |asked: &Asked, random: &mut Random| {
        Outcome::ok(random.lognormal(if asked.new { 1.25 } else { 1.0 }, 0.6))
    };
    vec![single(
        ask,
        &Single {
            id: "S5",
            name: "S5",
            what: "p95 +25 %, margin 0",
            guard: guards::latency_p95(NONE),
            alpha: 0.05,
            law: &law,
            runs: (300, 3_000),
        },
    )]
}

/// S6: a score 0.05 lower, and a fifth more tokens.
pub(super) fn score_and_tokens(ask: &Ask<'_>) -> Vec<Row> {
    let scores = |asked: &Asked, random: &mut Random| {
        let score = random.beta(if asked.new { 0.65 } else { 0.7 }, 0.18);
        Outcome { score: Some(score), ..Outcome::ok(random.lognormal(1.0, 0.6)) }
    };
    let tokens = |asked: &Asked, random: &mut Random| {
        let tokens = random.lognormal(if asked.new { 360.0 } else { 300.0 }, 0.9);
        Outcome { tokens_out: Some(tokens as u32), ..Outcome::ok(random.lognormal(1.0, 0.6)) }
    };
    let score = Single {
        id: "S6",
        name: "S6a",
        what: "score −0.05 (sd 0.18)",
        guard: guards::score(NONE),
        alpha: 0.05,
        law: &scores,
        runs: (300, 3_000),
    };
    let tokens = Single {
        id: "S6",
        name: "S6b",
        what: "tokens +20 % (sigma 0.9)",
        guard: guards::tokens_out(NONE),
        alpha: 0.05,
        law: &tokens,
        runs: (200, 3_000),
    };
    vec![single(ask, &score), single(ask, &tokens)]
}
