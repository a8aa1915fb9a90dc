//! Experiments with a fixed horizon: differences, ratios, covariates, proportions, and the Bayesian view.
//!
//! Units are the randomisation units. For looking while the experiment runs, put the difference and its
//! standard error into [`crate::mixture::asymp_cs`]. Sources: Welch 1947; the delta method for ratios and
//! quantiles with clusters (Deng, Knoblich & Lu 2018); CUPED (Deng, Xu, Kohavi & Walker 2013); intervals of
//! Wilson (1927) and Newcombe (1998).

use serde::{Deserialize, Serialize};

use crate::math::{exp, ln, log_normal_cdf};
use crate::moments::{Moments, PairMoments};
use crate::special::{normal_quantile, student_critical, student_two_sided};

/// A difference of two estimates (new minus control) with its error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// New minus control, in the metric's unit.
    pub estimate: f64,
    /// Standard error.
    pub se: f64,
    /// Degrees of freedom (Welch–Satterthwaite).
    pub df: f64,
}

impl Difference {
    /// From two variances *of the estimates* and their degrees of freedom. `None` without variance or
    /// below one degree of freedom: then there is no interval.
    fn of(estimate: f64, var_new: (f64, f64), var_control: (f64, f64)) -> Option<Self> {
        let ((v_t, df_t), (v_c, df_c)) = (var_new, var_control);
        let v = v_t + v_c;
        let df = v * v / (v_t * v_t / df_t + v_c * v_c / df_c);
        (v > 0.0 && v.is_finite() && df >= 1.0).then(|| Self { estimate, se: v.sqrt(), df })
    }

    /// The t statistic.
    #[must_use]
    pub fn t(&self) -> f64 {
        self.estimate / self.se
    }

    /// Two-sided p-value. Valid at one look.
    #[must_use]
    pub fn p(&self) -> f64 {
        student_two_sided(self.t(), self.df)
    }

    /// The interval of level `1 − alpha`.
    #[must_use]
    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let reach = student_critical(alpha, self.df) * self.se;
        (self.estimate - reach, self.estimate + reach)
    }
}

/// Difference of means (Welch). `None` below two units in an arm or without variance.
#[must_use]
pub fn welch(new: &Moments, control: &Moments) -> Option<Difference> {
    let part = |m: &Moments| Some((m.variance()? / m.n() as f64, (m.n() - 1) as f64));
    Difference::of(new.mean() - control.mean(), part(new)?, part(control)?)
}

/// Relative lift by the delta method: `r = D/|ȳ_C|`, `se² = se_T²/ȳ_C² + se_C²·ȳ_T²/ȳ_C⁴`, the same degrees of
/// freedom. `None` where [`welch`] is, or when control's mean is zero. Show it only when
/// [`lift_is_shown`].
#[must_use]
pub fn relative_lift(new: &Moments, control: &Moments) -> Option<Difference> {
    let plain = welch(new, control)?;
    let (y_t, y_c) = (new.mean(), control.mean());
    if y_c == 0.0 {
        return None;
    }
    let (v_t, v_c) = (new.variance()? / new.n() as f64, control.variance()? / control.n() as f64);
    let ratio = y_t / y_c;
    let se = ((v_t + v_c * ratio * ratio) / (y_c * y_c)).sqrt();
    Some(Difference { estimate: plain.estimate / y_c.abs(), se, df: plain.df })
}

/// Whether control's mean is far enough from zero for a lift to mean something: at least three standard
/// errors.
#[must_use]
pub fn lift_is_shown(control: &Moments) -> bool {
    control.variance().is_some_and(|v| control.mean().abs() >= 3.0 * (v / control.n() as f64).sqrt())
}

/// A ratio of sums over units: x is the denominator, y the numerator.
/// `Var(R) = Σ(Y − R·N)²/((n−1)·n·N̄²)`. `None` below two units or with a zero denominator.
#[must_use]
pub fn ratio(units: &PairMoments) -> Option<(f64, f64)> {
    let n = units.n() as f64;
    if units.n() < 2 || units.mean_x() == 0.0 {
        return None;
    }
    let r = units.mean_y() / units.mean_x();
    // Residuals Y − R·N have mean zero, so their squares are centred products.
    let squares = (units.yy() - 2.0 * r * units.xy() + r * r * units.xx()).max(0.0);
    Some((r, squares / ((n - 1.0) * n * units.mean_x() * units.mean_x())))
}

