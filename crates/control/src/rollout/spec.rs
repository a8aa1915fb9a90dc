//! A rollout as a person writes it: a document whose first key is `rollout`, or the flags of the command line.

use serde_json::Value;

use crate::document::Problem;
use crate::evidence::watch::{Margin, OnHarm, Settle};
use crate::ids::{Key, Span};

use super::fields::Fields;
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
    /// Whether it was written with `>=` (higher is better) or `<=`; none where it does not say.
    pub at_least: Option<bool>,
}

impl GuardSpec {
    /// A guardrail on `metric` with nothing else said.
    pub fn new(metric: impl Into<String>) -> Self {
        Self {
            metric: metric.into(),
            margin: None,
            weight: None,
            on_harm: None,
            settle: None,
            maturity: None,
            cap: None,
        }
    }
}

/// The keys of a document, for suggestions.
const KEYS: &[&str] = &[
    "ensign",
    "rollout",
    "to",
    "from",
    "rule",
    "stages",
    "guardrails",
    "watch",
    "template",
    "advance",
    "proof_window",
    "min_duration",
    "max_duration",
    "min_samples",
    "on_missing",
    "silence",
    "on_max_duration",
    "on_ratio_mismatch",
    "soak",
    "alpha",
    "beta",
    "unit",
    "warmup",
    "report_lag",
    "salt",
];
pub(super) const STAGE_KEYS: &[&str] =
    &["percentage", "min_duration", "max_duration", "min_samples", "approval", "advance", "safe_margin"];
pub(super) const GUARD_KEYS: &[&str] =
    &["metric", "margin", "weight", "on_harm", "settle", "maturity", "cap"];
pub(super) const SOAK_KEYS: &[&str] = &["holdback", "duration"];

impl Spec {
    /// A rollout of `flag` to `to` with everything else left to the template.
    pub fn new(flag: Key, to: impl Into<String>) -> Self {
        Self {
            flag,
            to: to.into(),
            from: None,
            rule: None,
            stages: None,
            guardrails: Vec::new(),
            watch: Vec::new(),
            template: true,
            advance: None,
            proof_per_stage: false,
            min_duration: None,
            max_duration: None,
            min_samples: None,
            on_missing: None,
            silence: None,
            on_max_duration: None,
            on_ratio_mismatch: None,
            holdback: None,
            soak: None,
            alpha: None,
            beta: None,
            unit: None,
            warmup: None,
            report_lag: None,
            new_salt: false,
        }
    }

    /// Reads a document (JSON, or YAML read into the same values); every problem is collected.
    ///
    /// The command line builds the same document from its flags, so there is one reader. `stages` may also be
    /// written as one text, `"1,5,25,50,100"`.
    pub fn from_document(document: &Value) -> Result<Self, Vec<Problem>> {
        let Some(object) = document.as_object() else {
            return Err(vec![Problem::new(
                "not_an_object",
                "",
                "a rollout is an object whose first key is rollout",
            )]);
        };
        let mut problems = Vec::new();
        let mut fields = Fields::new(object, "", KEYS, &mut problems);
        let flag =
            fields.required("rollout", "the key of the flag").and_then(|text| fields.key("rollout", &text));
        let to = fields.required("to", "the variant to move to");
        let mut spec = Self::new(flag.unwrap_or_else(nobody), to.unwrap_or_default());
        spec.from = fields.scalar("from");
        spec.rule = fields.scalar("rule");
        spec.stages = fields.stages();
        spec.guardrails = fields.guards("guardrails");
        spec.watch = fields.guards("watch");
        spec.template = fields.boolean("template").unwrap_or(true);
        spec.advance = fields.word("advance", &ADVANCE);
        spec.proof_per_stage =
            fields.word("proof_window", &[("rollout", false), ("stage", true)]).unwrap_or(false);
        spec.min_duration = fields.span("min_duration");
        spec.max_duration = fields.span("max_duration");
        spec.min_samples = fields.whole("min_samples");
        let hold = [
            ("hold", OnMissing::Hold),
            ("roll_back", OnMissing::RollBack),
            ("rollback", OnMissing::RollBack),
        ];
        spec.on_missing = fields.word("on_missing", &hold);
        spec.silence = fields.span("silence");
        spec.on_max_duration = fields.word(
            "on_max_duration",
            &[
                ("hold", OnMaxDuration::Hold),
                ("advance", OnMaxDuration::Advance),
                ("roll_back", OnMaxDuration::RollBack),
                ("rollback", OnMaxDuration::RollBack),
            ],
        );
        spec.on_ratio_mismatch = fields.word(
            "on_ratio_mismatch",
            &[
                ("hold", OnMismatch::Hold),
                ("roll_back", OnMismatch::RollBack),
                ("rollback", OnMismatch::RollBack),
                ("warn", OnMismatch::Warn),
            ],
        );
        (spec.holdback, spec.soak) = fields.soak();
        spec.alpha = fields.between("alpha", 1e-6, 0.5);
        spec.beta = fields.between("beta", 1e-6, 0.5);
        spec.unit = fields.scalar("unit").and_then(|text| fields.key("unit", &text));
        spec.warmup = fields.span("warmup");
        spec.report_lag = fields.span("report_lag");
        spec.new_salt = fields.word("salt", &[("keep", false), ("new", true)]).unwrap_or(false);
        if problems.is_empty() { Ok(spec) } else { Err(problems) }
    }
}

pub(super) const ADVANCE: [(&str, Advance); 2] =
    [("no_harm", Advance::NoHarm), ("proven_safe", Advance::ProvenSafe)];

/// Stands for a flag key that could not be read, in a spec that is never returned.
fn nobody() -> Key {
    "unknown".parse().expect("seven letters are a key")
}

/// A share in 1/100000 from a percentage; thousandths of a percent are the finest step.
pub(super) fn share(percentage: f64) -> Result<u32, String> {
    if !(0.0..=100.0).contains(&percentage) {
        return Err(format!("{percentage} is not a percentage: it is from 0 to 100"));
    }
    let share = (percentage * 1000.0).round();
    if (percentage * 1000.0 - share).abs() > 1e-6 {
        return Err(format!("{percentage} is finer than 0.001 %"));
    }
    Ok(share as u32)
}
