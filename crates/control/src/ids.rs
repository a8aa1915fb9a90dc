//! Names and numbers that identify things: keys, places, times and the short ids used in events.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A length of time in microseconds; never negative where it is configured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub i64);

impl Span {
    /// A span of whole milliseconds.
    pub const fn millis(n: i64) -> Self {
        Self(n.saturating_mul(1_000))
    }
    /// A span of whole seconds.
    pub const fn seconds(n: i64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }
    /// The span in seconds.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl std::ops::Add<Span> for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl std::ops::Add<Span> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }
}

impl std::ops::Sub<Span> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }
}

impl std::ops::Sub<Timestamp> for Timestamp {
    type Output = Span;
    fn sub(self, other: Timestamp) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

/// The number of one environment's configuration. It only grows, also over restore from a backup.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// Why a text is not a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadKey {
    /// The text is empty.
    Empty,
    /// The text is longer than [`KEY_MAX`] bytes.
    TooLong,
    /// The byte offset of the first character that a key cannot have.
    Character(usize),
}

/// The longest key, in bytes.
pub const KEY_MAX: usize = 128;

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a key cannot be empty"),
            Self::TooLong => write!(f, "a key has at most {KEY_MAX} bytes"),
            Self::Character(at) => write!(
                f,
                "character {} is not allowed: keys have letters, digits, '.', '_' and '-', and begin with a letter or digit",
                at + 1
            ),
        }
    }
}

/// A key: letters, digits, `.`, `_`, `-`, beginning with a letter or digit, at most [`KEY_MAX`] bytes.
///
/// The alphabet is what every client puts into a URL path unescaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

impl Key {
    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = BadKey;
    fn from_str(text: &str) -> Result<Self, BadKey> {
        if text.is_empty() {
            return Err(BadKey::Empty);
        }
        if text.len() > KEY_MAX {
            return Err(BadKey::TooLong);
        }
        let bad = text.bytes().enumerate().position(|(at, byte)| {
            !(byte.is_ascii_alphanumeric() || (at > 0 && matches!(byte, b'.' | b'_' | b'-')))
        });
        match bad {
            Some(at) => Err(BadKey::Character(at)),
            None => Ok(Self(text.into())),
        }
    }
}

impl TryFrom<String> for Key {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|bad: BadKey| bad.to_string())
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.0.as_ref().to_owned()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One environment of one project: where rules, rollouts and revisions live.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The project's key.
    pub project: Key,
    /// The environment's key.
    pub environment: Key,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.environment)
    }
}

/// A flag of one environment, as events carry it: a hash of project, environment and key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlagId(pub u64);

impl FlagId {
    /// The id of `flag` in `place`; the same on every server.
    pub fn of(place: &Place, flag: &Key) -> Self {
        Self(xxh3_64(format!("flag/{place}/{flag}").as_bytes()))
    }
}

/// A split of one flag in one environment, as events carry it. It survives changes of weight and restarts
/// of a rollout; each such change raises the epoch instead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AllocationId(pub u64);

impl AllocationId {
    /// The id of the allocation at `rule` (`"fallthrough"` for the default) of `flag` in `place`.
    pub fn of(place: &Place, flag: &Key, rule: &str) -> Self {
        Self(xxh3_64(format!("allocation/{place}/{flag}/{rule}").as_bytes()))
    }
}

/// How often an allocation has changed; with the allocation's id it names a stratum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// A rollout, numbered per flag and environment from 1: `inference_model.3`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RolloutId {
    /// Where it runs.
    pub place: Place,
    /// The flag it moves.
    pub flag: Key,
    /// 1 for the first rollout of this flag in this environment.
    pub number: u32,
}

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.flag, self.number)
    }
}

/// A unit, as a keyed hash: the evidence never holds a user's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unit(pub u128);

/// A request or an event id, as a 128-bit hash of what the client sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u128);
