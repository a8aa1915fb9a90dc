//! Segments.

use std::collections::BTreeMap;

use ensign_control::document::condition::percent;
use ensign_eval::model::AttributeRef;
use serde_json::{Map, Value as Json, json};

use super::clauses::{attribute, condition};
use super::{Cannot, Draft, list, text, texts};

const KNOWN: [&str; 13] = [
    "key",
    "version",
    "included",
    "excluded",
    "includedContexts",
    "excludedContexts",
    "rules",
    "salt",
    "unbounded",
    "unboundedContextKind",
    "generation",
    "deleted",
    "debugEventsUntilDate",
];

pub(super) fn read(draft: &mut Draft<'_>, segment: &Map<String, Json>) -> Result<Json, Cannot> {
    draft.unknown(segment, &KNOWN);
    let unbounded = segment.get("unbounded") == Some(&Json::Bool(true));
    if unbounded {
        draft.say(
            "Its members are in a store of the SDK (a big segment) and do not come along; its rules do.",
        );
    }
    let mut document = Map::new();
    document.insert("segment".to_owned(), draft.key.into());
    for (name, users, others) in
        [("includes", "included", "includedContexts"), ("excludes", "excluded", "excludedContexts")]
    {
        let keys = keys(segment, users, others);
        if !unbounded && !keys.is_empty() {
            document.insert(name.to_owned(), json!(keys));
        }
    }
    let mut rules = Vec::new();
    for (at, rule) in list(segment, "rules").iter().enumerate() {
        let rule = rule.as_object().ok_or_else(|| Cannot("A rule is no object.".to_owned()))?;
        draft.unknown(rule, &["id", "clauses", "weight", "bucketBy", "rolloutContextKind"]);
        let Some(condition) = condition(draft, list(rule, "clauses"))? else {
            draft.say(format!("Rule {} matches nobody and is left out.", at + 1));
            continue;
        };
        let id = text(rule, "id").filter(|id| !id.is_empty());
        let id = id.map_or_else(|| format!("rule-{}", at + 1), str::to_owned);
        rules.extend(self::rule(rule, &id, condition)?);
    }
    if !rules.is_empty() {
        document.insert("rules".to_owned(), Json::Array(rules));
    }
    document.insert("salt".to_owned(), text(segment, "salt").unwrap_or_default().into());
    Ok(Json::Object(document))
}

fn keys<'j>(segment: &'j Map<String, Json>, users: &str, others: &str) -> BTreeMap<&'j str, Vec<&'j str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in list(segment, others).iter().filter_map(Json::as_object) {
        let kind = text(entry, "contextKind").unwrap_or("user");
        all.entry(kind).or_default().extend(texts(list(entry, "values")));
    }
    all.entry("user").or_default().extend(texts(list(segment, users)));
    all.retain(|_, keys| !keys.is_empty());
    all
}

/// A rule; a weighted one is followed by one for contexts that lack the kind, which SDKs take in as the lowest bucket.
fn rule(rule: &Map<String, Json>, id: &str, condition: Map<String, Json>) -> Result<Vec<Json>, Cannot> {
    let with = |id: &str, name: &str, value: Json| {
        let mut condition = condition.clone();
        condition.insert(name.to_owned(), value);
        json!({ "id": id, "condition": condition })
    };
    let Some(weight) = rule.get("weight").filter(|weight| !weight.is_null()) else {
        return Ok(vec![json!({ "id": id, "condition": condition })]);
    };
    let weight = weight.as_u64().and_then(|weight| u32::try_from(weight).ok()).unwrap_or(0).min(100_000);
    let kind = text(rule, "rolloutContextKind").unwrap_or("user");
    let by = AttributeRef::lenient(text(rule, "bucketBy").filter(|by| !by.is_empty()).unwrap_or("key"));
    if let Some(bad) = by.problem() {
        return Err(Cannot(format!("It hashes an attribute that cannot be read: {}.", bad.sentence())));
    }
    let share = json!({ "value": percent(weight), "by": attribute(kind, &by) });
    let mut all = vec![with(id, "rollout_percentage", share)];
    let lacks = json!({ "not_in": [kind] });
    let absent = format!("{id}{ABSENT}");
    all.push(if condition.contains_key("kind") {
        json!({ "id": absent, "condition": { "all": [condition, { "kind": lacks }] } })
    } else {
        with(&absent, "kind", lacks)
    });
    Ok(all)
}

/// What the id of the rule for contexts without the kind ends in.
pub(in crate::launchdarkly) const ABSENT: &str = ".absent";
