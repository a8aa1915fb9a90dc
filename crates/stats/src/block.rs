//! One block of values for the mean bets: a list, or a histogram when there are many. Mergeable in any order.

use serde::{Deserialize, Serialize};

use crate::bet::{Arm, Rejected};
use crate::moments::Moments;
use crate::rate::RateBlock;

/// What values a metric can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Range {
    /// From 0 to 1: scores, proportions, ratings mapped by `(rating − 1)/4`.
    Unit,
    /// Zero or more, without a bound: tokens, cost, latency.
    Amount,
}

impl Range {
    /// Whether a value may be taken in.
    #[must_use]
    pub fn contains(self, y: f64) -> bool {
        match self {
            Self::Unit => (0.0..=1.0).contains(&y),
            Self::Amount => y >= 0.0 && y.is_finite(),
        }
    }
}

/// Equal bins in a general histogram.
const FINE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Bins {
    /// 256 equal bins on [0, scale]; a value counts as its bin's centre.
    Fine { scale: f64 },
    /// 0, ¼, ½, ¾, 1: exact for ratings from 1 to 5.
    Ratings,
    /// 0 and 1: exact for events.
    Events,
}

impl Bins {
    fn len(self) -> usize {
        match self {
            Self::Fine { .. } => FINE,
            Self::Ratings => 5,
            Self::Events => 2,
        }
    }

    fn index(self, y: f64) -> usize {
        // A float cast saturates, so the last bin takes everything above the scale.
        match self {
            Self::Fine { scale } => ((y / scale * FINE as f64) as usize).min(FINE - 1),
            Self::Ratings => ((y * 4.0 + 0.5) as usize).min(4),
            Self::Events => usize::from(y >= 0.5),
        }
    }

