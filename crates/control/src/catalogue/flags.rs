//! What is done to a flag besides applying documents: switching, killing, retiring, restoring, dividing.

use serde_json::{Map, Value as Json, json};

use super::apply::{locked, owned_stays, tombstone};
use super::change::{Line, PlanItem, Refusal, Rejected, Scope, Verb};
use super::draft::Draft;
use super::state::{FALLTHROUGH, FlagRecord, FlagState, KillState, Part, Retired, Section, Serve};
use super::variants::Variants;
use super::view::View;
use super::{canonical, check, merge, strata};
use crate::document::Problem;
use crate::document::condition;
use crate::document::reader::nearest;
use crate::ids::{Key, Place};

/// The flag and its state in a place, or why not.
pub(super) fn need(
    draft: &mut Draft<'_>,
    place: &Place,
    flag: &Key,
) -> Result<(FlagRecord, FlagState), Refusal> {
    draft.need_place(place)?;
    let record = need_flag(draft, &place.project, flag)?;
    if let Some(refusal) = tombstone(&record) {
        return Err(refusal);
    }
    draft.depends_on(super::ItemKey::flag(&place.project, flag));
    match draft.state(place, flag) {
        Some(state) => Ok((record, state)),
        None => {
            let sentence = format!("Flag {flag} has nothing to serve in {}.", place.environment);
            Err(Refusal::new("flag_not_here", sentence).next("ensign apply FILE"))
        }
    }
}

fn need_flag(draft: &Draft<'_>, project: &Key, flag: &Key) -> Result<FlagRecord, Refusal> {
    if let Some(record) = draft.flag(project, flag) {
        return Ok(record);
    }
    let keys = draft.flag_keys(project);
    let known: Vec<&str> = keys.iter().map(Key::as_str).collect();
    let near =
        nearest(flag.as_str(), &known).map_or_else(String::new, |near| format!(" Did you mean \"{near}\"?"));
    Err(Refusal::new("unknown_flag", format!("There is no flag \"{flag}\".{near}")).next("ensign flag list"))
}

/// A variant of the flag, by name or value, or why not.
pub(super) fn need_variant(record: &FlagRecord, wanted: &Json) -> Result<String, Refusal> {
    if let Some(variant) = Variants::find(record, wanted) {
        return Ok(variant.name.clone());
    }
    let names: Vec<&str> = record.variants.iter().map(|variant| variant.name.as_str()).collect();
    let text = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
    let sentence = format!("Flag {} has no variant {text}; it has {}.", record.key, names.join(", "));
    Err(Refusal::new("unknown_variant", sentence).next(format!("ensign flag show {}", record.key)))
}

pub(super) fn update(subject: String, place: &Place, sentence: String, lines: Vec<Line>) -> PlanItem {
    let environment = Some(place.environment.as_str().to_owned());
    PlanItem { subject, environment, verb: Verb::Update, sentence, lines, drift: Vec::new() }
}

fn line(path: &str, before: Option<String>, after: Option<String>) -> Line {
    Line { path: path.to_owned(), before, after }
}

pub(super) fn switch(draft: &mut Draft<'_>, place: &Place, flag: &Key, on: bool) -> Result<(), Rejected> {
    let (_, mut state) = need(draft, place, flag)?;
    let word = |on: bool| if on { "on" } else { "off" };
    if state.section.on == on {
        draft.say(format!("Flag {flag} is {} already in {}.", word(on), place.environment));
        return Ok(());
    }
    state.section.on = on;
    let served = state.section.off_words();
    let effect = if on { "its rules decide again".to_owned() } else { format!("everyone gets {served}") };
    let sentence = format!("Flag {flag} is {} in {}: {effect}.", word(on), place.environment);
    let lines = vec![line("on", Some((!on).to_string()), Some(on.to_string()))];
    draft.put_state(place, flag, state);
    draft.say(sentence.clone());
    draft.note(update(format!("flag/{flag}"), place, sentence, lines), Scope::place(place), "flag.switch");
    Ok(())
}

