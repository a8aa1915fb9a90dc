//! What the data so far supports, for one rollout: the input of every decision and of every view.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Span, Timestamp};

/// Everything known about a rollout at one look.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// When it was looked at.
    pub at: Timestamp,
    /// The log position the look stands at: the same log up to here gives the same evidence.
    pub position: u64,
    /// The stratum now open.
    pub epoch: Epoch,
    /// One entry per guardrail, in the order of the watch.
    pub guards: Vec<GuardEvidence>,
    /// Natural log of the largest evidence of harm among the sums and terms of the combination rule.
    pub log_e_total: f64,
    /// Whether the combination rule asks for a rollback, counting guardrails that act by rolling back.
    pub harm: bool,
    /// Whether the evidence of harm is half way (in logs) to the threshold: do not advance.
    pub doubt: bool,
    /// The sample-ratio check.
    pub ratio: RatioEvidence,
    /// Exposures, missing data and data errors.
    pub health: Health,
}

/// What is known about one guardrail.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GuardEvidence {
    /// Where it stands.
    pub state: GuardState,
    /// Samples in the new arm, all strata.
    pub n_new: u64,
    /// Samples in the control arm, all strata.
    pub n_control: u64,
    /// Samples in the new arm in the open stratum.
    pub stratum_n_new: u64,
    /// Samples in the control arm in the open stratum.
    pub stratum_n_control: u64,
    /// The comparison to show, once both arms have data.
    pub estimate: Option<Estimate>,
    /// ln of the evidence of harm now.
    pub log_e: f64,
    /// ln of the largest evidence of harm so far.
    pub max_log_e: f64,
    /// Its weighted evidence w·E, capped at 1e300; 1/α is the threshold.
    pub contribution: f64,
    /// Per safe margin of the guard: ln of the largest evidence of safety so far in its window.
    pub max_log_e_safe: Vec<f64>,
    /// Labels that may still arrive.
    pub pending: u64,
    /// The age at which requests enter, resolved.
    pub settle: Span,
    /// What a guardrail that cannot decide yet waits for, in words with the number.
    pub waits_for: Option<String>,
    /// Method and its version, for the record.
    pub method: String,
}

/// Where a guardrail stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardState {
    /// Not enough data to say anything; never treated as safe.
    Collecting,
    /// No harm seen so far.
    Healthy,
    /// Its own evidence crossed the threshold.
    Harmed,
    /// Only the combination crossed, and this guardrail carries most of it.
    MainContributor,
    /// Its labels go missing unequally: it can hold, not roll back or prove.
    Untrusted,
}

/// A comparison of the two arms, stratified by block.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Estimate {
    /// The new arm's value in the open stratum.
    pub new: f64,
    /// The control arm's value in the open stratum.
    pub control: f64,
    /// New minus control, block-stratified over the rollout.
    pub difference: f64,
    /// New over control, where control is not zero.
    pub ratio: Option<f64>,
    /// Half-width of the confidence sequence of the difference, once both arms have 100 values.
    pub half_width: Option<f64>,
    /// Level of that sequence, 0.95.
    pub level: f64,
}

/// The sample-ratio check.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RatioEvidence {
    /// Units first exposed per arm in the open stratum: control, new.
    pub units: [u64; 2],
    /// ln of the evidence that the split is not what was configured.
    pub log_e: f64,
    /// Whether it crossed its threshold.
    pub mismatch: bool,
}

/// Exposures, missing data and data errors.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Health {
    /// Exposures of the open stratum per arm: control, new.
    pub exposures: [u64; 2],
    /// Reported requests or outcomes of the open stratum per arm: control, new.
    pub reports: [u64; 2],
    /// When the last exposure of each arm came.
    pub last_exposure: [Option<Timestamp>; 2],
    /// When the last report of each arm came.
    pub last_report: [Option<Timestamp>; 2],
    /// Units seen in both arms within one stratum.
    pub crossed_units: u64,
    /// Events refused or not attributed, by reason.
    pub refused: Vec<(String, u64)>,
    /// Share of events with data errors (clock, range, arm mismatch) above one percent: hold.
    pub too_many_errors: bool,
    /// The unit table is full: hold.
    pub units_full: bool,
}
