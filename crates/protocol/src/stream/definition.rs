//! Definitions to JSON and back, without loss.

use ensign_eval::model::{
    self, AllocationId, AttributeRef, HashKey, Op, Outcome, PinnedTo, Value, ValueKind,
};
use serde_json::Value as Json;

use super::wire;

/// An item that this program does not understand, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadItem {
    /// The item's key.
    pub key: String,
    /// A sentence.
    pub why: String,
}

/// A flag as it stands in a frame, without its key.
#[must_use]
pub fn flag_to_json(flag: &model::Flag) -> Json {
    let wire = wire::Flag {
        version: flag.version,
        kind: kind_to(flag.kind),
        on: flag.on,
        salt: flag.salt.clone(),
        variants: flag
            .variants
            .iter()
            .map(|v| wire::Variant { name: v.name.clone(), value: v.value.to_json() })
            .collect(),
        kill: flag.kill.map(|kill| kill.variant),
        off: flag.off_variant,
        prerequisites: flag
            .prerequisites
            .iter()
            .map(|p| wire::Prerequisite { flag: p.flag.clone(), variant: p.variant })
            .collect(),
        pins: flag.pins.iter().map(pin_to).collect(),
        targets: flag
            .targets
            .iter()
            .map(|t| wire::Target { kind: t.kind.clone(), keys: t.keys.clone(), variant: t.variant })
            .collect(),
        rules: flag
            .rules
            .iter()
            .map(|r| wire::Rule {
                id: r.id.clone(),
                conditions: conditions_to(&r.conditions),
                outcome: outcome_to(&r.outcome),
            })
            .collect(),
        fallthrough: outcome_to(&flag.fallthrough),
    };
    to_json(&wire)
}

/// A segment as it stands in a frame, without its key.
#[must_use]
pub fn segment_to_json(segment: &model::Segment) -> Json {
    let lists = |lists: &[model::KeyList]| {
        lists.iter().map(|list| wire::Keys { kind: list.kind.clone(), keys: list.keys.clone() }).collect()
    };
    let wire = wire::Segment {
        version: segment.version,
        salt: segment.salt.clone(),
        included: lists(&segment.included),
        excluded: lists(&segment.excluded),
        rules: segment
            .rules
            .iter()
            .map(|r| wire::SegmentRule {
                id: r.id.clone(),
                conditions: conditions_to(&r.conditions),
                weight: r.weight,
                kind: r.kind.clone(),
                by: attribute_to(&r.by),
            })
            .collect(),
    };
    to_json(&wire)
}

/// Reads a flag.
///
/// # Errors
/// [`BadItem`] when it is not a flag as this program knows them.
pub fn flag_from_json(key: &str, json: &Json) -> Result<model::Flag, BadItem> {
    let bad = |why: String| BadItem { key: key.to_owned(), why };
    let wire: wire::Flag = serde::Deserialize::deserialize(json)
        .map_err(|why: serde_json::Error| bad(format!("the flag cannot be read: {why}")))?;
    let kind = kind_from(wire.kind);
    let variants = wire
        .variants
        .into_iter()
        .map(|v| model::Variant { name: v.name, value: value_from(kind, v.value) })
        .collect();
    let rules = wire.rules.into_iter().map(|rule| {
        let outcome = outcome_from(rule.outcome)?;
        Ok(model::Rule { id: rule.id, conditions: conditions_from(rule.conditions), outcome })
    });
    Ok(model::Flag {
        key: key.to_owned(),
        version: wire.version,
        kind,
        on: wire.on,
        variants,
        off_variant: wire.off,
        prerequisites: wire
            .prerequisites
            .into_iter()
            .map(|p| model::Prerequisite { flag: p.flag, variant: p.variant })
            .collect(),
        pins: wire.pins.into_iter().map(pin_from).collect(),
        targets: wire
            .targets
            .into_iter()
            .map(|t| model::Target { kind: t.kind, keys: t.keys, variant: t.variant })
            .collect(),
        rules: rules.collect::<Result<_, _>>().map_err(bad)?,
        fallthrough: outcome_from(wire.fallthrough).map_err(bad)?,
        salt: wire.salt,
        kill: wire.kill.map(|variant| model::Kill { variant }),
    })
}

