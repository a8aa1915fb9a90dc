//! A simulated inference service: it asks Ensign which model to use for each request, over HTTP as a real one
//! would, waits as long as that model takes, and reports how the request went.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::model;

/// Requests that may wait for a model at once.
const IN_FLIGHT: usize = 4_000;
/// One request in so many gets a quality score from an evaluator.
const SCORED: u64 = 5;
/// How often reports are sent.
const FLUSH: Duration = Duration::from_millis(100);
/// How often a group of requests is begun.
const BEAT: Duration = Duration::from_millis(10);

/// What the service has done so far.
#[derive(Default, Debug)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) reports: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// The simulated service.
pub(super) struct Service {
    http: reqwest::Client,
    url: String,
    key: String,
    reports: Mutex<Vec<Value>>,
    pub(super) counts: Counts,
}

impl Service {
    pub(super) fn new(url: String, key: String) -> Result<Arc<Self>, String> {
        let http = reqwest::Client::builder()
            .pool_max_idle_per_host(64)
            .timeout(Duration::from_secs(10))
            .build()
            .map_err(|why| format!("no HTTP client: {why}"))?;
        Ok(Arc::new(Self { http, url, key, reports: Mutex::new(Vec::new()), counts: Counts::default() }))
    }

    /// Serves `rate` requests a second until `stop`, then waits for those under way.
    pub(super) async fn run(self: Arc<Self>, rate: u64, stop: CancellationToken) {
        let mut requests = JoinSet::new();
        let room = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut beat = tokio::time::interval(BEAT);
        let mut flush = tokio::time::interval(FLUSH);
        let mut next: u64 = 1;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = beat.tick() => {
                    for _ in 0..rate * BEAT.as_millis() as u64 / 1_000 {
                        let Ok(room) = Arc::clone(&room).try_acquire_owned() else { break };
                        let (service, n) = (Arc::clone(&self), next);
                        next += 1;
                        requests.spawn(async move {
                            service.request(n).await;
                            drop(room);
                        });
                    }
                    while requests.try_join_next().is_some() {}
                }
                _ = flush.tick() => {
                    let service = Arc::clone(&self);
                    requests.spawn(async move { service.flush().await });
                }
            }
        }
        while requests.join_next().await.is_some() {}
        self.flush().await;
    }

    /// One inference request, from the question which model to the report how it went.
    async fn request(&self, n: u64) {
        let (user, request) = (n.wrapping_mul(2_654_435_761) % 50_000, format!("req-{n}"));
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let start = now_millis();
        let context = json!({"context": {"targetingKey": format!("user-{user}"), "request": request}});
        let Some(served) = self.post("/ofrep/v1/evaluate/flags/inference_model", &context).await else {
            return;
        };
        let Some(name) = served["value"].as_str() else { return };
        let answer = model::named(name).answer(n);
        tokio::time::sleep(Duration::from_micros((answer.millis * 1_000.0) as u64)).await;

        let token = &served["metadata"]["token"];
        let mut reports = vec![json!({
            "type": "request", "id": format!("{request}-end"), "request": request, "token": token,
            "time": now_millis(), "start": start, "duration_ms": answer.millis,
            "ttft_ms": answer.first_token_millis, "status": answer.status,
            "tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out,
        })];
        if n.is_multiple_of(SCORED) && answer.status == "ok" {
            reports.push(json!({
                "type": "outcome", "id": format!("{request}-score"), "metric": "answer_score",
                "value": answer.score, "token": token, "request": request, "time": now_millis(),
            }));
        }
        if let Ok(mut waiting) = self.reports.lock() {
            waiting.extend(reports);
        }
    }

    /// Sends what is waiting, as one batch.
    async fn flush(&self) {
        let events = match self.reports.lock() {
            Ok(mut waiting) => std::mem::take(&mut *waiting),
            Err(_) => return,
        };
        if events.is_empty() {
            return;
        }
        let count = events.len() as u64;
        let batch = json!({"sent_at": now_millis(), "events": events});
        if self.post("/api/v1/events", &batch).await.is_some() {
            self.counts.reports.fetch_add(count, Ordering::Relaxed);
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let sent =
            self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.key).json(body).send().await;
        let answer = match sent {
            Ok(answer) if answer.status().is_success() => answer.json().await.ok(),
            Ok(_) | Err(_) => None,
        };
        if answer.is_none() {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a simulated application has a clock of its own")]
fn now_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
