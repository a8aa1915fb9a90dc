//! What may be asked of the catalogue.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::evidence::BlockLog;
use crate::evidence::report::Evidence;
use crate::ids::{Key, Place, RolloutId, Timestamp};

/// Who asks. Whether they may is decided before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The name in the audit log: a person, a key's name, or `guard`.
    pub name: String,
}

impl Actor {
    /// The part of Ensign that acts by the clock: expired pins, windows.
    pub const SCHEDULER: &'static str = "scheduler";
    /// The part of Ensign that acts on evidence.
    pub const GUARD: &'static str = "guard";

    /// An actor of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

/// A text that holds documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file's name, or what else to call it in messages.
    pub name: String,
    /// The text as sent; JSON and YAML are told apart by their content.
    #[serde(with = "serde_bytes_as_text")]
    pub text: Vec<u8>,
}

mod serde_bytes_as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        String::deserialize(deserializer).map(String::into_bytes)
    }
}

/// How applied documents meet what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Three-way: only what the file changed since it was last applied is changed.
    Merge,
    /// The live state becomes what the document says, member by member that it names; the file that was last
    /// applied stays the base of the next merge. For edits in the console and through the API.
    Edit,
}

/// Something to be done to the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Creates and updates what the documents describe, all or nothing.
    Apply {
        /// The project.
        project: Key,
        /// Only this environment; none: each environment the documents speak of.
        environment: Option<Key>,
        /// The texts.
        sources: Vec<Source>,
        /// Merge or edit.
        mode: Mode,
        /// Why.
        reason: Option<String>,
    },
    /// Creates a project with its environments `production` and `staging`.
    CreateProject {
        /// Its key.
        project: Key,
    },
    /// Creates an environment; every flag serves its default there until documents say otherwise.
    CreateEnvironment {
        /// Where.
        place: Place,
    },
    /// Switches a flag on or off in one environment.
    Switch {
        /// Where.
        place: Place,
        /// Which flag.
        flag: Key,
        /// On or off.
        on: bool,
        /// Why.
        reason: Option<String>,
    },
    /// Everyone to control, or to the named variant, now.
    Kill {
        /// Where.
        place: Place,
        /// Which flag.
        flag: Key,
        /// A variant's name or value; none: control.
        to: Option<Json>,
        /// Why.
        reason: Option<String>,
    },
    /// Kills every flag of the environment that can serve a value.
    KillValue {
        /// Where.
        place: Place,
        /// The value that nobody may get.
        value: Json,
        /// Why.
        reason: Option<String>,
    },
    /// Lifts a kill; the rules beneath hold again.
    Restore {
        /// Where.
        place: Place,
        /// Which flag.
        flag: Key,
        /// Why.
        reason: Option<String>,
    },
    /// Keeps units on one variant.
    AddPin {
        /// Where.
        place: Place,
        /// Which flag.
        flag: Key,
        /// A pin as the flag document's `pins` member holds it.
        pin: Json,
    },
    /// Ends a pin.
    RemovePin {
        /// Where.
        place: Place,
        /// Which flag.
        flag: Key,
        /// The pin's id.
        pin: String,
        /// Why.
        reason: Option<String>,
    },
    /// Ends a pin whose time has come. Produced by [`super::Catalogue::due`].
    ExpirePin {
        /// Where.
        place: Place,
        /// Which flag.
        flag: Key,
        /// The pin's id.
        pin: String,
    },
    /// Makes a flag a tombstone: it is served nowhere and nothing else may take its key.
    Retire {
        /// Whose.
        project: Key,
        /// Which flag.
        flag: Key,
        /// Why; shown to whoever wants the key again.
        reason: Option<String>,
    },
    /// Revives a retired flag with its history.
    Unretire {
        /// Whose.
        project: Key,
        /// Which flag.
        flag: Key,
        /// Why.
        reason: Option<String>,
    },
    /// Brings back what a flag was at an earlier revision, as a new change.
    RestoreRevision {
        /// Where.
        place: Place,
        /// Which flag.
        flag: Key,
        /// The revision, for the record.
        revision: u64,
        /// The state at that revision, as [`super::history`] found it.
        snapshot: Json,
        /// Why.
        reason: Option<String>,
    },
    /// Divides the units of one rule, or of the default, anew. Refused for a split that a rollout owns.
    SetSplit {
        /// Where.
        place: Place,
        /// Which flag.
        flag: Key,
        /// The rule's id; none: the default.
        rule: Option<String>,
        /// Variant names with percentages.
        weights: Vec<(String, f64)>,
        /// Why.
        reason: Option<String>,
    },
    /// Starts a rollout.
    RolloutStart {
        /// Where.
        place: Place,
        /// A rollout document.
        document: Json,
        /// Why.
        reason: Option<String>,
    },
    /// A person's word to the rollout of a flag.
    Rollout {
        /// Where.
        place: Place,
        /// Which flag.
        flag: Key,
        /// What.
        action: super::RolloutAction,
        /// Why.
        reason: Option<String>,
    },
    /// Holds every rollout of an environment.
    HoldAll {
        /// Where.
        place: Place,
        /// Why.
        reason: Option<String>,
    },
    /// A guard's look at a rollout. Nothing to do is an empty change.
    RolloutTick {
        /// Which.
        rollout: RolloutId,
        /// The evidence; none: only time is looked at.
        evidence: Option<Box<Evidence>>,
        /// The block log that the evidence was read from, for the receipt.
        log: Option<Box<BlockLog>>,
        /// The version of the statistical methods.
        method: String,
    },
    /// Something about applications, profiles, versions, strategies, deployments or alarms.
    Deploy {
        /// What.
        ask: Box<crate::deployment::Ask>,
        /// Why.
        reason: Option<String>,
    },
    /// Creates or replaces something that is stored as it stands: a webhook, a window, an API key's metadata.
    PutRecord {
        /// What and where.
        record: super::Record,
        /// Why.
        reason: Option<String>,
    },
    /// Removes such a thing.
    RemoveRecord {
        /// The project, or none for the installation.
        project: Option<Key>,
        /// The environment, if it belongs to one.
        environment: Option<Key>,
        /// What kind.
        kind: super::RecordKind,
        /// Its key.
        key: String,
        /// Why.
        reason: Option<String>,
    },
}

impl Command {
    /// Why, if somebody said so.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Apply { reason, .. }
            | Self::Switch { reason, .. }
            | Self::Kill { reason, .. }
            | Self::KillValue { reason, .. }
            | Self::Restore { reason, .. }
            | Self::RemovePin { reason, .. }
            | Self::Retire { reason, .. }
            | Self::Unretire { reason, .. }
            | Self::RestoreRevision { reason, .. }
            | Self::SetSplit { reason, .. }
            | Self::RolloutStart { reason, .. }
            | Self::Rollout { reason, .. }
            | Self::HoldAll { reason, .. }
            | Self::Deploy { reason, .. }
            | Self::PutRecord { reason, .. }
            | Self::RemoveRecord { reason, .. } => reason.as_deref(),
            Self::AddPin { pin, .. } => pin.get("reason").and_then(Json::as_str),
            Self::CreateProject { .. }
            | Self::CreateEnvironment { .. }
            | Self::ExpirePin { .. }
            | Self::RolloutTick { .. } => None,
        }
    }

    /// Whether the clock gives the command; people give the others.
    pub fn scheduled(&self) -> bool {
        matches!(self, Self::ExpirePin { .. } | Self::RolloutTick { .. })
    }
}

/// A time, for records that people read: RFC 3339 in UTC.
pub fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| format!("{} µs", at.0), |at| at.to_string())
}
