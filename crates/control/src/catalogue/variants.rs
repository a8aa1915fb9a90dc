//! Variants: how values and names in documents become a flag's append-only list.

use std::collections::BTreeSet;

use ensign_eval::model::ValueKind;
use serde_json::Value as Json;

use super::state::{FlagRecord, VariantRecord};
use crate::document::flag::{OffDocument, VariantDocument};
use crate::document::reader::nearest;
use crate::document::{FlagDocument, Pick, PickBy, Problem, SectionDocument, ServeDocument};

/// Text longer than this is not its own name.
const LONGEST_NAME: usize = 100;

/// A flag's variants while documents are read into them.
pub(super) struct Variants {
    /// The type of the values.
    pub(super) kind: ValueKind,
    /// The list.
    pub(super) list: Vec<VariantRecord>,
    /// Variants of an active rollout: their payload cannot be edited.
    pub(super) locked: BTreeSet<String>,
    /// What the author is told.
    pub(super) notes: Vec<String>,
}

/// The type of that word.
pub(super) fn kind_of(word: &str) -> ValueKind {
    let all = [ValueKind::Bool, ValueKind::String, ValueKind::Int, ValueKind::Float, ValueKind::Json];
    all.into_iter().find(|kind| kind.word() == word).unwrap_or(ValueKind::Json)
}

fn natural(value: &Json) -> ValueKind {
    match value {
        Json::Bool(_) => ValueKind::Bool,
        Json::String(_) => ValueKind::String,
        Json::Number(n) if n.is_f64() => ValueKind::Float,
        Json::Number(_) => ValueKind::Int,
        Json::Null | Json::Array(_) | Json::Object(_) => ValueKind::Json,
    }
}

/// The value as the type keeps it, if it is of the type.
pub(super) fn conform(kind: ValueKind, value: &Json) -> Option<Json> {
    match (kind, value) {
        (ValueKind::Bool, Json::Bool(_)) | (ValueKind::String, Json::String(_)) | (ValueKind::Json, _) => {
            Some(value.clone())
        }
        (ValueKind::Int, Json::Number(n)) => n.as_i64().map(Json::from),
        (ValueKind::Float, Json::Number(n)) => n.as_f64().map(Json::from),
        (ValueKind::Bool | ValueKind::String | ValueKind::Int | ValueKind::Float, _) => None,
    }
}

fn picks(section: &SectionDocument) -> impl Iterator<Item = &Pick> {
    let split = section.split.iter().flat_map(|split| split.parts.iter().map(|(pick, _)| pick));
    let rules = section.rules.iter().flatten().flat_map(|rule| match &rule.serve {
        ServeDocument::One(pick) => vec![pick],
        ServeDocument::Split(split) => split.parts.iter().map(|(pick, _)| pick).collect(),
    });
    let targets = section.targets.iter().flatten().map(|(_, _, pick)| pick);
    let pins = section.pins.iter().flatten().map(|pin| &pin.variant);
    let off = section.off.iter().filter_map(|off| match off {
        OffDocument::Variant(pick) => Some(pick),
        OffDocument::Caller => None,
    });
    section.default.iter().chain(off).chain(split).chain(rules).chain(targets).chain(pins)
}

/// The type of a flag: what it says, what it was, or what its values are.
fn settle(
    document: &FlagDocument,
    record: Option<&FlagRecord>,
    problems: &mut Vec<Problem>,
) -> Option<ValueKind> {
    if let Some(record) = record {
        let was = kind_of(&record.value_type);
        if document.value_type.is_some_and(|kind| kind != was) {
            let sentence = format!("The flag's type is {}; a type never changes.", was.word());
            problems
                .push(Problem::new("type_is_settled", "/type", sentence).hint("a new type needs a new flag"));
            return None;
        }
        return Some(was);
    }
    if document.value_type.is_some() {
        return document.value_type;
    }
    let sections = document.common.iter().chain(document.environments.iter().map(|(_, section)| section));
    let picked = sections.flat_map(picks).filter_map(|pick| match &pick.by {
        PickBy::Value(value) => Some(value),
        PickBy::Name(_) | PickBy::Text(_) => None,
    });
    let kinds: BTreeSet<ValueKind> =
        document.variants.iter().map(|variant| &variant.value).chain(picked).map(natural).collect();
    let kinds: Vec<ValueKind> = kinds.into_iter().collect();
    match kinds.as_slice() {
        [one] => Some(*one),
        [ValueKind::Int, ValueKind::Float] => Some(ValueKind::Float),
        [] => {
            let sentence = "The flag has no value: a default is missing.";
            problems.push(Problem::new("missing_member", "", sentence).hint("add \"default\""));
            None
        }
        several => {
            let words: Vec<&str> = several.iter().map(|kind| kind.word()).collect();
            let sentence = format!("The flag's values have different types: {}.", words.join(", "));
            problems.push(Problem::new("mixed_types", "", sentence).hint("\"type\": \"json\" allows any"));
            None
        }
    }
}

