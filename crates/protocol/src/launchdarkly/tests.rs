//! The translation, against the published evaluator in `tests/launchdarkly.rs`; here: versions, order, what is left out.

use std::sync::Arc;

use ensign_eval::model::AttributeRef;
use ensign_eval::model::{
    Clause, Condition, Flag, Gate, Kill, Op, Outcome, Rule, Segment, Unit, Value, ValueKind, Variant,
};
use serde_json::json;

use super::{Availability, Change, Payload, Sources, flag};

fn a_flag(key: &str, version: u64) -> Flag {
    let variant = |name: &str| Variant { name: name.to_owned(), value: Value::String(name.to_owned()) };
    Flag {
        key: key.to_owned(),
        version,
        kind: ValueKind::String,
        on: true,
        variants: vec![variant("a"), variant("b")],
        off_variant: Some(0),
        prerequisites: vec![],
        pins: vec![],
        targets: vec![],
        rules: vec![],
        fallthrough: Outcome::Fixed(0),
        salt: "s".to_owned(),
        kill: None,
    }
}

fn a_segment(key: &str, version: u64) -> Segment {
    let (included, excluded, rules) = (vec![], vec![], vec![]);
    Segment { key: key.to_owned(), version, included, excluded, rules, salt: "t".to_owned() }
}

fn gated(key: &str, version: u64, rule: &str) -> Flag {
    let gate = Gate { id: format!("{key}.{rule}"), salt: "g".to_owned(), unit: Unit::user(), weight: 10_000 };
    let outcome = Outcome::Gate { gate, variant: 1 };
    let rules = vec![Rule { id: rule.to_owned(), conditions: vec![], outcome }];
    Flag { rules, ..a_flag(key, version) }
}

fn payload(before: &Payload, flags: &[Flag], segments: &[Segment], revision: u64, opt_ins: u64) -> Payload {
    let flags: Vec<Arc<Flag>> = flags.iter().cloned().map(Arc::new).collect();
    let segments: Vec<Arc<Segment>> = segments.iter().cloned().map(Arc::new).collect();
    before.next(&Sources {
        flags: flags.iter().map(|flag| (flag, Availability::default())).collect(),
        segments: segments.iter().map(|segment| (segment, [].as_slice())).collect(),
        revision,
        opt_ins,
    })
}

fn words(changes: &[Change]) -> Vec<String> {
    let word = |change: &Change| match change {
        Change::Put(item) => format!("put {} {}", item.key(), item.version()),
        Change::DeleteFlag { key, version } => format!("delete flag {key} {version}"),
        Change::DeleteSegment { key, version } => format!("delete segment {key} {version}"),
    };
    changes.iter().map(word).collect()
}

#[test]
fn segments_come_before_flags_and_versions_only_grow() {
    let empty = Payload::default();
    let one = payload(&empty, &[gated("f", 3, "r")], &[a_segment("z", 2)], 3, 0);
    assert_eq!(words(&one.changes(&empty)), ["put f.r 3", "put z 2", "put f 3"]);
    // The same content keeps its version, whatever else happened.
    let same = payload(&one, &[gated("f", 9, "r")], &[a_segment("z", 2)], 9, 5);
    assert_eq!(words(&same.changes(&one)), Vec::<String>::new());
    let gone = payload(&same, &[], &[], 10, 5);
    assert_eq!(
        words(&gone.changes(&same)),
        ["delete flag f 10", "delete segment f.r 10", "delete segment z 10"]
    );
    // Back again, from a source that knows no better, it is above its own grave.
    let back = payload(&gone, &[a_flag("f", 4)], &[a_segment("z", 2)], 11, 5);
    assert_eq!(words(&back.changes(&gone)), ["put z 11", "put f 11"]);
}

#[test]
fn a_kill_without_a_revision_still_rises() {
    let empty = Payload::default();
    let one = payload(&empty, &[a_flag("f", 3)], &[], 3, 0);
    let killed = Flag { kill: Some(Kill { variant: 1 }), on: false, ..a_flag("f", 3) };
    let two = payload(&one, &[killed], &[], 3, 0);
    assert_eq!(words(&two.changes(&one)), ["put f 4"]);
    let wire = two.flags.get("f").unwrap();
    assert!(wire.on && wire.rules.is_empty() && wire.prerequisites.is_empty());
}

#[test]
fn a_gate_whose_segment_is_taken_leaves_the_flag_out_and_says_so() {
    let made = payload(&Payload::default(), &[gated("f", 1, "r")], &[a_segment("f.r", 1)], 1, 0);
    assert!(made.flags.is_empty());
    assert!(
        made.notes.iter().any(|note| note.is_loss() && note.sentence.contains("f.r")),
        "{:?}",
        made.notes
    );
    let made = payload(&Payload::default(), &[gated("a.b", 1, "c"), gated("a", 1, "b.c")], &[], 1, 0);
    assert_eq!(made.flags.len(), 1);
}

#[test]
fn a_tree_that_is_too_wide_is_left_out() {
    let leaf = |name: &str| {
        Condition::Clause(Clause {
            kind: "user".to_owned(),
            attribute: AttributeRef::name(name),
            op: Op::In,
            values: vec![json!(1)],
            negate: false,
        })
    };
    let pair = || Condition::Any(vec![leaf("x"), leaf("y")]);
    let rule = |count: usize| Rule {
        id: "r".to_owned(),
        conditions: (0..count).map(|_| pair()).collect(),
        outcome: Outcome::Fixed(1),
    };
    let with = |count| flag(&Flag { rules: vec![rule(count)], ..a_flag("f", 1) }, 1, Availability::default());
    assert_eq!(with(6).flag.unwrap().rules.len(), 64);
    let wide = with(7);
    assert!(wide.flag.is_none() && wide.notes.first().is_some_and(|note| note.is_loss()));
}

