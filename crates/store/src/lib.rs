//! The store port, its backends, and the event log.
//!
//! The port ([`Store`]) is narrow on purpose: it knows scopes, items with opaque bodies, an audit chain, an
//! outbox, leases, opt-ins and a checkpoint, and nothing of flags or rollouts. Absent on purpose: queries. Whoever
//! needs to look something up holds the image in memory and keeps it current with `changed_since`.

pub mod audit;
pub mod backup;
mod fault;
mod faulty;
pub mod folder;
pub mod log;
mod memory;
mod port;
pub mod secrets;
mod sqlite;

pub use fault::{Fault, Retry, Whose};
pub use faulty::{Faulty, Lie};
pub use folder::Folder;
pub use memory::Memory;
pub use port::{
    AuditDraft, AuditHead, AuditQuery, AuditRecord, AuditVerdict, Checkpoint, Clock, Commit, CommitError,
    Committed, Expectation, Fence, FenceCheck, Idempotency, Image, Item, ItemId, Lease, Members, MembersOf,
    Membership, Micros, OutboxDraft, OutboxItem, PartId, Revision, Scope, Settled, Status, Store,
};
pub use sqlite::Sqlite;
