//! Evaluates one case a number of times, to be counted by callgrind: `callgrind CASE N` with CASE one of `early`,
//! `split`, `none`.
//!
//! Instructions per evaluation are the difference between two runs, divided by the difference of N, so that
//! start-up does not count:
//!
//! ```text
//! cargo build --release -p ensign-eval --example callgrind
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/callgrind split 10000
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/callgrind split 20000
//! ```
//!
//! The expected numbers are in `callgrind.toml`.

use std::hint::black_box;
use std::process::ExitCode;

use ensign_eval::model::{
    Allocation, AllocationId, AttributeRef, Clause, Condition, Flag, HashKey, Interval, Op, Outcome, Rule,
    USER, Unit, Value, ValueKind, Variant,
};
use ensign_eval::{Attr, Pairs, Ruleset, Silent, compile, evaluate};

fn rule(attribute: &str, values: &[String], outcome: Outcome) -> Rule {
    let clause = Clause {
        kind: USER.to_owned(),
        attribute: AttributeRef::name(attribute),
        op: Op::In,
        values: values.iter().map(|v| v.as_str().into()).collect(),
        negate: false,
    };
    Rule { id: attribute.to_owned(), conditions: vec![Condition::Clause(clause)], outcome }
}

/// One string flag: country in 8 values, org in 20, plan in 2 and then 50/30/20 by user key.
fn ruleset() -> Ruleset {
    let variant = |name: &str| Variant { name: name.to_owned(), value: Value::String(name.to_owned()) };
    let countries = ["DK", "NO", "SE", "FI", "IS", "DE", "NL", "BE"].map(str::to_owned);
    let orgs: Vec<String> = (0..20).map(|i| format!("org-{:04}", i * 37)).collect();
    let plans = ["pro", "enterprise"].map(str::to_owned);
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
    let flag = Flag {
        key: "inference_model".to_owned(),
        version: 1,
        kind: ValueKind::String,
        on: true,
        variants: ["a", "b", "c", "off"].map(variant).to_vec(),
        off_variant: Some(3),
        prerequisites: vec![],
        pins: vec![],
        targets: vec![],
        rules: vec![
            rule("country", &countries, Outcome::Fixed(0)),
            rule("org", &orgs, Outcome::Fixed(1)),
            rule("plan", &plans, Outcome::Split(split)),
        ],
        fallthrough: Outcome::Fixed(3),
        salt: "a1b2c3d4e5f6".to_owned(),
        kill: None,
    };
    compile(&[flag], &[]).0
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (case, count) = (arguments.next(), arguments.next().and_then(|n| n.parse::<u64>().ok()));
    let (country, plan) = match case.as_deref() {
        Some("early") => ("DE", "free"),
        Some("split") => ("FR", "enterprise"),
        Some("none") => ("FR", "free"),
        Some(_) | None => return ExitCode::from(2),
    };
    let facts = [
        ("email", Attr::Str("someone@example.com")),
        ("country", Attr::Str(country)),
        ("org", Attr::Str("org-9999")),
        ("plan", Attr::Str(plan)),
        ("app_version", Attr::Str("4.11.2")),
        ("device", Attr::Str("phone")),
    ];
    let ruleset = ruleset();
    let context = Pairs::new("user-4711-a8f3", &facts);
    let mut served: u64 = 0;
    for _ in 0..count.unwrap_or(10_000) {
        let evaluation = evaluate(&ruleset, black_box("inference_model"), black_box(&context), &mut Silent);
        served += u64::from(evaluation.variant.unwrap_or_default());
    }
    println!("{}", black_box(served));
    ExitCode::SUCCESS
}
