//! Frames: what a connection begins with, whole rulesets, and differences between two of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ensign_control::token::TokenKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use super::VERSION;

/// Which configuration a client holds. Text: `{revision}-{overlay}-{run}`, the last in hexadecimal.
///
/// The revision only grows, whoever serves. Overlays (opt-ins, kills that hold in memory) are numbered by one run of
/// one server; between different runs of one revision only the server can tell which is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The environment's revision.
    pub revision: u64,
    /// Rises with each change within a revision.
    pub overlay: u64,
    /// Which run of which server numbered the overlay.
    pub run: u64,
}

impl Cursor {
    /// Whether `self` is certainly newer than `other`, or of another run of the same revision.
    #[must_use]
    pub fn may_follow(&self, other: &Self) -> bool {
        match self.revision.cmp(&other.revision) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => self.run != other.run || self.overlay > other.overlay,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:x}", self.revision, self.overlay, self.run)
    }
}

impl FromStr for Cursor {
    type Err = BadFrame;
    fn from_str(text: &str) -> Result<Self, BadFrame> {
        let bad = || BadFrame(format!("`{text}` is not a cursor"));
        let mut parts = text.split('-');
        let (Some(revision), Some(overlay), Some(run), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        Ok(Self {
            revision: revision.parse().map_err(|_| bad())?,
            overlay: overlay.parse().map_err(|_| bad())?,
            run: u64::from_str_radix(run, 16).map_err(|_| bad())?,
        })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a frame cannot be used, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFrame(pub String);

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadFrame {}

/// What a connection begins with; the only frame that differs from client to client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol's version.
    pub v: u32,
    /// `project/environment`.
    pub place: String,
    /// The longest silence of a living server, in seconds.
    pub heartbeat_seconds: u32,
    /// What attribution tokens are made with; only for keys that may send events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
}

/// What attribution tokens are made with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The key of the units' hash, 32 hexadecimal digits.
    pub unit_key: String,
    /// The number of the signing key.
    pub key: u8,
    /// The signing key, 64 hexadecimal digits.
    pub secret: String,
}

impl fmt::Debug for Attribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attribution(key {}, secret)", self.key)
    }
}

impl Attribution {
    /// From the keys themselves.
    #[must_use]
    pub fn new(unit_key: [u8; 16], key: &TokenKey) -> Self {
        Self { unit_key: hex(&unit_key), key: key.id, secret: hex(&key.secret) }
    }

    /// The keys themselves; `None` when they are not written as they should be.
    #[must_use]
    pub fn keys(&self) -> Option<([u8; 16], TokenKey)> {
        let unit = from_hex(&self.unit_key)?.try_into().ok()?;
        let secret = from_hex(&self.secret)?.try_into().ok()?;
        Some((unit, TokenKey { id: self.key, secret }))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// A whole ruleset: it replaces whatever the client holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Put {
    /// The protocol's version.
    pub v: u32,
    /// Where the client is after it.
    pub cursor: Cursor,
    /// Flags by key, each as [`super::flag_to_json`] writes it.
    pub flags: BTreeMap<String, Json>,
    /// Segments by key, each as [`super::segment_to_json`] writes it.
    pub segments: BTreeMap<String, Json>,
}

/// The way from one ruleset to a later one; `null` removes an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    /// The protocol's version.
    pub v: u32,
    /// What the client must hold.
    pub from: Cursor,
    /// Where the client is after it.
    pub cursor: Cursor,
    /// Flags that are new, different or gone.
    #[serde(default)]
    pub flags: BTreeMap<String, Option<Json>>,
    /// Segments that are new, different or gone.
    #[serde(default)]
    pub segments: BTreeMap<String, Option<Json>>,
}

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// `event: hello`
    Hello(Hello),
    /// `event: put`
    Put(Put),
    /// `event: patch`
    Patch(Patch),
    /// An event of a later version; it is ignored.
    Other,
}

impl Frame {
    /// Reads an event's name and data.
    ///
    /// # Errors
    /// [`BadFrame`] when the data is not what the name promises, or of another version: the client must begin anew.
    pub fn read(event: &str, data: &str) -> Result<Self, BadFrame> {
        fn parse<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, BadFrame> {
            serde_json::from_str(data).map_err(|why| BadFrame(why.to_string()))
        }
        let version = |v: u32| {
            if v == VERSION { Ok(()) } else { Err(BadFrame(format!("frames of version {v} are not understood"))) }
        };
        Ok(match event {
            "hello" => {
                let hello: Hello = parse(data)?;
                version(hello.v)?;
                Self::Hello(hello)
            }
            "put" => {
                let put: Put = parse(data)?;
                version(put.v)?;
                Self::Put(put)
            }
            "patch" => {
                let patch: Patch = parse(data)?;
                version(patch.v)?;
                Self::Patch(patch)
            }
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Cursor {
        text.parse().expect("a cursor")
    }

    #[test]
    fn cursors_go_there_and_back() {
        for text in ["0-0-0", "41-3-9f2c"] {
            assert_eq!(cursor(text).to_string(), text);
        }
        for bad in ["", "1", "1-2", "1-2-3-4", "a-0-0", "1-0-zz", "-1-0-0"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_may_follow_what() {
        for (later, earlier, may) in [
            ("2-0-a", "1-5-a", true),
            ("1-1-a", "1-0-a", true),
            ("1-0-a", "1-0-a", false),
            ("1-0-a", "1-1-a", false),
            ("1-0-b", "1-1-a", true),
            ("1-9-b", "2-0-a", false),
        ] {
            assert_eq!(cursor(later).may_follow(&cursor(earlier)), may, "{later} after {earlier}");
        }
    }

    #[test]
    fn frames_of_another_version_or_shape_are_refused_and_new_events_ignored() {
        assert_eq!(Frame::read("later", "{"), Ok(Frame::Other));
        for (event, data) in [
            ("put", "{}"),
            ("put", r#"{"v":2,"cursor":"1-0-0","flags":{},"segments":{}}"#),
            ("patch", r#"{"v":1,"cursor":"1-0-0"}"#),
            ("hello", "[]"),
        ] {
            assert!(Frame::read(event, data).is_err(), "{event} {data}");
        }
    }
}
