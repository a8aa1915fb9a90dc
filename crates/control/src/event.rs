//! Events after parsing and attribution: what the log holds and the evidence is folded from.
//!
//! The shell has already verified tokens, hashed units and corrected clocks; nothing here can name a user.

use serde::{Deserialize, Serialize};

use crate::ids::{AllocationId, Epoch, Fingerprint, FlagId, Span, Timestamp, Unit};
use crate::metric::{MetricRef, Status};

/// Which variant of one flag a unit received, as the evaluation recorded it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Served {
    /// The flag.
    pub flag: FlagId,
    /// The index of the variant.
    pub variant: u16,
    /// The split that decided, if one did and the unit was present: only these are compared.
    pub split: Option<(AllocationId, Epoch)>,
    /// The unit that was randomised (for a flag without a split: the default unit).
    pub unit: Unit,
}

/// One accepted event. Its place is that of its batch: a key of the ingestion belongs to one environment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// How it is recognised when it is sent again.
    pub identity: Identity,
    /// When it happened, corrected for the sender's clock.
    pub time: Timestamp,
    /// What happened.
    pub what: What,
}

/// How a repeated event is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Identity {
    /// A sender that numbers its events: state per sender, not per event.
    Sequence {
        /// The sender.
        source: Fingerprint,
        /// Rises by one per event of this sender.
        seq: u64,
    },
    /// A free id, remembered for 24 hours of event time.
    Id(Fingerprint),
}

/// What happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum What {
    /// A unit received variants; with a request id it also says that the request started.
    Exposure {
        /// Every flag that was served.
        served: Vec<Served>,
        /// The request that starts here, if it will be reported.
        request: Option<Fingerprint>,
    },
    /// A model request ended.
    Request(Request),
    /// A fact reported later.
    Outcome {
        /// Which metric.
        metric: MetricRef,
        /// The value, or the numerator of a ratio.
        value: f64,
        /// The denominator of a ratio, else 1.
        weight: f64,
        /// What the outcome is attributed by.
        to: Subject,
    },
    /// Part of a model call that came without a decision record.
    Call(Call),
    /// A fact about units that came without a decision record.
    Score {
        /// Whom it is about.
        about: Vec<About>,
        /// Which metric.
        metric: MetricRef,
        /// The value, or the numerator of a ratio.
        value: f64,
        /// The denominator of a ratio, else 1.
        weight: f64,
    },
}

/// A flag and the unit that used it. No decision record came with it, so what it received is what it is recorded to
/// have been exposed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct About {
    /// The flag.
    pub flag: FlagId,
    /// The index of the variant, if the sender says it: for baselines only.
    pub variant: Option<u16>,
    /// The unit that the flag goes by.
    pub unit: Unit,
}

/// Part of what is known of a model call whose sender reports each number on its own. Parts of one call share its id.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Call {
    /// What the parts have in common.
    pub id: Fingerprint,
    /// The flags that it used.
    pub about: Vec<About>,
    /// When it started, as well as this part tells.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Option<Span>,
    /// Time to the first token.
    pub first_token: Option<Span>,
    /// How it ended.
    pub status: Option<Status>,
    /// Tokens sent.
    pub tokens_in: Option<u32>,
    /// Tokens received.
    pub tokens_out: Option<u32>,
    /// Cost in the price table's currency.
    pub cost: Option<f64>,
}

/// A model request that ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The id shared with its exposure and its outcomes.
    pub id: Option<Fingerprint>,
    /// Every flag that was served; empty when only the request id links it to its exposure.
    pub served: Vec<Served>,
    /// When it started.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Span,
    /// Time to the first token.
    pub first_token: Option<Span>,
    /// How it ended.
    pub status: Status,
    /// Tokens sent.
    pub tokens_in: Option<u32>,
    /// Tokens received.
    pub tokens_out: Option<u32>,
    /// Cost in the price table's currency.
    pub cost: Option<f64>,
}

/// What an outcome belongs to; the first one present decides.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The decisions it carries (from a token or a decision record).
    pub served: Vec<Served>,
    /// The request it is about.
    pub request: Option<Fingerprint>,
    /// The unit, to be joined with its recorded exposure.
    pub unit: Option<Unit>,
}

/// What became of one event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Counted (attributed, or volume of a flag without a rollout).
    Accepted,
    /// Seen before; counted once.
    Duplicate,
    /// Accepted and durable, but no recorded exposure matches it.
    Unattributed,
    /// Older than the window in which repeats are recognised; not counted.
    TooOld,
    /// The value does not fit the metric; not counted.
    BadValue,
    /// The unit or id tables are full; not counted, send again later.
    Full,
}
