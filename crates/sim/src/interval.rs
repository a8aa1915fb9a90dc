//! Intervals of what was measured: shares by Clopper and Pearson, medians by order statistics.

use ensign_stats::special::incomplete_beta;

/// The exact (Clopper–Pearson) one-sided upper limit of a share: `k` of `n`, at this level.
pub fn share_upper(k: u64, n: u64, level: f64) -> f64 {
    if n == 0 || k >= n {
        return 1.0;
    }
    // P(X ≤ k | p) = 1 − I_p(k + 1, n − k); the limit is the p at which it is 1 − level.
    let (a, b) = ((k + 1) as f64, (n - k) as f64);
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let p = 0.5 * (low + high);
        if incomplete_beta(p, a, b) < level {
            low = p;
        } else {
            high = p;
        }
    }
    high
}

/// A median and its interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Median {
    /// The median.
    pub value: f64,
    /// Lower end of a 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The median with its distribution-free 95 % interval. `None` for no values.
pub fn median(values: &[f64]) -> Option<Median> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let last = n.checked_sub(1)?;
    let half = 0.98 * libm::sqrt(n as f64);
    let middle = n as f64 / 2.0;
    let low = libm::floor((middle - half).max(0.0)) as usize;
    let high = (libm::ceil(middle + half) as usize).min(last);
    let value = 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
    Some(Median { value, low: sorted[low.min(last)], high: sorted[high] })
}

/// The ratio of two medians of paired values, with the 95 % interval of resampled pairs (percentiles of 400).
pub fn median_ratio(pairs: &[(f64, f64)], seed: u64) -> Option<Median> {
    let ratio = |pairs: &[(f64, f64)]| {
        let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        Some(median(&a)?.value / median(&b)?.value)
    };
    let value = ratio(pairs)?;
    let mut random = crate::random::Random::new(seed);
    let mut ratios = Vec::with_capacity(400);
    let mut resampled = pairs.to_vec();
    for _ in 0..400 {
        for slot in &mut resampled {
            *slot = pairs[(random.uniform() * pairs.len() as f64) as usize];
        }
        ratios.extend(ratio(&resampled));
    }
    ratios.sort_by(f64::total_cmp);
    Some(Median { value, low: ratios[10], high: ratios[389] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(k: u64, n: u64, expected: f64) {
        let got = share_upper(k, n, 0.99);
        assert!((got - expected).abs() < 2e-5, "{k} of {n}: {got}");
    }

    #[test]
    fn the_limits_are_the_exact_ones() {
        // None of n: 1 − 0.01^(1/n).
        check(0, 100, 1.0 - 0.01_f64.powf(0.01));
        check(0, 500, 1.0 - 0.01_f64.powf(0.002));
        // All but none of one: P(X ≤ 1 | p) = (1−p)² + 2p(1−p) = 1 − p² = 0.01.
        check(1, 2, 0.99_f64.sqrt());
        assert_eq!(share_upper(3, 3, 0.99), 1.0);
        assert_eq!(share_upper(0, 0, 0.99), 1.0);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]).map(|m| m.value), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]).map(|m| m.value), Some(2.5));
        let hundred: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(median(&hundred), Some(Median { value: 49.5, low: 40.0, high: 60.0 }));
    }
}
