//! What decides, in which order, and with which reason.

#![expect(clippy::unwrap_used, reason = "a test may fail where it is")]

use ensign_eval::model::{
    Allocation, AllocationId, AttributeRef, Clause, Condition, Flag, Gate, HashKey, Interval, KeyList, Kill,
    Op, Outcome, Pin, PinnedTo, Prerequisite, Rule, Segment, SegmentMatch, Target, USER, Unit, Value,
    ValueKind, Variant,
};
use ensign_eval::{
    Changes, ContextBuf, ErrorKind, Item, Reason, Recorder, Ruleset, Silent, What, compile, evaluate,
};
use serde_json::{Value as Json, json};

fn flag(key: &str) -> Flag {
    let variant = |name: &str| Variant { name: name.to_owned(), value: Value::String(name.to_owned()) };
    Flag {
        key: key.to_owned(),
        version: 1,
        kind: ValueKind::String,
        on: true,
        variants: ["a", "b", "c", "d"].map(variant).to_vec(),
        off_variant: Some(3),
        prerequisites: vec![],
        pins: vec![],
        targets: vec![],
        rules: vec![],
        fallthrough: Outcome::Fixed(0),
        salt: "salt".to_owned(),
        kill: None,
    }
}

fn is(attribute: &str, value: impl Into<Json>) -> Condition {
    let (op, values) = (Op::In, vec![value.into()]);
    let clause = Clause {
        kind: USER.to_owned(),
        attribute: AttributeRef::lenient(attribute),
        op,
        values,
        negate: false,
    };
    Condition::Clause(clause)
}

fn not(inner: Condition) -> Condition {
    Condition::Not(Box::new(inner))
}

fn rule(conditions: Vec<Condition>, outcome: Outcome) -> Rule {
    Rule { id: "r".to_owned(), conditions, outcome }
}

fn pin(keys: &[&str], variant: u16) -> Pin {
    let keys = keys.iter().map(|k| (*k).to_owned()).collect();
    Pin { id: "pin".to_owned(), who: PinnedTo::Keys { unit: USER.to_owned(), keys }, variant }
}

fn gate(weight: u32) -> Outcome {
    let gate = Gate { id: "gate".to_owned(), salt: "s".to_owned(), unit: Unit::user(), weight };
    Outcome::Gate { gate, variant: 1 }
}

fn split(unit: &str, intervals: &[(u16, u32)]) -> Outcome {
    Outcome::Split(Allocation {
        id: AllocationId(9),
        epoch: 2,
        unit: Unit::Named(unit.to_owned()),
        hash: HashKey::Flag,
        experiment: false,
        intervals: intervals.iter().map(|(v, w)| Interval::tracked(*v, *w)).collect(),
        control: intervals.first().map_or(0, |(v, _)| *v),
    })
}

fn context(json: &Json) -> ContextBuf {
    ContextBuf::from_openfeature(json).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "so that the cases below read as data")]
fn said(ruleset: &Ruleset, key: &str, json: Json) -> String {
    let found = evaluate(ruleset, key, &context(&json), &mut Silent);
    let value = found.value.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let reason = match found.reason {
        Reason::Kill => "kill".to_owned(),
        Reason::Off => "off".to_owned(),
        Reason::PrerequisiteFailed { key } => format!("prerequisite {key}"),
        Reason::Pin { id } => format!("pin {id}"),
        Reason::TargetMatch => "target".to_owned(),
        Reason::RuleMatch { index, gate, .. } => {
            format!("rule {index}{}", gate.map(|g| format!(" by gate {g}")).unwrap_or_default())
        }
        Reason::Fallthrough { .. } => "default".to_owned(),
        Reason::Error(ErrorKind::FlagNotFound) => "not found".to_owned(),
        Reason::Error(ErrorKind::MalformedFlag) => "malformed".to_owned(),
    };
    let missing = if found.decision.unit_missing { ", unit missing" } else { "" };
    format!("{value} because {reason}{missing}")
}

fn one(flag: &Flag) -> &[Flag] {
    std::slice::from_ref(flag)
}

#[track_caller]
fn check(flags: &[Flag], json: Json, expected: &str) {
    let (ruleset, _) = compile(flags, &[]);
    assert_eq!(said(&ruleset, &flags[0].key, json), expected);
}

