//! One entry of a rollout's block log: what the closer is fed, and all that it is fed.

use ensign_stats::{ClusterDelta, MeanBlock, RateBlock};
use serde::{Deserialize, Serialize};

use super::report::Health;
use super::watch::{Stratum, Watch};
use crate::ids::{Span, Timestamp};

/// One entry. The order of entries is the order in which the processes saw the data.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The first entry.
    Start { method: u32, watch: Box<Watch> },
    /// A stratum begins, with the resolved age of each request block.
    Stratum { stratum: Stratum, ages: Vec<Span> },
    /// A guardrail's winsorising cap, in the metric's unit, from control values seen before.
    Cap { guard: u16, cap: f64 },
    /// A quantile guardrail's threshold, from control values of earlier blocks. For the reader: the counts
    /// that follow were taken with it.
    Threshold { guard: u16, threshold: f64 },
    /// A request block closed: one sample per guardrail it feeds, in their order.
    Block { stratum: u16, class: u8, samples: Vec<Sample> },
    /// A late metric's own block closed.
    Late { stratum: u16, guard: u16, sample: Sample },
    /// Matured requests, and how many of them have a label.
    Labels { stratum: u16, guard: u16, block: RateBlock },
    /// A tick's observations of a guardrail judged by unit.
    Units { guard: u16, tick: UnitTick },
    /// Matured units of a tick: whether their first matured exposure has its label.
    UnitLabels { guard: u16, seen: Vec<LabelSeen> },
    /// Units (or decisions, when each request is randomised) first exposed since the last such entry.
    Exposed { stratum: u16, control: u64, new: u64 },
    /// The look at which the log was taken: the facts that are not evidence.
    Look(Box<Look>),
}

/// What a closed block holds for one guardrail.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Sample {
    /// No value in one of the arms, or the guardrail still collects what it needs to begin.
    Nothing,
    /// Trials and events.
    Counts(RateBlock),
    /// Trials and exceedances, per null: harm first, then the safe margins.
    Beyond(Vec<RateBlock>),
    /// Values.
    Values(MeanBlock),
}

/// One tick of a guardrail that is judged by unit.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct UnitTick {
    /// First events (rates) or first observations, in the order (event time, unit).
    pub(crate) first: Vec<FirstSeen>,
    /// What the units add to the cluster processes: harm, each safe margin, display.
    pub(crate) deltas: Vec<ClusterDelta>,
    /// Plain sums per stratum, for the view.
    pub(crate) sums: Vec<StratumSums>,
}

/// The first event or observation of one unit.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct FirstSeen {
    pub(crate) stratum: u16,
    pub(crate) new: bool,
    /// Values per null for exceedances (bit 0: harm), else the value.
    pub(crate) y: f64,
    pub(crate) bits: u32,
}

/// Whether one unit's label has come.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct LabelSeen {
    pub(crate) stratum: u16,
    pub(crate) new: bool,
    pub(crate) labelled: bool,
}

/// Plain sums of one stratum: control, new.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StratumSums {
    pub(crate) stratum: u16,
    pub(crate) n: [u64; 2],
    pub(crate) y: [f64; 2],
    pub(crate) size: [f64; 2],
}

/// What a look knows beside the evidence.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) at: Timestamp,
    pub(crate) position: u64,
    pub(crate) health: Health,
    /// Per guardrail.
    pub(crate) guards: Vec<GuardLook>,
}

/// What a look knows about one guardrail beside the evidence.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct GuardLook {
    pub(crate) pending: u64,
    pub(crate) waits_for: Option<String>,
    /// The quantiles of the open stratum, for the view: new, control.
    pub(crate) quantiles: Option<[f64; 2]>,
}
