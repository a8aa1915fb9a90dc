//! Sample ratio mismatch: do the arms receive the shares they were designed to?
//!
//! The sequential multinomial test of Lindon & Malek (2022): a Dirichlet prior around the design shares
//! against the design shares themselves. Derivation: docs/internals/guards.md, §9.

use serde::{Deserialize, Serialize};

use crate::bet::Invalid;
use crate::math::{Sum, entropy_gap, exp, ln, stirling_error};
use crate::special::chi_square_tail;

/// How tightly the alternative holds to the design: small deviations are looked for.
const CONCENTRATION: f64 = 1000.0;

/// `log E` of counts against design weights (which are normalised here):
/// `Σ[lnΓ(c·p+x) − lnΓ(c·p)] + lnΓ(c) − lnΓ(c+N) − Σ x·ln p`, c = 1000.
///
/// Written with Stirling's formula taken out, so that the large parts become one relative entropy and
/// nothing cancels: with `b = c·p + x`, `B = c + N`, `d = b/(pB) − 1`, and `ε` Stirling's error,
/// `log E = B·Σp[(1+d)ln(1+d) − d] − ½Σln(b/(cp)) + ½ln(B/c) + Σ[ε(b) − ε(cp)] − [ε(B) − ε(c)]`.
///
/// `+∞` when an arm without a share has counts: that is a mismatch at once. 0 when nothing was counted or
/// the weights are senseless.
#[must_use]
pub fn srm_log_e(counts: &[u64], weights: &[f64]) -> f64 {
    let Some(shares) = shares(counts, weights) else { return 0.0 };
    let c = CONCENTRATION;
    let n: u64 = counts.iter().fold(0, |a, b| a.saturating_add(*b));
    let n = n as f64;
    let b_total = c + n;
    let mut sum = Sum::of(0.5 * ln(b_total / c));
    sum.add(-(stirling_error(b_total) - stirling_error(c)));
    for (x, p) in counts.iter().zip(&shares) {
        let x = *x as f64;
        if *p == 0.0 {
            if x > 0.0 {
                return f64::INFINITY;
            }
            continue;
        }
        let (a, b) = (c * p, c * p + x);
        let d = (x - n * p) / (p * b_total);
        sum.add(b_total * p * entropy_gap(d));
        sum.add(-0.5 * ln(b / a));
        sum.add(stirling_error(b) - stirling_error(a));
    }
    sum.value()
}

/// Pearson's chi-square and its p-value, for a finished experiment (not to be looked at repeatedly).
/// `None` when there are fewer than two arms with a share, or no counts.
#[must_use]
pub fn chi_square(counts: &[u64], weights: &[f64]) -> Option<(f64, f64)> {
    let shares = shares(counts, weights)?;
    let n: u64 = counts.iter().fold(0, |a, b| a.saturating_add(*b));
    let arms = shares.iter().filter(|p| **p > 0.0).count();
    if n == 0 || arms < 2 {
        return None;
    }
    let mut chi2 = Sum::default();
    for (x, p) in counts.iter().zip(&shares).filter(|(_, p)| **p > 0.0) {
        let expected = n as f64 * p;
        let gap = *x as f64 - expected;
        chi2.add(gap * gap / expected);
    }
    Some((chi2.value(), chi_square_tail(chi2.value(), (arms - 1) as f64)))
}

fn shares(counts: &[u64], weights: &[f64]) -> Option<Vec<f64>> {
    let total: f64 = weights.iter().sum();
    let sound = counts.len() == weights.len()
        && total > 0.0
        && total.is_finite()
        && weights.iter().all(|w| *w >= 0.0 && w.is_finite());
    sound.then(|| weights.iter().map(|w| w / total).collect())
}

/// The running test of one rollout: one count per unit at its first exposure, stratum after stratum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Srm {
    /// Log evidence of the strata that are over.
    past: f64,
    weights: Vec<f64>,
    counts: Vec<u64>,
    max_log_e: f64,
}

impl Srm {
    /// A test of these design weights, one per arm.
    ///
    /// # Errors
    /// [`Invalid::Share`] when a weight is negative or not finite, or all are zero.
    pub fn new(weights: &[f64]) -> Result<Self, Invalid> {
        let mut srm = Self { past: 0.0, weights: Vec::new(), counts: Vec::new(), max_log_e: 0.0 };
        srm.begin_stratum(weights)?;
        Ok(srm)
    }

    /// Starts a stratum with new design weights; the evidence of the strata adds up.
    ///
    /// # Errors
    /// [`Invalid::Share`] as for [`Srm::new`]; the test is then unchanged.
    pub fn begin_stratum(&mut self, weights: &[f64]) -> Result<(), Invalid> {
        let counts = vec![0; weights.len()];
        if shares(&counts, weights).is_none() {
            return Err(Invalid::Share);
        }
        self.past = self.log_e();
        self.weights = weights.to_vec();
        self.counts = counts;
        Ok(())
    }

    /// Counts first exposures of an arm. An arm that does not exist is left out.
    pub fn observe(&mut self, arm: usize, units: u64) {
        if let Some(count) = self.counts.get_mut(arm) {
            *count = count.saturating_add(units);
        }
    }

    /// Ends a tick: remembers the largest evidence.
    pub fn end_tick(&mut self) {
        self.max_log_e = self.max_log_e.max(self.log_e());
    }

    /// Log of the evidence of a mismatch now; may be `+∞`.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.past + srm_log_e(&self.counts, &self.weights)
    }

    /// The largest log evidence at the end of any tick so far.
    #[must_use]
    pub fn max_log_e(&self) -> f64 {
        self.max_log_e
    }

    /// The anytime p-value: `min(1, exp(−max log E))`.
    #[must_use]
    pub fn p_anytime(&self) -> f64 {
        exp(-self.max_log_e).min(1.0)
    }

    /// Units counted in the current stratum, per arm.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}
