//! The store in memory: for tests, the simulation and the demo's throw-away half. Also the model that the other
//! backends are compared with, so it is plain before it is fast.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::port::{
    AuditHead, AuditQuery, AuditRecord, Checkpoint, Clock, Commit, CommitError, Committed, Fence, FenceCheck,
    Image, Item, ItemId, Lease, Members, MembersOf, Membership, Micros, OutboxDraft, OutboxItem, PartId,
    Revision, Scope, Settled, Status, Store,
};
use crate::{Fault, audit};

/// A store that lives as long as the process.
pub struct Memory {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    items: BTreeMap<ItemId, (Revision, Vec<u8>)>,
    revisions: BTreeMap<Scope, Revision>,
    audit: Vec<AuditRecord>,
    outbox: Vec<Entry>,
    keys: BTreeSet<String>,
    leases: BTreeMap<String, Held>,
    answers: BTreeMap<String, (Vec<u8>, Micros)>,
    log_position: u64,
    members: BTreeSet<Membership>,
    member_changes: u64,
    checkpoint: Option<Checkpoint>,
}

struct Entry {
    item: OutboxItem,
    state: Waiting,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Until(Micros),
    Done,
    Abandoned,
}

struct Held {
    /// `None` after a release.
    holder: Option<String>,
    lease: Lease,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every write checks first and then changes infallibly, so a panic elsewhere leaves no half of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn head(&self) -> AuditHead {
        self.audit.last().map_or_else(AuditHead::default, |last| AuditHead { seq: last.seq, hash: last.hash })
    }

    fn version(&self, id: &ItemId) -> Option<Revision> {
        self.items.get(id).map(|(version, _)| *version)
    }

    fn check(&self, commit: &Commit, now: Micros) -> Result<(), CommitError> {
        if let Some(idempotency) = &commit.idempotency
            && let Some((response, expires)) = self.answers.get(&idempotency.key)
            && *expires > now
        {
            return Err(CommitError::Replayed { response: response.clone() });
        }
        if let Some(FenceCheck { lease, fence }) = &commit.fence {
            let held = self.leases.get(lease).filter(|held| held.holder.is_some());
            if held.is_none_or(|held| held.lease.fence != *fence) {
                return Err(CommitError::Fenced);
            }
        }
        for (item, expected) in &commit.expect {
            let found = self.version(item);
            if found != *expected {
                return Err(CommitError::Conflict { item: item.clone(), found });
            }
        }
        Ok(())
    }

    fn apply(&mut self, commit: Commit, now: Micros) -> Committed {
        let mut bump = commit.bump;
        bump.extend(commit.put.iter().map(|(id, _)| id.scope.clone()));
        let mut committed = Committed::default();
        for scope in bump {
            let revision = self.revisions.entry(scope.clone()).or_default();
            revision.0 += 1;
            committed.revisions.insert(scope, *revision);
        }
        for (id, body) in commit.put {
            let version = committed.revisions.get(&id.scope).copied().unwrap_or_default();
            self.items.insert(id, (version, body));
        }
        for id in &commit.forget {
            self.items.remove(id);
        }
        for draft in commit.audit {
            let record = audit::link(self.head(), draft);
            committed.audit_seq = Some(record.seq);
            self.audit.push(record);
        }
        for draft in commit.outbox {
            self.enqueue(draft);
        }
        if let Some(idempotency) = commit.idempotency {
            self.answers.retain(|_, (_, expires)| *expires > now);
            self.answers.insert(idempotency.key, (idempotency.response, idempotency.expires));
        }
        self.log_position = self.log_position.max(commit.log_position.unwrap_or(0));
        committed
    }

