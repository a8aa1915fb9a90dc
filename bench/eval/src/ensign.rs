//! The scenario in Ensign's definitions.

use ensign_eval::model::{
    Allocation, AllocationId, AttributeRef, Clause, Condition, Flag, HashKey, Interval, Op, Outcome, Rule,
    USER, Unit, Value, ValueKind, Variant,
};
use ensign_eval::{Attr, Ruleset, compile};

use crate::{Case, attributes, countries, keys, orgs, plans};

fn rule(id: &str, attribute: &str, values: Vec<String>, outcome: Outcome) -> Rule {
    let clause = Clause {
        kind: USER.to_owned(),
        attribute: AttributeRef::name(attribute),
        op: Op::In,
        values: values.into_iter().map(Into::into).collect(),
        negate: false,
    };
    Rule { id: id.to_owned(), conditions: vec![Condition::Clause(clause)], outcome }
}

fn flag(key: String) -> Flag {
    let variant = |name: &str| Variant { name: name.to_owned(), value: Value::String(name.to_owned()) };
    let split = Allocation {
        id: AllocationId(1),
        epoch: 0,
        unit: Unit::user(),
        hash: HashKey::Flag,
        experiment: false,
        intervals: vec![
            Interval::tracked(0, 50_000),
            Interval::tracked(1, 30_000),
            Interval::tracked(2, 20_000),
        ],
        control: 0,
    };
    Flag {
        key,
        version: 1,
        kind: ValueKind::String,
        on: true,
        variants: ["a", "b", "c", "off"].map(variant).to_vec(),
        off_variant: Some(3),
        prerequisites: vec![],
        pins: vec![],
        targets: vec![],
        rules: vec![
            rule("country", "country", countries(), Outcome::Fixed(0)),
            rule("org", "org", orgs(), Outcome::Fixed(1)),
            rule("plan", "plan", plans(), Outcome::Split(split)),
        ],
        fallthrough: Outcome::Fixed(3),
        salt: "a1b2c3d4e5f6".to_owned(),
        kill: None,
    }
}

pub fn ruleset(count: usize) -> Ruleset {
    let flags: Vec<Flag> = keys(count).into_iter().map(flag).collect();
    compile(&flags, &[]).0
}

pub fn pairs(case: Case) -> [(&'static str, Attr<'static>); 6] {
    attributes(case).map(|(name, value)| (name, Attr::Str(value)))
}
