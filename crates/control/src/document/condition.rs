//! The `condition` grammar: from what teams write to the evaluator's conditions.
//!
//! `attribute: scalar | list | {operator: value}`; all members must hold. Reserved words: `segment`, `any`, `all`,
//! `not`, `rollout_percentage`, and `attribute`, which writes the others down as attributes.

use ensign_eval::model::{AttributeRef, Clause, Condition, Op, SegmentMatch, USER};
use serde_json::Value as Json;

use super::problem::Problem;
use super::reader::{Object, texts, wrong_type};
use super::text::join;

/// Words that are not attributes.
pub const RESERVED: [&str; 6] = ["segment", "any", "all", "not", "rollout_percentage", "attribute"];

/// Operators with the evaluator's and whether they turn the answer round.
const OPERATORS: [(&str, Op, bool); 20] = [
    ("equals", Op::In, false),
    ("not_equals", Op::In, true),
    ("in", Op::In, false),
    ("not_in", Op::In, true),
    ("starts_with", Op::StartsWith, false),
    ("ends_with", Op::EndsWith, false),
    ("contains", Op::Contains, false),
    ("matches", Op::Matches, false),
    ("lt", Op::LessThan, false),
    ("lte", Op::LessThanOrEqual, false),
    ("gt", Op::GreaterThan, false),
    ("gte", Op::GreaterThanOrEqual, false),
    ("before", Op::Before, false),
    ("after", Op::After, false),
    ("semver_eq", Op::SemVerEqual, false),
    ("semver_neq", Op::SemVerEqual, true),
    ("semver_lt", Op::SemVerLessThan, false),
    ("semver_gt", Op::SemVerGreaterThan, false),
    // At most is not greater; a missing attribute is false in both.
    ("semver_lte", Op::SemVerGreaterThan, true),
    ("semver_gte", Op::SemVerLessThan, true),
];

/// A percentage in a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Percentage {
    /// The share, 1/100000.
    pub weight: u32,
    /// The context kind that is hashed, if it says so.
    pub unit: Option<String>,
    /// The attribute that is hashed instead of a key: `plan`, `org:plan`.
    pub by: Option<String>,
    /// Its own salt.
    pub salt: Option<String>,
}

/// A condition object, read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// And the unit must be within this share.
    pub percentage: Option<Percentage>,
    /// Segments it asks for, with the place of each.
    pub segments: Vec<(String, String)>,
}

/// Reads a condition object. What cannot be read is named and left out.
pub fn read(value: &Json, at: &str, problems: &mut Vec<Problem>) -> Read {
    let mut read = Read::default();
    if let Some(object) = Object::of(value, at, problems) {
        let percentage = object.get("rollout_percentage");
        read.percentage = percentage
            .and_then(|value| self::percentage(value, &object.pointer("rollout_percentage"), problems));
        read.conditions = members(&object, true, &mut read.segments, problems);
    }
    read
}

fn members(
    object: &Object<'_>,
    top: bool,
    segments: &mut Vec<(String, String)>,
    problems: &mut Vec<Problem>,
) -> Vec<Condition> {
    if object.get("attribute").is_some() {
        return escaped(object, problems);
    }
    let mut all = Vec::new();
    for (name, value) in object.map {
        let at = object.pointer(name);
        match name.as_str() {
            "segment" => all.extend(segment(value, &at, segments, problems)),
            "any" => all.push(Condition::Any(several(value, &at, segments, problems))),
            "all" => all.push(Condition::All(several(value, &at, segments, problems))),
            "not" => all.push(Condition::Not(Box::new(Condition::All(nested(value, &at, segments, problems))))),
            "rollout_percentage" if top => {}
            "rollout_percentage" => problems.push(Problem::new(
                "nested_percentage",
                at,
                "A rollout_percentage stands at the top of a condition, beside the other conditions, not inside them.",
            )),
            attribute => all.extend(compare(attribute, value, &at, problems)),
        }
    }
    all
}

fn nested(
    value: &Json,
    at: &str,
    segments: &mut Vec<(String, String)>,
    problems: &mut Vec<Problem>,
) -> Vec<Condition> {
    Object::of(value, at, problems)
        .map_or_else(Vec::new, |object| members(&object, false, segments, problems))
}

fn several(
    value: &Json,
    at: &str,
    segments: &mut Vec<(String, String)>,
    problems: &mut Vec<Problem>,
) -> Vec<Condition> {
    let Json::Array(items) = value else {
        problems.push(wrong_type(at, "a list of conditions", value));
        return Vec::new();
    };
    if items.is_empty() {
        problems.push(Problem::new("empty_list", at, "A list of conditions needs at least one."));
    }
    let mut all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let mut inner = nested(item, &join(at, &index.to_string()), segments, problems);
        match (inner.len(), inner.pop()) {
            (1, Some(one)) => all.push(one),
            (_, last) => {
                inner.extend(last);
                all.push(Condition::All(inner));
            }
        }
    }
    all
}

