//! The rollout's rules as scripts: what is seen at which time, and what must follow.

use crate::support::{START, document, healthy, rollout, with};
use ensign_control::ids::Epoch;
use ensign_control::rollout::{Command, Decision, Facts, Killed, Rollout, Step, Who, Window, parse_span};
use serde_json::{Value, json};

fn said(step: &Step) -> String {
    let share = f64::from(step.next.share()) / 1000.0;
    let word = match &step.decision {
        Decision::Started => "started".to_owned(),
        Decision::Queued => "queued".into(),
        Decision::Advanced { .. } => "advanced".into(),
        Decision::ApprovalAsked => "asks".into(),
        Decision::Approved => "approved".into(),
        Decision::Held { cause } => format!("held {cause}"),
        Decision::Resumed => "resumed".into(),
        Decision::Alerted => "alerted".into(),
        Decision::Completed => "completed".into(),
        Decision::RolledBack => "rolled back".into(),
        Decision::Aborted => "aborted".into(),
    };
    if step.split.is_some() { format!("{word} {share}%") } else { word }
}

/// One line: `TIME: COMMAND or what is seen -> what follows`. A tick sees `n` samples and the words after it; `closed`
/// and `killed` are facts; `blind` is a tick without evidence.
fn play(mut rollout: Rollout, script: &str) -> Rollout {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (left, expected) = line.split_once("->").expect("the test is written so");
        let (time, words) = left.split_once(':').expect("the test is written so");
        let now = START + parse_span(time).expect("the test is written so");
        let who = Who { by: "anna".into(), reason: None };
        let mut facts = Facts { epoch: Some(Epoch(1)), ..Facts::default() };
        let mut evidence = Some(healthy(&rollout.plan, now, 0));
        let mut command = Command::Tick;
        for word in words.split_whitespace() {
            match word {
                "start" => command = Command::Start(who.clone()),
                "approve" => command = Command::Approve(who.clone()),
                "hold" => command = Command::Hold(who.clone()),
                "resume" => command = Command::Resume(who.clone()),
                "abort" => command = Command::Abort(who.clone()),
                "kill" => command = Command::Killed(who.clone()),
                "closed" => facts.window = Window::Closed { until: None },
                "killed" => facts.killed = Some(Killed { by: "anna".into(), at: now, reason: None }),
                "blind" => evidence = None,
                n if n.parse::<u64>().is_ok() => {
                    evidence = Some(healthy(&rollout.plan, now, n.parse().expect("the test is written so")));
                }
                other => evidence = evidence.map(|seen| with(seen, other)),
            }
        }
        let outcome = rollout.decide(&command, now, evidence.as_ref(), &facts);
        assert_eq!(
            outcome,
            rollout.decide(&command, now, evidence.as_ref(), &facts),
            "deterministic: {line}"
        );
        let got = match &outcome {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(step)) => said(step),
            Err(refusal) => format!("refused {}", refusal.code()),
        };
        assert_eq!(got, expected.trim(), "in line: {line}");
        if let Ok(Some(step)) = outcome {
            assert_eq!(step.split.map(|split| split.new_share), step.split.map(|_| step.next.share()));
            assert_eq!(
                step.split.is_some(),
                step.next.share() != rollout.share(),
                "no side effect on the share: {line}"
            );
            assert_eq!(step.receipt.is_some(), step.next.decisions == rollout.decisions + 1);
            assert!(!step.sentence.is_empty() && !step.sentence.contains("  "), "{}", step.sentence);
            let json = serde_json::to_string(&step.next).expect("the test is written so");
            assert_eq!(
                serde_json::from_str::<Rollout>(&json).expect("the test is written so"),
                step.next,
                "stored and read back"
            );
            rollout = step.next;
        }
    }
    rollout
}

#[track_caller]
fn check(script: &str) -> Rollout {
    play(rollout(&document()), script)
}

