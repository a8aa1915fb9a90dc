//! Several comparisons at once: adjusted p-values, and false discovery control with e-values.
//!
//! Holm (1979) for primary metrics, Benjamini & Hochberg (1995) for exploration, e-BH (Wang & Ramdas 2022)
//! for sequential evidence under any dependence.

use crate::math::{exp, ln};

fn order(p: &[f64]) -> Vec<usize> {
    let mut index: Vec<usize> = (0..p.len()).collect();
    index.sort_by(|a, b| p[*a].total_cmp(&p[*b]).then(a.cmp(b)));
    index
}

/// A p-value that is not a number says nothing: it counts as 1.
fn clean(p: &[f64]) -> Vec<f64> {
    p.iter().map(|p| if p.is_nan() { 1.0 } else { p.clamp(0.0, 1.0) }).collect()
}

/// Holm's adjusted p-values, in the order given: the running maximum of `(m − r + 1)·p_(r)`, at most 1.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let p = clean(p);
    let m = p.len();
    let mut adjusted = vec![1.0; m];
    let mut highest: f64 = 0.0;
    for (rank, i) in order(&p).into_iter().enumerate() {
        highest = highest.max((m - rank) as f64 * p[i]).min(1.0);
        adjusted[i] = highest;
    }
    adjusted
}

/// Benjamini–Hochberg adjusted p-values: the running minimum, from the largest, of `m·p_(r)/r`.
#[must_use]
pub fn bh(p: &[f64]) -> Vec<f64> {
    let p = clean(p);
    let m = p.len();
    let mut adjusted = vec![1.0; m];
    let mut lowest: f64 = 1.0;
    for (rank, i) in order(&p).into_iter().enumerate().rev() {
        lowest = lowest.min(m as f64 * p[i] / (rank + 1) as f64);
        adjusted[i] = lowest;
    }
    adjusted
}

/// e-BH: rejects the `k` hypotheses with the largest evidence, for the largest `k` with
/// `E_(k) ≥ m/(αk)`. Returns their indices in ascending order.
#[must_use]
pub fn ebh(log_e: &[f64], alpha: f64) -> Vec<usize> {
    let m = log_e.len() as f64;
    let mut index: Vec<usize> = (0..log_e.len()).filter(|i| !log_e[*i].is_nan()).collect();
    index.sort_by(|a, b| log_e[*b].total_cmp(&log_e[*a]).then(a.cmp(b)));
    let last = (1..=index.len()).rev().find(|k| log_e[index[*k - 1]] >= ln(m / (alpha * *k as f64)));
    index.truncate(last.unwrap_or(0));
    index.sort_unstable();
    index
}

/// The anytime p-value of the largest log evidence so far: `min(1, exp(−max))`.
#[must_use]
pub fn p_anytime(max_log_e: f64) -> f64 {
    exp(-max_log_e.max(0.0))
}