/// `{"attribute": "segment", "in": […]}`: an attribute whose name is a reserved word.
fn escaped(object: &Object<'_>, problems: &mut Vec<Problem>) -> Vec<Condition> {
    let Some(name) = object.text("attribute", problems) else { return Vec::new() };
    let operators = object.map.iter().filter(|(member, _)| *member != "attribute");
    let found: Vec<_> =
        operators.flat_map(|(op, value)| operator(&name, op, value, &object.pointer(op), problems)).collect();
    if object.map.len() == 1 {
        problems.push(
            Problem::new("missing_operator", &object.at, "Say what the attribute is compared with.")
                .hint("such as {\"attribute\": \"segment\", \"in\": [\"a\", \"b\"]}"),
        );
    }
    found
}

fn segment(
    value: &Json,
    at: &str,
    segments: &mut Vec<(String, String)>,
    problems: &mut Vec<Problem>,
) -> Option<Condition> {
    let (value, negate, at) = match value {
        Json::Object(map) => match map.iter().next() {
            Some((op, inner)) if map.len() == 1 && (op == "in" || op == "not_in") => {
                (inner, op == "not_in", join(at, op))
            }
            Some(_) | None => {
                problems.push(Problem::new(
                    "unknown_operator",
                    at,
                    "A segment is compared with in or not_in.",
                ));
                return None;
            }
        },
        other => (other, false, at.to_owned()),
    };
    let keys = texts(value, &at, problems)?;
    let single = value.is_string();
    for (index, key) in keys.iter().enumerate() {
        let place = if single { at.clone() } else { join(&at, &index.to_string()) };
        segments.push((key.clone(), place));
    }
    Some(Condition::Segment(SegmentMatch { segments: keys, negate }))
}

fn compare(name: &str, value: &Json, at: &str, problems: &mut Vec<Problem>) -> Vec<Condition> {
    match value {
        Json::Object(map) => {
            if map.is_empty() {
                problems.push(Problem::new("missing_operator", at, "An operator is missing here."));
            }
            map.iter().flat_map(|(op, value)| operator(name, op, value, &join(at, op), problems)).collect()
        }
        scalar_or_list => operator(name, "in", scalar_or_list, at, problems).into_iter().collect(),
    }
}

fn operator(name: &str, op: &str, value: &Json, at: &str, problems: &mut Vec<Problem>) -> Option<Condition> {
    let Some((_, meaning, negate)) = OPERATORS.iter().find(|(word, _, _)| *word == op) else {
        let known: Vec<&str> = OPERATORS.iter().map(|(word, _, _)| *word).collect();
        let problem = Problem::new("unknown_operator", at, format!("There is no operator \"{op}\"."));
        problems.push(match super::reader::nearest(op, &known) {
            Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
            None => problem.hint(format!("known: {}", known.join(", "))),
        });
        return None;
    };
    let values = match value {
        Json::Array(items) => items.clone(),
        single => vec![single.clone()],
    };
    if values.is_empty() {
        problems.push(Problem::new("empty_list", at, "An empty list never matches."));
    }
    for (index, item) in values.iter().enumerate() {
        let place = if value.is_array() { join(at, &index.to_string()) } else { at.to_owned() };
        check_operand(meaning, item, &place, problems);
    }
    let (kind, attribute) = attribute(name, at, problems)?;
    Some(Condition::Clause(Clause { kind, attribute, op: meaning.clone(), values, negate: *negate }))
}

/// `plan`, `/a/b`, `org:plan`, `org:/a/b`: the context kind and the attribute.
pub fn attribute(name: &str, at: &str, problems: &mut Vec<Problem>) -> Option<(String, AttributeRef)> {
    let (kind, attribute) = match name.split_once(':') {
        Some((kind, rest)) if !kind.is_empty() && !kind.starts_with('/') => (kind, rest),
        Some(_) | None => (USER, name),
    };
    match AttributeRef::parse(attribute) {
        Ok(attribute) => Some((kind.to_owned(), attribute)),
        Err(bad) => {
            let sentence = format!("\"{name}\" is not an attribute: {}.", bad.sentence());
            problems.push(Problem::new("bad_attribute", at, sentence));
            None
        }
    }
}

