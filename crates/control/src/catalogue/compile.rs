//! From what is stored to the evaluator's definitions.
//!
//! Names become indices, conditions are read again (they were checked when they were stored), and salts that nobody
//! gave are derived from project, flag and rule, so that files alone reproduce every assignment.

use ensign_eval::model as eval;
use xxhash_rust::xxh3::xxh3_64;

use super::state::{FALLTHROUGH, FlagRecord, FlagState, Off, Part, Rule, SegmentState, Serve};
use super::strata::epoch_of;
use super::variants::kind_of;
use crate::document::{Seed, condition};
use crate::ids::{AllocationId, Key, Place};

/// A salt that only project, flag and rule decide.
fn salt(project: &Key, flag: &Key, rule: &str) -> String {
    format!("{:016x}", xxh3_64(format!("salt/{project}/{flag}/{rule}").as_bytes()))
}

/// The seed of a rule's split: positive and exactly a number in every client.
fn seed(salt: &str) -> i64 {
    let hash = xxh3_64(format!("seed/{salt}").as_bytes());
    i64::try_from(hash >> 12).unwrap_or(1).max(1)
}

struct Compiler<'a> {
    place: &'a Place,
    record: &'a FlagRecord,
    state: &'a FlagState,
}

/// The definition of a flag in an environment.
pub(super) fn flag(place: &Place, record: &FlagRecord, state: &FlagState, version: u64) -> eval::Flag {
    Compiler { place, record, state }.flag(version)
}

impl Compiler<'_> {
    fn index(&self, name: &str) -> eval::VariantIndex {
        self.record.variant(name).map_or(0, |(index, _)| index)
    }

    fn flag(&self, version: u64) -> eval::Flag {
        let section = &self.state.section;
        let kind = kind_of(&self.record.value_type);
        let default = self.index(&section.default);
        let variants = self.record.variants.iter().map(|variant| eval::Variant {
            name: variant.name.clone(),
            value: match kind {
                eval::ValueKind::Json => eval::Value::Json(variant.value.clone()),
                eval::ValueKind::Bool
                | eval::ValueKind::String
                | eval::ValueKind::Int
                | eval::ValueKind::Float => eval::Value::from_json(variant.value.clone()),
            },
        });
        let fallthrough = match &section.split {
            Some(parts) => {
                let hash = match section.seed {
                    Some(Seed::Number(seed)) => eval::HashKey::Seed(seed),
                    Some(Seed::Flag) | None => eval::HashKey::Flag,
                };
                let unit = self.unit(None, None);
                eval::Outcome::Split(self.allocation(FALLTHROUGH, parts, unit, hash, &section.default))
            }
            None => eval::Outcome::Fixed(default),
        };
        eval::Flag {
            key: self.record.key.as_str().to_owned(),
            version,
            kind,
            on: section.on,
            variants: variants.collect(),
            off_variant: match &section.off {
                Some(Off::Caller(_)) => None,
                Some(Off::Variant(name)) => Some(self.index(name)),
                None => Some(default),
            },
            prerequisites: Vec::new(),
            pins: section.pins.iter().map(|pin| self.pin(pin)).collect(),
            targets: section
                .targets
                .iter()
                .map(|target| eval::Target {
                    kind: target.unit.clone(),
                    keys: target.keys.clone(),
                    variant: self.index(&target.variant),
                })
                .collect(),
            rules: section.rules.iter().map(|rule| self.rule(rule)).collect(),
            fallthrough,
            salt: self.flag_salt(),
            kill: self.state.kill.as_ref().map(|kill| eval::Kill { variant: self.index(&kill.to) }),
        }
    }

    fn flag_salt(&self) -> String {
        let own = self.state.section.salt.clone();
        own.unwrap_or_else(|| salt(&self.place.project, &self.record.key, FALLTHROUGH))
    }

    fn pin(&self, pin: &super::state::Pin) -> eval::Pin {
        let who = match &pin.condition {
            Some(condition) => {
                eval::PinnedTo::Conditions(condition::read(condition, "", &mut Vec::new()).conditions)
            }
            None => eval::PinnedTo::Keys {
                unit: pin.unit.clone().unwrap_or_else(|| self.default_unit()),
                keys: pin.who.clone(),
            },
        };
        eval::Pin { id: pin.id.clone(), who, variant: self.index(&pin.variant) }
    }

    fn default_unit(&self) -> String {
        self.state.section.unit.clone().unwrap_or_else(|| eval::USER.to_owned())
    }

    fn unit(&self, unit: Option<&str>, by: Option<&str>) -> eval::Unit {
        match by.and_then(|by| condition::attribute(by, "", &mut Vec::new())) {
            Some((kind, by)) => eval::Unit::Attribute { kind, by },
            None => eval::Unit::Named(unit.map_or_else(|| self.default_unit(), str::to_owned)),
        }
    }

    fn rule(&self, rule: &Rule) -> eval::Rule {
        let read = condition::read(&rule.condition, "", &mut Vec::new());
        let outcome = match (&rule.serve, read.percentage) {
            (Serve::Variant(name), Some(share)) => {
                let own = share.salt.clone().or_else(|| rule.salt.clone());
                let salt = own.unwrap_or_else(|| self.rule_salt(&rule.id));
                let unit = share.unit.as_deref().or(rule.unit.as_deref());
                let gate = eval::Gate {
                    id: format!("{}.{}", self.record.key, rule.id),
                    salt,
                    unit: self.unit(unit, share.by.as_deref().or(rule.by.as_deref())),
                    weight: share.weight,
                };
                eval::Outcome::Gate { gate, variant: self.index(name) }
            }
            (Serve::Variant(name), None) => eval::Outcome::Fixed(self.index(name)),
            (Serve::Split(parts), _) => {
                let unit = self.unit(rule.unit.as_deref(), rule.by.as_deref());
                let control = rule.control.as_deref().unwrap_or(&self.state.section.default);
                let hash = match (rule.seed, &rule.salt) {
                    (Some(Seed::Flag), _) => eval::HashKey::Flag,
                    (Some(Seed::Number(seed)), _) => eval::HashKey::Seed(seed),
                    (None, Some(own)) => eval::HashKey::Seed(seed(own)),
                    (None, None) => eval::HashKey::Seed(seed(&self.rule_salt(&rule.id))),
                };
                eval::Outcome::Split(self.allocation(&rule.id, parts, unit, hash, control))
            }
        };
        eval::Rule { id: rule.id.clone(), conditions: read.conditions, outcome }
    }

    /// A rule's salt follows the flag's, so that a new salt of the flag deals everything anew.
    fn rule_salt(&self, rule: &str) -> String {
        let derived = salt(&self.place.project, &self.record.key, rule);
        match &self.state.section.salt {
            Some(own) => format!("{own}.{derived}"),
            None => derived,
        }
    }

    fn allocation(
        &self,
        rule: &str,
        parts: &[Part],
        unit: eval::Unit,
        hash: eval::HashKey,
        control: &str,
    ) -> eval::Allocation {
        let owned = self.state.owned.as_ref().filter(|owned| owned.rule == rule);
        let control = owned.map_or(control, |owned| owned.control.as_str());
        let interval = |part: &Part| eval::Interval {
            variant: self.index(&part.variant),
            weight: part.weight,
            untracked: false,
        };
        eval::Allocation {
            id: eval::AllocationId(AllocationId::of(self.place, &self.record.key, rule).0),
            epoch: epoch_of(self.state, rule),
            unit,
            hash,
            experiment: owned.is_some(),
            intervals: parts.iter().map(interval).collect(),
            control: self.index(control),
        }
    }
}

