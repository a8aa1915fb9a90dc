//! The loop and what it needs of the application.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use ensign_control::evidence::Record;
use ensign_control::ids::{Revision, RolloutId, Span, Timestamp};
use ensign_store::{FenceCheck, Store};
use tokio_util::sync::CancellationToken;

pub use crate::ingest::Look;
use crate::ingest::Pipeline;

/// What became of one look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing to decide.
    Nothing,
    /// A decision was committed.
    Decided {
        /// The revision it was committed as.
        revision: Revision,
        /// The decision's stable code.
        what: String,
    },
    /// The lease was lost: somebody else decides now.
    Fenced,
    /// The store could not be written; the guard tries again at the next look.
    Failed(String),
}

/// What the guard needs of the application.
#[async_trait]
pub trait Charge: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Rollouts that have begun, or wait to begin, and have not ended, in order.
    fn active(&self) -> Vec<RolloutId>;

    /// Whether a decision would follow from this evidence; the look has no block log yet, because that is long and
    /// most looks end here.
    fn follows(&self, look: &Look) -> Result<bool, String> {
        let _ = look;
        Ok(true)
    }

    /// Decides on one rollout with this evidence and commits the decision with the look's log position, under
    /// the fence. Cheap when nothing follows.
    async fn look(&self, look: &Look, fence: &FenceCheck) -> Outcome;

    /// Carries out what is due by the clock (expired pins, windows).
    async fn due(&self);
}

/// Times of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// The shortest time between two looks.
    pub busy: Duration,
    /// The longest time between two looks while requests of the last minutes settle.
    pub settling: Duration,
    /// The longest time between two looks.
    pub idle: Duration,
    /// How long a lease is held without renewal.
    pub lease: Span,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            busy: Duration::from_millis(100),
            settling: Duration::from_millis(250),
            idle: Duration::from_secs(1),
            lease: Span::seconds(10),
        }
    }
}

/// The guard of one process.
pub struct Guard {
    pipeline: Arc<Pipeline>,
    store: Arc<dyn Store>,
    /// Weak: the application holds its guard.
    charge: Weak<dyn Charge>,
    tuning: Tuning,
    holder: String,
    last: AtomicI64,
    failures: AtomicU64,
    decisions: AtomicU64,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({})", self.holder)
    }
}

/// How long after an event requests may still settle, at the usual timeouts.
const LIVELY: Span = Span::seconds(120);

/// How often rollouts without new evidence are looked at.
const WHOLE: Span = Span::seconds(1);

/// A lease in hand: its fence, and until when it need not be renewed.
type Held = BTreeMap<RolloutId, (FenceCheck, Timestamp)>;

impl Guard {
    /// A guard that has not looked yet. `holder` names this process in leases.
    pub fn new(
        pipeline: Arc<Pipeline>,
        store: Arc<dyn Store>,
        charge: Weak<dyn Charge>,
        tuning: Tuning,
        holder: impl Into<String>,
    ) -> Self {
        Self {
            pipeline,
            store,
            charge,
            tuning,
            holder: holder.into(),
            last: AtomicI64::new(i64::MIN),
            failures: AtomicU64::new(0),
            decisions: AtomicU64::new(0),
        }
    }

    /// When it last looked at every rollout without a failure; none before the first time. A dead guard looks like
    /// a quiet one, so its age is in `/readyz` and `/metrics`.
    pub fn last_look(&self) -> Option<Timestamp> {
        let at = self.last.load(Ordering::Relaxed);
        (at != i64::MIN).then_some(Timestamp(at))
    }

    /// Looks in a row that failed: the log or the store could not be written.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Decisions committed since the start.
    pub fn decisions(&self) -> u64 {
        self.decisions.load(Ordering::Relaxed)
    }

