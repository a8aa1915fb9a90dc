//! OpenFeature's remote evaluation protocol (OFREP 0.3.0), so that its providers work unmodified.
//!
//! What providers demand beyond the protocol's text is kept here: `variant` is always there, `reason` is one of the
//! protocol's words, `errorDetails` is in every error, and the tag of a bulk answer covers the context too.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, options, post};
use ensign_control::catalogue::KeyScope;
use ensign_eval::{ContextBuf, ErrorKind, Reason, Silent};
use ensign_protocol::ofrep::{self, Failure};
use ensign_protocol::openfeature::why;
use serde_json::{Map, Value as Json, json};

use super::{auth, body, ofrep_events};
use crate::evaluation::Answer;
use crate::serving::{PlaceState, Serving};
use crate::{ApiError, App, limits};

/// Both endpoints, with and without the slash that some clients add.
pub(super) fn routes() -> Router<Arc<App>> {
    let bulk = || post(bulk).merge(options(preflight));
    Router::new()
        .route("/ofrep/v1/evaluate/flags", bulk())
        .route("/ofrep/v1/evaluate/flags/", bulk())
        .route("/ofrep/v1/evaluate/flags/{*key}", post(single).merge(options(preflight)))
        .route("/ofrep/v1/events", get(ofrep_events::stream).merge(options(preflight)))
}

async fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-None-Match, X-API-Key"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    cors((StatusCode::NO_CONTENT, headers).into_response())
}

/// Any origin: what a browser may read is decided by the key, never by a cookie.
pub(super) fn cors(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Retry-After"));
    response
}

fn json_response(status: StatusCode, body: &Json) -> Response {
    let kind: (HeaderName, &str) = (header::CONTENT_TYPE, "application/json");
    cors((status, [kind], body.to_string()).into_response())
}

fn failure(key: Option<&str>, failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_response(status, &failure.body(key))
}

