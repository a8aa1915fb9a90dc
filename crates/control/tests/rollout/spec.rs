//! What is written, and what it means.

use std::collections::BTreeMap;

use ensign_control::evidence::watch::{Margin, OnHarm};
use ensign_control::rollout::{Advance, Spec, parse_guardrail, parse_span, resolve};
use ensign_schema::{Schema, Unnamed};
use serde_json::{Value, json};

use crate::support::{flag, plan};

#[track_caller]
fn guardrail(text: &str, expected: &str) {
    let got = match parse_guardrail(text, "/guardrails/0") {
        Err(problem) => problem.sentence,
        Ok(guard) => {
            let margin = guard.margin.map_or("any".to_owned(), |margin| match margin.margin {
                Margin::Relative(by) => format!("relative {by}"),
                Margin::Absolute(by) => format!("absolute {by}"),
            });
            let weight = guard.weight.map_or(String::new(), |weight| format!(" weight {weight}"));
            let action = match guard.on_harm {
                None => "",
                Some(OnHarm::RollBack) => " rollback",
                Some(OnHarm::Hold) => " hold",
                Some(OnHarm::Alert) => " alert",
            };
            format!("{} {margin}{weight}{action}", guard.metric)
        }
    };
    assert!(got.contains(expected), "{text}: {got}");
}

#[test]
fn the_short_form() {
    guardrail("error_rate<=1.5x", "error_rate relative 0.5");
    guardrail(" latency_p95 <= 1.2x @ 0.25 ! hold", "latency_p95 relative 0.2");
    guardrail("latency_p95<=1.2×@0.25!hold", "latency_p95 relative 0.2 weight 0.25 hold");
    guardrail("latency_p95<=+5ms", "absolute 5");
    guardrail("latency<=+1.5s", "absolute 1500");
    guardrail("score>=-0.05!alert", "score absolute 0.05 alert");
    guardrail("score>=0.9x", "score relative 0.1");
    guardrail("cost", "cost any");
    guardrail("", "character 1: a guardrail begins with a metric");
    guardrail("error_rate<1.5x", "character 11: a limit is written <=");
    guardrail("error_rate<=0.05", "character 13: a limit is against control");
    guardrail("error_rate<=20%", "a percentage could mean two things");
    guardrail("error_rate<=0.5x", "at least 1");
    guardrail("score>=1.5x", "at most 1");
    guardrail("score>=+0.1", "the distance is negative");
    guardrail("error_rate<=1.5x@2", "character 18: a weight");
    guardrail("error_rate<=1.5x!explode", "character 18: what harm does");
    guardrail("error_rate<=1.5x please", "character 18: nothing more");
    assert_eq!(parse_span("1h30m").map(|span| span.as_seconds()), Some(5_400.0));
    assert_eq!(parse_span("500ms").map(|span| span.as_seconds()), Some(0.5));
    assert_eq!(parse_span("soon"), None);
}

#[test]
fn one_line_is_enough() {
    let plan = plan(&json!({"rollout": "inference_model", "to": "claude-sonnet-4-6"}));
    let shares: Vec<u32> = plan.stages.iter().map(|stage| stage.share).collect();
    assert_eq!(shares, [1_000, 5_000, 25_000, 50_000, 95_000]);
    let guards: Vec<String> =
        plan.guards.iter().map(|g| format!("{} {:.3}", g.text, g.guard.weight)).collect();
    assert_eq!(
        guards,
        [
            "error_rate<=1.5x 0.500",
            "latency_p95<=1.2x 0.167",
            "early_failure<=1.5x 0.167",
            "unreported<=1.5x 0.167"
        ]
    );
    let proofs: Vec<Advance> = plan.stages.iter().map(|stage| stage.advance).collect();
    assert_eq!(proofs.iter().filter(|advance| **advance == Advance::ProvenSafe).count(), 1);
    assert_eq!(plan.safe_margin(0, 3), Some(Margin::Relative(0.875)));
    assert_eq!(plan.safe_margin(1, 3), Some(Margin::Relative(0.5)));
    assert_eq!((plan.safe_margin(0, 0), plan.safe_margin(2, 3), plan.safe_margin(0, 4)), (None, None, None));
    assert!(
        plan.assumed
            .iter()
            .any(|words| words == "100 % means 95 % with a 5 % holdback for 1 d, then everyone.")
    );
}

