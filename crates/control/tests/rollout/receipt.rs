//! Receipts: recomputed as they are, refused when a byte of them is changed.

use ensign_control::evidence::BlockLog;
use ensign_control::evidence::report::Evidence;
use ensign_control::evidence::watch::Watch;
use ensign_control::ids::{Epoch, Span};
use ensign_control::receipt::{Receipt, verify_with};
use ensign_control::rollout::{Command, Facts, Who};

use crate::support::{START, document, healthy, rollout, with};

/// The receipt of a rollback: what its log replays to, and the text.
fn rolled_back() -> ((Watch, Evidence), String) {
    let state = rollout(&document());
    let facts = Facts { epoch: Some(Epoch(1)), ..Facts::default() };
    let start = Command::Start(Who { by: "anna".into(), reason: None });
    let state = state
        .decide(&start, START, None, &facts)
        .expect("the test is written so")
        .expect("the test is written so")
        .next;
    let now = START + Span::seconds(70);
    let evidence = with(healthy(&state.plan, now, 50), "harm");
    let step = state
        .decide(&Command::Tick, now, Some(&evidence), &facts)
        .expect("the test is written so")
        .expect("the test is written so");
    let log = BlockLog { bytes: vec![1, 2, 250], head: [7; 32] };
    let watch = state.plan.watch(state.id.clone());
    (
        (watch, evidence),
        Receipt::seal(&step.receipt.expect("the test is written so"), Some(&log), "1").to_json(),
    )
}

#[test]
fn a_receipt_is_recomputed() {
    let (replayed, text) = rolled_back();
    let verified = verify_with(&text, |log| {
        assert_eq!(log.bytes, [1, 2, 250]);
        Ok(replayed.clone())
    });
    assert_eq!(verified.expect("the test is written so").number, 1);
    assert!(verify_with(&(text + "\n"), |_| Ok(replayed.clone())).is_ok());
}

#[test]
fn every_changed_byte_is_found() {
    let (replayed, text) = rolled_back();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(verify_with(&changed, |_| Ok(replayed.clone())).is_err(), "byte {at}");
    }
    assert!(verify_with(&text.replacen(':', ": ", 1), |_| Ok(replayed.clone())).is_err());
}

#[test]
fn other_evidence_is_named_to_the_last_bit() {
    let ((watch, mut evidence), text) = rolled_back();
    let alike = watch.clone();
    evidence.log_e_total = f64::from_bits(evidence.log_e_total.to_bits() + 1);
    let mismatch =
        verify_with(&text, |_| Ok((alike.clone(), evidence.clone()))).expect_err("the test is written so");
    assert!(mismatch.to_string().starts_with("The evidence differs at /log_e_total: recorded"), "{mismatch}");
    let mismatch =
        verify_with(&text, |_| Err("the block log was changed".into())).expect_err("the test is written so");
    assert_eq!(mismatch.to_string(), "the block log was changed.");
}

#[test]
fn a_log_of_another_watch_is_refused() {
    let ((mut watch, evidence), text) = rolled_back();
    watch.alpha *= 2.0;
    let mismatch = verify_with(&text, |_| Ok((watch.clone(), evidence.clone())));
    let mismatch = mismatch.expect_err("the test is written so").to_string();
    assert!(mismatch.starts_with("The block log was taken with other guardrails"), "{mismatch}");
}