#[track_caller]
fn check_with(changes: &Value, script: &str) -> Rollout {
    let mut document = document();
    for (key, value) in changes.as_object().expect("the test is written so") {
        document[key] = value.clone();
    }
    play(rollout(&document), script)
}

#[test]
fn a_good_rollout_reaches_everyone_and_needs_a_proof_for_the_last_step() {
    check(
        "0s: blind -> nothing
         0s: start -> started 1%
         1s: 500 -> nothing
         9m59s: 500 -> nothing
         10m: 99 -> nothing
         10m: 100 -> advanced 5%
         15m: 100 proof -> nothing
         20m: 100 -> advanced 50%
         40m: 9000 -> nothing
         41m: 9000 proof -> advanced 95%
         60m: 9000 proof -> nothing
         1h41m: 9000 -> completed 100%
         1h42m: 9000 harm -> nothing
         1h42m: hold -> refused rollout_over",
    );
}

#[test]
fn harm_rolls_back_from_everywhere_and_is_final() {
    check(
        "0s: start -> started 1%\n 5s: 50 harm -> rolled back 0%\n 20m: 500 -> nothing\n 20m: resume -> refused rollout_over",
    );
    check("0s: start -> started 1%\n 5s: closed 50 harm -> rolled back 0%");
    check("0s: start -> started 1%\n 5s: hold -> held person\n 9s: 50 harm -> rolled back 0%");
    check("0s: start -> started 1%\n 5s: 50 doubt -> held doubt\n 9s: 50 harm -> rolled back 0%");
    check("0s: start -> started 1%\n 5s: 50 harm stale -> nothing\n 6s: 50 harm old-epoch -> rolled back 0%");
    check("0s: start -> started 1%\n 5s: kill -> held killed\n 9s: killed 50 harm -> rolled back 0%");
}

#[test]
fn doubt_holds_and_ends_by_itself() {
    check(
        "0s: start -> started 1%
         60s: 50 doubt -> held doubt
         61s: resume -> refused hold_ends_by_itself
         62s: 50 doubt -> nothing
         65s: 50 -> nothing
         70s: 50 -> resumed
         10m: 100 doubt -> held doubt
         11m: blind -> nothing
         12m: 100 -> resumed
         12m: 100 -> advanced 5%",
    );
}

#[test]
fn missing_data_never_advances() {
    check(
        "0s: start -> started 1%
         5m: 400 silent-new -> nothing
         30m: 400 silent-new -> held missing_data
         31m: resume -> refused hold_ends_by_itself
         32m: 400 -> resumed
         33m: 400 silent-control -> held missing_data
         34m: 400 -> resumed
         34m: 400 quiet -> held missing_data
         35m: 400 -> resumed
         35m: blind -> nothing
         35m: 400 stale -> nothing
         35m: 400 old-epoch -> nothing
         35m: 400 cannot -> nothing
         35m: 0 -> nothing
         36m: 400 -> advanced 5%",
    );
    check_with(
        &json!({"on_missing": "roll_back"}),
        "0s: start -> started 1%\n 30m: 400 silent-new -> rolled back 0%",
    );
}

#[test]
fn data_that_cannot_be_trusted_holds_until_a_person_has_looked() {
    check(
        "0s: start -> started 1%
         11m: 400 mismatch -> held ratio_mismatch
         12m: 400 -> nothing
         13m: resume -> resumed
         13m: 400 mismatch -> advanced 5%
         14m: 400 untrusted -> held untrusted
         15m: resume -> resumed
         16m: 400 full -> held units_full
         17m: resume -> resumed
         18m: 400 full errors -> held data_errors
         19m: 400 full -> resumed
         20m: 400 crossed -> held data_errors",
    );
    check_with(
        &json!({"on_ratio_mismatch": "warn"}),
        "0s: start -> started 1%\n 11m: 400 mismatch -> advanced 5%",
    );
    check_with(
        &json!({"on_ratio_mismatch": "roll_back"}),
        "0s: start -> started 1%\n 1m: 4 mismatch -> rolled back 0%",
    );
}

