//! What flagd's evaluators get, and what they do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensign_eval::model::Flag;
use ensign_protocol::flagd::{NotExact, export};
use ensign_protocol::stream::{flag_from_json, segment_from_json};
use serde_json::{Value, json};

/// A flag of two texts with these members.
fn flag(members: &Value) -> Flag {
    let mut json = json!({
        "version": 7, "kind": "string", "on": true, "salt": "s",
        "variants": [{"name": "a", "value": "a"}, {"name": "b", "value": "b"}], "fallthrough": {"variant": 0},
    });
    for (name, value) in members.as_object().expect("an object") {
        json[name] = value.clone();
    }
    flag_from_json("f", &json).expect("a flag")
}

#[track_caller]
fn check(members: Value, expected: Result<Value, NotExact>) {
    let beta = json!({
        "version": 1, "salt": "s", "included": [{"kind": "user", "keys": ["u1"]}],
        "rules": [{"id": "r", "conditions": [
            {"kind": "user", "attribute": "plan", "op": "in", "values": ["pro"]}], "kind": "user", "by": "key"}],
    });
    let segments =
        BTreeMap::from([("beta".to_owned(), segment_from_json("beta", &beta).expect("a segment"))]);
    let flags = BTreeMap::from([("f".to_owned(), Arc::new(flag(&members)))]);
    let made = export("p/e", 9, &flags, &segments);
    let document: Value = serde_json::from_str(&made.document).expect("JSON");
    assert_eq!(document["metadata"]["flagSetId"], "p/e");
    match expected {
        Ok(members) => {
            let flag = &document["flags"]["f"];
            assert_eq!(made.left_out, [], "{flag}");
            for (name, value) in members.as_object().expect("an object") {
                assert_eq!(&flag[name], value, "{name}");
            }
            let known = ["state", "variants", "defaultVariant", "targeting", "metadata"];
            assert!(flag.as_object().expect("a flag").keys().all(|name| known.contains(&name.as_str())));
            assert!(flag["defaultVariant"].is_string());
        }
        Err(why) => {
            assert_eq!(made.left_out, [("f".to_owned(), why)]);
            assert_eq!((&document["flags"], &document["metadata"]["notExact"]), (&json!({}), &json!("f")));
        }
    }
}

#[test]
fn fixed_values_and_switches() {
    check(json!({}), Ok(json!({"state": "ENABLED", "defaultVariant": "a", "targeting": null})));
    check(json!({"on": false}), Ok(json!({"state": "DISABLED", "defaultVariant": ""})));
    check(json!({"on": false, "off": 1}), Ok(json!({"state": "ENABLED", "defaultVariant": "b"})));
    // A kill is exact, whatever lies beneath it.
    let needs = json!([{"flag": "other", "variant": 0}]);
    check(json!({"kill": 1, "prerequisites": needs}), Ok(json!({"defaultVariant": "b", "targeting": null})));
    check(json!({"prerequisites": needs}), Err(NotExact::Prerequisites));
}

#[test]
fn conditions_say_when_they_are_certainly_true() {
    let rule = |conditions: Value| json!({"rules": [{"id": "r", "conditions": conditions, "variant": 1}]});
    let clause = |op: &str, value: Value, negate: bool| json!({"kind": "user", "attribute": "plan", "op": op, "values": [value], "negate": negate});
    let present = json!({"!==": [{"var": ["plan", "$absent"]}, "$absent"]});
    let (var, pro) = (json!({"var": "plan"}), json!({"in": [{"var": "plan"}, ["pro"]]}));
    let targeting = |condition: Value| Ok(json!({"targeting": {"if": [condition, "b"]}}));
    check(rule(json!([clause("in", json!("pro"), false)])), targeting(json!({"and": [present, pro]})));
    // Negated, or under `not`: true if it is known to be another one.
    let other = json!({"and": [present, {"!": [pro]}]});
    check(rule(json!([clause("in", json!("pro"), true)])), targeting(other.clone()));
    check(rule(json!([{"not": clause("in", json!("pro"), false)}])), targeting(other));
    let starts = json!({"and": [present, {"===": [{"starts_with": [var, "p"]}, true]}]});
    check(rule(json!([clause("startsWith", json!("p"), false)])), targeting(starts));
    let member = json!({"or": [{"in": [{"var": "targetingKey"}, ["u1"]]},
        {"and": [{"!": [{"in": [{"var": "targetingKey"}, []]}]}, {"and": [present, pro]}]}]});
    check(rule(json!([{"segments": ["beta"]}])), targeting(member));
    for (op, why) in [("semVerEqual", NotExact::Operator), ("matches", NotExact::Operator)] {
        check(rule(json!([clause(op, json!("1"), false)])), Err(why));
    }
    let org = json!([{"kind": "org", "attribute": "plan", "op": "in", "values": ["pro"]}]);
    check(rule(org), Err(NotExact::ContextKind));
    let dotted = json!([{"kind": "user", "attribute": "a.b", "op": "in", "values": ["pro"]}]);
    check(rule(dotted), Err(NotExact::Attribute));
}

#[test]
fn percentages_are_left_out_unless_they_are_nobody_or_everybody() {
    let gate = |weight: u32| json!({"rules": [{"id": "r", "gate": {"id": "g", "salt": "x", "unit": "user", "weight": weight}, "variant": 1}]});
    check(gate(10_000), Err(NotExact::Percentage));
    check(gate(0), Ok(json!({"targeting": null})));
    let everybody = json!({"if": [{"and": [true, {"!!": [{"var": "targetingKey"}]}]}, "b"]});
    check(gate(100_000), Ok(json!({"targeting": everybody})));
    let split = |control: u32, new: u32| {
        json!({"fallthrough": {"split": {"id": "1", "epoch": 1, "unit": "user", "control": 0,
            "intervals": [{"variant": 0, "weight": control}, {"variant": 1, "weight": new}]}}})
    };
    check(split(50_000, 50_000), Err(NotExact::Percentage));
    check(split(100_000, 0), Ok(json!({"defaultVariant": "a"})));
    // What is left over goes to the last.
    check(split(99_000, 0), Err(NotExact::Percentage));
    check(split(0, 100_000), Err(NotExact::Percentage));
}

#[test]
fn pins_targets_and_odd_values() {
    let pinned = json!({"pins": [{"id": "p", "variant": 1, "unit": "user", "keys": ["u9"]}],
        "targets": [{"kind": "user", "keys": ["u8"], "variant": 1}]});
    let listed = |key: &str| json!({"in": [{"var": "targetingKey"}, [key]]});
    check(pinned, Ok(json!({"targeting": {"if": [listed("u9"), "b", listed("u8"), "b"]}})));
    check(json!({"pins": [{"id": "p", "variant": 1, "unit": "org", "keys": ["o"]}]}), Err(NotExact::Unit));
    let list = json!({"kind": "json", "variants": [{"name": "v1", "value": [1]}]});
    check(list, Err(NotExact::Values));
    let floats = json!({"kind": "float", "variants": [{"name": "low", "value": 1}]});
    check(floats, Ok(json!({"variants": {"low": 1.0}})));
    check(json!({"fallthrough": {"variant": 9}}), Err(NotExact::Broken));
}