pub(super) fn kill(
    draft: &mut Draft<'_>,
    place: &Place,
    flag: &Key,
    to: Option<&Json>,
) -> Result<(), Rejected> {
    let (record, state) = need(draft, place, flag)?;
    let to = match to {
        Some(wanted) => need_variant(&record, wanted)?,
        None => control(&state),
    };
    kill_one(draft, place, flag, state, to);
    Ok(())
}

/// Control is the rollout's control, else the flag's default.
fn control(state: &FlagState) -> String {
    let owned = state.owned.as_ref().map(|owned| owned.control.clone());
    owned.unwrap_or_else(|| state.section.default.clone())
}

fn kill_one(draft: &mut Draft<'_>, place: &Place, flag: &Key, mut state: FlagState, to: String) {
    let before = state.kill.as_ref().map(|kill| kill.to.clone());
    if before.as_ref() == Some(&to) {
        draft.say(format!("Flag {flag} is killed already in {}: everyone is on {to}.", place.environment));
        return;
    }
    let overridden: Vec<String> = state
        .section
        .pins
        .iter()
        .filter(|pin| pin.variant != to)
        .map(|pin| format!("{} ({} for {})", pin.id, pin.variant, pin.owner))
        .collect();
    let (by, reason) = (draft.actor.name.clone(), draft.reason.clone());
    state.kill = Some(KillState { to: to.clone(), by, at: draft.now, reason });
    let running = state.owned.as_ref().map(|owned| owned.rollout);
    let mut sentence = format!("Flag {flag} is killed in {}: everyone is on {to} now.", place.environment);
    if !overridden.is_empty() {
        sentence.push_str(&format!(" Pins that do not hold while it is killed: {}.", overridden.join(", ")));
    }
    if let Some(number) = running {
        sentence.push_str(&format!(" Rollout {flag}.{number} is held."));
    }
    sentence.push_str(&format!(" Lift it with: ensign restore {flag}"));
    draft.put_state(place, flag, state);
    draft.say(sentence.clone());
    let details = json!({ "flag": flag, "to": to, "overridden_pins": overridden });
    draft.tell("flag.killed", Scope::place(place), &format!("flag/{flag}"), &sentence, &details);
    let item = update(format!("flag/{flag}"), place, sentence, vec![line("kill", before, Some(to))]);
    draft.note(item, Scope::place(place), "flag.kill");
    super::rollouts::killed(draft, place, flag);
}

