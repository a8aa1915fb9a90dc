//! Flag documents as they were written: what is left out is `None`, variants are named as the author named them.

use ensign_eval::model::ValueKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::condition;
use super::problem::Problem;
use super::reader::{self, Object, texts, wrong_type};
use super::shared::shared;
pub use super::shared::{KINDS, SHARED};
use super::text::join;
use crate::ids::Key;

/// How an author names a variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    /// By value or by name.
    pub by: PickBy,
    /// Where.
    pub at: String,
}

/// A variant, named.
#[derive(Debug, Clone, PartialEq)]
pub enum PickBy {
    /// By what the code receives.
    Value(Json),
    /// By its name.
    Name(String),
    /// By its name, or else its value written as a text: the keys of a split.
    Text(String),
}

/// A division of units.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitDocument {
    /// Variants with weights in 1/100000.
    pub parts: Vec<(Pick, u32)>,
    /// Whether the order and the pieces are meant as they stand (a list), not only the weights (an object).
    pub exact: bool,
    /// Where.
    pub at: String,
}

/// What a rule leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum ServeDocument {
    /// One variant.
    One(Pick),
    /// Several.
    Split(SplitDocument),
}

/// What stands before the unit in the hashed string, where that is not to be derived: for assignments that were made
/// elsewhere and are to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seed {
    /// The flag's key and salt, as at the end of the rules.
    Flag,
    /// This number.
    #[serde(untagged)]
    Number(i64),
}

/// What is served while a flag is off.
#[derive(Debug, Clone, PartialEq)]
pub enum OffDocument {
    /// A variant.
    Variant(Pick),
    /// The caller's own default.
    Caller,
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleDocument {
    /// Its id, if given.
    pub id: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The condition as it was written; an empty object matches everyone.
    pub condition: Json,
    /// What it leads to.
    pub serve: ServeDocument,
    /// The context kind whose key divides, if the rule says so.
    pub unit: Option<String>,
    /// The attribute that divides, if the rule says so.
    pub by: Option<String>,
    /// A salt of its own.
    pub salt: Option<String>,
    /// What its split is hashed with instead of a salt.
    pub seed: Option<Seed>,
    /// What units get that its split cannot hash, if not the default.
    pub control: Option<Pick>,
    /// Where.
    pub at: String,
}

/// A pin.
#[derive(Debug, Clone, PartialEq)]
pub struct PinDocument {
    /// Its id, if given.
    pub id: Option<String>,
    /// The context kind of the keys.
    pub unit: Option<String>,
    /// Which units.
    pub keys: Vec<String>,
    /// Or which contexts.
    pub condition: Option<Json>,
    /// What they keep.
    pub variant: Pick,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Until when: a day, or a moment.
    pub until: Option<String>,
    /// Where.
    pub at: String,
}

/// What one environment serves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SectionDocument {
    /// On or off.
    pub on: Option<bool>,
    /// Control: for everyone whom nothing else decides.
    pub default: Option<Pick>,
    /// How those are divided instead.
    pub split: Option<SplitDocument>,
    /// What is served when it is off; else the default.
    pub off: Option<OffDocument>,
    /// In order.
    pub rules: Option<Vec<RuleDocument>>,
    /// Flags that must serve a variant.
    pub prerequisites: Option<Vec<(Key, Pick)>>,
    /// Individually targeted keys: context kind, keys, variant.
    pub targets: Option<Vec<(String, Vec<String>, Pick)>>,
    /// Units that stay.
    pub pins: Option<Vec<PinDocument>>,
    /// The unit of splits and percentages that do not say.
    pub unit: Option<String>,
    /// Deals units anew when it changes.
    pub salt: Option<String>,
    /// What the split at the end is hashed with instead of the flag's key and salt.
    pub seed: Option<Seed>,
    /// Where.
    pub at: String,
}

/// A variant.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantDocument {
    /// Its name, if given.
    pub name: Option<String>,
    /// What the code receives.
    pub value: Json,
    /// Where.
    pub at: String,
}

/// A flag as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagDocument {
    /// Its key.
    pub key: Key,
    /// The type of its values, if given.
    pub value_type: Option<ValueKind>,
    /// Variants that are listed.
    pub variants: Vec<VariantDocument>,
    /// Members that belong to the flag as a whole, checked, as they were written.
    pub shared: Map<String, Json>,
    /// What environments without a section of their own serve; none if only sections are given.
    pub common: Option<SectionDocument>,
    /// Environments with a section of their own.
    pub environments: Vec<(Key, SectionDocument)>,
}

