//! Definitions in the other crate's JSON.

use ensign_eval::model::{
    AttributeRef, Clause, Condition, Flag, Gate, HashKey, KeyList, Outcome, Segment, SegmentRule, USER, Unit,
};
use serde_json::{Value as Json, json};

use crate::World;

pub(crate) fn world(world: &World) -> Json {
    json!({
        "flags": world.flags.iter().map(flag).collect::<Vec<_>>(),
        "segments": world.segments.iter().map(segment).collect::<Vec<_>>(),
    })
}

pub(crate) fn flag(flag: &Flag) -> Json {
    let user_targets: Vec<Json> = flag
        .targets
        .iter()
        .filter(|t| t.kind == USER)
        .map(|t| json!({"contextKind": USER, "variation": t.variant, "values": t.keys}))
        .collect();
    // Without targets of other kinds the old list alone will do; else it is referred to by empty entries.
    let others = flag.targets.iter().any(|t| t.kind != USER);
    let context_targets: Vec<Json> = flag
        .targets
        .iter()
        .filter(|_| others)
        .map(|t| {
            let values = if t.kind == USER { Vec::new() } else { t.keys.clone() };
            json!({"contextKind": t.kind, "variation": t.variant, "values": values})
        })
        .collect();
    let rules: Vec<Json> = flag
        .rules
        .iter()
        .map(|r| {
            let mut rule = outcome(&r.outcome);
            let mut clauses = clauses(&r.conditions);
            if let Outcome::Gate { gate, .. } = &r.outcome {
                clauses.push(segment_match(std::slice::from_ref(&gate.id), false));
            }
            rule["id"] = r.id.clone().into();
            rule["clauses"] = clauses.into();
            rule["trackEvents"] = false.into();
            rule
        })
        .collect();
    json!({
        "key": flag.key, "version": flag.version, "on": flag.on, "salt": flag.salt,
        "prerequisites": flag.prerequisites.iter()
            .map(|p| json!({"key": p.flag, "variation": p.variant})).collect::<Vec<_>>(),
        "targets": user_targets, "contextTargets": context_targets, "rules": rules,
        "fallthrough": outcome(&flag.fallthrough), "offVariation": flag.off_variant,
        "variations": flag.variants.iter().map(|v| v.value.to_json()).collect::<Vec<_>>(),
        "trackEvents": false, "trackEventsFallthrough": false, "debugEventsUntilDate": null,
        "clientSide": false, "clientSideAvailability": {"usingMobileKey": false, "usingEnvironmentId": false},
    })
}

fn outcome(outcome: &Outcome) -> Json {
    let allocation = match outcome {
        Outcome::Fixed(variant) | Outcome::Gate { variant, .. } => return json!({"variation": variant}),
        Outcome::Split(allocation) => allocation,
    };
    let (kind, by) = unit(&allocation.unit);
    let variations: Vec<Json> = allocation
        .intervals
        .iter()
        .map(|i| json!({"variation": i.variant, "weight": i.weight, "untracked": i.untracked}))
        .collect();
    let mut rollout = json!({
        "kind": if allocation.experiment { "experiment" } else { "rollout" },
        "contextKind": kind, "bucketBy": by, "variations": variations,
    });
    if let HashKey::Seed(seed) = allocation.hash {
        rollout["seed"] = seed.into();
    }
    json!({"rollout": rollout})
}

fn unit(unit: &Unit) -> (&str, &str) {
    match unit {
        Unit::Named(kind) => (kind, "key"),
        Unit::Attribute { kind, by } => (kind, by.raw()),
    }
}

fn clauses(conditions: &[Condition]) -> Vec<Json> {
    conditions
        .iter()
        .map(|condition| match condition {
            Condition::Clause(clause) => one_clause(clause),
            Condition::Segment(source) => segment_match(&source.segments, source.negate),
            Condition::Any(_) | Condition::All(_) | Condition::Not(_) => panic!("not drawn here"),
        })
        .collect()
}

fn one_clause(clause: &Clause) -> Json {
    json!({
        "contextKind": clause.kind, "attribute": clause.attribute.raw(), "op": clause.op.name(),
        "values": clause.values, "negate": clause.negate,
    })
}

fn segment_match(segments: &[String], negate: bool) -> Json {
    json!({"contextKind": USER, "attribute": "", "op": "segmentMatch", "values": segments, "negate": negate})
}

pub(crate) fn segment(segment: &Segment) -> Json {
    let users = |lists: &[KeyList]| -> Vec<String> {
        lists.iter().filter(|l| l.kind == USER).flat_map(|l| l.keys.clone()).collect()
    };
    let others = |lists: &[KeyList]| -> Vec<Json> {
        let lists = lists.iter().filter(|l| l.kind != USER);
        lists.map(|l| json!({"contextKind": l.kind, "values": l.keys})).collect()
    };
    json!({
        "key": segment.key, "version": segment.version, "salt": segment.salt, "unbounded": false,
        "included": users(&segment.included), "excluded": users(&segment.excluded),
        "includedContexts": others(&segment.included), "excludedContexts": others(&segment.excluded),
        "rules": segment.rules.iter().map(segment_rule).collect::<Vec<_>>(),
    })
}

fn segment_rule(rule: &SegmentRule) -> Json {
    let mut json = json!({"id": rule.id, "clauses": clauses(&rule.conditions)});
    if let Some(weight) = rule.weight {
        json["weight"] = weight.into();
        json["bucketBy"] = rule.by.raw().into();
        json["rolloutContextKind"] = rule.kind.clone().into();
    }
    json
}

/// Every gate of a flag as a weighted segment whose clause asks that the hashed attribute is there.
pub(crate) fn gates(flag: &Flag) -> Vec<Json> {
    let gates = flag.rules.iter().filter_map(|rule| match &rule.outcome {
        Outcome::Gate { gate, .. } => Some(gate_segment(gate)),
        Outcome::Fixed(_) | Outcome::Split(_) => None,
    });
    gates.collect()
}

fn gate_segment(gate: &Gate) -> Json {
    let (kind, by) = unit(&gate.unit);
    let there = json!({"contextKind": kind, "attribute": by, "op": "in", "values": [], "negate": true});
    json!({
        "key": gate.id, "version": 1, "salt": gate.salt, "unbounded": false,
        "included": [], "excluded": [], "includedContexts": [], "excludedContexts": [],
        "rules": [{
            "id": "gate", "clauses": [there], "weight": gate.weight,
            "bucketBy": AttributeRef::lenient(by).raw(), "rolloutContextKind": kind,
        }],
    })
}
