//! What is stored of applications, profiles, versions, strategies, deployments and alarms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Growth;
use crate::ids::{Key, Timestamp};

/// Labels that people put on things.
pub type Tags = BTreeMap<String, String>;

/// What a project is called as an application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Application {
    /// Short and permanent.
    pub id: String,
    /// For people, and for clients that go by name.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
    /// The project whose control key manages it: its own, or that of the key it was made with.
    pub account: Key,
    /// Set when it was deleted as an application; the project stays.
    #[serde(default)]
    pub deleted: bool,
}

/// What an environment is called, and what watches its deployments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Short and permanent.
    pub id: String,
    /// For people, and for clients that go by name.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What takes a deployment back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitors: Vec<Monitor>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
    /// When it was made; none for environments that Ensign made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// How many deployments it has had.
    #[serde(default)]
    pub deployments: u32,
    /// Set when it was deleted; the environment stays.
    #[serde(default)]
    pub deleted: bool,
}

impl Environment {
    /// Whether the target is the credential instead of the session: it keeps its side over restarts.
    #[must_use]
    pub fn by_credential(&self) -> bool {
        self.tags.get("ensign:target").is_some_and(|target| target == "credential")
    }
}

/// A condition that takes a deployment back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// An ARN or a name. Its last part names an alarm, or is a guardrail such as `error_rate<=1.5x`.
    pub alarm: String,
    /// Kept and echoed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl Monitor {
    /// The alarm's own name: what follows `:alarm:`, else the whole text.
    #[must_use]
    pub fn name(&self) -> &str {
        self.alarm.rsplit_once(":alarm:").map_or(self.alarm.as_str(), |(_, name)| name)
    }
}

/// What a profile's documents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileKind {
    /// Any document; it is served, not evaluated.
    Freeform,
    /// Feature flags with values and, where there are variants, rules.
    Flags,
}

/// A check that every version of a profile has to pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validator {
    /// A JSON Schema, as text.
    Schema(String),
    /// An address that is asked; it answers 2xx to let a version pass.
    Url(String),
}

/// A profile: a document in versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Short and permanent.
    pub id: String,
    /// For people, and for clients that go by name.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What its documents are.
    pub kind: ProfileKind,
    /// The flag whose variants its versions are.
    pub flag: Key,
    /// Checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validators: Vec<Validator>,
    /// Kept and echoed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Kept and echoed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
    /// The number of the newest version ever; a number is never used twice.
    pub versions: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Set when it was deleted; its flag is retired then.
    #[serde(default)]
    pub deleted: bool,
}

/// One version of a profile's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The profile's id.
    pub profile: String,
    /// From 1.
    pub number: u32,
    /// A name with at least one character that is no digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// As it was sent.
    pub content_type: String,
    /// The document.
    #[serde(with = "content")]
    pub content: Vec<u8>,
    /// The name of its variant: the label, or the number where there is none.
    pub variant: String,
    /// Set when it was deleted; the document is gone then.
    #[serde(default)]
    pub deleted: bool,
}

/// Documents are mostly text, and a stored one should be readable; the rest is hexadecimal.
pub(super) mod content {
    use data_encoding::HEXLOWER;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Stored<'a> {
        Text(std::borrow::Cow<'a, str>),
        Hex(String),
    }

    pub(in crate::deployment) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let stored = match std::str::from_utf8(bytes) {
            Ok(text) => Stored::Text(text.into()),
            Err(_) => Stored::Hex(HEXLOWER.encode(bytes)),
        };
        stored.serialize(to)
    }

    pub(in crate::deployment) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<u8>, D::Error> {
        match Stored::deserialize(from)? {
            Stored::Text(text) => Ok(text.into_owned().into_bytes()),
            Stored::Hex(hex) => HEXLOWER
                .decode(hex.as_bytes())
                .map_err(|why| serde::de::Error::custom(format!("the document is not hexadecimal: {why}"))),
        }
    }
}

/// How a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The share grows.
    Deploying,
    /// Everyone has it; alarms still take it back.
    Baking,
    /// It ended well.
    Complete,
    /// It was taken back while it ran.
    RolledBack,
    /// It was taken back after it had ended.
    Reverted,
}

impl State {
    /// Whether it moves on by itself.
    #[must_use]
    pub fn is_running(self) -> bool {
        match self {
            Self::Deploying | Self::Baking => true,
            Self::Complete | Self::RolledBack | Self::Reverted => false,
        }
    }
}

