//! LaunchDarkly's SDKs as clients: at the root, and the same under `/ld`.
//!
//! Everything they may ask is answered with what their own service would answer; what that is stands with each route.
//! A server that is not ready answers 503 before any of this: other answers make SDKs give up. Absent on purpose: any
//! rule about who gets what.

mod access;
mod attribution;
mod base64;
mod client_side;
pub(crate) mod clients;
mod cors;
mod data;
mod environment;
pub(crate) mod epochs;
mod evaluated;
mod fdv1;
mod fdv2;
mod intake;
mod pings;
mod remarks;
mod watching;

use std::sync::Arc;

use axum::Router;

use crate::App;

pub use environment::{Data, Environment, Environments};
pub(crate) use remarks::remarks;

/// Every route of LaunchDarkly's SDKs.
pub(crate) fn routes() -> Router<Arc<App>> {
    let all = || Router::new().merge(data::routes()).merge(intake::routes()).merge(client_side::routes());
    all().nest("/ld", all())
}
