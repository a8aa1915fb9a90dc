//! Documents: what is wrong with bad ones is said with its place, and the published schemas agree with the parser.

use ensign_control::catalogue::Source;
use ensign_control::document::parse;
use ensign_control::ids::Timestamp;
use ensign_control::lint::lint;
use ensign_schema::{Schema, Unnamed};
use serde_json::Value as Json;

#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let (documents, problems) = parse("f", bytes);
    let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(found.iter().any(|text| text.contains(expected)), "{expected:?} is not among {found:#?}");
    assert!(documents.is_empty(), "{documents:#?}");
}

#[test]
fn broken_texts_are_named_with_line_and_column() {
    check(b"{\"flag\": \"a\",\n  \"default\": tru }", "f:2:17: This is not JSON");
    check(b"{\"flag\": \"a\",\n \"flag\": \"b\"}", "f:2:2: /flag: The member \"flag\" is here twice.");
    check(b"flag: a\nflag: b\n", "f:2:1: /flag: The member \"flag\" is here twice.");
    check(b"flag: a\nrules: [\n  {a: b\n", "This is not YAML");
    check(b"flag: a\n  default: x\n y: z\n", "f:2:");
    check(b"{\"flag\": \"a\", \"default\": NaN}", "f:1:26: This is not JSON");
    check(b"flag: a\ndefault: .nan\n", "f:2:10: /default: .nan is not a number");
    check(b"flag: a\ndefault: 012\n", "begins with 0");
    check(b"flag: a\ndefault: \xff\n", "f:2:10: The text is not valid UTF-8");
    check(b"", "no document");
    check(b"{\"flog\": \"a\"}", "did you mean \"flag\"?");
    check(b"{\"ensign\": 2, \"flag\": \"a\"}", "version 2");
    check(&[b"[".repeat(200), b"]".repeat(200)].concat(), "too_deep");
}

#[test]
fn wrong_members_are_named_with_a_pointer() {
    let rule = |condition: &str| {
        format!(
            "{{\"flag\": \"a\", \"default\": 1, \"rules\": [{{\"condition\": {condition}, \"value\": 2}}]}}"
        )
    };
    let refused = |condition: &str, expected: &str| check(rule(condition).as_bytes(), expected);
    refused(
        "{\"rollout_percentage\": 101}",
        "/rules/0/condition/rollout_percentage: 101 is not a percentage",
    );
    refused("{\"rollout_percentage\": -1}", "between 0 and 100");
    refused("{\"rollout_percentage\": \"10\"}", "This must be a percentage");
    refused("{\"rollout_percentage\": 0.00001}", "three decimals");
    refused("{\"not\": {\"rollout_percentage\": 10}}", "nested_percentage");
    refused("{\"age\": {\"grater\": 3}}", "unknown_operator");
    refused("{\"age\": {\"gte\": \"3\"}}", "This must be a number; it is a string");
    refused("{\"plan\": null}", "it is null");
    refused("{\"plan\": {\"matches\": \"(?=a)\"}}", "bad_pattern");
    refused("{\"since\": {\"before\": \"2026-01-01\"}}", "a time");
    refused("{\"v\": {\"semver_gt\": \"v1\"}}", "semantic version");
    refused("{\"/a//b\": 1}", "is not an attribute");
    refused("[]", "This must be an object; it is a list");
    check(b"{\"flag\": \"a\", \"defualt\": 1}", "did you mean \"default\"?");
    check(b"{\"flag\": \"a b\", \"default\": 1}", "is not a key");
    check(
        b"{\"flag\": \"a\", \"default\": 1, \"split\": {\"1\": 60, \"2\": 60}}",
        "add up to 120, not to 100",
    );
    check(b"{\"flag\": \"a\", \"default\": 1, \"permanent\": true}", "needs a reason");
    check(b"{\"flag\": \"a\", \"default\": 1, \"cleanup\": \"soon\"}", "is not a day");
    check(b"{\"flag\": \"a\", \"default\": 1, \"schema\": {\"type\": 3}}", "bad_schema");
    check(b"{\"metric\": \"error_rate\", \"kind\": \"rate\", \"better\": \"lower\"}", "without set-up");
    check(b"{\"metric\": \"m\", \"kind\": \"rat\", \"better\": \"lower\"}", "did you mean \"rate\"?");
}

#[test]
fn every_problem_is_collected() {
    let (_, problems) = parse("f", b"flag: a\ndefault: 1\nowner: 3\nkynd: x\n---\nsegment: s\nincludes: 5\n");
    let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[2].starts_with("f:7:1: /1/includes"), "{found:#?}");
}

