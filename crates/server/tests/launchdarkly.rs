//! LaunchDarkly's server-side paths as bytes: what an SDK reads, in which order, and with which status.
#![expect(clippy::unwrap_used, reason = "a test may fail where it is")]

mod common;

use common::{DOCUMENT, Ensign, PLACE};
use reqwest::Response;
use serde_json::{Value, json};

/// A stream, read event by event.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn open(ensign: &Ensign, path: &str) -> Self {
        let response =
            ensign.request("GET", path).header("authorization", ensign.sdk_key()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        assert!(!response.headers()["x-ld-envid"].is_empty());
        Self { response, text: String::new() }
    }

    /// The next event that is no comment; none at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let line =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let data = serde_json::from_str(&line("data: ").unwrap()).unwrap();
                return Some((line("event: ").unwrap(), data));
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

async fn get(ensign: &Ensign, path: &str, key: &str, tag: Option<&str>) -> (u16, String, Value) {
    let mut request = ensign.request("GET", path).header("authorization", key);
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    let response = request.send().await.unwrap();
    let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
    let (status, body) = common::answer(response).await;
    (status, tag, body)
}

#[tokio::test]
async fn a_stream_begins_with_everything_and_goes_on_with_what_changes() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    for prefix in ["", "/ld"] {
        let mut events = Events::open(&ensign, &format!("{prefix}/all")).await;
        let (name, put) = events.next().await.unwrap();
        assert_eq!((name.as_str(), &put["path"]), ("put", &json!("/")));
        let flag = &put["data"]["flags"]["inference_model"];
        assert_eq!(flag["variations"], json!(["claude-3-haiku", "claude-opus-4-6", "claude-sonnet-4-6"]));
        assert!(put["data"]["segments"]["inference_model.rollout_percentage"].is_object(), "{put}");
        ensign.done("POST", &format!("{PLACE}/flags/inference_model/kill"), json!({})).await;
        let (name, patch) = events.next().await.unwrap();
        // The gate's segment goes after the flag that does not ask it any more.
        assert_eq!((name.as_str(), &patch["path"]), ("patch", &json!("/flags/inference_model")));
        assert_eq!(patch["data"]["fallthrough"], json!({"variation": 0}));
        assert!(patch["data"]["version"].as_u64() > flag["version"].as_u64());
        let (name, gone) = events.next().await.unwrap();
        assert_eq!(name, "delete");
        assert_eq!(gone["path"], json!("/segments/inference_model.rollout_percentage"));
        ensign.done("POST", &format!("{PLACE}/flags/inference_model/restore"), json!({})).await;
        let (name, back) = events.next().await.unwrap();
        assert_eq!(
            (name.as_str(), back["path"].as_str().unwrap().split('/').nth(1)),
            ("patch", Some("segments"))
        );
        assert!(back["data"]["version"].as_u64() > gone["version"].as_u64());
        let (_, back) = events.next().await.unwrap();
        assert!(back["data"]["version"].as_u64() > patch["data"]["version"].as_u64());
    }
}

#[tokio::test]
async fn a_retired_flag_is_deleted_and_comes_back_above_its_grave() {
    let ensign = Ensign::start().await;
    ensign.apply(r#"{"flag": "f", "default": true}"#).await;
    let mut events = Events::open(&ensign, "/all").await;
    let first = events.next().await.unwrap().1["data"]["flags"]["f"]["version"].as_u64().unwrap();
    ensign.done("POST", &format!("{PLACE}/flags/f/retire"), json!({})).await;
    let (name, gone) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &gone["path"]), ("delete", &json!("/flags/f")));
    let second = gone["version"].as_u64().unwrap();
    ensign.done("POST", &format!("{PLACE}/flags/f/unretire"), json!({})).await;
    let third = events.next().await.unwrap().1["data"]["version"].as_u64().unwrap();
    assert!(first < second && second < third, "{first} {second} {third}");
}

#[tokio::test]
async fn opting_in_changes_a_segment() {
    let ensign = Ensign::start().await;
    ensign.apply(r#"{"segment": "beta"}"#).await;
    let mut events = Events::open(&ensign, "/all").await;
    let before = events.next().await.unwrap().1["data"]["segments"]["beta"]["version"].as_u64().unwrap();
    ensign.done("PUT", &format!("{PLACE}/segments/beta/members/user-1"), Value::Null).await;
    let (_, patch) = events.next().await.unwrap();
    assert_eq!(patch["data"]["included"], json!(["user-1"]));
    assert!(patch["data"]["version"].as_u64().unwrap() > before);
}

#[tokio::test]
async fn polls_have_tags_and_single_items() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    let key = ensign.sdk_key();
    let (status, tag, all) = get(&ensign, "/sdk/latest-all", key, None).await;
    assert_eq!(status, 200);
    assert!(all["flags"]["inference_model"].is_object() && all["segments"].is_object());
    assert_eq!(get(&ensign, "/sdk/latest-all", key, Some(&tag)).await.0, 304);
    let (status, _, flag) = get(&ensign, "/ld/sdk/flags/inference_model", key, None).await;
    assert_eq!((status, &flag), (200, &all["flags"]["inference_model"]));
    let (status, _, segment) =
        get(&ensign, "/sdk/segments/inference_model.rollout_percentage", key, None).await;
    assert_eq!((status, &segment["rules"][0]["weight"]), (200, &json!(10_000)));
    assert_eq!(get(&ensign, "/sdk/flags/none", key, None).await.0, 404);
    // Whatever was acknowledged is in the next poll.
    for on in [false, true] {
        let word = if on { "on" } else { "off" };
        ensign.done("POST", &format!("{PLACE}/flags/inference_model/{word}"), json!({})).await;
        let (status, next, all) = get(&ensign, "/sdk/latest-all", key, Some(&tag)).await;
        assert_eq!((status, &all["flags"]["inference_model"]["on"]), (200, &json!(on)));
        assert_ne!(next, tag);
    }
}

