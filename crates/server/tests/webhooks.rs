//! Notices to the outside, with a receiver that is down for a while.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use common::{DOCUMENT, Ensign, Hands, PLACE};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What a receiver got: signature, idempotency key, body.
type Got = (String, String, String);

#[derive(Clone, Default)]
struct Inbox {
    got: Arc<Mutex<Vec<Got>>>,
    news: Arc<Notify>,
}

impl Inbox {
    /// Starts a receiver at an address; port 0 picks one.
    async fn open(&self, address: &str, answer: StatusCode) -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let routes = Router::new().route(
            "/hook",
            post(move |State(inbox): State<Inbox>, headers: HeaderMap, body: String| async move {
                let header = |name: &str| headers[name].to_str().unwrap().to_owned();
                inbox.got.lock().unwrap().push((header("ensign-signature"), header("idempotency-key"), body));
                inbox.news.notify_one();
                answer
            }),
        );
        let server = axum::serve(listener, routes.with_state(self.clone()));
        #[expect(clippy::disallowed_methods, reason = "the receiver is no part of the server")]
        let task = tokio::spawn(async move { server.await.unwrap() });
        (address, task)
    }

    async fn next(&self) -> Got {
        loop {
            if let Some(got) = self.got.lock().unwrap().pop() {
                return got;
            }
            tokio::time::timeout(std::time::Duration::from_secs(30), self.news.notified())
                .await
                .expect("no notice came");
        }
    }
}

#[tokio::test]
async fn a_receiver_that_was_down_hears_later_exactly_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::at(1_800_000_000_000_000);
    let ensign = Ensign::on(folder.path(), hands.clock()).await;
    ensign.apply(DOCUMENT).await;

    // A port where nobody listens yet.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let made = ensign
        .done("POST", &format!("{PLACE}/webhooks"), json!({ "url": format!("http://{free}/hook") }))
        .await;
    let secret = made["secret"].as_str().unwrap();
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/kill"), json!({ "reason": "it lies" })).await;
    let killed_at = hands.clock().now().0 / 1_000_000;

    // Nothing is delivered while nobody listens; the failed attempt is counted.
    let failed = async || {
        let page = ensign.request("GET", "/metrics").send().await.unwrap().text().await.unwrap();
        page.contains("ensign_webhook_attempts_total{outcome=\"failed\"}")
    };
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(50));
    while !failed().await {
        beat.tick().await;
    }

    // It answers, but badly; then it is well again.
    let inbox = Inbox::default();
    let (_, task) = inbox.open(&free, StatusCode::INTERNAL_SERVER_ERROR).await;
    hands.forward(60);
    let first = inbox.next().await;
    task.abort();
    let _ = task.await;
    let (_, task) = inbox.open(&free, StatusCode::OK).await;
    hands.forward(3_600);
    let second = inbox.next().await;

    assert_eq!((&first.1, &first.2), (&second.1, &second.2), "a repeat has the same key and the same bytes");
    let body: Value = serde_json::from_str(&second.2).unwrap();
    assert_eq!((&body["project"], &body["environment"]), (&json!("default"), &json!("production")));
    assert!(body["event"].as_str().unwrap().contains("kill"), "{body}");
    let told: String = body["at"].as_str().unwrap().to_owned();
    let moment: i64 = ensign_control::document::until(&told).unwrap().0 / 1_000_000;
    assert_eq!(moment, killed_at, "the time of the change, not of the delivery");

    let (time, signature) = second.0.split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{}.{}", time.strip_prefix("t=").unwrap(), second.2).as_bytes());
    let expected = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    assert_eq!(signature, expected);

    ensign.running.stop().await;
    task.abort();
}
