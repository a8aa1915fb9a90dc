//! No evaluation allocates: counted, not claimed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ensign_eval::model::{
    Allocation, AllocationId, AttributeRef, Clause, Condition, Flag, Gate, HashKey, Interval, KeyList, Op,
    Outcome, Pin, PinnedTo, Prerequisite, Rule, Segment, SegmentMatch, SegmentRule, Target, USER, Unit,
    Value, ValueKind, Variant,
};
use ensign_eval::{Attr, Context, Indexed, Pairs, Ruleset, Silent, compile, evaluate};
use serde_json::{Value as Json, json};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "counting allocations needs an allocator; it only passes calls on")]
// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn clause(attribute: &str, op: Op, values: &[Json], negate: bool) -> Condition {
    let attribute = AttributeRef::lenient(attribute);
    Condition::Clause(Clause { kind: USER.to_owned(), attribute, op, values: values.to_vec(), negate })
}

fn flag(key: &str) -> Flag {
    let variant = |name: &str| Variant { name: name.to_owned(), value: Value::String(name.to_owned()) };
    Flag {
        key: key.to_owned(),
        version: 1,
        kind: ValueKind::String,
        on: true,
        variants: vec![variant("a"), variant("b")],
        off_variant: Some(0),
        prerequisites: vec![],
        pins: vec![],
        targets: vec![],
        rules: vec![],
        fallthrough: Outcome::Fixed(0),
        salt: "salt".to_owned(),
        kill: None,
    }
}

fn rule(conditions: Vec<Condition>, outcome: Outcome) -> Rule {
    Rule { id: "rule".to_owned(), conditions, outcome }
}

fn split(unit: Unit, experiment: bool) -> Outcome {
    Outcome::Split(Allocation {
        id: AllocationId(1),
        epoch: 1,
        unit,
        hash: HashKey::Flag,
        experiment,
        intervals: vec![Interval::tracked(0, 50_000), Interval::tracked(1, 50_000)],
        control: 0,
    })
}

fn rules() -> (Ruleset, Vec<&'static str>) {
    let segment = |key: &str, rules| Segment {
        key: key.to_owned(),
        version: 1,
        included: vec![KeyList { kind: USER.to_owned(), keys: vec!["someone".to_owned()] }],
        excluded: vec![],
        rules,
        salt: "s".to_owned(),
    };
    let in_segment =
        |key: &str| Condition::Segment(SegmentMatch { segments: vec![key.to_owned()], negate: false });
    let segment_rule = |conditions| SegmentRule {
        id: "r".to_owned(),
        conditions,
        weight: Some(50_000),
        kind: USER.to_owned(),
        by: AttributeRef::key(),
    };
    let plan = clause("plan", Op::In, &[json!("pro")], false);
    let segments = [
        segment("inner", vec![segment_rule(vec![plan.clone()])]),
        segment("outer", vec![segment_rule(vec![in_segment("inner")])]),
    ];
    let operators: Vec<Condition> = vec![
        clause("plan", Op::StartsWith, &[json!("p")], false),
        clause("n", Op::GreaterThan, &[json!(1)], false),
        clause("when", Op::After, &[json!("2020-01-01T00:00:00Z")], false),
        clause("version", Op::SemVerGreaterThan, &[json!("1.0.0-alpha.beta.gamma")], false),
        clause("plan", Op::Matches, &[json!("^p")], false),
        clause("plan", Op::In, &[json!(1), json!("free")], true),
        Condition::Not(Box::new(Condition::Any(vec![clause("plan", Op::In, &[json!("x")], false)]))),
    ];
    let gate = Gate { id: "g".to_owned(), salt: "s".to_owned(), unit: Unit::user(), weight: 1 };
    let pin = Pin {
        id: "pin".to_owned(),
        who: PinnedTo::Keys { unit: USER.to_owned(), keys: vec!["user-1".to_owned()] },
        variant: 1,
    };
    let target = Target { kind: USER.to_owned(), keys: vec!["user-1".to_owned()], variant: 1 };
    let needs = |flag: &str| Prerequisite { flag: flag.to_owned(), variant: 0 };
    let long = Flag { salt: "x".repeat(200), fallthrough: split(Unit::user(), false), ..flag("long hash") };
    let flags = [
        Flag { rules: vec![rule(vec![plan], Outcome::Fixed(1))], ..flag("early") },
        Flag { fallthrough: split(Unit::user(), true), ..flag("split") },
        long,
        Flag { fallthrough: split(Unit::Named("n".to_owned()), false), ..flag("number") },
        Flag { fallthrough: split(Unit::Named("nobody".to_owned()), false), ..flag("missing unit") },
        Flag {
            rules: vec![rule(vec![clause("nothing", Op::In, &[json!("x")], false)], Outcome::Fixed(1))],
            ..flag("none")
        },
        Flag { pins: vec![pin], ..flag("pin") },
        Flag { targets: vec![target], ..flag("target") },
        Flag { rules: vec![rule(vec![in_segment("outer")], Outcome::Fixed(1))], ..flag("segments") },
        Flag { rules: vec![rule(operators, Outcome::Fixed(1))], ..flag("operators") },
        Flag { rules: vec![rule(vec![], Outcome::Gate { gate, variant: 1 })], ..flag("gate") },
        Flag { prerequisites: vec![needs("none"), needs("gate")], ..flag("prerequisites") },
        Flag { prerequisites: vec![needs("circle")], ..flag("circle") },
        Flag { on: false, ..flag("off") },
    ];
    let keys = ["early", "split", "long hash", "number", "missing unit", "none", "pin", "target", "segments"];
    let more = ["operators", "gate", "prerequisites", "circle", "off", "unknown"];
    (compile(&flags, &segments).0, keys.into_iter().chain(more).collect())
}

fn check(ruleset: &Ruleset, key: &str, context: &impl Context) {
    // Once before: a regular expression prepares its memory for this thread at first use.
    let first = evaluate(ruleset, key, context, &mut Silent);
    let before = COUNT.with(Cell::get);
    let second = evaluate(ruleset, key, context, &mut Silent);
    let after = COUNT.with(Cell::get);
    assert_eq!(after - before, 0, "evaluating {key:?} allocates");
    assert_eq!(first, second);
}

#[test]
fn no_evaluation_allocates() {
    let (ruleset, keys) = rules();
    let facts = [
        ("plan", Attr::Str("pro")),
        ("n", Attr::Int(33)),
        ("when", Attr::Str("2026-01-02T03:04:05.678Z")),
        ("version", Attr::Str("2.0.0-a-long-pre-release.part")),
    ];
    let counted = COUNT.with(Cell::get);
    assert!(counted > 0, "the counter counts");
    let pairs = Pairs::new("user-1", &facts);
    let indexed = Indexed::new(ruleset.attribute_names(), "user-1", &facts);
    for key in keys {
        check(&ruleset, key, &pairs);
        check(&ruleset, key, &indexed);
    }
}
