//! Normal mixtures: evidence and confidence sequences for anything with an estimate and a standard error.
//!
//! Robbins (1970); Howard, Ramdas, McAuliffe & Sekhon (2021); the asymptotic form is that of Waudby-Smith,
//! Arbour, Sinha, Kennedy & Ramdas (2024). With `S` a score, `V` its variance and `ρ` the mixture's
//! precision, the one-sided form mixes over a half-normal law of effects, the two-sided over a normal one.
//! Asymptotic: from 100 units in each arm on. Derivation: docs/internals/guards.md, §8.

use serde::{Deserialize, Serialize};

use crate::math::{exp, ln, log_mills, log_normal_cdf};

/// Two-sided `log E = ½·ln(ρ/(V+ρ)) + S²/(2(V+ρ))`. 0 when there is no information.
#[must_use]
pub fn two_sided_log_e(s: f64, v: f64, rho: f64) -> f64 {
    if !usable(s, v, rho) {
        return 0.0;
    }
    0.5 * ln(rho / (v + rho)) + s * s / (2.0 * (v + rho))
}

/// One-sided `log E = ½·ln(4ρ/(V+ρ)) + S²/(2(V+ρ)) + ln Φ(S/√(V+ρ))`; large for large positive `S`.
#[must_use]
pub fn one_sided_log_e(s: f64, v: f64, rho: f64) -> f64 {
    if !usable(s, v, rho) {
        return 0.0;
    }
    let total = v + rho;
    0.5 * ln(4.0 * rho / total) + log_mills(s / total.sqrt())
}

fn usable(s: f64, v: f64, rho: f64) -> bool {
    s.is_finite() && v > 0.0 && v.is_finite() && rho > 0.0 && rho.is_finite()
}

/// The score at which the two-sided evidence reaches `1/α`: `√((V+ρ)(ln((V+ρ)/ρ) + 2 ln(1/α)))`.
#[must_use]
pub fn two_sided_bound(v: f64, rho: f64, alpha: f64) -> f64 {
    ((v + rho) * (ln((v + rho) / rho) - 2.0 * ln(alpha))).sqrt()
}

/// The score at which the one-sided evidence reaches `1/α`, by Newton's method inside a bracket (the log
/// evidence rises with the score).
#[must_use]
pub fn one_sided_bound(v: f64, rho: f64, alpha: f64) -> f64 {
    let root = (v + rho).sqrt();
    let target = -ln(alpha) - 0.5 * ln(4.0 * rho / (v + rho));
    // In units of √(V+ρ): solve z²/2 + ln Φ(z) = target.
    let (mut low, mut high) = (-1.0, 2.0);
    for _ in 0..200 {
        if log_mills(low) <= target {
            break;
        }
        low *= 2.0;
    }
    for _ in 0..200 {
        if log_mills(high) >= target {
            break;
        }
        high *= 2.0;
    }
    let mut z = 0.5 * (low + high);
    for _ in 0..100 {
        let gap = log_mills(z) - target;
        if gap > 0.0 {
            high = z;
        } else {
            low = z;
        }
        let slope = z + exp(-0.5 * z * z - crate::math::HALF_LN_TAU - log_normal_cdf(z));
        let next = z - gap / slope;
        let next = if next > low && next < high { next } else { 0.5 * (low + high) };
        if (next - z).abs() <= 1e-15 * z.abs().max(1.0) {
            return next * root;
        }
        z = next;
    }
    z * root
}

/// The `ρ` for which the two-sided boundary is tightest near `V = v_opt`:
/// `v_opt/(2 ln(1/α) + ln(1 + 2 ln(1/α)))`.
#[must_use]
pub fn tuned_rho(v_opt: f64, alpha: f64) -> f64 {
    let l = -2.0 * ln(alpha);
    v_opt / (l + ln(1.0 + l))
}

/// As [`tuned_rho`], for the one-sided boundary (which spends 2α on its side).
#[must_use]
pub fn tuned_rho_one_sided(v_opt: f64, alpha: f64) -> f64 {
    tuned_rho(v_opt, 2.0 * alpha)
}

/// A confidence sequence around one estimate, at one look. All half-widths are in the estimate's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AsympCs {
    /// `ρ = 1/τ²` on the information scale.
    pub rho: f64,
    /// The two-sided sequence is `estimate ± this`.
    pub half_width: f64,
    /// A one-sided bound is `estimate − this` (or `+`).
    pub half_width_one_sided: f64,
    /// Evidence against "no difference".
    pub log_e: f64,
    /// Evidence against "not greater than zero".
    pub log_e_greater: f64,
}

impl AsympCs {
    /// The anytime p-value of this look alone; over a run use the largest evidence so far.
    #[must_use]
    pub fn p_anytime(&self) -> f64 {
        exp(-self.log_e).min(1.0)
    }
}

/// The confidence sequence of an estimate with standard error `se`.
///
/// `tau` is the smallest effect of interest, in the estimate's unit; it only decides where the sequence is
/// tightest. Information `V = 1/se²`, score `S = estimate·V`, `ρ = 1/τ²`.
/// `None` when `se` or `tau` is not positive: no variance is not certainty.
#[must_use]
pub fn asymp_cs(estimate: f64, se: f64, tau: f64, alpha: f64) -> Option<AsympCs> {
    if !(tau > 0.0 && tau.is_finite()) {
        return None;
    }
    asymp_cs_rho(estimate, se, 1.0 / (tau * tau), alpha)
}

/// As [`asymp_cs`], tuned by a planned total sample: tightest when `n_total` reaches `n_star` units.
#[must_use]
pub fn asymp_cs_for_total(estimate: f64, se: f64, n_total: u64, n_star: u64, alpha: f64) -> Option<AsympCs> {
    if n_total == 0 || n_star == 0 || !(alpha > 0.0 && alpha < 1.0) {
        return None;
    }
    // V/ρ = n·(2 ln(1/α) + ln(1 + 2 ln(1/α)))/N*
    let per_unit = 1.0 / tuned_rho(n_star as f64, alpha);
    asymp_cs_rho(estimate, se, 1.0 / (se * se * n_total as f64 * per_unit), alpha)
}

fn asymp_cs_rho(estimate: f64, se: f64, rho: f64, alpha: f64) -> Option<AsympCs> {
    let v = 1.0 / (se * se);
    let sound = estimate.is_finite() && se > 0.0 && v > 0.0 && v.is_finite() && rho > 0.0 && rho.is_finite();
    if !(sound && alpha > 0.0 && alpha < 1.0) {
        return None;
    }
    let s = estimate * v;
    Some(AsympCs {
        rho,
        half_width: two_sided_bound(v, rho, alpha) / v,
        half_width_one_sided: one_sided_bound(v, rho, alpha) / v,
        log_e: two_sided_log_e(s, v, rho),
        log_e_greater: one_sided_log_e(s, v, rho),
    })
}