#[test]
fn what_is_above_decides_first() {
    let mut all = Flag {
        kill: Some(Kill { variant: 2 }),
        on: false,
        prerequisites: vec![Prerequisite { flag: "missing".to_owned(), variant: 0 }],
        pins: vec![pin(&["u"], 1)],
        targets: vec![Target { kind: USER.to_owned(), keys: vec!["u".to_owned()], variant: 2 }],
        rules: vec![rule(vec![], Outcome::Fixed(1))],
        ..flag("f")
    };
    let user = json!({"targetingKey": "u"});
    check(one(&all), user.clone(), "c because kill");
    all.kill = None;
    check(one(&all), user.clone(), "d because off");
    all.on = true;
    check(one(&all), user.clone(), "d because prerequisite missing");
    all.prerequisites.clear();
    check(one(&all), user.clone(), "b because pin pin");
    all.pins.clear();
    check(one(&all), user.clone(), "c because target");
    all.targets.clear();
    check(one(&all), user.clone(), "b because rule 0");
    all.rules.clear();
    check(&[all], user, "a because default");
}

#[test]
fn a_killed_prerequisite_counts_as_on() {
    let needs = Prerequisite { flag: "q".to_owned(), variant: 1 };
    let dependent = Flag { prerequisites: vec![needs], ..flag("f") };
    let off = Flag { on: false, off_variant: Some(1), ..flag("q") };
    let killed = Flag { kill: Some(Kill { variant: 1 }), ..off.clone() };
    check(&[dependent.clone(), killed], json!({}), "a because default");
    check(&[dependent, off], json!({}), "d because prerequisite q");
}

#[test]
fn a_gate_falls_through_and_a_split_does_not() {
    let gated = |weight| Flag { rules: vec![rule(vec![], gate(weight))], ..flag("f") };
    let user = json!({"targetingKey": "u"});
    check(&[gated(100_000)], user.clone(), "b because rule 0 by gate gate");
    check(&[gated(0)], user.clone(), "a because default");
    check(&[gated(100_000)], json!({}), "a because default");
    let last = Flag { fallthrough: gate(0), ..flag("f") };
    check(&[last], user, "nothing because malformed");
}

#[test]
fn a_missing_unit_gets_control_and_is_not_compared() {
    let by_request = Flag { fallthrough: split("request", &[(0, 0), (1, 100_000)]), ..flag("f") };
    check(one(&by_request), json!({"targetingKey": "u"}), "a because default, unit missing");
    check(one(&by_request), json!({"targetingKey": "u", "request": true}), "a because default, unit missing");
    check(one(&by_request), json!({"targetingKey": "u", "request": "r1"}), "b because default");
    check(one(&by_request), json!({"targetingKey": "u", "request": 17}), "b because default");
    let kinds = json!({"kind": "multi", "targetingKey": "u", "request": {"targetingKey": "r1"}});
    check(one(&by_request), kinds, "b because default");
    let (ruleset, _) = compile(&[by_request], &[]);
    let found = evaluate(&ruleset, "f", &context(&json!({"targetingKey": "u"})), &mut Silent);
    assert!(!found.decision.compared);
    assert_eq!((found.decision.allocation, found.decision.share), (Some(AllocationId(9)), 0));
}

#[test]
fn a_flat_attribute_and_a_kind_are_the_same_unit() {
    let by_request = Flag { fallthrough: split("request", &[(0, 50_000), (1, 50_000)]), ..flag("f") };
    let (ruleset, _) = compile(&[by_request], &[]);
    for i in 0..200 {
        let id = format!("r{i}");
        let flat = said(&ruleset, "f", json!({"targetingKey": "u", "request": id}));
        let nested = said(&ruleset, "f", json!({"kind": "request", "targetingKey": id}));
        assert_eq!(flat, nested);
    }
}

