//! `ensign demo`: a real server on a temporary database, a simulated inference service that talks to it over
//! HTTP, a bad model that is taken back and a good one that reaches everyone.

mod model;
mod service;

use ensign_server::{Clock, Config};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::args;
use crate::client::{Client, Failed, Method};
use crate::settings::Server;
use crate::watch::{self, Style};
use crate::{End, print};
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
        Err(failed) => crate::failure(json, failed),
    }
}

/// What the demo needs while it runs.
struct Stage {
    client: Client,
    url: String,
    style: Style,
}

async fn tell(demo: &args::Demo, style: Style) -> Result<(), Failed> {
    let broken = |why: String| Failed::Broken(why);
    let folder = tempfile::Builder::new().prefix("ensign-demo-").tempdir();
    let folder = folder.map_err(|why| broken(format!("no temporary folder: {why}")))?;
    let config = Config::new(([127, 0, 0, 1], 0).into(), folder.path());
    let running = ensign_server::Server::start(config, Clock::system()).await;
    let running = running.map_err(|why| broken(why.to_string()))?;
    let credentials = std::fs::read_to_string(folder.path().join("credentials.json"));
    let credentials: Value = credentials
        .map_err(|why| why.to_string())
        .and_then(|text| serde_json::from_str(&text).map_err(|why| why.to_string()))
        .map_err(|why| broken(format!("credentials.json: {why}")))?;
    let secret = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let url = format!("http://{}", running.address);
    let admin = Server { url: url.clone(), token: secret(&credentials["admin_token"]) };
    let sdk_key = secret(&credentials["projects"]["default"]["environments"]["production"]["sdk_key"]);
    let stage = Stage { client: Client::new(admin).map_err(broken)?, url: url.clone(), style };

    let apply = json!({"files": [{"name": "demo.yaml", "text": DOCUMENTS}], "reason": "demo"});
    stage.client.send(Method::Post, &format!("{HOME}/apply"), Some(&apply)).await?;
    let service = Service::new(url, sdk_key).map_err(broken)?;
    let stop = CancellationToken::new();
    let told = {
        let _stops_with_the_story = stop.clone().drop_guard();
        let mut traffic = tokio::task::JoinSet::new();
        traffic.spawn(std::sync::Arc::clone(&service).run(RATE, stop.clone()));
        let told = stage.story(&service).await;
        stop.cancel();
        while traffic.join_next().await.is_some() {}
        told
    };
    if told.is_ok() && demo.keep {
        stage.say(&format!(
            "The server goes on at {} (key: {}); Ctrl-C ends it.",
            stage.url, credentials["admin_token"]
        ));
        crate::serve::stop_signal().await;
    }
    running.stop().await;
    told
}

impl Stage {
    fn say(&self, text: &str) {
        if self.style != Style::Json {
            print(&format!("{text}\n"));
        }
    }

    async fn story(&self, service: &Service) -> Result<(), Failed> {
        self.say(&format!(
            "Ensign runs at {}, with a temporary database. A simulated inference service\n\
             asks it for a model {RATE} times a second and reports how each request went.\n",
            self.url
        ));
        let bad =
            self.roll_out(&model::BAD, "1. A model that fails five times as often, and is slower").await?;
        let good = self.roll_out(&model::GOOD, "2. A model that is a little better").await?;
        self.summary(service, &bad, &good).await
    }

    /// Starts a rollout to `model` and follows it to its end.
    async fn roll_out(&self, model: &model::Model, title: &str) -> Result<Value, Failed> {
        let stage = |percentage: u8| json!({"percentage": percentage, "min_duration": "4s"});
        let spec = json!({"spec": {
            "rollout": "inference_model",
            "to": model.name,
            "from": model::CONTROL.name,
            "stages": [stage(5), stage(25), stage(50), stage(100)],
            "guardrails": ["error_rate<=1.5x@0.5", "latency_p95<=1.3x", "answer_score>=-0.05"],
            "soak": {"duration": "5s"},
            "report_lag": "200ms",
        }, "reason": "demo"});
        if self.style != Style::Live {
            self.say(title);
        }
        self.client.send(Method::Post, &format!("{HOME}/rollouts"), Some(&spec)).await?;
        let view =
            watch::follow(&self.client, &format!("{HOME}/rollouts/inference_model"), self.style, title)
                .await?;
        self.say("");
        Ok(view)
    }

    /// Says what happened, and checks the receipts as anyone could.
    async fn summary(&self, service: &Service, bad: &Value, good: &Value) -> Result<(), Failed> {
        use std::sync::atomic::Ordering::Relaxed;
        let path = format!("{HOME}/rollouts/inference_model/receipts/last");
        let receipt = self.client.send(Method::Get, &path, None).await?;
        let verified = crate::receipts::check(&receipt.to_string());
        let (requests, failures) =
            (service.counts.requests.load(Relaxed), service.counts.failures.load(Relaxed));
        let ended = |view: &Value, phase: &str| view["phase"].as_str() == Some(phase);
        if self.style == Style::Json {
            let done = json!({
                "summary": {
                    "bad": bad["sentence"], "good": good["sentence"],
                    "requests": requests, "failed_calls": failures, "receipt_verified": verified.is_ok(),
                },
            });
            print(&format!("{done}\n"));
        } else {
            self.say("What happened");
            self.say(&format!("  {}", bad["sentence"].as_str().unwrap_or_default()));
            self.say(&format!("  {}", good["sentence"].as_str().unwrap_or_default()));
            self.say(&format!("  {requests} requests were served, {failures} calls to Ensign failed."));
            if verified.is_ok() {
                self.say("  The last decision's receipt was recomputed bit for bit, without the server.");
            }
            self.say("\nNext: `ensign serve`, then `ensign apply` a flag of your own.");
        }
        if !ended(bad, "rolled_back") || !ended(good, "completed") {
            return Err(Failed::Broken("the rollouts did not end as they should have".into()));
        }
        verified.map(drop).map_err(|why| Failed::Broken(format!("the receipt does not verify: {why}")))
    }
}
