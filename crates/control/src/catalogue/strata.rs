//! Epochs: which changes begin a new stratum, so that units dealt by different rules are never compared.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::Catalogue;
use super::change::{EvidenceNote, ItemKey, Scope};
use super::draft::Draft;
use super::state::{FALLTHROUGH, FlagState, Part};
use super::view::View;
use crate::document::condition;
use crate::evidence::watch::{Stratum, Watch};
use crate::ids::{Epoch, Key, Place, RolloutId, Timestamp};
use crate::rollout::Rollout;

/// Raises the epochs of every split whose units, or what they get, the draft changes.
pub(super) fn raise(draft: &mut Draft<'_>) {
    let changed = draft.changed();
    let mut places: BTreeSet<Place> = BTreeSet::new();
    for id in &changed {
        let Ok(project) = id.scope.project.parse::<Key>() else { continue };
        match id.scope.environment.as_deref().map(str::parse::<Key>) {
            Some(Ok(environment)) => drop(places.insert(Place { project, environment })),
            Some(Err(_)) => {}
            None => places.extend(draft.environments(&project)),
        }
    }
    for place in places {
        for key in draft.keys(&Scope::place(&place), "flag_state") {
            let Ok(flag) = key.parse::<Key>() else { continue };
            let own = changed.contains(&ItemKey::state(&place, &flag));
            let Some(state) = draft.state(&place, &flag) else { continue };
            if own || state.owned.is_some() {
                raise_flag(draft, &place, &flag, state);
            }
        }
    }
}

fn raise_flag(draft: &mut Draft<'_>, place: &Place, flag: &Key, mut state: FlagState) {
    let before = draft.catalogue.state(place, flag);
    let mut risen: BTreeSet<String> = BTreeSet::new();
    for (rule, parts) in state.section.splits() {
        let was = before.as_ref().and_then(|before| before.section.split_at(rule));
        if was != Some(parts) {
            risen.insert(rule.to_owned());
        }
    }
    let salted = |state: &FlagState, rule: &str| {
        let own = state.section.rules.iter().find(|candidate| candidate.id == rule);
        let own = own.map(|rule| (rule.salt.clone(), rule.seed, rule.unit.clone(), rule.by.clone()));
        (own, state.section.salt.clone(), state.section.seed, state.section.unit.clone())
    };
    if let Some(before) = &before {
        let splits = state.section.splits().map(|(rule, _)| rule.to_owned());
        risen.extend(splits.filter(|rule| salted(before, rule) != salted(&state, rule)).collect::<Vec<_>>());
    }
    if let (Some(owned), Some(_)) = (&state.owned, &before) {
        let now = upstream(draft, place, flag, &owned.rule);
        if now != upstream(draft.catalogue, place, flag, &owned.rule) {
            risen.insert(owned.rule.clone());
        }
    }
    if risen.is_empty() {
        return;
    }
    for rule in &risen {
        let last = before.as_ref().and_then(|before| before.epochs.get(rule)).copied().unwrap_or(0);
        state.epochs.insert(rule.clone(), last + 1);
    }
    let note = state.owned.as_ref().filter(|owned| risen.contains(&owned.rule)).map(|owned| {
        let parts = state.section.split_at(&owned.rule).unwrap_or_default();
        let epoch = Epoch(state.epochs.get(&owned.rule).copied().unwrap_or(0));
        let rollout = RolloutId { place: place.clone(), flag: flag.clone(), number: owned.rollout };
        let share = share(parts, &owned.control, &owned.new);
        EvidenceNote::Stratum { rollout, stratum: Stratum { epoch, share, at: draft.now } }
    });
    draft.put_state(place, flag, state);
    if let Some(note) = note {
        draft.evidence(note);
    }
}

impl Catalogue {
    /// What the evidence must be watching: every split that a running rollout owns, with its open stratum, which
    /// counts from `now` if it turns out not to be known. A crash may come between a commit and its marker.
    pub fn watches(&self, now: Timestamp) -> Vec<(Watch, Stratum)> {
        let watch = |rollout: Rollout| {
            let RolloutId { place, flag, number } = &rollout.id;
            let state = self.flag_state(place, flag)?;
            let owned = state.owned.as_ref().filter(|owned| owned.rollout == *number)?;
            let parts = state.section.split_at(&owned.rule)?;
            let epoch = Epoch(epoch_of(&state, &owned.rule));
            let stratum = Stratum { epoch, share: share(parts, &owned.control, &owned.new), at: now };
            Some((rollout.plan.watch(rollout.id.clone()), stratum))
        };
        self.active_rollouts().into_iter().filter_map(watch).collect()
    }
}

