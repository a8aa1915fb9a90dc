//! Writing the catalogue back as documents: applying them changes nothing.

use serde_json::{Map, Value as Json, json};

use super::Catalogue;
use super::change::ItemKey;
use super::state::{FlagRecord, Off, Part, Rule, Section, SegmentState, Serve, VariantRecord};
use super::variants::{Variants, own_name};
use super::view::View;
use crate::document::condition::{percent, slug};
use crate::document::flag::SHARED;
use crate::ids::{Key, Place};

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON array.
    Json,
    /// One YAML stream.
    Yaml,
}

/// What is exported.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Export {
    /// The documents: metrics, use cases, segments, flags.
    pub documents: Vec<Json>,
}

impl Export {
    /// The documents as a text.
    pub fn text(&self, format: ExportFormat) -> String {
        match format {
            ExportFormat::Json => {
                let value = match self.documents.as_slice() {
                    [one] => one.clone(),
                    several => Json::Array(several.to_vec()),
                };
                let mut text = serde_json::to_string_pretty(&value).expect("documents have string keys");
                text.push('\n');
                text
            }
            ExportFormat::Yaml => {
                let mut text = String::new();
                for (at, document) in self.documents.iter().enumerate() {
                    if at > 0 {
                        text.push_str("---\n");
                    }
                    yaml(document, 0, &mut text);
                }
                text
            }
        }
    }
}

impl Catalogue {
    /// The documents of a project: everything that files can say. Retired flags are left out.
    pub fn export(&self, project: &Key) -> Export {
        let mut documents = Vec::new();
        let scope = super::Scope::project(project);
        for kind in ["metric", "use_case"] {
            for key in self.keys(&scope, kind) {
                let id = ItemKey { scope: scope.clone(), kind: kind.to_owned(), key };
                documents.extend(self.body(&id).map(|body| body.json()));
            }
        }
        let places = self.places(project);
        let mut segments: Vec<String> = places.iter().flat_map(|place| self.segments(place)).collect();
        segments.sort();
        segments.dedup();
        for key in segments {
            let sections = places
                .iter()
                .filter_map(|place| Some((place, segment(&self.segment_state(place, &key)?))))
                .collect();
            documents.push(together(json!({ "segment": key }), sections, places.len()));
        }
        for key in self.flag_keys(project) {
            documents.extend(self.export_flag(project, &key));
        }
        Export { documents }
    }

    /// The document of one flag, unless it is retired.
    pub fn export_flag(&self, project: &Key, key: &Key) -> Option<Json> {
        let record = self.flag_record(project, key).filter(|record| record.retired.is_none())?;
        let places = self.places(project);
        let sections: Vec<(&Place, Map<String, Json>)> = places
            .iter()
            .filter_map(|place| Some((place, section(&record, &self.flag_state(place, key)?.section))))
            .collect();
        let document = |variants: Option<Json>| {
            let mut head = Map::new();
            head.insert("flag".to_owned(), key.as_str().into());
            head.insert("type".to_owned(), record.value_type.clone().into());
            head.extend(variants.map(|variants| ("variants".to_owned(), variants)));
            let member = |name: &&str| Some(((*name).to_owned(), record.shared.get(*name)?.clone()));
            head.extend(SHARED.iter().filter_map(member));
            together(Json::Object(head), sections.clone(), places.len())
        };
        let plain = document(None);
        let listed = variants(&record, &plain);
        Some(if listed.is_some() { document(listed) } else { plain })
    }
}

/// Equal sections stand once; different ones each under their environment.
fn together(head: Json, sections: Vec<(&Place, Map<String, Json>)>, places: usize) -> Json {
    let mut document = match head {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    let equal = sections.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a == b));
    match sections.first() {
        Some((_, first)) if equal && sections.len() == places => document.extend(first.clone()),
        _ => {
            let named = sections
                .into_iter()
                .map(|(place, section)| (place.environment.as_str().to_owned(), Json::Object(section)));
            document.insert("environments".to_owned(), Json::Object(named.collect()));
        }
    }
    Json::Object(document)
}

/// Variants are listed where the rest of the document alone would not give the same list again.
fn variants(record: &FlagRecord, without: &Json) -> Option<Json> {
    if again(without).is_some_and(|list| list == record.variants) {
        return None;
    }
    if record.variants.iter().enumerate().all(|(at, variant)| natural_name(at, variant)) {
        return Some(record.variants.iter().map(|variant| variant.value.clone()).collect());
    }
    Some(Json::Object(record.variants.iter().map(|v| (v.name.clone(), v.value.clone())).collect()))
}

/// The variants that a document gives a flag that is new.
fn again(document: &Json) -> Option<Vec<VariantRecord>> {
    let parsed = crate::document::parse_value("", document).ok()?;
    let crate::document::Document::Flag(flag) = &parsed.document else { return None };
    let mut problems = Vec::new();
    let mut variants = Variants::of(flag, None, std::collections::BTreeSet::new(), &mut problems)?;
    // What is exported has either sections for every environment, in their order, or one for all.
    let sections = flag.environments.iter().map(|(_, section)| section).chain(flag.common.as_ref());
    for section in sections {
        super::canonical::section(section, None, &mut variants, &mut problems);
    }
    problems.is_empty().then_some(variants.list)
}

/// Whether the name is what the value says.
fn plain_name(variant: &VariantRecord) -> bool {
    own_name(&variant.value).as_deref() == Some(variant.name.as_str())
}

/// Whether a list of values alone gives the variant this name.
fn natural_name(at: usize, variant: &VariantRecord) -> bool {
    plain_name(variant) || variant.name == format!("v{}", at + 1)
}

