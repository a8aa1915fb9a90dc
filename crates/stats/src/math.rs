//! Elementary functions in the log domain, the same to the last bit on every machine.
//!
//! Every transcendental function comes from one pure-Rust implementation (`libm`), nothing is fused
//! (`mul_add` is absent on purpose), and the square root is correctly rounded by IEEE 754. A receipt
//! recomputed on another processor therefore gives the same bits.

use serde::{Deserialize, Serialize};

pub(crate) const LN_2: f64 = std::f64::consts::LN_2;
/// ½·ln(2π).
pub(crate) const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

pub(crate) fn ln(x: f64) -> f64 {
    libm::log(x)
}

pub(crate) fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

pub(crate) fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// A sum of many numbers of different size that keeps the digits the plain sum loses (Neumaier 1974).
///
/// The running error is carried beside the sum. Merging adds both parts, so two halves of a stream
/// agree with the whole to the last few bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    hi: f64,
    lo: f64,
}

impl Sum {
    /// A sum that starts at `value`.
    #[must_use]
    pub const fn of(value: f64) -> Self {
        Self { hi: value, lo: 0.0 }
    }

    /// Adds one number. The error of the addition is computed without a branch (Knuth, TAOCP 2, 4.2.2, theorem B).
    pub fn add(&mut self, x: f64) {
        let total = self.hi + x;
        let added = total - self.hi;
        self.lo += (self.hi - (total - added)) + (x - added);
        self.hi = total;
    }

    /// Adds another sum, with its carried error.
    pub fn merge(&mut self, other: Self) {
        self.add(other.hi);
        self.lo += other.lo;
    }

    /// The sum.
    #[must_use]
    pub fn value(self) -> f64 {
        self.hi + self.lo
    }
}

/// `ln(e^a + e^b)` without leaving the log domain; `-inf` is "no mass".
#[must_use]
pub fn log_add_exp(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY || high == f64::INFINITY {
        return high;
    }
    high + ln_1p(exp(low - high))
}

/// `ln Σ e^x` with the largest term taken out; `-inf` for no terms.
#[must_use]
pub fn log_sum_exp(terms: &[f64]) -> f64 {
    let high = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if high.is_infinite() {
        return high;
    }
    let mut sum = 0.0;
    for term in terms {
        sum += exp(term - high);
    }
    high + ln(sum)
}

/// The e-value of a log e-value, for display: capped at 1e300 so that it always prints as a number.
#[must_use]
pub fn e_value(log_e: f64) -> f64 {
    exp(log_e).min(1e300)
}

/// `ln Φ(x)` of the standard normal distribution, with full relative accuracy in the far tail.
///
/// Above −30 from the complementary error function; below, from the asymptotic series of Mills' ratio,
/// `−x²/2 − ln(−x) − ½ln 2π + ln(1 − 1/x² + 3/x⁴ − 15/x⁶ + 105/x⁸)`.
#[must_use]
pub fn log_normal_cdf(x: f64) -> f64 {
    if x > 5.0 {
        // Φ is nearly one: the small complement keeps the digits.
        return ln_1p(-0.5 * libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2));
    }
    if x > -30.0 {
        return ln(0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2));
    }
    let y = 1.0 / (x * x);
    let series = y * (-1.0 + y * (3.0 + y * (-15.0 + y * 105.0)));
    -0.5 * x * x - ln(-x) - HALF_LN_TAU + ln_1p(series)
}

/// `z²/2 + ln Φ(z)`, together: far to the left the two parts nearly cancel.
pub(crate) fn log_mills(z: f64) -> f64 {
    if z > -30.0 {
        return 0.5 * z * z + log_normal_cdf(z);
    }
    let y = 1.0 / (z * z);
    -ln(-z) - HALF_LN_TAU + ln_1p(y * (-1.0 + y * (3.0 + y * (-15.0 + y * 105.0))))
}

/// The error of Stirling's formula: `lnΓ(z) − [(z−½)ln z − z + ½ln 2π]`, for `z > 0`.
///
/// With it, differences of log-gammas of large arguments can be written without cancellation.
pub(crate) fn stirling_error(z: f64) -> f64 {
    if z < 16.0 {
        return libm::lgamma(z) - ((z - 0.5) * ln(z) - z + HALF_LN_TAU);
    }
    let y = 1.0 / (z * z);
    let series = 1.0 / 12.0
        + y * (-1.0 / 360.0
            + y * (1.0 / 1260.0 + y * (-1.0 / 1680.0 + y * (1.0 / 1188.0 - y * 691.0 / 360_360.0))));
    series / z
}

/// `(1+d)·ln(1+d) − d` for `d ≥ −1`: non-negative, and exact to full relative accuracy near zero,
/// where the two parts would cancel.
pub(crate) fn entropy_gap(d: f64) -> f64 {
    if d <= -1.0 {
        return 1.0;
    }
    if d.abs() > 0.05 {
        return (1.0 + d) * ln_1p(d) - d;
    }
    // Σ_{k≥2} (−1)^k d^k / (k(k−1))
    let mut sum = 0.0;
    let mut k = 14.0;
    while k >= 2.0 {
        sum = 1.0 / (k * (k - 1.0)) - d * sum;
        k -= 1.0;
    }
    d * d * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_keeps_what_the_plain_sum_loses() {
        let mut sum = Sum::default();
        for x in [1.0, 1e100, 1.0, -1e100] {
            sum.add(x);
        }
        assert_eq!(sum.value(), 2.0);
    }

    #[test]
    fn no_mass_is_neutral() {
        assert_eq!(log_add_exp(f64::NEG_INFINITY, 3.0), 3.0);
        assert_eq!(log_add_exp(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
    }

    #[test]
    fn the_branches_of_the_normal_tail_meet() {
        let (above, below) = (log_normal_cdf(-29.999_999), log_normal_cdf(-30.000_001));
        assert!((above - below - 30.0333 * 2e-6).abs() < 1e-8, "{above} {below}");
        assert!((log_normal_cdf(5.0) - log_normal_cdf(5.000_000_1)).abs() < 1e-12);
    }

    #[test]
    fn the_branches_of_the_entropy_gap_meet() {
        for d in [0.05_f64, -0.05] {
            let direct = (1.0 + d) * ln_1p(d) - d;
            assert!((entropy_gap(d) - direct).abs() < 1e-16 * 10.0);
        }
        assert_eq!(entropy_gap(-1.0), 1.0);
        assert_eq!(entropy_gap(0.0), 0.0);
    }

    #[test]
    fn the_branches_of_stirling_meet() {
        assert!((stirling_error(15.999_999_9) - stirling_error(16.000_000_1)).abs() < 1e-10);
    }
}
