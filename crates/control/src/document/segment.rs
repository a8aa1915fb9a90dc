//! Segment documents: reusable sets of units.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::condition;
use super::problem::Problem;
use super::reader::{self, Object, texts};
use super::text::join;
use crate::ids::Key;

/// A rule of a segment; any that matches includes.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentRuleDocument {
    /// Its id, if given.
    pub id: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The condition as it was written.
    pub condition: Json,
}

/// Who is in a segment, in one environment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SegmentSection {
    /// Keys that are in, by context kind.
    pub includes: BTreeMap<String, Vec<String>>,
    /// Keys that are out, by context kind.
    pub excludes: BTreeMap<String, Vec<String>>,
    /// Rules.
    pub rules: Vec<SegmentRuleDocument>,
    /// Deals percentages anew when it changes.
    pub salt: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Segments that its rules ask, with the place of each.
    pub asks: Vec<(String, String)>,
}

/// A segment as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentDocument {
    /// Its key.
    pub key: Key,
    /// What environments without a section of their own have.
    pub common: Option<SegmentSection>,
    /// Environments with a section of their own.
    pub environments: Vec<(Key, SegmentSection)>,
}

const SECTION: [&str; 6] = ["includes", "excludes", "rules", "salt", "owner", "description"];

pub(super) fn read(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<SegmentDocument> {
    let known: Vec<&str> = ["ensign", "segment", "environments"].iter().chain(&SECTION).copied().collect();
    object.only(&known, problems);
    let key = object.key("segment", problems);
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
    Some(SegmentDocument { key: key?, common, environments })
}

/// Reads what one environment has.
pub(crate) fn section(object: &Object<'_>, problems: &mut Vec<Problem>) -> SegmentSection {
    let mut asks = Vec::new();
    let mut rules = Vec::new();
    let at = object.pointer("rules");
    for (index, item) in object.list("rules", problems).into_iter().flatten().enumerate() {
        let Some(rule) = Object::of(item, &join(&at, &index.to_string()), problems) else { continue };
        rule.only(&["id", "description", "condition"], problems);
        let condition = rule.get("condition").cloned().unwrap_or_else(|| Json::Object(Map::new()));
        let read = condition::read(&condition, &rule.pointer("condition"), problems);
        asks.extend(read.segments);
        let id = rule.text("id", problems);
        rules.push(SegmentRuleDocument { id, description: rule.text("description", problems), condition });
    }
    SegmentSection {
        includes: keys(object, "includes", problems),
        excludes: keys(object, "excludes", problems),
        rules,
        salt: object.text("salt", problems),
        owner: object.text("owner", problems),
        description: object.text("description", problems),
        asks,
    }
}

/// A list of user keys, or an object of lists by context kind.
fn keys(object: &Object<'_>, name: &str, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<String>> {
    let at = object.pointer(name);
    let found: Vec<(String, Option<Vec<String>>)> = match object.get(name) {
        None => Vec::new(),
        Some(Json::Object(kinds)) => {
            kinds.iter().map(|(kind, list)| (kind.clone(), texts(list, &join(&at, kind), problems))).collect()
        }
        Some(list) => vec![("user".to_owned(), texts(list, &at, problems))],
    };
    found
        .into_iter()
        .filter_map(|(kind, list)| list.filter(|l| !l.is_empty()).map(|list| (kind, list)))
        .collect()
}
