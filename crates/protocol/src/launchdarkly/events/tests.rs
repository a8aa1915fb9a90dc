//! Payloads as SDKs send them.

use serde_json::json;

use super::*;
use crate::launchdarkly::ai::{Piece, calls};
use ensign_control::ids::Span;

fn read(json: &Json) -> Payload {
    payload(json.to_string().as_bytes()).unwrap()
}

#[test]
fn every_kind_is_understood() {
    let user = json!({"kind": "user", "key": "u1", "segment": "beta"});
    let got = read(&json!([
        {"kind": "index", "creationDate": 1_795_250_682_909_i64, "context": user},
        {"kind": "feature", "creationDate": 1_795_250_682_909_i64, "key": "model", "value": {"long": "prompt"},
         "default": null, "variation": 1, "version": 7, "reason": {"kind": "FALLTHROUGH", "inExperiment": true},
         "context": user},
        {"kind": "feature", "key": "model", "value": "b", "variation": 1, "version": 7,
         "reason": {"kind": "RULE_MATCH", "ruleIndex": 0, "ruleId": "beta~2"}, "context": user},
        {"kind": "custom", "key": "latency_ms", "metricValue": 412.5, "data": {"route": "/chat"}, "context": user},
        {"kind": "summary", "startDate": 1, "endDate": 1_795_250_683_900_i64, "features": {
           "model": {"default": null, "contextKinds": ["user"], "counters": [
              {"value": "b", "variation": 1, "version": 7, "count": 3}]},
           "nope": {"default": 3, "counters": [{"value": 3, "count": 1, "unknown": true}]}}},
        {"kind": "click", "key": "buy", "url": "https://x", "contextKeys": {"user": "u1"}, "data": null},
        {"kind": "identify", "context": {"kind": "org", "key": "o"}},
        {"kind": "debug", "key": "model", "context": user},
        {"kind": "migration_op", "operation": "read", "context": user},
        {"kind": "newer-than-this-server"},
        {"kind": "custom", "metricValue": 1, "context": user},
        {"kind": "diagnostic", "id": {"diagnosticId": "d"}, "droppedEvents": 3,
         "streamInits": [{"timestamp": 1, "durationMillis": 2, "failed": true}]},
    ]));
    assert_eq!((got.events.len(), got.unknown, got.unreadable, got.diagnostics.len()), (9, 1, 1, 1));
    let What::Evaluated(first) = &got.events[1].what else { panic!("{got:?}") };
    assert_eq!((first.variation, first.version, &first.rule), (Some(1), Some(7), &Some(Rule::Fallthrough)));
    assert_eq!(got.events[1].at, Some(Timestamp(1_795_250_682_909_000)));
    let What::Evaluated(second) = &got.events[2].what else { panic!("{got:?}") };
    assert_eq!(second.rule, Some(Rule::Id("beta~2".into())));
    let What::Tracked(latency) = &got.events[3].what else { panic!("{got:?}") };
    assert_eq!((latency.key.as_str(), latency.value), ("latency_ms", Some(412.5)));
    let What::Summary(counts) = &got.events[4].what else { panic!("{got:?}") };
    assert_eq!((counts[0].count, counts[0].version, counts[1].version), (3, Some(7), None));
    let What::Tracked(goal) = &got.events[5].what else { panic!("{got:?}") };
    assert_eq!(goal.context, json!({"user": {"key": "u1"}, "kind": "multi"}));
    assert_eq!((got.diagnostics[0].dropped, got.diagnostics[0].failed_streams), (3, 1));
    assert_eq!(got.latest(), Some(Timestamp(1_795_250_683_900_000)));
}

#[test]
fn one_bad_event_is_one_bad_event_and_one_object_is_a_payload() {
    let text = r#"[{"kind":"custom","key":"a","metricValue":NaN,"context":{"kind":"user","key":"u"}},
        {"kind":"custom","key":"b","metricValue":1,"context":{"kind":"user","key":"u"}}]"#;
    let got = payload(text.as_bytes()).unwrap();
    assert_eq!((got.events.len(), got.unreadable), (1, 1));
    let got = read(&json!({"kind": "identify", "user": {"key": "old"}}));
    assert_eq!(got.events.len(), 1);
    for bad in ["", "12", "[{]", "{\"kind\":", "nonsense"] {
        assert_eq!(payload(bad.as_bytes()).unwrap_err(), Unreadable, "{bad}");
    }
}

#[test]
fn the_pieces_of_a_model_call_come_together() {
    let event = |key: &str, value: f64, at: i64, run: Option<&str>| {
        let mut data =
            json!({"configKey": "chat", "variationKey": "v3", "version": 3, "modelName": "sonnet"});
        if let Some(run) = run {
            data["runId"] = run.into();
        }
        json!({"kind": "custom", "key": key, "metricValue": value, "creationDate": at,
            "context": {"kind": "user", "key": "u1"}, "data": data})
    };
    let run = Some("r1");
    let got = read(&json!([
        event("$ld:ai:tokens:ttf", 80.0, 1_000, run),
        event("$ld:ai:duration:total", 412.0, 1_400, run),
        event("$ld:ai:generation:success", 1.0, 1_400, run),
        event("$ld:ai:tokens:input", 20.0, 1_400, run),
        event("$ld:ai:tokens:output", 30.0, 1_400, run),
        event("$ld:ai:generation:error", 1.0, 2_000, None),
        event("$ld:ai:generation:error", 1.0, 3_000, None),
        event("$ld:ai:feedback:user:negative", 1.0, 3_000, run),
        event("$ld:ai:judge:relevance", 0.75, 3_000, run),
        event("$ld:ai:usage:completion-config", 1.0, 3_000, run),
    ]));
    let mut scores = Vec::new();
    let mut pieces: Vec<(u32, Timestamp, &Json, Piece, &ai::Config)> = Vec::new();
    for event in &got.events {
        match &event.what {
            What::Told(context, Telling::Piece(piece, config)) => {
                pieces.push((event.index, event.at.unwrap(), context, *piece, config));
            }
            What::Told(_, Telling::Score { metric, value, .. }) => scores.push((metric.as_str(), *value)),
            _ => {}
        }
    }
    assert_eq!(scores, [("feedback", 0.0), ("judge_relevance", 0.75)]);
    let calls = calls(pieces);
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[0].start, Timestamp(920_000));
    assert_eq!((calls[0].duration, calls[0].success), (Some(Span::millis(412)), Some(true)));
    assert_eq!((calls[0].tokens_in, calls[0].tokens_out), (Some(20), Some(30)));
    assert_eq!((calls[1].success, calls[2].success, calls[2].index), (Some(false), Some(false), 6));
}
