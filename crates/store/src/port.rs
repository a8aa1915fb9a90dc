//! The port: what the rest of the program may ask of a store.
//!
//! No table and no query language in its vocabulary, so that memory, SQLite, PostgreSQL and a liar can all implement
//! it and run the same suite (`store_conformance!`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Fault, audit};

/// Microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(pub i64);

/// The store's clock, given at construction. Leases and idempotency keys expire by it and by no other.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// Who shares one revision counter: the installation, a project, or one environment of a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The project's key; empty only in [`Scope::INSTALLATION`].
    pub project: String,
    /// The environment's key; `None` for what belongs to the whole project.
    pub environment: Option<String>,
}

impl Scope {
    /// What belongs to no project: projects themselves, keys of administrators.
    pub const INSTALLATION: Self = Self { project: String::new(), environment: None };

    /// What belongs to a whole project.
    pub fn project(project: impl Into<String>) -> Self {
        Self { project: project.into(), environment: None }
    }

    /// What belongs to one environment.
    pub fn environment(project: impl Into<String>, environment: impl Into<String>) -> Self {
        Self { project: project.into(), environment: Some(environment.into()) }
    }
}

/// The number of one scope's last change. It only grows, also over a restore from a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// What names an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId {
    /// Where it belongs.
    pub scope: Scope,
    /// Its kind, such as `flag`.
    pub kind: String,
    /// Its key within scope and kind.
    pub key: String,
}

impl ItemId {
    /// An id from its three parts.
    pub fn new(scope: Scope, kind: impl Into<String>, key: impl Into<String>) -> Self {
        Self { scope, kind: kind.into(), key: key.into() }
    }
}

/// One stored item. A tombstone is an item too: its body says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub id: ItemId,
    /// The revision of its scope at its last change.
    pub version: Revision,
    /// Its JSON text, opaque to the store.
    pub body: Vec<u8>,
}

/// One expectation: the item has exactly this version (`None`: it does not exist).
pub type Expectation = (ItemId, Option<Revision>);

/// One transaction: all of it happens, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// What the decision was based on, checked item by item.
    pub expect: Vec<Expectation>,
    /// Counters that rise by one. The scope of each item in `put` rises too, named here or not.
    pub bump: BTreeSet<Scope>,
    /// New bodies. What is not named stays as it is; the last of two bodies for one item wins.
    pub put: Vec<(ItemId, Vec<u8>)>,
    /// Items erased without a trace, for personal data only: `changed_since` cannot report them.
    pub forget: Vec<ItemId>,
    /// What is added to the audit chain, in this order.
    pub audit: Vec<AuditDraft>,
    /// What has to be done outside, at least once each.
    pub outbox: Vec<OutboxDraft>,
    /// The lease that the decider must still hold.
    pub fence: Option<FenceCheck>,
    /// Makes a retry of this commit return the first answer instead of happening twice.
    pub idempotency: Option<Idempotency>,
    /// The position in the event log up to which the decision has seen events. It never goes back.
    pub log_position: Option<u64>,
}

/// A lease's name and the fence its holder got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceCheck {
    /// The lease.
    pub lease: String,
    /// The fence from [`Store::acquire`].
    pub fence: Fence,
}

/// A number that rises each time a lease changes hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// A lease that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// To be put into every commit made under the lease.
    pub fence: Fence,
    /// When others may take it, by the store's clock.
    pub until: Micros,
}

/// Makes a commit happen once, however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, unique for the installation (the caller puts the actor into it).
    pub key: String,
    /// What a replay is answered with.
    pub response: Vec<u8>,
    /// When the key is forgotten, by the store's clock.
    pub expires: Micros,
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The new revision of each scope that rose.
    pub revisions: BTreeMap<Scope, Revision>,
    /// The sequence number of the last audit record written, if any was.
    pub audit_seq: Option<u64>,
}

