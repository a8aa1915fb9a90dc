//! What a decision is: plain data that the shell commits in one transaction.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::document::Problem;
use crate::evidence::watch::{Stratum, Watch};
use crate::ids::{RolloutId, Timestamp};

/// Who shares a revision counter: the installation, a project, or one environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Scope {
    /// The project's key; empty for what belongs to the installation.
    pub project: String,
    /// The environment's key; none for what belongs to the whole project.
    pub environment: Option<String>,
}

/// What names an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemKey {
    /// Where it belongs.
    pub scope: Scope,
    /// What it is: `flag`, `flag_state`, `segment`, …
    pub kind: String,
    /// Its key within scope and kind.
    pub key: String,
}

/// A stored item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its name.
    pub id: ItemKey,
    /// The revision of its scope at its last change.
    pub version: u64,
    /// Its content.
    pub body: Json,
}

/// One line of the audit log, before it has a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Where it happened.
    pub scope: Scope,
    /// Who did it.
    pub actor: String,
    /// What was done: `flag.update`, `flag.kill`, `pin.add`, …
    pub action: String,
    /// To what: `flag/inference_model`.
    pub subject: String,
    /// Why, if somebody said so.
    pub reason: Option<String>,
    /// When it was decided.
    pub at: Timestamp,
    /// What changed: `{sentence, lines, version, before, after}`.
    pub diff: Json,
}

/// Something that has to be told to the outside, at least once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What happened: `flag.killed`, `rollout.rolled_back`, …
    pub event: String,
    /// Where.
    pub scope: Scope,
    /// The idempotency key.
    pub key: String,
    /// What the receiver gets.
    pub body: Json,
}

/// What the evidence has to know of a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceNote {
    /// A rollout begins to be watched.
    Watch(Watch),
    /// A new stratum of a rollout's split.
    Stratum {
        /// Which rollout.
        rollout: RolloutId,
        /// Its new stratum.
        stratum: Stratum,
    },
    /// A rollout is over.
    Finished(RolloutId),
}

/// One line of a readable difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What part: `rules/internal`, `owner`, ….
    pub path: String,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What happens to one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// It comes into being.
    Create,
    /// It changes.
    Update,
    /// It stays as it is.
    Keep,
    /// It goes, or becomes a tombstone.
    Remove,
}

/// What a change does to one thing in one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanItem {
    /// `flag/inference_model`.
    pub subject: String,
    /// The environment; none for what belongs to the project.
    pub environment: Option<String>,
    /// What happens to it.
    pub verb: Verb,
    /// The same as a sentence.
    pub sentence: String,
    /// What changes.
    pub lines: Vec<Line>,
    /// Where the live state differs from the last applied file, and is left alone: before is the file, after is live.
    pub drift: Vec<Line>,
}

/// What the asker is told: sentences first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// What happened, what follows from it, what to know.
    pub sentences: Vec<String>,
    /// Item by item.
    pub plan: Vec<PlanItem>,
    /// The id or number of what was made, where the asker did not give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
}

/// A decision. Committing it is one transaction; applying it to the catalogue cannot fail.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Change {
    /// What the decision was based on: the item has this version, or does not exist.
    pub expect: Vec<(ItemKey, Option<u64>)>,
    /// New bodies.
    pub puts: Vec<(ItemKey, Json)>,
    /// Items that go without a trace.
    pub forgets: Vec<ItemKey>,
    /// Counters that rise by one; the scope of each item in `puts` rises too.
    pub bumps: BTreeSet<Scope>,
    /// What the audit log gets, in this order.
    pub audit: Vec<AuditEntry>,
    /// Who is to be told.
    pub notices: Vec<Notice>,
    /// What the evidence has to know, in this order.
    pub evidence: Vec<EvidenceNote>,
    /// What the asker is told.
    pub answer: Answer,
}

impl Change {
    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.forgets.is_empty() && self.bumps.is_empty()
    }
}

/// The domain says no: not a fault, and not an error in the input's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable code, such as `split_owned_by_rollout`.
    pub code: String,
    /// Why, as a sentence.
    pub sentence: String,
    /// The command that would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Refusal {
    /// A refusal without a next command.
    pub fn new(code: &str, sentence: impl Into<String>) -> Self {
        Self { code: code.to_owned(), sentence: sentence.into(), next: None }
    }

    /// The same with the command that would be right.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// Why a command was not decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejected {
    /// The domain says no.
    Refused(Refusal),
    /// The input is wrong at these places.
    Invalid(Vec<Problem>),
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Vec<Problem>> for Rejected {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Invalid(problems)
    }
}
