//! From events to evidence: exposures, strata, blocks and e-processes, folded from one ordered log.
//!
//! The log is the only input: [`Record`]s in the order of their positions. The same records give the same
//! [`report::Evidence`] to the last bit, wherever the fold was checkpointed and restored.
//!
//! Two steps. The first takes events: it recognises repeats, attributes what it can, and remembers requests
//! until they reach the age at which they count (`fold`, `labels`). The second closes blocks: what closes
//! becomes an entry of the rollout's block log, and only entries reach the processes (`closer`), so that a
//! receipt, which is that log, gives the same evidence without the events.
//!
//! Absent on purpose: clocks (time is in the records), randomness, and decisions: what to do about the
//! evidence is the rollout's business.

mod baseline;
mod block;
mod calls;
mod checkpoint;
mod closer;
mod dedup;
pub mod engine;
mod entry;
mod fold;
mod guard;
mod labels;
pub mod log;
mod plan;
pub mod record;
pub mod report;
mod requests;
mod roll;
mod shards;
mod units;
pub mod watch;

pub use checkpoint::Snapshot;
pub use engine::{Applied, BadCheckpoint, Baseline, Engine, Held, Limits, Part};
pub use log::{BadLog, BlockLog, contents, replay};
pub use record::{BadRecord, Record};
