//! What unmodified OpenFeature providers need on the wire.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{DOCUMENT, Ensign, PLACE, answer};
use serde_json::{Value, json};

const TYPES: &str = "\
flag: top_k\ndefault: 8\n---\nflag: temperature\ndefault: 1.0\n---\nflag: stream\ndefault: true\n---\n\
flag: format\ndefault: {style: markdown}\n";

const BULK: &str = "/ofrep/v1/evaluate/flags";

async fn ensign() -> Ensign {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    ensign.apply(TYPES).await;
    ensign
}

/// One request with the SDK key and this body; status, text.
async fn raw(ensign: &Ensign, path: &str, body: &str) -> (u16, String) {
    let request = ensign.request("POST", path).bearer_auth(ensign.sdk_key()).body(body.to_owned());
    let response = request.header("content-type", "application/json; charset=utf-8").send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().contains("json"));
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn numbers_keep_their_kind_and_every_answer_its_members() {
    let ensign = ensign().await;
    for (flag, value) in [
        ("top_k", "\"value\":8,"),
        ("temperature", "\"value\":1.0,"),
        ("stream", "\"value\":true,"),
        ("format", "\"value\":{\"style\":\"markdown\"},"),
    ] {
        let (status, text) = raw(&ensign, &format!("{BULK}/{flag}"), "{\"context\":{}}").await;
        assert_eq!(status, 200, "{text}");
        assert!(text.contains(value), "{text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        assert!(body["variant"].is_string() && body["key"] == flag, "{text}");
        assert_eq!(body["reason"], "STATIC");
        let metadata = body["metadata"].as_object().unwrap();
        assert_eq!(metadata["flagSetId"], "default/production");
        assert!(metadata["version"].is_number());
        assert!(metadata.values().all(|value| value.is_string() || value.is_number() || value.is_boolean()));
    }
    let (_, told) = ensign.ofrep("inference_model", json!({ "targetingKey": "u" })).await;
    assert!(told["metadata"]["token"].is_string());
    ensign.running.stop().await;
}

#[tokio::test]
async fn bodies_and_paths_that_providers_send_are_all_understood() {
    let ensign = ensign().await;
    for path in ["/ofrep/v1/evaluate/flags/top_k", "//ofrep/v1/evaluate/flags/top_k"] {
        for body in [
            "",
            "{}",
            "{\"context\":{}}",
            "{\"context\":null}",
            "{\"context\":{\"targetingKey\":\"u\"},\"x\":1}",
        ] {
            let (status, text) = raw(&ensign, path, body).await;
            assert_eq!(status, 200, "{path} {body}: {text}");
        }
    }
    for path in
        ["/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/", "/ofrep/v1/evaluate/flags?flagConfigEtag=x"]
    {
        let (status, text) = raw(&ensign, path, "{}").await;
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, body["flags"].as_array().map(Vec::len)), (200, Some(5)), "{path}: {text}");
        assert_eq!(body["metadata"]["flagSetId"], "default/production");
    }
    // A missing unit gets control, and is no error.
    let (status, told) = ensign.ofrep("inference_model", json!({})).await;
    assert_eq!((status, told["value"].as_str()), (200, Some("claude-3-haiku")));
    assert_eq!(told["reason"], "DEFAULT");
    let request = ensign.request("POST", &format!("{BULK}/top_k")).header("x-api-key", ensign.sdk_key());
    assert_eq!(request.send().await.unwrap().status(), 200);
    ensign.running.stop().await;
}

#[tokio::test]
async fn errors_have_what_providers_read_unconditionally() {
    let ensign = ensign().await;
    for (path, body, status, code) in [
        ("no_such_flag", "{}", 404, "FLAG_NOT_FOUND"),
        ("a/b?c", "{}", 404, "FLAG_NOT_FOUND"),
        ("top_k", "{", 400, "PARSE_ERROR"),
        ("top_k", "[]", 400, "PARSE_ERROR"),
        ("top_k", "{\"context\":7}", 400, "INVALID_CONTEXT"),
        ("top_k", "{\"context\":{\"targetingKey\":7}}", 400, "INVALID_CONTEXT"),
    ] {
        let (got, text) = raw(&ensign, &format!("{BULK}/{path}"), body).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((got, answer["errorCode"].as_str()), (status, Some(code)), "{path} {body}: {text}");
        assert!(answer["errorDetails"].is_string() && answer["key"].is_string(), "{text}");
    }
    let (status, text) =
        raw(&ensign, &format!("{BULK}/top_k"), &format!("{{\"x\":\"{}\"}}", "y".repeat(2 << 20))).await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("errorDetails"));

    let send = async |key: &str| {
        let request = ensign.request("POST", &format!("{BULK}/top_k")).bearer_auth(key);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("wrong").await, 401);
    // An administrator's key belongs to no environment, so it says nothing about which flags are meant.
    assert_eq!(send(&ensign.credentials.admin_token).await, 403);
    ensign.running.stop().await;
}

#[tokio::test]
async fn a_tag_spares_the_answer_only_for_the_same_flags_and_the_same_context() {
    let ensign = ensign().await;
    let send = async |context: Value, known: Option<&str>| {
        let mut request = ensign.request("POST", BULK).bearer_auth(ensign.sdk_key());
        if let Some(known) = known {
            request = request.header("if-none-match", known);
        }
        let response = request.json(&json!({ "context": context })).send().await.unwrap();
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
        assert_eq!(exposed, "ETag, Retry-After");
        (response.status().as_u16(), tag, response.bytes().await.unwrap().len())
    };
    let context = json!({ "targetingKey": "u", "plan": "free", "a": 1 });
    let (status, tag, _) = send(context.clone(), None).await;
    assert_eq!(status, 200);
    let reordered = json!({ "a": 1, "plan": "free", "targetingKey": "u" });
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        assert_eq!(send(reordered.clone(), Some(&known)).await, (304, tag.clone(), 0), "{known}");
    }
    let other = send(json!({ "targetingKey": "u", "plan": "pro", "a": 1 }), Some(&tag)).await;
    assert_eq!(other.0, 200);
    assert_ne!(other.1, tag);
    ensign.done("POST", &format!("{PLACE}/flags/top_k/kill"), json!({})).await;
    assert_eq!(send(context, Some(&tag)).await.0, 200);
    ensign.running.stop().await;
}

#[tokio::test]
async fn a_browser_may_ask_first_and_off_without_a_value_is_the_callers_default() {
    let ensign = ensign().await;
    let preflight =
        ensign.request("OPTIONS", BULK).header("origin", "https://app.example").send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    let allowed = preflight.headers()["access-control-allow-headers"].to_str().unwrap();
    for header in ["Authorization", "Content-Type", "If-None-Match", "X-API-Key"] {
        assert!(allowed.contains(header), "{allowed}");
    }
    ensign.done("POST", &format!("{PLACE}/flags/top_k/off"), json!({})).await;
    let (status, told) = ensign.ofrep("top_k", json!({})).await;
    assert_eq!((status, told["reason"].as_str()), (200, Some("DISABLED")), "{told}");
    assert!(told["variant"].is_string());
    if told.get("value").is_none() {
        assert_eq!(told["variant"], "");
    }
    let (status, _) = answer(ensign.request("GET", BULK).send().await.unwrap()).await;
    assert_eq!(status, 405);
    ensign.running.stop().await;
}
