//! Ingestion over real HTTP on loopback: durable acknowledgement, attribution and evidence included.
//!
//! `cargo run --release -p ensign-server --example ingest_bench [SECONDS_PER_PHASE]`
//!
//! The load generator runs in the same process, on the same cores. Bodies are made from templates in which only the
//! numbers change, so that it costs little; the server is the one that `ensign serve` starts, on a real disk.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensign_control::catalogue::{Actor, Command, Mode, Source};
use ensign_control::ids::{Key, Place};
use ensign_eval::model::Outcome;
use ensign_server::{App, Clock, Config, Options, Running, Server};

/// Connections of the load generator; each has one batch under way.
const CONNECTIONS: usize = 4;
/// Distinct units.
const UNITS: u64 = 200_000;
/// Rollbacks that are timed.
const ROLLBACKS: usize = 20;

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(6.0);
    let phase = Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Config::new("127.0.0.1:0".parse().expect("an address"), folder.path());
    let server = runtime.block_on(Server::start(config, Clock::system())).expect("the server starts");
    let key = sdk_key(folder.path());

    runtime.block_on(apply(server.app(), SETUP));
    runtime.block_on(start(server.app(), ROLLOUT));
    let template = Template::of(&decision(server.app(), "inference_model"));
    println!("events of {} bytes, {CONNECTIONS} connections, {UNITS} units", template.text.len());
    let load = |batch, first_unit, length| load(server.address, &key, &template, batch, first_unit, length);
    load(1_000, 0, phase);
    for batch in [100, 1_000, 1_000] {
        let done = load(batch, 0, phase);
        println!(
            "batch {batch:>5}: {:>8.0} events/s acknowledged; batch p50 {:.1} ms, p99 {:.1} ms; refused {}",
            done.rate, done.p50, done.p99, done.refused
        );
    }
    // The load before has grown every buffer to its size; what grows now is the new units' state.
    let (before, seen) = (resident(), server.app().pipeline().status().fates[0]);
    load(1_000, UNITS, phase / 2);
    let new = (server.app().pipeline().status().fates[0] - seen).min(UNITS);
    println!(
        "memory: {:.0} bytes a live unit (resident growth over {new} new units)",
        (resident() - before) / new as f64
    );
    rollbacks(&runtime, &server, &key);
    let status = server.app().pipeline().status();
    println!("log: {} records, fates {:?}, overloaded {}", status.folded, status.fates, status.overloaded);
    runtime.block_on(server.stop());
}

const SETUP: &str = r#"[
 {"use_case": "bench", "flags": ["inference_model"], "request_timeout": "1s"},
 {"flag": "inference_model", "default": "claude-3-haiku", "use_case": "bench",
  "variants": ["claude-3-haiku", "claude-sonnet-4-6"]}
]"#;

const ROLLOUT: &str = r#"{
  "rollout": "inference_model", "to": "claude-sonnet-4-6", "stages": [{"percentage": 50, "min_duration": "1d"}, 100],
  "guardrails": ["error_rate<=1.5x", "latency_p95<=1.2x", "tokens_out<=1.5x"]}"#;

fn place() -> Place {
    let key = |text: &str| text.parse::<Key>().expect("a key");
    Place { project: key("default"), environment: key("production") }
}

async fn apply(app: &Arc<App>, text: &str) {
    let command = Command::Apply {
        project: place().project,
        environment: Some(place().environment),
        sources: vec![Source { name: "bench.json".into(), text: text.as_bytes().to_vec() }],
        mode: Mode::Merge,
        reason: None,
    };
    app.act(&command, &Actor::new("bench"), Options::default()).await.expect("the documents are good");
}

async fn start(app: &Arc<App>, text: &str) {
    let document = serde_json::from_str(text).expect("the rollout is JSON");
    let command = Command::RolloutStart { place: place(), document, reason: None };
    app.act(&command, &Actor::new("bench"), Options::default()).await.expect("the rollout starts");
}

