//! The event stream of remote evaluation: which flags changed, so that clients drop what they keep of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use ensign_eval::model::{Flag, Segment};
use serde_json::{Map, Value as Json, json};

use super::calls::{Wants, place};
use super::messages::Event;
use super::wire::{Code, Failed, framed, refused, streamed, structure};
use crate::App;
use crate::fanout::{Encoded, Encoding, Step};
use crate::serving::Serving;

/// So many flags that changed last are named to a client that connects: it may have missed their change.
const RECENT: usize = 100;

pub(super) async fn stream(State(app): State<Arc<App>>, request: Request) -> Response {
    let state = match place(&app, &request, Wants::Answers) {
        Ok(state) => state,
        Err(failed) => return refused(&failed),
    };
    let topic = app.fanout().topic(&app.tasks, &state, "flagd-events", || Box::<Changes>::default());
    let serving = state.serving();
    topic.advance(&serving);
    let Some(seat) = app.fanout().seat() else {
        let failed = Failed::new(Code::Unavailable, "as many streams as may be are open");
        return refused(&failed);
    };
    let ready = Event { kind: "provider_ready".to_owned(), data: None };
    let mut greeting = BytesMut::from(framed(&ready).as_ref());
    greeting.extend_from_slice(&changed(recent(&serving).map(|key| (key, "update"))));
    let (greeting, now) = (greeting.freeze(), topic.tag());
    streamed(topic.stream(seat, Some(&now), &|_, _| Some(greeting.clone())))
}

/// The flags that changed last, and those whose answer others decide.
fn recent(serving: &Serving) -> impl Iterator<Item = &str> {
    let mut flags: Vec<&Flag> = serving.flags.values().map(AsRef::as_ref).collect();
    flags.sort_by_key(|flag| (flag.prerequisites.is_empty(), std::cmp::Reverse(flag.version)));
    flags.into_iter().take(RECENT).map(|flag| flag.key.as_str())
}

fn changed<'a>(flags: impl Iterator<Item = (&'a str, &'static str)>) -> Bytes {
    let flags: Map<String, Json> = flags
        .map(|(key, kind)| (key.to_owned(), json!({ "type": kind, "source": "ensign", "flagKey": key })))
        .collect();
    if flags.is_empty() {
        return Bytes::new();
    }
    let mut data = Map::new();
    data.insert("flags".to_owned(), Json::Object(flags));
    framed(&Event { kind: "configuration_change".to_owned(), data: Some(structure(&data)) })
}

/// What the last event was made from.
#[derive(Default)]
struct Changes {
    flags: BTreeMap<String, Arc<Flag>>,
    segments: Vec<(Arc<Segment>, Vec<String>)>,
}

impl Encoding for Changes {
    fn encode(&mut self, serving: &Serving) -> Encoded {
        let same =
            |key: &String, flag: &Arc<Flag>| self.flags.get(key).is_some_and(|old| Arc::ptr_eq(old, flag));
        let mut named: BTreeMap<&str, &'static str> = self
            .flags
            .keys()
            .filter(|key| !serving.flags.contains_key(*key))
            .map(|key| (key.as_str(), "delete"))
            .collect();
        for (key, _) in serving.flags.iter().filter(|(key, flag)| !same(key, flag)) {
            named.insert(key, if self.flags.contains_key(key) { "update" } else { "write" });
        }
        let segments: Vec<(Arc<Segment>, Vec<String>)> =
            serving.segments().map(|(segment, members)| (Arc::clone(segment), members.to_vec())).collect();
        let other_segments = segments.len() != self.segments.len()
            || segments
                .iter()
                .zip(&self.segments)
                .any(|(new, old)| !Arc::ptr_eq(&new.0, &old.0) || new.1 != old.1);
        let mut affected: BTreeSet<&str> = BTreeSet::new();
        if other_segments || !named.is_empty() {
            // Whoever asks a segment depends on the context; whoever needs another flag may answer as it does.
            let depends = |key: &str| {
                let handle = serving.ruleset.flag(key);
                handle.is_some_and(|handle| serving.ruleset.depends_on_context(handle))
            };
            for (key, flag) in &serving.flags {
                if !flag.prerequisites.is_empty() || (other_segments && depends(key)) {
                    affected.insert(key);
                }
            }
        }
        for key in affected {
            named.entry(key).or_insert("update");
        }
        let bytes = changed(named.into_iter());
        let step = if bytes.is_empty() { Step::Nothing } else { Step::Bytes(bytes) };
        let tag = format!("{}.{}", serving.version.revision.0, serving.version.overlay);
        let all = changed(serving.flags.keys().map(|key| (key.as_str(), "update")));
        self.flags.clone_from(&serving.flags);
        self.segments = segments;
        Encoded { tag, whole: Box::new(move || all), step }
    }

    fn heartbeat(&self) -> Bytes {
        framed(&Event { kind: "keep_alive".to_owned(), data: None })
    }
}