fn check_operand(op: &Op, value: &Json, at: &str, problems: &mut Vec<Problem>) {
    let wanted = match op {
        Op::In => match value {
            Json::Bool(_) | Json::Number(_) | Json::String(_) => return,
            Json::Null | Json::Array(_) | Json::Object(_) => "a string, a number or a boolean",
        },
        Op::StartsWith | Op::EndsWith | Op::Contains => match value.is_string() {
            true => return,
            false => "a string",
        },
        Op::Matches => match value.as_str() {
            Some(pattern) => return check_pattern(pattern, at, problems),
            None => "a string with a regular expression",
        },
        Op::LessThan | Op::LessThanOrEqual | Op::GreaterThan | Op::GreaterThanOrEqual => {
            match value.is_number() {
                true => return,
                false => "a number",
            }
        }
        Op::Before | Op::After => match value {
            Json::Number(_) => return,
            Json::String(text) if text.parse::<jiff::Timestamp>().is_ok() => return,
            _ => "a time, as 2026-01-02T03:04:05Z or milliseconds since 1970",
        },
        Op::SemVerEqual | Op::SemVerLessThan | Op::SemVerGreaterThan => match value.as_str() {
            Some(text) if version(text) => return,
            Some(_) | None => "a semantic version, as \"2.1.0\"",
        },
        Op::Unknown(_) => return,
    };
    problems.push(wrong_type(at, wanted, value));
}

/// Whether clients of every language can search with the pattern.
fn check_pattern(pattern: &str, at: &str, problems: &mut Vec<Problem>) {
    if let Err(error) = regex::Regex::new(pattern) {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let sentence = format!("This regular expression cannot be used: {last}.");
        problems.push(
            Problem::new("bad_pattern", at, sentence)
                .hint("look-around and back-references are not available in every client"),
        );
    }
}

/// Major alone or with minor and patch, then `-pre` and `+build`.
fn version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    let good = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    parts.len() <= 3 && parts.iter().all(good)
}

fn percentage(value: &Json, at: &str, problems: &mut Vec<Problem>) -> Option<Percentage> {
    match value {
        Json::Number(_) => {
            let weight = weight(value, at, problems)?;
            Some(Percentage { weight, unit: None, by: None, salt: None })
        }
        Json::Object(_) => {
            let object = Object::of(value, at, problems)?;
            object.only(&["value", "unit", "by", "salt"], problems);
            let unit = object.text("unit", problems);
            let (by, salt) = (object.text("by", problems), object.text("salt", problems));
            if let Some(by) = &by {
                attribute(by, &object.pointer("by"), problems);
            }
            match object.get("value") {
                Some(value) => weight(value, &object.pointer("value"), problems).map(|weight| Percentage {
                    weight,
                    unit,
                    by,
                    salt,
                }),
                None => {
                    problems.push(Problem::new(
                        "missing_member",
                        at,
                        "The percentage's \"value\" is missing.",
                    ));
                    None
                }
            }
        }
        other => {
            problems.push(wrong_type(
                at,
                "a percentage, as 10 or {\"value\": 10, \"by\": \"company\"}",
                other,
            ));
            None
        }
    }
}

/// A percentage from 0 to 100 with at most three decimals, in 1/100000.
pub fn weight(value: &Json, at: &str, problems: &mut Vec<Problem>) -> Option<u32> {
    let Some(percent) = value.as_f64() else {
        problems.push(wrong_type(at, "a percentage", value));
        return None;
    };
    if !(0.0..=100.0).contains(&percent) {
        let sentence = format!("{value} is not a percentage: it must be between 0 and 100.");
        problems.push(Problem::new("bad_percentage", at, sentence));
        return None;
    }
    let exact = percent * 1000.0;
    if (exact - exact.round()).abs() > 1e-6 {
        let sentence = format!("{value} is too fine: percentages have at most three decimals.");
        problems.push(Problem::new("bad_percentage", at, sentence));
        return None;
    }
    Some(exact.round() as u32)
}

/// A weight as the percentage people write.
pub fn percent(weight: u32) -> Json {
    if weight.is_multiple_of(1000) {
        Json::from(weight / 1000)
    } else {
        Json::from(f64::from(weight) / 1000.0)
    }
}

/// A readable id for a rule without one, out of what it asks; equal questions get equal ids.
pub fn slug(condition: &Json) -> String {
    let mut words = Vec::new();
    spell(condition, &mut words);
    let text: String = words
        .join("-")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    let text = text.trim_matches(['-', '.', '_']).to_owned();
    match text.len() {
        0 => "everyone".to_owned(),
        1..=48 => text,
        _ => {
            let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
            let head: String = text.chars().take(36).collect();
            format!("{}-{:08x}", head.trim_end_matches(['-', '.', '_']), hash >> 32)
        }
    }
}

fn spell(value: &Json, words: &mut Vec<String>) {
    match value {
        Json::Object(map) => {
            for (name, inner) in map {
                words.push(name.clone());
                // How large a share is may change; which rule it is may not.
                if name != "rollout_percentage" {
                    spell(inner, words);
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| spell(item, words)),
        Json::String(text) => words.push(text.clone()),
        Json::Null | Json::Bool(_) | Json::Number(_) => words.push(value.to_string()),
    }
}
