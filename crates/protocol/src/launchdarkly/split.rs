//! Allocations as rollouts, with guards where a context may lack the unit.

use ensign_eval::model::{Allocation, AttributeRef, Gate, HashKey, USER, Unit};

use super::clause::{lacks_kind, present, reference};
use super::wire::{WireClause, WireRollout, WireSegment, WireSegmentRule, WireServe, WireWeight};

/// What an allocation leads to: the first branch whose clauses hold. The last has none.
pub(super) type Branches = Vec<(Vec<WireClause>, WireServe)>;

/// An allocation. SDKs give a context without the unit the first entry, or the first that has a weight; ours gives it
/// control. Where the two are not the same, a guard asks for the unit, and the rest gets control.
pub(super) fn branches(allocation: &Allocation) -> Branches {
    let first = allocation.intervals.first();
    let alike = first.is_some_and(|first| first.variant == allocation.control && first.weight > 0);
    let control = (Vec::new(), WireServe::Variation(allocation.control));
    let key = AttributeRef::key();
    let rollout = |kind: &str, by: &AttributeRef, experiment: bool| {
        WireServe::Rollout(WireRollout {
            kind: if experiment { "experiment" } else { "rollout" },
            context_kind: kind.to_owned(),
            bucket_by: reference(by),
            seed: match allocation.hash {
                HashKey::Flag => None,
                HashKey::Seed(seed) => Some(seed),
            },
            variations: allocation
                .intervals
                .iter()
                .map(|i| WireWeight { variation: i.variant, weight: i.weight, untracked: i.untracked })
                .collect(),
        })
    };
    let experiment = allocation.experiment;
    let guarded = |kind: &str, by: &AttributeRef| {
        let serve = rollout(kind, by, experiment);
        if alike {
            vec![(Vec::new(), serve)]
        } else {
            vec![(vec![present(kind, by)], serve), control.clone()]
        }
    };
    match &allocation.unit {
        Unit::Named(name) if name == USER => guarded(USER, &key),
        Unit::Named(name) => {
            let attribute = AttributeRef::name(name);
            // An experiment there would hash the user's key.
            vec![
                (vec![present(name, &key)], rollout(name, &key, experiment)),
                (vec![present(USER, &attribute)], rollout(USER, &attribute, false)),
                control,
            ]
        }
        Unit::Attribute { kind, .. } if experiment => guarded(kind, &key),
        Unit::Attribute { kind, by } => guarded(kind, by),
    }
}

/// A gate as a segment of its id. The hashed string is the same, because a segment's begins with its key.
pub(super) fn gate(gate: &Gate, version: u64) -> WireSegment {
    let key = AttributeRef::key();
    let rule = |id: &str, kind: &str, by: &AttributeRef, more: Option<WireClause>| WireSegmentRule {
        id: id.to_owned(),
        clauses: more.into_iter().chain([present(kind, by)]).collect(),
        weight: Some(gate.weight),
        bucket_by: Some(reference(by)),
        rollout_context_kind: Some(kind.to_owned()),
    };
    let rules = match &gate.unit {
        Unit::Named(name) if name == USER => vec![rule("unit", USER, &key, None)],
        Unit::Named(name) => vec![
            rule("unit", name, &key, None),
            rule("attribute", USER, &AttributeRef::name(name), Some(lacks_kind(name))),
        ],
        Unit::Attribute { kind, by } => vec![rule("unit", kind, by, None)],
    };
    WireSegment {
        key: gate.id.clone(),
        version,
        included: Vec::new(),
        excluded: Vec::new(),
        included_contexts: Vec::new(),
        excluded_contexts: Vec::new(),
        rules,
        salt: gate.salt.clone(),
        unbounded: false,
        deleted: false,
    }
}

/// The attribute of a unit, where that is not a key: only a key is always text.
pub(super) fn loose_attribute(unit: &Unit) -> Option<String> {
    match unit {
        Unit::Named(name) if name == USER => None,
        Unit::Named(name) => Some(name.clone()),
        Unit::Attribute { by, .. } if by.raw() == "key" => None,
        Unit::Attribute { by, .. } => Some(by.raw().to_owned()),
    }
}
