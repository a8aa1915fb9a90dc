//! A rollout as a person writes it: a document whose first key is `rollout`, or the flags of the command line.

use serde_json::Value;

use crate::evidence::watch::{Margin, OnHarm, Settle};
use crate::ids::{Key, Span};
use crate::problem::Problem;

use super::{Advance, OnMaxDuration, OnMismatch, OnMissing};

/// A rollout as it was written: what was left out is `None`.
#[derive(Clone, PartialEq, Debug)]
pub struct Spec {
    /// The flag.
    pub flag: Key,
    /// The variant to move to, by name or as a scalar value.
    pub to: String,
    /// The variant to move from; else what the allocation's control is now.
    pub from: Option<String>,
    /// The rule whose allocation it takes over; else the units no earlier rule decided.
    pub rule: Option<String>,
    /// The stages.
    pub stages: Option<Vec<StageSpec>>,
    /// The guardrails; with none given the template's are used.
    pub guardrails: Vec<GuardSpec>,
    /// Metrics that are shown and cannot stop it.
    pub watch: Vec<GuardSpec>,
    /// Whether the template's `early_failure` and `unreported` guardrails are added. Default: yes.
    pub template: bool,
    /// What the evidence must say before a stage is left, where the stage does not say.
    pub advance: Option<Advance>,
    /// Whether proofs start anew at each stage.
    pub proof_per_stage: bool,
    /// Minimum duration of stages that do not say.
    pub min_duration: Option<Span>,
    /// Maximum duration of stages that do not say.
    pub max_duration: Option<Span>,
    /// Minimum samples of stages that do not say.
    pub min_samples: Option<u64>,
    /// What to do when an arm reports nothing.
    pub on_missing: Option<OnMissing>,
    /// How long an arm may stay silent.
    pub silence: Option<Span>,
    /// What to do when a stage takes too long.
    pub on_max_duration: Option<OnMaxDuration>,
    /// What to do when the split is not what was configured.
    pub on_ratio_mismatch: Option<OnMismatch>,
    /// The holdback in 1/100000.
    pub holdback: Option<u32>,
    /// How long the soak lasts.
    pub soak: Option<Span>,
    /// Error budget of the whole rollout.
    pub alpha: Option<f64>,
    /// Error level of a proof of safety.
    pub beta: Option<f64>,
    /// What is randomised.
    pub unit: Option<Key>,
    /// First part of each stratum that is dropped.
    pub warmup: Option<Span>,
    /// How late a report may arrive.
    pub report_lag: Option<Span>,
    /// Whether to deal the units anew.
    pub new_salt: bool,
}

/// A stage as it was written.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StageSpec {
    /// The share in 1/100000; 100000 means everyone after the soak.
    pub share: u32,
    /// See [`super::Stage`].
    pub min_duration: Option<Span>,
    /// See [`super::Stage`].
    pub max_duration: Option<Span>,
    /// See [`super::Stage`].
    pub min_samples: Option<u64>,
    /// See [`super::Stage`].
    pub approval: bool,
    /// See [`super::Stage`].
    pub advance: Option<AdvanceSpec>,
}

/// What a stage says about advancing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdvanceSpec {
    /// No harm, or a proof.
    pub advance: Advance,
    /// The factor to be proven, such as 2 for "less than twice"; else the default.
    pub factor: Option<f64>,
}

/// A guardrail as it was written.
#[derive(Clone, PartialEq, Debug)]
pub struct GuardSpec {
    /// The metric's name, with its statistic: `latency_p95`.
    pub metric: String,
    /// The margin; none means any degradation.
    pub margin: Option<MarginSpec>,
    /// Its share of the error budget.
    pub weight: Option<f64>,
    /// What harm does.
    pub on_harm: Option<OnHarm>,
    /// When a request's state is read.
    pub settle: Option<Settle>,
    /// Late labels.
    pub maturity: Option<Span>,
    /// A fixed winsorising cap.
    pub cap: Option<f64>,
}

/// A margin as it was written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MarginSpec {
    /// The margin.
    pub margin: Margin,
    /// Whether it was written with `>=`: higher is better.
    pub at_least: bool,
}

impl Spec {
    /// Reads a document; every problem is collected. The spec is present when no problem makes it unusable.
    pub fn from_document(document: &Value) -> Result<Self, Vec<Problem>> {
        let _ = document;
        Err(vec![Problem::new("", "not_ready", "rollout documents are not read yet")])
    }
}