    fn value(self, index: usize) -> f64 {
        match self {
            Self::Fine { scale } => (index as f64 + 0.5) / FINE as f64 * scale,
            Self::Ratings => index as f64 / 4.0,
            Self::Events => index as f64,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Data {
    Values { new: Vec<f64>, control: Vec<f64> },
    Counts { bins: Bins, new: Vec<u64>, control: Vec<u64> },
}

/// The values of one block, raw (before any margin is applied), so that the harm and the safe process
/// and every margin share it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanBlock {
    range: Range,
    data: Data,
}

impl MeanBlock {
    /// A block that keeps every value: exact.
    #[must_use]
    pub fn values(range: Range) -> Self {
        Self { range, data: Data::Values { new: Vec::new(), control: Vec::new() } }
    }

    /// 256 bins on [0, 1]: the error in a mean is at most 1/512, the same for both arms.
    #[must_use]
    pub fn score_histogram() -> Self {
        Self::counts(Range::Unit, Bins::Fine { scale: 1.0 })
    }

    /// 256 bins on [0, `scale`] for amounts; larger ones count in the last bin. `scale` should be the
    /// winsorising cap times the largest `max(θ0, 1)` in use, so that the cap and not the bins cut.
    #[must_use]
    pub fn amount_histogram(scale: f64) -> Self {
        let scale = if scale > 0.0 && scale.is_finite() { scale } else { 1.0 };
        Self::counts(Range::Amount, Bins::Fine { scale })
    }

    /// Ratings from 1 to 5, entered as `(rating − 1)/4`: five bins, exact.
    #[must_use]
    pub fn ratings() -> Self {
        Self::counts(Range::Unit, Bins::Ratings)
    }

    /// Events and non-events as the values 1 and 0: exact.
    ///
    /// # Errors
    /// [`Rejected::Counts`] when there are more events than trials.
    pub fn events(block: RateBlock) -> Result<Self, Rejected> {
        if block.k_t > block.n_t || block.k_c > block.n_c {
            return Err(Rejected::Counts);
        }
        Ok(Self {
            range: Range::Unit,
            data: Data::Counts {
                bins: Bins::Events,
                new: vec![block.n_t - block.k_t, block.k_t],
                control: vec![block.n_c - block.k_c, block.k_c],
            },
        })
    }

    fn counts(range: Range, bins: Bins) -> Self {
        Self { range, data: Data::Counts { bins, new: vec![0; bins.len()], control: vec![0; bins.len()] } }
    }

    /// Takes in one value.
    ///
    /// # Errors
    /// [`Rejected::Value`] when it is outside the metric's range; count it as a data error.
    pub fn push(&mut self, arm: Arm, y: f64) -> Result<(), Rejected> {
        if !self.range.contains(y) {
            return Err(Rejected::Value);
        }
        match (&mut self.data, arm) {
            (Data::Values { new, .. }, Arm::New) => new.push(y),
            (Data::Values { control, .. }, Arm::Control) => control.push(y),
            (Data::Counts { bins, new, .. }, Arm::New) => new[bins.index(y)] += 1,
            (Data::Counts { bins, control, .. }, Arm::Control) => control[bins.index(y)] += 1,
        }
        Ok(())
    }

    /// Adds another part of the same block. The order of merging makes no difference, not even in the last
    /// bit: a list is put in order before it is used.
    ///
    /// # Errors
    /// [`Rejected::Shape`] when the other part has another range or other bins.
    pub fn merge(&mut self, other: &Self) -> Result<(), Rejected> {
        if self.range != other.range {
            return Err(Rejected::Shape);
        }
        match (&mut self.data, &other.data) {
            (Data::Values { new, control }, Data::Values { new: more_new, control: more_control }) => {
                new.extend_from_slice(more_new);
                control.extend_from_slice(more_control);
            }
            (
                Data::Counts { bins, new, control },
                Data::Counts { bins: other_bins, new: more_new, control: more_control },
            ) if bins == other_bins => {
                add_counts(new, more_new);
                add_counts(control, more_control);
            }
            (Data::Values { .. } | Data::Counts { .. }, Data::Values { .. } | Data::Counts { .. }) => {
                return Err(Rejected::Shape);
            }
        }
        Ok(())
    }

    /// Puts the values in order. Not needed for a right result; saves a copy when several processes read
    /// the same block.
    pub fn seal(&mut self) {
        if let Data::Values { new, control } = &mut self.data {
            new.sort_unstable_by(f64::total_cmp);
            control.sort_unstable_by(f64::total_cmp);
        }
    }

    /// How many values one arm has.
    #[must_use]
    pub fn n(&self, arm: Arm) -> u64 {
        match (&self.data, arm) {
            (Data::Values { new, .. }, Arm::New) => new.len() as u64,
            (Data::Values { control, .. }, Arm::Control) => control.len() as u64,
            (Data::Counts { new, .. }, Arm::New) => new.iter().sum(),
            (Data::Counts { control, .. }, Arm::Control) => control.iter().sum(),
        }
    }

    /// What values the block takes.
    #[must_use]
    pub fn range(&self) -> Range {
        self.range
    }

    /// Mean and squared deviations of one arm, for the estimates that are shown.
    #[must_use]
    pub fn moments(&self, arm: Arm) -> Moments {
        let mut moments = Moments::default();
        match self.read(arm) {
            Reading::Values(values) => values.iter().for_each(|y| moments.push(*y)),
            Reading::Sorted(values) => values.iter().for_each(|y| moments.push(*y)),
            Reading::Counts(cells) => {
                for (y, count) in cells {
                    moments.merge(&Moments::constant(count, y));
                }
            }
        }
        moments
    }

    /// The values of an arm in a fixed order.
    pub(crate) fn read(&self, arm: Arm) -> Reading<'_> {
        match &self.data {
            Data::Values { new, control } => {
                let values = match arm {
                    Arm::New => new,
                    Arm::Control => control,
                };
                if values.is_sorted_by(|a, b| a.total_cmp(b).is_le()) {
                    Reading::Values(values)
                } else {
                    let mut copy = values.clone();
                    copy.sort_unstable_by(f64::total_cmp);
                    Reading::Sorted(copy)
                }
            }
            Data::Counts { bins, new, control } => {
                let counts = match arm {
                    Arm::New => new,
                    Arm::Control => control,
                };
                let cells = counts.iter().enumerate().filter(|(_, count)| **count > 0);
                Reading::Counts(cells.map(|(i, count)| (bins.value(i), *count)).collect())
            }
        }
    }
}

/// The values of one arm of a block, in ascending order.
pub(crate) enum Reading<'a> {
    Values(&'a [f64]),
    Sorted(Vec<f64>),
    Counts(Vec<(f64, u64)>),
}

fn add_counts(into: &mut [u64], more: &[u64]) {
    for (a, b) in into.iter_mut().zip(more) {
        *a = a.saturating_add(*b);
    }
}
