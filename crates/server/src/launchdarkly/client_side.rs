//! Evaluated flags for client-side SDKs: polls and streams, by client-side ID, mobile key or SDK key.
//!
//! Every path exists twice: with the context in the path, and by the method REPORT with the context in the body.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use ensign_eval::ContextBuf;
use ensign_store::secrets::same;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;
use xxhash_rust::xxh3::xxh3_64;

use super::clients::Identity;
use super::evaluated::{Audience, all, document};
use super::pings::Pings;
use super::watching::watch;
use super::{access, base64, cors};
use crate::fanout::Seat;
use crate::http::read_body;
use crate::keys::hex;
use crate::serving::PlaceState;
use crate::{App, limits};

/// Paths of client-side SDKs.
pub(super) fn routes() -> Router<Arc<App>> {
    use Audience::{Browser, Mobile, Server};
    use Way::{Goals, Ping, Poll, Stream};
    let browser = |route: MethodRouter<Arc<App>>| cors::allow(route);
    let way = |audience: Audience, way: Way| {
        move |State(app): State<Arc<App>>,
              Path(path): Path<Params>,
              Query(options): Query<Options>,
              request: Request| { answer(app, audience, way, path, options, request) }
    };
    Router::new()
        .route("/sdk/evalx/{id}/contexts/{context}", browser(get(way(Browser, Poll))))
        .route("/sdk/evalx/{id}/users/{context}", browser(get(way(Browser, Poll))))
        .route("/sdk/evalx/{id}/context", browser(any(way(Browser, Poll))))
        .route("/sdk/evalx/{id}/user", browser(any(way(Browser, Poll))))
        .route("/eval/{id}/{context}", browser(get(way(Browser, Stream))))
        .route("/eval/{id}", browser(any(way(Browser, Stream))))
        .route("/ping/{id}", browser(get(way(Browser, Ping))))
        .route("/sdk/goals/{id}", browser(get(way(Browser, Goals))))
        .route("/msdk/evalx/contexts/{context}", get(way(Mobile, Poll)))
        .route("/msdk/evalx/users/{context}", get(way(Mobile, Poll)))
        .route("/msdk/evalx/context", any(way(Mobile, Poll)))
        .route("/msdk/evalx/user", any(way(Mobile, Poll)))
        .route("/meval/{context}", get(way(Mobile, Stream)))
        .route("/meval", any(way(Mobile, Stream)))
        .route("/mping", get(way(Mobile, Ping)))
        .route("/sdk/evalx/contexts/{context}", get(way(Server, Poll)))
        .route("/sdk/evalx/context", any(way(Server, Poll)))
}

/// How a client wants to hear.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Everything, evaluated once.
    Poll,
    /// Everything, and then every result that changes.
    Stream,
    /// Only that something has changed.
    Ping,
    /// Goals are reached in browsers and told as events; none is defined here.
    Goals,
}

/// What a path may name: the environment's client-side ID, and the context.
#[derive(Debug, Deserialize)]
struct Params {
    id: Option<String>,
    context: Option<String>,
}

/// Browsers go by the ID in the path, everyone else by a key; the context is in the path, else in the body.
async fn answer(
    app: Arc<App>,
    audience: Audience,
    way: Way,
    path: Params,
    options: Options,
    request: Request,
) -> Result<Response, Refused> {
    let asked = match &path.id {
        Some(id) => Asked::by_id(app, id, request.headers(), options)?,
        None => Asked::by_key(app, audience, request.headers(), options)?,
    };
    match way {
        Way::Poll => Ok(asked.poll(&asked.about(path.context, request).await?)),
        Way::Stream => asked.stream(asked.about(path.context, request).await?),
        Way::Ping => asked.ping(),
        Way::Goals => Ok(asked.named(([(CONTENT_TYPE, "application/json")], "[]").into_response())),
    }
}

/// What stands behind the question mark.
#[derive(Debug, Default, Deserialize)]
struct Options {
    #[serde(default, rename = "withReasons")]
    with_reasons: Option<String>,
    /// The hash of secure mode.
    h: Option<String>,
}

