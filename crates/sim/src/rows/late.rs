//! Harm that begins long after the rollout did.

use super::Ask;
use super::detect::{FIVE, TRAFFIC, usual};
use crate::fleet::{Asked, Fleet};
use crate::guards::{self, NONE, TIMEOUT};
use crate::interval::median;
use crate::random::Random;
use crate::report::{Row, Unit};

/// New requests before the harm begins.
const ONSET: u64 = 10_000;

/// S7: an error rate of 3 % instead of 1 % after 10,000 new requests.
pub(super) fn onset(ask: &Ask<'_>) -> Vec<Row> {
    let law = |asked: &Asked, random: &mut Random| {
        let harmful = asked.new && asked.new_before >= ONSET;
        usual(if harmful { 0.03 } else { 0.01 }, random)
    };
    let after = ask.repeat("S7", 40, 400).run(|seed| {
        let mut fleet = Fleet::new(seed, TRAFFIC, TIMEOUT, &law, false);
        fleet.begin(guards::watch(vec![guards::errors(NONE)], 0.05), FIVE);
        while fleet.new_served() < ONSET + 20_000 {
            if fleet.tick()
                && let Some(evidence) = fleet.evidence().filter(|evidence| evidence.harm)
            {
                let counted = evidence.guards.first().map_or(0.0, |guard| guard.n_new as f64);
                return counted - ONSET as f64;
            }
        }
        f64::INFINITY
    });
    let early = after.iter().filter(|n| **n < 0.0).count();
    let after: Vec<f64> = after.into_iter().filter(|n| *n >= 0.0).collect();
    vec![
        Row::of_median("S7", "1→3 % after 10,000, margin 0", after.len(), median(&after), Unit::Requests)
            .judged(ask.lines("S7"))
            .noted(format!(
                "{early} more rolled back before the onset: false alarms at alpha 0.05, left out of the median."
            )),
    ]
}
