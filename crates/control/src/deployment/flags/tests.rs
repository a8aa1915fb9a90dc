//! Rules and documents of feature flags, by example.

use serde_json::{Value as Json, json};

use super::{Document, Facts, Rule, split_hash};

fn facts(text: &str) -> Vec<(String, String)> {
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[track_caller]
fn check(rule: &str, context: &str, expected: bool) {
    let parsed = Rule::parse(rule).unwrap();
    let context = facts(context);
    assert_eq!(parsed.holds(context.as_slice(), "flag:p/f"), expected, "{rule}");
    let again = Rule::parse(&parsed.ion()).unwrap();
    assert_eq!(again.holds(context.as_slice(), "flag:p/f"), expected, "{}", parsed.ion());
}

#[test]
fn operators_read_the_context_as_the_literals_type() {
    check("(eq $plan \"pro\")", "plan=pro", true);
    check("(eq $plan \"pro\")", "", false);
    check("(ne $plan \"pro\")", "", true);
    check("(not (eq $plan \"pro\"))", "", true);
    check("(gt $age 9)", "age=10", true);
    check("(gt $age 9)", "age=ten", false);
    check("(lte $score 3.5)", "score=3.50", true);
    check("(eq $beta true)", "beta=true", true);
    check("(and (begins_with $email \"jo\") (ends_with $email \"@x.org\"))", "email=jo@x.org", true);
    check("(or (contains $a \"z\") (in $b [\"x\" \"y\"]))", "b=y", true);
    check("(in $n [1, 2])", "n=2", true);
    check("(matches in::$host pattern::\"h.*y\")", "host=ahoy-hey-x", true);
    check("(matches pattern::\"^y\" in::$host)", "host=hey", false);
    check("(exists key::\"country\")", "country=dk", true);
    check("(gte $at 2024-01)", "at=2024-01-02T00:00:00Z", true);
    check("(lt $at 2012-03-04T05:06:07-08:00)", "at=2012-03-04T13:06:06Z", true);
    check("(eq '$user-id' \"7\")", "user-id=7", true);
    check("true", "", true);
}

#[test]
fn a_rule_that_is_none_says_where() {
    for (rule, says) in [
        ("(eq $plan pro)", "\"pro\" is not a value"),
        ("(same $a 1)", "there is no operator \"same\""),
        ("(eq $a)", "has two operands"),
        ("(eq $a 1", "closing parenthesis"),
        ("(split pct::101 by::$u)", "from 0 to 100"),
        ("(eq $1 1)", "is not a value"),
        ("(matches in::$a pattern::\"(?=x)\")", "look-around"),
        ("(eq $a 1) x", "nothing may follow"),
        ("\"text\"", "A rule is an expression"),
    ] {
        let error = Rule::parse(rule).unwrap_err();
        assert!(error.contains(says), "{rule}: {error}");
    }
    assert!(Rule::parse(&"(not ".repeat(10_000)).is_err());
}

struct User(String);
impl Facts for User {
    fn fact(&self, name: &str) -> Option<&str> {
        (name == "u").then_some(self.0.as_str())
    }
}

#[test]
fn splits_are_even_nest_by_seed_and_grow_without_losing_anyone() {
    let rule = |text: &str| Rule::parse(text).unwrap();
    let (a, b) = (rule("(split by::$u pct::20)"), rule("(split pct::25 by::$u)"));
    let other = rule("(split by::$u pct::25 seed::\"x\")");
    let (mut in_a, mut only_b, mut only_other) = (0, 0, 0);
    for n in 0..100_000 {
        let user = User(format!("user-{n}"));
        let [a, b, other] = [&a, &b, &other].map(|rule| rule.holds(&user, "flag:p/f"));
        assert!(!a || b, "a smaller share of one seed lies within a larger one");
        in_a += u32::from(a);
        only_b += u32::from(b && !a);
        only_other += u32::from(other && !a);
    }
    for (count, expected) in [(in_a, 20_000), (only_b, 5_000), (only_other, 20_000)] {
        assert!((f64::from(count) - f64::from(expected)).abs() < 1_000.0, "{count} of {expected}");
    }
    let user = User("any".into());
    assert!(rule("(split by::$u pct::100)").holds(&user, ""));
    assert!(!rule("(split by::$u pct::0)").holds(&user, ""));
    // python3: int.from_bytes(hashlib.sha256(b"2025.01.01\0user-1").digest()[:8], "big") % 100000
    assert_eq!(split_hash("2025.01.01", "user-1"), 93_908);
}

fn stored() -> Json {
    json!({
        "version": "1",
        "flags": {
            "ranker": {"name": "Ranker", "attributes": {
                "model": {"constraints": {"type": "string", "required": true, "enum": ["v2", "v3"]}},
                "top": {"constraints": {"type": "number", "minimum": 1, "maximum": 10}},
                "regions": {"constraints": {"type": "array", "elements": {"type": "string", "pattern": "^[a-z-]+[0-9]$"}}},
            }},
            "switch": {"name": "Switch"},
            "refresh": {"name": "Refresh", "attributes": {"dark": {"constraints": {"type": "boolean"}}}},
        },
        "values": {
            "ranker": {"enabled": true, "model": "v3", "top": 5, "regions": ["eu-west-1"], "_createdAt": "x"},
            "switch": {"enabled": false},
        },
    })
}

#[test]
fn basic_flags_are_served_as_json_without_their_definitions() {
    let document = Document::read(stored().to_string().as_bytes()).unwrap();
    let (kind, body) = document.served();
    assert_eq!(kind, "application/json");
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body,
        json!({"ranker": {"enabled": true, "model": "v3", "top": 5, "regions": ["eu-west-1"]}, "switch": {"enabled": false}})
    );
}

