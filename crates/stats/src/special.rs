//! Distribution functions that describe results: chi-square, Student, normal quantile.

use crate::math::{HALF_LN_TAU, exp, ln, log_normal_cdf};

/// `P(X > x)` of a chi-square variable with `df` degrees of freedom.
#[must_use]
pub fn chi_square_tail(x: f64, df: f64) -> f64 {
    if !(x > 0.0 && df > 0.0) {
        return 1.0;
    }
    let (a, x) = (0.5 * df, 0.5 * x);
    let front = exp(a * ln(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        // Series of the lower part: front/a · Σ x^n / ((a+1)…(a+n)).
        let (mut term, mut sum, mut n) = (1.0, 1.0, a);
        for _ in 0..10_000 {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        return (1.0 - front / a * sum).clamp(0.0, 1.0);
    }
    // Continued fraction of the upper part, evaluated from the front (Lentz).
    let mut b = x + 1.0 - a;
    let mut c = 1e300;
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        let step = d * c;
        h *= step;
        if (step - 1.0).abs() < 1e-16 {
            break;
        }
    }
    (front * h).clamp(0.0, 1.0)
}

/// The normal quantile: the `z` with `Φ(z) = p`. Infinite at 0 and 1.
///
/// Newton's method on `ln Φ`, which is concave, so every step stays on one side.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    if !(p > 0.0 && p < 1.0) {
        return if p <= 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    let target = ln(p);
    let mut z = -(-2.0 * target).sqrt().min(38.0);
    for _ in 0..60 {
        let log_cdf = log_normal_cdf(z);
        let hazard = exp(-0.5 * z * z - HALF_LN_TAU - log_cdf);
        let step = (log_cdf - target) / hazard;
        z -= step;
        if step.abs() <= 1e-15 * z.abs().max(1.0) {
            break;
        }
    }
    z
}