pub(super) fn kill_value(draft: &mut Draft<'_>, place: &Place, value: &Json) -> Result<(), Rejected> {
    draft.need_place(place)?;
    let mut hit = Vec::new();
    let mut stuck = Vec::new();
    for flag in draft.flag_keys(&place.project) {
        let Some(record) = draft.flag(&place.project, &flag).filter(|record| record.retired.is_none()) else {
            continue;
        };
        let (Some(variant), Some(state)) = (Variants::find(&record, value), draft.state(place, &flag)) else {
            continue;
        };
        let name = variant.name.clone();
        let killed_to_it = state.kill.as_ref().is_some_and(|kill| kill.to == name);
        if !killed_to_it && (state.kill.is_some() || !state.section.servable().contains(name.as_str())) {
            continue;
        }
        let to = control(&state);
        if to == name {
            stuck.push(flag.as_str().to_owned());
            continue;
        }
        kill_one(draft, place, &flag, state, to);
        hit.push(flag.as_str().to_owned());
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if !stuck.is_empty() {
        draft.say(format!(
            "Not killed, because {text} is their control: {}. Kill each with: ensign kill FLAG --to VARIANT",
            stuck.join(", ")
        ));
    }
    if hit.is_empty() && stuck.is_empty() {
        let sentence = format!("No flag of {} can serve {text}.", place.environment);
        return Err(Refusal::new("nothing_to_kill", sentence).next("ensign flag list").into());
    }
    if hit.is_empty() {
        let sentence = format!("{text} is the control of {}.", stuck.join(", "));
        return Err(Refusal::new("value_is_control", sentence).next("ensign kill FLAG --to VARIANT").into());
    }
    Ok(())
}

pub(super) fn restore(draft: &mut Draft<'_>, place: &Place, flag: &Key) -> Result<(), Rejected> {
    let (_, mut state) = need(draft, place, flag)?;
    let Some(kill) = state.kill.take() else {
        let sentence = format!("Flag {flag} is not killed in {}.", place.environment);
        return Err(Refusal::new("not_killed", sentence).next(format!("ensign flag show {flag}")).into());
    };
    let running = state.owned.as_ref().map(|owned| owned.rollout);
    let mut sentence =
        format!("The kill of flag {flag} is lifted in {}: its rules decide again.", place.environment);
    if let Some(number) = running {
        sentence.push_str(&format!(
            " Rollout {flag}.{number} stays held; go on with: ensign rollout resume {flag}"
        ));
    }
    draft.put_state(place, flag, state);
    draft.say(sentence.clone());
    draft.tell(
        "flag.restored",
        Scope::place(place),
        &format!("flag/{flag}"),
        &sentence,
        &json!({ "flag": flag }),
    );
    let item = update(format!("flag/{flag}"), place, sentence, vec![line("kill", Some(kill.to), None)]);
    draft.note(item, Scope::place(place), "flag.restore");
    Ok(())
}

pub(super) fn retire(draft: &mut Draft<'_>, project: &Key, flag: &Key) -> Result<(), Rejected> {
    draft.need_project(project)?;
    let mut record = need_flag(draft, project, flag)?;
    if let Some(refusal) = tombstone(&record) {
        return Err(refusal.into());
    }
    for place in draft.environments(project) {
        if let Some(owned) = draft.state(&place, flag).and_then(|state| state.owned) {
            let sentence = format!("Rollout {flag}.{} is running in {}.", owned.rollout, place.environment);
            return Err(Refusal::new("rollout_running", sentence)
                .next(format!("ensign rollout abort {flag}"))
                .into());
        }
        for other in draft.flag_keys(project) {
            let needs = draft.state(&place, &other).is_some_and(|state| {
                state.section.prerequisites.iter().any(|prerequisite| prerequisite.flag == *flag)
            });
            let lives = draft.flag(project, &other).is_some_and(|record| record.retired.is_none());
            if needs && lives {
                let sentence =
                    format!("Flag {other} needs {flag} as a prerequisite in {}.", place.environment);
                return Err(Refusal::new("flag_needed", sentence)
                    .next(format!("ensign blast {flag}"))
                    .into());
            }
        }
    }
    let (at, by, reason) = (draft.now, draft.actor.name.clone(), draft.reason.clone());
    record.retired = Some(Retired { at, by, reason });
    let sentence =
        format!("Flag {flag} is retired: clients get their own default, and the key is never used again.");
    draft.put_flag(project, record);
    tell_project(draft, project, flag, Verb::Remove, sentence, "flag.retire");
    Ok(())
}

fn tell_project(
    draft: &mut Draft<'_>,
    project: &Key,
    flag: &Key,
    verb: Verb,
    sentence: String,
    action: &str,
) {
    draft.say(sentence.clone());
    let subject = format!("flag/{flag}");
    let item = PlanItem { subject, environment: None, verb, sentence, lines: Vec::new(), drift: Vec::new() };
    draft.note(item, Scope::project(project), action);
}

pub(super) fn unretire(draft: &mut Draft<'_>, project: &Key, flag: &Key) -> Result<(), Rejected> {
    draft.need_project(project)?;
    let mut record = need_flag(draft, project, flag)?;
    if record.retired.take().is_none() {
        return Err(Refusal::new("not_retired", format!("Flag {flag} is not retired.")).into());
    }
    draft.put_flag(project, record);
    let sentence = format!("Flag {flag} is back with its history, serving what it served before.");
    tell_project(draft, project, flag, Verb::Update, sentence, "flag.unretire");
    Ok(())
}

/// Brings back what a flag served at an earlier revision. Variants only grow, so their list stays; a payload that was
/// edited since comes back unless a rollout compares it.
pub(super) fn restore_revision(
    draft: &mut Draft<'_>,
    place: &Place,
    flag: &Key,
    revision: u64,
    snapshot: &Json,
) -> Result<(), Rejected> {
    let (mut record, mut state) = need(draft, place, flag)?;
    let section = snapshot.pointer("/state/section").cloned().unwrap_or_default();
    let Ok(section) = serde_json::from_value::<Section>(section) else {
        let sentence =
            format!("Revision {revision} of flag {flag} cannot be restored: its state is not known.");
        return Err(Refusal::new("unknown_revision", sentence)
            .next(format!("ensign flag history {flag}"))
            .into());
    };
    owned_stays(flag, &state, &section)?;
    let payloads = snapshot.pointer("/flag/variants").and_then(Json::as_array).cloned().unwrap_or_default();
    let held = locked(draft, &place.project, flag);
    for payload in &payloads {
        let name = payload.get("name").and_then(Json::as_str).unwrap_or_default();
        let known = record.variants.iter_mut().find(|variant| variant.name == name && !held.contains(name));
        if let (Some(known), Some(value)) = (known, payload.get("value")) {
            known.value = value.clone();
        }
    }
    let members = |section: &Section| match canonical::plain(section) {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    let lines = merge::lines(&members(&state.section), &members(&section));
    let sentence =
        format!("Flag {flag} serves again what it served at revision {revision} in {}.", place.environment);
    state.section = section;
    draft.put_flag(&place.project, record);
    let problems = check::flag(draft, place, flag, state);
    if !problems.is_empty() {
        return Err(problems.into());
    }
    draft.say(sentence.clone());
    let item = update(format!("flag/{flag}"), place, sentence, lines);
    draft.note(item, Scope::place(place), "flag.restore_revision");
    Ok(())
}

pub(super) fn set_split(
    draft: &mut Draft<'_>,
    place: &Place,
    flag: &Key,
    rule: Option<&str>,
    weights: &[(String, f64)],
) -> Result<(), Rejected> {
    let (record, mut state) = need(draft, place, flag)?;
    let at = strata::rule_or_end(rule);
    let mut problems = Vec::new();
    let mut parts = Vec::new();
    for (name, percent) in weights {
        let variant = need_variant(&record, &Json::from(name.as_str()))?;
        let weight = condition::weight(&Json::from(*percent), "/weights", &mut problems);
        parts.extend(weight.map(|weight| Part { variant, weight }));
    }
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let control = state.section.default.clone();
    if let Some(first) = parts.iter().position(|part| part.variant == control) {
        let part = parts.remove(first);
        parts.insert(0, part);
    } else {
        parts.insert(0, Part { variant: control, weight: 0 });
    }
    let names: Vec<&str> = record.variants.iter().map(|variant| variant.name.as_str()).collect();
    let live = state.section.split_at(at).map(<[Part]>::to_vec);
    let parts = canonical::weigh(live.as_deref(), &parts, &names).map_err(|bad| {
        vec![Problem::new("bad_split", "/weights", format!("This cannot be a split: {bad}."))]
    })?;
    let before = state.section.clone();
    place_split(&mut state.section, flag, at, parts)?;
    owned_stays(flag, &FlagState { section: before.clone(), ..state.clone() }, &state.section)?;
    let members = |section: &Section| match canonical::plain(section) {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    let lines = merge::lines(&members(&before), &members(&state.section));
    let sentence = format!("The split of flag {flag} changes in {}.", place.environment);
    draft.put_state(place, flag, state);
    draft.say(sentence.clone());
    draft.note(update(format!("flag/{flag}"), place, sentence, lines), Scope::place(place), "flag.split");
    Ok(())
}

/// Puts a split where a rule, or the end of the rules, leads.
pub(super) fn place_split(
    section: &mut Section,
    flag: &Key,
    rule: &str,
    parts: Vec<Part>,
) -> Result<(), Refusal> {
    if rule == FALLTHROUGH {
        section.split = Some(parts);
        return Ok(());
    }
    match section.rules.iter_mut().find(|candidate| candidate.id == rule) {
        Some(found) => {
            found.serve = Serve::Split(parts);
            Ok(())
        }
        None => {
            let sentence = format!("Flag {flag} has no rule \"{rule}\".");
            Err(Refusal::new("unknown_rule", sentence).next(format!("ensign flag show {flag}")))
        }
    }
}
