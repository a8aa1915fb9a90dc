//! Flags.

use std::collections::{BTreeMap, BTreeSet};

use ensign_eval::model::{AttributeRef, Flag, Outcome, Pin, PinnedTo, Target, USER, VariantIndex};
use serde_json::Value as Json;

use super::clause::{self, TooMany, in_segment, is_one_of, lacks_kind};
use super::note::Note;
use super::segment::{numbered, odd_words};
use super::split::{self, Branches};
use super::wire::{Availability, WireFlag, WirePrerequisite, WireRule, WireSegment, WireServe, WireTarget};

/// A flag as SDKs get it.
#[derive(Debug, Clone, PartialEq)]
pub struct Translated {
    /// The flag; none when it cannot be carried.
    pub flag: Option<WireFlag>,
    /// A segment for each of its gates.
    pub gates: Vec<WireSegment>,
    /// What is to be said about it.
    pub notes: Vec<Note>,
}

/// Rules and the fallthrough while they are put together.
struct Draft<'f> {
    flag: &'f Flag,
    rules: Vec<WireRule>,
    gates: Vec<WireSegment>,
    notes: Vec<Note>,
    tracked: bool,
}

/// A flag at a version. Members that only client-side SDKs need come from `available`.
#[must_use]
pub fn flag(flag: &Flag, version: u64, available: Availability) -> Translated {
    let mut draft = Draft { flag, rules: Vec::new(), gates: Vec::new(), notes: Vec::new(), tracked: false };
    let mut wire = frame(flag, version, available);
    if let Some(kill) = flag.kill {
        wire.on = true;
        wire.prerequisites.clear();
        wire.fallthrough = WireServe::Variation(kill.variant);
        return Translated { flag: Some(wire), gates: Vec::new(), notes: draft.notes };
    }
    let individual = if flag.pins.is_empty() { targets(&flag.targets) } else { None };
    let built = draft.build(individual.is_none());
    match built {
        Ok((fallthrough, tracked_fallthrough)) => {
            wire.fallthrough = fallthrough;
            wire.track_events_fallthrough = tracked_fallthrough;
        }
        Err(why) => {
            draft.notes.push(Note::left_out("flag", &flag.key, &why));
            return Translated { flag: None, gates: Vec::new(), notes: draft.notes };
        }
    }
    (wire.targets, wire.context_targets) = individual.unwrap_or_default();
    wire.track_events = draft.tracked;
    wire.rules = draft.rules;
    Translated { flag: Some(wire), gates: draft.gates, notes: draft.notes }
}

/// Everything that is said straight away.
fn frame(flag: &Flag, version: u64, available: Availability) -> WireFlag {
    WireFlag {
        key: flag.key.clone(),
        version,
        on: flag.on,
        prerequisites: flag
            .prerequisites
            .iter()
            .map(|p| WirePrerequisite { key: p.flag.clone(), variation: p.variant })
            .collect(),
        targets: Vec::new(),
        context_targets: Vec::new(),
        rules: Vec::new(),
        fallthrough: WireServe::Variation(0),
        off_variation: flag.off_variant,
        variations: flag.variants.iter().map(|variant| variant.value.to_json()).collect(),
        salt: flag.salt.clone(),
        track_events: false,
        track_events_fallthrough: false,
        debug_events_until_date: None,
        client_side: available.using_environment_id,
        client_side_availability: available,
        sampling_ratio: 1,
        exclude_from_summaries: false,
        deleted: false,
    }
}

/// Individual keys as lists: users once by variation, and every entry's place in the order. `None` where the order
/// cannot be said so: users of one variation on both sides of another kind's entry.
fn targets(targets: &[Target]) -> Option<(Vec<WireTarget>, Vec<WireTarget>)> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut users: Vec<(VariantIndex, Vec<String>)> = Vec::new();
    let mut order: Vec<WireTarget> = Vec::new();
    for target in targets.iter().filter(|target| !target.keys.is_empty()) {
        if target.kind != USER {
            let (context_kind, variation) = (target.kind.clone(), target.variant);
            order.push(WireTarget { context_kind, variation, values: target.keys.clone() });
            continue;
        }
        // The first list that has a key decides, so a later one need not have it.
        let fresh: Vec<String> = target.keys.iter().filter(|key| seen.insert(key)).cloned().collect();
        match users.iter_mut().find(|(variant, _)| *variant == target.variant) {
            None => {
                users.push((target.variant, fresh));
                let (context_kind, variation) = (USER.to_owned(), target.variant);
                order.push(WireTarget { context_kind, variation, values: Vec::new() });
            }
            Some((_, keys)) => {
                let place = order
                    .iter()
                    .rposition(|entry| entry.context_kind == USER && entry.variation == target.variant)?;
                if order.iter().skip(place).any(|entry| entry.context_kind != USER) {
                    return None;
                }
                keys.extend(fresh);
            }
        }
    }
    let users = users.into_iter().map(|(variation, values)| WireTarget {
        context_kind: USER.to_owned(),
        variation,
        values,
    });
    Some((users.collect(), order))
}

