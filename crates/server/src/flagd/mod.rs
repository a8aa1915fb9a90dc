//! flagd's gRPC services on the server's own port: evaluation (v1 and v2), event stream, and sync.
//!
//! The framing is our own few lines: streams come ready-made from the fan-out, one encoding for all clients, and must
//! never end with the status OK, because some providers then stay deaf for good.

mod calls;
mod evaluate;
mod events;
mod messages;
mod sync;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};

use crate::App;
use crate::http::auth::{Read, To};

const V1: &str = "/flagd.evaluation.v1.Service";
const V2: &str = "/flagd.evaluation.v2.Service";
const SYNC: &str = "/flagd.sync.v1.FlagSyncService";

/// Every route of flagd's providers, and what sync leaves out, for people.
pub(crate) fn routes() -> Router<Arc<App>> {
    let place = "/api/v1/projects/{project}/environments/{environment}/flagd";
    evaluation(V1, evaluate::Version::One)
        .merge(evaluation(V2, evaluate::Version::Two))
        .route(&format!("{V1}/ResolveAll"), post(evaluate::all))
        .route(&format!("{SYNC}/SyncFlags"), post(sync::stream))
        .route(&format!("{SYNC}/FetchAllFlags"), post(sync::fetch))
        .route(&format!("{SYNC}/GetMetadata"), post(sync::metadata))
        .route(place, get(|to: To<Read>| async move { sync::left_out(&to) }))
}

fn evaluation(service: &str, version: evaluate::Version) -> Router<Arc<App>> {
    let mut router = Router::new();
    for (name, kind) in evaluate::Kind::ALL {
        let answer = move |State(app): State<Arc<App>>, request| evaluate::one(app, request, version, kind);
        router = router.route(&format!("{service}/{name}"), post(answer));
    }
    router.route(&format!("{service}/EventStream"), post(events::stream))
}
