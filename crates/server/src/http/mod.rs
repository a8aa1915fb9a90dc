//! The HTTP surfaces: parse, one call, render.

mod answer;
pub(crate) mod auth;
pub(crate) mod body;
mod clients;
mod documents;
mod evaluate;
mod flags;
mod manage;
pub(crate) mod ofrep;
mod ofrep_events;
mod openapi;
mod operate;
mod rollouts;
pub(crate) mod stream;
mod things;

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use body::read as read_body;
pub(crate) use flags::changes;

use crate::appconfig::alarms;
use crate::{ApiError, App, limits};

/// What belongs to one environment.
const PLACE: &str = "/api/v1/projects/{project}/environments/{environment}";

fn in_place() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(documents::apply))
        .routes(routes!(documents::plan))
        .routes(routes!(documents::export))
        .routes(routes!(flags::list))
        .routes(routes!(flags::show))
        .routes(routes!(flags::past))
        .routes(routes!(flags::on))
        .routes(routes!(flags::off))
        .routes(routes!(flags::retire))
        .routes(routes!(flags::unretire))
        .routes(routes!(flags::restore))
        .routes(routes!(flags::restore_revision))
        .routes(routes!(flags::kill))
        .routes(routes!(flags::kill_value))
        .routes(routes!(flags::pins, flags::add_pin))
        .routes(routes!(flags::remove_pin))
        .routes(routes!(evaluate::evaluate))
        .routes(routes!(things::segments))
        .routes(routes!(things::member, things::join, things::leave))
        .routes(routes!(things::metrics, things::new_metric))
        .routes(routes!(things::use_cases, things::new_use_case))
        .routes(routes!(rollouts::list, rollouts::start))
        .routes(routes!(rollouts::plan))
        .routes(routes!(rollouts::show))
        .routes(routes!(rollouts::approve))
        .routes(routes!(rollouts::hold))
        .routes(routes!(rollouts::resume))
        .routes(routes!(rollouts::abort))
        .routes(routes!(rollouts::hold_all))
        .routes(routes!(rollouts::receipts))
        .routes(routes!(rollouts::receipt))
        .routes(routes!(rollouts::why))
        .routes(routes!(manage::webhooks, manage::new_webhook))
        .routes(routes!(manage::remove_webhook))
        .routes(routes!(manage::windows, manage::new_window))
        .routes(routes!(manage::remove_window))
        .routes(routes!(operate::erase))
        .routes(routes!(clients::list))
        .routes(routes!(clients::settings, clients::set))
        .routes(routes!(alarms::alertmanager))
        .routes(routes!(alarms::sns))
        .routes(routes!(alarms::signed))
        .routes(routes!(alarms::new_source))
        .routes(routes!(alarms::new_pair))
}

fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(documents::projects, documents::new_project))
        .routes(routes!(documents::environments, documents::new_environment))
        .routes(routes!(manage::list_keys, manage::new_key))
        .routes(routes!(manage::rotate_key))
        .routes(routes!(manage::revoke_key))
        .routes(routes!(alarms::new_project_pair))
        .routes(routes!(manage::audit))
        .routes(routes!(manage::verify_audit))
        .routes(routes!(operate::backup))
        .routes(routes!(operate::export_events))
        .routes(routes!(operate::healthz))
        .routes(routes!(operate::readyz))
        .routes(routes!(operate::metrics))
        .nest(PLACE, in_place())
}

/// The description of the API, as the server gives it.
#[must_use]
pub fn description() -> String {
    let (_, api) = described().split_for_parts();
    openapi::finish(api)
}

/// Every route of the server.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (routes, api) = described().split_for_parts();
    let api = openapi::finish(api);
    routes
        .merge(ofrep::routes())
        .merge(stream::routes())
        .merge(crate::flagd::routes())
        .merge(crate::ingest::routes())
        .merge(crate::launchdarkly::routes())
        .merge(crate::appconfig::routes())
        .route("/api/v1/openapi.json", get(|| async { ([("content-type", "application/json")], api) }))
        // The console's page comes later; its place is known.
        .route("/", get(|| async { Redirect::temporary("/console") }))
        .fallback(|| async { ApiError::not_found("There is nothing under this path.") })
        .method_not_allowed_fallback(|| async {
            ApiError::new("method_not_allowed", "The path is right and the method is not.")
        })
        .layer(from_fn_with_state(Arc::clone(&app), observe))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(RequestBodyTimeoutLayer::new(limits::BODY_READ))
        .with_state(app)
}

/// Counts and logs each request: route, status, time; never a header, a body or a key.
async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    if !app.is_ready() && !matches!(route.as_str(), "/healthz" | "/readyz" | "/metrics") {
        return ApiError::new("not_ready", "The server is starting or stopping.")
            .retry_after(1)
            .into_response();
    }
    let began = app.now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    app.telemetry.request(&route, &method, status);
    let micros = (app.now() - began).0;
    if status >= 500 {
        tracing::warn!(method, route, status, micros, "request");
    } else {
        tracing::debug!(method, route, status, micros, "request");
    }
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands over what was thrown")]
fn panicked(thrown: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let what = thrown.downcast_ref::<String>().map(String::as_str).or(thrown.downcast_ref::<&str>().copied());
    tracing::error!(what, "a request panicked");
    ApiError::new("internal", "Something happened that should not be possible; the server's log has it.")
        .into_response()
}
