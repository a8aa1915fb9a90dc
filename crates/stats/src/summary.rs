//! The difference between the arms as it is shown: stratified by block, with a confidence sequence.
//!
//! The e-processes decide; this describes. Arms are compared inside blocks only (Mantel & Haenszel 1959;
//! Greenland & Robins 1985), so neither a moving baseline nor a changing share distorts the figure.
//! Formulas: docs/internals/guards.md, §8.

use serde::{Deserialize, Serialize};

use crate::bet::{Arm, Rejected};
use crate::block::MeanBlock;
use crate::math::Sum;
use crate::moments::Moments;
use crate::rate::RateBlock;

/// Blocks with fewer values than this in an arm borrow the stratum's mean: the mean of two values fits
/// them too well.
const SMALL: u64 = 5;

/// One arm of one stratum, for blocks too small to have means of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Small {
    /// Σ weight·(n, Σ(y − ref), Σ(y − ref)²), around the first mean seen.
    n: Sum,
    s: Sum,
    q: Sum,
    /// All values of the stratum, small blocks or not.
    all: Moments,
}

impl Small {
    fn add(&mut self, weight: f64, block: &Moments, reference: f64) {
        let n = block.n() as f64;
        let off = block.mean() - reference;
        self.n.add(weight * n);
        self.s.add(weight * n * off);
        self.q.add(weight * (block.m2() + n * off * off));
    }

    /// Σ weight·Σ(y − stratum mean)².
    fn squares(&self, reference: f64) -> f64 {
        let off = self.all.mean() - reference;
        (self.q.value() - 2.0 * off * self.s.value() + off * off * self.n.value()).max(0.0)
    }
}

/// Block-stratified summary of one metric: constant size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MhSummary {
    weight: Sum,
    weighted_difference: Sum,
    squares: Sum,
    top: Sum,
    bottom: Sum,
    control: Small,
    new: Small,
    reference: Option<f64>,
    n_new: u64,
    n_control: u64,
    sum_new: Sum,
    sum_control: Sum,
}

/// What a summary shows. `difference` and `se` are in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MhEstimate {
    /// New minus control.
    pub difference: f64,
    /// Its standard error.
    pub se: f64,
    /// New over control; `None` when control's sum is zero.
    pub ratio: Option<f64>,
    /// `Σ n_T·n_C/(n_T+n_C)`: how much comparison there has been.
    pub weight: f64,
}

impl MhSummary {
    /// Takes in a closed block of events.
    ///
    /// # Errors
    /// [`Rejected::Counts`] or [`Rejected::EmptyArm`]; the summary is then unchanged.
    pub fn close_rate(&mut self, block: RateBlock) -> Result<(), Rejected> {
        block.check()?;
        let arm = |n: u64, k: u64| {
            let mut moments = Moments::constant(n - k, 0.0);
            moments.merge(&Moments::constant(k, 1.0));
            moments
        };
        self.close(&arm(block.n_t, block.k_t), &arm(block.n_c, block.k_c))
    }

    /// Takes in a closed block of raw values.
    ///
    /// # Errors
    /// [`Rejected::EmptyArm`]; the summary is then unchanged.
    pub fn close_mean(&mut self, block: &MeanBlock) -> Result<(), Rejected> {
        self.close(&block.moments(Arm::New), &block.moments(Arm::Control))
    }

    /// Takes in a closed block as moments of its two arms:
    /// `D = Σw(ȳ_T − ȳ_C)/Σw`, `Var(D) = Σ[(1−h)²SS_T + h²SS_C]/(Σw)²`, `ratio = Σ(1−h)Σy_T/Σh·Σy_C`.
    ///
    /// # Errors
    /// [`Rejected::EmptyArm`]; the summary is then unchanged.
    pub fn close(&mut self, new: &Moments, control: &Moments) -> Result<(), Rejected> {
        if new.n() == 0 || control.n() == 0 {
            return Err(Rejected::EmptyArm);
        }
        let (n_t, n_c) = (new.n() as f64, control.n() as f64);
        let total = n_t + n_c;
        let (h, h_c) = (n_t / total, n_c / total);
        let w = n_t * h_c;
        self.weight.add(w);
        self.weighted_difference.add(w * (new.mean() - control.mean()));
        self.top.add(h_c * n_t * new.mean());
        self.bottom.add(h * n_c * control.mean());
        let reference = *self.reference.get_or_insert(control.mean());
        if new.n() < SMALL || control.n() < SMALL {
            self.new.add(h_c * h_c, new, reference);
            self.control.add(h * h, control, reference);
        } else {
            self.squares.add(h_c * h_c * new.m2() + h * h * control.m2());
        }
        self.new.all.merge(new);
        self.control.all.merge(control);
        self.n_new += new.n();
        self.n_control += control.n();
        self.sum_new.add(n_t * new.mean());
        self.sum_control.add(n_c * control.mean());
        Ok(())
    }

    /// Ends a stratum: small blocks of the next one borrow the next one's means.
    pub fn end_stratum(&mut self) {
        self.squares.add(self.small_squares());
        self.new = Small::default();
        self.control = Small::default();
        self.reference = None;
    }

    fn small_squares(&self) -> f64 {
        let reference = self.reference.unwrap_or(0.0);
        self.new.squares(reference) + self.control.squares(reference)
    }

    /// The figures now; `None` when there was no comparison yet.
    #[must_use]
    pub fn estimate(&self) -> Option<MhEstimate> {
        let weight = self.weight.value();
        if weight <= 0.0 {
            return None;
        }
        let bottom = self.bottom.value();
        Some(MhEstimate {
            difference: self.weighted_difference.value() / weight,
            se: (self.squares.value() + self.small_squares()).max(0.0).sqrt() / weight,
            ratio: (bottom != 0.0).then(|| self.top.value() / bottom),
            weight,
        })
    }

    /// Values counted in one arm, over all strata.
    #[must_use]
    pub fn n(&self, arm: Arm) -> u64 {
        match arm {
            Arm::New => self.n_new,
            Arm::Control => self.n_control,
        }
    }

    /// The plain mean of one arm over all strata. Never show the two side by side as a comparison: the
    /// arms' shares change between stages. `None` before the first value.
    #[must_use]
    pub fn mean(&self, arm: Arm) -> Option<f64> {
        let (n, sum) = match arm {
            Arm::New => (self.n_new, self.sum_new),
            Arm::Control => (self.n_control, self.sum_control),
        };
        (n > 0).then(|| sum.value() / n as f64)
    }

    /// One arm of the current stratum.
    #[must_use]
    pub fn stratum(&self, arm: Arm) -> &Moments {
        match arm {
            Arm::New => &self.new.all,
            Arm::Control => &self.control.all,
        }
    }
}
