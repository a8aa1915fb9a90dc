//! The older protocol, which every server-side SDK speaks unless told otherwise: `put`, `patch`, `delete`.

use bytes::Bytes;
use ensign_protocol::launchdarkly::{Change, Item};

use super::environment::{Data, Wire};

pub(super) static WIRE: Wire = Wire { step, whole: put };

fn step(changes: &[Change], _: &Data) -> Bytes {
    changes.iter().map(event).collect::<String>().into()
}

/// Everything.
fn put(data: &Data) -> Bytes {
    let text = data.text();
    let (head, tail) = ("event: put\ndata: {\"path\":\"/\",\"data\":", "}\n\n");
    let mut all = Vec::with_capacity(head.len() + text.len() + tail.len());
    all.extend_from_slice(head.as_bytes());
    all.extend_from_slice(&text);
    all.extend_from_slice(tail.as_bytes());
    all.into()
}

fn event(change: &Change) -> String {
    let deleted = |folder: &str, key: &str, version: u64| {
        format!("event: delete\ndata: {{\"path\":\"/{folder}/{key}\",\"version\":{version}}}\n\n")
    };
    match change {
        Change::Put(item) => {
            let (folder, key) = match item {
                Item::Flag(flag) => ("flags", &flag.key),
                Item::Segment(segment) => ("segments", &segment.key),
            };
            let json = item.json();
            format!("event: patch\ndata: {{\"path\":\"/{folder}/{key}\",\"data\":{json}}}\n\n")
        }
        Change::DeleteFlag { key, version } => deleted("flags", key, *version),
        Change::DeleteSegment { key, version } => deleted("segments", key, *version),
    }
}
