//! What LaunchDarkly's AI SDK would make of a value that has its form, where that is not what its author meant.

use std::collections::BTreeMap;

use ensign_eval::model::{Flag, Value, ValueKind};
use serde_json::Value as Json;

use super::note::Note;

const MODES: [&str; 3] = ["completion", "agent", "judge"];
const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// Remarks about the variants of a flag that are AI configurations: those with a member `_ldMeta`.
pub(super) fn notes(flag: &Flag) -> Vec<Note> {
    if flag.kind != ValueKind::Json {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
    for variant in &flag.variants {
        let Value::Json(value) = &variant.value else { continue };
        let Some(meta) = value.get("_ldMeta") else { continue };
        let mut say = |what: &str| found.push(Note::ai_config(&flag.key, &variant.name, what));
        if !meta.get("enabled").is_some_and(Json::is_boolean) {
            say("`_ldMeta.enabled` is not true or false, and the SDK takes the configuration as disabled");
        }
        if meta.get("enabled") == Some(&Json::Bool(true)) {
            enabled(value, meta, &mut say);
        }
        match meta.get("variationKey").and_then(Json::as_str).filter(|key| !key.is_empty()) {
            None => say("it has no `_ldMeta.variationKey`, and what the SDK reports is not attributed to it"),
            Some(key) => {
                if let Some(other) = keys.insert(key, &variant.name) {
                    say(&format!(
                        "its `_ldMeta.variationKey` is that of variant \"{other}\", and what the SDK reports of one \
                         counts for the other"
                    ));
                }
            }
        }
    }
    found
}

fn enabled(value: &Json, meta: &Json, say: &mut impl FnMut(&str)) {
    let mode = match meta.get("mode") {
        None => "completion",
        Some(mode) => mode.as_str().unwrap_or_default(),
    };
    if !MODES.contains(&mode) {
        say("`_ldMeta.mode` is not `completion`, `agent` or `judge`, and no call of the SDK asks for it");
    }
    for member in ["model", "provider"] {
        if value.get(member).is_some_and(|it| !it.get("name").is_some_and(Json::is_string)) {
            say(&format!("`{member}` has no `name`, and some SDKs fail on that"));
        }
    }
    if mode == "agent" && !value.get("instructions").is_some_and(Json::is_string) {
        say("an agent's text is in `instructions`, and there is none");
    }
    if mode == "judge" && value.get("evaluationMetricKey").or(value.get("evaluationMetricKeys")).is_none() {
        say("a judge's score is reported as its `evaluationMetricKey`, and there is none");
    }
    let messages = value.get("messages");
    let whole = |message: &Json| {
        message.get("role").and_then(Json::as_str).is_some_and(|role| ROLES.contains(&role))
            && message.get("content").is_some_and(Json::is_string)
    };
    if messages.is_some_and(|all| !all.as_array().is_some_and(|all| all.iter().all(whole))) {
        say("not every one of its `messages` has a `role` (system, user, assistant) and a `content`");
    }
    let judges = value.pointer("/judgeConfiguration/judges").and_then(Json::as_array);
    let sound = |judge: &Json| {
        judge.get("key").is_some_and(Json::is_string)
            && judge
                .get("samplingRate")
                .and_then(Json::as_f64)
                .is_some_and(|rate| (0.0..=1.0).contains(&rate))
    };
    if judges.is_some_and(|all| !all.iter().all(sound)) {
        say("not every one of its judges has a `key` and a `samplingRate` from 0 to 1");
    }
}

#[cfg(test)]
mod tests {
    use ensign_eval::model::{Outcome, Variant};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(values: &[Json], expected: &[&str]) {
        let variant = |(at, value): (usize, &Json)| Variant {
            name: format!("v{at}"),
            value: Value::Json(value.clone()),
        };
        let flag = Flag {
            key: "chat".to_owned(),
            version: 1,
            kind: ValueKind::Json,
            on: true,
            variants: values.iter().enumerate().map(variant).collect(),
            off_variant: None,
            prerequisites: vec![],
            pins: vec![],
            targets: vec![],
            rules: vec![],
            fallthrough: Outcome::Fixed(0),
            salt: String::new(),
            kill: None,
        };
        let found: Vec<String> = notes(&flag).into_iter().map(|note| note.sentence).collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (sentence, part) in found.iter().zip(expected) {
            assert!(sentence.contains(part), "{sentence} does not speak of {part}");
        }
    }

    fn config(members: Json, meta: Json) -> Json {
        let mut value = json!({
            "_ldMeta": {"enabled": true, "variationKey": "a"},
            "model": {"name": "m"},
            "messages": [{"role": "user", "content": "{{question}}"}],
        });
        let put = |to: &mut Json, from: Json| {
            to.as_object_mut().unwrap().extend(from.as_object().unwrap().clone());
        };
        put(&mut value, members);
        put(&mut value["_ldMeta"], meta);
        value
    }

    #[test]
    fn what_the_sdk_would_misread_is_named() {
        let none = || json!({});
        check(&[config(none(), none()), json!({"style": "no configuration"})], &[]);
        check(&[json!({"_ldMeta": {"enabled": false, "variationKey": "off"}})], &[]);
        check(&[json!({"_ldMeta": {"variationKey": "off"}})], &["enabled"]);
        check(&[config(none(), none()), config(none(), none())], &["that of variant \"v0\""]);
        check(&[config(none(), json!({"variationKey": ""}))], &["no `_ldMeta.variationKey`"]);
        check(&[config(none(), json!({"mode": "chat"}))], &["mode"]);
        check(&[config(none(), json!({"mode": "agent"}))], &["instructions"]);
        check(&[config(none(), json!({"mode": "judge"}))], &["evaluationMetricKey"]);
        check(&[config(json!({"model": {"id": "m"}}), none())], &["`model` has no `name`"]);
        check(&[config(json!({"messages": [{"role": "user"}]}), none())], &["messages"]);
        check(&[config(json!({"messages": "hello"}), none())], &["messages"]);
        let judges = json!({"judgeConfiguration": {"judges": [{"key": "j", "samplingRate": 25}]}});
        check(&[config(judges, none())], &["samplingRate"]);
    }
}
