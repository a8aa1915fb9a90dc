//! The HTTP surfaces: parse, one call, render.

use std::sync::Arc;

use axum::Router;

use crate::{ApiError, App};

/// Every route of the server.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .fallback(|| async { ApiError::not_found("There is nothing under this path.") })
        .with_state(app)
}