/// Why a request is not answered: a status and a sentence for whoever looks.
struct Refused(StatusCode, &'static str);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, sentence) = self;
        let mut response = (status, sentence).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// Who asks, and about whom.
struct Asked {
    app: Arc<App>,
    state: Arc<PlaceState>,
    audience: Audience,
    identity: Identity,
    known: Option<String>,
    options: Options,
}

impl Asked {
    fn by_id(app: Arc<App>, id: &str, headers: &HeaderMap, options: Options) -> Result<Self, Refused> {
        let state = access::named(&app, id);
        let state = state.ok_or(Refused(StatusCode::NOT_FOUND, "no environment has this client-side ID"))?;
        Ok(Self::of(app, state, Audience::Browser, headers, options))
    }

    fn by_key(
        app: Arc<App>,
        audience: Audience,
        headers: &HeaderMap,
        options: Options,
    ) -> Result<Self, Refused> {
        let state = match audience {
            Audience::Server => access::server_side(&app, headers),
            Audience::Browser | Audience::Mobile => access::either(&app, headers),
        };
        let state = state.map_err(|_| Refused(StatusCode::UNAUTHORIZED, "the key is not valid here"))?;
        Ok(Self::of(app, state, audience, headers, options))
    }

    fn of(
        app: Arc<App>,
        state: Arc<PlaceState>,
        audience: Audience,
        headers: &HeaderMap,
        options: Options,
    ) -> Self {
        let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { app, state, audience, identity: Identity::of(headers), known, options }
    }

    fn with_reasons(&self) -> bool {
        self.options.with_reasons.as_deref() == Some("true")
    }

    /// Reads a context, and checks that the application vouches for it where the environment asks for that.
    fn context(&self, json: &[u8]) -> Result<ContextBuf, Refused> {
        let json = serde_json::from_slice(json);
        let json = json.map_err(|_| Refused(StatusCode::BAD_REQUEST, "the context is not JSON"))?;
        let context = ContextBuf::from_launchdarkly(&json)
            .map_err(|bad| Refused(StatusCode::BAD_REQUEST, bad.code.sentence()))?;
        if self.audience == Audience::Browser && self.state.serving().secure_mode {
            let mut mac = Hmac::<Sha256>::new_from_slice(self.state.client_keys.sdk_key.as_bytes())
                .expect("a key of any length will do");
            mac.update(context.canonical_key().as_bytes());
            let expected = hex(&mac.finalize().into_bytes());
            let sent = self.options.h.as_deref().unwrap_or_default();
            if !same(expected.as_bytes(), sent.as_bytes()) {
                let sentence = "secure mode is on: the hash `h` is missing or is not that of this context";
                return Err(Refused(StatusCode::BAD_REQUEST, sentence));
            }
        }
        Ok(context)
    }

    async fn about(&self, path: Option<String>, request: Request) -> Result<ContextBuf, Refused> {
        match path {
            Some(context) => self.in_path(&context),
            None => self.in_body(request).await,
        }
    }

    fn in_path(&self, context: &str) -> Result<ContextBuf, Refused> {
        let bytes = base64::decode(context);
        self.context(&bytes.ok_or(Refused(StatusCode::BAD_REQUEST, "the context is not base64"))?)
    }

    async fn in_body(&self, request: Request) -> Result<ContextBuf, Refused> {
        if request.method() != reporting() {
            return Err(Refused(StatusCode::METHOD_NOT_ALLOWED, "this path takes REPORT"));
        }
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json")) {
            return Err(Refused(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the context is sent as application/json",
            ));
        }
        let body = read_body(request, limits::BODY).await;
        self.context(&body.map_err(|_| Refused(StatusCode::BAD_REQUEST, "the body did not arrive whole"))?)
    }

    fn named(&self, mut response: Response) -> Response {
        if let Ok(id) = HeaderValue::try_from(&self.state.client_keys.client_id) {
            response.headers_mut().insert("x-ld-envid", id);
        }
        response
    }

    /// Everything, evaluated once.
    fn poll(&self, context: &ContextBuf) -> Response {
        let serving = self.state.serving();
        let data = self.app.launchdarkly.of(&self.app, &self.state).data(&serving);
        self.state.clients.seen(&self.identity, self.app.now(), Some(serving.version.revision.0));
        let results = all(&serving, &data, context, self.audience);
        let text = document(&results, self.with_reasons(), data.number()).to_string();
        let tag = format!("\"{:016x}\"", xxh3_64(text.as_bytes()));
        let mut response = if self.known.as_deref() == Some(tag.as_str()) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, "application/json")], text).into_response()
        };
        if let Ok(tag) = HeaderValue::try_from(tag) {
            response.headers_mut().insert(ETAG, tag);
        }
        self.named(response)
    }

    fn seat(&self) -> Result<Seat, Refused> {
        let full = Refused(StatusCode::SERVICE_UNAVAILABLE, "as many streams as may be are open");
        self.app.fanout().seat().ok_or(full)
    }

    fn endless<S>(&self, stream: S) -> Response
    where
        S: futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static,
    {
        let headers = [
            (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
            (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        ];
        self.named((headers, axum::body::Body::from_stream(stream)).into_response())
    }

    /// Everything, and then every result that changes.
    fn stream(&self, context: ContextBuf) -> Result<Response, Refused> {
        let seat = self.seat()?;
        let open = super::clients::open(&self.state.clients, &self.identity, self.app.now());
        let (app, state) = (Arc::clone(&self.app), Arc::clone(&self.state));
        Ok(self.endless(watch(app, state, context, self.audience, self.with_reasons(), seat, open)))
    }

    /// Only that something has changed.
    fn ping(&self) -> Result<Response, Refused> {
        let seat = self.seat()?;
        let topic =
            self.app.fanout().topic(&self.app.tasks, &self.state, "launchdarkly-ping", || Box::new(Pings));
        topic.advance(&self.state.serving());
        Ok(self.endless(topic.stream(seat, None, &|_, _| None)))
    }
}

fn reporting() -> Method {
    Method::from_bytes(b"REPORT").unwrap_or(Method::POST)
}