#[test]
fn yaml_and_json_mean_the_same() {
    let yaml = "flag: a\ndefault: no\nrules:\n- condition: {country: [no, on], since: {after: 2026-01-01T00:00:00Z}}\n  value: yes\n";
    let json = r#"{"flag":"a","default":"no","rules":[{"condition":{"country":["no","on"],"since":{"after":"2026-01-01T00:00:00Z"}},"value":"yes"}]}"#;
    let (yaml, json) = (parse("a.yaml", yaml.as_bytes()), parse("a.json", json.as_bytes()));
    assert_eq!((yaml.1, json.1), (vec![], vec![]));
    assert_eq!((&yaml.0[0].raw, &yaml.0[0].document), (&json.0[0].raw, &json.0[0].document));
}

#[test]
fn lint_names_what_is_doubtful() {
    let text = "flag: a\ndefault: x\ncleanup: 2026-01-01\nrules:\n- {condition: {plan: [pro, team]}, value: y}\n- {condition: {plan: pro, age: {gte: 3}}, value: z}\n- {condition: {age: {gt: 9, lt: 3}}, value: z}\n- {condition: {rollout_percentage: 0}, value: z}\n- {condition: {segment: nobody}, value: z}\npins:\n- {who: u, value: y, owner: o, reason: r, until: 2026-01-01}\n";
    let source = Source { name: "a.yaml".to_owned(), text: text.as_bytes().to_vec() };
    let now = Timestamp(1_800_000_000_000_000);
    let found = lint(&[source], now);
    let codes: Vec<(&str, u32)> =
        found.iter().map(|f| (f.code.as_str(), f.mark.map_or(0, |mark| mark.line))).collect();
    for expected in [
        ("missing_owner", 1),
        ("expired_flag", 3),
        ("unreachable_rule", 6),
        ("rule_never_matches", 7),
        ("rule_never_matches", 8),
        ("unknown_segment", 4),
        ("expired_pin", 11),
    ] {
        assert!(codes.contains(&expected), "{expected:?} is not among {codes:?}");
    }
    let good =
        "flag: a\ndefault: x\nowner: me\ncleanup: 2099-01-01\nrules:\n- {condition: {plan: pro}, value: y}\n";
    assert_eq!(lint(&[Source { name: "a.yaml".to_owned(), text: good.as_bytes().to_vec() }], now), []);
}

#[test]
fn the_published_schemas_agree_with_the_parser() {
    let schemas = [
        include_str!("../../../spec/documents/flag.schema.json"),
        include_str!("../../../spec/documents/segment.schema.json"),
        include_str!("../../../spec/documents/metric.schema.json"),
        include_str!("../../../spec/documents/use_case.schema.json"),
    ];
    let validators: Vec<Schema> = schemas
        .iter()
        .map(|text| Schema::new(&serde_json::from_str(text).unwrap(), Unnamed::Latest).unwrap())
        .collect();
    let cases = [
        r#"{"flag":"a","default":1.5,"rules":[{"condition":{"rollout_percentage":{"value":10,"by":"org:plan"}},"value":2.5}]}"#,
        r#"{"ensign":1,"flag":"a","default":"x","split":{"x":90,"y":10},"kind":"experiment","tags":["m"]}"#,
        r#"{"flag":"a","environments":{"production":{"default":true,"pins":[{"who":"u","value":false,"owner":"o","reason":"r"}]}}}"#,
        r#"{"flag":"a","default":1,"x":2}"#,
        r#"{"flag":"a","default":1,"rules":[{"condition":{}}]}"#,
        r#"{"flag":"a b","default":1}"#,
        r#"{"flag":"a","default":1,"kind":"other"}"#,
        r#"{"flag":"a","default":1,"split":{"1":101}}"#,
        r#"{"segment":"s","includes":["a"],"excludes":{"org":"acme"},"rules":[{"condition":{"plan":"pro"}}]}"#,
        r#"{"segment":"s","include":["a"]}"#,
        r#"{"metric":"m","kind":"score","range":[0,5],"maturity":"24h"}"#,
        r#"{"metric":"m","kind":"scor"}"#,
        r#"{"use_case":"u","flags":["a"],"request_timeout":"30s","prices":{"m":{"input":1,"output":2.5}}}"#,
        r#"{"use_case":"u","request_timeout":30}"#,
    ];
    for case in cases {
        let value: Json = serde_json::from_str(case).unwrap();
        let word = value.as_object().unwrap().keys().find(|key| *key != "ensign").unwrap().clone();
        let at = ["flag", "segment", "metric", "use_case"].iter().position(|known| *known == word).unwrap();
        let (documents, problems) = parse("case", case.as_bytes());
        assert_eq!(
            validators[at].violations(&value, 1).is_empty(),
            documents.len() == 1,
            "{case}: {problems:?}"
        );
    }
}
