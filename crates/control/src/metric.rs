//! What is measured: built-in metrics that need no set-up, and metrics a user defines.

use serde::{Deserialize, Serialize};

use crate::ids::{Key, Span};

/// How a request ended. A closed list: every report uses one of these words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A complete, usable answer.
    Ok,
    /// No answer within the request's timeout.
    Timeout,
    /// An answer that the application could not parse or use.
    Malformed,
    /// An answer cut off before its end.
    Truncated,
    /// The model's provider failed.
    UpstreamError,
    /// The model's provider refused for lack of capacity.
    Overloaded,
    /// The model's provider refused for too many requests; a series of its own.
    RateLimited,
    /// The caller's own fault.
    Rejected,
    /// The caller went away.
    ClientCancelled,
    /// A content filter stopped the answer; a series of its own.
    ContentFilter,
}

impl Status {
    /// Every status, in the order of the documentation.
    pub const ALL: [Status; 10] = [
        Self::Ok,
        Self::Timeout,
        Self::Malformed,
        Self::Truncated,
        Self::UpstreamError,
        Self::Overloaded,
        Self::RateLimited,
        Self::Rejected,
        Self::ClientCancelled,
        Self::ContentFilter,
    ];

    /// Whether the default `error_rate` counts this status against the variant.
    pub fn counts_against(self) -> bool {
        match self {
            Self::Timeout | Self::Malformed | Self::Truncated | Self::UpstreamError | Self::Overloaded => {
                true
            }
            Self::Ok | Self::RateLimited | Self::Rejected | Self::ClientCancelled | Self::ContentFilter => {
                false
            }
        }
    }
}

/// A metric that every request report feeds without set-up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// Share of requests whose status counts against the variant.
    ErrorRate,
    /// Share of requests that failed within two seconds of their start.
    EarlyFailure,
    /// Share of requests with one status: `timeout_rate`, `malformed_rate`, `rate_limited_rate`, ….
    StatusRate(Status),
    /// Share of started requests that were never reported within the timeout.
    Unreported,
    /// Time from start to end of a request that did not fail, milliseconds.
    Latency,
    /// Time from start to the first token, milliseconds.
    TimeToFirstToken,
    /// Tokens sent to the model, per request.
    TokensIn,
    /// Tokens received from the model, per request.
    TokensOut,
    /// Cost of a request, in the price table's currency.
    Cost,
}

/// Which number of a metric a guardrail compares.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// The mean; for a rate, the share.
    Mean,
    /// The quantile at this probability: 0.95 for p95.
    Quantile(f64),
}

/// Whether an increase or a decrease is bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Lower is better: an increase is bad.
    Lower,
    /// Higher is better: a decrease is bad.
    Higher,
}

/// The shape of a metric's values, which decides the method.
///
/// Written as `"rate"` or `{"score": {"min": 0, "max": 1}}`: a tag inside the object would not survive the
/// compact encoding of the event log.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// 0 or 1.
    Rate,
    /// A number between `min` and `max`, both inclusive.
    Score {
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// A whole number from 1 to 5.
    Rating,
    /// A whole number of events per unit, 0 or more.
    Count,
    /// A non-negative, possibly heavy-tailed number (tokens, cost, milliseconds).
    Value,
    /// A numerator over a denominator, both summed over the unit.
    Ratio,
}

/// A metric as a project defines it (built-in metrics have a fixed definition of the same form).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metric {
    /// The name used in events and guardrails.
    pub key: Key,
    /// The shape of its values.
    pub shape: Shape,
    /// Which way is better.
    pub better: Better,
    /// The unit of analysis: `request`, or a context kind such as `user`. None: the rollout's unit.
    pub unit: Option<Key>,
    /// How long a late label may take: a unit counts once it is this old, with its value at that age.
    pub maturity: Option<Span>,
}

/// What a guardrail or an outcome is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricRef {
    /// A metric every request report feeds.
    Builtin(Builtin),
    /// A metric the project defines.
    Custom(Key),
}

/// Metrics that need no definition, because those who report them have agreed on their meaning: ratings and judges'
/// scores of the LaunchDarkly AI SDK. A project's own metric of the same key takes precedence.
#[must_use]
pub fn ready_made(key: &str) -> Option<Metric> {
    let score = Shape::Score { min: 0.0, max: 1.0 };
    let (shape, better) = match key {
        "feedback" => (Shape::Rate, Better::Higher),
        "judge_accuracy" | "judge_relevance" => (score, Better::Higher),
        "judge_toxicity" => (score, Better::Lower),
        _ => return None,
    };
    Some(Metric { key: key.parse().ok()?, shape, better, unit: None, maturity: None })
}

/// The keys of [`ready_made`] metrics.
pub const READY_MADE: [&str; 4] = ["feedback", "judge_accuracy", "judge_relevance", "judge_toxicity"];