/// Difference of two ratios of sums.
#[must_use]
pub fn ratio_difference(new: &PairMoments, control: &PairMoments) -> Option<Difference> {
    let ((r_t, v_t), (r_c, v_c)) = (ratio(new)?, ratio(control)?);
    Difference::of(r_t - r_c, (v_t, (new.n() - 1) as f64), (v_c, (control.n() - 1) as f64))
}

/// CUPED: the difference after taking off what a covariate from before the exposure explains.
/// x is the covariate, y the metric. Returns θ and the difference; θ = 0 when the covariate does not vary.
#[must_use]
pub fn cuped(new: &PairMoments, control: &PairMoments) -> Option<(f64, Difference)> {
    let mut all = *new;
    all.merge(control);
    let theta = if all.xx() > 0.0 { all.xy() / all.xx() } else { 0.0 };
    let part = |m: &PairMoments| {
        let df = m.n().checked_sub(1).filter(|df| *df > 0)? as f64;
        let variance = (m.yy() + theta * theta * m.xx() - 2.0 * theta * m.xy()).max(0.0) / df;
        Some((variance / m.n() as f64, df))
    };
    let adjusted = |m: &PairMoments| m.mean_y() - theta * m.mean_x();
    Some((theta, Difference::of(adjusted(new) - adjusted(control), part(new)?, part(control)?)?))
}

/// Wilson's interval for a proportion of `x` among `n`. `None` for `n = 0` or `x > n`.
#[must_use]
pub fn wilson(x: u64, n: u64, alpha: f64) -> Option<(f64, f64)> {
    if n == 0 || x > n {
        return None;
    }
    let z = normal_quantile(1.0 - 0.5 * alpha);
    let (k, n) = (x as f64, n as f64);
    let centre = (k + 0.5 * z * z) / (n + z * z);
    let reach = z / (n + z * z) * (k * (n - k) / n + 0.25 * z * z).sqrt();
    let low = if x == 0 { 0.0 } else { (centre - reach).max(0.0) };
    let high = if k == n { 1.0 } else { (centre + reach).min(1.0) };
    Some((low, high))
}

/// Newcombe's interval for a difference of proportions, from the two Wilson intervals.
#[must_use]
pub fn newcombe(new: (u64, u64), control: (u64, u64), alpha: f64) -> Option<(f64, f64)> {
    let (t, c) = (wilson(new.0, new.1, alpha)?, wilson(control.0, control.1, alpha)?);
    let (p_t, p_c) = (new.0 as f64 / new.1 as f64, control.0 as f64 / control.1 as f64);
    let d = p_t - p_c;
    let reach = |a: f64, b: f64| (a * a + b * b).sqrt();
    Some((d - reach(p_t - t.0, c.1 - p_c), d + reach(t.1 - p_t, p_c - c.0)))
}

/// The log risk ratio with ½ added everywhere, and its standard error. Finite for any counts.
#[must_use]
pub fn log_risk_ratio(new: (u64, u64), control: (u64, u64)) -> Option<(f64, f64)> {
    if new.0 > new.1 || control.0 > control.1 || new.1 == 0 || control.1 == 0 {
        return None;
    }
    let half = |x: u64| x as f64 + 0.5;
    let log = ln(half(new.0) / half(new.1)) - ln(half(control.0) / half(control.1));
    let variance = 1.0 / half(new.0) - 1.0 / half(new.1) + 1.0 / half(control.0) - 1.0 / half(control.1);
    Some((log, variance.max(0.0).sqrt()))
}

/// Ranks (1 = smallest) whose values bound a quantile's standard error:
/// `⌊np − z√(np(1−p))⌋` and `⌈np + z√(np(1−p))⌉ + 1`, z for 95 %. `None` with too few values in a tail (20).
#[must_use]
pub fn quantile_se_ranks(n: u64, p: f64) -> Option<(u64, u64)> {
    let size = n as f64;
    if !(p > 0.0 && p < 1.0) || size * p.min(1.0 - p) < 20.0 - 1e-9 {
        return None;
    }
    let reach = normal_quantile(0.975) * (size * p * (1.0 - p)).sqrt();
    let low = (size * p - reach).floor().max(1.0) as u64;
    let high = ((size * p + reach).ceil() as u64).saturating_add(1).min(n);
    Some((low, high))
}