/// An error of ours in the protocol's words. The header that says when to come back is whole seconds.
fn refused(key: Option<&str>, error: &ApiError) -> Response {
    let word = match error.code() {
        "json_syntax" | "json_type" | "not_utf8" => "PARSE_ERROR",
        _ => "GENERAL",
    };
    let failed =
        Failure { status: error.document.status, code: word, details: error.document.detail.clone() };
    let mut response = failure(key, &failed);
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.document.status == 401 {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The environment that the key belongs to, and the key's id.
fn place(app: &App, headers: &HeaderMap) -> Result<(Arc<PlaceState>, String), ApiError> {
    let grant = auth::authenticate(app, headers)?;
    auth::require(&grant, KeyScope::Read)?;
    let place = grant.place().ok_or_else(|| {
        ApiError::new("forbidden", "Use the SDK key of an environment: it says which flags are meant.")
    })?;
    let state =
        app.place(&place).ok_or_else(|| ApiError::new("not_ready", "The environment is not served."))?;
    selected(headers, &state)?;
    app.rate.take(&grant.id, app.now()).map_err(|seconds| {
        ApiError::new("too_many", "This key asks more often than the server's operator allows.")
            .retry_after(seconds)
    })?;
    Ok((state, grant.id))
}

/// A selector may only name what the key allows anyway.
fn selected(headers: &HeaderMap, state: &PlaceState) -> Result<(), ApiError> {
    let Some(text) = headers.get("flagd-selector") else { return Ok(()) };
    let text = text.to_str().unwrap_or("\u{fffd}");
    ensign_protocol::flagd::selects(text, &state.place.to_string())
        .map_err(|why| ApiError::new("bad_header", why))
}

/// The context of a request. Nothing at all is an empty context.
fn context(bytes: &Bytes) -> Result<(Json, ContextBuf), Failure> {
    let all: Json = if bytes.is_empty() {
        json!({})
    } else {
        body::parse(bytes).map_err(|error| Failure {
            status: 400,
            code: "PARSE_ERROR",
            details: error.document.detail.clone(),
        })?
    };
    let context = ofrep::context(&all)?;
    let parsed =
        ContextBuf::from_openfeature(&context).map_err(|bad| Failure::invalid_context(bad.to_string()))?;
    Ok((context, parsed))
}

async fn single(State(app): State<Arc<App>>, Path(key): Path<String>, request: Request) -> Response {
    let state = match place(&app, request.headers()) {
        Ok((state, _)) => state,
        Err(error) => return refused(Some(&key), &error),
    };
    let bytes = match body::read(request, limits::BODY).await {
        Ok(bytes) => bytes,
        Err(error) => return refused(Some(&key), &error),
    };
    let (_, context) = match context(&bytes) {
        Ok(context) => context,
        Err(failed) => return failure(Some(&key), &failed),
    };
    let serving = state.serving();
    let Some(answer) = Answer::of(&serving, &key, &context, &mut Silent) else {
        app.telemetry.evaluation("ofrep", "flag_not_found");
        return failure(Some(&key), &Failure::not_found(&key));
    };
    app.telemetry.evaluation("ofrep", crate::evaluation::reason_word(&answer.evaluation.reason));
    answer.expose(&app, &state, app.now());
    match item(&app, &state, &serving, &answer) {
        Ok(item) => json_response(StatusCode::OK, &item),
        Err(failed) => failure(Some(&key), &failed),
    }
}

async fn bulk(State(app): State<Arc<App>>, request: Request) -> Response {
    let (state, key_id) = match place(&app, request.headers()) {
        Ok(found) => found,
        Err(error) => return refused(None, &error),
    };
    let known: Vec<HeaderValue> = request.headers().get_all(IF_NONE_MATCH).into_iter().cloned().collect();
    let bytes = match body::read(request, limits::BODY).await {
        Ok(bytes) => bytes,
        Err(error) => return refused(None, &error),
    };
    let (facts, context) = match context(&bytes) {
        Ok(context) => context,
        Err(failed) => return failure(None, &failed),
    };
    let serving = state.serving();
    let version = serving.version;
    let now = app.now();
    let window = ofrep_events::window(now);
    let configuration =
        format!("{} {} {} {key_id} {window}", state.place, version.revision.0, version.overlay);
    let tag = ofrep::tag(&configuration, &facts);
    if known.iter().filter_map(|header| header.to_str().ok()).any(|header| ofrep::matches(header, &tag)) {
        return with_tag(cors(StatusCode::NOT_MODIFIED.into_response()), &tag);
    }
    // A bulk evaluation is no exposure: nobody knows which of these flags will be used.
    let flags: Vec<Json> = serving
        .flags
        .keys()
        .filter_map(|key| Answer::of(&serving, key, &context, &mut Silent).map(|answer| (key, answer)))
        .map(|(key, answer)| {
            app.telemetry.evaluation("ofrep_bulk", crate::evaluation::reason_word(&answer.evaluation.reason));
            item(&app, &state, &serving, &answer).unwrap_or_else(|failed| failed.body(Some(key)))
        })
        .collect();
    let metadata = json!({ "flagSetId": state.place.to_string(), "version": version.revision.0 });
    let streams = ofrep_events::announced(&state, &key_id, now);
    let body = json!({ "flags": flags, "metadata": metadata, "eventStreams": streams });
    with_tag(json_response(StatusCode::OK, &body), &tag)
}

fn with_tag(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// One flag's answer.
fn item(app: &App, state: &PlaceState, serving: &Serving, answer: &Answer<'_>) -> Result<Json, Failure> {
    let evaluation = &answer.evaluation;
    let depends = || {
        let handle = serving.ruleset.flag(&answer.flag.key);
        handle.is_some_and(|handle| serving.ruleset.depends_on_context(handle))
    };
    let reason = match why(evaluation, depends) {
        Ok(why) => why.word(),
        Err(ErrorKind::FlagNotFound) => return Err(Failure::not_found(&answer.flag.key)),
        Err(ErrorKind::MalformedFlag) => {
            return Err(Failure::general("The flag's definition is broken where this evaluation went."));
        }
    };
    let value = evaluation.value.map(ensign_eval::model::Value::to_json);
    let variant = if value.is_some() { answer.variant().unwrap_or_default() } else { "" };
    Ok(ofrep::success(&answer.flag.key, value, reason, variant, metadata(app, state, serving, answer)))
}

/// Primitives only: providers drop or choke on anything nested.
pub(crate) fn metadata(
    app: &App,
    state: &PlaceState,
    serving: &Serving,
    answer: &Answer<'_>,
) -> Map<String, Json> {
    let mut all = Map::new();
    let mut put = |name: &str, value: Json| all.insert(name.to_owned(), value);
    put("flagSetId", json!(state.place.to_string()));
    put("version", json!(answer.flag.version));
    put("revision", json!(serving.version.revision.0));
    put("decidedBy", json!(crate::evaluation::reason_word(&answer.evaluation.reason)));
    match answer.evaluation.reason {
        Reason::RuleMatch { id, .. } => drop(put("rule", json!(id))),
        Reason::Pin { id } => drop(put("pin", json!(id))),
        Reason::PrerequisiteFailed { key } => drop(put("prerequisite", json!(key))),
        Reason::Kill | Reason::Off | Reason::TargetMatch | Reason::Fallthrough { .. } | Reason::Error(_) => {}
    }
    if let Some(index) = answer.evaluation.variant {
        put("variantIndex", json!(index));
    }
    let decision = answer.evaluation.decision;
    if let Some(allocation) = decision.allocation {
        // Numbers of 64 bits do not survive every JSON reader.
        put("allocation", json!(format!("{:016x}", allocation.0)));
        put("epoch", json!(decision.epoch));
        put("share", json!(f64::from(decision.share) / 1000.0));
        put("compared", json!(decision.compared));
    }
    if let Some(token) = answer.token(state, app.now()) {
        put("token", json!(token));
    }
    all
}
