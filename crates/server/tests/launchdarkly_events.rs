//! Events of LaunchDarkly's SDKs over real HTTP: counted once, attributed by version and rule, also after a restart.
#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking")]

mod common;

use std::io::Write as _;

use common::{Ensign, PLACE, answer};
use ensign_control::evidence::Record;
use ensign_control::ids::{FlagId, Place};
use ensign_control::metric::{Builtin, MetricRef};
use ensign_server::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SETUP: &str = r#"[
 {"use_case": "chat", "flags": ["chat", "model"], "request_timeout": "1s",
  "prices": {"haiku": {"input": 1.0, "output": 2.0}, "sonnet": {"input": 10.0, "output": 20.0}}},
 {"metric": "helpful", "kind": "rate", "better": "higher"},
 {"flag": "model", "default": "old", "variants": ["old", "new"], "use_case": "chat"},
 {"flag": "chat", "default": {"_ldMeta": {"enabled": true, "variationKey": "v1"}, "model": {"name": "haiku"}},
  "variants": {"a": {"_ldMeta": {"enabled": true, "variationKey": "v1"}, "model": {"name": "haiku"}},
               "b": {"_ldMeta": {"enabled": true, "variationKey": "v2"}, "model": {"name": "sonnet"}}}}
]"#;

/// Half of all users get `to`.
async fn start(ensign: &Ensign, flag: &str, to: &str) {
    let spec = json!({"rollout": flag, "to": to, "template": false,
        "stages": [{"percentage": 50, "min_duration": "1d"}, 100],
        "guardrails": [{"metric": "error_rate", "settle": "on_completion"}],
        "watch": ["helpful", "feedback", "latency", "cost"]});
    ensign.done("POST", &format!("{PLACE}/rollouts"), json!({"spec": spec})).await;
}

fn place() -> Place {
    Place { project: "default".parse().unwrap(), environment: "production".parse().unwrap() }
}

fn version(ensign: &Ensign, flag: &str) -> u64 {
    ensign.running.app().place(&place()).unwrap().serving().flags[flag].version
}

/// What Ensign would serve, as an SDK computes it by itself.
async fn variation(ensign: &Ensign, flag: &str, user: &str) -> u64 {
    let asked = json!({"flag": flag, "context": {"targetingKey": user}});
    let told = ensign.done("POST", &format!("{PLACE}/evaluate"), asked).await;
    told["decision"]["variant"].as_u64().unwrap()
}

fn now() -> i64 {
    Clock::system().now().0 / 1_000
}

fn user(key: &str) -> Value {
    json!({"kind": "user", "key": key})
}

async fn exposure(ensign: &Ensign, flag: &str, key: &str) -> Value {
    json!({"kind": "feature", "creationDate": now(), "key": flag, "value": "x", "default": null,
        "variation": variation(ensign, flag, key).await, "version": version(ensign, flag),
        "reason": {"kind": "FALLTHROUGH", "inExperiment": true}, "context": user(key)})
}

fn track(key: &str, name: &str, value: f64, data: Value) -> Value {
    json!({"kind": "custom", "creationDate": now(), "key": name, "metricValue": value, "context": user(key),
        "data": data})
}

async fn post(ensign: &Ensign, path: &str, payload: &str, events: &Value) -> u16 {
    let request = ensign.request("POST", path).header("Authorization", ensign.sdk_key());
    let request =
        request.header("X-LaunchDarkly-Payload-ID", payload).header("User-Agent", "PythonClient/9.18.2");
    request.json(events).send().await.unwrap().status().as_u16()
}

/// New and control samples of a guardrail or watch metric, after a look.
async fn samples(ensign: &Ensign, flag: &str, guard: usize) -> u64 {
    let app = ensign.running.app();
    app.pipeline().command(Record::Tick { now: app.now() }).await.unwrap();
    let view = ensign.done("GET", &format!("{PLACE}/rollouts/{flag}"), Value::Null).await;
    let guard = &view["guards"][guard];
    guard["n_new"].as_u64().unwrap_or(0) + guard["n_control"].as_u64().unwrap_or(0)
}