#[test]
fn the_maximum_duration_asks_a_person_unless_the_plan_says_otherwise() {
    let to_50 = "0s: start -> started 1%\n 10m: 100 -> advanced 5%\n 20m: 100 -> advanced 50%\n";
    check(&format!(
        "{to_50} 5h19m: 900 -> nothing\n 5h20m: 900 -> held max_duration\n 6h: 900 proof -> nothing
         6h: resume -> resumed\n 7h: 900 -> nothing\n 11h: 900 -> held max_duration
         11h: approve -> approved\n 11h: 9 -> nothing\n 11h: 900 -> advanced 95%"
    ));
    check(&format!("{to_50} 6h: blind -> held max_duration"));
    let advance = json!({"on_max_duration": "advance"});
    check_with(&advance, &format!("{to_50} 6h: 9 -> held max_duration"));
    check_with(&advance, &format!("{to_50} 6h: blind -> held max_duration"));
    check_with(&advance, &format!("{to_50} 6h: closed 900 -> nothing\n 6h: 900 -> advanced 95%"));
    let back = json!({"on_max_duration": "roll_back"});
    check_with(&back, &format!("{to_50} 6h: 900 -> rolled back 0%"));
    check_with(&back, &format!("{to_50} 6h: blind -> held max_duration"));
}

#[test]
fn people_approve_hold_resume_and_abort() {
    check_with(
        &json!({"stages": [1, {"percentage": 20, "approval": true}, 100]}),
        "0s: approve -> refused rollout_not_started
         0s: resume -> refused rollout_not_held
         0s: start -> started 1%
         0s: start -> refused rollout_already_started
         1s: approve -> refused nothing_to_approve
         10m: 100 -> advanced 20%
         20m: 100 -> nothing
         20m: 100 proof -> asks
         21m: 100 proof -> nothing
         22m: 100 proof doubt -> held doubt
         23m: 100 proof -> resumed
         23m: 100 proof -> asks
         24m: approve -> approved
         24m: hold -> held person
         24m: hold -> refused rollout_already_held
         25m: 100 proof -> nothing
         26m: resume -> resumed
         26m: closed 100 proof -> nothing
         27m: 100 proof -> advanced 95%
         28m: abort -> aborted 0%
         29m: 100 -> nothing",
    );
}

#[test]
fn windows_and_kills_stop_advances_only() {
    check(
        "0s: closed start -> queued
         5m: closed blind -> nothing
         6m: blind -> started 1%
         20m: closed 100 -> nothing
         21m: 100 -> advanced 5%
         22m: killed 100 -> held killed
         23m: killed resume -> refused flag_killed
         24m: 100 -> nothing
         25m: resume -> resumed
         40m: 100 -> advanced 50%",
    );
    check("0s: killed start -> refused flag_killed\n 1s: abort -> aborted");
}

#[test]
fn guardrails_that_hold_or_alert_do_not_roll_back() {
    let hold = json!({"guardrails": ["error_rate<=1.5x@1!hold"]});
    check_with(
        &hold,
        "0s: start -> started 1%
         1m: 100 harmed-0 -> held harm
         2m: 100 -> nothing
         3m: resume -> resumed
         10m: 100 harmed-0 -> advanced 5%",
    );
    let mut alert = document();
    alert["guardrails"] = json!(["error_rate<=1.5x!alert", "cost"]);
    play(
        rollout(&alert),
        "0s: start -> started 1%\n 1m: 100 harmed-0 -> alerted\n 2m: 100 harmed-0 -> nothing",
    );
}

#[test]
fn no_holdback_completes_with_the_last_proof() {
    check_with(
        &json!({"stages": [5, 50, 100], "soak": {"holdback": 0}}),
        "0s: start -> started 5%\n 10m: 100 -> advanced 50%\n 20m: 100 -> nothing\n 20m: 100 proof -> completed 100%",
    );
}