/// Members of one environment.
pub const SECTION: [&str; 13] = [
    "on",
    "default",
    "default_variant",
    "split",
    "off_value",
    "off_variant",
    "rules",
    "prerequisites",
    "targets",
    "pins",
    "unit",
    "salt",
    "seed",
];

/// Reads a flag document.
pub(super) fn read(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<FlagDocument> {
    let own = ["ensign", "flag", "type", "variants", "environments"];
    let known: Vec<&str> = own.iter().chain(&SHARED).chain(&SECTION).copied().collect();
    object.only(&known, problems);
    let key = object.key("flag", problems);
    let value_type =
        object.text("type", problems).and_then(|word| value_type(&word, &object.pointer("type"), problems));
    let variants = variants(object, problems);
    let shared = shared(object, problems);
    let has_own = SECTION.iter().any(|name| object.get(name).is_some());
    let common = section(object, problems);
    let mut environments = Vec::new();
    if let Some(sections) = object.object("environments", problems) {
        for (name, value) in sections.map {
            let at = sections.pointer(name);
            let environment = reader::key(name, &at, problems);
            if let Some(inner) = Object::of(value, &at, problems) {
                inner.only(&SECTION, problems);
                let section = section(&inner, problems);
                environments.extend(environment.map(|environment| (environment, section)));
            }
        }
    }
    let common = (has_own || environments.is_empty()).then_some(common);
    Some(FlagDocument { key: key?, value_type, variants, shared, common, environments })
}

fn value_type(word: &str, at: &str, problems: &mut Vec<Problem>) -> Option<ValueKind> {
    let found = match word {
        "boolean" | "bool" => ValueKind::Bool,
        "string" => ValueKind::String,
        "integer" | "int" => ValueKind::Int,
        "float" | "number" => ValueKind::Float,
        "json" | "object" => ValueKind::Json,
        _ => {
            let sentence = format!("There is no type \"{word}\".");
            problems.push(
                Problem::new("unknown_type", at, sentence)
                    .hint("known: boolean, string, integer, float, json"),
            );
            return None;
        }
    };
    Some(found)
}

fn variants(object: &Object<'_>, problems: &mut Vec<Problem>) -> Vec<VariantDocument> {
    let at = object.pointer("variants");
    match object.get("variants") {
        None => Vec::new(),
        Some(Json::Object(map)) => map
            .iter()
            .map(|(name, value)| VariantDocument {
                name: Some(name.clone()),
                value: value.clone(),
                at: join(&at, name),
            })
            .collect(),
        Some(Json::Array(items)) => {
            let mut all = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let at = join(&at, &index.to_string());
                all.push(VariantDocument { name: None, value: item.clone(), at });
            }
            all
        }
        Some(other) => {
            problems.push(wrong_type(&at, "an object of names and values, or a list of values", other));
            Vec::new()
        }
    }
}

