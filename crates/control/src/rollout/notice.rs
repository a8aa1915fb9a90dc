//! What someone is told: the payloads of webhooks.

use serde::{Deserialize, Serialize};

use crate::ids::{RolloutId, Timestamp};

/// Why someone is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A rollout was taken back.
    Rollback,
    /// A rollout was held, or a watch metric is harmed.
    Hold,
    /// A rollout takes longer than planned and waits for a person.
    Stuck,
    /// An arm is exposed and reports nothing.
    MissingData,
    /// A flag was killed.
    Kill,
    /// A rollout reached everyone.
    Completed,
    /// A stage waits for a person's approval.
    ApprovalNeeded,
}

/// One message to whoever is to be told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// Why.
    pub kind: NoticeKind,
    /// Which rollout.
    pub rollout: RolloutId,
    /// When.
    pub at: Timestamp,
    /// The share of the new variant after the decision, 1/100000.
    pub share: u32,
    /// The phase after the decision, in one word.
    pub phase: String,
    /// What happened and why.
    pub sentence: String,
    /// What a person can do, as a command.
    pub next: String,
}
