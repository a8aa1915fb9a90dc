//! Connected SDK instances, and what an environment asks of client-side ones.

use axum::Json;
use axum::http::HeaderMap;
use ensign_control::catalogue::{Command, Record, RecordKind};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer::{Changed, options};
use super::auth::{Admin, Read, To};
use super::body::Body;
use crate::ApiError;
use crate::serving::SECURE_MODE;

/// SDK instances by name and version: what revision they have, when they were last heard, and what is odd about them.
/// Kept in memory since the start. `evaluations` counts what SDKs summarised, by flag and variant;
/// `events_without_metric` are names of tracked events that no metric has.
#[utoipa::path(get, path = "/clients", tag = "clients", responses((status = 200, body = Object)))]
pub(super) async fn list(to: To<Read>) -> Json<Value> {
    let revision = to.state.serving().version.revision.0;
    Json(to.state.clients.view(to.app.now(), revision))
}

/// What the environment asks of client-side SDKs.
#[utoipa::path(get, path = "/settings", tag = "clients", responses((status = 200, body = Object)))]
pub(super) async fn settings(to: To<Read>) -> Json<Value> {
    let on = to.state.serving().secure_mode;
    Json(json!({ "secure_mode": on, "sentences": [sentence(on)] }))
}

fn sentence(secure_mode: bool) -> &'static str {
    if secure_mode {
        "Secure mode is on: browsers get answers for a context with the hash that the application made of it."
    } else {
        "Secure mode is off: browsers get answers for any context they name."
    }
}

/// Settings to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Whether browsers must send the hash of their context that only a server with the SDK key can make.
    secure_mode: bool,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// Changes what the environment asks of client-side SDKs.
#[utoipa::path(put, path = "/settings", tag = "clients", request_body = Settings, responses((status = 200, body = Changed)))]
pub(super) async fn set(
    to: To<Admin>,
    headers: HeaderMap,
    Body(settings): Body<Settings>,
) -> Result<Json<Changed>, ApiError> {
    let record = Record {
        project: Some(to.place.project.clone()),
        environment: Some(to.place.environment.clone()),
        kind: RecordKind::Setting,
        key: SECURE_MODE.to_owned(),
        body: json!({ "on": settings.secure_mode }),
    };
    let command = Command::PutRecord { record, reason: settings.reason };
    let done = to.app.act(&command, &to.grant.actor, options(&headers)?).await?;
    let mut changed = Changed::of(done, Some(&to.place));
    changed.0.sentences.push(sentence(settings.secure_mode).to_owned());
    Ok(changed)
}
