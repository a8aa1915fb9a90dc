//! Change notification for OFREP's static clients: a stream that says "evaluate again", and who may open it.
//!
//! A browser's event source sends no header, so its URL authorises: it carries a token that opens nothing else, names
//! the API key it was made for (a revoked key's streams are refused), and lasts one to two days. Tokens change with
//! the day and not with the answer, because a client reconnects whenever the URL changes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ensign_control::ids::{Place, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::fanout::{Encoded, Encoding, Step};
use crate::serving::{PlaceState, Serving};
use crate::{ApiError, App, keys};

/// How long a token's window is, in microseconds; a token is good in its own and the next one.
const WINDOW: i64 = 24 * 3_600 * 1_000_000;

/// A hidden page closes its stream after so many seconds.
const INACTIVITY: u32 = 120;

/// The window of a moment; part of every tag of a bulk answer, so that a client with an old URL gets a new one.
pub(super) fn window(now: Timestamp) -> i64 {
    now.0.div_euclid(WINDOW)
}

/// What a bulk answer says about streams.
pub(super) fn announced(state: &PlaceState, key_id: &str, now: Timestamp) -> Json {
    let Some(token) = token(state, key_id, window(now)) else { return json!([]) };
    json!([{
        "type": "sse",
        // Relative to the address the client knows: it holds behind proxies.
        "endpoint": { "requestUri": format!("/ofrep/v1/events?token={token}") },
        "inactivityDelaySec": INACTIVITY,
    }])
}

/// `project~environment~key id~window~signature`; none of the parts can have a tilde.
fn token(state: &PlaceState, key_id: &str, window: i64) -> Option<String> {
    let body = format!("{}~{}~{key_id}~{window}", state.place.project, state.place.environment);
    let secret = state.keys.tokens.first()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.secret).expect("HMAC takes a key of any length");
    mac.update(b"ofrep events\0");
    mac.update(body.as_bytes());
    let signature = mac.finalize().into_bytes();
    Some(format!("{body}~{}", keys::hex(&signature[..16])))
}

/// The environment of a token that is good now.
fn place(app: &App, token_text: &str) -> Option<Arc<PlaceState>> {
    let parts: Vec<&str> = token_text.split('~').collect();
    let [project, environment, key_id, window_text, _] = parts.as_slice() else { return None };
    let place = Place { project: project.parse().ok()?, environment: environment.parse().ok()? };
    let state = app.place(&place)?;
    let made: i64 = window_text.parse().ok()?;
    let expected = token(&state, key_id, made)?;
    let now = app.now();
    let good = bool::from(expected.as_bytes().ct_eq(token_text.as_bytes()))
        && (made..=made + 1).contains(&window(now))
        && app.access.load().is_valid(key_id, &place, now);
    good.then_some(state)
}

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    token: Option<String>,
}

/// The stream: nothing at first, and one message for each change.
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    match open(&app, asked.token.as_deref(), &headers) {
        Ok(response) => super::ofrep::cors(response),
        Err(error) => super::ofrep::cors(error.into_response()),
    }
}

fn open(app: &Arc<App>, token: Option<&str>, headers: &HeaderMap) -> Result<Response, ApiError> {
    let state = token.and_then(|token| place(app, token)).ok_or_else(|| {
        ApiError::new(
            "unauthenticated",
            "The token of this URL is not valid (any more): evaluate again for a new one.",
        )
    })?;
    let topic = app.fanout().topic(&app.tasks, &state, "ofrep", || Box::new(Nudges));
    topic.advance(&state.serving());
    let Some(seat) = app.fanout().seat() else {
        return Err(ApiError::new("overloaded", "As many streams as may be are open.").retry_after(5));
    };
    // Without an id the client has just evaluated: what is served now is what it knows.
    let now = topic.tag();
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or(&now);
    let body = Body::from_stream(topic.stream(seat, Some(known), &|_, _| Some(Bytes::from_static(b":\n\n"))));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store")),
    ];
    Ok((headers, body).into_response())
}

/// Says that something changed; which flags it is nobody needs to know.
struct Nudges;

impl Encoding for Nudges {
    fn encode(&mut self, serving: &Serving) -> Encoded {
        let tag = format!("{}.{}", serving.version.revision.0, serving.version.overlay);
        let message = json!({ "type": "refetchEvaluation", "etag": tag });
        let bytes = Bytes::from(format!("id: {tag}\ndata: {message}\n\n"));
        let whole = bytes.clone();
        Encoded { tag, whole: Box::new(move || whole), step: Step::Bytes(bytes) }
    }
}
