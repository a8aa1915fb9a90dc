//! Things the catalogue keeps as they stand: webhooks, windows in which nothing advances, API keys' metadata.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::ids::{Key, Timestamp};

/// What kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// Where notices are sent; body: `{url, events, secret_sealed, …}`.
    Webhook,
    /// A time in which no rollout advances; body: [`Window`].
    Window,
    /// An API key's metadata; body: [`ApiKey`].
    ApiKey,
    /// Anything the server keeps with its secrets (token-signing keys, AWS pairs), sealed.
    Secret,
    /// A switch of an environment; body: `{on}`.
    Setting,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Webhook, Self::Window, Self::ApiKey, Self::Secret, Self::Setting];

    /// The kind of the stored item.
    pub fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Window => "window",
            Self::ApiKey => "api_key",
            Self::Secret => "secret",
            Self::Setting => "setting",
        }
    }
}

/// A record with its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The project; none for what belongs to the installation.
    pub project: Option<Key>,
    /// The environment, if it belongs to one.
    pub environment: Option<Key>,
    /// What kind.
    pub kind: RecordKind,
    /// Its key within place and kind.
    pub key: String,
    /// Its content.
    pub body: Json,
}

/// A time in which nothing advances. Rollbacks, holds and kills happen all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First moment of the first occurrence.
    pub from: Timestamp,
    /// First moment after the first occurrence.
    pub until: Timestamp,
    /// Repeats after so many days; none: once.
    #[serde(default)]
    pub every_days: Option<u32>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Window {
    /// Whether the window is open, and until when.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let length = self.until.0.checked_sub(self.from.0).filter(|length| *length > 0)?;
        let since = now.0.checked_sub(self.from.0).filter(|since| *since >= 0)?;
        let into = match self.every_days.filter(|days| *days > 0) {
            Some(days) => since % (i64::from(days) * 86_400_000_000),
            None => since,
        };
        (into < length).then(|| Timestamp(now.0 - into + length))
    }
}

/// What an API key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyScope {
    /// Reading flags and evaluating them.
    Read,
    /// Sending events.
    Ingest,
    /// Asking what a change would do.
    Plan,
    /// Changing things.
    Write,
    /// Approving stages.
    Approve,
    /// Killing, holding, aborting.
    Kill,
    /// Everything.
    Admin,
}

/// An API key as it is stored: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The actor in the audit log.
    pub name: String,
    /// Hash of the key, as the server makes it.
    pub hash: String,
    /// The readable beginning of the key.
    #[serde(default)]
    pub prefix: String,
    /// What it may be used for.
    pub scopes: Vec<KeyScope>,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops being valid; a rotation sets it, so that old and new overlap.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// The key of the record that replaces it.
    #[serde(default)]
    pub replaced_by: Option<String>,
}

impl ApiKey {
    /// Whether the key is valid at a time.
    pub fn valid(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether the key has a scope; `admin` has all.
    pub fn may(&self, scope: KeyScope) -> bool {
        self.scopes.iter().any(|own| *own == scope || *own == KeyScope::Admin)
    }
}
