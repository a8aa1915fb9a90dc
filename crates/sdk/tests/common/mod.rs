//! A real server that can go away and come back on the same port.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]
#![allow(dead_code, reason = "each test file uses another part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ensign_control::ids::Place;
use ensign_server::first::Credentials;
use ensign_server::{App, Clock, Config, Running, Server};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub(crate) const PLACE: &str = "/api/v1/projects/default/environments/production";

pub(crate) const DOCUMENT: &str = r#"{ "flag": "inference_model", "default": "claude-3-haiku",
  "rules": [ { "condition": {"user_segment": "internal"}, "value": "claude-opus-4-6" },
             { "condition": {"rollout_percentage": 10},  "value": "claude-sonnet-4-6" } ] }
"#;

/// A flag of each type, with segments, prerequisites, splits and nested attributes between them.
pub(crate) const SECOND: &str = r#"
segment: beta
owner: growth
rules:
  - condition: {plan: [pro, team], age: {gt: 30}}
---
flag: ranker
default: one
variants: [one, two, three]
split: {one: 20, two: 50, three: 30}
---
flag: top_k
default: 8
rules:
  - {condition: {segment: beta, rollout_percentage: 40}, value: 20}
  - {condition: {not: {plan: free}}, value: 12}
---
flag: temperature
default: 1.0
rules:
  - {condition: {any: [{version: {semver_gt: 2.1.0}}, {email: {ends_with: "@example.com"}}]}, value: 0.5}
---
flag: stream_answers
default: true
rules:
  - {condition: {/device/os: ios}, value: false}
---
flag: format
default: {style: markdown}
rules:
  - {condition: {user_segment: internal}, value: {style: plain, words: 200}}
"#;

pub(crate) fn place() -> Place {
    Place { project: "default".parse().unwrap(), environment: "production".parse().unwrap() }
}

/// One of many contexts: attributes of every type, some of them missing, some without a key.
pub(crate) fn context(number: u32) -> Value {
    let pick = |list: &[&str], by: u32| list[(number / by) as usize % list.len()].to_owned();
    let mut context = json!({
        "targetingKey": format!("user-{number}"),
        "plan": pick(&["free", "pro", "team", "odd"], 1),
        "user_segment": pick(&["external", "internal", "beta"], 3),
        "age": number % 60,
        "email": format!("u{number}@{}", pick(&["example.com", "other.org"], 5)),
        "version": pick(&["1.0.0", "2.1.0", "2.2.0-rc.1", "3.0.0", "odd"], 7),
        "device": {"os": pick(&["ios", "android"], 11)},
    });
    let members = context.as_object_mut().unwrap();
    if number.is_multiple_of(13) {
        members.remove("targetingKey");
    }
    if number.is_multiple_of(17) {
        members.remove("plan");
    }
    if number.is_multiple_of(19) {
        members.insert("age".to_owned(), json!(f64::from(number) / 7.0));
    }
    context
}

/// Waits for something that another thread does.
#[track_caller]
pub(crate) fn eventually(mut is: impl FnMut() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for _ in 0..4_000 {
        if is() {
            return;
        }
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
    }
    panic!("it did not happen in 40 seconds");
}

/// A server in this process.
pub(crate) struct Ensign {
    runtime: Runtime,
    running: Option<Running>,
    address: SocketAddr,
    data: tempfile::TempDir,
    pub(crate) credentials: Credentials,
    http: reqwest::Client,
}

impl Ensign {
    pub(crate) fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let data = tempfile::tempdir().unwrap();
        let config = Config::new("127.0.0.1:0".parse().unwrap(), data.path());
        let running = runtime.block_on(Server::start(config, Clock::system())).unwrap();
        let credentials = std::fs::read(data.path().join("credentials.json")).unwrap();
        Self {
            address: running.address,
            running: Some(running),
            runtime,
            credentials: serde_json::from_slice(&credentials).unwrap(),
            data,
            http: reqwest::Client::new(),
        }
    }

    pub(crate) fn pause(&mut self) {
        self.runtime.block_on(self.running.take().unwrap().stop());
    }

    /// Starts again on the same port and data.
    pub(crate) fn resume(&mut self) {
        let config = Config::new(self.address, self.data.path());
        self.running = Some(self.runtime.block_on(Server::start(config, Clock::system())).unwrap());
    }

    pub(crate) fn stop(mut self) {
        self.pause();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn app(&self) -> Arc<App> {
        Arc::clone(self.running.as_ref().unwrap().app())
    }

    pub(crate) fn sdk_key(&self) -> &str {
        &self.credentials.projects["default"].environments["production"].sdk_key
    }

    pub(crate) fn ask_as(&self, key: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url())).bearer_auth(key);
        if !body.is_null() {
            request = request.json(&body);
        }
        self.runtime.block_on(async {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
        })
    }

    #[track_caller]
    pub(crate) fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask_as(&self.credentials.admin_token, method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer:#}");
        answer
    }

    #[track_caller]
    pub(crate) fn apply(&self, text: &str) {
        self.done(
            "POST",
            &format!("{PLACE}/apply"),
            json!({ "files": [{ "name": "f.yaml", "text": text }] }),
        );
    }

    /// Every event in the log.
    pub(crate) fn export(&self) -> Vec<Value> {
        let request = self.http.post(format!("{}/api/v1/export-events", self.url()));
        let request = request.bearer_auth(&self.credentials.admin_token);
        let text = self.runtime.block_on(async { request.send().await.unwrap().text().await.unwrap() });
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