/// A variant under the member for values, or the one for names.
fn pick(record: &FlagRecord, name: &str, value: &str, by_name: &str) -> (String, Json) {
    match record.variant(name) {
        Some((_, variant)) if plain_name(variant) && !variant.named => {
            (value.to_owned(), variant.value.clone())
        }
        _ => (by_name.to_owned(), name.into()),
    }
}

fn parts(record: &FlagRecord, parts: &[Part]) -> Json {
    let part = |part: &Part| {
        let (name, value) = pick(record, &part.variant, "value", "variant");
        Json::Object([(name, value), ("percentage".to_owned(), percent(part.weight))].into_iter().collect())
    };
    parts.iter().map(part).collect()
}

fn section(record: &FlagRecord, section: &Section) -> Map<String, Json> {
    let mut members = Map::new();
    if !section.on {
        members.insert("on".to_owned(), false.into());
    }
    members.extend([pick(record, &section.default, "default", "default_variant")]);
    match &section.off {
        Some(Off::Variant(off)) => members.extend([pick(record, off, "off_value", "off_variant")]),
        Some(Off::Caller(_)) => drop(members.insert("off_variant".to_owned(), Json::Null)),
        None => {}
    }
    members.extend(section.split.as_deref().map(|split| ("split".to_owned(), parts(record, split))));
    members.extend(section.unit.as_deref().map(|unit| ("unit".to_owned(), unit.into())));
    members.extend(section.salt.as_deref().map(|salt| ("salt".to_owned(), salt.into())));
    members.extend(section.seed.map(|seed| ("seed".to_owned(), json!(seed))));
    if !section.rules.is_empty() {
        let mut seen = std::collections::BTreeMap::new();
        let rules: Json = section.rules.iter().map(|rule| self::rule(record, rule, &mut seen)).collect();
        members.insert("rules".to_owned(), rules);
    }
    if !section.prerequisites.is_empty() {
        let all: Json =
            section.prerequisites.iter().map(|p| json!({ "flag": p.flag, "variant": p.variant })).collect();
        members.insert("prerequisites".to_owned(), all);
    }
    if !section.targets.is_empty() {
        let one = |target: &super::state::Target| {
            let mut members = Map::new();
            members.insert("unit".to_owned(), target.unit.clone().into());
            members.insert("keys".to_owned(), target.keys.clone().into());
            members.extend([pick(record, &target.variant, "value", "variant")]);
            Json::Object(members)
        };
        members.insert("targets".to_owned(), section.targets.iter().map(one).collect());
    }
    if !section.pins.is_empty() {
        let one = |pin: &super::state::Pin| {
            let mut members = match super::canonical::plain(pin) {
                Json::Object(members) => members,
                _ => Map::new(),
            };
            members.shift_remove("variant");
            members.extend([pick(record, &pin.variant, "value", "variant")]);
            Json::Object(members)
        };
        members.insert("pins".to_owned(), section.pins.iter().map(one).collect());
    }
    members
}

fn rule(record: &FlagRecord, rule: &Rule, seen: &mut std::collections::BTreeMap<String, u32>) -> Json {
    let mut members = Map::new();
    // The id that a rule would get anyway is left out, so that what was written by hand comes back as it was.
    let derived = slug(&rule.condition);
    let count = seen.entry(derived.clone()).or_insert(0);
    let natural = if *count == 0 { derived } else { format!("{derived}-{}", *count + 1) };
    if natural == rule.id {
        *count += 1;
    } else {
        members.insert("id".to_owned(), rule.id.clone().into());
        *seen.entry(rule.id.clone()).or_insert(0) += 1;
    }
    members.extend(rule.description.as_deref().map(|text| ("description".to_owned(), text.into())));
    members.insert("condition".to_owned(), rule.condition.clone());
    match &rule.serve {
        Serve::Variant(name) => members.extend([pick(record, name, "value", "variant")]),
        Serve::Split(split) => members.extend([("split".to_owned(), parts(record, split))]),
    }
    members.extend(rule.seed.map(|seed| ("seed".to_owned(), json!(seed))));
    for (name, value) in
        [("unit", &rule.unit), ("by", &rule.by), ("salt", &rule.salt), ("control", &rule.control)]
    {
        members.extend(value.as_deref().map(|value| (name.to_owned(), value.into())));
    }
    Json::Object(members)
}

fn segment(state: &SegmentState) -> Map<String, Json> {
    let mut members = match super::canonical::plain(state) {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    for name in ["includes", "excludes"] {
        let only_users = members.get(name).and_then(Json::as_object).filter(|kinds| kinds.len() == 1);
        if let Some(users) = only_users.and_then(|kinds| kinds.get("user")).cloned() {
            members.insert(name.to_owned(), users);
        }
    }
    members
}

/// Block YAML with every text in double quotes, which is JSON and means the same to every reader.
fn yaml(value: &Json, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Json::Object(members) if !members.is_empty() => {
            for (name, inner) in members {
                text.push_str(&format!("{indent}{}:", key(name)));
                below(inner, depth, text);
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                text.push_str(&format!("{indent}-"));
                below(item, depth, text);
            }
        }
        scalar => text.push_str(&format!("{indent}{scalar}\n")),
    }
}

fn below(value: &Json, depth: usize, text: &mut String) {
    let nested = match value {
        Json::Object(members) => !members.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    };
    if nested {
        text.push('\n');
        yaml(value, depth + 1, text);
    } else {
        text.push_str(&format!(" {value}\n"));
    }
}

fn key(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if plain { name.to_owned() } else { Json::from(name).to_string() }
}
