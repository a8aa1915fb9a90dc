//! Contexts from JSON: what is accepted, what is refused, and where.

use ensign_eval::ContextBuf;
use serde_json::{Value as Json, json};

#[track_caller]
fn check(found: Result<ContextBuf, ensign_eval::BadContext>, expected: &str) {
    let found = match found {
        Ok(context) => context.canonical_key(),
        Err(bad) => format!("{} at {:?}", bad.code.code(), bad.at),
    };
    assert_eq!(found, expected);
}

#[test]
fn openfeature() {
    for (json, expected) in [
        (json!({"targetingKey": "u1", "kind": "user"}), "u1"),
        (json!({"targetingKey": "u1", "name": 7, "anonymous": "maybe"}), "u1"),
        (json!({"key": "u1"}), "u1"),
        (json!({"targetingKey": "acme", "kind": "org"}), "org:acme"),
        (
            json!({"kind": "multi", "user": {"targetingKey": "a"}, "org": {"key": "b:c%"}}),
            "org:b%3Ac%25:user:a",
        ),
        (
            json!({"kind": "multi", "targetingKey": "a", "org": {"targetingKey": "o"}, "noise": 3}),
            "org:o:user:a",
        ),
        (json!({}), ""),
        (json!({"targetingKey": null, "plan": "pro"}), ""),
        (json!({"targetingKey": ""}), ""),
        (json!({"targetingKey": 5}), "context-bad-key at \"/targetingKey\""),
        (json!({"kind": "a b", "targetingKey": "u"}), "context-bad-kind at \"/kind\""),
        (json!({"kind": "multi"}), "context-no-kinds at \"\""),
        (json!({"kind": "multi", "a/b": {"key": "x"}}), "context-bad-kind at \"/a~1b\""),
        (json!([1]), "context-not-an-object at \"\""),
    ] {
        check(ContextBuf::from_openfeature(&json), expected);
    }
}

#[test]
fn launchdarkly() {
    for (json, expected) in [
        (json!({"kind": "user", "key": "u1", "name": "Ann", "anonymous": false}), "u1"),
        (json!({"kind": "org", "key": "acme"}), "org:acme"),
        (json!({"kind": "multi", "user": {"key": "a"}, "org": {"key": "b:c%"}}), "org:b%3Ac%25:user:a"),
        (json!({"key": "", "custom": {"plan": "pro"}}), ""),
        (json!({"key": "u1", "secondary": "x"}), "u1"),
        (json!({"kind": "user"}), "context-missing-key at \"\""),
        (json!({"kind": "user", "key": ""}), "context-bad-key at \"/key\""),
        (json!({"kind": "user", "key": 3}), "context-bad-key at \"/key\""),
        (json!({"kind": "kind", "key": "x"}), "context-bad-kind at \"/kind\""),
        (json!({"kind": 3, "key": "x"}), "context-bad-kind at \"/kind\""),
        (json!({"kind": "user", "key": "x", "name": 3}), "context-bad-name at \"/name\""),
        (json!({"kind": "user", "key": "x", "anonymous": "no"}), "context-bad-anonymous at \"/anonymous\""),
        (json!({"kind": "multi", "org": {"key": ""}}), "context-bad-key at \"/org/key\""),
        (json!({"kind": "multi", "org": 3}), "context-not-an-object at \"/org\""),
        (json!({"kind": "multi", "multi": {"key": "x"}}), "context-bad-kind at \"/multi\""),
        (json!({"custom": {}}), "context-missing-key at \"\""),
        (Json::Null, "context-not-an-object at \"\""),
    ] {
        check(ContextBuf::from_launchdarkly(&json), expected);
    }
}

#[test]
fn old_users_keep_their_attributes_and_private_names() {
    let json = json!({"key": "u", "email": "e", "odd": 1, "custom": {"plan": "pro", "key": "no", "none": null},
        "privateAttributeNames": ["email"]});
    let context = ContextBuf::from_launchdarkly(&json).unwrap();
    let part = &context.parts()[0];
    assert_eq!(part.attributes, [("email".to_owned(), json!("e")), ("plan".to_owned(), json!("pro"))]);
    assert_eq!(part.private, ["email"]);
}
