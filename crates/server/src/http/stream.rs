//! `GET /api/v1/stream`: the rulesets of an environment for SDKs and edges that evaluate by themselves.
//!
//! See docs/reference/stream.md for the protocol. One encoding serves all connections of an environment; only the
//! greeting, which carries what attribution tokens are made with, is each connection's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use ensign_control::catalogue::KeyScope;
use ensign_eval::model::{Flag, KeyList, Segment, USER};
use ensign_protocol::stream::{
    Attribution, HEARTBEAT_SECONDS, Hello, VERSION, flag_to_json, segment_to_json,
};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::auth;
use crate::fanout::{Encoded, Encoding, Step};
use crate::serving::{PlaceState, Serving};
use crate::{ApiError, App};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/api/v1/stream", get(stream))
}

/// The environment of a server-side key, and whether it may send events.
pub(crate) fn server_side(app: &App, headers: &HeaderMap) -> Result<(Arc<PlaceState>, bool), ApiError> {
    let grant = auth::authenticate(app, headers)?;
    auth::require(&grant, KeyScope::Read)?;
    if auth::token(headers).is_some_and(|token| token.starts_with("ens-mob-")) {
        let detail =
            "A mobile key may ask for answers, not for rules: rules can name customers. Use the SDK key.";
        return Err(ApiError::new("forbidden", detail));
    }
    let place = grant.place().ok_or_else(|| {
        ApiError::new("forbidden", "Use the SDK key of an environment: it says which flags are meant.")
    })?;
    let state =
        app.place(&place).ok_or_else(|| ApiError::new("not_ready", "The environment is not served."))?;
    Ok((state, grant.may(KeyScope::Ingest)))
}

#[derive(Debug, Deserialize)]
struct Asked {
    cursor: Option<String>,
}

async fn stream(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (state, ingest) = server_side(&app, &headers)?;
    let topic = app.fanout().topic(&app.tasks, &state, "ensign", || Box::<Rulesets>::default());
    topic.advance(&state.serving());
    let Some(seat) = app.fanout().seat() else {
        return Err(ApiError::new("overloaded", "As many streams as may be are open.").retry_after(5));
    };
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()).or(asked.cursor.as_deref());
    let hello = hello(&state, ingest);
    let body = Body::from_stream(topic.stream(seat, known, &|_, _| Some(hello.clone())));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-store"),
        // Proxies that gather answers would hold changes back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

fn hello(state: &PlaceState, ingest: bool) -> Bytes {
    let key = state.keys.tokens.first().filter(|_| ingest);
    let hello = Hello {
        v: VERSION,
        place: state.place.to_string(),
        heartbeat_seconds: HEARTBEAT_SECONDS,
        attribution: key.map(|key| Attribution::new(state.keys.unit, &key.for_sdks())),
    };
    format!("event: hello\ndata: {}\n\n", json!(hello)).into()
}

/// An item's text, shared by every frame that has it.
#[derive(Clone)]
struct Text {
    json: Arc<str>,
    hash: u128,
}

impl Text {
    fn of(json: &Json) -> Self {
        let json: Arc<str> = json.to_string().into();
        Self { hash: xxh3_128(json.as_bytes()), json }
    }
}

/// Every item of one version.
#[derive(Clone, Default)]
struct Items {
    flags: BTreeMap<String, Text>,
    segments: BTreeMap<String, Text>,
}

/// The encoding: keeps the items of the last version, so that only what changed is written anew.
#[derive(Default)]
struct Rulesets {
    flags: BTreeMap<String, (Arc<Flag>, Text)>,
    segments: BTreeMap<String, (Arc<Segment>, Vec<String>, Text)>,
    last: Option<(String, Arc<Items>)>,
}

