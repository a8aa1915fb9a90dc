//! What is said, as it is read.

use ensign_control::evidence::Baseline;
use ensign_control::ids::{Epoch, Span, Timestamp};
use ensign_control::rollout::{
    Command, Facts, Notice, Phase, Step, Traffic, Who, file_edit, predict, render, render_prediction, view,
};
use serde_json::json;

use crate::support::{START, document, healthy, rollout, with};

fn started() -> (Step, Facts) {
    let facts = Facts { epoch: Some(Epoch(1)), ..Facts::default() };
    let start = Command::Start(Who { by: "anna".into(), reason: None });
    (
        rollout(&document())
            .decide(&start, START, None, &facts)
            .expect("the test is written so")
            .expect("the test is written so"),
        facts,
    )
}

fn tick(step: &Step, facts: &Facts, seconds: i64, n: u64, word: Option<&str>) -> (Step, Timestamp) {
    let now = START + Span::seconds(seconds);
    let seen = healthy(&step.next.plan, now, n);
    let seen = word.map_or(seen.clone(), |word| with(seen, word));
    (
        step.next
            .decide(&Command::Tick, now, Some(&seen), facts)
            .expect("the test is written so")
            .expect("the test is written so"),
        now,
    )
}

#[test]
fn a_rollback_says_what_why_and_since_when() {
    let (step, facts) = started();
    assert_eq!(
        step.sentence,
        "Started by anna: claude-sonnet-4-6 gets 1 % since 17:46:40, the rest stays on claude-3-haiku. Next is 5 %, \
         at the earliest at 17:56:40."
    );
    let (step, _) = tick(&step, &facts, 600, 400, None);
    assert_eq!(
        step.sentence,
        "Advanced from 1 % to 5 %: no harm seen, n = 400 requests on claude-sonnet-4-6. Next is 50 %, at the earliest \
         at 18:06:40."
    );
    let (step, _) = tick(&step, &facts, 700, 400, Some("harm"));
    assert_eq!(
        step.sentence,
        "Rolled back at 5 %: error rate 4.1 % against 1.0 %, certain it is more than the 1.5× you allow (weighted \
         evidence 134, needed 100), after 402 requests on claude-sonnet-4-6. Everyone is on claude-3-haiku since \
         17:58:20."
    );
    let payload = step.notices.first().map(Notice::payload).expect("the test is written so");
    assert_eq!(payload["kind"], "rollback");
    assert_eq!(payload["percent"], 0.0);
    assert_eq!(payload["at"], "2026-10-14T17:58:20Z");
}

#[test]
fn the_table_fits_80_columns_and_never_says_safe_without_proof() {
    let (step, facts) = started();
    let now = START + Span::seconds(30);
    let seen = healthy(&step.next.plan, now, 80);
    let text = render(&view(&step.next, Some(&seen), &facts, now));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains("safe"), "{text}");
    let expected = "\
inference_model.3: ramping, stage 1 of 4, 1 % on claude-sonnet-4-6
claude-sonnet-4-6 has 1 % for 30 s: no harm seen so far, n = 80. Next is 5 %; it
waits for 100 samples of error rate, 80 so far, and 1 more.

guardrail       allowed     new / control      95 % interval   evidence        n
error rate      ≤ 1.5×      1.1 % / 1.0 %      0.66× … 1.46×   0.7/100        80
    not yet: no harm seen, n = 80

Waits for:
  - 100 samples of error rate, 80 so far
  - the minimum duration, until 17:56:40

Data:
  - split as configured: 80 units on claude-sonnet-4-6, 1,520 on claude-3-haiku
";
    assert_eq!(text, expected);
}

#[test]
fn a_plan_says_how_long_each_verdict_takes() {
    let plan = rollout(&document()).plan;
    let known = Baseline { n: 100_000, mean: 0.01, sd: 0.1, quantiles: None, per_second: 20.0 };
    let traffic = Traffic { per_second: Some(20.0), baselines: vec![Some(known)] };
    let prediction = predict(&plan, &traffic);
    let at_5 = &prediction.stages[1].guards[0];
    let five_times = at_5
        .harm
        .iter()
        .find(|harm| harm.of == "5×")
        .expect("the test is written so")
        .samples
        .expect("the test is written so");
    assert!((100..400).contains(&five_times), "{five_times}");
    assert!(prediction.earliest.is_some() && prediction.stages[2].guards[0].proof.is_some());
    let text = render_prediction(&plan, &prediction);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let nothing = predict(&plan, &Traffic::default());
    assert_eq!((nothing.earliest, nothing.notes.len()), (None, 2));
}

#[test]
fn quantiles_are_predicted_from_their_baseline() {
    let document = json!({"rollout": "inference_model", "to": "claude-sonnet-4-6", "guardrails": ["latency_p95"],
        "template": false});
    let plan = rollout(&document).plan;
    let known =
        Baseline { n: 9, mean: 900.0, sd: 400.0, quantiles: Some([800.0, 2000.0, 3000.0]), per_second: 20.0 };
    let prediction = predict(&plan, &Traffic { per_second: Some(20.0), baselines: vec![Some(known)] });
    let harm = |stage: usize| prediction.stages[stage].guards[0].harm.clone();
    assert!(
        harm(1).windows(2).all(|pair| pair[0].samples.expect("the test is written so")
            > pair[1].samples.expect("the test is written so")),
        "{:?}",
        harm(1)
    );
    assert!(
        prediction.stages[3].guards[0]
            .proof
            .as_ref()
            .expect("the test is written so")
            .samples
            .expect("the test is written so")
            > 100
    );
}

#[test]
fn a_finished_rollout_prints_its_edit() {
    let mut done = rollout(&document());
    assert_eq!(file_edit(&done, &json!("a"), &json!("b")), None);
    done.phase = Phase::Completed { at: START };
    let edit = file_edit(&done, &json!("claude-3-haiku"), &json!("claude-sonnet-4-6"))
        .expect("the test is written so");
    assert!(
        edit.contains("-  \"default\": \"claude-3-haiku\"\n+  \"default\": \"claude-sonnet-4-6\""),
        "{edit}"
    );
}
