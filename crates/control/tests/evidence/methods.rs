//! What each method says about a world whose truth is known.

use ensign_control::event::Subject;
use ensign_control::evidence::Record;
use ensign_control::evidence::report::{Evidence, GuardState};
use ensign_control::evidence::watch::{Guard, Margin, OnHarm, Randomised, Settle};
use ensign_control::ids::{Fingerprint, Span, Unit};
use ensign_control::metric::{Better, Builtin, Shape, Statistic, Status};

use crate::kit::{Call, Dice, T0, World, builtin, custom, fold, guard, rollout, seen, stratum, watch};

/// A steady stream of requests to two arms.
#[derive(Clone, Copy)]
struct Stream {
    seed: u64,
    per_second: u64,
    seconds: i64,
    share: f64,
    errors: [f64; 2],
    /// Seconds until an answer; failures take one second.
    answer: [f64; 2],
    tokens: [f64; 2],
    announced: bool,
    /// 0: every request is a unit.
    users: u64,
}

const STREAM: Stream = Stream {
    seed: 1,
    per_second: 20,
    seconds: 300,
    share: 0.5,
    errors: [0.02, 0.02],
    answer: [1.0, 1.0],
    tokens: [200.0, 200.0],
    announced: true,
    users: 0,
};

fn calls(stream: &Stream) -> Vec<Call> {
    let mut dice = Dice(stream.seed);
    let step = 1_000_000 / stream.per_second as i64;
    (0..stream.per_second as i64 * stream.seconds)
        .map(|i| {
            let user = dice.next() % stream.users.max(1);
            let unit =
                if stream.users == 0 { dice.id() } else { Dice(user ^ 0xabc ^ (stream.seed << 20)).id() };
            let new = if stream.users == 0 {
                dice.chance(stream.share)
            } else {
                Dice(user ^ 0xdef ^ (stream.seed << 20)).chance(stream.share)
            };
            let arm = usize::from(new);
            // Users differ: some fail often, most never.
            let own = if stream.users == 0 {
                1.0
            } else if user.is_multiple_of(5) {
                4.0
            } else {
                0.25
            };
            let failed = dice.chance(stream.errors[arm] * own);
            let spread = 0.5 + dice.unit();
            Call {
                unit: Unit(unit),
                request: Fingerprint(dice.id()),
                new,
                epoch: 1,
                start: T0 + Span(i * step + 1),
                seconds: if failed { 1.0 } else { stream.answer[arm] * spread },
                status: if failed { Status::UpstreamError } else { Status::Ok },
                tokens: (stream.tokens[arm] * (0.2 + 1.6 * dice.unit())) as u32,
            }
        })
        .collect()
}

fn run(stream: &Stream, alpha: f64, guards: Vec<Guard>) -> Evidence {
    let mut world = World::default();
    for call in calls(stream) {
        if stream.announced {
            world.exposure(&call, true);
        }
        world.report(&call, stream.announced);
    }
    let randomised = if stream.users == 0 { Randomised::Request } else { Randomised::Unit };
    let share = (stream.share * 100.0).round() as u32;
    let log = world.log(watch(randomised, alpha, guards), stratum(1, share, T0), stream.seconds + 70);
    seen(&fold(&log))
}

/// How many of `runs` worlds end in a rollback.
fn rollbacks(runs: u64, stream: &Stream, guards: &[Guard]) -> u64 {
    let seeds = 0..runs;
    seeds.filter(|seed| run(&Stream { seed: 1_000 + seed, ..*stream }, 0.05, guards.to_vec()).harm).count()
        as u64
}

#[test]
fn more_errors_are_harm() {
    let stream = Stream { errors: [0.01, 0.08], share: 0.1, ..STREAM };
    let evidence = run(&stream, 0.01, vec![builtin(Builtin::ErrorRate, 0.5), builtin(Builtin::Latency, 0.5)]);
    assert!(evidence.harm && evidence.doubt);
    assert_eq!(evidence.guards[0].state, GuardState::Harmed);
    assert_eq!(evidence.guards[1].state, GuardState::Healthy);
    let estimate = evidence.guards[0].estimate.unwrap();
    assert!(estimate.new > 0.05 && estimate.control < 0.03 && estimate.ratio.unwrap() > 3.0);
    assert!(estimate.half_width.unwrap() > 0.0);
    assert!(!evidence.ratio.mismatch);
}

