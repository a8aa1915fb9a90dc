//! Events over real HTTP: what each is attributed to, what each refusal says, and a bad model taken back.
#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking")]

mod common;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use common::{Ensign, PLACE, answer};
use ensign_control::evidence::Record;
use ensign_control::ids::Place;
use ensign_server::{Config, Deps, Server};
use ensign_store::Memory;
use ensign_store::log::unreliable::Unreliable;
use ensign_store::log::{Limits, LogWriter, SegmentLog};
use serde_json::{Value, json};

/// A rollout that is half way, with pins, targets and an earlier rule that are not its own.
const SETUP: &str = r#"[
 {"use_case": "chat", "flags": ["model"], "request_timeout": "2s",
  "prices": {"old": {"input": 1.0, "output": 2.0}, "new": {"input": 10.0, "output": 20.0}}},
 {"metric": "helpful", "kind": "rate", "better": "higher"},
 {"metric": "stars", "kind": "rating", "better": "higher"},
 {"flag": "model", "default": "old", "variants": ["old", "new"], "use_case": "chat",
  "rules": [{"condition": {"team": "own"}, "value": "new"}],
  "pins": [{"who": ["pinned"], "value": "new", "owner": "ann", "reason": "contract", "until": "2099-01-01"}]}
]"#;

/// Applies the documents and starts a rollout at a share of so many percent.
async fn set_up(ensign: &Ensign, documents: &str, unit: &str, percentage: u32) {
    ensign.apply(documents).await;
    let spec = json!({"rollout": "model", "to": "new", "unit": unit, "template": false,
        "stages": [{"percentage": percentage, "min_duration": "1d"}, 100],
        "guardrails": [{"metric": "error_rate", "settle": "on_completion"}],
        "watch": if documents == SETUP { json!(["helpful"]) } else { json!([]) }});
    ensign.done("POST", &format!("{PLACE}/rollouts"), json!({"spec": spec})).await;
}

async fn send(ensign: &Ensign, events: Value) -> (u16, Value) {
    let request = ensign.request("POST", "/api/v1/events").bearer_auth(ensign.sdk_key()).json(&events);
    answer(request.send().await.unwrap()).await
}

/// One event, and what the answer says of it: `accepted`, `duplicate`, `unattributed`, or code and pointer.
async fn fate(ensign: &Ensign, event: Value) -> String {
    let (status, told) = send(ensign, json!([event])).await;
    assert_eq!((status, &told["received"]), (200, &json!(1)), "{told}");
    match told["items"].as_array().unwrap().first() {
        None => "accepted".to_owned(),
        Some(item) if item["code"].is_null() => item["status"].as_str().unwrap().to_owned(),
        Some(item) => format!("{} {}", item["code"].as_str().unwrap(), item["pointer"].as_str().unwrap()),
    }
}

async fn evaluate(ensign: &Ensign, context: Value) -> Value {
    ensign.done("POST", &format!("{PLACE}/evaluate"), json!({"flag": "model", "context": context})).await
}

