//! Flags and segments for server-side SDKs: streams, polls and single items.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::access::{Refused, server_side};
use super::clients::{self, Identity};
use super::environment::{Data, Environment, Followed, Wire};
use super::{fdv1, fdv2};
use crate::App;
use crate::fanout::{Encoding, Start, Topic};
use crate::serving::PlaceState;

/// Paths of server-side SDKs.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/all", get(all))
        .route("/sdk/latest-all", get(latest_all))
        .route("/sdk/flags", get(flags))
        .route("/sdk/flags/{key}", get(flag))
        .route("/sdk/segments/{key}", get(segment))
        .route("/sdk/stream", get(stream))
        .route("/sdk/poll", get(poll))
}

/// What a request is about.
struct Asked {
    app: Arc<App>,
    state: Arc<PlaceState>,
    environment: Arc<Environment>,
    identity: Identity,
}

impl Asked {
    fn of(app: Arc<App>, headers: &HeaderMap) -> Result<Self, Refused> {
        let state = server_side(&app, headers)?;
        let environment = app.launchdarkly.of(&app, &state);
        Ok(Self { app, state, environment, identity: Identity::of(headers) })
    }

    fn data(&self) -> Arc<Data> {
        self.environment.data(&self.state.serving())
    }

    fn topic(&self, protocol: &'static str, wire: &'static Wire) -> Arc<Topic> {
        let make = || -> Box<dyn Encoding> { Box::new(Followed::new(Arc::clone(&self.environment), wire)) };
        let topic = self.app.fanout().topic(&self.app.tasks, &self.state, protocol, make);
        topic.advance(&self.state.serving());
        topic
    }

    /// An endless answer.
    fn stream(
        &self,
        topic: &Arc<Topic>,
        since: Option<&str>,
        greet: &dyn Fn(Start, &str) -> Option<Bytes>,
    ) -> Response {
        let Some(seat) = self.app.fanout().seat() else {
            return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]).into_response();
        };
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        ];
        let open = clients::open(&self.state.clients, &self.identity, self.app.now());
        let (app, state) = (Arc::clone(&self.app), Arc::clone(&self.state));
        let stream = topic.stream(seat, since, greet).inspect(move |_| {
            open.has(state.serving().version.revision.0, app.now());
        });
        let body = Body::from_stream(stream);
        self.named((headers, body).into_response())
    }

    /// An answer that is not sent again to who has it.
    fn cached(&self, headers: &HeaderMap, tag: &str, body: impl FnOnce() -> Bytes) -> Response {
        let revision = self.state.serving().version.revision.0;
        self.state.clients.seen(&self.identity, self.app.now(), Some(revision));
        let tag = format!("\"{tag}\"");
        let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let same = |known: &str| {
            known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
        };
        let mut response = if known.is_some_and(same) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, "application/json")], body()).into_response()
        };
        if let Ok(tag) = HeaderValue::try_from(tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        self.named(response)
    }

    fn named(&self, mut response: Response) -> Response {
        if let Ok(id) = HeaderValue::try_from(&self.environment.id) {
            response.headers_mut().insert("x-ld-envid", id);
        }
        response
    }
}

/// The stream of the older protocol: one `put`, then a `patch` or `delete` for each change.
async fn all(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refused> {
    let asked = Asked::of(app, &headers)?;
    let topic = asked.topic("launchdarkly-1", &fdv1::WIRE);
    Ok(asked.stream(&topic, None, &|_, _| None))
}

/// Everything at once.
async fn latest_all(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refused> {
    let asked = Asked::of(app, &headers)?;
    let data = asked.data();
    Ok(asked.cached(&headers, &data.tag(), || data.text()))
}

/// All flags, without segments.
async fn flags(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refused> {
    let asked = Asked::of(app, &headers)?;
    let data = asked.data();
    let all = || {
        let items = data.payload.flags.iter().map(|(key, flag)| {
            let json = serde_json::to_string(flag.as_ref()).unwrap_or_default();
            format!("{}:{json}", serde_json::Value::from(key.as_str()))
        });
        format!("{{{}}}", items.collect::<Vec<_>>().join(",")).into()
    };
    Ok(asked.cached(&headers, &data.tag(), all))
}

/// One flag.
async fn flag(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let asked = Asked::of(app, &headers)?;
    let data = asked.data();
    let text = data.payload.flags.get(&key).and_then(|flag| serde_json::to_string(flag.as_ref()).ok());
    Ok(one(&asked, &headers, text))
}

/// One segment.
async fn segment(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let asked = Asked::of(app, &headers)?;
    let data = asked.data();
    let text =
        data.payload.segments.get(&key).and_then(|segment| serde_json::to_string(segment.as_ref()).ok());
    Ok(one(&asked, &headers, text))
}

fn one(asked: &Asked, headers: &HeaderMap, text: Option<String>) -> Response {
    match text {
        Some(text) => {
            let tag = format!("{:016x}", xxh3_64(text.as_bytes()));
            asked.cached(headers, &tag, || text.into())
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What a client of the newer protocol has.
#[derive(Debug, Deserialize)]
struct Basis {
    basis: Option<String>,
}

/// The stream of the newer protocol.
async fn stream(
    State(app): State<Arc<App>>,
    Query(Basis { basis }): Query<Basis>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let asked = Asked::of(app, &headers)?;
    let topic = asked.topic("launchdarkly-2", &fdv2::WIRE);
    let number = asked.data().number();
    let since = basis.as_deref().and_then(fdv2::tag_of);
    Ok(asked.stream(&topic, since, &|start, _| fdv2::greeting(start, number)))
}

/// Everything at once, in the newer protocol.
async fn poll(
    State(app): State<Arc<App>>,
    Query(Basis { basis }): Query<Basis>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let asked = Asked::of(app, &headers)?;
    let data = asked.data();
    Ok(asked.cached(&headers, &data.tag(), || fdv2::poll(&data, basis.as_deref())))
}
