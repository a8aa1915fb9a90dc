//! A real server on a free port with a data folder of its own, and the few things tests ask of it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(dead_code, reason = "each test file uses another part")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ensign_control::ids::Timestamp;
use ensign_server::first::Credentials;
use ensign_server::{Clock, Config, Running, Server};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// The document of the design, exactly as teams write it.
pub(crate) const DOCUMENT: &str = r#"{ "flag": "inference_model", "default": "claude-3-haiku",
  "rules": [ { "condition": {"user_segment": "internal"}, "value": "claude-opus-4-6" },
             { "condition": {"rollout_percentage": 10},  "value": "claude-sonnet-4-6" } ] }
"#;

/// The path of the environment that most tests use.
pub(crate) const PLACE: &str = "/api/v1/projects/default/environments/production";

/// A clock that tests move.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicI64>);

impl Hands {
    pub(crate) fn at(micros: i64) -> Self {
        Self(Arc::new(AtomicI64::new(micros)))
    }
    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
    pub(crate) fn clock(&self) -> Clock {
        let hands = Arc::clone(&self.0);
        Clock::new(move || Timestamp(hands.load(Ordering::SeqCst)))
    }
}

/// A running server.
pub(crate) struct Ensign {
    pub(crate) running: Running,
    pub(crate) credentials: Credentials,
    pub(crate) http: reqwest::Client,
    pub(crate) folder: Option<tempfile::TempDir>,
}

pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub(crate) fn credentials(data: &Path) -> Credentials {
    serde_json::from_slice(&std::fs::read(data.join("credentials.json")).unwrap()).unwrap()
}

impl Ensign {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut ensign = Self::on(folder.path(), Clock::system()).await;
        ensign.folder = Some(folder);
        ensign
    }

    pub(crate) async fn on(data: &Path, clock: Clock) -> Self {
        let config = Config::new("127.0.0.1:0".parse().unwrap(), data);
        let running = Server::start(config, clock).await.unwrap();
        Self { running, credentials: credentials(data), http: client(), folder: None }
    }

    pub(crate) fn sdk_key(&self) -> &str {
        &self.credentials.projects["default"].environments["production"].sdk_key
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("{}{path}", self.running.url()))
    }

    /// As administrator, with a JSON body unless it is null; the status and the JSON of the answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let mut request = self.request(method, path).bearer_auth(&self.credentials.admin_token);
        if !body.is_null() {
            request = request.json(&body);
        }
        answer(request.send().await.unwrap()).await
    }

    /// As administrator, and it must work.
    #[track_caller]
    pub(crate) fn done(&self, method: &str, path: &str, body: Value) -> impl Future<Output = Value> {
        let (method, path) = (method.to_owned(), path.to_owned());
        async move {
            let (status, answer) = self.ask(&method, &path, body).await;
            assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
            answer
        }
    }

    pub(crate) async fn apply(&self, text: &str) -> Value {
        self.done("POST", &format!("{PLACE}/apply"), json!({ "files": [{ "name": "f", "text": text }] }))
            .await
    }

    /// One evaluation by the protocol of OpenFeature, with the SDK key.
    pub(crate) async fn ofrep(&self, flag: &str, context: Value) -> (u16, Value) {
        let request = self.request("POST", &format!("/ofrep/v1/evaluate/flags/{flag}"));
        let request = request.bearer_auth(self.sdk_key()).json(&json!({ "context": context }));
        answer(request.send().await.unwrap()).await
    }
}

pub(crate) async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}