/// What happened in a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It began.
    Started,
    /// The share grew.
    Percentage,
    /// Everyone has it, and the bake time runs.
    Bake,
    /// It ended well.
    Completed,
    /// It is being taken back.
    RollbackStarted,
    /// It is taken back.
    RollbackCompleted,
    /// It was taken back after its end.
    Reverted,
}

/// Who made something happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person or a program with a key.
    Person,
    /// The timetable.
    Clock,
    /// An alarm or a guardrail.
    Alarm,
}

/// One line of a deployment's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// By whom.
    pub by: Trigger,
    /// As a sentence.
    pub description: String,
    /// When it was due or done.
    pub at: Timestamp,
}

/// The strategy of a deployment as it was at the start: later changes do not touch a running one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployedStrategy {
    /// Its id.
    pub id: String,
    /// How the share grows.
    pub growth: Growth,
    /// By how much, in percent.
    pub factor: f64,
    /// How long, in minutes.
    pub minutes: u32,
    /// How long alarms are watched at 100 %, in minutes.
    pub bake_minutes: u32,
}

/// A deployment: who sees a version grows by a timetable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// From 1 in its environment.
    pub number: u32,
    /// The profile's id.
    pub profile: String,
    /// The profile's name at the start.
    pub profile_name: String,
    /// The flag.
    pub flag: Key,
    /// The number of its rollout.
    pub rollout: u32,
    /// What is deployed.
    pub version: u32,
    /// Its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The variant that was served before, and is again if it is taken back.
    pub before: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// As it was at the start.
    pub strategy: DeployedStrategy,
    /// How it stands.
    pub state: State,
    /// What the timetable says of the share, 1/100000.
    pub share: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// In order.
    pub events: Vec<Event>,
    /// Kept and echoed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
}

/// Settings of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether what was served lately cannot be deleted.
    pub protection: bool,
    /// What "lately" is, in minutes.
    pub protection_minutes: u32,
    /// Kept and echoed.
    pub vended_metrics: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { protection: false, protection_minutes: 60, vended_metrics: false }
    }
}

/// What an alarm said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// Whether it fires.
    pub firing: bool,
    /// Since when.
    pub since: Timestamp,
    /// Why, as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sent it: `alertmanager`, `sns`, or the name of a source.
    pub source: String,
}

/// One stored item.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// See [`Application`].
    Application(Application),
    /// See [`Environment`].
    Environment(Environment),
    /// See [`Profile`].
    Profile(Profile),
    /// See [`Version`].
    Version(Version),
    /// See [`super::Strategy`].
    Strategy(super::Strategy),
    /// See [`Deployment`].
    Deployment(Deployment),
    /// See [`Settings`].
    Settings(Settings),
    /// See [`Alarm`].
    Alarm(Alarm),
}

impl Item {
    /// The kinds of the stored items.
    pub const KINDS: [&'static str; 8] = [
        "application",
        "deployment_environment",
        "profile",
        "document_version",
        "strategy",
        "deployment",
        "deployment_settings",
        "alarm",
    ];

    /// Reads a stored body; `None`: it is of another kind.
    pub(crate) fn read(kind: &str, body: &Json) -> Option<Result<Self, String>> {
        fn typed<T: serde::de::DeserializeOwned>(body: &Json, of: fn(T) -> Item) -> Result<Item, String> {
            T::deserialize(body).map(of).map_err(|error| error.to_string())
        }
        Some(match kind {
            "application" => typed(body, Self::Application),
            "deployment_environment" => typed(body, Self::Environment),
            "profile" => typed(body, Self::Profile),
            "document_version" => typed(body, Self::Version),
            "strategy" => typed(body, Self::Strategy),
            "deployment" => typed(body, Self::Deployment),
            "deployment_settings" => typed(body, Self::Settings),
            "alarm" => typed(body, Self::Alarm),
            _ => return None,
        })
    }

    /// The body as it is stored.
    pub(crate) fn json(&self) -> Json {
        let plain = match self {
            Self::Application(item) => serde_json::to_value(item),
            Self::Environment(item) => serde_json::to_value(item),
            Self::Profile(item) => serde_json::to_value(item),
            Self::Version(item) => serde_json::to_value(item),
            Self::Strategy(item) => serde_json::to_value(item),
            Self::Deployment(item) => serde_json::to_value(item),
            Self::Settings(item) => serde_json::to_value(item),
            Self::Alarm(item) => serde_json::to_value(item),
        };
        plain.expect("these have string keys and finite numbers")
    }
}