#[test]
fn equal_arms_are_left_alone() {
    let tail = Guard { statistic: Statistic::Quantile(0.95), ..builtin(Builtin::Latency, 0.25) };
    let guards = [
        builtin(Builtin::ErrorRate, 0.25),
        builtin(Builtin::Latency, 0.25),
        builtin(Builtin::TokensOut, 0.25),
        tail,
    ];
    assert!(rollbacks(25, &STREAM, &guards) <= 2);
}

#[test]
fn a_slower_arm_is_not_a_failing_one() {
    // Failures take one second in both arms; only the new arm's answers are slow. Counted on completion the
    // new arm's first requests would all be failures.
    let slow = Stream { answer: [5.0, 25.0], errors: [0.05, 0.05], seconds: 120, ..STREAM };
    for settle in [Settle::Default, Settle::After(Span::seconds(10))] {
        let guards = [Guard { settle, ..builtin(Builtin::ErrorRate, 1.0) }];
        assert!(rollbacks(12, &slow, &guards) <= 1, "{settle:?}");
        let silent = Stream { announced: false, ..slow };
        assert!(rollbacks(12, &silent, &guards) <= 1, "{settle:?}, completions only");
    }
}

#[test]
fn longer_answers_and_slower_tails_are_harm() {
    let stream = Stream { tokens: [200.0, 280.0], answer: [1.0, 1.5], seconds: 600, ..STREAM };
    let tail = Guard { statistic: Statistic::Quantile(0.95), ..builtin(Builtin::Latency, 0.5) };
    let evidence = run(&stream, 0.01, vec![builtin(Builtin::TokensOut, 0.5), tail]);
    assert!(evidence.guards.iter().all(|g| g.state == GuardState::Harmed), "{:#?}", evidence.guards);
    assert!(evidence.guards[1].estimate.unwrap().ratio.unwrap() > 1.3);
}

#[test]
fn a_guard_that_waits_says_for_what() {
    let stream = Stream { per_second: 2, seconds: 60, ..STREAM };
    let tail = Guard { statistic: Statistic::Quantile(0.95), ..builtin(Builtin::Latency, 0.5) };
    let evidence = run(&stream, 0.01, vec![builtin(Builtin::TokensOut, 0.5), tail]);
    assert!(evidence.guards[0].waits_for.as_ref().unwrap().contains("1000 control values"));
    assert!(evidence.guards[1].waits_for.as_ref().unwrap().contains("400 control values"));
    assert!(evidence.guards.iter().all(|g| g.state == GuardState::Collecting && g.log_e == 0.0));
}

#[test]
fn users_with_errors_of_their_own_are_not_harm() {
    let stream = Stream { users: 400, errors: [0.05, 0.05], ..STREAM };
    let guards = [builtin(Builtin::ErrorRate, 0.5), builtin(Builtin::Latency, 0.5)];
    assert!(rollbacks(25, &stream, &guards) <= 2);
    let bad = Stream { errors: [0.02, 0.15], users: 2_000, ..stream };
    assert!(run(&bad, 0.01, guards.to_vec()).harm);
}

#[test]
fn equal_arms_are_proven_safe() {
    let safe = |metric| Guard {
        safe_margins: vec![Margin::Relative(1.0), Margin::Relative(9.0)],
        ..builtin(metric, 0.5)
    };
    let stream = Stream { errors: [0.05, 0.05], seconds: 600, ..STREAM };
    let evidence = run(&stream, 0.01, vec![safe(Builtin::ErrorRate), safe(Builtin::Latency)]);
    for guard in &evidence.guards {
        assert!(guard.max_log_e_safe[1] > 20_f64.ln(), "{:?}", guard.max_log_e_safe);
    }
    let users = Stream { users: 3_000, ..stream };
    let evidence = run(&users, 0.01, vec![safe(Builtin::ErrorRate), safe(Builtin::Latency)]);
    assert!(evidence.guards.iter().all(|g| g.max_log_e_safe[1] > 20_f64.ln()), "{:#?}", evidence.guards);
}

#[test]
fn silence_in_one_arm_is_seen() {
    let mut world = World::default();
    for call in calls(&Stream { seconds: 200, ..STREAM }) {
        world.exposure(&call, true);
        if !call.new {
            world.report(&call, true);
        }
    }
    let unreported = Guard { on_harm: OnHarm::Hold, ..builtin(Builtin::Unreported, 0.5) };
    let guards = vec![builtin(Builtin::ErrorRate, 0.5), unreported];
    let log = world.log(watch(Randomised::Request, 0.01, guards), stratum(1, 50, T0), 300);
    let evidence = seen(&fold(&log));
    assert!(!evidence.harm, "only guardrails that roll back may ask for it");
    assert!(evidence.doubt);
    assert_eq!(evidence.guards[1].state, GuardState::Harmed);
    assert_eq!(evidence.health.reports[1], 0);
    assert!(evidence.health.exposures[1] > 1_000 && evidence.health.last_report[1].is_none());
}