#[test]
fn missing_is_unknown_and_unknown_never_matches() {
    let decided =
        |condition: Condition| Flag { rules: vec![rule(vec![condition], Outcome::Fixed(1))], ..flag("f") };
    let yes = "b because rule 0";
    let no = "a because default";
    let known = || is("plan", "pro");
    let missing = || is("team", "x");
    for (condition, expected) in [
        (not(is("plan", "free")), yes),
        (not(missing()), no),
        (not(not(missing())), no),
        (Condition::Any(vec![missing(), known()]), yes),
        (Condition::Any(vec![missing(), not(known())]), no),
        (not(Condition::Any(vec![missing(), not(known())])), no),
        (not(Condition::Any(vec![missing(), known()])), no),
        (Condition::All(vec![known(), missing()]), no),
        (not(Condition::All(vec![known(), missing()])), no),
        (not(Condition::All(vec![missing(), not(known())])), yes),
        (Condition::All(vec![]), yes),
        (Condition::Any(vec![]), no),
        (Condition::Any(vec![is("", "x")]), "nothing because malformed"),
    ] {
        check(&[decided(condition)], json!({"targetingKey": "u", "plan": "pro"}), expected);
    }
}

#[test]
fn pins_hold_by_unit_or_by_conditions() {
    let who = PinnedTo::Keys { unit: "org".to_owned(), keys: vec!["acme".to_owned(), "7".to_owned()] };
    let by_org = Flag { pins: vec![Pin { id: "acme".to_owned(), who, variant: 2 }], ..flag("f") };
    check(one(&by_org), json!({"targetingKey": "u", "org": "acme"}), "c because pin acme");
    check(one(&by_org), json!({"targetingKey": "u", "org": 7}), "c because pin acme");
    check(one(&by_org), json!({"kind": "org", "targetingKey": "acme"}), "c because pin acme");
    check(&[by_org], json!({"targetingKey": "acme"}), "a because default");
    let who = PinnedTo::Conditions(vec![is("case", "claims")]);
    let by_condition = Flag { pins: vec![Pin { id: "claims".to_owned(), who, variant: 2 }], ..flag("f") };
    check(one(&by_condition), json!({"case": "claims"}), "c because pin claims");
    check(&[by_condition], json!({"case": "other"}), "a because default");
}

#[test]
fn circles_and_depths_are_malformed_and_reported() {
    let needs = |key: &str, other: String| Flag {
        prerequisites: vec![Prerequisite { flag: other, variant: 0 }],
        ..flag(key)
    };
    let circle = [needs("f", "g".to_owned()), needs("g", "f".to_owned())];
    check(&circle, json!({}), "nothing because malformed");
    let (_, problems) = compile(&circle, &[]);
    let found: Vec<_> = problems.iter().map(|p| (p.item.clone(), p.what.clone())).collect();
    let flag_item = |key: &str| Item::Flag(key.to_owned());
    assert_eq!(found, [(flag_item("f"), What::Cycle), (flag_item("g"), What::Cycle)]);

    let chain: Vec<Flag> = (0..5_000).map(|i| needs(&format!("f{i}"), format!("f{}", i + 1))).collect();
    check(&chain, json!({}), "nothing because malformed");
    let wide: Vec<Flag> = (0..40)
        .map(|i| {
            let next = || Prerequisite { flag: format!("f{}", i + 1), variant: 0 };
            let prerequisites = if i == 39 { vec![] } else { vec![next(), next()] };
            Flag { prerequisites, ..flag(&format!("f{i}")) }
        })
        .collect();
    check(&wide, json!({}), "nothing because malformed");
    let (_, problems) = compile(&wide, &[]);
    assert!(problems.iter().any(|p| p.what == What::TooDeep));
}

#[test]
fn one_bad_flag_is_one_bad_flag() {
    let bad = Flag { rules: vec![rule(vec![is("plan", "pro")], Outcome::Fixed(9))], ..flag("bad") };
    let clause = Clause {
        kind: USER.to_owned(),
        attribute: AttributeRef::name("plan"),
        op: Op::Matches,
        values: vec![json!("("), json!("^p")],
        negate: false,
    };
    let regex =
        Flag { rules: vec![rule(vec![Condition::Clause(clause)], Outcome::Fixed(1))], ..flag("regex") };
    let (ruleset, problems) = compile(&[bad, regex, flag("good")], &[]);
    let user = json!({"targetingKey": "u", "plan": "pro"});
    assert_eq!(said(&ruleset, "bad", user.clone()), "nothing because malformed");
    assert_eq!(said(&ruleset, "bad", json!({"plan": "free"})), "a because default");
    assert_eq!(said(&ruleset, "regex", user.clone()), "b because rule 0");
    assert_eq!(said(&ruleset, "good", user.clone()), "a because default");
    assert_eq!(said(&ruleset, "other", user), "nothing because not found");
    let places: Vec<_> = problems.iter().map(|p| (p.at.as_str(), p.what.code())).collect();
    assert_eq!(
        places,
        [("/rules/0/outcome", "no-such-variant"), ("/rules/0/conditions/0/values/0", "bad-regex")]
    );
    assert!(problems[0].to_string().starts_with("flag bad/rules/0/outcome: there is no variant 9; "));
}

