//! The public wire of `POST /api/v1/events`: exposures, requests and outcomes, each accepted or refused on its own.
//!
//! A body is a JSON array, an object `{"sent_at": …, "events": […]}`, one event, or one event a line. Well-formed
//! batches are read in one pass without allocating per field; only when something is wrong is the text taken apart
//! again, so that one bad event is one bad event. Absent on purpose: anything that needs the configuration (keys,
//! flags, metrics): that is the ingestion's part.

mod answer;
mod diagnose;
pub(crate) mod pieces;
mod read;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;

pub use answer::{Answer, Item, ItemStatus};
pub use read::{Amount, Clocks, EventId, Read, Request, What, Who};
pub use wire::{Decision, Text, Time, UnitName, VariantName, Wire};

/// The longest event id, request id or source, in bytes.
pub const ID_MAX: usize = 64;
/// The longest key of a unit, in bytes.
pub const UNIT_MAX: usize = 1_024;
/// The most decision records in one event.
pub const DECISIONS_MAX: usize = 64;

/// How the events of a body are separated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// As the first byte says: `[` an array, `{` an object or lines.
    Sniff,
    /// One event a line.
    Lines,
}

impl Format {
    /// The format that a `Content-Type` asks for.
    #[must_use]
    pub fn of(content_type: Option<&str>) -> Self {
        let media = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        let lines =
            ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines"];
        if lines.iter().any(|line| media.eq_ignore_ascii_case(line)) { Self::Lines } else { Self::Sniff }
    }
}

/// Why one event is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// A stable word for programs.
    pub code: &'static str,
    /// JSON pointer below the event, such as `/duration_ms`; empty for the event as a whole.
    pub at: String,
    /// A sentence that says what would be right.
    pub detail: String,
}

impl Refused {
    /// A refusal at a member.
    pub fn new(code: &'static str, at: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, at: at.into(), detail: detail.into() }
    }
}

/// Why a body cannot be read at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// The bytes are not UTF-8 from here on.
    NotUtf8 {
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
    },
    /// Not JSON, and not to be divided into events either.
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there.
        detail: String,
    },
    /// More events than a batch may have.
    TooMany {
        /// How many a batch may have.
        most: usize,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { .. } => f.write_str("The body holds bytes that are not UTF-8."),
            Self::Syntax { detail, .. } => write!(f, "The body is not JSON: {detail}."),
            Self::TooMany { most } => write!(f, "A batch has at most {most} events; send it in parts."),
        }
    }
}

impl std::error::Error for Unreadable {}

/// A body, read: what was sent, and what cannot be read of it.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The sender's clock when it sent the batch.
    pub sent_at: Option<Time>,
    /// The events in order.
    pub events: Vec<Result<Wire<'a>, Refused>>,
    /// What stands before an event's number in pointers: empty, or `/events`.
    pub prefix: &'static str,
}

/// Reads a body.
///
/// # Errors
/// [`Unreadable`] only when the text cannot be divided into events. Whatever is wrong within one event is that
/// event's refusal.
pub fn parse(body: &[u8], format: Format, most: usize) -> Result<Batch<'_>, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let good = &body[..error.valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + good.iter().rev().take_while(|byte| **byte != b'\n').count();
        Unreadable::NotUtf8 { line, column }
    })?;
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let batch = match (format, text.as_bytes().first()) {
        (Format::Lines, _) => lines(text, most)?,
        (Format::Sniff, Some(b'[')) => Batch { sent_at: None, events: array(text, most)?, prefix: "" },
        (Format::Sniff, Some(b'{')) => object(text, most)?,
        (Format::Sniff, _) => return Err(syntax(text)),
    };
    if batch.events.len() > most {
        return Err(Unreadable::TooMany { most });
    }
    Ok(batch)
}

fn syntax(text: &str) -> Unreadable {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Err(error) => Unreadable::Syntax {
            line: error.line(),
            column: error.column(),
            detail: diagnose::without_place(&error),
        },
        Ok(_) => {
            Unreadable::Syntax { line: 1, column: 1, detail: "an array or an object was expected".into() }
        }
    }
}

fn array(text: &str, most: usize) -> Result<Vec<Result<Wire<'_>, Refused>>, Unreadable> {
    match serde_json::from_str::<Vec<Wire<'_>>>(text) {
        Ok(events) => Ok(events.into_iter().map(Ok).collect()),
        Err(_) => {
            let pieces = pieces::elements(text).ok_or_else(|| syntax(text))?;
            if pieces.len() > most {
                return Err(Unreadable::TooMany { most });
            }
            Ok(pieces.into_iter().map(one).collect())
        }
    }
}

fn one(text: &str) -> Result<Wire<'_>, Refused> {
    serde_json::from_str(text).map_err(|error| diagnose::event(text, &error))
}

fn lines(text: &str, most: usize) -> Result<Batch<'_>, Unreadable> {
    let full = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let events: Vec<_> = full.take(most + 1).map(one).collect();
    Ok(Batch { sent_at: None, events, prefix: "" })
}

fn object(text: &str, most: usize) -> Result<Batch<'_>, Unreadable> {
    // A second value after the first one: events line by line.
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let whole = match values.next() {
        Some(Ok(_)) => text[values.byte_offset()..].trim().is_empty(),
        Some(Err(_)) | None => pieces::members(text).is_some(),
    };
    if !whole {
        let batch = lines(text, most)?;
        let nothing = batch.events.iter().all(|event| matches!(event, Err(why) if why.code == "json_syntax"));
        return if nothing { Err(syntax(text)) } else { Ok(batch) };
    }
    let members = pieces::members(text).ok_or_else(|| syntax(text))?;
    let Some((_, events)) = members.iter().find(|(key, _)| *key == "events") else {
        return Ok(Batch { sent_at: None, events: vec![one(text)], prefix: "" });
    };
    if !events.starts_with('[') {
        return Err(Unreadable::Syntax { line: 1, column: 1, detail: "`events` must be an array".into() });
    }
    let sent_at = members.iter().find(|(key, _)| *key == "sent_at");
    let sent_at = sent_at.and_then(|(_, raw)| serde_json::from_str(raw).ok());
    Ok(Batch { sent_at, events: array(events, most)?, prefix: "/events" })
}