/// The decision record of a flag's split, with a digit in place of the variant.
fn decision(app: &Arc<App>, flag: &str) -> String {
    let serving = app.place(&place()).expect("the environment exists").serving();
    let flag = &serving.flags[flag];
    let outcomes = flag.rules.iter().map(|rule| &rule.outcome).chain([&flag.fallthrough]);
    let mut split =
        outcomes.filter_map(|outcome| if let Outcome::Split(split) = outcome { Some(split) } else { None });
    let split = split.next_back().expect("a rollout has a split");
    format!(
        r#"{{"flag":"{}","variant":0,"allocation":"{:016x}","epoch":{}}}"#,
        flag.key, split.id.0, split.epoch
    )
}

fn sdk_key(data: &std::path::Path) -> String {
    let text =
        std::fs::read_to_string(data.join("credentials.json")).expect("the server wrote its credentials");
    let credentials: serde_json::Value = serde_json::from_str(&text).expect("they are JSON");
    let key = &credentials["projects"]["default"]["environments"]["production"]["sdk_key"];
    key.as_str().expect("the environment has a key").to_owned()
}

/// Resident memory of this process, in bytes.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4096.0
}

/// One event's text and where its numbers stand.
struct Template {
    text: Vec<u8>,
    seq: usize,
    unit: usize,
    variant: usize,
    milliseconds: usize,
}

const SEQ_WIDTH: usize = 12;
const UNIT_WIDTH: usize = 7;

impl Template {
    fn of(decision: &str) -> Self {
        let text = format!(
            r#"{{"type":"request","source":"load-S","seq":100000000000,"unit":"u1000000","status":"ok","duration_ms":800,"ttft_ms":140,"tokens_in":420,"tokens_out":96,"decisions":[{decision}]}},"#
        );
        let at = |what: &str| text.find(what).expect("the template has it") + what.len();
        Self {
            seq: at("\"seq\":"),
            unit: at("\"unit\":\"u"),
            variant: at("\"variant\":"),
            milliseconds: at("\"duration_ms\":"),
            text: text.into_bytes(),
        }
    }

    /// A whole request with `batch` events of one sender.
    fn request(&self, key: &str, batch: usize, sender: usize) -> (Vec<u8>, usize) {
        let one = String::from_utf8_lossy(&self.text).replace("load-S", &format!("load-{sender:X}"));
        let length = one.len() * batch + 1;
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n["
        );
        let start = head.len();
        let mut request = head.into_bytes();
        for _ in 0..batch {
            request.extend_from_slice(one.as_bytes());
        }
        request.pop();
        request.push(b']');
        (request, start)
    }

    fn patch(&self, event: &mut [u8], seq: u64, unit: u64) {
        digits(&mut event[self.seq..self.seq + SEQ_WIDTH], 100_000_000_000 + seq);
        digits(&mut event[self.unit..self.unit + UNIT_WIDTH], 1_000_000 + unit);
        event[self.variant] = b'0' + (unit % 2) as u8;
        digits(&mut event[self.milliseconds..self.milliseconds + 3], 700 + seq % 200);
    }
}

fn digits(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

struct Done {
    rate: f64,
    p50: f64,
    p99: f64,
    refused: u64,
}

/// Where each sender's numbers go on: they rise by one over the whole run.
static NEXT: [AtomicU64; CONNECTIONS] = [const { AtomicU64::new(0) }; CONNECTIONS];

fn load(
    address: SocketAddr,
    key: &str,
    template: &Template,
    batch: usize,
    first_unit: u64,
    length: Duration,
) -> Done {
    let stop = AtomicBool::new(false);
    let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = now();
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|sender| {
                let (stop, accepted, refused) = (&stop, &accepted, &refused);
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).expect("the server accepts");
                    stream.set_nodelay(true).expect("a socket option");
                    let (mut request, start) = template.request(key, batch, sender);
                    let size = template.text.len();
                    let mut times = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let first = NEXT[sender].fetch_add(batch as u64, Ordering::Relaxed);
                        for at in 0..batch {
                            let event = &mut request[start + at * size..start + (at + 1) * size - 1];
                            let seq = first + at as u64;
                            let unit = first_unit + (seq * CONNECTIONS as u64 + sender as u64) % UNITS;
                            template.patch(event, seq, unit);
                        }
                        let sent = now();
                        let answer = exchange(&mut stream, &request);
                        times.push(sent.elapsed().as_secs_f64() * 1e3);
                        if answer.contains(&format!("\"accepted\":{batch},")) {
                            accepted.fetch_add(batch as u64, Ordering::Relaxed);
                        } else if refused.fetch_add(1, Ordering::Relaxed) == 0 {
                            println!("refused: {}", &answer[..answer.len().min(400)]);
                        }
                    }
                    times
                })
            })
            .collect();
        // A thread that ends wakes this one: the wait may be cut short.
        while let Some(rest) = length.checked_sub(began.elapsed()).filter(|rest| !rest.is_zero()) {
            std::thread::park_timeout(rest);
        }
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender ends")).collect()
    });
    let rate = accepted.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    Done {
        rate,
        p50: quantile(&times, 0.5),
        p99: quantile(&times, 0.99),
        refused: refused.load(Ordering::Relaxed),
    }
}

