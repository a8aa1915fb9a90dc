//! The paths to which LaunchDarkly's SDKs post events and diagnostics.
//!
//! An SDK that gets a 4xx other than 400 sends no event for the rest of its life, and one that gets a 5xx repeats its
//! payload once and then drops it. So a payload is answered with 202 once it is durable, with 503 when it cannot be
//! made durable now, with 401 or 404 only where the key is wrong; what is too long is read, dropped, counted and
//! answered with 202.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use ensign_control::ids::Key;
use ensign_protocol::launchdarkly::events::{self, Payload, Unreadable};
use ensign_store::secrets::random;
use futures_util::StreamExt as _;

use super::access::Refused;
use super::attribution::{self, UseCase, UseCases};
use super::clients::{Identity, Report};
use super::{access, cors};
use crate::http::changes;
use crate::ingest::{Inflate, Unavailable, inflate, unavailable};
use crate::keys::hex;
use crate::serving::PlaceState;
use crate::{ApiError, App, limits};

/// Payloads longer than this are read on a thread for blocking work.
const LONG: usize = 512 << 10;
/// How long a payload waits for exposures that may be in another one. Units that are never exposed cost this once.
const STRAGGLERS: Duration = Duration::from_secs(1);
/// The smallest image there is: one transparent pixel.
const PIXEL: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// The routes, without a prefix.
pub(crate) fn routes() -> Router<Arc<App>> {
    let browser = |route| cors::allow(route);
    Router::new()
        .route("/bulk", post(keyed_events))
        .route("/diagnostic", post(keyed_diagnostic))
        .route("/mobile", post(keyed_events))
        .route("/mobile/events", post(keyed_events))
        .route("/mobile/events/bulk", post(keyed_events))
        .route("/mobile/events/diagnostic", post(keyed_diagnostic))
        .route("/events/bulk/{id}", browser(post(named_events)))
        .route("/events/diagnostic/{id}", browser(post(named_diagnostic)))
        .route("/a/{image}", get(pixel))
}

fn of_key(app: &App, headers: &HeaderMap) -> Result<Arc<PlaceState>, ApiError> {
    access::either(app, headers).map_err(|Refused| {
        let detail = "Send the environment's SDK key or mobile key as `Authorization`, without a scheme.";
        ApiError::new("unauthenticated", detail)
    })
}

fn of_id(app: &App, id: &str) -> Result<Arc<PlaceState>, ApiError> {
    let state = access::named(app, id);
    state.ok_or_else(|| ApiError::not_found("There is no environment with this client-side ID."))
}

async fn keyed_events(State(app): State<Arc<App>>, request: Request) -> Result<StatusCode, ApiError> {
    let state = of_key(&app, request.headers())?;
    take(&app, &state, request).await
}

async fn named_events(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let state = of_id(&app, &id)?;
    take(&app, &state, request).await
}

async fn keyed_diagnostic(State(app): State<Arc<App>>, request: Request) -> Result<StatusCode, ApiError> {
    let state = of_key(&app, request.headers())?;
    diagnose(&app, &state, request).await
}

async fn named_diagnostic(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let state = of_id(&app, &id)?;
    diagnose(&app, &state, request).await
}

/// Events of browsers so old that they may not post: in the query of an image's address.
async fn pixel(
    State(app): State<Arc<App>>,
    Path(image): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Some(id) = image.strip_suffix(".gif") else {
        return Err(ApiError::not_found("There is nothing under this path."));
    };
    let state = of_id(&app, id)?;
    let query = query.unwrap_or_default();
    let sent = query.split('&').find_map(|pair| pair.strip_prefix("d="));
    if let Some(body) = sent.and_then(super::base64::decode) {
        count(&app, &state, &headers, Bytes::from(body)).await?;
    }
    Ok(([(CONTENT_TYPE, "image/gif")], PIXEL).into_response())
}

/// A body, or nothing where it is longer than is kept.
async fn read(body: Body) -> Result<Option<Bytes>, ApiError> {
    let mut stream = body.into_data_stream();
    let (mut kept, mut length) = (BytesMut::new(), 0_usize);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| ApiError::new("body_unreadable", "The body did not arrive whole."))?;
        length = length.saturating_add(piece.len());
        if length > limits::PAYLOAD_READ {
            break;
        }
        if length <= limits::EVENTS_INFLATED {
            kept.extend_from_slice(&piece);
        }
    }
    Ok((length <= limits::EVENTS_INFLATED).then(|| kept.freeze()))
}

/// The text of a body, which may be compressed. `None`: it is longer than is kept.
async fn text(headers: &HeaderMap, body: Body) -> Result<Option<Bytes>, ApiError> {
    let Some(bytes) = read(body).await? else { return Ok(None) };
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !encoding.trim().eq_ignore_ascii_case("gzip") {
        return Ok(Some(bytes));
    }
    let inflated = tokio::task::spawn_blocking(move || inflate(&bytes)).await;
    match inflated.map_err(|_| ApiError::new("internal", "The body could not be read."))? {
        Ok(text) => Ok(Some(Bytes::from(text))),
        Err(Inflate::TooLong) => Ok(None),
        // 400 is what an SDK survives.
        Err(Inflate::Broken) => {
            Err(ApiError::new("body_unreadable", "The body is not gzip, or was cut off."))
        }
    }
}

async fn take(app: &Arc<App>, state: &Arc<PlaceState>, request: Request) -> Result<StatusCode, ApiError> {
    let (parts, body) = request.into_parts();
    match text(&parts.headers, body).await? {
        Some(text) => count(app, state, &parts.headers, text).await?,
        None => {
            app.telemetry.launchdarkly("too_long", 1);
            tracing::warn!(place = %state.place, "a payload of events was longer than is read, and was dropped");
        }
    }
    Ok(StatusCode::ACCEPTED)
}