fn segment(key: &str, users: &[&str]) -> Segment {
    let keys = users.iter().map(|u| (*u).to_owned()).collect();
    Segment {
        key: key.to_owned(),
        version: 1,
        included: vec![KeyList { kind: USER.to_owned(), keys }],
        excluded: vec![],
        rules: vec![],
        salt: String::new(),
    }
}

#[test]
fn a_change_replaces_only_what_changed() {
    let beta = Condition::Segment(SegmentMatch { segments: vec!["beta".to_owned()], negate: false });
    let first = Flag { rules: vec![rule(vec![beta], Outcome::Fixed(1))], ..flag("f") };
    let (ruleset, problems) = compile(&[first, flag("g")], &[]);
    assert_eq!(problems.len(), 1, "the segment is missing: {problems:?}");
    let user = json!({"targetingKey": "u"});
    let handle = ruleset.flag("f").unwrap();
    assert_eq!(said(&ruleset, "f", user.clone()), "a because default");

    let (with_segment, problems) =
        ruleset.with_changes(Changes { segments: &[segment("beta", &["u"])], ..Changes::default() });
    assert_eq!(problems, []);
    assert_eq!(said(&with_segment, "f", user.clone()), "b because rule 0");
    assert_eq!(with_segment.flag("f"), Some(handle), "handles stay");
    assert_eq!(said(&ruleset, "f", user.clone()), "a because default", "the old one is as it was");

    let (without, _) =
        with_segment.with_changes(Changes { removed_flags: &["f".to_owned()], ..Changes::default() });
    assert_eq!(said(&without, "f", user), "nothing because not found");
    assert_eq!(without.flags().map(|(key, _)| key).collect::<Vec<_>>(), ["g"]);
}

#[test]
fn answers_that_do_not_depend_on_the_context_are_known() {
    let on_static = Prerequisite { flag: "static".to_owned(), variant: 0 };
    let flags = [
        flag("static"),
        Flag { fallthrough: split(USER, &[(0, 100_000)]), ..flag("split") },
        Flag { on: false, fallthrough: split(USER, &[(0, 100_000)]), ..flag("off") },
        Flag { prerequisites: vec![on_static], ..flag("needs static") },
        Flag {
            prerequisites: vec![Prerequisite { flag: "split".to_owned(), variant: 0 }],
            ..flag("needs split")
        },
        Flag { rules: vec![rule(vec![is("plan", "pro")], Outcome::Fixed(1))], ..flag("rule") },
        Flag { kill: Some(Kill { variant: 0 }), rules: vec![rule(vec![], gate(5))], ..flag("killed") },
    ];
    let (ruleset, _) = compile(&flags, &[]);
    let depends: Vec<_> = flags
        .iter()
        .filter(|f| ruleset.depends_on_context(ruleset.flag(&f.key).unwrap()))
        .map(|f| &*f.key)
        .collect();
    assert_eq!(depends, ["split", "needs split", "rule"]);
}

#[test]
fn an_explanation_says_what_was_tried() {
    let rules =
        vec![rule(vec![is("user_segment", "internal")], Outcome::Fixed(2)), rule(vec![], gate(10_000))];
    let flags = [Flag { rules, pins: vec![pin(&["x"], 1)], ..flag("f") }];
    let (ruleset, _) = compile(&flags, &[]);
    let mut trace = Recorder::default();
    let context = context(&json!({"targetingKey": "user-1", "user_segment": "external"}));
    evaluate(&ruleset, "f", &context, &mut trace);
    assert_eq!(
        trace.sentences(&flags[0].variants),
        [
            "Pin pin does not hold this unit.",
            "user_segment in \"internal\": no, it is \"external\".",
            "Rule 1 (r) does not match.",
            "Gate gate does not let through the user \"user-1\": position 65552 of 100000 is not below 10000.",
            "Rule 2 (r) does not match.",
            "No rule decides; the default applies.",
        ]
    );
}