#[test]
fn every_member_is_written() {
    let made = payload(&Payload::default(), &[a_flag("f", 1)], &[a_segment("z", 1)], 1, 0);
    let data: serde_json::Value = serde_json::from_str(&made.data()).unwrap();
    assert_eq!(
        data["flags"]["f"],
        json!({
            "key": "f", "version": 1, "on": true, "prerequisites": [], "targets": [], "contextTargets": [],
            "rules": [], "fallthrough": {"variation": 0}, "offVariation": 0, "variations": ["a", "b"], "salt": "s",
            "trackEvents": false, "trackEventsFallthrough": false, "debugEventsUntilDate": null,
            "clientSide": false,
            "clientSideAvailability": {"usingMobileKey": false, "usingEnvironmentId": false},
            "samplingRatio": 1, "excludeFromSummaries": false, "deleted": false,
        })
    );
    assert_eq!(
        data["segments"]["z"],
        json!({
            "key": "z", "version": 1, "included": [], "excluded": [], "includedContexts": [],
            "excludedContexts": [], "rules": [], "salt": "t", "unbounded": false, "deleted": false,
        })
    );
}

/// A flag of the other system with one of everything, and the document it becomes.
#[test]
fn an_import_keeps_every_part_of_the_hash() {
    let payload = json!({
        "flags": {"f": {
            "key": "f", "version": 42, "on": true, "prerequisites": [], "salt": "a1b2",
            "targets": [{"contextKind": "user", "variation": 2, "values": ["vip"]}],
            "contextTargets": [{"contextKind": "user", "variation": 2, "values": []},
                               {"contextKind": "org", "variation": 1, "values": ["acme"]}],
            "rules": [
                {"id": "r0", "clauses": [{"contextKind": "user", "attribute": "segment", "op": "in",
                    "values": ["beta"], "negate": false}], "variation": 1, "trackEvents": false},
                {"id": "r1", "clauses": [{"contextKind": "user", "attribute": "", "op": "segmentMatch",
                    "values": ["s", "nobody"], "negate": false}],
                 "rollout": {"kind": "experiment", "contextKind": "org", "seed": 61, "variations": [
                    {"variation": 1, "weight": 25000}, {"variation": 0, "weight": 25000},
                    {"variation": 1, "weight": 50000, "untracked": true}]}}],
            "fallthrough": {"rollout": {"kind": "rollout", "contextKind": "user", "bucketBy": "key",
                "variations": [{"variation": 0, "weight": 95000}, {"variation": 1, "weight": 4000}]}},
            "offVariation": null, "variations": ["a", "b", "c"],
            "clientSideAvailability": {"usingMobileKey": true, "usingEnvironmentId": false},
        }},
        "segments": {"s": {"key": "s", "version": 1, "salt": "t", "included": ["u"], "excluded": [],
            "rules": [{"id": "w", "clauses": [], "weight": 25000, "rolloutContextKind": "org"}]}},
    });
    let imported = super::import(&payload).unwrap();
    assert_eq!(
        imported.documents,
        [
            json!({"segment": "s", "includes": {"user": ["u"]}, "salt": "t", "rules": [
                {"id": "w", "condition": {"rollout_percentage": {"value": 25, "by": "org:key"}}},
                {"id": "w.absent", "condition": {"kind": {"not_in": ["org"]}}}]}),
            json!({"flag": "f", "type": "string", "variants": ["a", "b", "c"], "client_side": "mobile",
                "off_variant": null,
                "targets": [{"unit": "user", "keys": ["vip"], "variant": "c"},
                            {"unit": "org", "keys": ["acme"], "variant": "b"}],
                "default_variant": "a",
                "split": [{"variant": "a", "percentage": 95}, {"variant": "b", "percentage": 5}],
                "rules": [
                    {"id": "r0", "condition": {"user:/segment": {"in": ["beta"]}}, "variant": "b"},
                    {"id": "r1", "condition": {"segment": "s"},
                     "split": [{"variant": "b", "percentage": 25}, {"variant": "a", "percentage": 25},
                               {"variant": "b", "percentage": 50}],
                     "by": "org:key", "seed": 61, "control": "b"}],
                "salt": "a1b2"}),
        ]
    );
    let said: Vec<&str> = imported.remarks.iter().map(|remark| remark.what.as_str()).collect();
    assert!(
        matches!(said.as_slice(), [one, two] if one.contains("experiment") && two.contains("nobody")),
        "{said:?}"
    );
}

#[test]
fn an_import_leaves_out_what_would_decide_otherwise_and_what_needs_it() {
    let flag = |more: serde_json::Value| {
        let mut flag = json!({"on": true, "variations": [true, false], "fallthrough": {"variation": 0}});
        flag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        flag
    };
    let needs = |key: &str| json!({"prerequisites": [{"key": key, "variation": 0}]});
    let payload = json!({"flags": {
        "good": flag(json!({})),
        "lost": flag(json!({"fallthrough": {"variation": 7}})),
        "needs-lost": flag(needs("lost")),
        "round": flag(needs("trip")),
        "trip": flag(needs("round")),
        "gone": {"deleted": true, "version": 4},
        "needs-gone": flag(needs("gone")),
    }});
    let imported = super::import(&payload).unwrap();
    let keys: Vec<&str> = imported.documents.iter().filter_map(|d| d["flag"].as_str()).collect();
    assert_eq!(keys, ["good", "needs-gone"]);
    assert_eq!(imported.documents[1]["on"], false);
    assert_eq!(imported.remarks.iter().filter(|remark| remark.left_out).count(), 4);
}