async fn send(
    ensign: &Ensign,
    path: &str,
    key: Option<&str>,
    gzip: bool,
    body: Vec<u8>,
) -> reqwest::Response {
    let mut request = ensign.request("POST", path).body(body);
    if let Some(key) = key {
        request = request.header("Authorization", key);
    }
    if gzip {
        request = request.header("Content-Encoding", "gzip");
    }
    request.send().await.unwrap()
}

fn fates(ensign: &Ensign) -> [u64; 6] {
    ensign.running.app().pipeline().status().fates
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exposures_and_outcomes_count_once_also_when_repeated_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ensign = Ensign::on(folder.path(), Clock::system()).await;
    ensign.apply(SETUP).await;
    start(&ensign, "model", "new").await;
    let mut events = vec![json!({"kind": "index", "context": user("u0")})];
    for n in 0..40 {
        let key = format!("u{n}");
        // The outcome before its exposure: an SDK's threads may write them in either order.
        events.push(track(&key, "helpful", 1.0, Value::Null));
        events.push(exposure(&ensign, "model", &key).await);
        events.push(exposure(&ensign, "model", &key).await);
    }
    events.push(json!({"kind": "summary", "startDate": now(), "endDate": now(), "features": {"model": {
        "counters": [{"value": "old", "variation": 0, "version": 3, "count": 80}]}}}));
    let events = json!(events);
    assert_eq!(post(&ensign, "/bulk", "p1", &events).await, 202);
    assert_eq!(samples(&ensign, "model", 1).await, 40);
    assert_eq!(fates(&ensign)[0], 80);
    assert_eq!(post(&ensign, "/ld/bulk", "p1", &events).await, 202);
    assert_eq!(samples(&ensign, "model", 1).await, 40);
    let view = ensign.done("GET", &format!("{PLACE}/clients"), Value::Null).await;
    assert_eq!(view["evaluations"][0], json!({"flag": "model", "variant": 0, "evaluations": 80}));
    ensign.running.stop().await;

    let ensign = Ensign::on(folder.path(), Clock::system()).await;
    assert_eq!(post(&ensign, "/bulk", "p1", &events).await, 202);
    assert_eq!(fates(&ensign)[0], 0, "everything was there before");
    assert_eq!(samples(&ensign, "model", 1).await, 40);
    assert_eq!(post(&ensign, "/bulk", "p2", &json!([track("u1", "helpful", 0.0, Value::Null)])).await, 202);
    assert_eq!(fates(&ensign)[0], 1);
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exposure_belongs_to_the_stratum_of_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let ensign = Ensign::on(folder.path(), Clock::system()).await;
    ensign.apply(SETUP).await;
    start(&ensign, "model", "new").await;
    let old = exposure(&ensign, "model", "u1").await;
    // Something above the split: who reaches it changes, and so does the stratum.
    ensign
        .apply(
            r#"{"flag": "model", "default": "old", "variants": ["old", "new"], "use_case": "chat",
        "rules": [{"condition": {"team": "own"}, "value": "new"}]}"#,
        )
        .await;
    let new = exposure(&ensign, "model", "u1").await;
    assert_ne!(old["version"], new["version"]);
    ensign.running.stop().await;
    // A new process knows the older version from the flag's history.
    let ensign = Ensign::on(folder.path(), Clock::system()).await;
    let mut unknown = new.clone();
    unknown["version"] = json!(1);
    let mut other_rule = new.clone();
    other_rule["reason"] = json!({"kind": "RULE_MATCH", "ruleIndex": 0, "ruleId": "nobody-knows"});
    let mut no_reason = new.clone();
    no_reason.as_object_mut().unwrap().remove("reason");
    assert_eq!(post(&ensign, "/bulk", "p", &json!([old, new, unknown, other_rule, no_reason])).await, 202);
    assert_eq!(fates(&ensign), [2, 0, 0, 0, 0, 0]);
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_the_ai_sdk_are_the_built_in_metrics() {
    let ensign = Ensign::start().await;
    ensign.apply(SETUP).await;
    start(&ensign, "chat", "b").await;
    let mut events = Vec::new();
    for n in 0..20 {
        let key = format!("u{n}");
        let data = |config: &str| {
            json!({"runId": format!("r{n}"), "configKey": config, "variationKey": "v1",
            "version": 1, "modelName": "haiku", "providerName": "anthropic"})
        };
        let tell = |name: &str, value: f64| track(&key, &format!("$ld:ai:{name}"), value, data("chat"));
        events.push(exposure(&ensign, "chat", &key).await);
        events.push(tell("usage:completion-config", 1.0));
        events.push(tell("duration:total", 5.0));
        if n % 4 == 0 {
            events.push(tell("generation:error", 1.0));
            continue;
        }
        events.push(tell("generation:success", 1.0));
        events.push(tell("tokens:input", 10.0));
        events.push(tell("tokens:output", 20.0));
        events.push(tell("feedback:user:positive", 1.0));
        // A judge's own call is its own business.
        events.push(track(&key, "$ld:ai:generation:error", 1.0, data("judge")));
    }
    assert_eq!(post(&ensign, "/bulk", "ai", &json!(events)).await, 202);
    // Guards: error rate; watched: helpful, feedback, latency, cost.
    assert_eq!(samples(&ensign, "chat", 0).await, 20);
    assert_eq!(samples(&ensign, "chat", 2).await, 15);
    // Watched latency and cost: of answers only, and cost by the price of the model.
    let baseline = async |metric: MetricRef| {
        let (place, flag) = (place(), "chat".parse().unwrap());
        let pipeline = ensign.running.app().pipeline();
        pipeline.baseline(FlagId::of(&place, &flag), 0, metric).await.unwrap()
    };
    let cost = baseline(MetricRef::Builtin(Builtin::Cost)).await;
    assert_eq!((cost.n, cost.mean), (15, 50.0 / 1e6));
    let errors = baseline(MetricRef::Builtin(Builtin::ErrorRate)).await;
    assert_eq!((errors.n, errors.mean), (20, 0.25));
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_body() {
    let ensign = Ensign::start().await;
    ensign.apply(SETUP).await;
    let event = track("u", "helpful", 1.0, Value::Null);
    let key = ensign.sdk_key().to_owned();
    let client = ensign.credentials.projects["default"].environments["production"].client_id.clone();
    let mobile = ensign.credentials.projects["default"].environments["production"].mobile_key.clone();
    let plain = json!([event]).to_string().into_bytes();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&plain).unwrap();
    let packed = packed.finish().unwrap();
    let counted = |n: u64| assert_eq!(fates(&ensign).iter().sum::<u64>(), n);
    let sdk = Some(key.as_str());
    for (path, key, gzip, body) in [
        ("/bulk".to_owned(), sdk, false, plain.clone()),
        ("/bulk".to_owned(), sdk, false, event.to_string().into_bytes()),
        ("/bulk".to_owned(), sdk, true, packed.clone()),
        ("/mobile".to_owned(), Some(mobile.as_str()), false, plain.clone()),
        ("/mobile/events/bulk".to_owned(), Some(mobile.as_str()), false, plain.clone()),
        (format!("/events/bulk/{client}"), None, false, plain.clone()),
        (format!("/ld/events/bulk/{client}"), None, false, plain.clone()),
    ] {
        let answer = send(&ensign, &path, key, gzip, body).await;
        assert_eq!(answer.status(), 202, "{path}");
        assert!(answer.headers().contains_key("date"), "{path}");
    }
    counted(7);
    let pixel = format!(
        "/a/{client}.gif?d={}",
        "W3sia2luZCI6ImN1c3RvbSIsImtleSI6ImhlbHBmdWwiLCJjb250ZXh0Ijp7ImtpbmQiOiJ1c2VyIiwia2V5IjoidSJ9fV0"
    );
    assert_eq!(ensign.request("GET", &pixel).send().await.unwrap().status(), 200);
    counted(8);
    // An operator reads what was logged, units as keyed hashes.
    let export = ensign.request("POST", "/api/v1/export-events").bearer_auth(&ensign.credentials.admin_token);
    let text = export.send().await.unwrap().text().await.unwrap();
    assert_eq!(text.matches("\"Score\"").count(), 8, "{text}");
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_body() {
    let ensign = Ensign::start().await;
    ensign.apply(SETUP).await;
    let plain = json!([track("u", "helpful", 1.0, Value::Null)]).to_string().into_bytes();
    let sdk = Some(ensign.sdk_key());
    for (path, key, gzip, body, expected) in [
        ("/bulk", Some("sdk-wrong"), false, plain.clone(), 401),
        ("/bulk", None, false, plain.clone(), 401),
        ("/bulk", Some(ensign.credentials.admin_token.as_str()), false, plain.clone(), 401),
        ("/events/bulk/nobody", None, false, plain.clone(), 404),
        ("/bulk", sdk, true, plain.clone(), 400),
        ("/bulk", sdk, false, b"nonsense".to_vec(), 400),
        ("/bulk", sdk, false, Vec::new(), 400),
        // One bad event among good ones, and a number that is not JSON, cost nothing but themselves.
        (
            "/bulk",
            sdk,
            false,
            br#"[{"kind":"custom","key":"helpful","metricValue":NaN},{"kind":7},{}]"#.to_vec(),
            202,
        ),
        // Too long is dropped, never refused: a 413 would end all events of the SDK.
        ("/bulk", sdk, false, vec![b' '; 33 << 20], 202),
        (
            "/diagnostic",
            sdk,
            false,
            br#"{"kind":"diagnostic-init","sdk":{"name":"n","version":"1"}}"#.to_vec(),
            202,
        ),
        ("/diagnostic", sdk, false, b"?".to_vec(), 400),
    ] {
        let got = send(&ensign, path, key, gzip, body.clone()).await.status().as_u16();
        assert_eq!(got, expected, "{path} {key:?} {}", String::from_utf8_lossy(&body[..body.len().min(40)]));
    }
    assert_eq!(fates(&ensign), [0; 6]);
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_pieces_and_questions_of_browsers() {
    let ensign = Ensign::start().await;
    ensign.apply(SETUP).await;
    let plain = json!([track("u", "helpful", 1.0, Value::Null)]).to_string().into_bytes();
    let key = ensign.sdk_key().to_owned();
    let client = ensign.credentials.projects["default"].environments["production"].client_id.clone();
    // In pieces, without a length, as Node's SDK sends it.
    let address = ensign.running.url().trim_start_matches("http://").to_owned();
    let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /bulk HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for piece in plain.chunks(17) {
        socket.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
        socket.write_all(piece).await.unwrap();
        socket.write_all(b"\r\n").await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    let mut told = String::new();
    socket.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 202"), "{told}");
    assert_eq!(fates(&ensign).iter().sum::<u64>(), 1);
    let preflight = ensign.request("OPTIONS", &format!("/events/bulk/{client}")).send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    let header = |name: &str| preflight.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert!(header("access-control-allow-headers").contains("X-LaunchDarkly-Payload-ID"));
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_sends_a_context_is_named_with_the_correction() {
    let ensign = Ensign::start().await;
    ensign.apply(SETUP).await;
    let summary = json!([{"kind": "summary", "startDate": now(), "endDate": now(), "features": {
        "model": {"contextKinds": ["user"], "counters": [{"value": "old", "variation": 0, "version": 3, "count": 5}]}}}]);
    assert_eq!(post(&ensign, "/bulk", "p1", &summary).await, 202);
    let view = ensign.done("GET", &format!("{PLACE}/clients"), Value::Null).await;
    let client = &view["clients"][0];
    assert_eq!((&client["name"], &client["version"]), (&json!("PythonClient"), &json!("9.18.2")));
    assert!(client["warning"]["next"].as_str().unwrap().contains("Context.from_dict"), "{client}");
    let more =
        json!([{"kind": "index", "context": user("u")}, track("u", "Checkout Completed", 1.0, Value::Null)]);
    assert_eq!(post(&ensign, "/bulk", "p2", &more).await, 202);
    let view = ensign.done("GET", &format!("{PLACE}/clients"), Value::Null).await;
    assert_eq!(view["clients"][0]["warning"], Value::Null);
    assert_eq!(view["events_without_metric"][0], json!({"name": "Checkout Completed", "events": 1}));
    let (status, _) = answer(ensign.request("GET", &format!("{PLACE}/clients")).send().await.unwrap()).await;
    assert_eq!(status, 401);
    ensign.running.stop().await;
}
