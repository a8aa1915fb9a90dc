//! Sync: the definitions that flagd's own evaluators can compute exactly.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use ensign_eval::model::{KeyList, Segment, USER};
use ensign_protocol::flagd::{Export, export};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::calls::{Wants, message, place, selected};
use super::messages::{Empty, Metadata, SyncFlags, Synced};
use super::wire::{Code, Failed, answered, framed, refused, streamed, structure};
use crate::App;
use crate::fanout::{Encoded, Encoding, Step};
use crate::http::auth::{Read, To};
use crate::serving::{PlaceState, Serving};

async fn asked(app: &App, request: Request) -> Result<Arc<PlaceState>, Failed> {
    let state = place(app, &request, Wants::Rules)?;
    let asked: SyncFlags = message(request).await?;
    selected(&asked.selector, &state)?;
    Ok(state)
}

/// The document at once, and again whenever it is another one.
pub(super) async fn stream(State(app): State<Arc<App>>, request: Request) -> Response {
    let state = match asked(&app, request).await {
        Ok(state) => state,
        Err(failed) => return refused(&failed),
    };
    let place = state.place.to_string();
    let topic =
        app.fanout().topic(&app.tasks, &state, "flagd-sync", || Box::new(Documents { place, last: 0 }));
    topic.advance(&state.serving());
    match app.fanout().seat() {
        Some(seat) => streamed(topic.stream(seat, None, &|_, _| None)),
        None => refused(&Failed::new(Code::Unavailable, "as many streams as may be are open")),
    }
}

/// The document once.
pub(super) async fn fetch(State(app): State<Arc<App>>, request: Request) -> Response {
    let state = asked(&app, request).await;
    answered(state.map(|state| {
        let export = exported(&state.place.to_string(), &state.serving());
        Synced { flag_configuration: export.document }
    }))
}

/// Asked before each stream by some; there is nothing to say.
pub(super) async fn metadata(State(app): State<Arc<App>>, request: Request) -> Response {
    let state = place(&app, &request, Wants::Rules);
    let empty: Result<Empty, Failed> = message(request).await;
    answered(state.and(empty).map(|_| Metadata { metadata: Some(structure(&Map::new())) }))
}

/// Which flags flagd's in-process providers do not get, and why.
pub(super) fn left_out(to: &To<Read>) -> Json<Value> {
    let serving = to.state.serving();
    let export = exported(&to.place.to_string(), &serving);
    let all: Vec<Value> = export
        .left_out
        .iter()
        .map(|(flag, why)| json!({ "flag": flag, "sentence": format!("{flag}: {}.", why.sentence()) }))
        .collect();
    let exact = serving.flags.len() - all.len();
    Json(json!({ "revision": serving.version.revision.0, "exact": exact, "left_out": all }))
}

fn exported(place: &str, serving: &Serving) -> Export {
    let segments: BTreeMap<String, Segment> = serving
        .segments()
        .map(|(segment, members)| {
            let mut segment = segment.as_ref().clone();
            if !members.is_empty() {
                segment.included.push(KeyList { kind: USER.to_owned(), keys: members.to_vec() });
            }
            (segment.key.clone(), segment)
        })
        .collect();
    export(place, serving.version.revision.0, &serving.flags, &segments)
}

struct Documents {
    place: String,
    last: u64,
}

impl Encoding for Documents {
    fn encode(&mut self, serving: &Serving) -> Encoded {
        let document = exported(&self.place, serving).document;
        let hash = xxh3_64(document.as_bytes());
        let bytes = framed(&Synced { flag_configuration: document });
        let same = std::mem::replace(&mut self.last, hash) == hash;
        let step = if same { Step::Nothing } else { Step::Bytes(bytes.clone()) };
        Encoded { tag: format!("{hash:016x}"), whole: Box::new(move || bytes), step }
    }

    /// The protocol has no word for it, and a document that is sent again looks like a change.
    fn heartbeat(&self) -> Bytes {
        Bytes::new()
    }
}
