//! The same log gives the same bits: after any restart, and again from the receipt.

use std::collections::BTreeMap;

use ensign_control::event::Subject;
use ensign_control::evidence::watch::{Guard, Margin, OnHarm, Randomised};
use ensign_control::evidence::{BadLog, Engine, Limits, Part, Record, contents, replay};
use ensign_control::ids::{Fingerprint, Span, Unit};
use ensign_control::metric::{Better, Builtin, Shape, Statistic, Status};
use proptest::prelude::*;

use crate::kit::{Call, Dice, T0, World, builtin, custom, fold, rollout, seen, stratum, watch};

/// A world with every kind of guardrail, several strata, late labels, silence and slow requests.
fn log(seed: u64, randomised: Randomised) -> Vec<Record> {
    let mut dice = Dice(seed);
    let mut world = World::default();
    let change = T0 + Span::seconds(60);
    let end = T0 + Span::seconds(150);
    world.records.push((change, Record::Stratum { rollout: rollout(), stratum: stratum(2, 50, change) }));
    world.records.push((end, Record::Ended { rollout: rollout(), at: end }));
    for i in 0..1_500 {
        let start = T0 + Span(i * 100_000 + 1);
        let (user, epoch) = (dice.next() % 300, if start < change { 1 } else { 2 });
        let by_user = randomised == Randomised::Unit;
        let unit = if by_user { Dice(user).id() } else { dice.id() };
        let share = if epoch == 1 { 0.2 } else { 0.5 };
        let new = if by_user { Dice(user ^ 77).chance(share) } else { dice.chance(share) };
        let failed = dice.chance(0.05);
        let call = Call {
            unit: Unit(unit),
            request: Fingerprint(dice.id()),
            new,
            epoch,
            start,
            seconds: if failed { 0.5 } else { 0.5 + 20.0 * dice.unit() * dice.unit() },
            status: if failed { Status::Malformed } else { Status::Ok },
            tokens: (100.0 * dice.unit()) as u32,
        };
        let announced = dice.chance(0.8);
        if announced {
            world.exposure(&call, true);
        }
        if !announced || dice.chance(0.95) {
            world.report(&call, announced);
        }
        if dice.chance(0.5) {
            let to = Subject { served: call.served(), request: Some(call.request), unit: None };
            let at = call.start + Span::seconds((dice.next() % 40) as i64);
            world.outcome(at, "rating", (1 + dice.next() % 5) as f64, to.clone());
            world.outcome(at, "tickets", (dice.next() % 2) as f64, to.clone());
            world.outcome(at, "share", dice.unit(), to);
        }
    }
    world.log(watch(randomised, 0.01, guards()), stratum(1, 20, T0), 260)
}

fn guards() -> Vec<Guard> {
    let safe = vec![Margin::Relative(0.5), Margin::Relative(1.0)];
    let tail = Guard { statistic: Statistic::Quantile(0.5), ..builtin(Builtin::Latency, 0.1) };
    vec![
        Guard { safe_margins: safe.clone(), ..builtin(Builtin::ErrorRate, 0.1) },
        builtin(Builtin::EarlyFailure, 0.1),
        Guard { on_harm: OnHarm::Hold, ..builtin(Builtin::Unreported, 0.1) },
        Guard { safe_margins: safe.clone(), ..tail },
        Guard { cap: Some(80.0), safe_margins: safe, ..builtin(Builtin::TokensOut, 0.1) },
        custom("rating", Shape::Rating, Better::Higher, 0.1),
        Guard { maturity: Some(Span::seconds(30)), ..custom("rating", Shape::Rating, Better::Higher, 0.1) },
        Guard {
            maturity: Some(Span::seconds(20)),
            cap: Some(3.0),
            ..custom("tickets", Shape::Count, Better::Lower, 0.1)
        },
        custom("share", Shape::Ratio, Better::Lower, 0.1),
    ]
}

/// Applies a log; at each cut everything but the stored parts is lost.
fn with_restarts(log: &[Record], cuts: &[usize]) -> Engine {
    let mut engine = Engine::new(Limits::default());
    let mut stored: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (at, record) in log.iter().enumerate() {
        if cuts.contains(&at) {
            for Part { key, bytes } in engine.checkpoint().parts() {
                if bytes.is_empty() {
                    stored.remove(&key)
                } else {
                    stored.insert(key, bytes)
                };
            }
            let parts = stored.iter().map(|(key, bytes)| Part { key: key.clone(), bytes: bytes.clone() });
            engine = Engine::restore(Limits::default(), parts).expect("own parts restore");
        }
        engine.apply(at as u64 + 1, record);
    }
    engine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_anywhere_changes_no_bit(
        seed in 0..1_000_u64,
        by_unit in any::<bool>(),
        cuts in prop::collection::vec(1..500_usize, 1..5),
        at in 200..520_usize,
    ) {
        let log = log(seed, if by_unit { Randomised::Unit } else { Randomised::Request });
        let log = &log[..at.min(log.len())];
        let (straight, broken) = (fold(log), with_restarts(log, &cuts));
        prop_assert_eq!(seen(&straight), seen(&broken));
        prop_assert_eq!(straight.block_log(&rollout()), broken.block_log(&rollout()));
    }
}

#[test]
fn a_receipt_gives_the_same_bits_without_the_events() {
    for (seed, randomised) in [(1, Randomised::Request), (2, Randomised::Unit)] {
        let engine = fold(&log(seed, randomised));
        let evidence = seen(&engine);
        let receipt = engine.block_log(&rollout()).unwrap();
        assert_eq!(replay(&receipt), Ok(evidence.clone()));
        let json = serde_json::to_string(&evidence).unwrap();
        assert_eq!(json, serde_json::to_string(&replay(&receipt).unwrap()).unwrap());
        let (watched, strata) = contents(&receipt).unwrap();
        assert_eq!((watched.guards, strata.len()), (guards(), 2));
        assert!(evidence.guards.iter().all(|g| g.n_new > 0), "{:#?}", evidence.guards);
    }
}

#[test]
fn a_changed_receipt_is_noticed() {
    let receipt = fold(&log(3, Randomised::Request)).block_log(&rollout()).unwrap();
    for at in (0..receipt.bytes.len()).step_by(97) {
        let mut changed = receipt.clone();
        changed.bytes[at] ^= 1;
        assert_eq!(replay(&changed), Err(BadLog::Chain), "at {at}");
    }
    let mut cut = receipt.clone();
    cut.bytes.truncate(cut.bytes.len() / 2);
    assert!(replay(&cut).is_err());
}

#[test]
fn records_survive_the_log() {
    for record in log(4, Randomised::Unit) {
        assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
    }
    assert!(Record::from_bytes(&[]).is_err());
    assert!(Record::from_bytes(&[9, 0]).is_err());
    assert!(Record::from_bytes(&[1, 200]).is_err());
}