/// The name that a value gives itself, if it is a scalar.
pub(super) fn own_name(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

impl Variants {
    /// The variants after the document's own list has been read.
    pub(super) fn of(
        document: &FlagDocument,
        record: Option<&FlagRecord>,
        locked: BTreeSet<String>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let kind = settle(document, record, problems)?;
        let list = record.map(|record| record.variants.clone()).unwrap_or_default();
        let mut variants = Self { kind, list, locked, notes: Vec::new() };
        for variant in &document.variants {
            variants.declare(variant, problems);
        }
        Some(variants)
    }

    fn declare(&mut self, variant: &VariantDocument, problems: &mut Vec<Problem>) {
        let Some(value) = self.checked(&variant.value, &variant.at, problems) else { return };
        let Some(name) = &variant.name else {
            self.by_value(value);
            return;
        };
        let Some(known) = self.list.iter_mut().find(|known| known.name == *name) else {
            // A name that says what the value says is no name.
            let named = own_name(&value).as_ref() != Some(name);
            self.list.push(VariantRecord { name: name.clone(), value, named });
            return;
        };
        if known.value == value {
            return;
        }
        if !self.locked.contains(name) {
            known.value = value;
            return;
        }
        if self.list.iter().any(|other| other.value == value) {
            return;
        }
        let fresh =
            (2..).map(|n| format!("{name}-{n}")).find(|name| self.list.iter().all(|v| v.name != *name));
        let fresh = fresh.unwrap_or_else(|| format!("{name}-new"));
        self.notes.push(format!(
            "Variant {name} is part of a running rollout and keeps its payload; the new payload is variant {fresh}."
        ));
        self.list.push(VariantRecord { name: fresh, value, named: true });
    }

    fn checked(&self, value: &Json, at: &str, problems: &mut Vec<Problem>) -> Option<Json> {
        let found = conform(self.kind, value);
        if found.is_none() {
            let sentence = format!("The flag's values are of type {}; {value} is not.", self.kind.word());
            problems.push(Problem::new("wrong_type", at, sentence));
        }
        found
    }

    fn by_value(&mut self, value: Json) -> String {
        let same = self.list.iter().filter(|variant| variant.value == value);
        if let Some(known) = same.min_by_key(|variant| variant.named) {
            return known.name.clone();
        }
        let own = own_name(&value);
        let free = |name: &String| self.list.iter().all(|variant| variant.name != *name);
        let usable = |name: &String| !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains('\n');
        let own = own.filter(usable).filter(free);
        let counted = || (1..).map(|n| format!("v{n}")).find(free);
        let name = own.or_else(counted).unwrap_or_default();
        self.list.push(VariantRecord { name: name.clone(), value, named: false });
        name
    }

    /// The name of the variant that an author means; a new value becomes a new variant.
    pub(super) fn name(&mut self, pick: &Pick, problems: &mut Vec<Problem>) -> Option<String> {
        match &pick.by {
            PickBy::Value(value) => self.checked(value, &pick.at, problems).map(|value| self.by_value(value)),
            PickBy::Name(name) => self.known(name, pick, problems),
            PickBy::Text(text) => {
                if self.list.iter().any(|variant| variant.name == *text) {
                    return Some(text.clone());
                }
                let value = match self.kind {
                    ValueKind::String => Some(Json::String(text.clone())),
                    ValueKind::Bool | ValueKind::Int | ValueKind::Float => {
                        serde_json::from_str(text).ok().and_then(|value| conform(self.kind, &value))
                    }
                    ValueKind::Json => None,
                };
                match value {
                    Some(value) => Some(self.by_value(value)),
                    None => self.known(text, pick, problems),
                }
            }
        }
    }

    fn known(&self, name: &str, pick: &Pick, problems: &mut Vec<Problem>) -> Option<String> {
        if self.list.iter().any(|variant| variant.name == name) {
            return Some(name.to_owned());
        }
        let names: Vec<&str> = self.list.iter().map(|variant| variant.name.as_str()).collect();
        let problem =
            Problem::new("unknown_variant", pick.at.clone(), format!("There is no variant \"{name}\"."));
        problems.push(match nearest(name, &names) {
            Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
            None => problem.hint(format!("known: {}", names.join(", "))),
        });
        None
    }

    /// The variant that a command names, by name or by value.
    pub(super) fn find<'r>(record: &'r FlagRecord, wanted: &Json) -> Option<&'r VariantRecord> {
        let kind = kind_of(&record.value_type);
        let text = wanted.as_str();
        let by_name = record.variants.iter().find(|variant| Some(variant.name.as_str()) == text);
        let typed = conform(kind, wanted)
            .or_else(|| serde_json::from_str(text?).ok().and_then(|value| conform(kind, &value)));
        by_name.or_else(|| record.variants.iter().find(|variant| Some(&variant.value) == typed.as_ref()))
    }
}
