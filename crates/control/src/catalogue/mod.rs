//! The catalogue: projects, environments, flags and what belongs to them, as a pure state machine.
//!
//! [`Catalogue::decide`] turns a command into a [`Change`] without touching anything; [`Catalogue::apply`] takes in a
//! change that has been committed. Absent on purpose: a clock, a store, and any rule about who may do what.

mod change;
mod command;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use change::{
    Answer, AuditEntry, Change, EvidenceNote, Item, ItemKey, Line, Notice, PlanItem, Refusal, Rejected,
    Scope, Verb,
};
pub use command::{Actor, Command, Mode, Source, rfc3339};
pub use record::{ApiKey, KeyScope, Record, RecordKind, Window};

use crate::document::Problem;
use crate::ids::{Place, Timestamp};

/// The state of one installation.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {}

impl Catalogue {
    /// The state that the stored items describe. An item that cannot be read is left out and named.
    pub fn load(_items: impl IntoIterator<Item = Item>) -> (Self, Vec<Problem>) {
        (Self::default(), Vec::new())
    }

    /// The change that an empty store needs: project `default` with `production` and `staging`.
    pub fn initial(_now: Timestamp) -> Change {
        Change::default()
    }

    /// What a command would do. Nothing happens yet: a plan is a decision that nobody commits.
    ///
    /// # Errors
    /// [`Rejected`] says why not: the domain refuses, or the input is wrong somewhere.
    pub fn decide(&self, _command: &Command, _actor: &Actor, _now: Timestamp) -> Result<Change, Rejected> {
        Err(Refusal::new("not_built", "This is not built yet.").into())
    }

    /// Takes in a committed change. `revisions` are the new numbers of the scopes that rose.
    pub fn apply(&mut self, _change: &Change, _revisions: &BTreeMap<Scope, u64>) {}

    /// What the clock asks for: each command is to be decided and committed on its own.
    pub fn due(&self, _now: Timestamp) -> Vec<Command> {
        Vec::new()
    }

    /// When [`Catalogue::due`] will next have something, if anything is dated.
    pub fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    /// The definitions of an environment. A flag or segment that has not changed is the same `Arc` as before.
    pub fn compile(&self, _place: &Place) -> Definitions {
        Definitions::default()
    }
}

/// What an environment's ruleset is compiled from.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    /// Flags by key; retired ones are left out.
    pub flags: Vec<Arc<ensign_eval::model::Flag>>,
    /// Segments by key.
    pub segments: Vec<Arc<ensign_eval::model::Segment>>,
}
