//! The SDK against a real server.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{DOCUMENT, Ensign, PLACE, SECOND, eventually};
use ensign_sdk::{Client, Config, Contact, ContextBuf, Pairs, Reason, Record, Request, RequestStatus};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn config(ensign: &Ensign) -> Config {
    Config::new(ensign.url(), ensign.sdk_key())
}

/// A client, and a receiver of the revisions it came to.
fn following(config: Config) -> (Client, mpsc::Receiver<u64>) {
    let (told, changes) = mpsc::channel();
    let client = Client::start(config.on_change(move |change| {
        let _ = told.send(change.revision);
    }))
    .unwrap();
    (client, changes)
}

fn model(client: &Client, unit: &str, segment: &str) -> String {
    let attributes = [("user_segment", segment.into())];
    client.read().evaluate("inference_model", &Pairs::new(unit, &attributes)).str_or("none").to_owned()
}

#[test]
fn five_thousand_contexts_get_the_servers_answers() {
    let ensign = Ensign::start();
    ensign.apply(DOCUMENT);
    ensign.apply(SECOND);
    let client = Client::start(config(&ensign)).unwrap();
    assert!(client.wait_ready(SOON));
    eventually(|| client.snapshot().flags().count() == 6);
    let state = ensign.app().place(&common::place()).unwrap();
    let serving = state.serving();
    let mut different = std::collections::BTreeSet::new();
    for number in 0..5_000_u32 {
        let context = ContextBuf::from_openfeature(&common::context(number)).unwrap();
        let snapshot = client.snapshot();
        for (key, handle) in serving.ruleset.flags() {
            let theirs = serving.ruleset.evaluate(handle, &context, &mut ensign_eval::Silent);
            let ours = snapshot.peek(key, &context);
            assert_eq!(
                (ours.value(), ours.variant_index(), ours.reason(), ours.decision()),
                (theirs.value, theirs.variant, theirs.reason, theirs.decision),
                "{key} for context {number}"
            );
            different.insert((key.to_owned(), theirs.variant));
        }
    }
    assert!(different.len() >= 12, "the contexts reach every variant: {different:?}");
    assert_eq!(client.snapshot().problems(), &[] as &[String]);
    ensign.stop();
}

#[test]
fn changes_arrive_as_they_are_made() {
    let ensign = Ensign::start();
    ensign.apply(DOCUMENT);
    let (client, changes) = following(config(&ensign));
    let first = changes.recv_timeout(SOON).unwrap();
    let mut reader = client.reader();
    assert_eq!(model(&client, "u1", "internal"), "claude-opus-4-6");
    assert_ne!(reader.read().evaluate("inference_model", &Pairs::new("u1", &[])).reason(), Reason::Kill);
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/kill"), json!({}));
    assert!(changes.recv_timeout(SOON).unwrap() > first);
    assert_eq!(model(&client, "u1", "internal"), "claude-3-haiku");
    let context = Pairs::new("u1", &[]);
    assert_eq!(client.read().evaluate("inference_model", &context).reason(), Reason::Kill);
    assert_eq!(reader.read().evaluate("inference_model", &context).reason(), Reason::Kill);
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/restore"), json!({}));
    changes.recv_timeout(SOON).unwrap();
    assert_eq!(model(&client, "u1", "internal"), "claude-opus-4-6");
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/retire"), json!({}));
    changes.recv_timeout(SOON).unwrap();
    assert_eq!(model(&client, "u1", "internal"), "none");
    assert_eq!(client.contact(), Contact::Current);
    ensign.stop();
}

