//! Client-side SDKs: who sees which flag, every way to ask, secure mode, and streams that say what changes.
#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking")]

mod common;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use common::{Ensign, PLACE, answer};
use reqwest::Response;
use serde_json::{Value, json};

const SETUP: &str = r#"[
 {"flag": "model", "default": "old", "variants": ["old", "new"], "client_side": true,
  "rules": [{"id": "team", "condition": {"team": "own"}, "value": "new"}]},
 {"flag": "hidden", "default": "secret"},
 {"flag": "gated", "default": 1, "client_side": true, "variants": [1, 2], "prerequisites": [
    {"flag": "model", "value": "new"}, {"flag": "hidden", "value": "secret"}]}
]"#;

fn base64(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}

fn client_id(ensign: &Ensign) -> &str {
    &ensign.credentials.projects["default"].environments["production"].client_id
}

fn mobile_key(ensign: &Ensign) -> &str {
    &ensign.credentials.projects["default"].environments["production"].mobile_key
}

fn own() -> Value {
    json!({"kind": "user", "key": "u1", "team": "own"})
}

/// Reads a stream up to the end of the next event.
async fn event(stream: &mut Response) -> (String, Value) {
    let mut text = String::new();
    while !text.ends_with("\n\n") || text.starts_with(':') {
        let piece = stream.chunk().await.unwrap().expect("the stream goes on");
        text.push_str(std::str::from_utf8(&piece).unwrap());
        if text.starts_with(':') && text.ends_with('\n') {
            text.clear();
        }
    }
    let name = text.lines().find_map(|line| line.strip_prefix("event: ")).unwrap().to_owned();
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
    (name, serde_json::from_str(data).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_available_flags_are_evaluated_for_whoever_asks() {
    let ensign = Ensign::start().await;
    ensign.apply(SETUP).await;
    let id = client_id(&ensign).to_owned();
    let context = base64(&own().to_string());
    let ask = async |path: String, key: Option<&str>| {
        let request = ensign.request("GET", &path);
        let request = key.into_iter().fold(request, |request, key| request.header("Authorization", key));
        answer(request.send().await.unwrap()).await
    };
    let (status, told) = ask(format!("/sdk/evalx/{id}/contexts/{context}"), None).await;
    assert_eq!(status, 200);
    assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), ["gated", "model"]);
    let model = &told["model"];
    assert_eq!(
        (&model["value"], &model["variation"], &model["trackEvents"]),
        (&json!("new"), &json!(1), &json!(false))
    );
    assert!(model["reason"].is_null(), "{model}");
    assert!(model["version"].as_u64().unwrap() >= model["flagVersion"].as_u64().unwrap());
    // A prerequisite that browsers do not see counts and is not named.
    assert_eq!((&told["gated"]["value"], &told["gated"]["prerequisites"]), (&json!(1), &json!(["model"])));
    let (_, told) = ask(format!("/ld/sdk/evalx/{id}/users/{context}?withReasons=true"), None).await;
    assert_eq!(told["model"]["reason"], json!({"kind": "RULE_MATCH", "ruleIndex": 0, "ruleId": "team"}));
    let (status, told) = ask(format!("/msdk/evalx/contexts/{context}"), Some(mobile_key(&ensign))).await;
    assert_eq!((status, told.as_object().unwrap().len()), (200, 2));
    let (status, told) = ask(format!("/sdk/evalx/contexts/{context}"), Some(ensign.sdk_key())).await;
    assert_eq!((status, told.as_object().unwrap().len()), (200, 3));
    assert_eq!(ask(format!("/sdk/goals/{id}"), None).await, (200, json!([])));
    let nobody = base64(r#"{"kind":"user"}"#);
    for (path, key, expected) in [
        (format!("/sdk/evalx/nobody/contexts/{context}"), None, 404),
        (format!("/msdk/evalx/contexts/{context}"), None, 401),
        (format!("/sdk/evalx/contexts/{context}"), Some(mobile_key(&ensign)), 401),
        (format!("/sdk/evalx/{id}/contexts/{nobody}"), None, 400),
        (format!("/sdk/evalx/{id}/contexts/!!!"), None, 400),
        (format!("/eval/{id}/{nobody}"), None, 400),
        ("/sdk/goals/nobody".to_owned(), None, 404),
    ] {
        assert_eq!(ask(path.clone(), key).await.0, expected, "{path}");
    }
    let first = ensign.request("GET", &format!("/sdk/evalx/{id}/contexts/{context}")).send().await.unwrap();
    let tag = first.headers()["etag"].clone();
    let again =
        ensign.request("GET", &format!("/sdk/evalx/{id}/contexts/{context}")).header("If-None-Match", tag);
    assert_eq!(again.send().await.unwrap().status(), 304);
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_may_come_in_the_body_and_secure_mode_asks_for_its_hash() {
    let ensign = Ensign::start().await;
    ensign.apply(SETUP).await;
    let id = client_id(&ensign).to_owned();
    let report = async |path: &str, kind: &str, key: Option<&str>| {
        let request = ensign.request("REPORT", path).header("Content-Type", kind).body(own().to_string());
        let request = key.into_iter().fold(request, |request, key| request.header("Authorization", key));
        answer(request.send().await.unwrap()).await
    };
    let evalx = format!("/sdk/evalx/{id}/context");
    assert_eq!(report(&evalx, "application/json", None).await.1["model"]["value"], "new");
    assert_eq!(report("/msdk/evalx/context", "application/json", Some(mobile_key(&ensign))).await.0, 200);
    assert_eq!(report("/sdk/evalx/context", "application/json", Some(ensign.sdk_key())).await.0, 200);
    assert_eq!(report(&evalx, "text/plain", None).await.0, 415);
    assert_eq!(ensign.request("GET", &evalx).send().await.unwrap().status(), 405);
    let preflight = ensign.request("OPTIONS", &evalx).send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert!(preflight.headers()["access-control-allow-methods"].to_str().unwrap().contains("REPORT"));

    ensign.done("PUT", &format!("{PLACE}/settings"), json!({"secure_mode": true})).await;
    assert_eq!(ensign.done("GET", &format!("{PLACE}/settings"), Value::Null).await["secure_mode"], true);
    assert_eq!(report(&evalx, "application/json", None).await.0, 400);
    assert_eq!(report(&format!("{evalx}?h=00"), "application/json", None).await.0, 400);
    let hash = {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(ensign.sdk_key().as_bytes()).unwrap();
        mac.update(b"u1");
        HEXLOWER.encode(&mac.finalize().into_bytes())
    };
    assert_eq!(report(&format!("{evalx}?h={hash}"), "application/json", None).await.0, 200);
    // Mobile applications show a key instead.
    assert_eq!(report("/msdk/evalx/context", "application/json", Some(mobile_key(&ensign))).await.0, 200);
    ensign.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_tells_what_changes_for_its_context_and_nothing_else() {
    let ensign = Ensign::start().await;
    ensign.apply(SETUP).await;
    let id = client_id(&ensign).to_owned();
    let context = base64(&own().to_string());
    let mut stream = ensign.request("GET", &format!("/eval/{id}/{context}")).send().await.unwrap();
    assert!(stream.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let mut pings = ensign.request("GET", &format!("/ping/{id}")).send().await.unwrap();
    let mut mobile = ensign.request("REPORT", "/meval").header("Authorization", mobile_key(&ensign));
    mobile = mobile.header("Content-Type", "application/json").body(own().to_string());
    let mut mobile = mobile.send().await.unwrap();
    let (name, first) = event(&mut stream).await;
    assert_eq!((name.as_str(), &first["model"]["value"]), ("put", &json!("new")));
    assert_eq!(event(&mut mobile).await.0, "put");
    assert_eq!(event(&mut pings).await.0, "ping");
    let view = ensign.done("GET", &format!("{PLACE}/clients"), Value::Null).await;
    assert_eq!(view["clients"][0]["streams"], 2, "{view}");

    // A flag that the context does not see is nothing to it; the next thing it hears is the kill.
    ensign.apply(r#"{"flag": "hidden", "default": "other"}"#).await;
    ensign.done("POST", &format!("{PLACE}/flags/model/kill"), json!({})).await;
    for stream in [&mut stream, &mut mobile] {
        let mut seen = std::collections::BTreeMap::new();
        while !seen.contains_key("model") {
            let (name, told) = event(stream).await;
            assert_eq!(name, "patch");
            assert!(told["version"].as_u64() > first["model"]["version"].as_u64(), "{told}");
            seen.insert(told["key"].as_str().unwrap().to_owned(), told["value"].clone());
        }
        assert_eq!(seen["model"], "old");
        assert!(!seen.contains_key("hidden"), "{seen:?}");
    }
    assert_eq!(event(&mut pings).await.0, "ping");
    ensign.running.stop().await;
}
