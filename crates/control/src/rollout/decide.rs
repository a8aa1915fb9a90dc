//! The only place where a rollout changes state.

use serde::{Deserialize, Serialize};

use crate::evidence::report::Evidence;
use crate::ids::Timestamp;

use super::{Command, Facts, Notice, Refusal, Rollout};

/// What was decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// The first stage is served.
    Started,
    /// A start was asked for; it waits for a window.
    Queued,
    /// The next stage is served.
    Advanced {
        /// From this share, 1/100000.
        from: u32,
        /// To this share, 1/100000.
        to: u32,
    },
    /// A person is asked.
    ApprovalAsked,
    /// A person approved.
    Approved,
    /// It stops advancing.
    Held {
        /// The cause's code.
        cause: String,
    },
    /// It goes on.
    Resumed,
    /// Someone is told; nothing else changes.
    Alerted,
    /// Everyone gets the new variant.
    Completed,
    /// Everyone gets control, by the rollout's rule.
    RolledBack,
    /// Everyone gets control, because a person said so.
    Aborted,
}

/// A new share for the rollout's allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SplitChange {
    /// The share of the new variant, 1/100000; the rest is control.
    pub new_share: u32,
}

/// What a receipt of this decision says, before the evidence's log is added.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    /// The number of the automatic decision in its rollout, from 1.
    pub number: u32,
    /// What was decided.
    pub decision: Decision,
    /// When.
    pub at: Timestamp,
    /// The rollout before the decision.
    pub before: Rollout,
    /// What was known besides the evidence.
    pub facts: Facts,
    /// The evidence it was decided on; none where only time decided.
    pub evidence: Option<Evidence>,
    /// The sentence of the decision.
    pub sentence: String,
}

/// One decision, to be committed as a whole.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// The rollout after it.
    pub next: Rollout,
    /// What was decided.
    pub decision: Decision,
    /// The new share, where it changes.
    pub split: Option<SplitChange>,
    /// For automatic decisions; a person's are in the audit log.
    pub receipt: Option<Draft>,
    /// Who is told what.
    pub notices: Vec<Notice>,
    /// What happened, why, and what happens next.
    pub sentence: String,
}

impl Rollout {
    /// What follows from `command` at `now`: `None` when there is nothing to do.
    ///
    /// A function of its arguments only. `evidence` older than [`super::FRESH`] decides nothing.
    pub fn decide(
        &self,
        command: &Command,
        now: Timestamp,
        evidence: Option<&Evidence>,
        facts: &Facts,
    ) -> Result<Option<Step>, Refusal> {
        let _ = (command, now, evidence, facts);
        Ok(None)
    }
}
