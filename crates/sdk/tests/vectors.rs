//! The vectors of the stream's protocol, which an independent program computed from its page.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;

use ensign_control::ids::{FlagId, Place, Timestamp};
use ensign_control::token::{self, TokenKey, unit_hash};
use ensign_eval::model::Value as Served;
use ensign_eval::{ContextBuf, ErrorKind, Reason, Silent, bucket::Prefix, compile, evaluate};
use ensign_protocol::stream::{Frame, flag_from_json, segment_from_json};
use ensign_sdk::sync::{Do, End, Input, Settings, Sync};
use serde_json::Value;

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/stream").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn word(reason: &Reason<'_>) -> &'static str {
    match reason {
        Reason::Kill => "kill",
        Reason::Off => "off",
        Reason::PrerequisiteFailed { .. } => "prerequisite_failed",
        Reason::Pin { .. } => "pin",
        Reason::TargetMatch => "target_match",
        Reason::RuleMatch { .. } => "rule_match",
        Reason::Fallthrough { .. } => "fallthrough",
        Reason::Error(ErrorKind::FlagNotFound) => "flag_not_found",
        Reason::Error(ErrorKind::MalformedFlag) => "malformed",
    }
}

#[test]
fn every_case_comes_out_as_the_page_says() {
    let Frame::Put(put) = Frame::read("put", &read("ruleset.json").to_string()).unwrap() else {
        panic!("it is a put")
    };
    let flags: Vec<_> = put.flags.iter().map(|(key, json)| flag_from_json(key, json).unwrap()).collect();
    let segments: Vec<_> =
        put.segments.iter().map(|(key, json)| segment_from_json(key, json).unwrap()).collect();
    let (ruleset, _) = compile(&flags, &segments);
    let cases = read("cases.json");
    let mut seen = std::collections::BTreeSet::new();
    for case in cases.as_array().unwrap() {
        let context = ContextBuf::from_openfeature(&case["context"]).unwrap();
        let got = evaluate(&ruleset, case["flag"].as_str().unwrap(), &context, &mut Silent);
        assert_eq!(word(&got.reason), case["why"], "{case}");
        assert_eq!(got.variant.map(u64::from), case["variant"].as_u64(), "{case}");
        assert!(same(got.value, case.get("value")), "{:?} for {case}", got.value);
        let split = got.decision.allocation.map(|id| format!("{:016x}", id.0));
        assert_eq!(split.as_deref(), case["split"].as_str(), "{case}");
        if split.is_some() {
            assert_eq!(u64::from(got.decision.epoch), case["epoch"], "{case}");
            assert_eq!(u64::from(got.decision.share), case["share"], "{case}");
            assert_eq!(got.decision.compared, case["compared"], "{case}");
        }
        seen.insert((case["why"].as_str().unwrap().to_owned(), case["variant"].as_u64()));
    }
    assert!(seen.len() >= 14, "{seen:?}");
}

/// A float of a flag may be spelled without its fraction.
fn same(got: Option<&Served>, want: Option<&Value>) -> bool {
    match (got, want) {
        (Some(Served::Float(got)), Some(want)) => want.as_f64() == Some(*got),
        (Some(got), Some(want)) => got.to_json() == *want,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[test]
fn buckets_are_those_of_any_sha1() {
    for case in read("buckets.json").as_array().unwrap() {
        let (prefix, value) = case["text"].as_str().unwrap().rsplit_once('.').unwrap();
        assert_eq!(Prefix::new(prefix).bucket(value).0, case["bucket"].as_u64().unwrap(), "{case}");
    }
}

#[test]
fn frames_are_taken_ignored_or_ask_for_the_whole() {
    for sequence in read("frames.json").as_array().unwrap() {
        let mut sync = Sync::new(Settings::default(), None, Timestamp(0));
        let mut now = Timestamp(0);
        let mut connection = 0;
        for step in sequence["steps"].as_array().unwrap() {
            if step["connect"] == true {
                sync.step(now, Input::Ended { connection, end: End::Lost }, 0);
                now = Timestamp(now.0.max(sync.wake().0));
                let todo = sync.step(now, Input::Tick, 0);
                let [Do::Connect { connection: number, cursor }] = todo.as_slice() else {
                    panic!("it connects: {todo:?}")
                };
                connection = *number;
                assert_eq!(cursor.as_deref(), step["cursor"].as_str(), "{} {step}", sequence["name"]);
                continue;
            }
            let frame = Frame::read(step["event"].as_str().unwrap(), &step["data"].to_string()).ok();
            let todo = sync.step(now, Input::Frame { connection, frame: frame.as_ref() }, 0);
            let did = match todo.as_slice() {
                [] => "ignore",
                [Do::Take] => "take",
                [Do::Close { .. }] => "anew",
                other => panic!("{other:?}"),
            };
            assert_eq!(did, step["then"], "{} {step}", sequence["name"]);
            let held = sync.held().map(|held| held.cursor.as_str());
            assert_eq!(held, step["held"].as_str(), "{} {step}", sequence["name"]);
        }
    }
}

#[test]
fn tokens_are_read_as_what_they_were_made_from() {
    for case in read("tokens.json").as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let bytes = |name: &str| -> Vec<u8> {
            let hex = text(name);
            data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
        };
        let (project, environment) = text("place").split_once('/').unwrap();
        let place = Place { project: project.parse().unwrap(), environment: environment.parse().unwrap() };
        let key = TokenKey {
            id: u8::try_from(case["key"].as_u64().unwrap()).unwrap(),
            secret: bytes("secret").try_into().unwrap(),
        };
        let token = token::decode(text("token"), &[key]).unwrap();
        assert_eq!(token.time, Timestamp(case["time"].as_i64().unwrap() * 1_000));
        let served = token.served[0];
        assert_eq!(served.flag, FlagId::of(&place, &text("flag").parse().unwrap()));
        assert_eq!(u64::from(served.variant), case["variant"]);
        let unit_key = bytes("unit_key").try_into().unwrap();
        assert_eq!(served.unit, unit_hash(unit_key, &place, text("kind"), text("unit")));
        let split = served.split.map(|(id, epoch)| (format!("{:016x}", id.0), u64::from(epoch.0)));
        let want = case["split"].as_str().map(|id| (id.to_owned(), case["epoch"].as_u64().unwrap()));
        assert_eq!(split, want);
    }
}