    fn enqueue(&mut self, draft: OutboxDraft) {
        if self.keys.insert(draft.key.clone()) {
            let id = self.outbox.len() as u64 + 1;
            let OutboxDraft { kind, key, body, not_before } = draft;
            let item = OutboxItem { id, kind, key, body, attempts: 0, last_error: None };
            self.outbox.push(Entry { item, state: Waiting::Until(not_before) });
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let now = (self.clock)();
        let mut state = self.lock();
        state.check(&commit, now)?;
        Ok(state.apply(commit, now))
    }

    async fn load(&self) -> Result<Image, Fault> {
        let state = self.lock();
        let items = state.items.iter().map(|(id, (version, body))| Item {
            id: id.clone(),
            version: *version,
            body: body.clone(),
        });
        Ok(Image {
            items: items.collect(),
            revisions: state.revisions.clone(),
            log_position: state.log_position,
        })
    }

    async fn changed_since(&self, scope: &Scope, after: Revision) -> Result<Vec<Item>, Fault> {
        let mut items = self.load().await?.items;
        items.retain(|item| item.id.scope == *scope && item.version > after);
        items.sort_by(|a, b| (a.version, &a.id).cmp(&(b.version, &b.id)));
        Ok(items)
    }

    async fn recall(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        let now = (self.clock)();
        let state = self.lock();
        Ok(state.answers.get(key).filter(|(_, expires)| *expires > now).map(|(response, _)| response.clone()))
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, Fault> {
        let wanted = |record: &&AuditRecord| {
            record.seq > query.after
                && query.subject.as_ref().is_none_or(|subject| *subject == record.draft.subject)
                && query.scope.as_ref().is_none_or(|scope| *scope == record.draft.scope)
        };
        Ok(self.lock().audit.iter().filter(wanted).take(query.limit).cloned().collect())
    }

    async fn acquire(&self, lease: &str, holder: &str, ttl: i64) -> Result<Option<Lease>, Fault> {
        let now = (self.clock)();
        let until = Micros(now.0.saturating_add(ttl));
        let mut state = self.lock();
        let held = state
            .leases
            .entry(lease.to_owned())
            .or_insert_with(|| Held { holder: None, lease: Lease { fence: Fence(0), until: now } });
        let alive = held.holder.is_some() && held.lease.until > now;
        let mine = held.holder.as_deref() == Some(holder);
        if alive && !mine {
            return Ok(None);
        }
        if !alive {
            held.lease.fence.0 += 1;
            held.holder = Some(holder.to_owned());
        }
        held.lease.until = until;
        Ok(Some(held.lease))
    }

    async fn release(&self, lease: &str, fence: Fence) -> Result<(), Fault> {
        if let Some(held) = self.lock().leases.get_mut(lease).filter(|held| held.lease.fence == fence) {
            held.holder = None;
        }
        Ok(())
    }

    async fn due(&self, now: Micros, limit: usize) -> Result<Vec<OutboxItem>, Fault> {
        let state = self.lock();
        let mut due: Vec<_> = state
            .outbox
            .iter()
            .filter_map(|entry| match entry.state {
                Waiting::Until(at) if at <= now => Some((at, entry.item.id, &entry.item)),
                Waiting::Until(_) | Waiting::Done | Waiting::Abandoned => None,
            })
            .collect();
        due.sort_by_key(|(at, id, _)| (*at, *id));
        Ok(due.into_iter().take(limit).map(|(_, _, item)| item.clone()).collect())
    }

    async fn settle(&self, id: u64, how: Settled) -> Result<(), Fault> {
        let mut state = self.lock();
        let waiting = |entry: &&mut Entry| entry.item.id == id && matches!(entry.state, Waiting::Until(_));
        let Some(entry) = state.outbox.iter_mut().find(waiting) else { return Ok(()) };
        match how {
            Settled::Done => {
                entry.item.body.clear();
                entry.state = Waiting::Done;
            }
            Settled::Again { at, error } => {
                entry.item.attempts += 1;
                entry.item.last_error = Some(error);
                entry.state = Waiting::Until(at);
            }
            Settled::Abandoned { error } => {
                entry.item.attempts += 1;
                entry.item.last_error = Some(error);
                entry.state = Waiting::Abandoned;
            }
        }
        Ok(())
    }

    async fn set_member(&self, membership: &Membership, member: bool) -> Result<u64, Fault> {
        let mut state = self.lock();
        let changed = match member {
            true => state.members.insert(membership.clone()),
            false => state.members.remove(membership),
        };
        state.member_changes += u64::from(changed);
        Ok(state.member_changes)
    }

    async fn members(&self, of: MembersOf) -> Result<Members, Fault> {
        let state = self.lock();
        let wanted = |membership: &&Membership| match &of {
            MembersOf::All => true,
            MembersOf::Segment { scope, segment } => {
                membership.scope == *scope && membership.segment == *segment
            }
            MembersOf::Unit(unit) => membership.unit == *unit,
        };
        let members = state.members.iter().filter(wanted).cloned().collect();
        Ok(Members { changes: state.member_changes, members })
    }

    async fn save_checkpoint(&self, position: u64, parts: Vec<(PartId, Vec<u8>)>) -> Result<(), Fault> {
        let mut state = self.lock();
        let checkpoint = state.checkpoint.get_or_insert_default();
        if position < checkpoint.position {
            return Err(Fault::ours(format!(
                "checkpoint at {position} after one at {}",
                checkpoint.position
            )));
        }
        checkpoint.position = position;
        for (part, body) in parts {
            if body.is_empty() {
                checkpoint.parts.remove(&part);
            } else {
                checkpoint.parts.insert(part, body);
            }
        }
        Ok(())
    }

    async fn load_checkpoint(&self) -> Result<Option<Checkpoint>, Fault> {
        Ok(self.lock().checkpoint.clone())
    }

    async fn backup(&self, _to: &Path) -> Result<(), Fault> {
        Err(Fault::operator("this store is in memory only and cannot be backed up"))
    }

    async fn status(&self) -> Result<Status, Fault> {
        let state = self.lock();
        let count = |wanted: fn(Waiting) -> bool| {
            state.outbox.iter().filter(|entry| wanted(entry.state)).count() as u64
        };
        Ok(Status {
            incarnation: "memory".to_owned(),
            schema: 0,
            audit: state.head(),
            outbox_waiting: count(|state| matches!(state, Waiting::Until(_))),
            outbox_abandoned: count(|state| state == Waiting::Abandoned),
            full: false,
        })
    }
}
