//! What the evidence must know about a rollout: its arms, its strata and its guardrails.

use serde::{Deserialize, Serialize};

use crate::ids::{AllocationId, Epoch, FlagId, RolloutId, Span, Timestamp};
use crate::metric::{Better, MetricRef, Shape, Statistic};

/// How much worse the new variant may be before a guardrail calls it harm.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Margin {
    /// A share of the control's value: 0.5 allows 1.5 times (lower is better) or half (higher is better).
    Relative(f64),
    /// A distance in the metric's units.
    Absolute(f64),
}

/// What the guard does when a guardrail proves harm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnHarm {
    /// Take the rollout back.
    RollBack,
    /// Stop advancing and keep the traffic.
    Hold,
    /// Tell someone; the guardrail is a watch metric.
    Alert,
}

/// When a request's state is read.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settle {
    /// Control's p99 latency before the stratum times the largest latency margin, at most the timeout; the
    /// timeout where no baseline or no start is known.
    Default,
    /// At this age.
    After(Span),
    /// On completion: only where both arms are known to share one latency law; the result says so.
    OnCompletion,
}

/// One guardrail, resolved against the project's metrics.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Guard {
    /// What is measured.
    pub metric: MetricRef,
    /// Which number of it.
    pub statistic: Statistic,
    /// The shape of the values.
    pub shape: Shape,
    /// Which way is better.
    pub better: Better,
    /// How much worse is acceptable before it is harm.
    pub margin: Margin,
    /// Margins at which safety is to be proven, one process each; each wider than `margin`.
    pub safe_margins: Vec<Margin>,
    /// Share of the rollout's error budget.
    pub weight: f64,
    /// What to do on harm.
    pub on_harm: OnHarm,
    /// When a request's state is read, for metrics of the request block.
    pub settle: Settle,
    /// Late labels: a unit counts at this age.
    pub maturity: Option<Span>,
    /// Fixed winsorising cap, in the metric's unit, for heavy-tailed means.
    pub cap: Option<f64>,
}

/// What is randomised, as far as the statistics care.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Randomised {
    /// Each request on its own: request-level methods.
    Request,
    /// A unit with several requests: user-level methods.
    Unit,
}

/// A rollout as the evidence sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Watch {
    /// The rollout.
    pub rollout: RolloutId,
    /// The flag's id in events.
    pub flag: FlagId,
    /// The split that is compared.
    pub allocation: AllocationId,
    /// Index of the control variant.
    pub control: u16,
    /// Index of the new variant.
    pub new: u16,
    /// What is randomised.
    pub randomised: Randomised,
    /// A request not finished after this is a timeout.
    pub timeout: Span,
    /// How late a report may arrive after the request ended: added to every settle age, in both arms.
    pub report_lag: Span,
    /// First part of each stratum that is dropped in both arms.
    pub warmup: Span,
    /// The guardrails, in order; their index names them in reports.
    pub guards: Vec<Guard>,
    /// Error budget of the whole rollout for false rollbacks.
    pub alpha: f64,
    /// Error level of a proof of safety.
    pub beta: f64,
    /// Error level of the sample-ratio check.
    pub alpha_srm: f64,
    /// Whether proofs start anew at each stratum.
    pub proof_per_stage: bool,
}

/// A new stratum: an allocation's epoch with its design share.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stratum {
    /// The epoch that decision records of this stratum carry.
    pub epoch: Epoch,
    /// Design share of the new variant among both arms, 1/100000.
    pub share: u32,
    /// When it began.
    pub at: Timestamp,
}
