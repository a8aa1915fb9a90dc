//! What browsers ask before they call from another origin. No credentials are used, so every origin may.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;

use crate::App;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, REPORT, OPTIONS");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Content-Type, Content-Encoding, Authorization, X-LaunchDarkly-User-Agent, X-LaunchDarkly-Payload-ID, \
     X-LaunchDarkly-Event-Schema, X-LaunchDarkly-Wrapper, X-LaunchDarkly-Tags, X-LaunchDarkly-Instance-Id, \
     If-None-Match, Cache-Control",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("Date, ETag, X-LD-EnvID");
const FIVE_MINUTES: HeaderValue = HeaderValue::from_static("300");

/// The route with what browsers need on every answer, errors among them.
pub(crate) fn allow(route: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    route.options(|| async { StatusCode::NO_CONTENT }).layer(from_fn(answer))
}

async fn answer(request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, FIVE_MINUTES);
    }
    response
}
