//! Putting the guardrails of one rollout together: roll back, hold, or neither.
//!
//! Guardrails fed by the same request blocks are averaged (never worse than Bonferroni, by Ville on the
//! average); all others stand alone, by a union bound. The chance of a false rollback over the whole
//! rollout is at most α times the sum of the weights, whatever the dependence between metrics
//! (Vovk & Wang 2021; docs/internals/guards.md, §7).

use serde::{Deserialize, Serialize};

use crate::bet::Invalid;
use crate::math::{exp, ln, log_sum_exp};

/// How a guardrail's evidence enters the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Set {
    /// Randomised per request and fed by the pair's shared request block: averaged with the others of its
    /// kind. The number names the treatment–control pair.
    Shared(u16),
    /// Late metrics with blocks of their own, and everything per unit: alone.
    Alone,
}

/// One guardrail as the rule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weighed {
    /// Its weight; all weights of the rollout and the reserve sum to at most 1.
    pub weight: f64,
    /// Log of its evidence of harm now.
    pub log_e: f64,
    /// How it enters.
    pub set: Set,
}

/// Which part of the rule reached the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decider {
    /// The average over the shared guardrails of this pair.
    Average(u16),
    /// One guardrail alone (its index).
    Guardrail(usize),
}

/// The outcome of the rule at one look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Combined {
    /// The largest of the averages and single terms, `ln E_total`; −∞ without any weight.
    pub log_e: f64,
    /// `ln(1/α)`: where the rollout is taken back.
    pub threshold: f64,
    /// `½·ln(1/α)`: from here on the rollout is held.
    pub hold_threshold: f64,
    /// Which term is the largest; `None` without guardrails.
    pub leader: Option<Decider>,
    /// `ln(w·E)` of each guardrail.
    pub log_weighted: Vec<f64>,
    /// Each guardrail's share of the term it belongs to (1 when alone).
    pub share: Vec<f64>,
    /// Guardrails that are proven harmed on their own (family-wise error at most α).
    pub proven: Vec<bool>,
    /// True when the rollout must be taken back.
    pub crossed: bool,
    /// True when it must not advance.
    pub hold: bool,
}

impl Combined {
    /// The guardrails behind the leading term, largest share first, until nine tenths of it are named.
    /// These are "main contributors", not proven harmed.
    #[must_use]
    pub fn main_contributors(&self, guardrails: &[Weighed]) -> Vec<usize> {
        let mut indices: Vec<usize> = match self.leader {
            None => Vec::new(),
            Some(Decider::Guardrail(index)) => vec![index],
            Some(Decider::Average(pair)) => {
                (0..guardrails.len()).filter(|i| guardrails[*i].set == Set::Shared(pair)).collect()
            }
        };
        indices.retain(|i| self.share.get(*i).is_some_and(|share| *share > 0.0));
        indices.sort_by(|a, b| self.share[*b].total_cmp(&self.share[*a]).then(a.cmp(b)));
        let mut named = 0.0;
        indices.retain(|i| {
            let wanted = named < 0.9;
            named += self.share[*i];
            wanted
        });
        indices
    }
}

/// Applies the rule to all guardrails of a rollout.
///
/// A log e-value that is not a number counts as no evidence.
///
/// # Errors
/// [`Invalid::Share`] when α is not strictly between 0 and 1, a weight is negative or the weights sum to
/// more than 1 (with a rounding allowance of 1e-9).
pub fn combine(guardrails: &[Weighed], alpha: f64) -> Result<Combined, Invalid> {
    let total: f64 = guardrails.iter().map(|g| g.weight).sum();
    let sound = alpha > 0.0 && alpha < 1.0 && total <= 1.0 + 1e-9;
    if !sound || guardrails.iter().any(|g| g.weight < 0.0 || g.weight.is_nan()) {
        return Err(Invalid::Share);
    }
    let threshold = -ln(alpha);
    let log_weighted: Vec<f64> = guardrails
        .iter()
        .map(|g| if g.weight == 0.0 || g.log_e.is_nan() { f64::NEG_INFINITY } else { ln(g.weight) + g.log_e })
        .collect();
    let mut pairs: Vec<u16> = guardrails
        .iter()
        .filter_map(|g| match g.set {
            Set::Shared(pair) => Some(pair),
            Set::Alone => None,
        })
        .collect();
    pairs.sort_unstable();
    pairs.dedup();

    let mut leader = None;
    let mut log_e = f64::NEG_INFINITY;
    let mut share = vec![1.0; guardrails.len()];
    let mut lead = |term: f64, who: Decider| {
        if leader.is_none() || term > log_e {
            log_e = term;
            leader = Some(who);
        }
    };
    for pair in pairs {
        let members: Vec<usize> =
            (0..guardrails.len()).filter(|i| guardrails[*i].set == Set::Shared(pair)).collect();
        let terms: Vec<f64> = members.iter().map(|i| log_weighted[*i]).collect();
        let sum = log_sum_exp(&terms);
        for i in members {
            share[i] = if log_weighted[i] == f64::NEG_INFINITY {
                0.0
            } else {
                exp((log_weighted[i] - sum).min(0.0))
            };
        }
        lead(sum, Decider::Average(pair));
    }
    for (i, guardrail) in guardrails.iter().enumerate() {
        if guardrail.set == Set::Alone {
            lead(log_weighted[i], Decider::Guardrail(i));
        }
    }
    let proven = log_weighted.iter().map(|w| *w >= threshold).collect();
    Ok(Combined {
        log_e,
        threshold,
        hold_threshold: 0.5 * threshold,
        leader,
        share,
        proven,
        crossed: log_e >= threshold,
        hold: log_e >= 0.5 * threshold,
        log_weighted,
    })
}

/// The default weight of each of `guardrails`: `(1 − reserve)/G`.
#[must_use]
pub fn default_weight(guardrails: usize, reserve: f64) -> f64 {
    if guardrails == 0 { 0.0 } else { (1.0 - reserve).clamp(0.0, 1.0) / guardrails as f64 }
}