/// Samples of both arms in the first guardrail, after a look of the guard's kind.
async fn samples(ensign: &Ensign) -> u64 {
    let app = ensign.running.app();
    app.pipeline().command(Record::Tick { now: app.now() }).await.unwrap();
    let view = ensign.done("GET", &format!("{PLACE}/rollouts/model"), Value::Null).await;
    let guard = &view["guards"][0];
    guard["n_new"].as_u64().unwrap_or(0) + guard["n_control"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_belong_somewhere() {
    let ensign = Ensign::start().await;
    set_up(&ensign, SETUP, "user", 50).await;
    let done = |id: &str| json!({"type": "request", "id": id, "status": "ok", "duration_ms": 40});
    let with = |mut event: Value, more: Value| {
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let told = evaluate(&ensign, json!({"targetingKey": "u1"})).await;
    let (token, decision) = (told["token"].clone(), told["decision"].clone());

    assert_eq!(fate(&ensign, with(done("e1"), json!({"token": token}))).await, "accepted");
    assert_eq!(fate(&ensign, with(done("e1"), json!({"token": token}))).await, "duplicate");
    let by_record = json!({"decisions": [decision], "unit": "u1"});
    assert_eq!(fate(&ensign, with(done("e2"), by_record.clone())).await, "accepted");
    let exposure = json!({"type": "exposure", "id": "x1", "request": "r1"});
    assert_eq!(fate(&ensign, with(exposure, by_record.clone())).await, "accepted");
    assert_eq!(fate(&ensign, with(done("e3"), json!({"request": "r1"}))).await, "accepted");
    assert_eq!(fate(&ensign, with(done("e4"), json!({"request": "nobody"}))).await, "unattributed");
    let rating = |id: &str| json!({"type": "outcome", "id": id, "metric": "helpful", "value": true});
    assert_eq!(fate(&ensign, with(rating("o1"), json!({"unit": "u1"}))).await, "accepted");
    assert_eq!(fate(&ensign, with(rating("o2"), json!({"unit": "nobody"}))).await, "unattributed");
    assert_eq!(fate(&ensign, with(rating("o3"), json!({"token": token}))).await, "accepted");

    let mut changed = token.as_str().unwrap().to_owned().into_bytes();
    changed[12] = if changed[12] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    assert_eq!(fate(&ensign, with(done("e5"), json!({"token": changed}))).await, "token_signature /0/token");
    let wrong = |member: &str, value: Value| {
        let mut decision = decision.clone();
        decision[member] = value;
        with(done("e6"), json!({"unit": "u1", "decisions": [decision]}))
    };
    assert_eq!(fate(&ensign, wrong("flag", json!("nope"))).await, "unknown_flag /0/decisions/0/flag");
    assert_eq!(fate(&ensign, wrong("variant", json!(7))).await, "unknown_variant /0/decisions/0/variant");
    assert_eq!(fate(&ensign, wrong("epoch", json!(99))).await, "unknown_epoch /0/decisions/0/epoch");
    assert_eq!(fate(&ensign, wrong("epoch", Value::Null)).await, "missing_epoch /0/decisions/0/epoch");
    let nobody = with(done("e7"), json!({"decisions": [decision]}));
    assert_eq!(fate(&ensign, nobody).await, "missing_unit /0/decisions/0/unit");
    let org = json!({"decisions": [decision], "unit": {"kind": "org", "key": "o"}});
    assert_eq!(fate(&ensign, with(done("e8"), org)).await, "missing_unit /0/decisions/0/unit");
    let outcome = |metric: &str, value: Value| json!({"type": "outcome", "id": "o9", "unit": "u1", "metric": metric, "value": value});
    assert_eq!(fate(&ensign, outcome("beauty", json!(1))).await, "unknown_metric /0/metric");
    assert_eq!(fate(&ensign, outcome("helpful", json!(0.5))).await, "bad_value /0/value");
    assert_eq!(fate(&ensign, outcome("stars", json!(6))).await, "bad_value /0/value");
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_units_that_the_rollout_decided_are_compared() {
    let ensign = Ensign::start().await;
    set_up(&ensign, SETUP, "user", 50).await;
    let mut events = Vec::new();
    for n in 0..60 {
        let context = match n {
            0..10 => json!({"targetingKey": "pinned"}),
            10..20 => json!({"targetingKey": format!("own{n}"), "team": "own"}),
            _ => json!({"targetingKey": format!("u{n}")}),
        };
        let told = evaluate(&ensign, context).await;
        assert_eq!(told["decision"]["compared"], n >= 20, "{told}");
        events.push(json!({"type": "request", "source": "test", "seq": n + 1, "token": told["token"],
            "status": "ok", "duration_ms": 10}));
    }
    let (status, told) = send(&ensign, json!(events)).await;
    assert_eq!((status, &told["accepted"], &told["items"]), (200, &json!(60), &json!([])), "{told}");
    assert_eq!(samples(&ensign).await, 40);
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_batch() {
    let ensign = Ensign::start().await;
    let event = json!({"type": "outcome", "id": "o", "unit": "u", "metric": "m", "value": 1});
    let post = || ensign.request("POST", "/api/v1/events");
    let said = async |request: reqwest::RequestBuilder| {
        let (status, told) = answer(request.send().await.unwrap()).await;
        (status, told["code"].as_str().unwrap_or_default().to_owned(), told)
    };
    let sdk = || post().bearer_auth(ensign.sdk_key());
    assert_eq!(said(post().body("[]")).await.0, 401);
    let (status, code, told) = said(sdk().body("[{\"id\":\n}]")).await;
    assert_eq!((status, code.as_str(), &told["line"]), (200, "", &Value::Null), "one bad event: {told}");
    let (status, code, told) = said(sdk().body("[{\"id\": 1},\n {\"id\":")).await;
    assert_eq!((status, code.as_str(), &told["line"]), (400, "json_syntax", &json!(2)), "{told}");
    assert_eq!(said(sdk().body(&b"[\"\xff\"]"[..])).await.1, "not_utf8");
    assert_eq!(said(sdk().header("content-encoding", "br").body("[]")).await.1, "media_type");
    assert_eq!(said(sdk().header("ensign-sent-at", "noon").body("[]")).await.1, "bad_header");
    assert_eq!(said(sdk().header("content-encoding", "gzip").body("[]")).await.1, "body_unreadable");
    let many = json!(vec![&event; 10_001]).to_string();
    assert_eq!(said(sdk().body(many)).await.1, "body_too_large");
    let zip = |text: &[u8]| {
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        zipped.write_all(text).unwrap();
        zipped.finish().unwrap()
    };
    let bomb = zip(&vec![b' '; 40 << 20]);
    assert_eq!(said(sdk().header("content-encoding", "gzip").body(bomb)).await.1, "body_too_large");
    let good = zip(json!([event]).to_string().as_bytes());
    let (status, _, told) = said(sdk().header("content-encoding", "gzip").body(good)).await;
    assert_eq!((status, &told["items"][0]["code"]), (200, &json!("unknown_metric")), "{told}");
    // A key that belongs to no environment has to name one.
    let admin = || post().bearer_auth(&ensign.credentials.admin_token).body("[]");
    assert_eq!(said(admin()).await.1, "bad_query");
    let named = ensign.request("POST", "/api/v1/events?project=default&environment=staging");
    let (status, _, told) = said(named.bearer_auth(&ensign.credentials.admin_token).body("[]")).await;
    assert_eq!((status, &told["received"]), (200, &json!(0)), "{told}");
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let ensign = Ensign::on(folder.path(), ensign_server::Clock::system()).await;
    set_up(&ensign, SETUP, "user", 50).await;
    let decision = evaluate(&ensign, json!({"targetingKey": "u"})).await["decision"].clone();
    let events: Vec<Value> = (0..40)
        .map(|n| {
            let mut decision = decision.clone();
            decision["variant"] = json!(n % 2);
            json!({"type": "request", "id": format!("e{n}"), "unit": format!("u{n}"), "status": "ok",
                "duration_ms": 10, "decisions": [decision]})
        })
        .collect();
    assert_eq!(send(&ensign, json!(events)).await.1["accepted"], 40);
    assert_eq!(samples(&ensign).await, 40);
    ensign.running.stop().await;
    let ensign = Ensign::on(folder.path(), ensign_server::Clock::system()).await;
    let (_, told) = send(&ensign, json!(events)).await;
    assert_eq!((&told["accepted"], &told["duplicate"]), (&json!(0), &json!(40)), "{told}");
    assert_eq!(samples(&ensign).await, 40);
    ensign.running.stop().await;
}

/// Errors of 1 % against 5 % at a share of 5 %: what the product is for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_model_is_taken_back() {
    let ensign = Ensign::start().await;
    let flag = r#"{"flag": "model", "default": "old", "variants": ["old", "new"], "unit": "request"}"#;
    set_up(&ensign, flag, "request", 5).await;
    let decision = evaluate(&ensign, json!({"targetingKey": "u", "request": "r"})).await["decision"].clone();
    let place = Place { project: "default".parse().unwrap(), environment: "production".parse().unwrap() };
    let mut changes = ensign.running.app().place(&place).unwrap().subscribe();
    changes.mark_unchanged();
    let (mut sent, mut rolled_back) = (0_u64, Value::Null);
    let look = async || ensign.done("GET", &format!("{PLACE}/rollouts/model"), Value::Null).await;
    for _ in 0..80 {
        let events: Vec<Value> = (sent..sent + 400)
            .map(|n| {
                let new = n % 20 == 7;
                let fails = if new { (n / 20) % 20 == 3 } else { n % 100 == 50 };
                let mut decision = decision.clone();
                decision["variant"] = json!(u8::from(new));
                let id = format!("r{n}");
                json!({"type": "request", "id": id, "request": id, "duration_ms": 10, "decisions": [decision],
                    "status": if fails { "upstream_error" } else { "ok" }})
            })
            .collect();
        assert_eq!(send(&ensign, json!(events)).await.1["accepted"], 400);
        sent += 400;
        // The guard looks ten times a second; a decision announces a revision.
        let _ = tokio::time::timeout(Duration::from_millis(300), changes.changed()).await;
        let view = look().await;
        if view["phase"] == "rolled_back" {
            rolled_back = view;
            break;
        }
    }
    assert_eq!(rolled_back["phase"], "rolled_back", "after {sent} requests: {}", look().await);
    let why = ensign.done("GET", &format!("{PLACE}/flags/model/why"), Value::Null).await;
    assert!(
        why["sentence"]
            .as_str()
            .is_some_and(|text| text.contains("error_rate") || text.contains("error rate")),
        "{why}"
    );
    for n in 0..20 {
        let told = evaluate(&ensign, json!({"targetingKey": "u", "request": format!("r{n}")})).await;
        assert_eq!(told["value"], "old", "{told}");
    }
    let receipts = ensign.done("GET", &format!("{PLACE}/rollouts/model/receipts"), Value::Null).await;
    assert!(!receipts["receipts"].as_array().unwrap().is_empty(), "{receipts}");
    ensign.running.stop().await;
}

/// The disk of the event log fills up: events wait, flags are served, and it goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_events_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ensign_server::Clock::system();
    let disk = Unreliable::new();
    let log = SegmentLog::open(Arc::new(disk.clone()), Limits::default(), clock.for_store()).unwrap();
    let log = Arc::new(LogWriter::start(log, 64).unwrap());
    let store = Arc::new(Memory::new(clock.for_store()));
    let config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path());
    let running = Server::start_with(config, Deps { clock, store, log }).await.unwrap();
    let ensign = Ensign {
        running,
        credentials: common::credentials(folder.path()),
        http: common::client(),
        folder: None,
    };
    ensign.apply(r#"{"flag": "model", "default": "old"}"#).await;
    let event = |id: &str| {
        json!([{"type": "request", "id": id, "status": "ok", "duration_ms": 1, "unit": "u",
            "decisions": [{"flag": "model", "variant": "old"}]}])
    };
    assert_eq!(send(&ensign, event("a")).await.0, 200);
    disk.capacity(Some(disk.used()));
    let post = ensign.request("POST", "/api/v1/events").bearer_auth(ensign.sdk_key()).json(&event("b"));
    let refused = post.send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
    let (status, told) = answer(refused).await;
    assert_eq!((status, told["code"].as_str()), (503, Some("store_full")), "{told}");
    assert_eq!(ensign.ofrep("model", json!({"targetingKey": "u"})).await.1["value"], "old");
    ensign.done("POST", &format!("{PLACE}/flags/model/kill"), json!({"reason": "drill"})).await;
    disk.capacity(None);
    let (status, told) = send(&ensign, event("b")).await;
    assert_eq!((status, &told["accepted"]), (200, &json!(1)), "refused is not acknowledged: {told}");
    ensign.running.stop().await;
}