async fn diagnose(app: &Arc<App>, state: &Arc<PlaceState>, request: Request) -> Result<StatusCode, ApiError> {
    let (parts, body) = request.into_parts();
    if let Some(text) = text(&parts.headers, body).await? {
        let identity = Identity::of(&parts.headers);
        match events::payload(&text) {
            Ok(payload) => {
                for said in &payload.diagnostics {
                    state.clients.diagnosed(&identity, app.now(), said);
                }
            }
            Err(Unreadable) => return Err(unreadable()),
        }
    }
    Ok(StatusCode::ACCEPTED)
}

fn unreadable() -> ApiError {
    ApiError::new("json_syntax", "The body is neither a JSON array of events nor one event.")
}

/// Takes in one payload; returns once it is durable.
async fn count(
    app: &Arc<App>,
    state: &Arc<PlaceState>,
    headers: &HeaderMap,
    text: Bytes,
) -> Result<(), ApiError> {
    let received = app.now();
    let payload = if text.len() > LONG {
        let parsed = tokio::task::spawn_blocking(move || events::payload(&text)).await;
        parsed.map_err(|_| ApiError::new("internal", "The payload could not be read."))?
    } else {
        events::payload(&text)
    };
    let payload = payload.map_err(|Unreadable| unreadable())?;
    let identity = Identity::of(headers);
    for said in &payload.diagnostics {
        state.clients.diagnosed(&identity, received, said);
    }
    let named = headers.get("x-launchdarkly-payload-id").and_then(|value| value.to_str().ok());
    let name = match named.map(str::trim).filter(|name| !name.is_empty() && name.len() <= 128) {
        Some(name) => name.to_owned(),
        // Nothing to recognise a repetition by: every such payload is taken for a new one.
        None => hex(&random::<16>().map_err(ApiError::from)?),
    };
    learn(app, state, &payload).await?;
    let use_cases = use_cases(app, state, &payload);
    let unreadable = u64::from(payload.unreadable) + u64::from(payload.unknown);
    let total = payload.events.len() as u64;
    let meaning = attribution::meaning(state, &state.serving(), payload, &use_cases, &name, received);
    // SDKs send payloads side by side: outcomes may be here before the exposure that they belong to.
    let outcomes = attribution::outcomes(&meaning.events);
    if !outcomes.is_empty() && app.pipeline.awaits_exposures(outcomes).await {
        app.tasks.wait(STRAGGLERS).await;
    }
    match app.pipeline.submit(state.place.clone(), received, meaning.events).await {
        Ok(_) => {}
        // It would never fit, and a 413 would end all events of some SDKs.
        Err(Unavailable::TooLarge) => {
            app.telemetry.launchdarkly("too_long", total);
            return Ok(());
        }
        Err(error) => return Err(unavailable(error)),
    }
    for id in meaning.exposures {
        state.is_new_exposure(id, received);
    }
    let telemetry = &app.telemetry;
    telemetry.launchdarkly("received", total);
    telemetry.launchdarkly("unreadable", unreadable);
    telemetry.launchdarkly("volume", meaning.volume);
    telemetry.launchdarkly("bad_value", meaning.misfits);
    let payload = state.serving().book.fingerprint(&name).0;
    if state.clients.is_new_payload(payload, received) {
        let (counts, contexts, ai_sdk) = (meaning.counts, meaning.contexts, meaning.ai_sdk);
        let report = Report { counts, contexts, events: total, ai_sdk, unknown: meaning.unknown };
        if let Some(odd) = state.clients.reported(&identity, received, &report) {
            tracing::warn!(place = %state.place, next = odd.next, "{}", odd.sentence);
        }
    }
    Ok(())
}

/// Makes sure that the epochs of the versions which the payload names are known.
async fn learn(app: &Arc<App>, state: &PlaceState, payload: &Payload) -> Result<(), ApiError> {
    for flag in state.epochs.missing(attribution::versions(payload)) {
        let Ok(key) = flag.parse::<Key>() else { continue };
        if !state.serving().flags.contains_key(&flag) {
            continue;
        }
        state.epochs.learn(&flag, &changes(app, &state.place, &key).await?);
    }
    Ok(())
}

/// The use cases of the flags that the payload's model calls name.
fn use_cases(app: &App, state: &PlaceState, payload: &Payload) -> UseCases {
    let mut all = UseCases::new();
    let mut trials: Option<Vec<(String, Key)>> = None;
    for flag in attribution::configurations(payload) {
        if all.contains_key(flag) {
            continue;
        }
        let image = app.image();
        let project = &state.place.project;
        let use_case = |flag: &str| image.catalogue.use_case_of(project, &flag.parse().ok()?);
        let Some(own) = use_case(flag) else {
            all.insert(flag.to_owned(), UseCase::default());
            continue;
        };
        let trials = trials.get_or_insert_with(|| {
            let serving = state.serving();
            let trials = serving.flags.values().filter(|flag| attribution::trial(flag).is_some());
            trials.filter_map(|flag| Some((flag.key.clone(), use_case(&flag.key)?.key))).collect()
        });
        let beside = trials.iter().filter(|(other, of)| other != flag && *of == own.key);
        let beside = beside.map(|(other, _)| other.clone()).collect();
        let prices = own.prices.iter().map(|(model, price)| (model.clone(), (price.input, price.output)));
        all.insert(flag.to_owned(), UseCase { beside, prices: prices.collect() });
    }
    all
}
