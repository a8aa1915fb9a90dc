//! From what was written to a plan: every default is filled in and said.

use std::collections::BTreeMap;

use crate::ids::{Key, Span};
use crate::metric::Metric;
use crate::problem::Problem;

use super::{Plan, Spec};

/// What a plan must know about its flag.
#[derive(Clone, PartialEq, Debug)]
pub struct FlagFacts {
    /// The flag's key.
    pub flag: Key,
    /// Its variants, retired ones left out.
    pub variants: Vec<VariantFact>,
    /// For each rule that a rollout can attach to, and `fallthrough`: the variant most of its units get now.
    pub rules: BTreeMap<String, u16>,
    /// The unit of its splits where a rollout does not say: a context kind or an attribute.
    pub unit: Key,
    /// The request timeout of its use case.
    pub timeout: Span,
}

/// One variant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VariantFact {
    /// Its permanent index.
    pub index: u16,
    /// Its name.
    pub name: String,
    /// Its value as text: for a string the string itself, else its JSON.
    pub value: String,
}

/// The plan that `spec` means for this flag, or everything that is wrong.
pub fn resolve(spec: &Spec, flag: &FlagFacts, metrics: &BTreeMap<Key, Metric>) -> Result<Plan, Vec<Problem>> {
    let _ = (spec, flag, metrics);
    Err(vec![Problem::new("", "not_ready", "rollouts are not resolved yet")])
}
