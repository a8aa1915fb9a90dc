//! Definitions survive the way over the wire.

use ensign_eval::model::*;
use ensign_protocol::stream::{flag_from_json, flag_to_json, segment_from_json, segment_to_json};
use proptest::prelude::*;
use serde_json::json;

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", Just(String::new()), Just("ü/~\"".to_owned())]
}

fn attribute() -> impl Strategy<Value = AttributeRef> {
    prop_oneof![
        "[a-z]{1,5}".prop_map(|name| AttributeRef::name(&name)),
        Just(AttributeRef::name("/odd/name")),
        Just(AttributeRef::name("")),
        prop_oneof![Just("/a/b"), Just("/a~1b/c"), Just("//"), Just("/x~7")].prop_map(AttributeRef::lenient),
    ]
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_filter("JSON has finite numbers", |x| x.is_finite()).prop_map(|value| json!(value)),
        name().prop_map(|value| json!(value)),
        Just(json!({"a": [1, 2.0, {"b": null}]})),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let op = prop_oneof![
        (0..Op::KNOWN.len()).prop_map(|at| Op::KNOWN[at].clone()),
        Just(Op::Unknown("later".to_owned()))
    ];
    let clause = (name(), attribute(), op, prop::collection::vec(json_value(), 0..3), any::<bool>())
        .prop_map(|(kind, attribute, op, values, negate)| {
            Condition::Clause(Clause { kind, attribute, op, values, negate })
        });
    let segment = (prop::collection::vec(name(), 0..3), any::<bool>())
        .prop_map(|(segments, negate)| Condition::Segment(SegmentMatch { segments, negate }));
    prop_oneof![clause, segment].prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::Any),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::All),
            inner.prop_map(|it| Condition::Not(Box::new(it))),
        ]
    })
}

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    prop::collection::vec(condition(), 0..3)
}

fn unit() -> impl Strategy<Value = Unit> {
    prop_oneof![
        name().prop_map(Unit::Named),
        (name(), attribute()).prop_map(|(kind, by)| Unit::Attribute { kind, by }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let hash = prop_oneof![Just(HashKey::Flag), any::<i64>().prop_map(HashKey::Seed)];
    let interval = (any::<u16>(), any::<u32>(), any::<bool>())
        .prop_map(|(variant, weight, untracked)| Interval { variant, weight, untracked });
    let split = (
        any::<u64>(),
        any::<u32>(),
        unit(),
        hash,
        any::<bool>(),
        prop::collection::vec(interval, 0..3),
        any::<u16>(),
    )
        .prop_map(|(id, epoch, unit, hash, experiment, intervals, control)| {
            Outcome::Split(Allocation {
                id: AllocationId(id),
                epoch,
                unit,
                hash,
                experiment,
                intervals,
                control,
            })
        });
    let gate =
        (name(), name(), unit(), any::<u32>(), any::<u16>()).prop_map(|(id, salt, unit, weight, variant)| {
            Outcome::Gate { gate: Gate { id, salt, unit, weight }, variant }
        });
    prop_oneof![any::<u16>().prop_map(Outcome::Fixed), split, gate]
}

fn variants() -> impl Strategy<Value = (ValueKind, Vec<Variant>)> {
    let of = |kind: ValueKind| {
        let value = match kind {
            ValueKind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            ValueKind::String => name().prop_map(Value::String).boxed(),
            ValueKind::Int => any::<i64>().prop_map(Value::Int).boxed(),
            ValueKind::Float => prop_oneof![Just(1.0), -1e9..1e9].prop_map(Value::Float).boxed(),
            ValueKind::Json => json_value().prop_map(Value::Json).boxed(),
        };
        let variant = (name(), value).prop_map(|(name, value)| Variant { name, value });
        prop::collection::vec(variant, 0..4).prop_map(move |variants| (kind, variants))
    };
    prop_oneof![
        of(ValueKind::Bool),
        of(ValueKind::String),
        of(ValueKind::Int),
        of(ValueKind::Float),
        of(ValueKind::Json)
    ]
}

fn flag() -> impl Strategy<Value = Flag> {
    let who = prop_oneof![
        (name(), prop::collection::vec(name(), 0..3)).prop_map(|(unit, keys)| PinnedTo::Keys { unit, keys }),
        conditions().prop_map(PinnedTo::Conditions),
    ];
    let pin = (name(), who, any::<u16>()).prop_map(|(id, who, variant)| Pin { id, who, variant });
    let target = (name(), prop::collection::vec(name(), 0..3), any::<u16>())
        .prop_map(|(kind, keys, variant)| Target { kind, keys, variant });
    let rule = (name(), conditions(), outcome()).prop_map(|(id, conditions, outcome)| Rule {
        id,
        conditions,
        outcome,
    });
    let needed = (name(), any::<u16>()).prop_map(|(flag, variant)| Prerequisite { flag, variant });
    let head = (any::<u64>(), any::<bool>(), variants(), prop::option::of(any::<u16>()), name());
    let lists = (
        prop::collection::vec(needed, 0..2),
        prop::collection::vec(pin, 0..2),
        prop::collection::vec(target, 0..2),
        prop::collection::vec(rule, 0..3),
        outcome(),
        prop::option::of(any::<u16>()),
    );
    (head, lists).prop_map(
        |(
            (version, on, (kind, variants), off_variant, salt),
            (prerequisites, pins, targets, rules, fallthrough, kill),
        )| {
            Flag {
                key: "f".to_owned(),
                version,
                kind,
                on,
                variants,
                off_variant,
                prerequisites,
                pins,
                targets,
                rules,
                fallthrough,
                salt,
                kill: kill.map(|variant| Kill { variant }),
            }
        },
    )
}

fn segment() -> impl Strategy<Value = Segment> {
    let list = || {
        let one =
            (name(), prop::collection::vec(name(), 0..3)).prop_map(|(kind, keys)| KeyList { kind, keys });
        prop::collection::vec(one, 0..2)
    };
    let rule = (name(), conditions(), prop::option::of(any::<u32>()), name(), attribute())
        .prop_map(|(id, conditions, weight, kind, by)| SegmentRule { id, conditions, weight, kind, by });
    (any::<u64>(), list(), list(), prop::collection::vec(rule, 0..3), name()).prop_map(
        |(version, included, excluded, rules, salt)| Segment {
            key: "s".to_owned(),
            version,
            included,
            excluded,
            rules,
            salt,
        },
    )
}

proptest! {
    #[test]
    fn a_flag_comes_back_as_it_was(flag in flag()) {
        let text = flag_to_json(&flag).to_string();
        let json = serde_json::from_str(&text).expect("what was written is JSON");
        prop_assert_eq!(flag_from_json("f", &json).expect("what was written is a flag"), flag);
    }

    #[test]
    fn a_segment_comes_back_as_it_was(segment in segment()) {
        let text = segment_to_json(&segment).to_string();
        let json = serde_json::from_str(&text).expect("what was written is JSON");
        prop_assert_eq!(segment_from_json("s", &json).expect("what was written is a segment"), segment);
    }
}

#[test]
fn what_is_not_understood_names_the_item() {
    for json in [
        json!({}),
        json!({"version": 1, "kind": "later", "on": true, "salt": "", "variants": [], "fallthrough": {"variant": 0}}),
        json!({"version": 1, "kind": "json", "on": true, "salt": "", "variants": [], "fallthrough": {"later": 0}}),
    ] {
        let bad = flag_from_json("f", &json).expect_err("it is no flag");
        assert_eq!(bad.key, "f");
        assert!(bad.why.starts_with("the flag cannot be read"), "{}", bad.why);
    }
}