    /// Looks until `stop`, then gives its leases back. Run it once, as a task.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut held = Held::new();
        let (mut lively, mut whole) = (Timestamp(i64::MIN), Timestamp(i64::MIN));
        loop {
            // Requests that arrived lately come of age between events: their blocks should not wait for a second.
            let Some(charge) = self.charge.upgrade() else { break };
            let now = charge.now();
            let wait = if now < lively { self.tuning.settling } else { self.tuning.idle };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.pipeline.evidence_came() => lively = now + LIVELY,
                () = tokio::time::sleep(wait) => {}
            }
            self.look(&*charge, &mut held, &mut whole).await;
            drop(charge);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.tuning.busy) => {}
            }
        }
        for (lease, _) in held.into_values() {
            self.release(&lease).await;
        }
    }

    async fn release(&self, lease: &FenceCheck) {
        // An unreleased lease expires by itself.
        let _ = self.store.release(&lease.lease, lease.fence).await;
    }

    async fn look(&self, charge: &dyn Charge, held: &mut Held, whole: &mut Timestamp) {
        charge.due().await;
        let now = charge.now();
        let changed = match self.pipeline.command(Record::Tick { now }).await {
            Ok(taken) => taken.changed,
            Err(error) => {
                self.failed(&error);
                return;
            }
        };
        let mut active = charge.active();
        let over: Vec<RolloutId> = held.keys().filter(|rollout| !active.contains(rollout)).cloned().collect();
        for rollout in over {
            if let Some((lease, _)) = held.remove(&rollout) {
                self.release(&lease).await;
            }
        }
        // Time alone moves rollouts too, but not ten times a second.
        if now >= *whole {
            *whole = now + WHOLE;
        } else {
            active.retain(|rollout| changed.contains(rollout));
        }
        let mut good = true;
        for rollout in active {
            good &= self.look_at(charge, rollout, now, held).await;
        }
        if good {
            self.failures.store(0, Ordering::Relaxed);
            self.last.store(now.0, Ordering::Relaxed);
        } else {
            // What could not be decided is tried again at the next look.
            *whole = Timestamp(i64::MIN);
        }
    }

    /// Whether the look succeeded, with or without a decision.
    async fn look_at(
        &self,
        charge: &dyn Charge,
        rollout: RolloutId,
        now: Timestamp,
        held: &mut Held,
    ) -> bool {
        let fence = match self.lease(&rollout, now, held).await {
            Ok(Some(fence)) => fence,
            Ok(None) => return true,
            Err(error) => {
                self.failed(&error);
                return false;
            }
        };
        match charge.follows(&self.pipeline.evidence(&rollout).await) {
            Ok(true) => {}
            Ok(false) => return true,
            Err(why) => {
                self.failed(&why);
                return false;
            }
        }
        let look = self.pipeline.decision(&rollout).await;
        match charge.look(&look, &fence).await {
            Outcome::Nothing => true,
            Outcome::Decided { revision, what } => {
                self.decisions.fetch_add(1, Ordering::Relaxed);
                tracing::info!(%rollout, what, revision = revision.0, "decided");
                let decided = Record::Decided { rollout, at: now, revision: revision.0, what };
                // The decision is committed; the marker only spares a replay from wondering.
                if let Err(error) = self.pipeline.command(decided).await {
                    tracing::warn!(%error, "the decision's marker is not in the event log");
                }
                true
            }
            Outcome::Fenced => {
                held.remove(&rollout);
                true
            }
            Outcome::Failed(why) => {
                self.failed(&why);
                false
            }
        }
    }

    async fn lease(
        &self,
        rollout: &RolloutId,
        now: Timestamp,
        held: &mut Held,
    ) -> Result<Option<FenceCheck>, ensign_store::Fault> {
        if let Some((fence, renew)) = held.get(rollout)
            && now < *renew
        {
            return Ok(Some(fence.clone()));
        }
        let name = format!("rollout/{}/{rollout}", rollout.place);
        let Some(lease) = self.store.acquire(&name, &self.holder, self.tuning.lease.0).await? else {
            held.remove(rollout);
            return Ok(None);
        };
        let fence = FenceCheck { lease: name, fence: lease.fence };
        held.insert(rollout.clone(), (fence.clone(), now + Span(self.tuning.lease.0 / 2)));
        Ok(Some(fence))
    }

    fn failed(&self, why: &dyn fmt::Display) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        // Once, and then now and then: a full disk would fill the operator's log too.
        if before.is_multiple_of(600) {
            tracing::error!(%why, failures = before + 1, "the guard cannot act");
        }
    }
}