fn quantile(sorted: &[f64], p: f64) -> f64 {
    let at = ((sorted.len() as f64 * p) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Sends a request and returns the body of the answer.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).expect("the server reads");
    let mut bytes = Vec::with_capacity(1024);
    let mut chunk = [0; 16 << 10];
    loop {
        let got = stream.read(&mut chunk).expect("the server answers");
        assert!(got > 0, "the server closed the connection: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&chunk[..got]);
        let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let length: usize = length.expect("the answer says its length");
        if bytes.len() >= head + 4 + length {
            return String::from_utf8_lossy(&bytes[head + 4..]).into_owned();
        }
    }
}

/// From the acknowledgement of the event that was missing to the announced rollback, many times.
fn rollbacks(runtime: &tokio::runtime::Runtime, server: &Running, key: &str) {
    let mut times: Vec<f64> = (0..ROLLBACKS).filter_map(|n| rollback(runtime, server, key, n)).collect();
    times.sort_by(f64::total_cmp);
    println!(
        "acknowledged outcome to committed rollback, {} of {ROLLBACKS} rollouts: p50 {:.0} ms, p99 {:.0} ms",
        times.len(),
        quantile(&times, 0.5),
        quantile(&times, 0.99)
    );
}

/// Feeds one rollout a block at a time until it is taken back; the time of the last step, in milliseconds.
fn rollback(runtime: &tokio::runtime::Runtime, server: &Running, key: &str, n: usize) -> Option<f64> {
    let app = server.app();
    let flag = format!("canary-{n}");
    let document =
        format!(r#"{{"flag": "{flag}", "default": "a", "variants": ["a", "b"], "unit": "request"}}"#);
    let rollout = format!(
        r#"{{"rollout": "{flag}", "to": "b", "stages": [{{"percentage": 50, "min_duration": "1d"}}, 100], "template": false,
            "unit": "request", "guardrails": [{{"metric": "error_rate", "settle": "on_completion"}}]}}"#
    );
    runtime.block_on(apply(app, &document));
    runtime.block_on(start(app, &rollout));
    let decision = decision(app, &flag);
    let mut changes = app.place(&place()).expect("the environment exists").subscribe();
    changes.mark_unchanged();
    let mut stream = TcpStream::connect(server.address).expect("the server accepts");
    for step in 0..40 {
        let events: Vec<String> = (0..20)
            .map(|i| {
                let (variant, status) = if i % 2 == 0 { (0, "ok") } else { (1, "upstream_error") };
                let decision = decision.replace("\"variant\":0", &format!("\"variant\":{variant}"));
                format!(
                    r#"{{"type":"request","id":"{flag}-{step}-{i}","request":"{flag}-{step}-{i}","status":"{status}","duration_ms":1,"decisions":[{decision}]}}"#
                )
            })
            .collect();
        let body = format!("[{}]", events.join(","));
        let request = format!(
            "POST /api/v1/events HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(&mut stream, request.as_bytes());
        let acknowledged = now();
        assert!(answer.contains("\"accepted\":20,"), "{answer}");
        let changed = runtime
            .block_on(async { tokio::time::timeout(Duration::from_millis(600), changes.changed()).await });
        if changed.is_ok() {
            return Some(acknowledged.elapsed().as_secs_f64() * 1e3);
        }
    }
    println!("{flag} was not taken back");
    None
}
