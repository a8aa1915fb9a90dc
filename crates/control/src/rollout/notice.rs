//! What someone is told: the payloads of webhooks.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ids::{Key, RolloutId, Timestamp};

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

impl NoticeKind {
    /// What a person can do about it, as a command.
    pub(super) fn command(self, flag: &Key) -> String {
        match self {
            Self::Rollback | Self::MissingData => format!("ensign why {flag}"),
            Self::Hold | Self::Stuck => format!("ensign rollout status {flag}"),
            Self::Kill => format!("ensign restore {flag}"),
            Self::Completed => "ensign export".to_owned(),
            Self::ApprovalNeeded => format!("ensign rollout approve {flag}"),
        }
    }
}

impl Notice {
    /// The body of the webhook: a JSON object.
    ///
    /// `kind` (`rollback`, `hold`, `stuck`, `missing_data`, `kill`, `completed`, `approval_needed`), `at` (RFC 3339),
    /// `project`, `environment`, `flag`, `rollout` (`inference_model.3`), `phase`, `percent` (the share of the new
    /// variant after the decision), `sentence` and `next` (a command).
    pub fn payload(&self) -> Value {
        let at =
            jiff::Timestamp::from_microsecond(self.at.0).map_or_else(|_| String::new(), |at| at.to_string());
        json!({
            "kind": self.kind,
            "at": at,
            "project": self.rollout.place.project,
            "environment": self.rollout.place.environment,
            "flag": self.rollout.flag,
            "rollout": self.rollout.to_string(),
            "phase": self.phase,
            "percent": f64::from(self.share) / 1000.0,
            "sentence": self.sentence,
            "next": self.next,
        })
    }
}
