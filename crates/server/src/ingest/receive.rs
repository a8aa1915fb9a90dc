//! `POST /api/v1/events`: bytes in, an answer per event out.

use std::io::Read as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use ensign_control::catalogue::KeyScope;
use ensign_control::ids::Timestamp;
use ensign_protocol::events::{self, Answer, Format, Time, Unreadable};
use flate2::bufread::MultiGzDecoder;

use super::resolve::{self, Resolved};
use super::terms::Unavailable;
use crate::http::auth::{authenticate, require};
use crate::http::body::read as read_body;
use crate::keys::Grant;
use crate::serving::PlaceState;
use crate::{ApiError, App, limits};

/// Bodies longer than this are read on a thread for blocking work: they would hold up other requests.
const LONG: usize = 512 << 10;

/// The routes of ingestion.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/api/v1/events", post(receive))
}

async fn receive(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let grant = authenticate(&app, request.headers())?;
    require(&grant, KeyScope::Ingest)?;
    let state = place(&app, &grant, request.uri().query().unwrap_or_default())?;
    let form = Form::of(request.headers())?;
    let dropped = request.headers().get("ensign-dropped").and_then(|count| count.to_str().ok()?.parse().ok());
    let body = read_body(request, limits::EVENTS_BODY).await?;
    let received = app.now();
    let long = body.len() > LONG;
    let work = {
        let state = Arc::clone(&state);
        move || resolved(&state, &body, form, received)
    };
    let resolved = if long {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| ApiError::new("internal", "The batch could not be read."))??
    } else {
        work()?
    };
    let Resolved { events, refused, prefix } = resolved;
    let fates = app.pipeline.submit(state.place.clone(), received, events).await.map_err(unavailable)?;
    app.telemetry.client_dropped(dropped.unwrap_or(0));
    let mut fates = fates.into_iter();
    let mut answer = Answer::default();
    for refused in refused {
        match refused {
            Some(why) => answer.refuse(why, prefix),
            None => {
                if let Some(fate) = fates.next() {
                    answer.fate(fate, prefix);
                }
            }
        }
    }
    let body = serde_json::to_vec(&answer).expect("an answer has string keys and no floats");
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// The environment that the key is bound to, or that the query names.
fn place(app: &App, grant: &Grant, query: &str) -> Result<Arc<PlaceState>, ApiError> {
    let Some(place) = grant.place().or_else(|| resolve::place_of(query)) else {
        let detail = "This key belongs to no single environment: add ?project=…&environment=…, or use an environment's key.";
        return Err(ApiError::new("bad_query", detail));
    };
    if !grant.reaches(&place) {
        return Err(ApiError::new("forbidden", "The key belongs to another project or environment."));
    }
    app.place(&place)
        .ok_or_else(|| ApiError::new("unknown_environment", format!("There is no environment {place}.")))
}

/// What the headers say about the body.
#[derive(Clone, Copy)]
struct Form {
    format: Format,
    gzip: bool,
    sent_at: Option<Time>,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let gzip = match text(CONTENT_ENCODING.as_str()) {
            None | Some("" | "identity") => false,
            Some(encoding) if encoding.eq_ignore_ascii_case("gzip") => true,
            Some(encoding) => {
                let detail = format!("The body may be compressed with gzip, not with {encoding}.");
                return Err(ApiError::new("media_type", detail));
            }
        };
        let sent_at = text("ensign-sent-at").map(|text| {
            Time::from_text(text).ok_or_else(|| {
                ApiError::new("bad_header", "Ensign-Sent-At is a time: RFC 3339, or milliseconds since 1970.")
            })
        });
        Ok(Self { format: Format::of(text(CONTENT_TYPE.as_str())), gzip, sent_at: sent_at.transpose()? })
    }
}

fn resolved(state: &PlaceState, body: &Bytes, form: Form, received: Timestamp) -> Result<Resolved, ApiError> {
    let serving = state.serving();
    let long;
    let text: &[u8] = if form.gzip {
        long = inflated(body)?;
        &long
    } else {
        body
    };
    let batch = events::parse(text, form.format, limits::EVENTS_PER_BATCH).map_err(unreadable)?;
    Ok(resolve::batch(&serving.book, batch, form.sent_at, received))
}

/// Why a body was not decompressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inflate {
    /// It is not gzip, or was cut off.
    Broken,
    /// It would be longer than [`limits::EVENTS_INFLATED`].
    TooLong,
}

/// Decompresses a body.
pub(crate) fn inflate(body: &[u8]) -> Result<Vec<u8>, Inflate> {
    let limit = limits::EVENTS_INFLATED;
    let mut text = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    let read = MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut text);
    read.map_err(|_| Inflate::Broken)?;
    if text.len() > limit { Err(Inflate::TooLong) } else { Ok(text) }
}

fn inflated(body: &[u8]) -> Result<Vec<u8>, ApiError> {
    inflate(body).map_err(|why| match why {
        Inflate::Broken => ApiError::new("body_unreadable", "The body is not gzip, or was cut off."),
        Inflate::TooLong => {
            let limit = limits::EVENTS_INFLATED;
            let detail = format!("A batch has at most {limit} bytes after decompression.");
            ApiError::new("body_too_large", detail)
        }
    })
}

fn unreadable(error: Unreadable) -> ApiError {
    let detail = error.to_string();
    match error {
        Unreadable::NotUtf8 { line, column } => ApiError::new("not_utf8", detail).at(line, column),
        Unreadable::Syntax { line, column, .. } => ApiError::new("json_syntax", detail).at(line, column),
        Unreadable::TooMany { .. } => ApiError::new("body_too_large", detail),
    }
}

pub(crate) fn unavailable(error: Unavailable) -> ApiError {
    let detail = error.to_string();
    match error {
        Unavailable::Overloaded => ApiError::new("overloaded", detail).retry_after(1),
        Unavailable::Full => ApiError::new("store_full", detail).retry_after(10),
        Unavailable::TooLarge => ApiError::new("body_too_large", detail),
        Unavailable::Fault(_) => ApiError::new("store_failed", detail).retry_after(5),
        Unavailable::Stopped => ApiError::new("not_ready", detail).retry_after(1),
    }
}
