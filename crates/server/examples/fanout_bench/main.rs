//! How fast a change reaches many streams, what an idle stream costs, and what happens when all come back at once.
//!
//! `cargo run --release -p ensign-server --example fanout_bench [STREAMS]`; the limit on open files (`ulimit -n`) has to
//! be above the number of streams. Clients run in a process of their own, on the same cores.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it is")]

mod clients;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ensign_server::first::Credentials;
use ensign_server::{Clock, Config, Server};
use serde_json::{Value, json};

const PLACE: &str = "/api/v1/projects/default/environments/production";

/// The flag that is killed, and some others, so that the first answer is not empty.
const DOCUMENTS: &str = r#"{ "flag": "inference_model", "default": "claude-3-haiku",
  "rules": [ { "condition": {"user_segment": "internal"}, "value": "claude-opus-4-6" },
             { "condition": {"rollout_percentage": 10},  "value": "claude-sonnet-4-6" } ] }
---
{ "flag": "retrieval_top_k", "default": 8 }
---
{ "flag": "response_format", "default": {"style": "markdown", "max_words": 200} }
"#;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.as_slice() {
        [word, address, key, streams] if word == "--clients" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(clients::run(address, key, streams.parse().unwrap()));
        }
        [streams] => runtime().block_on(measure(streams.parse().unwrap())),
        _ => runtime().block_on(measure(10_000)),
    }
}

/// Microseconds since 1970, which two processes share.
fn now() -> i64 {
    Clock::system().now().0
}

/// The other process: commands go in, lines come out.
struct Clients {
    process: Child,
    commands: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Clients {
    fn start(address: &str, key: &str, streams: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--clients", address, key, &streams.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, lines) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, commands, lines: BufReader::new(lines) }
    }

    /// The next line, as numbers.
    fn line(&mut self) -> Vec<i64> {
        tokio::task::block_in_place(|| {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            line.split_whitespace().map(|word| word.parse().unwrap()).collect()
        })
    }

    fn command(&mut self, word: &str) {
        writeln!(self.commands, "{word}").unwrap();
    }
}

struct Api {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Api {
    async fn post(&self, path: &str, body: Value) {
        let url = format!("{}{PLACE}{path}", self.url);
        let answer = self.http.post(url).bearer_auth(&self.token).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
}

/// The memory of this process that is in use, in KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

async fn measure(streams: usize) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path());
    let running = Server::start(config, Clock::system()).await.unwrap();
    let text = std::fs::read(folder.path().join("credentials.json")).unwrap();
    let credentials: Credentials = serde_json::from_slice(&text).unwrap();
    let key = credentials.projects["default"].environments["production"].sdk_key.clone();
    let http = reqwest::Client::builder().build().unwrap();
    let api = Api { http, url: running.url(), token: credentials.admin_token };
    api.post("/apply", json!({ "files": [{ "name": "f.yaml", "text": DOCUMENTS }] })).await;
    // One stream first, so that what is made once is not counted for each.
    let mut one = Clients::start(&running.address.to_string(), &key, 1);
    one.line();
    let before = resident();
    let began = now();
    let mut clients = Clients::start(&running.address.to_string(), &key, streams);
    clients.line();
    println!("{streams} streams connected in {} ms", (now() - began) / 1_000);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = (resident() - before) as f64 / streams as f64;
    println!("memory per idle stream: {each:.1} KiB");
    kills(&api, &mut clients).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = (resident() - before) as f64 / streams as f64;
    println!("memory per stream after the kills: {each:.1} KiB");
    storm(&api, &mut clients).await;
    for mut process in [one.process, clients.process] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    running.stop().await;
}

/// From the acknowledgement of a kill until so many streams have the bytes; kills and restores in turn.
async fn kills(api: &Api, clients: &mut Clients) {
    let mut rounds = Vec::new();
    for round in 0..10 {
        let word = if round % 2 == 0 { "kill" } else { "restore" };
        api.post(&format!("/flags/inference_model/{word}"), json!({})).await;
        let acknowledged = now();
        let after: Vec<f64> = clients.line().iter().map(|at| (at - acknowledged) as f64 / 1e3).collect();
        if let [half, most, all] = after.as_slice() {
            println!("{word:>8}: 50 % after {half:6.1} ms, 99 % after {most:6.1} ms, all after {all:6.1} ms");
            rounds.push((*half, *most, *all));
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let median = |of: fn(&(f64, f64, f64)) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!(
        "median of {}: 50 % {:.1} ms, 99 % {:.1} ms, all {:.1} ms",
        rounds.len(),
        median(|r| r.0),
        median(|r| r.1),
        median(|r| r.2)
    );
}

/// Every connection is cut and comes back, while somebody asks for the server's health.
async fn storm(api: &Api, clients: &mut Clients) {
    let over = Arc::new(AtomicBool::new(false));
    let (seen, http, url) = (Arc::clone(&over), api.http.clone(), format!("{}/readyz", api.url));
    let mut health = tokio::task::JoinSet::new();
    health.spawn(async move {
        let (mut asked, mut failed, mut slowest) = (0, 0, 0);
        while !seen.load(Ordering::Relaxed) {
            let began = now();
            let answer = http.get(&url).timeout(Duration::from_secs(5)).send().await;
            let good = answer.is_ok_and(|answer| answer.status().is_success());
            (asked, failed) = (asked + 1, failed + u32::from(!good));
            slowest = slowest.max(now() - began);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (asked, failed, slowest)
    });
    let began = now();
    clients.command("cut");
    clients.line();
    let took = (now() - began) / 1_000;
    over.store(true, Ordering::Relaxed);
    let (asked, failed, slowest) = health.join_next().await.unwrap().unwrap();
    println!("all cut at once: all served again after {took} ms");
    println!("health checks meanwhile: {asked}, failed {failed}, slowest {} ms", slowest / 1_000);
}
