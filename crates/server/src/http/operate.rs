//! For operators: liveness, readiness, metrics, backup, erasure.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ensign_control::catalogue::rfc3339;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Admin, By, Names, To};
use super::body::Body;
use crate::{ApiError, App, limits, readings};

/// The process is there.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests should be sent here, and what is wrong if not.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses((status = 200, body = Object), (status = 503, body = Object)))]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let state = readings::readiness(&app).await;
    let status = if state.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(state)).into_response()
}

/// Everything that operators count, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, body = String)))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let page = app.telemetry.page(readings::all(&app).await);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], page).into_response()
}

/// A backup's name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBackup {
    /// The folder's name in the data folder's `backups`; the time if not given.
    #[serde(default)]
    name: Option<String>,
}

/// Copies the data into `DATA/backups` while everything goes on.
#[utoipa::path(post, path = "/api/v1/backup", tag = "operation", request_body = NewBackup, responses((status = 200, body = Object)))]
pub(super) async fn backup(by: By<Admin>, Body(new): Body<NewBackup>) -> Result<Json<Value>, ApiError> {
    by.installation()?;
    let name = new.name.unwrap_or_else(|| rfc3339(by.app.now()).replace([':', '+'], "-"));
    // A key's alphabet has no slash and begins with no dot, so the name cannot lead elsewhere.
    let name = super::auth::key(&name).map_err(|error| error.pointer("/name"))?;
    let path = by.app.backup(name.as_str()).await?;
    let sentence = format!(
        "The data was copied into {}. The copy holds the installation's key: keep it as safe as the data folder.",
        path.display()
    );
    let next = format!("ensign backup restore {} --data NEW_FOLDER", path.display());
    Ok(Json(json!({ "path": path, "sentences": [sentence, format!("To restore: {next}")] })))
}

/// Which raw events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Raw {
    /// From this position of the event log; without it from the first that is still there.
    from: Option<u64>,
    /// At most so many records.
    limit: Option<usize>,
}

/// Raw records of the event log, one JSON object a line: `{position, record}`. Units are keyed hashes. The header
/// `Ensign-Next-Position` says where to go on; it is absent at the end.
#[utoipa::path(post, path = "/api/v1/export-events", tag = "operation", params(Raw), responses((status = 200, body = String)))]
pub(super) async fn export_events(
    by: By<Admin>,
    query: Result<Query<Raw>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    by.installation()?;
    let Query(raw) = query.map_err(|error| ApiError::new("bad_query", error.body_text()))?;
    let limit = raw.limit.unwrap_or(limits::EXPORT_RECORDS).clamp(1, limits::EXPORT_RECORDS);
    let from = raw.from;
    let read = move || by.app.raw_events(from, limit);
    let (text, next) = tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| ApiError::new("internal", "The event log could not be read."))??;
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response();
    if let Some(next) = next {
        response.headers_mut().insert("ensign-next-position", next.into());
    }
    Ok(response)
}

/// Forgets a unit: its opt-ins, and what the evidence holds about it.
#[utoipa::path(delete, path = "/units/{kind}/{unit}", tag = "operation", responses((status = 200, body = Object)))]
pub(super) async fn erase(to: To<Admin>, Names(names): Names) -> Result<Json<Value>, ApiError> {
    let [kind, unit] = names;
    if unit.is_empty() || unit.len() > limits::UNIT_KEY {
        return Err(ApiError::new(
            "bad_unit",
            format!("The key of a unit has 1 to {} bytes.", limits::UNIT_KEY),
        ));
    }
    let opt_ins = to.app.erase(&to.place, &kind, &unit, &to.grant.actor).await?;
    let sentences = [
        format!("{opt_ins} opt-ins of this {kind} in {} are gone, and the evidence has forgotten it.", to.place),
        "Sums that it entered stay: they name nobody. Raw events hold a keyed hash, never the key, and go with the \
         log's retention. Documents that list the key (pins, targets, segments) are yours to edit."
            .to_owned(),
    ];
    Ok(Json(json!({ "opt_ins": opt_ins, "sentences": sentences })))
}