/// Why a commit did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitError {
    /// An item is not as expected: decide again on what is there now.
    Conflict {
        /// The first item that differs.
        item: ItemId,
        /// The version found; `None` when it does not exist.
        found: Option<Revision>,
    },
    /// The lease is somebody else's by now, or was released. Stop deciding.
    Fenced,
    /// It has happened before; this was the answer.
    Replayed {
        /// The answer stored with the first commit.
        response: Vec<u8>,
    },
    /// The disk is full. Nothing happened; reads go on.
    Full,
    /// The store failed. Unless the fault says otherwise it is not known whether the commit happened: read before
    /// deciding again, or send it again with an idempotency key.
    Fault(Fault),
}

impl std::fmt::Display for CommitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Conflict { item, found } => {
                write!(f, "{} {} has changed (now {found:?})", item.kind, item.key)
            }
            Self::Fenced => f.write_str("the lease was lost"),
            Self::Replayed { .. } => f.write_str("this change was made before"),
            Self::Full => f.write_str("the disk is full"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for CommitError {}

impl From<Fault> for CommitError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// An audit record before the store has given it a number and a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDraft {
    /// Where it happened.
    pub scope: Scope,
    /// Who did it.
    pub actor: String,
    /// What was done, such as `flag.update`.
    pub action: String,
    /// To what, such as `flag/inference_model`.
    pub subject: String,
    /// Why, if somebody said so.
    pub reason: Option<String>,
    /// When it was decided.
    pub at: Micros,
    /// What changed, as JSON text.
    pub diff: Vec<u8>,
}

/// One link of the audit chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// What was recorded.
    pub draft: AuditDraft,
    /// The hash of the record before; zeros for the first.
    pub prev_hash: [u8; 32],
    /// See [`audit::hash`].
    pub hash: [u8; 32],
}

/// The end of the audit chain. Kept elsewhere, it shows later whether the chain was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditHead {
    /// The number of the last record; 0 when there is none.
    pub seq: u64,
    /// Its hash; zeros when there is none.
    pub hash: [u8; 32],
}

/// Which audit records to read, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only records with a greater number.
    pub after: u64,
    /// Only records of this subject.
    pub subject: Option<String>,
    /// Only records of this scope.
    pub scope: Option<Scope>,
    /// At most so many.
    pub limit: usize,
}

/// What checking the whole chain found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditVerdict {
    /// How many records were read and found good.
    pub count: u64,
    /// The number of the first record that is missing, altered, or does not follow from the one before.
    pub broken_at: Option<u64>,
}

/// Something to be done outside, at least once. A key that was used before is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxDraft {
    /// What to do, such as `webhook`.
    pub kind: String,
    /// The idempotency key, also for the receiver.
    pub key: String,
    /// What to send.
    pub body: Vec<u8>,
    /// Not before this time.
    pub not_before: Micros,
}

/// An entry of the outbox that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    /// Its id in this store.
    pub id: u64,
    /// What to do.
    pub kind: String,
    /// The idempotency key.
    pub key: String,
    /// What to send.
    pub body: Vec<u8>,
    /// How often it has failed.
    pub attempts: u32,
    /// Why it failed last.
    pub last_error: Option<String>,
}

/// How an attempt at an outbox entry ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is done; the body is dropped, the key is remembered.
    Done,
    /// It failed and is tried again.
    Again {
        /// When.
        at: Micros,
        /// What went wrong.
        error: String,
    },
    /// It failed for good.
    Abandoned {
        /// What went wrong.
        error: String,
    },
}

/// One unit's opt-in to one segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership {
    /// Whose segment.
    pub scope: Scope,
    /// The segment's key.
    pub segment: String,
    /// The unit's key.
    pub unit: String,
}

/// Which memberships to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembersOf {
    /// All of the installation.
    All,
    /// Those of one segment.
    Segment {
        /// Whose segment.
        scope: Scope,
        /// The segment's key.
        segment: String,
    },
    /// Those of one unit, everywhere: what has to go when its data is erased.
    Unit(String),
}

/// Memberships, sorted, and the change counter they belong to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Rises by one with each membership that came or went.
    pub changes: u64,
    /// The memberships asked for.
    pub members: Vec<Membership>,
}

/// The name of one part of the evidence.
pub type PartId = String;

/// The evidence as last saved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The log position it includes everything before of.
    pub position: u64,
    /// Its parts, each from the save that last named it.
    pub parts: BTreeMap<PartId, Vec<u8>>,
}