impl Draft<'_> {
    /// The rules, and then the fallthrough and whether it is tracked.
    fn build(&mut self, targets_as_rules: bool) -> Result<(WireServe, bool), String> {
        for pin in &self.flag.pins {
            self.pin(pin)?;
        }
        if targets_as_rules {
            for (at, target) in self.flag.targets.iter().enumerate() {
                let keys = target.keys.iter().map(|key| key.as_str().into()).collect();
                let clause = is_one_of(&target.kind, &AttributeRef::key(), keys);
                self.push(numbered("target", at), vec![clause], WireServe::Variation(target.variant), false);
            }
        }
        for rule in &self.flag.rules {
            self.odd(&rule.conditions);
            let mut alternatives = clause::alternatives(&rule.conditions).map_err(|_: TooMany| {
                format!("rule {} has more than {} alternatives", rule.id, clause::ALTERNATIVES)
            })?;
            let (branches, tracked) = self.outcome(&rule.outcome);
            if let Outcome::Gate { gate, .. } = &rule.outcome {
                for all in &mut alternatives {
                    all.push(in_segment(std::slice::from_ref(&gate.id)));
                }
            }
            let mut number = 0;
            for (guard, serve) in branches {
                for all in &alternatives {
                    let clauses = all.iter().chain(&guard).cloned().collect();
                    self.push(numbered(&rule.id, number), clauses, serve.clone(), tracked);
                    number += 1;
                }
            }
        }
        let (mut branches, tracked) = self.outcome(&self.flag.fallthrough);
        let Some((_, last)) = branches.pop() else {
            return Err("its fallthrough leads nowhere".to_owned());
        };
        let whole = branches.is_empty();
        for (at, (guard, serve)) in branches.into_iter().enumerate() {
            self.push(numbered("fallthrough", at), guard, serve, tracked);
        }
        Ok((last, tracked && whole))
    }

    fn push(&mut self, id: String, clauses: clause::All, serve: WireServe, track_events: bool) {
        self.rules.push(WireRule { id, serve, clauses, track_events });
    }

    fn odd(&mut self, conditions: &[ensign_eval::model::Condition]) {
        for (pattern, odd) in clause::odd_patterns(conditions) {
            self.notes.push(Note::differs("flag", &self.flag.key, &odd_words(&pattern, odd)));
        }
    }

    fn pin(&mut self, pin: &Pin) -> Result<(), String> {
        let id = format!("pin:{}", pin.id);
        let serve = WireServe::Variation(pin.variant);
        let alternatives = match &pin.who {
            PinnedTo::Conditions(conditions) => {
                self.odd(conditions);
                clause::alternatives(conditions).map_err(|_: TooMany| {
                    format!("pin {} has more than {} alternatives", pin.id, clause::ALTERNATIVES)
                })?
            }
            PinnedTo::Keys { unit, keys } => {
                let texts: Vec<Json> = keys.iter().map(|key| key.as_str().into()).collect();
                let own = vec![is_one_of(unit, &AttributeRef::key(), texts.clone())];
                if unit == USER {
                    vec![own]
                } else {
                    // A whole number is a unit too, spelt in decimal.
                    let whole = |key: &String| {
                        key.parse::<i64>().ok().filter(|n| n.to_string() == *key).map(Json::from)
                    };
                    let values = texts.into_iter().chain(keys.iter().filter_map(whole)).collect();
                    let attribute = is_one_of(USER, &AttributeRef::name(unit), values);
                    vec![own, vec![lacks_kind(unit), attribute]]
                }
            }
        };
        for (at, clauses) in alternatives.into_iter().enumerate() {
            self.push(numbered(&id, at), clauses, serve.clone(), false);
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: &Outcome) -> (Branches, bool) {
        match outcome {
            Outcome::Fixed(variant) => (vec![(Vec::new(), WireServe::Variation(*variant))], false),
            Outcome::Split(allocation) => {
                self.tracked |= allocation.experiment;
                (split::branches(allocation), allocation.experiment)
            }
            Outcome::Gate { gate, variant } => {
                if let Some(attribute) = split::loose_attribute(&gate.unit) {
                    let what = format!(
                        "LaunchDarkly SDKs let contexts into the percentage of {} whose {attribute} is neither text \
                         nor a whole number; Ensign does not",
                        gate.id
                    );
                    self.notes.push(Note::differs("flag", &self.flag.key, &what));
                }
                self.gates.push(split::gate(gate, self.flag.version));
                (vec![(Vec::new(), WireServe::Variation(*variant))], false)
            }
        }
    }
}

/// Keys of gates that are taken by something else, which leaves their flag out.
pub(super) fn clash<'t>(
    gates: &'t [WireSegment],
    taken: &BTreeMap<String, String>,
    flag: &str,
) -> Option<&'t str> {
    let gate = gates.iter().find(|gate| taken.get(&gate.key).is_some_and(|by| by != flag))?;
    Some(&gate.key)
}
