//! A fixed quantile of one arm, with a confidence sequence (Howard & Ramdas 2022).
//!
//! For display. The guard on quantiles is the exceedance bet of [`crate::rate`].

use crate::math::{HALF_LN_TAU, ln, ln_1p, stirling_error};

/// A beta-binomial mixture over a sub-Bernoulli process whose steps lie in `[−g, h]`, `g + h = 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BetaBinomial {
    /// How far a step goes down.
    pub g: f64,
    /// How far a step goes up.
    pub h: f64,
    /// The mixture's precision.
    pub r: f64,
}

impl BetaBinomial {
    /// A mixture that is tightest when the intrinsic time is near `v_opt`:
    /// `r = max(v_opt/(2 ln(1/α) + ln(1 + 2 ln(1/α))) − gh, gh/1000)`.
    ///
    /// `None` when a number is outside its range.
    #[must_use]
    pub fn tuned(g: f64, v_opt: f64, alpha: f64) -> Option<Self> {
        if !(g > 0.0 && g < 1.0 && v_opt > 0.0 && v_opt.is_finite() && alpha > 0.0 && alpha < 1.0) {
            return None;
        }
        let h = 1.0 - g;
        let rho = crate::mixture::tuned_rho(v_opt, alpha);
        Some(Self { g, h, r: (rho - g * h).max(1e-3 * g * h) })
    }

    /// `log E` of a sum `s` at intrinsic time `v`:
    /// `−((v+hs)/h)·ln g − ((v−gs)/g)·ln h + lnB((r+v−gs)/g, (r+v+hs)/h) − lnB(r/g, r/h)`.
    ///
    /// Stirling's formula is taken out of the beta functions, so that no large parts cancel.
    /// 0 when the sum is impossible.
    #[must_use]
    pub fn log_e(&self, s: f64, v: f64) -> f64 {
        let Self { g, h, r } = *self;
        let (a0, b0) = (r / g, r / h);
        let (x, y) = ((v - g * s) / g, (v + h * s) / h);
        let (a, b) = (a0 + x, b0 + y);
        if !(a > 0.0 && b > 0.0 && a.is_finite() && b.is_finite()) {
            return 0.0;
        }
        log_beta_rest(a, b) - log_beta_rest(a0, b0) + relative_entropy(a, b, h) - relative_entropy(a0, b0, h)
    }
}

/// `a·ln((a/(a+b))/q) + b·ln((b/(a+b))/(1−q))`: zero at `a/(a+b) = q`, never negative.
fn relative_entropy(a: f64, b: f64, q: f64) -> f64 {
    let n = a + b;
    // a − nq = a(1−q) − bq: the one difference that has to be taken.
    let gap = a * (1.0 - q) - b * q;
    let part = |p: f64, d: f64| n * p * crate::math::entropy_gap(d / (n * p));
    part(q, gap) + part(1.0 - q, -gap)
}

/// `lnB(a,b)` without its entropy part: `½ln 2π − ½ln(ab/(a+b)) + ε(a) + ε(b) − ε(a+b)`.
fn log_beta_rest(a: f64, b: f64) -> f64 {
    HALF_LN_TAU - 0.5 * (ln(a) + ln_1p(-a / (a + b))) + stirling_error(a) + stirling_error(b)
        - stirling_error(a + b)
}

/// Evidence that `x` is not the `p`-quantile, from `at_or_below` values ≤ `x` among `n`.
///
/// `x` belongs to the level-(1−α) confidence sequence while this is below `ln(1/α)`. The step
/// `1{y ≤ x} − p` lies in `[−p, 1−p]`. `v_opt = t_opt·p(1−p)`: tightest near `t_opt` values.
/// `None` when a number is outside its range.
#[must_use]
pub fn quantile_log_e(p: f64, n: u64, at_or_below: u64, t_opt: u64, alpha: f64) -> Option<f64> {
    if !(p > 0.0 && p < 1.0) || at_or_below > n {
        return None;
    }
    let spread = p * (1.0 - p);
    let mixture = BetaBinomial::tuned(p, t_opt as f64 * spread, alpha)?;
    let n = n as f64;
    Some(mixture.log_e(at_or_below as f64 - n * p, n * spread))
}

/// Which ranks (1 = smallest of `n`) bound the `p`-quantile at level 1−α, now and at every other look.
///
/// The bounds are the values of these ranks; `None` on a side means "no bound yet".
#[must_use]
pub fn quantile_ranks(p: f64, n: u64, t_opt: u64, alpha: f64) -> (Option<u64>, Option<u64>) {
    let out = |k: u64| quantile_log_e(p, n, k, t_opt, alpha).is_some_and(|log_e| log_e >= -ln(alpha));
    let centre = (p * n as f64) as u64;
    // The evidence rises to both sides of the centre: bisection on each.
    let lower = out(0).then(|| {
        let (mut far, mut near) = (0, centre);
        while near - far > 1 {
            let middle = far + (near - far) / 2;
            if out(middle) { far = middle } else { near = middle }
        }
        far + 1
    });
    let upper = out(n).then(|| {
        let (mut near, mut far) = (centre, n);
        while far - near > 1 {
            let middle = near + (far - near) / 2;
            if out(middle) { far = middle } else { near = middle }
        }
        far
    });
    (lower, upper)
}
