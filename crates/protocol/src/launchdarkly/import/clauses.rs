//! Clauses as conditions.

use ensign_control::document::condition::RESERVED;
use ensign_eval::model::AttributeRef;
use serde_json::{Map, Value as Json, json};

use super::{Cannot, Draft, list, text};

/// What a clause says.
enum Says {
    Always,
    Never,
    When(String, Json),
}

/// The condition of clauses that must all hold. `None`: it holds for nobody.
pub(super) fn condition(
    draft: &mut Draft<'_>,
    clauses: &[Json],
) -> Result<Option<Map<String, Json>>, Cannot> {
    let mut all = Vec::new();
    for clause in clauses {
        let clause = clause.as_object().ok_or_else(|| Cannot("A clause is no object.".to_owned()))?;
        match one(draft, clause)? {
            Says::Always => {}
            Says::Never => return Ok(None),
            Says::When(name, value) => all.push((name, value)),
        }
    }
    let mut names: Vec<&String> = all.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    if names.len() == all.len() {
        return Ok(Some(all.into_iter().collect()));
    }
    let each = all.into_iter().map(|(name, value)| Json::Object([(name, value)].into_iter().collect()));
    Ok(Some([("all".to_owned(), each.collect())].into_iter().collect()))
}

fn one(draft: &mut Draft<'_>, clause: &Map<String, Json>) -> Result<Says, Cannot> {
    draft.unknown(clause, &["contextKind", "attribute", "op", "values", "negate"]);
    let op = text(clause, "op").unwrap_or_default();
    let negate = clause.get("negate") == Some(&Json::Bool(true));
    let values = list(clause, "values");
    if op == "segmentMatch" {
        return Ok(segments(draft, values, negate));
    }
    let name = text(clause, "attribute").unwrap_or_default();
    let (kind, reference) = match text(clause, "contextKind") {
        Some(kind) => (kind, AttributeRef::lenient(name)),
        None => ("user", AttributeRef::name(name)),
    };
    if let Some(bad) = reference.problem() {
        return Err(Cannot(format!("The attribute \"{name}\" cannot be read: {}.", bad.sentence())));
    }
    let name = attribute(kind, &reference);
    let Some((word, values)) = operands(draft, op, values)? else {
        draft.say(format!("The operator \"{op}\" is not known; it matches nobody."));
        return Ok(nothing(&name, negate));
    };
    if values.is_empty() {
        return Ok(nothing(&name, negate));
    }
    let values: Json = values.into_iter().cloned().collect();
    let compared = |word: &str| json!({ word: values });
    Ok(match (word, negate) {
        ("in", false) => Says::When(name, compared("in")),
        ("in", true) => Says::When(name, compared("not_in")),
        (word, false) => Says::When(name, compared(word)),
        (word, true) => Says::When("not".to_owned(), json!({ name: compared(word) })),
    })
}

/// A comparison with nothing: it holds for nobody, or turned round for every context that has the attribute.
fn nothing(name: &str, negate: bool) -> Says {
    if !negate {
        return Says::Never;
    }
    if name == "kind" || name.ends_with(":kind") {
        return Says::Always;
    }
    Says::When("any".to_owned(), json!([{ name: { "in": [""] } }, { name: { "not_in": [""] } }]))
}

fn segments(draft: &mut Draft<'_>, values: &[Json], negate: bool) -> Says {
    let mut keys = Vec::new();
    for key in values.iter().filter_map(Json::as_str) {
        let there =
            draft.known.segments.get(key).is_some_and(|s| s.get("deleted") != Some(&Json::Bool(true)));
        if there {
            draft.segments.insert(key.to_owned());
            keys.push(key);
        } else {
            draft.say(format!("Segment \"{key}\" is not there; nobody is in it."));
        }
    }
    match (keys.as_slice(), negate) {
        ([], false) => Says::Never,
        ([], true) => Says::Always,
        ([one], false) => Says::When("segment".to_owned(), json!(one)),
        (several, false) => Says::When("segment".to_owned(), json!({ "in": several })),
        (several, true) => Says::When("segment".to_owned(), json!({ "not_in": several })),
    }
}

/// An attribute as conditions name it. A name that would mean something else there is written as a path of one name.
pub(super) fn attribute(kind: &str, reference: &AttributeRef) -> String {
    let raw = reference.raw();
    let path = raw.starts_with('/') && !reference.is_literal_slash();
    let odd = reference.is_literal_slash()
        || (kind == "user" && !path && (raw.contains(':') || RESERVED.contains(&raw)));
    let written =
        if odd { format!("/{}", raw.replace('~', "~0").replace('/', "~1")) } else { raw.to_owned() };
    if kind == "user" && !odd { written } else { format!("{kind}:{written}") }
}

/// The operator's word here, and the values that can match at all. `None`: the operator is not known.
fn operands<'j>(
    draft: &mut Draft<'_>,
    op: &str,
    values: &'j [Json],
) -> Result<Option<(&'static str, Vec<&'j Json>)>, Cannot> {
    let (word, fits): (_, fn(&Json) -> bool) = match op {
        "in" => ("in", |v| v.is_boolean() || v.is_number() || v.is_string()),
        "startsWith" => ("starts_with", Json::is_string),
        "endsWith" => ("ends_with", Json::is_string),
        "contains" => ("contains", Json::is_string),
        "matches" => ("matches", Json::is_string),
        "lessThan" => ("lt", Json::is_number),
        "lessThanOrEqual" => ("lte", Json::is_number),
        "greaterThan" => ("gt", Json::is_number),
        "greaterThanOrEqual" => ("gte", Json::is_number),
        "before" => ("before", instant),
        "after" => ("after", instant),
        "semVerEqual" => ("semver_eq", version),
        "semVerLessThan" => ("semver_lt", version),
        "semVerGreaterThan" => ("semver_gt", version),
        _ => return Ok(None),
    };
    let (good, bad): (Vec<&Json>, Vec<&Json>) = values.iter().partition(|value| fits(value));
    for value in bad {
        if op == "in" && (value.is_array() || value.is_object()) {
            return Err(Cannot(format!("It compares an attribute with {value}; SDKs disagree about that.")));
        }
        draft.say(format!("The value {value} can never match with {op} and is left out."));
    }
    Ok(Some((word, good)))
}

fn instant(value: &Json) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok())
}

/// Major alone or with minor and patch, then `-pre` and `+build`.
fn version(value: &Json) -> bool {
    let Some(text) = value.as_str() else { return false };
    let parts: Vec<&str> = text.split(['-', '+']).next().unwrap_or_default().split('.').collect();
    let good = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    parts.len() <= 3 && parts.iter().all(good)
}