/// Reads a segment.
///
/// # Errors
/// [`BadItem`] when it is not a segment as this program knows them.
pub fn segment_from_json(key: &str, json: &Json) -> Result<model::Segment, BadItem> {
    let wire: wire::Segment = serde::Deserialize::deserialize(json).map_err(|why: serde_json::Error| {
        BadItem { key: key.to_owned(), why: format!("the segment cannot be read: {why}") }
    })?;
    let lists = |lists: Vec<wire::Keys>| {
        lists.into_iter().map(|list| model::KeyList { kind: list.kind, keys: list.keys }).collect()
    };
    Ok(model::Segment {
        key: key.to_owned(),
        version: wire.version,
        included: lists(wire.included),
        excluded: lists(wire.excluded),
        rules: wire
            .rules
            .into_iter()
            .map(|r| model::SegmentRule {
                id: r.id,
                conditions: conditions_from(r.conditions),
                weight: r.weight,
                kind: r.kind,
                by: attribute_from(r.by),
            })
            .collect(),
        salt: wire.salt,
    })
}

fn to_json(wire: &impl serde::Serialize) -> Json {
    serde_json::to_value(wire).expect("definitions have string keys only")
}

fn kind_to(kind: ValueKind) -> wire::Kind {
    match kind {
        ValueKind::Bool => wire::Kind::Boolean,
        ValueKind::String => wire::Kind::String,
        ValueKind::Int => wire::Kind::Integer,
        ValueKind::Float => wire::Kind::Float,
        ValueKind::Json => wire::Kind::Json,
    }
}

fn kind_from(kind: wire::Kind) -> ValueKind {
    match kind {
        wire::Kind::Boolean => ValueKind::Bool,
        wire::Kind::String => ValueKind::String,
        wire::Kind::Integer => ValueKind::Int,
        wire::Kind::Float => ValueKind::Float,
        wire::Kind::Json => ValueKind::Json,
    }
}

/// A value by its flag's kind: `8` is a float in a flag of floats, and `true` is JSON in a flag of JSON.
fn value_from(kind: ValueKind, json: Json) -> Value {
    match (kind, json) {
        (ValueKind::Bool, Json::Bool(value)) => Value::Bool(value),
        (ValueKind::String, Json::String(value)) => Value::String(value),
        (ValueKind::Int, Json::Number(value)) if value.is_i64() => {
            Value::Int(value.as_i64().unwrap_or_default())
        }
        (ValueKind::Float, Json::Number(value)) => Value::Float(value.as_f64().unwrap_or_default()),
        (_, other) => Value::Json(other),
    }
}

fn pin_to(pin: &model::Pin) -> wire::Pin {
    let who = match &pin.who {
        PinnedTo::Keys { unit, keys } => wire::PinnedTo::Keys { unit: unit.clone(), keys: keys.clone() },
        PinnedTo::Conditions(all) => wire::PinnedTo::Conditions { conditions: conditions_to(all) },
    };
    wire::Pin { id: pin.id.clone(), variant: pin.variant, who }
}

fn pin_from(pin: wire::Pin) -> model::Pin {
    let who = match pin.who {
        wire::PinnedTo::Keys { unit, keys } => PinnedTo::Keys { unit, keys },
        wire::PinnedTo::Conditions { conditions } => PinnedTo::Conditions(conditions_from(conditions)),
    };
    model::Pin { id: pin.id, variant: pin.variant, who }
}

fn outcome_to(outcome: &Outcome) -> wire::Outcome {
    match outcome {
        Outcome::Fixed(variant) => wire::Outcome::Fixed { variant: *variant },
        Outcome::Gate { gate, variant } => wire::Outcome::Gate {
            gate: wire::Gate {
                id: gate.id.clone(),
                salt: gate.salt.clone(),
                unit: unit_to(&gate.unit),
                weight: gate.weight,
            },
            variant: *variant,
        },
        Outcome::Split(split) => wire::Outcome::Split {
            split: wire::Split {
                id: format!("{:016x}", split.id.0),
                epoch: split.epoch,
                unit: unit_to(&split.unit),
                seed: match split.hash {
                    HashKey::Flag => None,
                    HashKey::Seed(seed) => Some(seed.to_string()),
                },
                experiment: split.experiment,
                control: split.control,
                intervals: split
                    .intervals
                    .iter()
                    .map(|i| wire::Interval { variant: i.variant, weight: i.weight, untracked: i.untracked })
                    .collect(),
            },
        },
    }
}