impl Rulesets {
    fn items(&mut self, serving: &Serving) -> Items {
        let mut flags = BTreeMap::new();
        for (key, flag) in &serving.flags {
            let text = match self.flags.get(key) {
                Some((known, text)) if Arc::ptr_eq(known, flag) => text.clone(),
                Some(_) | None => Text::of(&flag_to_json(flag)),
            };
            flags.insert(key.clone(), (Arc::clone(flag), text));
        }
        self.flags = flags;
        let mut segments = BTreeMap::new();
        for (segment, members) in serving.segments() {
            let text = match self.segments.get(&segment.key) {
                Some((known, old, text)) if Arc::ptr_eq(known, segment) && old == members => text.clone(),
                Some(_) | None => Text::of(&segment_to_json(&with_members(segment, members))),
            };
            segments.insert(segment.key.clone(), (Arc::clone(segment), members.to_vec(), text));
        }
        self.segments = segments;
        Items {
            flags: self.flags.iter().map(|(key, (_, text))| (key.clone(), text.clone())).collect(),
            segments: self.segments.iter().map(|(key, (_, _, text))| (key.clone(), text.clone())).collect(),
        }
    }
}

/// Whoever opted in is in, whatever the rules say.
fn with_members(segment: &Segment, members: &[String]) -> Segment {
    let mut segment = segment.clone();
    if !members.is_empty() {
        segment.included.push(KeyList { kind: USER.to_owned(), keys: members.to_vec() });
    }
    segment
}

impl Encoding for Rulesets {
    fn encode(&mut self, serving: &Serving) -> Encoded {
        let items = Arc::new(self.items(serving));
        let tag = items.tag();
        let at = format!(
            "\"cursor\":\"{tag}\",\"revision\":{},\"overlay\":{}",
            serving.version.revision.0, serving.version.overlay
        );
        let step = match &self.last {
            Some((from, _)) if *from == tag => Step::Nothing,
            Some((from, before)) => Step::Bytes(patch(&tag, &at, from, before, &items)),
            None => Step::Whole,
        };
        self.last = Some((tag.clone(), Arc::clone(&items)));
        let whole = {
            let tag = tag.clone();
            move || put(&tag, &at, &items)
        };
        Encoded { tag, whole: Box::new(whole), step }
    }
}

impl Items {
    /// Names the content: the same in every process.
    fn tag(&self) -> String {
        let mut hasher = Xxh3::new();
        for (folder, items) in [("f", &self.flags), ("s", &self.segments)] {
            for (key, text) in items {
                hasher.update(folder.as_bytes());
                hasher.update(key.as_bytes());
                hasher.update(&[0]);
                hasher.update(&text.hash.to_le_bytes());
            }
        }
        format!("{VERSION}-{:032x}", hasher.digest128())
    }
}

fn put(tag: &str, at: &str, items: &Items) -> Bytes {
    let all = |items: &BTreeMap<String, Text>| object(items.iter().map(|(key, text)| (key, Some(text))));
    frame("put", tag, &format!("{at},\"flags\":{},\"segments\":{}", all(&items.flags), all(&items.segments)))
}

fn patch(tag: &str, at: &str, from: &str, before: &Items, after: &Items) -> Bytes {
    let (flags, segments) =
        (difference(&before.flags, &after.flags), difference(&before.segments, &after.segments));
    frame("patch", tag, &format!("\"from\":\"{from}\",{at},\"flags\":{flags},\"segments\":{segments}"))
}

fn frame(name: &str, tag: &str, members: &str) -> Bytes {
    format!("event: {name}\nid: {tag}\ndata: {{\"v\":{VERSION},{members}}}\n\n").into()
}

fn difference(before: &BTreeMap<String, Text>, after: &BTreeMap<String, Text>) -> String {
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key, None));
    let differs = |key: &String, text: &Text| before.get(key).is_none_or(|old| old.hash != text.hash);
    let changed = after.iter().filter(|(key, text)| differs(key, text)).map(|(key, text)| (key, Some(text)));
    object(gone.chain(changed))
}

fn object<'a>(items: impl Iterator<Item = (&'a String, Option<&'a Text>)>) -> String {
    let members = items.map(|(key, text)| {
        let json = text.map_or("null", |text| &text.json);
        format!("{}:{json}", Json::from(key.as_str()))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}