/// A quantile's standard error from the values at [`quantile_se_ranks`]: `√((n−1)/n)·(upper − lower)/(2z)`.
#[must_use]
pub fn quantile_se(n: u64, lower: f64, upper: f64) -> f64 {
    let n = n.max(1) as f64;
    ((n - 1.0) / n).sqrt() * (upper - lower) / (2.0 * normal_quantile(0.975))
}

/// What clusters multiply a quantile's standard error by: the square root of the ratio-delta variance of
/// "share of values at or below", over the independent one. `units` holds per unit how many values (x) and
/// how many at or below the quantile (y); `n` values in all.
#[must_use]
pub fn quantile_cluster_factor(units: &PairMoments, n: u64, p: f64) -> Option<f64> {
    let (_, variance) = ratio(units)?;
    let plain = p * (1.0 - p) / n as f64;
    (plain > 0.0).then(|| (variance / plain).sqrt())
}

/// The Bayesian view of a relative lift. Read repeatedly, the chance to beat is **not** error-controlled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posterior {
    /// Posterior mean of the lift.
    pub mean: f64,
    /// Posterior standard deviation.
    pub sd: f64,
    /// Probability that the lift is positive.
    pub chance_to_beat: f64,
    /// Expected lift given up by keeping control.
    pub loss_keep_control: f64,
    /// Expected lift given up by shipping new.
    pub loss_ship_new: f64,
}

/// Normal prior, normal likelihood. `None` unless both standard deviations are positive.
#[must_use]
pub fn posterior(lift: f64, se: f64, prior_mean: f64, prior_sd: f64) -> Option<Posterior> {
    let (likelihood, prior) = (1.0 / (se * se), 1.0 / (prior_sd * prior_sd));
    let precision = likelihood + prior;
    if !(se > 0.0 && prior_sd > 0.0 && precision.is_finite() && precision > 0.0 && lift.is_finite()) {
        return None;
    }
    let mean = (lift * likelihood + prior_mean * prior) / precision;
    let sd = (1.0 / precision).sqrt();
    let z = mean / sd;
    let density = exp(-0.5 * z * z - crate::math::HALF_LN_TAU);
    let (above, below) = (exp(log_normal_cdf(z)), exp(log_normal_cdf(-z)));
    Some(Posterior {
        mean,
        sd,
        chance_to_beat: above,
        loss_keep_control: sd * density + mean * above,
        loss_ship_new: sd * density - mean * below,
    })
}

/// A Beta law: `a` successes and `b` failures, priors included (whole numbers of at least 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beta {
    /// Successes and prior.
    pub a: u64,
    /// Failures and prior.
    pub b: u64,
}

/// `P(p_T > p_C)` of two Beta laws, an exact sum over `a_T` terms. `None` above 10,000 terms (use
/// [`posterior`]) or for a parameter of zero.
#[must_use]
pub fn beta_chance(new: Beta, control: Beta) -> Option<f64> {
    if new.a == 0 || new.b == 0 || control.a == 0 || control.b == 0 || new.a > 10_001 {
        return None;
    }
    let log_beta = |a: f64, b: f64| libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    let (a_c, b_c, b_t) = (control.a as f64, control.b as f64, new.b as f64);
    // term_k = B(a_C + k, b_C + b_T)/((b_T + k)·B(1 + k, b_T)·B(a_C, b_C)), by its ratio to the one before.
    let mut term = exp(log_beta(a_c, b_c + b_t) - log_beta(a_c, b_c));
    let mut sum = crate::math::Sum::default();
    for k in 0..new.a {
        sum.add(term);
        let k = k as f64;
        term *= (a_c + k) / (a_c + b_c + b_t + k) * (b_t + k) / (1.0 + k);
    }
    Some(sum.value().clamp(0.0, 1.0))
}

/// Expected loss of shipping new: `ā_C(1 − P(a_T,b_T,a_C+1,b_C)) − ā_T(1 − P(a_T+1,b_T,a_C,b_C))`, ā = a/(a+b).
#[must_use]
pub fn beta_loss_ship_new(new: Beta, control: Beta) -> Option<f64> {
    let mean = |law: Beta| law.a as f64 / (law.a as f64 + law.b as f64);
    let more_control = beta_chance(new, Beta { a: control.a + 1, ..control })?;
    let more_new = beta_chance(Beta { a: new.a + 1, ..new }, control)?;
    Some((mean(control) * (1.0 - more_control) - mean(new) * (1.0 - more_new)).max(0.0))
}
