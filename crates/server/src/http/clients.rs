//! Connected SDK instances.

use axum::Json;
use serde_json::Value;

use super::auth::{Read, To};

/// SDK instances by name and version: what revision they have, when they were last heard, and what is odd about them.
/// Kept in memory since the start. `evaluations` counts what SDKs summarised, by flag and variant;
/// `events_without_metric` are names of tracked events that no metric has.
#[utoipa::path(get, path = "/clients", tag = "operation", responses((status = 200, body = Object)))]
pub(super) async fn list(to: To<Read>) -> Json<Value> {
    let revision = to.state.serving().version.revision.0;
    Json(to.state.clients.view(to.app.now(), revision))
}
