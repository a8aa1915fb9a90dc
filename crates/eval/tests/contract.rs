//! The evaluation contract: the data files under `spec/eval/1.0.0`.

#![expect(clippy::unwrap_used, reason = "a test may fail where it is")]

use ensign_eval::bucket::{HASH_MAX, Prefix};
use ensign_eval::model::{
    Allocation, AllocationId, AttributeRef, Clause, Condition, Flag, HashKey, Interval, Op, Outcome, Rule,
    USER, Unit, Value, ValueKind, Variant,
};
use ensign_eval::{ContextBuf, Reason, Silent, compile, evaluate};
use serde_json::Value as Json;

fn rows(text: &str) -> Vec<Json> {
    serde_json::from_str(text).unwrap()
}

fn flag(rules: Vec<Rule>, fallthrough: Outcome) -> Flag {
    let variant = |name: &str| Variant { name: name.to_owned(), value: Value::String(name.to_owned()) };
    Flag {
        key: "inference_model".to_owned(),
        version: 1,
        kind: ValueKind::String,
        on: true,
        variants: vec![variant("no"), variant("yes")],
        off_variant: None,
        prerequisites: vec![],
        pins: vec![],
        targets: vec![],
        rules,
        fallthrough,
        salt: "a1b2c3".to_owned(),
        kill: None,
    }
}

#[test]
fn bucketing() {
    let cases = rows(include_str!("../../../spec/eval/1.0.0/bucketing.json"));
    assert_eq!(cases.len(), 12);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        assert_eq!(format!("{}.{}", text("prefix"), text("value")), text("hashed"));
        let bucket = Prefix::new(text("prefix")).bucket(text("value"));
        assert_eq!(format!("{:015x}", bucket.0), text("digits"), "{case}");
        assert_eq!(bucket.0.to_string(), text("integer"), "{case}");
        assert_eq!(format!("{:.10}", bucket.fraction()), text("fraction"), "{case}");
        assert_eq!(Json::from(bucket.position()), case["position"], "{case}");
        assert!(bucket.0 <= HASH_MAX);
        if let Ok(number) = text("value").parse() {
            assert_eq!(Prefix::new(text("prefix")).bucket_int(number), bucket, "{case}");
        }
    }
}

#[test]
fn rollout() {
    for case in rows(include_str!("../../../spec/eval/1.0.0/rollout.json")) {
        let intervals: Vec<Interval> = case["intervals"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| Interval {
                variant: i[0].as_u64().unwrap() as u16,
                weight: i[1].as_u64().unwrap() as u32,
                untracked: i[2].as_bool().unwrap(),
            })
            .collect();
        let allocation = Allocation {
            id: AllocationId(7),
            epoch: 3,
            unit: Unit::user(),
            hash: case["seed"].as_i64().map_or(HashKey::Flag, HashKey::Seed),
            experiment: case["experiment"].as_bool().unwrap(),
            control: intervals[0].variant,
            intervals,
        };
        let (ruleset, problems) = compile(&[flag(vec![], Outcome::Split(allocation.clone()))], &[]);
        assert_eq!(problems, []);
        for expected in case["expected"].as_array().unwrap() {
            let user = ContextBuf::user(expected[0].as_str().unwrap());
            let found = evaluate(&ruleset, "inference_model", &user, &mut Silent);
            assert_eq!(found.variant.map(Json::from), Some(expected[1].clone()), "{case} {expected}");
            let Reason::Fallthrough { in_experiment } = found.reason else { panic!("{:?}", found.reason) };
            assert_eq!(Json::from(in_experiment), expected[2], "{case} {expected}");
            assert_eq!(found.decision.allocation, Some(AllocationId(7)));
            assert_eq!(found.decision.epoch, 3);
            assert_eq!(found.decision.share, allocation.share(found.variant.unwrap()));
        }
    }
}

#[test]
fn operators() {
    for case in rows(include_str!("../../../spec/eval/1.0.0/operators.json")) {
        let expected = case[3].as_bool().unwrap();
        for negate in [false, true] {
            let clause = Clause {
                kind: USER.to_owned(),
                attribute: AttributeRef::name("x"),
                op: Op::from_name(case[0].as_str().unwrap()),
                values: vec![case[2].clone()],
                negate,
            };
            let rule = Rule {
                id: "r".to_owned(),
                conditions: vec![Condition::Clause(clause)],
                outcome: Outcome::Fixed(1),
            };
            let (ruleset, _) = compile(&[flag(vec![rule], Outcome::Fixed(0))], &[]);
            let user = ContextBuf::user("u").with("x", case[1].clone());
            let found = evaluate(&ruleset, "inference_model", &user, &mut Silent).variant == Some(1);
            let holds = if case[1].is_null() { false } else { expected != negate };
            assert_eq!(found, holds, "{case} negate {negate}");
        }
    }
}
