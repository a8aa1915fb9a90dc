//! Distribution functions that describe results: chi-square, Student, normal quantile.

use crate::math::{HALF_LN_TAU, exp, ln, ln_1p, log_normal_cdf};

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

/// The regularised incomplete beta function `I_x(a, b)`, by its continued fraction.
#[must_use]
pub fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if !(x > 0.0 && a > 0.0 && b > 0.0) {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on this side of the mean.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let log_front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * ln(x) + b * ln_1p(-x);
    let tiny = 1e-300;
    let guard = |v: f64| if v.abs() < tiny { tiny } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let step = d * c;
        h *= step;
        if (step - 1.0).abs() < 1e-16 {
            break;
        }
    }
    (exp(log_front) * h / a).clamp(0.0, 1.0)
}

/// `P(|T| > |t|)` of Student's t with `df` degrees of freedom (not necessarily whole).
#[must_use]
pub fn student_two_sided(t: f64, df: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    incomplete_beta(df / (df + t * t), 0.5 * df, 0.5)
}

/// The `t` with `P(|T| > t) = alpha`, by bisection on a growing bracket and Newton's method inside.
#[must_use]
pub fn student_critical(alpha: f64, df: f64) -> f64 {
    let mut high = 2.0;
    while student_two_sided(high, df) > alpha && high < 1e300 {
        high *= 2.0;
    }
    let mut low = 0.0;
    let log_norm =
        libm::lgamma(0.5 * (df + 1.0)) - libm::lgamma(0.5 * df) - 0.5 * ln(df * std::f64::consts::PI);
    let mut t = 0.5 * high;
    for _ in 0..200 {
        let gap = student_two_sided(t, df) - alpha;
        if gap > 0.0 {
            low = t;
        } else {
            high = t;
        }
        let density = exp(log_norm - 0.5 * (df + 1.0) * ln_1p(t * t / df));
        let next = t + gap / (2.0 * density);
        let next = if next > low && next < high { next } else { 0.5 * (low + high) };
        if (next - t).abs() <= 1e-15 * t.max(1.0) {
            return next;
        }
        t = next;
    }
    t
}