#[track_caller]
fn problems(document: &Value, expected: &[&str]) {
    let found = Spec::from_document(document).and_then(|spec| resolve(&spec, &flag(), &BTreeMap::new()));
    let found: Vec<String> = found
        .expect_err("the test is written so")
        .iter()
        .map(|p| format!("{} {}", p.pointer, p.code))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn everything_wrong_is_said_at_once() {
    problems(&json!([]), &[" not_an_object"]);
    problems(
        &json!({"rollout": "a b", "stages": [1, 101, "x", {"percentage": 5, "aproval": true}], "guardrails": ["error_rate<1"],
            "advanse": "no_harm", "alpha": 2, "max_duration": "soon"}),
        &[
            "/advanse unknown_field",
            "/rollout bad_value",
            "/to bad_value",
            "/stages/1 bad_value",
            "/stages/2 bad_value",
            "/stages/3/aproval unknown_field",
            "/guardrails/0 bad_guardrail",
            "/max_duration bad_value",
            "/alpha bad_value",
        ],
    );
    let base = |key: &str, value: Value| {
        let mut document = json!({"rollout": "inference_model", "to": "claude-sonnet-4-6"});
        document[key] = value;
        document
    };
    problems(&base("to", json!("claude-3-haiku")), &["/to same_variant"]);
    problems(&base("to", json!("claude-sonet-4-6")), &["/to unknown_variant"]);
    problems(&base("rule", json!("nope")), &["/rule unknown_rule"]);
    problems(&base("stages", json!([1, 25])), &["/stages stages_end"]);
    problems(&base("stages", json!([5, 5, 100])), &["/stages/1 stages_order"]);
    problems(&base("stages", json!([5, 97, 100])), &["/stages/1 stage_above_holdback"]);
    problems(&base("guardrails", json!(["eror_rate<=1.5x"])), &["/guardrails/0 unknown_metric"]);
    problems(&base("guardrails", json!(["error_rate>=0.9x"])), &["/guardrails/0 guardrail_direction"]);
    problems(&base("guardrails", json!(["error_rate<=+0.01"])), &["/guardrails/0 guardrail_needs_factor"]);
    problems(&base("guardrails", json!(["error_rate@0.9", "cost@0.9"])), &["/guardrails weights"]);
}

#[test]
fn the_published_schema_agrees_with_the_reader() {
    let schema = include_str!("../../../../spec/documents/rollout.schema.json");
    let schema = Schema::new(&serde_json::from_str(schema).expect("it is JSON"), Unnamed::Latest);
    let schema = schema.expect("it is a schema");
    for case in [
        r#"{"rollout": "m", "to": "b"}"#,
        r#"{"rollout": "m", "to": 2, "stages": "1,5,100", "guardrails": ["error_rate<=1.5x@0.5!hold"], "soak": "1d"}"#,
        r#"{"rollout": "m", "to": "b", "stages": [1, {"percentage": 5, "approval": true, "advance": "proven_safe", "safe_margin": "2x"}]}"#,
        r#"{"rollout": "m", "to": "b", "guardrails": [{"metric": "s", "margin": {"absolute": 0.05}, "on_harm": "alert", "settle": "30s"}]}"#,
        r#"{"ensign": 1, "rollout": "m", "to": "b", "soak": {"holdback": 5, "duration": "7d"}, "salt": "new", "proof_window": "stage"}"#,
        r#"{"rollout": "m"}"#,
        r#"{"rollout": "m", "to": "b", "stages": [101]}"#,
        r#"{"rollout": "m", "to": "b", "stage": [1]}"#,
        r#"{"rollout": "m", "to": "b", "guardrails": [{"margin": "1.5x"}]}"#,
        r#"{"rollout": "m", "to": "b", "guardrails": [{"metric": "s", "weight": 2}]}"#,
        r#"{"rollout": "m", "to": "b", "min_duration": "soon"}"#,
        r#"{"rollout": "m", "to": "b", "soak": {"holdback": 60}}"#,
        r#"{"rollout": "m", "to": "b", "alpha": 0.9}"#,
        r#"{"rollout": "m", "to": "b", "on_missing": "advance"}"#,
    ] {
        let document = serde_json::from_str(case).expect("the case is JSON");
        let fits = schema.violations(&document, 1).is_empty();
        assert_eq!(fits, Spec::from_document(&document).is_ok(), "{case}");
    }
}
