//! `ensign demo`: a real server on a temporary database, a simulated inference service that talks to it over
//! HTTP, a bad model that is taken back and a good one that reaches everyone.

mod model;
mod service;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::args;
use crate::client::{Client, Failed, Method};
use crate::settings::Server;
use crate::watch::{self, Style};
use crate::{End, fail, print};
use service::Service;

const HOME: &str = "/api/v1/projects/default/environments/production";

/// The flag of the demo, as a team would write it, with the metric and the use case it is measured by.
const DOCUMENTS: &str = include_str!("documents.yaml");

/// Requests a second. At 5 % the bad model meets some forty requests a second: enough for a verdict in
/// a quarter of a minute, nine times out of ten.
const RATE: u64 = 1_000;

/// Runs the demo to its end.
pub(crate) async fn run(demo: &args::Demo, json: bool) -> End {
    let style = Style::of(json, demo.plain);
    match tell(demo, style).await {
        Ok(()) => End::Done,
        Err(Failed::Broken(why)) => fail(json, &why, End::Refused),
        Err(Failed::Refused(problem)) => fail(json, crate::show::problem(&problem).trim_end(), End::Refused),
    }
}
