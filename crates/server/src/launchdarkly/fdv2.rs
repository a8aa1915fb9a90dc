//! The newer protocol, by option: objects between an intent and a commit, with a cursor that clients bring back.

use std::fmt::Write as _;

use bytes::Bytes;
use ensign_protocol::launchdarkly::{Change, Item};

use super::environment::{Data, Wire};
use crate::fanout::Start;

/// There is one payload for each environment.
const PAYLOAD: &str = "environment";

pub(super) static WIRE: Wire = Wire { step, whole: |data| stream_text(&everything(data)) };

fn step(changes: &[Change], data: &Data) -> Bytes {
    let mut events: Vec<Event> = changes.iter().map(object).collect();
    events.push(transferred(data));
    stream_text(&events)
}

/// An event by its name, with its data as JSON.
type Event = (&'static str, String);

fn intent(code: &str, reason: &str, target: u64) -> Event {
    let payload = format!(
        "{{\"id\":\"{PAYLOAD}\",\"target\":{target},\"intentCode\":\"{code}\",\"reason\":\"{reason}\"}}"
    );
    ("server-intent", format!("{{\"payloads\":[{payload}]}}"))
}

fn transferred(data: &Data) -> Event {
    let (state, version) = (state(&data.tag()), data.number());
    ("payload-transferred", format!("{{\"state\":\"{state}\",\"version\":{version}}}"))
}

/// What a client brings back as its basis.
fn state(tag: &str) -> String {
    format!("(p:{PAYLOAD}:{tag})")
}

/// The tag in a basis.
pub(super) fn tag_of(basis: &str) -> Option<&str> {
    basis.strip_prefix("(p:")?.strip_prefix(PAYLOAD)?.strip_prefix(':')?.strip_suffix(')')
}

fn object(change: &Change) -> Event {
    let deleted = |kind: &str, key: &str, version: u64| {
        ("delete-object", format!("{{\"kind\":\"{kind}\",\"key\":\"{key}\",\"version\":{version}}}"))
    };
    match change {
        Change::Put(item) => {
            let kind = match item {
                Item::Flag(_) => "flag",
                Item::Segment(_) => "segment",
            };
            let (key, version, json) = (item.key(), item.version(), item.json());
            let data =
                format!("{{\"kind\":\"{kind}\",\"key\":\"{key}\",\"version\":{version},\"object\":{json}}}");
            ("put-object", data)
        }
        Change::DeleteFlag { key, version } => deleted("flag", key, *version),
        Change::DeleteSegment { key, version } => deleted("segment", key, *version),
    }
}

/// A full transfer.
fn everything(data: &Data) -> Vec<Event> {
    let objects = data.payload.changes(&Default::default());
    let intent = intent("xfer-full", "payload-missing", data.number());
    std::iter::once(intent).chain(objects.iter().map(object)).chain([transferred(data)]).collect()
}

fn stream_text(events: &[Event]) -> Bytes {
    let mut text = String::new();
    for (name, data) in events {
        let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    }
    text.into()
}

/// What comes before the steps for a client that brought a basis.
pub(super) fn greeting(start: Start, number: u64) -> Option<Bytes> {
    match start {
        Start::Whole => None,
        Start::Current => Some(stream_text(&[intent("none", "up-to-date", number)])),
        Start::Behind => Some(stream_text(&[intent("xfer-changes", "stale", number)])),
    }
}

/// The answer of a poll: everything, or that there is nothing.
pub(super) fn poll(data: &Data, basis: Option<&str>) -> Bytes {
    let current = basis.and_then(tag_of).is_some_and(|tag| tag == data.tag());
    let events = if current { vec![intent("none", "up-to-date", data.number())] } else { everything(data) };
    let events: Vec<String> =
        events.iter().map(|(name, data)| format!("{{\"event\":\"{name}\",\"data\":{data}}}")).collect();
    format!("{{\"events\":[{}]}}", events.join(",")).into()
}