#[tokio::test]
async fn only_the_sdk_key_of_an_environment_opens_server_side_paths() {
    let ensign = Ensign::start().await;
    let environment = &ensign.credentials.projects["default"].environments["production"];
    for key in ["sdk-wrong", "", environment.mobile_key.as_str(), ensign.credentials.admin_token.as_str()] {
        for path in ["/all", "/sdk/latest-all", "/sdk/stream", "/sdk/poll", "/sdk/flags/f", "/ld/all"] {
            assert_eq!(get(&ensign, path, key, None).await.0, 401, "{path} with {key:?}");
        }
    }
}

#[tokio::test]
async fn the_newer_protocol_sends_transfers_and_takes_a_basis() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    let mut events = Events::open(&ensign, "/sdk/stream").await;
    let mut seen = Vec::new();
    let mut state = String::new();
    while state.is_empty() {
        let (name, data) = events.next().await.unwrap();
        state = data["state"].as_str().unwrap_or_default().to_owned();
        seen.push((name, data));
    }
    let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["server-intent", "put-object", "put-object", "payload-transferred"]);
    assert_eq!(seen[0].1["payloads"][0]["intentCode"], "xfer-full");
    assert_eq!((&seen[1].1["kind"], &seen[2].1["kind"]), (&json!("segment"), &json!("flag")));
    assert_eq!(seen[2].1["object"]["key"], "inference_model");

    let mut current = Events::open(&ensign, &format!("/sdk/stream?basis={state}")).await;
    assert_eq!(current.next().await.unwrap().1["payloads"][0]["intentCode"], "none");
    let (status, _, poll) = get(&ensign, &format!("/sdk/poll?basis={state}"), ensign.sdk_key(), None).await;
    assert_eq!((status, poll["events"].as_array().unwrap().len()), (200, 1));

    ensign.done("POST", &format!("{PLACE}/flags/inference_model/off"), json!({})).await;
    for stream in [&mut events, &mut current] {
        assert_eq!(stream.next().await.unwrap().0, "put-object");
        assert_eq!(stream.next().await.unwrap().0, "payload-transferred");
    }
    let mut behind = Events::open(&ensign, &format!("/sdk/stream?basis={state}")).await;
    assert_eq!(behind.next().await.unwrap().1["payloads"][0]["intentCode"], "xfer-changes");
    assert_eq!(behind.next().await.unwrap().1["object"]["on"], false);
    let (_, _, poll) = get(&ensign, "/sdk/poll?basis=(p:environment:0000)", ensign.sdk_key(), None).await;
    assert_eq!(poll["events"][0]["data"]["payloads"][0]["intentCode"], "xfer-full");
}

#[tokio::test]
async fn what_cannot_be_carried_is_said_where_it_is_saved() {
    let ensign = Ensign::start().await;
    let wide: Vec<Value> =
        (0..7).map(|n| json!({"any": [{format!("a{n}"): 1}, {format!("b{n}"): 1}]})).collect();
    let document =
        json!({"flag": "wide", "default": "a", "rules": [{"condition": {"all": wide}, "value": "b"}]});
    let answer = ensign.apply(&document.to_string()).await;
    let said = answer["sentences"].as_array().unwrap().iter().filter_map(Value::as_str);
    let said: Vec<&str> = said.filter(|sentence| sentence.contains("LaunchDarkly")).collect();
    assert!(matches!(said.as_slice(), [one] if one.contains("do not get flag wide")), "{answer}");
    let (_, _, all) = get(&ensign, "/sdk/latest-all", ensign.sdk_key(), None).await;
    assert!(all["flags"].as_object().unwrap().is_empty());
}

#[tokio::test]
async fn streams_end_when_the_server_stops_and_a_server_that_stops_answers_503() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut events = Events::open(&ensign, "/all").await;
        events.next().await.unwrap();
        streams.push(events);
    }
    let app = std::sync::Arc::clone(ensign.running.app());
    assert_eq!(app.fanout().open(), 20);
    ensign.running.stop().await;
    for events in &mut streams {
        assert!(events.next().await.is_none());
    }
    assert_eq!(app.fanout().open(), 0);
}
