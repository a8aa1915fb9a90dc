//! Frames: what a connection begins with, whole rulesets, and differences between two of them.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::HEXLOWER;
use ensign_control::token::TokenKey;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::VERSION;

/// Which configuration a client holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Names the content, to be sent back when connecting; opaque.
    pub cursor: String,
    /// The environment's revision. It only grows, whoever serves.
    pub revision: u64,
    /// Numbers changes within a revision (opt-ins, kills that hold in memory); begins anew when a server starts, so
    /// it is compared within one connection only.
    pub overlay: u64,
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
        Self { unit_key: HEXLOWER.encode(&unit_key), key: key.id, secret: HEXLOWER.encode(&key.secret) }
    }

    /// The keys themselves; `None` when they are not written as they should be.
    #[must_use]
    pub fn keys(&self) -> Option<([u8; 16], TokenKey)> {
        let bytes = |text: &str| HEXLOWER.decode(text.as_bytes()).ok();
        let unit = bytes(&self.unit_key)?.try_into().ok()?;
        let secret = bytes(&self.secret)?.try_into().ok()?;
        Some((unit, TokenKey { id: self.key, secret }))
    }
}

/// A whole ruleset: it replaces whatever the client holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Put {
    /// The protocol's version.
    pub v: u32,
    /// Where the client is after it.
    #[serde(flatten)]
    pub at: Position,
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
    /// The cursor of what the client must hold.
    pub from: String,
    /// Where the client is after it.
    #[serde(flatten)]
    pub at: Position,
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
            if v == VERSION {
                Ok(())
            } else {
                Err(BadFrame(format!("frames of version {v} are not understood")))
            }
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

    #[test]
    fn frames_of_another_version_or_shape_are_refused_and_new_events_ignored() {
        assert_eq!(Frame::read("later", "{"), Ok(Frame::Other));
        for (event, data) in [
            ("put", "{}"),
            ("put", r#"{"v":2,"cursor":"c","revision":1,"overlay":0,"flags":{},"segments":{}}"#),
            ("patch", r#"{"v":1,"cursor":"c"}"#),
            ("hello", "[]"),
        ] {
            assert!(Frame::read(event, data).is_err(), "{event} {data}");
        }
    }
}