/// The share of the new variant among both arms, 1/100000.
fn share(parts: &[Part], control: &str, new: &str) -> u32 {
    let weight = |name: &str| -> u64 {
        parts.iter().filter(|part| part.variant == name).map(|part| u64::from(part.weight)).sum()
    };
    let (control, new) = (weight(control), weight(new));
    (new * 100_000).checked_div(control + new).unwrap_or(0) as u32
}

/// Everything that decides which units reach a split, and what its arms receive.
fn upstream(view: &dyn View, place: &Place, flag: &Key, rule: &str) -> Json {
    let mut seen = BTreeSet::new();
    let Some(state) = view.state(place, flag) else { return Json::Null };
    let mut rules = Vec::new();
    let mut segments = BTreeSet::new();
    for candidate in &state.section.rules {
        let own = candidate.id == rule;
        asked(&candidate.condition, &mut segments);
        rules.push(json!([
            candidate.id,
            candidate.condition,
            if own { None } else { Some(&candidate.serve) }
        ]));
        if own {
            break;
        }
    }
    let pins = &state.section.pins;
    pins.iter()
        .filter_map(|pin| pin.condition.as_ref())
        .for_each(|condition| asked(condition, &mut segments));
    let who: Vec<Json> =
        pins.iter().map(|pin| json!([pin.id, pin.unit, pin.who, pin.condition, pin.variant])).collect();
    let arms: Vec<Json> = match (&state.owned, view.flag(&place.project, flag)) {
        (Some(owned), Some(record)) => [&owned.control, &owned.new]
            .iter()
            .filter_map(|name| record.variant(name).map(|(_, variant)| variant.value.clone()))
            .collect(),
        _ => Vec::new(),
    };
    json!({
        "on": state.section.on,
        "kill": state.kill.as_ref().map(|kill| &kill.to),
        "pins": who,
        "targets": state.section.targets,
        "rules": rules,
        "unit": state.section.unit,
        "salt": state.section.salt,
        "seed": state.section.seed,
        "arms": arms,
        "segments": segments.iter().map(|key| segment(view, place, key, &mut seen)).collect::<Vec<_>>(),
        "prerequisites": state.section.prerequisites.iter().map(|prerequisite| {
            let other = view.state(place, &prerequisite.flag).map(|state| super::canonical::plain(&state.section));
            json!([prerequisite, other, upstream_of(view, place, &prerequisite.flag, 0)])
        }).collect::<Vec<_>>(),
    })
}

/// Prerequisites of prerequisites; cycles are refused at the edit, the depth is for data that came otherwise.
fn upstream_of(view: &dyn View, place: &Place, flag: &Key, depth: usize) -> Json {
    let state = view.state(place, flag);
    let next = state.iter().flat_map(|state| &state.section.prerequisites).filter(|_| depth < 20);
    next.map(|prerequisite| {
        let other =
            view.state(place, &prerequisite.flag).map(|state| super::canonical::plain(&state.section));
        json!([other, upstream_of(view, place, &prerequisite.flag, depth + 1)])
    })
    .collect()
}

fn segment(view: &dyn View, place: &Place, key: &str, seen: &mut BTreeSet<String>) -> Json {
    if !seen.insert(key.to_owned()) {
        return Json::Null;
    }
    let Some(state) = view.segment(place, key) else { return Json::Null };
    let mut inner = BTreeSet::new();
    state.rules.iter().for_each(|rule| asked(&rule.condition, &mut inner));
    let rules: Vec<&Json> = state.rules.iter().map(|rule| &rule.condition).collect();
    let below: Vec<Json> = inner.iter().map(|key| segment(view, place, key, seen)).collect();
    json!([state.includes, state.excludes, rules, state.salt, below])
}

/// The segments that a condition asks.
pub(super) fn asked(condition: &Json, all: &mut BTreeSet<String>) {
    all.extend(condition::read(condition, "", &mut Vec::new()).segments.into_iter().map(|(key, _)| key));
}

/// The epoch of a split.
pub(super) fn epoch_of(state: &FlagState, rule: &str) -> u32 {
    state.epochs.get(rule).copied().unwrap_or(0)
}

/// The rule that a command means: the end of the rules where none is named.
pub(super) fn rule_or_end(rule: Option<&str>) -> &str {
    rule.unwrap_or(FALLTHROUGH)
}
