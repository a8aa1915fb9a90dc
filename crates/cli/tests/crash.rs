//! The server is killed without warning, again and again, under load. Every acknowledged event is counted exactly
//! once, and every acknowledged change is there.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test fail by panicking")]

mod common;

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use common::{PLACE, Server, ask, keys};
use serde_json::{Value, json};

/// How often it is killed.
const LIVES: u64 = 20;
/// Moments of death follow from this.
const SEED: u64 = 0x5eed_2026;
const SENDERS: u64 = 3;
const BATCH: u64 = 20;

const FLAG: &str = r#"{"flag": "model", "default": "old", "variants": ["old", "new"], "unit": "request"}"#;

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn events(batch: u64, decision: &Value) -> String {
    let event = |i: u64| {
        let id = format!("event-{batch}-{i}");
        let decision = json!({
            "flag": "model", "variant": i % 2, "allocation": decision["allocation"], "epoch": decision["epoch"],
        });
        json!({"type": "request", "id": id, "request": id, "status": "ok", "duration_ms": 5, "decisions": [decision]})
    };
    Value::Array((0..BATCH).map(event).collect()).to_string()
}

/// What the clients remember: what they sent, and what they were told.
#[derive(Default)]
struct Clients {
    sent: Mutex<Vec<u64>>,
    acknowledged: Mutex<Vec<u64>>,
    changes: Mutex<Vec<String>>,
    /// Batches ever sent; each is sent again until it is known.
    batches: AtomicU64,
    next: AtomicU64,
}

impl Clients {
    /// Sends batches until the server is gone.
    fn send(&self, address: &str, key: &str, decision: &Value) {
        loop {
            let batch = self.next.fetch_add(1, Ordering::Relaxed);
            self.sent.lock().unwrap().push(batch);
            self.batches.fetch_add(1, Ordering::Relaxed);
            match ask(address, key, "POST", "/api/v1/events", &events(batch, decision)) {
                Ok((200, answer)) => {
                    assert_eq!(answer["accepted"], BATCH, "{answer}");
                    self.acknowledged.lock().unwrap().push(batch);
                }
                Ok((503, _)) => {}
                Ok(other) => panic!("{other:?}"),
                Err(_) => return,
            }
        }
    }

    /// Creates flags until the server is gone.
    fn change(&self, address: &str, admin: &str) {
        loop {
            let flag = format!("flag-{}", self.next.fetch_add(1, Ordering::Relaxed));
            let text = json!({"flag": flag, "default": true}).to_string();
            let body = json!({"files": [{"name": "f.json", "text": text}]}).to_string();
            match ask(address, admin, "POST", &format!("{PLACE}/apply"), &body) {
                Ok((200, _)) => self.changes.lock().unwrap().push(flag),
                Ok(other) => panic!("{other:?}"),
                Err(_) => return,
            }
        }
    }

    /// Sends everything of the last life again: what was acknowledged must be known, the rest is counted now.
    fn look_back(&self, address: &str, key: &str, admin: &str, decision: &Value) {
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        for batch in std::mem::take(&mut *self.sent.lock().unwrap()) {
            let (status, answer) = ask(address, key, "POST", "/api/v1/events", &events(batch, decision))
                .expect("the server is up");
            let known = answer["duplicate"].as_u64().unwrap_or_default();
            assert_eq!(
                (status, known + answer["accepted"].as_u64().unwrap_or_default()),
                (200, BATCH),
                "{answer}"
            );
            if acknowledged.contains(&batch) {
                assert_eq!(known, BATCH, "batch {batch} was acknowledged and is lost: {answer}");
            }
        }
        for flag in std::mem::take(&mut *self.changes.lock().unwrap()) {
            let found =
                ask(address, admin, "GET", &format!("{PLACE}/flags/{flag}"), "").expect("the server is up");
            assert_eq!(found.0, 200, "{flag} was acknowledged and is lost: {}", found.1);
        }
    }
}

#[test]
fn killed_without_warning_it_loses_nothing_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let clients = Clients::default();
    let mut seed = SEED;
    let (mut key, mut admin, mut decision) = (String::new(), String::new(), Value::Null);
    for life in 0..=LIVES {
        let server = Server::start(folder.path());
        if life == 0 {
            (admin, key) = keys(folder.path());
            decision = set_up(&server.address, &admin);
        }
        clients.look_back(&server.address, &key, &admin, &decision);
        if life == LIVES {
            check_counts(&server.address, &key, &admin, &decision, &clients);
            return;
        }
        let (stop, stopped) = channel::<()>();
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| clients.send(&server.address, &key, &decision));
            }
            scope.spawn(|| clients.change(&server.address, &admin));
            let alive = Duration::from_millis(30 + xorshift(&mut seed) % 400);
            assert_eq!(stopped.recv_timeout(alive), Err(RecvTimeoutError::Timeout));
            drop(stop);
            kill(&server);
        });
    }
}

/// Kills without waiting: the clients are to see it die.
fn kill(server: &Server) {
    let killed = Command::new("kill").args(["-9", &server.process.id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
}

fn set_up(address: &str, admin: &str) -> Value {
    let flag = json!({"files": [{"name": "flag.json", "text": FLAG}]});
    let rollout = json!({"spec": {"rollout": "model", "to": "new", "unit": "request", "template": false,
        "stages": [{"percentage": 50, "min_duration": "1d"}, 100],
        "guardrails": [{"metric": "error_rate", "settle": "on_completion"}]}});
    for (path, body) in [("apply", flag), ("rollouts", rollout)] {
        let done = ask(address, admin, "POST", &format!("{PLACE}/{path}"), &body.to_string()).unwrap();
        assert_eq!(done.0, 200, "{}", done.1);
    }
    let question = json!({"flag": "model", "context": {"targetingKey": "u", "request": "r"}}).to_string();
    let told = ask(address, admin, "POST", &format!("{PLACE}/evaluate"), &question).unwrap();
    assert!(told.1["decision"]["allocation"].is_string(), "{}", told.1);
    told.1["decision"].clone()
}

/// The evidence has every event once: one more batch closes the last block.
fn check_counts(address: &str, key: &str, admin: &str, decision: &Value, clients: &Clients) {
    let last = clients.next.fetch_add(1, Ordering::Relaxed);
    let answer = ask(address, key, "POST", "/api/v1/events", &events(last, decision)).unwrap();
    assert_eq!(answer.1["accepted"], BATCH, "{}", answer.1);
    let expected = (clients.batches.load(Ordering::Relaxed) + 1) * BATCH;
    let (stop, wait) = channel::<()>();
    let mut seen = 0;
    for _ in 0..100 {
        let view = ask(address, admin, "GET", &format!("{PLACE}/rollouts/model"), "").unwrap().1;
        let guard = &view["guards"][0];
        seen = guard["n_new"].as_u64().unwrap_or(0) + guard["n_control"].as_u64().unwrap_or(0);
        if seen == expected {
            break;
        }
        assert!(seen < expected, "{seen} counted, {expected} sent: {view}");
        let _ = wait.recv_timeout(Duration::from_millis(100));
    }
    drop(stop);
    assert_eq!(seen, expected);
    assert!(expected > LIVES * BATCH * 5, "only {expected} events: the load is too small to mean anything");
    let audit = ask(address, admin, "POST", "/api/v1/audit/verify", "{}").unwrap();
    assert_eq!(audit.0, 200, "{}", audit.1);
}
