//! Count, mean and squared deviations of a stream: constant size, mergeable.
//!
//! Deviations and not sums of squares, because large latencies with a small spread would otherwise lose
//! all their digits (Welford 1962; merging after Chan, Golub & LeVeque 1983).

use serde::{Deserialize, Serialize};

/// Count, mean and sum of squared deviations of one variable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    n: u64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// `n` times the same value.
    #[must_use]
    pub fn constant(n: u64, y: f64) -> Self {
        if n == 0 { Self::default() } else { Self { n, mean: y, m2: 0.0 } }
    }

    /// Takes in one value: `δ = y − mean; mean += δ/n; M2 += δ·(y − mean)`. Values that are not finite are
    /// left out; check them before, where they can be counted.
    pub fn push(&mut self, y: f64) {
        if !y.is_finite() {
            return;
        }
        self.n += 1;
        let delta = y - self.mean;
        self.mean += delta / self.n as f64;
        self.m2 += delta * (y - self.mean);
    }

    /// Adds another summary: `M2 = M2_a + M2_b + δ²·n_a·n_b/n`, `mean = mean_a + δ·n_b/n`.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.n as f64, other.n as f64);
        let n = a + b;
        let delta = other.mean - self.mean;
        self.mean += delta * (b / n);
        self.m2 += other.m2 + delta * delta * (a * (b / n));
        self.n += other.n;
    }

    /// How many values.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Their mean; 0 before the first.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The sum of squared deviations from the mean.
    #[must_use]
    pub fn m2(&self) -> f64 {
        self.m2
    }

    /// Sample variance (divisor n − 1); `None` below two values.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        (self.n >= 2).then(|| self.m2 / (self.n - 1) as f64)
    }
}

/// Moments of a pair: with a covariate (CUPED) or a denominator (ratios).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PairMoments {
    n: u64,
    mean_x: f64,
    mean_y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl PairMoments {
    /// From plain sums: `[Σx, Σy]` and `[Σx², Σy², Σxy]` over `n` pairs. For small whole numbers, where
    /// nothing cancels.
    #[must_use]
    pub fn from_sums(n: u64, [x, y]: [f64; 2], [xx, yy, xy]: [f64; 3]) -> Self {
        if n == 0 {
            return Self::default();
        }
        let (mean_x, mean_y) = (x / n as f64, y / n as f64);
        Self {
            n,
            mean_x,
            mean_y,
            xx: (xx - x * mean_x).max(0.0),
            yy: (yy - y * mean_y).max(0.0),
            xy: xy - x * mean_y,
        }
    }

    /// Takes in one pair. Pairs that are not finite are left out.
    pub fn push(&mut self, x: f64, y: f64) {
        if !(x.is_finite() && y.is_finite()) {
            return;
        }
        self.n += 1;
        let n = self.n as f64;
        let (dx, dy) = (x - self.mean_x, y - self.mean_y);
        self.mean_x += dx / n;
        self.mean_y += dy / n;
        self.xx += dx * (x - self.mean_x);
        self.yy += dy * (y - self.mean_y);
        self.xy += dx * (y - self.mean_y);
    }

    /// Adds another summary.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.n as f64, other.n as f64);
        let n = a + b;
        let (dx, dy) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        let w = a * (b / n);
        self.mean_x += dx * (b / n);
        self.mean_y += dy * (b / n);
        self.xx += other.xx + dx * dx * w;
        self.yy += other.yy + dy * dy * w;
        self.xy += other.xy + dx * dy * w;
        self.n += other.n;
    }

    /// How many pairs.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Mean of the first variable.
    #[must_use]
    pub fn mean_x(&self) -> f64 {
        self.mean_x
    }

    /// Mean of the second variable.
    #[must_use]
    pub fn mean_y(&self) -> f64 {
        self.mean_y
    }

    /// Squared deviations of the first variable.
    #[must_use]
    pub fn xx(&self) -> f64 {
        self.xx
    }

    /// Squared deviations of the second variable.
    #[must_use]
    pub fn yy(&self) -> f64 {
        self.yy
    }

    /// Products of deviations.
    #[must_use]
    pub fn xy(&self) -> f64 {
        self.xy
    }
}
