//! How the pipeline is: what its threads and tasks count.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ensign_control::ids::Timestamp;
use tokio::sync::Notify;

/// How the pipeline is, for `/readyz` and `/metrics`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Status {
    /// The time of the last tick that was folded; none before the first.
    pub last_tick: Option<Timestamp>,
    /// The position behind the last folded record.
    pub folded: u64,
    /// The position behind the last durable record.
    pub durable: u64,
    /// The position of the last saved checkpoint.
    pub checkpoint: u64,
    /// When that was saved.
    pub checkpoint_at: Option<Timestamp>,
    /// Bytes of events under way.
    pub in_flight: u64,
    /// Whether the last write to the log was refused for want of space.
    pub full: bool,
    /// Events folded since the start, by fate: accepted, duplicate, unattributed, too old, bad value, full.
    pub fates: [u64; 6],
    /// Batches refused because too much was under way.
    pub overloaded: u64,
    /// Exposures of the server's own evaluations that were lost: the log was full or too slow.
    pub exposures_lost: u64,
    /// How often saving a checkpoint has failed in a row.
    pub checkpoint_failures: u64,
}

/// What the threads and tasks share.
pub(super) struct Shared {
    pub(super) evidence: Notify,
    pub(super) folded: AtomicU64,
    pub(super) tick: AtomicI64,
    pub(super) checkpoint: AtomicU64,
    pub(super) checkpoint_at: AtomicI64,
    pub(super) checkpoint_failures: AtomicU64,
    pub(super) full: AtomicBool,
    pub(super) fates: [AtomicU64; 6],
    pub(super) overloaded: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// No tick yet.
pub(super) const NEVER: i64 = i64::MIN;

impl Shared {
    pub(super) fn new(position: u64, tick: Timestamp) -> Self {
        Self {
            evidence: Notify::new(),
            folded: AtomicU64::new(position),
            tick: AtomicI64::new(tick.0),
            checkpoint: AtomicU64::new(position),
            checkpoint_at: AtomicI64::new(NEVER),
            checkpoint_failures: AtomicU64::new(0),
            full: AtomicBool::new(false),
            fates: Default::default(),
            overloaded: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    pub(super) fn folded(&self, position: u64, tick: Timestamp) {
        self.folded.store(position, Ordering::Relaxed);
        self.tick.store(tick.0, Ordering::Relaxed);
    }
}
