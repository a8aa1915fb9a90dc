//! How a rollout stands, as data for lists, status, watch and why.

use serde::Serialize;

use crate::evidence::report::Evidence;
use crate::ids::{Span, Timestamp};

use super::{Facts, NumberUnit, Rollout};

/// How a rollout stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StatusView {
    /// Its name, `inference_model.3`.
    pub rollout: String,
    /// The flag.
    pub flag: String,
    /// The control variant's name.
    pub control: String,
    /// The new variant's name.
    pub new: String,
    /// The phase in one word.
    pub phase: &'static str,
    /// The stage from 1 and how many there are, while at a stage.
    pub stage: Option<(usize, usize)>,
    /// The share of the new variant in percent: 95 until the soak has ended.
    pub percent: f64,
    /// What is the case, why, and what happens next.
    pub sentence: String,
    /// What it waits for before its next step, each in words.
    pub waits_for: Vec<String>,
    /// What happens next.
    pub next: String,
    /// The earliest time of the next step, where time is what it waits for.
    pub next_at: Option<Timestamp>,
    /// One entry per guardrail and watch metric.
    pub guards: Vec<GuardView>,
    /// Split check, missing data and data errors, in words.
    pub health: Vec<String>,
    /// When the evidence was looked at.
    pub looked: Option<Timestamp>,
}

/// A guardrail's verdict. "Not yet" is never safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Proven worse than the margin allows.
    Harm,
    /// Proven to keep the safe margin that the stage asks for.
    Safe,
    /// Neither.
    NotYet,
}

/// How one guardrail stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GuardView {
    /// What people call it.
    pub label: String,
    /// What is allowed: `≤ 1.5×`.
    pub limit: String,
    /// How its numbers are written.
    pub unit: NumberUnit,
    /// Samples in the new arm.
    pub n_new: u64,
    /// Samples in the control arm.
    pub n_control: u64,
    /// The new arm's value in the open stratum.
    pub new: Option<f64>,
    /// The control arm's value in the open stratum.
    pub control: Option<f64>,
    /// New over control.
    pub ratio: Option<f64>,
    /// The interval of new over control (relative margins) or new minus control (absolute ones), 95 %.
    pub interval: Option<(f64, f64)>,
    /// Its verdict.
    pub verdict: Verdict,
    /// The verdict in words with its count.
    pub words: String,
    /// Weighted evidence of harm, and what is needed.
    pub evidence: f64,
    /// The threshold of the weighted evidence, 1/α.
    pub needed: f64,
    /// Evidence of safety as a share of what is needed, in logs: 1 is proven; none where nothing is to be proven.
    pub proof: Option<f64>,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// The age at which its samples count.
    pub settle: Option<Span>,
    /// Shown only.
    pub watch_only: bool,
}

/// How `rollout` stands at `now`.
pub fn view(rollout: &Rollout, evidence: Option<&Evidence>, facts: &Facts, now: Timestamp) -> StatusView {
    let _ = (evidence, facts, now);
    StatusView {
        rollout: rollout.id.to_string(),
        flag: rollout.plan.flag.to_string(),
        control: rollout.plan.control.name.clone(),
        new: rollout.plan.new.name.clone(),
        phase: rollout.phase.word(),
        stage: None,
        percent: f64::from(rollout.share()) / 1000.0,
        sentence: String::new(),
        waits_for: Vec::new(),
        next: String::new(),
        next_at: None,
        guards: Vec::new(),
        health: Vec::new(),
        looked: None,
    }
}
