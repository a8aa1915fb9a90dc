//! The accept loop: connections in, the router behind them, a drain at the end.
//!
//! Our own instead of the framework's, because connections need small buffers, a cap, a deadline for their headers, and
//! an orderly end, all in one place.

mod paced;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::{App, limits};
use paced::Paced;

/// Accepts until the server stops, then lets requests end.
pub(crate) async fn run(app: Arc<App>, listener: TcpListener, router: Router) {
    // Boxed, because a connection keeps the space for a future of its service as long as it lives.
    let service = service_fn(move |request: Request<Incoming>| {
        router.clone().oneshot(collapse(request.map(Body::new))).boxed()
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_READ)
        .max_buf_size(limits::CONNECTION_BUFFER);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256);
    let permits = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let accepted = tokio::select! {
            () = app.tasks.stopping() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, most likely: a pause lets others go.
                tracing::warn!(%error, "a connection could not be accepted");
                app.tasks.wait(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let stream = Paced::new(stream);
        let counted = app.telemetry.connection();
        let connection = builder.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
        // Not an `async` block, which would hold the connection twice: before its first poll, and from then on. That a
        // client went away is no news.
        app.tasks.spawn_bare(graceful.watch(connection).map(move |_| drop((permit, counted))));
    }
    drop(listener);
    if tokio::time::timeout(limits::DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
}

/// A base URL that ends in a slash makes some providers ask for `//ofrep/…`.
fn collapse(mut request: Request) -> Request {
    let path = request.uri().path();
    let trimmed = path.trim_start_matches('/');
    if path.starts_with("//") && trimmed.starts_with("ofrep/") {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        if let Ok(uri) = format!("/{trimmed}{query}").parse() {
            *request.uri_mut() = uri;
        }
    }
    request
}