/// The whole image, read in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Every item, sorted by id.
    pub items: Vec<Item>,
    /// The counter of every scope that has ever risen.
    pub revisions: BTreeMap<Scope, Revision>,
    /// See [`Commit::log_position`]; 0 before the first.
    pub log_position: u64,
}

/// What operators and start-up want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which life of the data this is: renewed by each restore, so that nobody mixes revisions of two lives.
    pub incarnation: String,
    /// The version of the stored format.
    pub schema: u32,
    /// The end of the audit chain.
    pub audit: AuditHead,
    /// Outbox entries that are neither done nor abandoned.
    pub outbox_waiting: u64,
    /// Outbox entries that failed for good.
    pub outbox_abandoned: u64,
    /// Whether the last write was refused for want of space.
    pub full: bool,
}

/// Where the control plane's state lives. Shared as `Arc<dyn Store>`.
///
/// Every method that returns `Ok` for a write has made it durable. Reads see every write that was acknowledged
/// before they began. "Not found" is an answer, never a fault.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes one change, wholly or not at all. Checked in this order: idempotency key, fence, expectations.
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;

    /// The whole image, for a start.
    async fn load(&self) -> Result<Image, Fault>;

    /// The items of a scope whose version is greater than `after`, by version and then by id.
    async fn changed_since(&self, scope: &Scope, after: Revision) -> Result<Vec<Item>, Fault>;

    /// The answer stored under an idempotency key, unless there is none or it has expired. Asked before deciding,
    /// because a repeated request must not be decided on the state that it has changed itself.
    async fn recall(&self, key: &str) -> Result<Option<Vec<u8>>, Fault>;

    /// Audit records, oldest first.
    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, Fault>;

    /// Takes a lease that is free, expired, or the holder's own. The holder's own unexpired lease is renewed and keeps
    /// its fence; otherwise the fence rises. `None`: somebody else holds it. `ttl` is in microseconds.
    async fn acquire(&self, lease: &str, holder: &str, ttl: i64) -> Result<Option<Lease>, Fault>;

    /// Gives a lease back; commits with its fence are refused from now on. Not holding it is no error.
    async fn release(&self, lease: &str, fence: Fence) -> Result<(), Fault>;

    /// Outbox entries due at `now`, longest due first.
    async fn due(&self, now: Micros, limit: usize) -> Result<Vec<OutboxItem>, Fault>;

    /// Says how an attempt ended. An id that is settled for good already is left alone.
    async fn settle(&self, id: u64, how: Settled) -> Result<(), Fault>;

    /// Makes a unit a member, or no member, of a segment. Returns the change counter, which rises only on a change.
    async fn set_member(&self, membership: &Membership, member: bool) -> Result<u64, Fault>;

    /// Memberships.
    async fn members(&self, of: MembersOf) -> Result<Members, Fault>;

    /// Saves evidence in one transaction: the position and the given parts are replaced, other parts stay. An empty
    /// part is dropped. A position before the saved one is a fault.
    async fn save_checkpoint(&self, position: u64, parts: Vec<(PartId, Vec<u8>)>) -> Result<(), Fault>;

    /// The evidence as last saved.
    async fn load_checkpoint(&self) -> Result<Option<Checkpoint>, Fault>;

    /// Writes a consistent copy into a folder, as new files, while running.
    async fn backup(&self, folder: &Path) -> Result<(), Fault>;

    /// How the store is.
    async fn status(&self) -> Result<Status, Fault>;

    /// Reads the whole audit chain and checks every link, also that the chain ends where the store says it does.
    async fn verify_audit(&self) -> Result<AuditVerdict, Fault> {
        let head = self.status().await?.audit;
        let mut check = audit::Check::default();
        while check.broken_at().is_none() && check.seq() < head.seq {
            let query = AuditQuery { after: check.seq(), limit: 1000, ..AuditQuery::default() };
            let page = self.audit(query).await?;
            if page.is_empty() {
                break;
            }
            // Records written since the head was read are not part of this check.
            page.iter().filter(|record| record.seq <= head.seq).for_each(|record| check.add(record));
        }
        Ok(check.finish(head))
    }
}
