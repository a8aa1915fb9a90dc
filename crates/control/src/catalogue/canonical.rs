//! From a document's section to canonical members: variants by name, every rule with an id, splits as intervals.

use std::collections::BTreeMap;

use ensign_eval::model::Interval;
use ensign_eval::split::{lay_out, reweigh};
use serde_json::{Map, Value as Json};

use super::state::{
    FALLTHROUGH, Nothing, Off, Part, Pin, Prerequisite, Rule, Section, SegmentRule, SegmentState, Serve,
    Target,
};
use super::variants::Variants;
use crate::document::flag::{OffDocument, SplitDocument};
use crate::document::{
    PinDocument, Problem, RuleDocument, SectionDocument, SegmentSection, ServeDocument, condition,
};

/// The members that a section gives, in canonical form; members left out are not there.
pub(super) fn section(
    document: &SectionDocument,
    live: Option<&Section>,
    variants: &mut Variants,
    problems: &mut Vec<Problem>,
) -> Map<String, Json> {
    let mut members = Map::new();
    let mut set = |name: &str, value: Json| drop(members.insert(name.to_owned(), value));
    if let Some(on) = document.on {
        set("on", on.into());
    }
    let default = document.default.as_ref().and_then(|pick| variants.name(pick, problems));
    let control = default.clone().or_else(|| live.map(|live| live.default.clone()));
    if let Some(default) = default {
        set("default", default.into());
    }
    let off = match &document.off {
        Some(OffDocument::Variant(pick)) => variants.name(pick, problems).map(Off::Variant),
        Some(OffDocument::Caller) => Some(Off::Caller(Nothing { caller: true })),
        None => None,
    };
    if let Some(off) = off {
        set("off", plain(&off));
    }
    if let Some(document) = &document.split {
        let live = live.and_then(|live| live.split_at(FALLTHROUGH));
        if let Some(parts) = split(document, control.as_deref(), live, variants, problems) {
            set("split", plain(&parts));
        }
    }
    if let Some(rules) = &document.rules {
        set("rules", plain(&self::rules(rules, control.as_deref(), live, variants, problems)));
    }
    if let Some(prerequisites) = &document.prerequisites {
        // The variant belongs to another flag, which is looked up later; until then it is kept as it was written.
        let all: Vec<Prerequisite> = prerequisites
            .iter()
            .map(|(flag, pick)| Prerequisite { flag: flag.clone(), variant: as_text(&pick.by) })
            .collect();
        set("prerequisites", plain(&all));
    }
    if let Some(targets) = &document.targets {
        let mut all = Vec::new();
        for (unit, keys, pick) in targets {
            let variant = variants.name(pick, problems);
            all.extend(variant.map(|variant| Target { unit: unit.clone(), keys: keys.clone(), variant }));
        }
        set("targets", plain(&all));
    }
    if let Some(pins) = &document.pins {
        set("pins", plain(&self::pins(pins, variants, problems)));
    }
    if let Some(unit) = &document.unit {
        set("unit", unit.as_str().into());
    }
    if let Some(salt) = &document.salt {
        set("salt", salt.as_str().into());
    }
    if let Some(seed) = &document.seed {
        set("seed", plain(seed));
    }
    members
}

pub(super) fn plain<T: serde::Serialize>(value: &T) -> Json {
    serde_json::to_value(value).expect("sections have string keys and finite numbers")
}

fn as_text(by: &crate::document::PickBy) -> String {
    use crate::document::PickBy;
    match by {
        PickBy::Name(text) | PickBy::Text(text) | PickBy::Value(Json::String(text)) => text.clone(),
        PickBy::Value(value) => value.to_string(),
    }
}

/// Ids that are given, and for the others what they ask, numbered where it is asked twice.
struct Ids(BTreeMap<String, u32>);

impl Ids {
    fn next(
        &mut self,
        given: Option<&str>,
        derived: String,
        at: &str,
        problems: &mut Vec<Problem>,
    ) -> String {
        let given_too = given.is_some();
        let id = given.map_or(derived, str::to_owned);
        let count = self.0.entry(id.clone()).or_insert(0);
        *count += 1;
        match (*count, given_too) {
            (1, _) => id,
            (_, true) => {
                problems.push(Problem::new("duplicate_id", at, format!("The id \"{id}\" is here twice.")));
                id
            }
            (n, false) => format!("{id}-{n}"),
        }
    }
}