fn outcome_from(outcome: wire::Outcome) -> Result<Outcome, String> {
    Ok(match outcome {
        wire::Outcome::Fixed { variant } => Outcome::Fixed(variant),
        wire::Outcome::Gate { gate, variant } => Outcome::Gate {
            gate: model::Gate {
                id: gate.id,
                salt: gate.salt,
                unit: unit_from(gate.unit),
                weight: gate.weight,
            },
            variant,
        },
        wire::Outcome::Split { split } => Outcome::Split(model::Allocation {
            id: AllocationId(
                u64::from_str_radix(&split.id, 16)
                    .map_err(|_| format!("`{}` is not the id of an allocation", split.id))?,
            ),
            epoch: split.epoch,
            unit: unit_from(split.unit),
            hash: match split.seed {
                None => HashKey::Flag,
                Some(seed) => {
                    HashKey::Seed(seed.parse().map_err(|_| format!("`{seed}` is not the seed of a hash"))?)
                }
            },
            experiment: split.experiment,
            intervals: split
                .intervals
                .into_iter()
                .map(|i| model::Interval { variant: i.variant, weight: i.weight, untracked: i.untracked })
                .collect(),
            control: split.control,
        }),
    })
}

fn unit_to(unit: &model::Unit) -> wire::Unit {
    match unit {
        model::Unit::Named(name) => wire::Unit::Named(name.clone()),
        model::Unit::Attribute { kind, by } => {
            wire::Unit::Attribute { kind: kind.clone(), by: attribute_to(by) }
        }
    }
}

fn unit_from(unit: wire::Unit) -> model::Unit {
    match unit {
        wire::Unit::Named(name) => model::Unit::Named(name),
        wire::Unit::Attribute { kind, by } => model::Unit::Attribute { kind, by: attribute_from(by) },
    }
}

fn attribute_to(attribute: &AttributeRef) -> wire::Attribute {
    if attribute.is_literal_slash() {
        wire::Attribute::Literal { name: attribute.raw().to_owned() }
    } else {
        wire::Attribute::Written(attribute.raw().to_owned())
    }
}

fn attribute_from(attribute: wire::Attribute) -> AttributeRef {
    match attribute {
        wire::Attribute::Written(raw) => AttributeRef::lenient(&raw),
        wire::Attribute::Literal { name } => AttributeRef::name(&name),
    }
}

fn conditions_to(all: &[model::Condition]) -> Vec<wire::Condition> {
    all.iter().map(condition_to).collect()
}

fn condition_to(condition: &model::Condition) -> wire::Condition {
    match condition {
        model::Condition::Clause(clause) => wire::Condition::Clause {
            kind: clause.kind.clone(),
            attribute: attribute_to(&clause.attribute),
            op: clause.op.name().to_owned(),
            values: clause.values.clone(),
            negate: clause.negate,
        },
        model::Condition::Segment(of) => {
            wire::Condition::Segments { segments: of.segments.clone(), negate: of.negate }
        }
        model::Condition::Any(any) => wire::Condition::Any { any: conditions_to(any) },
        model::Condition::All(all) => wire::Condition::All { all: conditions_to(all) },
        model::Condition::Not(not) => wire::Condition::Not { not: Box::new(condition_to(not)) },
    }
}

fn conditions_from(all: Vec<wire::Condition>) -> Vec<model::Condition> {
    all.into_iter().map(condition_from).collect()
}

fn condition_from(condition: wire::Condition) -> model::Condition {
    match condition {
        wire::Condition::Clause { kind, attribute, op, values, negate } => {
            model::Condition::Clause(model::Clause {
                kind,
                attribute: attribute_from(attribute),
                op: Op::from_name(&op),
                values,
                negate,
            })
        }
        wire::Condition::Segments { segments, negate } => {
            model::Condition::Segment(model::SegmentMatch { segments, negate })
        }
        wire::Condition::Any { any } => model::Condition::Any(conditions_from(any)),
        wire::Condition::All { all } => model::Condition::All(conditions_from(all)),
        wire::Condition::Not { not } => model::Condition::Not(Box::new(condition_from(*not))),
    }
}
