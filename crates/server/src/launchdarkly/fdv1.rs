//! The older protocol, which every server-side SDK speaks unless told otherwise: `put`, `patch`, `delete`.

use std::sync::Arc;

use bytes::Bytes;
use ensign_protocol::launchdarkly::{Change, Item};

use super::environment::{Data, Environment};
use crate::fanout::{Encoded, Encoding, Step};
use crate::serving::Serving;

/// The stream of one environment.
pub(super) struct Fdv1 {
    environment: Arc<Environment>,
    last: Arc<Data>,
}

impl Fdv1 {
    pub(super) fn new(environment: Arc<Environment>) -> Self {
        Self { environment, last: Arc::default() }
    }
}

impl Encoding for Fdv1 {
    fn encode(&mut self, serving: &Serving) -> Encoded {
        let data = self.environment.data(serving);
        let changes = data.payload.changes(&self.last.payload);
        let step = if changes.is_empty() {
            Step::Nothing
        } else {
            Step::Bytes(changes.iter().map(event).collect::<String>().into())
        };
        let tag = data.tag();
        self.last = Arc::clone(&data);
        Encoded { tag, whole: Box::new(move || put(&data)), step }
    }
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