fn rules(
    documents: &[RuleDocument],
    control: Option<&str>,
    live: Option<&Section>,
    variants: &mut Variants,
    problems: &mut Vec<Problem>,
) -> Vec<Rule> {
    let mut ids = Ids(BTreeMap::new());
    let mut all = Vec::new();
    for document in documents {
        let id =
            ids.next(document.id.as_deref(), condition::slug(&document.condition), &document.at, problems);
        let own = document.control.as_ref().and_then(|pick| variants.name(pick, problems));
        let serve = match &document.serve {
            ServeDocument::One(pick) => variants.name(pick, problems).map(Serve::Variant),
            ServeDocument::Split(document) => {
                let live = live.and_then(|live| live.split_at(&id));
                split(document, own.as_deref().or(control), live, variants, problems).map(Serve::Split)
            }
        };
        all.extend(serve.map(|serve| Rule {
            id,
            description: document.description.clone(),
            condition: document.condition.clone(),
            serve,
            unit: document.unit.clone(),
            by: document.by.clone(),
            salt: document.salt.clone(),
            seed: document.seed,
            control: own,
        }));
    }
    all
}

/// Pins in canonical form.
pub(super) fn pins(
    documents: &[PinDocument],
    variants: &mut Variants,
    problems: &mut Vec<Problem>,
) -> Vec<Pin> {
    let mut ids = Ids(BTreeMap::new());
    let mut all = Vec::new();
    for document in documents {
        let derived = match &document.condition {
            Some(condition) => condition::slug(condition),
            None => condition::slug(&Json::from(document.keys.clone())),
        };
        let id = ids.next(document.id.as_deref(), derived, &document.at, problems);
        let variant = variants.name(&document.variant, problems);
        all.extend(variant.map(|variant| Pin {
            id,
            unit: document.unit.clone(),
            who: document.keys.clone(),
            condition: document.condition.clone(),
            variant,
            owner: document.owner.clone(),
            reason: document.reason.clone(),
            until: document.until.clone(),
        }));
    }
    all
}

fn split(
    document: &SplitDocument,
    control: Option<&str>,
    live: Option<&[Part]>,
    variants: &mut Variants,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for (pick, weight) in &document.parts {
        parts.push(Part { variant: variants.name(pick, problems)?, weight: *weight });
    }
    // Units without a key get the first entry, so control stands there, if need be with nobody else.
    if let Some(control) = control {
        let zero = Part { variant: control.to_owned(), weight: 0 };
        let first = parts.iter().position(|part| part.variant == control);
        match (document.exact, first) {
            (_, Some(0)) => {}
            (false, Some(at)) => {
                let part = parts.remove(at);
                parts.insert(0, part);
            }
            (true, Some(_)) | (_, None) => parts.insert(0, zero),
        }
    }
    if document.exact {
        return Some(parts);
    }
    match weigh(live, &parts, &variants.list.iter().map(|variant| variant.name.as_str()).collect::<Vec<_>>())
    {
        Ok(parts) => Some(parts),
        Err(bad) => {
            problems.push(Problem::new(
                "bad_split",
                document.at.clone(),
                format!("This cannot be a split: {bad}."),
            ));
            None
        }
    }
}

/// A split with new weights that moves as few units as possible from the one before.
pub(super) fn weigh(
    live: Option<&[Part]>,
    weights: &[Part],
    names: &[&str],
) -> Result<Vec<Part>, ensign_eval::split::BadWeights> {
    let index = |name: &str| names.iter().position(|known| *known == name).unwrap_or(0) as u16;
    let intervals = |parts: &[Part]| -> Vec<Interval> {
        let interval =
            |part: &Part| Interval { variant: index(&part.variant), weight: part.weight, untracked: false };
        parts.iter().map(interval).collect()
    };
    let found = match live {
        Some(live) => reweigh(&intervals(live), &intervals(weights))?,
        None => lay_out(&intervals(weights))?,
    };
    let name = |at: u16| names.get(usize::from(at)).copied().unwrap_or_default().to_owned();
    Ok(found
        .iter()
        .map(|interval| Part { variant: name(interval.variant), weight: interval.weight })
        .collect())
}

/// A segment's section in canonical form.
pub(super) fn segment(document: &SegmentSection) -> SegmentState {
    let mut ids = Ids(BTreeMap::new());
    let mut unused = Vec::new();
    let rules = document.rules.iter().map(|rule| SegmentRule {
        id: ids.next(rule.id.as_deref(), condition::slug(&rule.condition), "", &mut unused),
        description: rule.description.clone(),
        condition: rule.condition.clone(),
    });
    SegmentState {
        includes: document.includes.clone(),
        excludes: document.excludes.clone(),
        rules: rules.collect(),
        salt: document.salt.clone(),
        owner: document.owner.clone(),
        description: document.description.clone(),
    }
}
