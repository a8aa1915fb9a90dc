//! Quantiles of a stream with a bounded relative error: DDSketch (Masson, Rim & Lee 2019).
//!
//! A value goes into the bucket `⌈ln y / ln γ⌉`, `γ = (1+ε)/(1−ε)`; any quantile is then known to within
//! ε of its value, and two sketches merge by adding buckets, in any order. t-digest and KLL are absent on
//! purpose: the first has no worst-case bound, the second bounds the rank, which says little at p99.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bet::{Invalid, Rejected};
use crate::math::{exp, ln, ln_1p};

/// Buckets kept at most; beyond, the lowest are put together.
const MAX_BUCKETS: usize = 2048;

/// A mergeable sketch of a distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DdSketch {
    accuracy: f64,
    positive: BTreeMap<i32, u64>,
    /// Buckets of `−y` for negative values.
    negative: BTreeMap<i32, u64>,
    zeros: u64,
    count: u64,
}

impl Default for DdSketch {
    /// Relative accuracy 0.01.
    fn default() -> Self {
        Self { accuracy: 0.01, positive: BTreeMap::new(), negative: BTreeMap::new(), zeros: 0, count: 0 }
    }
}

impl DdSketch {
    /// A sketch with this relative accuracy, strictly between 0 and 1.
    ///
    /// # Errors
    /// [`Invalid::Share`] when the accuracy is outside its range.
    pub fn new(accuracy: f64) -> Result<Self, Invalid> {
        if accuracy > 1e-6 && accuracy < 1.0 {
            Ok(Self { accuracy, ..Self::default() })
        } else {
            Err(Invalid::Share)
        }
    }

    fn ln_gamma(&self) -> f64 {
        ln_1p(2.0 * self.accuracy / (1.0 - self.accuracy))
    }

    fn index(&self, y: f64) -> i32 {
        (ln(y) / self.ln_gamma()).ceil() as i32
    }

    /// The value a bucket stands for: `2γ^i/(γ+1)`.
    fn value(&self, index: i32) -> f64 {
        // 2/(γ+1) = 1 − ε
        exp(f64::from(index) * self.ln_gamma()) * (1.0 - self.accuracy)
    }

    /// Takes in one value.
    ///
    /// # Errors
    /// [`Rejected::Value`] when it is not finite.
    pub fn add(&mut self, y: f64) -> Result<(), Rejected> {
        if !y.is_finite() {
            return Err(Rejected::Value);
        }
        self.count += 1;
        if y.abs() < f64::MIN_POSITIVE {
            self.zeros += 1;
        } else if y > 0.0 {
            *self.positive.entry(self.index(y)).or_insert(0) += 1;
            collapse(&mut self.positive);
        } else {
            *self.negative.entry(self.index(-y)).or_insert(0) += 1;
            collapse(&mut self.negative);
        }
        Ok(())
    }

    /// Adds another sketch. The result does not depend on the order of merging (as long as no bucket had
    /// to be put together).
    ///
    /// # Errors
    /// [`Rejected::Shape`] when the accuracies differ.
    pub fn merge(&mut self, other: &Self) -> Result<(), Rejected> {
        if self.accuracy.to_bits() != other.accuracy.to_bits() {
            return Err(Rejected::Shape);
        }
        for (index, count) in &other.positive {
            *self.positive.entry(*index).or_insert(0) += count;
        }
        for (index, count) in &other.negative {
            *self.negative.entry(*index).or_insert(0) += count;
        }
        collapse(&mut self.positive);
        collapse(&mut self.negative);
        self.zeros += other.zeros;
        self.count += other.count;
        Ok(())
    }

    /// The `p`-quantile: the smallest bucket whose cumulative count exceeds `p·(n − 1)`. Relative error at
    /// most ε. `None` when empty or when `p` is not in [0, 1].
    #[must_use]
    pub fn quantile(&self, p: f64) -> Option<f64> {
        if self.count == 0 || !(0.0..=1.0).contains(&p) {
            return None;
        }
        let rank = p * (self.count - 1) as f64;
        let mut cumulative = 0_u64;
        for (index, count) in self.negative.iter().rev() {
            cumulative += count;
            if cumulative as f64 > rank {
                return Some(-self.value(*index));
            }
        }
        cumulative += self.zeros;
        if cumulative as f64 > rank {
            return Some(0.0);
        }
        for (index, count) in &self.positive {
            cumulative += count;
            if cumulative as f64 > rank {
                return Some(self.value(*index));
            }
        }
        self.positive.keys().next_back().map(|index| self.value(*index))
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many buckets are in use, zeros included.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.positive.len() + self.negative.len() + usize::from(self.zeros > 0)
    }
}

/// Puts the lowest buckets together until the number is within its bound: the upper quantiles, which are
/// the ones guarded, keep their accuracy.
fn collapse(buckets: &mut BTreeMap<i32, u64>) {
    while buckets.len() > MAX_BUCKETS {
        let Some((_, lowest)) = buckets.pop_first() else { return };
        if let Some(mut next) = buckets.first_entry() {
            *next.get_mut() += lowest;
        }
    }
}
