//! A store that lies: it fails commits on purpose, at named places.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::Fault;
use crate::port::{
    AuditQuery, AuditRecord, Checkpoint, Commit, CommitError, Committed, Fence, Image, Item, Lease, Members,
    MembersOf, Membership, Micros, OutboxItem, PartId, Revision, Scope, Settled, Status, Store,
};

/// What goes wrong with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It fails before anything happened.
    Before,
    /// It happened, and the reply is lost.
    ForgetReply,
    /// It succeeds late: it is kept back and happens just before the next commit, although the caller was told that
    /// it failed.
    Late,
    /// The disk is full.
    Full,
}

/// Wraps a store and lies about chosen commits.
pub struct Faulty<S> {
    inner: S,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    seen: u64,
    lies: Vec<(u64, Lie)>,
    late: Vec<Commit>,
}

impl<S: Store> Faulty<S> {
    /// Wraps a store; without lies it behaves as the store does.
    pub fn new(inner: S) -> Self {
        Self { inner, plan: Mutex::default() }
    }

    /// The `nth` commit (the first is 1) goes wrong.
    #[must_use]
    pub fn on_commit(self, nth: u64, lie: Lie) -> Self {
        self.lie(nth, lie);
        self
    }

    /// The `nth` commit from the beginning goes wrong; for a store that is shared already.
    pub fn lie(&self, nth: u64, lie: Lie) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).lies.push((nth, lie));
    }

    /// How many commits were tried.
    pub fn commits(&self) -> u64 {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).seen
    }

    /// The store without the lies.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn next(&self) -> (Option<Lie>, Vec<Commit>) {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.seen += 1;
        let seen = plan.seen;
        let lie = plan.lies.iter().find(|(nth, _)| *nth == seen).map(|(_, lie)| *lie);
        (lie, std::mem::take(&mut plan.late))
    }
}

fn injected(what: &str) -> CommitError {
    CommitError::Fault(Fault::machine(format!("injected: {what}")))
}

#[async_trait]
impl<S: Store> Store for Faulty<S> {
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let (lie, late) = self.next();
        for commit in late {
            // Its caller was told long ago; a conflict or fence stops it here as it would anywhere.
            let _ = self.inner.commit(commit).await;
        }
        match lie {
            None => self.inner.commit(commit).await,
            Some(Lie::Before) => Err(injected("failed before the commit")),
            Some(Lie::Full) => Err(CommitError::Full),
            Some(Lie::ForgetReply) => {
                self.inner.commit(commit).await?;
                Err(injected("the reply was lost"))
            }
            Some(Lie::Late) => {
                self.plan.lock().unwrap_or_else(PoisonError::into_inner).late.push(commit);
                Err(injected("no answer in time"))
            }
        }
    }

    async fn load(&self) -> Result<Image, Fault> {
        self.inner.load().await
    }

    async fn changed_since(&self, scope: &Scope, after: Revision) -> Result<Vec<Item>, Fault> {
        self.inner.changed_since(scope, after).await
    }

    async fn recall(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.inner.recall(key).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, Fault> {
        self.inner.audit(query).await
    }

    async fn acquire(&self, lease: &str, holder: &str, ttl: i64) -> Result<Option<Lease>, Fault> {
        self.inner.acquire(lease, holder, ttl).await
    }

    async fn release(&self, lease: &str, fence: Fence) -> Result<(), Fault> {
        self.inner.release(lease, fence).await
    }

    async fn due(&self, now: Micros, limit: usize) -> Result<Vec<OutboxItem>, Fault> {
        self.inner.due(now, limit).await
    }

    async fn settle(&self, id: u64, how: Settled) -> Result<(), Fault> {
        self.inner.settle(id, how).await
    }

    async fn set_member(&self, membership: &Membership, member: bool) -> Result<u64, Fault> {
        self.inner.set_member(membership, member).await
    }

    async fn members(&self, of: MembersOf) -> Result<Members, Fault> {
        self.inner.members(of).await
    }

    async fn save_checkpoint(&self, position: u64, parts: Vec<(PartId, Vec<u8>)>) -> Result<(), Fault> {
        self.inner.save_checkpoint(position, parts).await
    }

    async fn load_checkpoint(&self) -> Result<Option<Checkpoint>, Fault> {
        self.inner.load_checkpoint().await
    }

    async fn backup(&self, to: &Path) -> Result<(), Fault> {
        self.inner.backup(to).await
    }

    async fn status(&self) -> Result<Status, Fault> {
        self.inner.status().await
    }
}
