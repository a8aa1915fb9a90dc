//! The HTTP surfaces: parse, one call, render.

pub(crate) mod auth;
pub(crate) mod body;

use std::sync::Arc;

use axum::Router;

use crate::{ApiError, App};

/// Every route of the server.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .merge(crate::ingest::routes())
        .fallback(|| async { ApiError::not_found("There is nothing under this path.") })
        .with_state(app)
}