/// `seed`: a whole number, or `"flag"`. Never 0, which some clients take for none.
fn seed(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<Seed> {
    let value = object.get("seed")?;
    let found = match value {
        Json::String(word) if word == "flag" => Some(Seed::Flag),
        other => other.as_i64().filter(|seed| *seed != 0).map(Seed::Number),
    };
    if found.is_none() {
        problems.push(wrong_type(&object.pointer("seed"), "a whole number other than 0, or \"flag\"", value));
    }
    if object.get("salt").is_some() && object.get("condition").is_some() && found.is_some() {
        let sentence = "A seed stands for the salt; give one of them.";
        problems.push(Problem::new("ambiguous", object.pointer("seed"), sentence));
    }
    found
}

/// What is served while the flag is off; null is the caller's own default.
fn off(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<OffDocument> {
    if object.get("off_variant") == Some(&Json::Null) {
        return Some(OffDocument::Caller);
    }
    pick(object, "off_value", "off_variant", problems).map(OffDocument::Variant)
}

/// A value or a variant's name, under one of two members.
fn pick(object: &Object<'_>, value: &str, name: &str, problems: &mut Vec<Problem>) -> Option<Pick> {
    let by_value =
        object.get(value).map(|json| Pick { by: PickBy::Value(json.clone()), at: object.pointer(value) });
    let by_name =
        object.text(name, problems).map(|text| Pick { by: PickBy::Name(text), at: object.pointer(name) });
    if let (Some(_), Some(second)) = (&by_value, &by_name) {
        let sentence = format!("Give either \"{value}\" or \"{name}\", not both.");
        problems.push(Problem::new("ambiguous", second.at.clone(), sentence));
    }
    by_value.or(by_name)
}

/// Reads what one environment serves, out of an object that may have other members.
pub(super) fn section(object: &Object<'_>, problems: &mut Vec<Problem>) -> SectionDocument {
    let split = object.get("split").and_then(|value| split(value, &object.pointer("split"), problems));
    SectionDocument {
        on: object.boolean("on", problems),
        default: pick(object, "default", "default_variant", problems),
        split,
        off: off(object, problems),
        rules: items(object, "rules", problems, rule),
        prerequisites: prerequisites(object, problems),
        targets: targets(object, problems),
        pins: items(object, "pins", problems, pin),
        unit: object.text("unit", problems),
        salt: object.text("salt", problems),
        seed: object.get("seed").and_then(|_| seed(object, problems)),
        at: object.at.clone(),
    }
}

fn items<T>(
    object: &Object<'_>,
    name: &str,
    problems: &mut Vec<Problem>,
    read: impl Fn(&Object<'_>, &mut Vec<Problem>) -> Option<T>,
) -> Option<Vec<T>> {
    let at = object.pointer(name);
    let list = object.list(name, problems)?;
    let mut all = Vec::new();
    for (index, item) in list.iter().enumerate() {
        if let Some(inner) = Object::of(item, &join(&at, &index.to_string()), problems) {
            all.extend(read(&inner, problems));
        }
    }
    Some(all)
}

fn rule(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<RuleDocument> {
    object.only(
        &[
            "condition",
            "value",
            "variant",
            "split",
            "unit",
            "by",
            "salt",
            "seed",
            "control",
            "id",
            "description",
        ],
        problems,
    );
    let condition = object.get("condition").cloned().unwrap_or_else(|| Json::Object(Map::new()));
    let read = condition::read(&condition, &object.pointer("condition"), problems);
    let id = object.text("id", problems);
    if let Some(id) = &id {
        reader::key(id, &object.pointer("id"), problems);
        if id == "fallthrough" {
            problems.push(Problem::new(
                "bad_key",
                object.pointer("id"),
                "\"fallthrough\" means the end of the rules.",
            ));
        }
    }
    let by = object.text("by", problems);
    if let Some(by) = &by {
        condition::attribute(by, &object.pointer("by"), problems);
    }
    let serve = serve(object, read.percentage.is_some(), problems)?;
    Some(RuleDocument {
        id,
        description: object.text("description", problems),
        condition,
        serve,
        unit: object.text("unit", problems),
        by,
        salt: object.text("salt", problems),
        seed: seed(object, problems),
        control: object
            .text("control", problems)
            .map(|text| Pick { by: PickBy::Text(text), at: object.pointer("control") }),
        at: object.at.clone(),
    })
}

/// What a rule leads to.
fn serve(object: &Object<'_>, has_percentage: bool, problems: &mut Vec<Problem>) -> Option<ServeDocument> {
    let one = pick(object, "value", "variant", problems);
    let split = object.get("split").and_then(|value| split(value, &object.pointer("split"), problems));
    match (one, split) {
        (Some(one), None) => Some(ServeDocument::One(one)),
        (None, Some(split)) => {
            if has_percentage {
                let sentence = "A rule has either a rollout_percentage or a split, not both.";
                let problem = Problem::new("ambiguous", object.pointer("split"), sentence);
                problems.push(problem.hint("a split divides everyone whom the rule matches"));
            }
            Some(ServeDocument::Split(split))
        }
        (Some(_), Some(_)) => {
            let sentence = "A rule has either a value or a split, not both.";
            problems.push(Problem::new("ambiguous", object.pointer("split"), sentence));
            None
        }
        (None, None) => {
            if object.get("split").is_none() {
                let sentence = "The rule does not say what it serves.";
                problems.push(
                    Problem::new("missing_member", &object.at, sentence)
                        .hint("add \"value\", \"variant\" or \"split\""),
                );
            }
            None
        }
    }
}

/// `{"a": 90, "b": 10}` or `[{"variant": "a", "percentage": 90}, …]`.
pub(super) fn split(value: &Json, at: &str, problems: &mut Vec<Problem>) -> Option<SplitDocument> {
    let before = problems.len();
    let mut parts = Vec::new();
    let exact = value.is_array();
    match value {
        Json::Object(map) => {
            for (name, share) in map {
                let at = join(at, name);
                let weight = condition::weight(share, &at, problems);
                parts.extend(weight.map(|weight| (Pick { by: PickBy::Text(name.clone()), at }, weight)));
            }
        }
        Json::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                let Some(part) = Object::of(item, &join(at, &index.to_string()), problems) else { continue };
                part.only(&["variant", "value", "percentage"], problems);
                let Some(pick) = pick(&part, "value", "variant", problems) else { continue };
                let weight = part
                    .get("percentage")
                    .and_then(|share| condition::weight(share, &part.pointer("percentage"), problems));
                parts.extend(weight.map(|weight| (pick, weight)));
            }
        }
        other => problems.push(wrong_type(at, "an object of variants and percentages", other)),
    }
    let sum: u64 = parts.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if problems.len() == before && sum != 100_000 {
        let sentence = format!("The percentages add up to {}, not to 100.", sum as f64 / 1000.0);
        problems.push(Problem::new("bad_split", at, sentence));
    }
    (problems.len() == before).then(|| SplitDocument { parts, exact, at: at.to_owned() })
}

fn prerequisites(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<Vec<(Key, Pick)>> {
    let at = object.pointer("prerequisites");
    match object.get("prerequisites")? {
        Json::Object(map) => {
            let mut all = Vec::new();
            for (name, value) in map {
                let at = join(&at, name);
                let pick = Pick { by: PickBy::Value(value.clone()), at: at.clone() };
                all.extend(reader::key(name, &at, problems).map(|key| (key, pick)));
            }
            Some(all)
        }
        _ => items(object, "prerequisites", problems, |object, problems| {
            object.only(&["flag", "variant", "value"], problems);
            let pick = pick(object, "value", "variant", problems);
            let key = object.key("flag", problems);
            if pick.is_none() || object.get("flag").is_none() {
                let sentence =
                    "A prerequisite has a \"flag\" and the \"value\" or \"variant\" it must serve.";
                problems.push(Problem::new("missing_member", &object.at, sentence));
            }
            Some((key?, pick?))
        }),
    }
}

fn targets(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<Vec<(String, Vec<String>, Pick)>> {
    let at = object.pointer("targets");
    match object.get("targets")? {
        Json::Object(map) => {
            let mut all = Vec::new();
            for (name, value) in map {
                let at = join(&at, name);
                let keys = texts(value, &at, problems).unwrap_or_default();
                all.push(("user".to_owned(), keys, Pick { by: PickBy::Text(name.clone()), at }));
            }
            Some(all)
        }
        _ => items(object, "targets", problems, |object, problems| {
            object.only(&["unit", "keys", "variant", "value"], problems);
            let unit = object.text("unit", problems).unwrap_or_else(|| "user".to_owned());
            let keys = object.texts("keys", problems).unwrap_or_default();
            Some((unit, keys, pick(object, "value", "variant", problems)?))
        }),
    }
}

/// Reads a pin.
pub(crate) fn pin(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<PinDocument> {
    let known = ["id", "who", "unit", "condition", "variant", "value", "owner", "reason", "until"];
    object.only(&known, problems);
    let keys = object.texts("who", problems).unwrap_or_default();
    let condition = object.get("condition").cloned();
    if let Some(condition) = &condition {
        let read = condition::read(condition, &object.pointer("condition"), problems);
        if read.percentage.is_some() {
            let at = object.pointer("condition");
            problems.push(Problem::new(
                "pinned_percentage",
                at,
                "A pin holds named units or a condition, not a share.",
            ));
        }
    }
    if keys.is_empty() == condition.is_none() {
        let sentence = "A pin says \"who\" (keys of units) or has a \"condition\".";
        problems.push(Problem::new("missing_member", &object.at, sentence));
    }
    let (owner, reason) = (object.text("owner", problems), object.text("reason", problems));
    for (name, value) in [("owner", &owner), ("reason", &reason)] {
        if value.is_none() && object.get(name).is_none() {
            problems.push(Problem::new("missing_member", &object.at, format!("A pin needs its \"{name}\".")));
        }
    }
    let until = object.text("until", problems);
    if let Some(text) = &until
        && super::until(text).is_none()
    {
        let sentence = format!("\"{text}\" is not a day or a time.");
        let problem = Problem::new("bad_date", object.pointer("until"), sentence);
        problems.push(problem.hint("write it as 2026-12-31 or 2026-12-31T18:00:00Z"));
    }
    let variant = pick(object, "value", "variant", problems);
    if variant.is_none() {
        problems.push(Problem::new(
            "missing_member",
            &object.at,
            "The pin does not say what the units keep.",
        ));
    }
    let id = object.text("id", problems);
    let unit = object.text("unit", problems);
    Some(PinDocument {
        id,
        unit,
        keys,
        condition,
        variant: variant?,
        owner: owner?,
        reason: reason?,
        until,
        at: object.at.clone(),
    })
}
