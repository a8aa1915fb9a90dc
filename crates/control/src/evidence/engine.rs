//! The fold: records in, evidence out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::log::BlockLog;
use super::record::Record;
use super::report::Evidence;
use crate::event::Fate;
use crate::ids::{FlagId, RolloutId, Timestamp};
use crate::metric::MetricRef;

/// What the fold may hold in memory, per environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Units with a recorded exposure (about 100 bytes each, more with many user-level guardrails).
    pub units: u64,
    /// Free event ids remembered for 24 hours (about 40 bytes each).
    pub ids: u64,
    /// Requests that have started and not yet entered every block (about 150 bytes each).
    pub pending: u64,
    /// Numbering senders (about 100 bytes each).
    pub sources: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { units: 5_000_000, ids: 20_000_000, pending: 2_000_000, sources: 100_000 }
    }
}

/// What applying one record did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Applied {
    /// What became of each event of a batch, in its order; empty for other records.
    pub fates: Vec<Fate>,
    /// Rollouts whose evidence changed in a way a decision could depend on (a block closed, a check moved).
    pub changed: Vec<RolloutId>,
}

/// One piece of a checkpoint. Pieces are written under their key and replace what was there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The name to store it under.
    pub key: String,
    /// The bytes; empty means: delete what is stored under the key.
    pub bytes: Vec<u8>,
}

/// Why a checkpoint cannot be restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadCheckpoint {
    /// This part is damaged or of another version.
    Part(String),
    /// A part that the others refer to is missing.
    Missing(String),
}

impl fmt::Display for BadCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(key) => {
                write!(f, "part {key} of the evidence checkpoint is damaged or of another version")
            }
            Self::Missing(key) => write!(f, "part {key} of the evidence checkpoint is missing"),
        }
    }
}

impl std::error::Error for BadCheckpoint {}

/// What is known about one variant's metric without any rollout: the last 14 days.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Baseline {
    /// Values (for rates: requests).
    pub n: u64,
    /// Their mean (for rates: the share).
    pub mean: f64,
    /// Their standard deviation.
    pub sd: f64,
    /// p50, p95 and p99; none for rates.
    pub quantiles: Option<[f64; 3]>,
    /// Values per second over the hours that have any.
    pub per_second: f64,
}

/// The fold of the event log.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    position: u64,
    now: Timestamp,
}

impl Engine {
    /// A fold before any record.
    pub fn new(limits: Limits) -> Self {
        Self { limits, position: 0, now: Timestamp(i64::MIN) }
    }

    /// Takes in the record at `position`. Positions rise; the caller starts after [`Engine::position`].
    pub fn apply(&mut self, position: u64, record: &Record) -> Applied {
        self.position = position;
        match record {
            Record::Batch { events, .. } => {
                Applied { fates: vec![Fate::Accepted; events.len()], changed: Vec::new() }
            }
            Record::Tick { now } => {
                self.now = self.now.max(*now);
                Applied::default()
            }
            Record::Watch { .. }
            | Record::Stratum { .. }
            | Record::Ended { .. }
            | Record::Decided { .. }
            | Record::Erase { .. }
            | Record::Forget { .. } => Applied::default(),
        }
    }

    /// The position of the last record taken in; 0 before any.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The time of the last tick.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What the data so far supports for one rollout; `None` if it is not watched (any more).
    pub fn evidence(&self, _rollout: &RolloutId) -> Option<Evidence> {
        None
    }

    /// The rollout's block log up to now, for a receipt: what [`super::replay`] recomputes
    /// [`Engine::evidence`] from.
    pub fn block_log(&self, _rollout: &RolloutId) -> Option<BlockLog> {
        None
    }

    /// What is known about a variant's metric from the last 14 days of requests, with or without a rollout.
    pub fn baseline(&self, _flag: FlagId, _variant: u16, _metric: &MetricRef) -> Option<Baseline> {
        None
    }

    /// The parts that changed since the last call (all of them at the first).
    pub fn checkpoint(&mut self) -> Vec<Part> {
        Vec::new()
    }

    /// Rebuilds the fold from the stored parts, in any order.
    ///
    /// # Errors
    /// When a part is damaged, missing, or was written by another version.
    pub fn restore(limits: Limits, parts: impl IntoIterator<Item = Part>) -> Result<Self, BadCheckpoint> {
        let _ = parts.into_iter().count();
        Ok(Self::new(limits))
    }
}
