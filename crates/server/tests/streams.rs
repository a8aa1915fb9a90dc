//! Ruleset streams, OFREP's change notification, and its rate limit, on the wire.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::time::Duration;

use common::{DOCUMENT, Ensign, Hands, PLACE, credentials};
use reqwest::Response;
use serde_json::{Value, json};

const BULK: &str = "/ofrep/v1/evaluate/flags";

/// The events of a stream, one by one: name and data.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned())
                };
                let Some(data) = field("data:") else { continue };
                return (field("event:").unwrap_or_default(), serde_json::from_str(&data).unwrap());
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await;
            let chunk = chunk.expect("an event comes").unwrap().expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

async fn follow(ensign: &Ensign, cursor: Option<&str>) -> Events {
    let mut request = ensign.request("GET", "/api/v1/stream").bearer_auth(ensign.sdk_key());
    if let Some(cursor) = cursor {
        request = request.header("last-event-id", cursor);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let mut events = Events { response, text: String::new() };
    let (name, hello) = events.next().await;
    assert_eq!((name.as_str(), &hello["place"]), ("hello", &json!("default/production")));
    assert_eq!(hello["attribution"]["secret"].as_str().map(str::len), Some(64));
    events
}

#[tokio::test]
async fn a_cursor_gets_the_steps_since_or_nothing_or_the_whole() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    let mut first = follow(&ensign, None).await;
    let (name, put) = first.next().await;
    assert_eq!((name.as_str(), put["flags"]["inference_model"]["on"].as_bool()), ("put", Some(true)));
    let cursor = put["cursor"].as_str().unwrap();
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/kill"), json!({})).await;
    let (name, patch) = first.next().await;
    assert_eq!((name.as_str(), patch["from"].as_str()), ("patch", Some(cursor)));
    assert!(
        patch["flags"]["inference_model"]["kill"].is_u64()
            && patch["revision"].as_u64() > put["revision"].as_u64()
    );
    // Behind by a step: only the step. Not behind: nothing. Unknown: the whole.
    assert_eq!(follow(&ensign, Some(cursor)).await.next().await, (name, patch.clone()));
    let mut current = follow(&ensign, patch["cursor"].as_str()).await;
    ensign.apply("flag: top_k\ndefault: 8\n").await;
    let (name, second) = current.next().await;
    assert_eq!((name.as_str(), &second["from"]), ("patch", &patch["cursor"]));
    assert_eq!(second["flags"].as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(follow(&ensign, Some("1-unknown")).await.next().await.0, "put");
    // What changes nothing that is evaluated is no step.
    ensign.apply("metric: helpful\nkind: rate\nbetter: higher\n").await;
    ensign.done("POST", &format!("{PLACE}/flags/top_k/retire"), json!({})).await;
    let (_, third) = current.next().await;
    assert_eq!((&third["from"], &third["flags"]["top_k"]), (&second["cursor"], &Value::Null));
    ensign.running.stop().await;
}

#[tokio::test]
async fn static_clients_are_nudged_by_a_url_that_opens_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let hands = Hands::at(1_900_000_000_000_000);
    let ensign = Ensign::on(data.path(), hands.clock()).await;
    ensign.apply(DOCUMENT).await;
    let bulk = async || {
        let request = ensign.request("POST", BULK).bearer_auth(ensign.sdk_key());
        let response = request.json(&json!({ "context": { "targetingKey": "u" } })).send().await.unwrap();
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        let body: Value = response.json().await.unwrap();
        let uri = body["eventStreams"][0]["endpoint"]["requestUri"].as_str().unwrap().to_owned();
        (uri, tag, body)
    };
    let (uri, tag, body) = bulk().await;
    assert_eq!(
        (&body["eventStreams"][0]["type"], &body["eventStreams"][0]["url"]),
        (&json!("sse"), &Value::Null)
    );
    assert!(body["eventStreams"][0]["inactivityDelaySec"].as_u64() >= Some(1));
    assert_eq!(bulk().await.0, uri, "the URL stays, or clients would reconnect at each answer");
    let open = async |uri: &str| ensign.request("GET", uri).send().await.unwrap();
    let response = open(&uri).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let mut events = Events { response, text: String::new() };
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/kill"), json!({})).await;
    let (_, nudge) = events.next().await;
    assert_eq!(nudge["type"], "refetchEvaluation");
    assert_ne!(bulk().await.1, tag);
    // The token is no key, and no other token is one.
    let token = uri.split_once("token=").unwrap().1;
    assert_eq!(ensign.request("POST", BULK).bearer_auth(token).send().await.unwrap().status(), 401);
    let mut forged = uri.clone();
    forged.pop();
    for bad in [forged.as_str(), "/ofrep/v1/events", "/ofrep/v1/events?token=a~b~c~1~d"] {
        assert_eq!(open(bad).await.status(), 401, "{bad}");
    }
    // A day later there is another URL with another tag, and the old one is good for that day.
    let before = bulk().await;
    hands.forward(24 * 3_600);
    let after = bulk().await;
    assert!(after.0 != before.0 && after.1 != before.1);
    assert_eq!(open(&uri).await.status(), 200);
    hands.forward(24 * 3_600);
    assert_eq!(open(&uri).await.status(), 401);
    ensign.running.stop().await;
}

#[tokio::test]
async fn a_rate_limit_answers_in_whole_seconds_and_a_selector_only_narrows() {
    let data = tempfile::tempdir().unwrap();
    let hands = Hands::at(1_900_000_000_000_000);
    let mut config = ensign_server::Config::new("127.0.0.1:0".parse().unwrap(), data.path());
    config.ofrep_rate = Some(5);
    let running = ensign_server::Server::start(config, hands.clock()).await.unwrap();
    let ensign =
        Ensign { running, credentials: credentials(data.path()), http: common::client(), folder: None };
    ensign.apply(DOCUMENT).await;
    for _ in 0..5 {
        assert_eq!(ensign.ofrep("inference_model", json!({})).await.0, 200);
    }
    let request = ensign.request("POST", BULK).bearer_auth(ensign.sdk_key());
    let response = request.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    hands.forward(1);
    for (selector, status) in [("flagSetId=default/production", 200), ("flagSetId=default/other", 400)] {
        let request = ensign.request("POST", BULK).bearer_auth(ensign.sdk_key());
        let response = request.header("flagd-selector", selector).send().await.unwrap();
        assert_eq!(response.status(), status, "{selector}");
    }
    ensign.running.stop().await;
}
