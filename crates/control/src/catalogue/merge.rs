//! Three-way merging of canonical members, and what differs between two of them, in words.
//!
//! What the file did not change since it was last applied is left as it is. Rules and pins are merged one by one, by
//! id, so that what was added elsewhere stays.

use serde_json::{Map, Value as Json};

use super::change::Line;
use crate::document::condition::percent;

type Members = Map<String, Json>;

/// Members that are lists of things with ids.
const LISTS: [&str; 2] = ["rules", "pins"];

fn empty(name: &str, value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(value) => *value == (name == "on"),
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        Json::Number(_) | Json::String(_) => false,
    }
}

/// The same members without those that say what is the case anyway.
fn told(members: &Members) -> Members {
    members.iter().filter(|(name, value)| !empty(name, value)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// What becomes of the live members when a file changed from `base` to `file`.
pub(super) fn three_way(base: &Members, file: &Members, live: &Members) -> Members {
    let (base, file) = (told(base), told(file));
    let mut merged = live.clone();
    let names: Vec<&String> =
        file.keys().chain(base.keys().filter(|name| !file.contains_key(*name))).collect();
    for name in names {
        let (was, is) = (base.get(name), file.get(name));
        if same(name, was, is) {
            continue;
        }
        let value = if LISTS.contains(&name.as_str()) {
            Some(Json::Array(list(items(was), items(is), items(live.get(name)))))
        } else {
            is.cloned()
        };
        match value.filter(|value| !empty(name, value)) {
            Some(value) => drop(merged.insert(name.clone(), value)),
            None if name == "default" => {}
            None => drop(merged.shift_remove(name)),
        }
    }
    merged
}

/// The live members with those of an edit in their place.
pub(super) fn edit(file: &Members, live: &Members) -> Members {
    let mut merged = live.clone();
    for (name, value) in file {
        if empty(name, value) {
            merged.shift_remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged
}

fn items(value: Option<&Json>) -> &[Json] {
    value.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn id(item: &Json) -> &str {
    item.get("id").and_then(Json::as_str).unwrap_or_default()
}

fn by_id<'j>(items: &'j [Json], wanted: &str) -> Option<&'j Json> {
    items.iter().find(|item| id(item) == wanted)
}

/// Merges lists of things with ids; the order is the file's, and what only the live list has stays behind what it
/// stood behind.
fn list(base: &[Json], file: &[Json], live: &[Json]) -> Vec<Json> {
    let mut merged: Vec<Json> = Vec::new();
    for item in file {
        let (was, is) = (by_id(base, id(item)), by_id(live, id(item)));
        match (was == Some(item), is) {
            // The file did not touch it: whatever became of it elsewhere stays so.
            (true, Some(is)) => merged.push(is.clone()),
            (true, None) => {}
            (false, _) => merged.push(item.clone()),
        }
    }
    for (at, item) in live.iter().enumerate() {
        let known = by_id(file, id(item)).is_some() || by_id(base, id(item)).is_some();
        if known {
            continue;
        }
        let before = live.get(..at).unwrap_or_default().iter().rev();
        let place = before.filter_map(|other| merged.iter().position(|m| id(m) == id(other))).next();
        merged.insert(place.map_or(0, |place| place + 1), item.clone());
    }
    merged
}

/// Splits are the same when every variant has the same share, however the intervals lie.
fn same(name: &str, a: Option<&Json>, b: Option<&Json>) -> bool {
    if name == "split" && a.is_some() && b.is_some() {
        return a == b || (shares(a) == shares(b));
    }
    a == b
}

fn shares(split: Option<&Json>) -> std::collections::BTreeMap<&str, u64> {
    let mut all = std::collections::BTreeMap::new();
    for part in items(split) {
        let variant = part.get("variant").and_then(Json::as_str).unwrap_or_default();
        let weight = part.get("weight").and_then(Json::as_u64).unwrap_or(0);
        if weight > 0 {
            *all.entry(variant).or_insert(0) += weight;
        }
    }
    all
}

/// What differs, member by member and, in lists of things with ids, thing by thing.
pub(super) fn lines(before: &Members, after: &Members) -> Vec<Line> {
    let mut all = Vec::new();
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    for name in names {
        let (was, is) = (before.get(name), after.get(name));
        if was == is {
            continue;
        }
        if !LISTS.contains(&name.as_str()) {
            all.push(Line {
                path: name.clone(),
                before: was.map(|v| words(name, v)),
                after: is.map(|v| words(name, v)),
            });
            continue;
        }
        let (was, is) = (items(was), items(is));
        for item in was.iter().chain(is.iter().filter(|item| by_id(was, id(item)).is_none())) {
            let (old, new) = (by_id(was, id(item)), by_id(is, id(item)));
            if old != new {
                let (before, after) = (old.map(|v| words(name, v)), new.map(|v| words(name, v)));
                all.push(Line { path: format!("{name}/{}", id(item)), before, after });
            }
        }
        let kept = |of: &[Json], other: &[Json]| -> Vec<String> {
            of.iter().map(id).filter(|id| by_id(other, id).is_some()).map(str::to_owned).collect()
        };
        let (old, new) = (kept(was, is), kept(is, was));
        if old != new {
            let (before, after) = (Some(old.join(", ")), Some(new.join(", ")));
            all.push(Line { path: format!("{name} (order)"), before, after });
        }
    }
    all
}

/// A member's value as a person reads it.
fn words(name: &str, value: &Json) -> String {
    match name {
        "split" => split_words(value),
        "rules" => rule_words(value),
        "pins" => {
            let text = |name: &str| value.get(name).and_then(Json::as_str).unwrap_or_default();
            let who =
                value.get("who").or_else(|| value.get("condition")).map_or_else(String::new, Json::to_string);
            let until = value
                .get("until")
                .and_then(Json::as_str)
                .map_or_else(String::new, |until| format!(" until {until}"));
            format!("{who} stays on {}{until} ({}: {})", text("variant"), text("owner"), text("reason"))
        }
        _ => match value {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        },
    }
}

fn split_words(parts: &Json) -> String {
    let all: Vec<String> = shares(Some(parts))
        .into_iter()
        .map(|(variant, weight)| format!("{} % {variant}", percent(weight as u32)))
        .collect();
    all.join(", ")
}

fn rule_words(rule: &Json) -> String {
    let condition = rule.get("condition").map_or_else(String::new, condition_words);
    let serve = rule.get("serve").unwrap_or(&Json::Null);
    let what = match serve.get("variant").and_then(Json::as_str) {
        Some(variant) => variant.to_owned(),
        None => serve.get("split").map_or_else(String::new, split_words),
    };
    let salt =
        rule.get("salt").and_then(Json::as_str).map_or_else(String::new, |salt| format!(" (salt {salt})"));
    format!("{condition} → {what}{salt}")
}

fn condition_words(condition: &Json) -> String {
    let Some(members) = condition.as_object().filter(|members| !members.is_empty()) else {
        return "everyone".to_owned();
    };
    let one = |(name, value): (&String, &Json)| match (name.as_str(), value) {
        ("rollout_percentage", Json::Number(n)) => format!("{n} %"),
        (name, Json::String(text)) => format!("{name} = {text}"),
        (name, value) => format!("{name} = {value}"),
    };
    members.iter().map(one).collect::<Vec<_>>().join(" and ")
}
