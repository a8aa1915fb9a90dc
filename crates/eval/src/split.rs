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

/// Edits a split to new weights, moving as few units as possible. Entries of `weights` of the same arm are added
/// together; an arm that is not among them gets 0 and keeps its place.
///
/// Borders between a growing and a shrinking arm move first, from the top down, the same ones in both directions;
/// so an arm that grew, and then shrinks by the same steps, gives back what it took. What remains is given from
/// the top of the shrinking arms, which makes new borders. See the properties in `tests/split.rs`.
///
/// # Errors
/// [`BadWeights`], if there are none or they do not add up to [`WHOLE`].
pub fn reweigh(intervals: &[Interval], weights: &[Interval]) -> Result<Vec<Interval>, BadWeights> {
    let arms = lay_out(weights)?;
    if intervals.iter().map(|i| u64::from(i.weight)).sum::<u64>() != u64::from(WHOLE) {
        return Ok(arms);
    }
    let mut edit = Edit::new(intervals, &arms);
    edit.move_borders();
    edit.give_from_the_top();
    edit.tidy();
    Ok(edit.list)
}

/// What one arm still has to gain or to give up.
struct Open {
    arm: Interval,
    grows: bool,
    left: u32,
}

/// A split that is being edited.
struct Edit {
    list: Vec<Interval>,
    open: Vec<Open>,
}

impl Edit {
    fn new(intervals: &[Interval], wanted: &[Interval]) -> Self {
        let mut list = intervals.to_vec();
        let mut open: Vec<Open> = Vec::new();
        for arm in intervals.iter().chain(wanted) {
            if open.iter().any(|known| same_arm(&known.arm, arm)) {
                continue;
            }
            let sum = |of: &[Interval]| of.iter().filter(|i| same_arm(i, arm)).map(|i| i.weight).sum::<u32>();
            let (has, wants) = (sum(intervals), sum(wanted));
            if !intervals.iter().any(|i| same_arm(i, arm)) {
                list.push(Interval { weight: 0, ..*arm });
            }
            open.push(Open { arm: *arm, grows: wants > has, left: wants.abs_diff(has) });
        }
        Self { list, open }
    }

    fn open(&mut self, at: usize, growing: bool) -> Option<&mut Open> {
        let arm = *self.list.get(at)?;
        self.open.iter_mut().find(|open| open.grows == growing && open.left > 0 && same_arm(&open.arm, &arm))
    }

    /// Moves the border between two neighbours as far as both want it. What is drained goes, unless it is the
    /// last of its arm or the first of all; `true` if it went.
    fn move_border(&mut self, grower: usize, shrinker: usize) -> bool {
        let (Some(gain), Some(give)) =
            (self.open(grower, true).map(|o| o.left), self.open(shrinker, false).map(|o| o.left))
        else {
            return false;
        };
        let moved = gain.min(give).min(self.list[shrinker].weight);
        self.list[grower].weight += moved;
        self.list[shrinker].weight -= moved;
        for (at, growing) in [(grower, true), (shrinker, false)] {
            if let Some(open) = self.open(at, growing) {
                open.left -= moved;
            }
        }
        let arm = self.list[shrinker];
        let drained = arm.weight == 0 && shrinker > 0;
        let goes = drained && self.list.iter().filter(|i| same_arm(i, &arm)).count() > 1;
        if goes {
            self.list.remove(shrinker);
        }
        goes
    }

    fn move_borders(&mut self) {
        let mut upper = self.list.len().saturating_sub(1);
        while upper > 0 {
            let lower_went = self.move_border(upper, upper - 1);
            let upper_went = !lower_went && self.move_border(upper - 1, upper);
            // Where something went, there is a new border: below, at the same position less one; above, at the
            // same position, if anything is left there.
            if !upper_went || upper >= self.list.len() {
                upper -= 1;
            }
        }
    }

    /// Every shrinking arm gives up its highest buckets, and what takes them stands right behind it.
    fn give_from_the_top(&mut self) {
        let mut at = self.list.len();
        while at > 0 {
            at -= 1;
            while let Some(give) = self.open(at, false).map(|open| open.left) {
                let has = self.list[at].weight;
                let Some(taker) = self.open.iter_mut().find(|open| open.grows && open.left > 0) else {
                    return;
                };
                let moved = give.min(has).min(taker.left);
                if moved == 0 {
                    break;
                }
                taker.left -= moved;
                let piece = Interval { weight: moved, ..taker.arm };
                self.list[at].weight -= moved;
                if let Some(open) = self.open(at, false) {
                    open.left -= moved;
                }
                self.list.insert(at + 1, piece);
            }
        }
    }

    /// The canonical form: neighbours of one arm are one interval, and zero intervals stay only as the place of
    /// an arm that has nothing else, or as the first.
    fn tidy(&mut self) {
        let mut tidy: Vec<Interval> = Vec::with_capacity(self.list.len());
        for (at, interval) in self.list.iter().enumerate() {
            let elsewhere = |i: &Interval| same_arm(i, interval) && i.weight > 0;
            let placeless = tidy.iter().any(|i| same_arm(i, interval)) || self.list.iter().any(elsewhere);
            if interval.weight == 0 && at > 0 && placeless {
                continue;
            }
            match tidy.last_mut() {
                Some(last) if same_arm(last, interval) => last.weight += interval.weight,
                Some(_) | None => tidy.push(*interval),
            }
        }
        self.list = tidy;
    }
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