#[test]
fn a_split_that_is_not_the_configured_one_is_noticed() {
    let log = |share: u32| {
        let mut world = World::default();
        for call in calls(&Stream { share: 0.6, ..STREAM }) {
            world.exposure(&call, true);
        }
        world.log(watch(Randomised::Request, 0.01, vec![]), stratum(1, share, T0), 310)
    };
    assert!(seen(&fold(&log(50))).ratio.mismatch);
    let right = seen(&fold(&log(60)));
    assert!(!right.ratio.mismatch);
    assert_eq!(right.ratio.units.iter().sum::<u64>(), 6_000);
}

/// Ratings of a share of the requests, and what the guard says.
fn rated(randomised: Randomised, maturity: Option<Span>, means: [f64; 2], labelled: [f64; 2]) -> Evidence {
    let users = if randomised == Randomised::Unit { 3_000 } else { 0 };
    let mut world = World::default();
    let mut dice = Dice(5);
    for call in calls(&Stream { users, seconds: 400, ..STREAM }) {
        world.exposure(&call, true);
        let arm = usize::from(call.new);
        if !dice.chance(labelled[arm]) {
            continue;
        }
        let rating = (means[arm] - 1.0 + 2.0 * dice.unit()).round().clamp(1.0, 5.0);
        let to = match dice.next() % 3 {
            0 => Subject { served: call.served(), request: Some(call.request), unit: None },
            1 => Subject { request: Some(call.request), ..Subject::default() },
            _ if randomised == Randomised::Unit => Subject { unit: Some(call.unit), ..Subject::default() },
            _ => Subject { request: Some(call.request), ..Subject::default() },
        };
        world.outcome(call.start + Span::seconds(5), "rating", rating, to);
    }
    let rating = Guard { maturity, ..custom("rating", Shape::Rating, Better::Higher, 1.0) };
    let log = world.log(watch(randomised, 0.01, vec![rating]), stratum(1, 50, T0), 480);
    seen(&fold(&log))
}

#[test]
fn late_ratings_count_in_their_arm() {
    for randomised in [Randomised::Request, Randomised::Unit] {
        for maturity in [None, Some(Span::seconds(20))] {
            let name = format!("{randomised:?} {maturity:?}");
            let same = rated(randomised, maturity, [4.0, 4.0], [0.5, 0.5]);
            assert!(!same.harm && same.guards[0].state == GuardState::Healthy, "{name} {:#?}", same.guards);
            let worse = rated(randomised, maturity, [4.0, 3.2], [0.5, 0.5]);
            assert!(worse.harm, "{name} {:#?}", worse.guards);
            assert!(worse.guards[0].estimate.unwrap().difference < -0.3, "{name}");
        }
    }
}

#[test]
fn labels_that_go_missing_in_one_arm_are_not_trusted() {
    for randomised in [Randomised::Request, Randomised::Unit] {
        let evidence = rated(randomised, Some(Span::seconds(20)), [4.0, 4.0], [0.6, 0.2]);
        assert_eq!(evidence.guards[0].state, GuardState::Untrusted, "{randomised:?}");
        assert!(!evidence.harm);
    }
}

#[test]
fn a_new_stratum_keeps_what_was_learned() {
    let mut world = World::default();
    let mut all = calls(&Stream { errors: [0.01, 0.04], ..STREAM });
    let change = T0 + Span::seconds(150);
    world.records.push((change, Record::Stratum { rollout: rollout(), stratum: stratum(2, 50, change) }));
    for call in &mut all {
        call.epoch = if call.start < change { 1 } else { 2 };
        world.exposure(call, true);
        world.report(call, true);
    }
    let guards =
        vec![guard(ensign_control::metric::MetricRef::Builtin(Builtin::ErrorRate), Shape::Rate, 1.0)];
    let log = world.log(watch(Randomised::Request, 0.01, guards), stratum(1, 50, T0), 400);
    let evidence = seen(&fold(&log));
    assert!(evidence.harm);
    let guard = &evidence.guards[0];
    // What is left in the open block is fewer than twenty requests.
    assert!((5_980..=6_000).contains(&(guard.n_new + guard.n_control)));
    assert!((2_980..=3_000).contains(&(guard.stratum_n_new + guard.stratum_n_control)));
}
