//! The one write path: decide, commit, tell the evidence, serve, announce.

use std::collections::BTreeMap;

use ensign_control::catalogue::{Actor, Answer, Command, Scope};
use ensign_store::FenceCheck;

use crate::{ApiError, App};

/// How a change is to be made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Makes a retry of the same request return the first answer.
    pub idempotency_key: Option<String>,
    /// The lease under which it was decided.
    pub fence: Option<FenceCheck>,
    /// The position of the event log up to which the decision has seen events.
    pub log_position: Option<u64>,
}

/// What a change did.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// The new numbers of the scopes that rose.
    pub revisions: BTreeMap<Scope, u64>,
    /// What the asker is told.
    pub answer: Answer,
}

/// What only the writer touches.
#[derive(Debug, Default)]
pub(crate) struct Writer {}

impl App {
    /// Does what a command says, durably, or says why not.
    ///
    /// # Errors
    /// The domain's refusal, the input's problems, or a store that failed.
    pub async fn act(&self, command: &Command, actor: &Actor, _options: Options) -> Result<Done, ApiError> {
        let _writer = self.writer.lock().await;
        let change = self.catalogue().decide(command, actor, self.now())?;
        Ok(Done { revisions: BTreeMap::new(), answer: change.answer })
    }
}