/// The prerequisites of a flag, with indices of the other flags' variants.
pub(super) fn prerequisites(
    state: &FlagState,
    other: impl Fn(&Key) -> Option<FlagRecord>,
) -> Vec<eval::Prerequisite> {
    let one = |prerequisite: &super::state::Prerequisite| {
        let variant = other(&prerequisite.flag)
            .and_then(|record| record.variant(&prerequisite.variant).map(|(index, _)| index));
        // A variant that is not there fails the prerequisite, as a missing flag does.
        let variant = variant.unwrap_or(eval::VariantIndex::MAX);
        eval::Prerequisite { flag: prerequisite.flag.as_str().to_owned(), variant }
    };
    state.section.prerequisites.iter().map(one).collect()
}

/// The definition of a segment in an environment.
pub(super) fn segment(place: &Place, key: &str, state: &SegmentState, version: u64) -> eval::Segment {
    let lists = |map: &std::collections::BTreeMap<String, Vec<String>>| {
        map.iter().map(|(kind, keys)| eval::KeyList { kind: kind.clone(), keys: keys.clone() }).collect()
    };
    let derived = || format!("{:016x}", xxh3_64(format!("salt/{}/segment/{key}", place.project).as_bytes()));
    let rules = state.rules.iter().map(|rule| {
        let read = condition::read(&rule.condition, "", &mut Vec::new());
        let share = read.percentage;
        let by = share.as_ref().and_then(|share| share.by.as_deref());
        let by = by.and_then(|by| condition::attribute(by, "", &mut Vec::new()));
        let unit = share.as_ref().and_then(|share| share.unit.clone());
        let (kind, by) = match by {
            Some((kind, by)) => (kind, by),
            None => (unit.unwrap_or_else(|| eval::USER.to_owned()), eval::AttributeRef::key()),
        };
        eval::SegmentRule {
            id: rule.id.clone(),
            conditions: read.conditions,
            weight: share.map(|share| share.weight),
            kind,
            by,
        }
    });
    eval::Segment {
        key: key.to_owned(),
        version,
        included: lists(&state.includes),
        excluded: lists(&state.excludes),
        rules: rules.collect(),
        salt: state.salt.clone().unwrap_or_else(derived),
    }
}
