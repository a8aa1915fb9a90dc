//! Pins: units that stay on one variant, with an owner, a reason and an end.

use serde_json::Value as Json;

use super::apply::locked;
use super::change::{Line, Refusal, Rejected, Scope};
use super::command::Command;
use super::draft::Draft;
use super::flags::{need, update};
use super::variants::{Variants, kind_of};
use super::view::View;
use super::{Catalogue, canonical};
use crate::document::reader::Object;
use crate::document::{self, Problem};
use crate::ids::{Key, Place, Timestamp};

pub(super) fn add(draft: &mut Draft<'_>, place: &Place, flag: &Key, pin: &Json) -> Result<(), Rejected> {
    let (record, mut state) = need(draft, place, flag)?;
    let mut problems = Vec::new();
    let document =
        Object::of(pin, "", &mut problems).and_then(|object| document::flag::pin(&object, &mut problems));
    let mut variants = Variants {
        kind: kind_of(&record.value_type),
        list: record.variants.clone(),
        locked: locked(draft, &place.project, flag),
        notes: Vec::new(),
    };
    let found = document
        .map(|document| canonical::pins(&[document], &mut variants, &mut problems))
        .unwrap_or_default();
    if !problems.is_empty() {
        return Err(problems.into());
    }
    if variants.list.len() > record.variants.len() {
        let text = pin.get("value").or_else(|| pin.get("variant")).map_or_else(String::new, Json::to_string);
        let names: Vec<&str> = record.variants.iter().map(|variant| variant.name.as_str()).collect();
        let problem =
            Problem::new("unknown_variant", "/value", format!("Flag {flag} has no variant {text}."));
        return Err(vec![problem.hint(format!("known: {}", names.join(", ")))].into());
    }
    let Some(mut pin) = found.into_iter().next() else {
        return Err(vec![Problem::new("missing_member", "", "The pin is empty.")].into());
    };
    if pin.until.as_deref().and_then(document::until).is_some_and(|until| until <= draft.now) {
        return Err(vec![Problem::new("already_over", "/until", "The pin would have ended already.")].into());
    }
    let given = state.section.pins.iter().any(|other| other.id == pin.id);
    if given {
        let base = pin.id.clone();
        let free = |id: &String| state.section.pins.iter().all(|other| other.id != *id);
        pin.id = (2..).map(|n| format!("{base}-{n}")).find(free).unwrap_or(base);
    }
    let until = pin
        .until
        .as_deref()
        .map_or_else(|| "until it is removed".to_owned(), |until| format!("until {until}"));
    let sentence = format!(
        "Pin {} keeps its units on {} in {} {until} ({}: {}).",
        pin.id, pin.variant, place.environment, pin.owner, pin.reason
    );
    let lines =
        vec![Line { path: format!("pins/{}", pin.id), before: None, after: Some(pin.variant.clone()) }];
    state.section.pins.push(pin);
    let problems = super::check::flag(draft, place, flag, state);
    if !problems.is_empty() {
        return Err(problems.into());
    }
    draft.say(sentence.clone());
    draft.note(update(format!("flag/{flag}"), place, sentence, lines), Scope::place(place), "pin.add");
    Ok(())
}

fn take(
    draft: &mut Draft<'_>,
    place: &Place,
    flag: &Key,
    id: &str,
    how: &str,
    action: &str,
) -> Result<(), Rejected> {
    let (_, mut state) = need(draft, place, flag)?;
    let Some(at) = state.section.pins.iter().position(|pin| pin.id == id) else {
        let known: Vec<&str> = state.section.pins.iter().map(|pin| pin.id.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let sentence =
            format!("Flag {flag} has no pin \"{id}\" in {}; its pins: {known}.", place.environment);
        return Err(Refusal::new("unknown_pin", sentence).next(format!("ensign pin list {flag}")).into());
    };
    let pin = state.section.pins.remove(at);
    let sentence =
        format!("Pin {id} of flag {flag} {how} in {}: its units follow the rules again.", place.environment);
    let lines = vec![Line { path: format!("pins/{id}"), before: Some(pin.variant), after: None }];
    draft.put_state(place, flag, state);
    draft.say(sentence.clone());
    draft.note(update(format!("flag/{flag}"), place, sentence, lines), Scope::place(place), action);
    Ok(())
}

pub(super) fn remove(draft: &mut Draft<'_>, place: &Place, flag: &Key, id: &str) -> Result<(), Rejected> {
    take(draft, place, flag, id, "is removed", "pin.remove")
}

/// Ends a pin whose time has come, and no other: the command may be late.
pub(super) fn expire(draft: &mut Draft<'_>, place: &Place, flag: &Key, id: &str) -> Result<(), Rejected> {
    let state = draft.state(place, flag);
    let pin = state.iter().flat_map(|state| &state.section.pins).find(|pin| pin.id == id);
    let over =
        pin.and_then(|pin| document::until(pin.until.as_deref()?)).is_some_and(|until| until <= draft.now);
    if !over {
        return Err(Refusal::new("pin_holds", format!("Pin {id} of flag {flag} has not ended.")).into());
    }
    take(draft, place, flag, id, "has ended", "pin.expire")
}

/// Everything that the clock will end, with the time.
pub(super) fn dated(catalogue: &Catalogue) -> Vec<(Timestamp, Command)> {
    let mut all = Vec::new();
    for (id, stored) in &catalogue.items {
        let super::state::Body::State(state) = stored.body.as_ref() else { continue };
        let (Some(place), Ok(flag)) = (super::place_of(id), id.key.parse::<Key>()) else { continue };
        if catalogue.flag(&place.project, &flag).is_none_or(|record| record.retired.is_some()) {
            continue;
        }
        for pin in &state.section.pins {
            if let Some(until) = pin.until.as_deref().and_then(document::until) {
                let (place, flag, pin) = (place.clone(), flag.clone(), pin.id.clone());
                all.push((until, Command::ExpirePin { place, flag, pin }));
            }
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all
}
