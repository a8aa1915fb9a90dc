//! From events to evidence: exposures, strata, blocks and e-processes, folded from one ordered log.
//!
//! The log is the only input: [`Record`]s in the order of their positions. The same records give the same
//! [`report::Evidence`] to the last bit, however they were grouped into calls and wherever the fold was
//! checkpointed and restored.
//!
//! Absent on purpose: clocks (time is in the records), randomness, and decisions: what to do about the
//! evidence is the rollout's business.

pub mod engine;
pub mod log;
pub mod record;
pub mod report;
pub mod watch;

pub use engine::{Applied, BadCheckpoint, Baseline, Engine, Limits, Part};
pub use log::{BadLog, BlockLog, replay};
pub use record::{BadRecord, Record};
