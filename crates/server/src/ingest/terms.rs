//! What the pipeline is told, and how it says no.

use std::fmt;

use ensign_control::event::Fate;
use ensign_control::evidence::{BadCheckpoint, BadRecord, Limits};
use ensign_control::ids::{RolloutId, Span};
use ensign_store::Fault;
use ensign_store::log::LogError;

/// Sizes and times of the pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the evidence may hold in memory.
    pub evidence: Limits,
    /// Bytes of encoded events that may be under way; beyond it events are refused with `overloaded`.
    pub in_flight: u32,
    /// How long raw events are kept behind the checkpoint.
    pub retention: Span,
    /// The shortest time between two checkpoints. They are rarer when saving takes long: at most a twentieth of
    /// the time goes into it.
    pub checkpoint_every: Span,
    /// Exposures of the server's own evaluations that may wait for the log; beyond it they are counted as lost.
    pub exposures: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            evidence: Limits::default(),
            in_flight: 64 << 20,
            retention: Span::seconds(14 * 86_400),
            checkpoint_every: Span::seconds(5),
            exposures: 100_000,
        }
    }
}

/// What became of submitted records.
#[derive(Clone, PartialEq, Debug)]
pub struct Taken {
    /// What became of each event, in the order submitted.
    pub fates: Vec<Fate>,
    /// Rollouts whose evidence a decision could depend on has changed.
    pub changed: Vec<RolloutId>,
    /// The log position behind the last record.
    pub end: u64,
}

/// Why nothing was acknowledged. The sender keeps the events and sends them again.
#[derive(Clone, PartialEq, Debug)]
pub enum Unavailable {
    /// Too much is under way.
    Overloaded,
    /// The disk is full. It recovers by itself once there is space.
    Full,
    /// The record is longer than a record may be.
    TooLarge,
    /// The log or the fold failed; for the operator's log.
    Fault(String),
    /// The pipeline has been shut down.
    Stopped,
}

impl Unavailable {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Full => "disk_full",
            Self::TooLarge => "batch_too_large",
            Self::Fault(_) => "log_failed",
            Self::Stopped => "shutting_down",
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => {
                f.write_str("Too many events are under way; nothing of this batch was counted.")
            }
            Self::Full => {
                f.write_str("The disk is full; nothing of this batch was counted. Flags are served on.")
            }
            Self::TooLarge => f.write_str("The batch is larger than the log takes; send it in parts."),
            Self::Fault(_) => f.write_str("The event log failed; nothing of this batch was acknowledged."),
            Self::Stopped => f.write_str("The server is shutting down."),
        }
    }
}

impl std::error::Error for Unavailable {}

impl From<LogError> for Unavailable {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full => Self::Full,
            LogError::Busy => Self::Overloaded,
            LogError::TooLarge => Self::TooLarge,
            LogError::Gone { .. } | LogError::Corrupt { .. } | LogError::Fault(_) => {
                Self::Fault(error.to_string())
            }
        }
    }
}

/// Why the pipeline did not open. A person has to look.
#[derive(Debug)]
pub enum OpenError {
    /// The log does not open or read.
    Log(LogError),
    /// The store does not answer.
    Store(Fault),
    /// The checkpoint cannot be restored.
    Checkpoint(BadCheckpoint),
    /// A record of the log cannot be read.
    Record(u64, BadRecord),
    /// The checkpoint rests on records that the log does not have (any more).
    Behind {
        /// The checkpoint's position.
        checkpoint: u64,
        /// The log's end.
        log: u64,
    },
    /// The thread did not start.
    Thread(std::io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::Store(fault) => fault.fmt(f),
            Self::Checkpoint(bad) => bad.fmt(f),
            Self::Record(at, bad) => write!(f, "record {at} of the event log: {bad}"),
            Self::Behind { checkpoint, log } => write!(
                f,
                "the saved evidence stands at record {checkpoint}, but the event log ends at {log}: \
                 they are not of the same backup"
            ),
            Self::Thread(error) => write!(f, "the folding thread did not start: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<LogError> for OpenError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}