#[test]
fn a_stopped_server_costs_nothing_and_what_was_noted_is_counted_once() {
    let mut ensign = Ensign::start();
    ensign.apply(DOCUMENT);
    ensign.apply(SECOND);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&ensign).folder(folder.path());
    settings.queue = 400;
    settings.batch = 50;
    settings.flush = Duration::from_millis(1);
    let (client, changes) = following(settings);
    changes.recv_timeout(SOON).unwrap();
    eventually(|| client.is_kept());
    let before: Vec<String> = (0..200).map(|unit| model(&client, &format!("u{unit}"), "x")).collect();
    ensign.pause();
    eventually(|| client.contact() != Contact::Current);
    let records = |unit: &str| -> Vec<Record> {
        let context = Pairs::new(unit, &[]);
        client.read().evaluate("ranker", &context).record(&context).into_iter().collect()
    };
    // No error, no wrong value, and requests kept up to the bound.
    let mut kept = 0;
    for unit in 0..2_000 {
        let name = format!("u{unit}");
        if let Some(known) = before.get(unit) {
            assert_eq!(model(&client, &name, "x"), *known);
        }
        let request = Request::new(RequestStatus::Ok, Duration::from_millis(5));
        kept += u64::from(client.request(records(&name), request));
    }
    let counts = client.counts();
    // The queue, and one batch on its way.
    assert!((400..=450).contains(&counts.noted) && counts.dropped > 0, "{kept} kept, {counts:?}");
    // A cold start with the server down serves the copy.
    let cold = Client::start(config(&ensign).folder(folder.path())).unwrap();
    assert!(cold.wait_ready(Duration::ZERO));
    let again: Vec<String> = (0..200).map(|unit| model(&cold, &format!("u{unit}"), "x")).collect();
    assert_eq!(again, before);
    assert!(!Client::start(config(&ensign)).unwrap().wait_ready(Duration::ZERO));
    ensign.resume();
    assert!(client.flush_blocking(Duration::from_secs(60)));
    eventually(|| client.contact() == Contact::Current && cold.contact() == Contact::Current);
    let counts = client.counts();
    assert_eq!((counts.acknowledged + counts.refused, counts.refused), (counts.noted, 0), "{counts:?}");
    // A record holds a batch.
    let requests: usize =
        ensign.export().iter().map(|record| record.to_string().matches("\"duration\"").count()).sum();
    assert_eq!(requests as u64, kept, "every request that was kept is counted once");
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/kill"), json!({}));
    eventually(|| model(&client, "u1", "internal") == "claude-3-haiku");
    eventually(|| model(&cold, "u1", "internal") == "claude-3-haiku");
    ensign.stop();
}

#[test]
fn tokens_and_records_are_taken_by_the_server() {
    let ensign = Ensign::start();
    ensign.apply(SECOND);
    ensign.apply("metric: helpful\nkind: rate\nbetter: higher\n");
    let (client, changes) = following(config(&ensign));
    changes.recv_timeout(SOON).unwrap();
    let context = Pairs::new("u7", &[]);
    let record = client.read().evaluate("ranker", &context).record(&context).unwrap();
    eventually(|| client.token(&record, None).is_some());
    let token = client.token(&record, None).unwrap();
    let event = json!([{"type": "outcome", "id": "o1", "token": token, "metric": "helpful", "value": true}]);
    let (status, answer) = ensign.ask_as(ensign.sdk_key(), "POST", "/api/v1/events", event);
    assert_eq!((status, answer["accepted"].as_u64()), (200, Some(1)), "{answer}");
    assert!(client.outcome_is(vec![record.clone()], "helpful", true));
    assert!(client.outcome_by_token(&token, "helpful", 0.0));
    assert!(client.outcome(vec![record], "no_such_metric", 1.0));
    assert!(client.flush_blocking(SOON));
    let counts = client.counts();
    // The exposure of the evaluation, two outcomes, and one that is refused.
    assert_eq!((counts.noted, counts.acknowledged, counts.refused), (4, 3, 1), "{counts:?}");
    assert!(client.close(SOON));
    ensign.stop();
}

#[test]
fn keys_that_may_not_read_rules_are_refused() {
    let ensign = Ensign::start();
    let mobile = ensign.credentials.projects["default"].environments["production"].mobile_key.clone();
    for (key, status) in [("wrong", 401), (mobile.as_str(), 403), (&ensign.credentials.admin_token, 403)] {
        let (got, answer) = ensign.ask_as(key, "GET", "/api/v1/stream", Value::Null);
        assert_eq!(got, status, "{answer}");
    }
    assert!(Client::start(Config::new(ensign.url(), mobile)).is_err());
    let client = Client::start(Config::new(ensign.url(), "wrong")).unwrap();
    eventually(|| client.contact() == Contact::Refused { status: 401 });
    assert_eq!(model(&client, "u1", "internal"), "none");
    ensign.stop();
}