#[test]
fn flags_with_rules_are_served_as_ion_and_evaluated_for_a_context() {
    let mut with_rules = stored();
    with_rules["values"]["refresh"] = json!({"_variants": [
        {"name": "QA", "enabled": true, "rule": "(ends_with $email \"@it's.org\")", "attributeValues": {"dark": true}},
        {"name": "Default", "enabled": false, "attributeValues": {"dark": false}},
    ]});
    let document = Document::read(with_rules.to_string().as_bytes()).unwrap();
    let (kind, body) = document.served();
    assert_eq!(kind, super::ION);
    assert!(body.contains("'switch'::'''{\"enabled\":false}'''"), "{body}");
    assert!(body.contains("(ends_with $email \"@it's.org\")"), "{body}");
    let got = |context: &str| document.evaluate("p", "refresh", facts(context).as_slice()).unwrap();
    assert_eq!(got("email=a@it's.org"), json!({"_variant": "QA", "enabled": true, "dark": true}));
    assert_eq!(got(""), json!({"_variant": "Default", "enabled": false}));
}

#[test]
fn what_is_wrong_with_a_document_is_named_with_its_place() {
    let cases: [(&str, Json, &str, &str); 7] = [
        ("/version", json!("2"), "version", "/version"),
        ("/values/ranker/model", json!("v4"), "enum", "/values/ranker/model"),
        ("/values/ranker/top", json!(11), "maximum", "/values/ranker/top"),
        ("/values/ranker/regions", json!(["EU"]), "pattern", "/values/ranker/regions/0"),
        ("/values/ranker", json!({"enabled": true}), "required", "/values/ranker"),
        ("/values/switch", json!({"enabled": false, "x": 1}), "additionalProperties", "/values/switch/x"),
        ("/flags/switch", json!("x"), "type", "/flags/switch"),
    ];
    for (at, value, constraint, location) in cases {
        let mut document = stored();
        *document.pointer_mut(at).unwrap() = value;
        let wrong = Document::read(document.to_string().as_bytes()).unwrap_err();
        assert_eq!(
            (wrong[0].constraint.as_str(), wrong[0].location.as_str()),
            (constraint, location),
            "{wrong:?}"
        );
    }
    let mut orphan = stored();
    orphan["values"]["nobody"] = json!({"enabled": true});
    assert_eq!(Document::read(orphan.to_string().as_bytes()).unwrap_err()[0].location, "/values/nobody");
    assert!(Document::read(b"not json").is_err());
}
