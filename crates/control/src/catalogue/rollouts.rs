//! Rollouts in the catalogue: their decisions become changes of the split they own, in one transaction.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::change::{EvidenceNote, ItemKey, Notice, Refusal, Rejected, Scope};
use super::deployments;
use super::draft::Draft;
use super::flags::{need, place_split, update};
use super::state::{Body, FALLTHROUGH, FlagRecord, FlagState, Owned, Part, Rule, Section, Serve};
use super::strata::epoch_of;
use super::view::View;
use super::{Catalogue, canonical, merge};
use crate::document::{UseCaseDocument, condition};
use crate::evidence::BlockLog;
use crate::evidence::report::Evidence;
use crate::ids::{Epoch, Key, Place, RolloutId, Span, Timestamp};
use crate::metric::{READY_MADE, ready_made};
use crate::receipt::Receipt;
use crate::rollout::{
    self, Command as Ask, Decision, Facts, FlagFacts, Killed, NoticeKind, Plan, Rollout, Spec, Step,
    VariantFact, Who, Window,
};

/// A request not finished after this is a timeout, where no use case says otherwise.
pub(super) const TIMEOUT: Span = Span::seconds(60);

/// What a person asks of a running rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutAction {
    /// Leave the stage that waits for an approval.
    Approve,
    /// Stop advancing.
    Hold,
    /// Go on.
    Resume,
    /// Everyone back to control.
    Abort,
}

impl Catalogue {
    /// What a rollout document means for its flag: every default filled in, or everything that is wrong.
    ///
    /// # Errors
    /// [`Rejected`], if the flag is not there or the document is wrong.
    pub fn rollout_plan(&self, place: &Place, document: &Json) -> Result<Plan, Rejected> {
        let spec = Spec::from_document(document)?;
        let flag = spec.flag.clone();
        let known = self.flag_record(&place.project, &flag).zip(self.flag_state(place, &flag));
        let Some((record, state)) = known else {
            let sentence = format!("There is no flag \"{flag}\" in {}.", place.environment);
            return Err(Refusal::new("unknown_flag", sentence).next("ensign flag list").into());
        };
        plan_of(self, place, spec, &record, &state)
    }

    /// The rollout of a flag that is not over, if there is one.
    pub fn active_rollout(&self, place: &Place, flag: &Key) -> Option<Rollout> {
        active(self, place, flag, &self.flag_state(place, flag)?)
    }

    /// Every rollout that is not over, in all environments: what a guard looks at.
    pub fn active_rollouts(&self) -> Vec<Rollout> {
        let all = self.items.values().filter_map(|stored| match stored.body.as_ref() {
            Body::Rollout(rollout) if !rollout.is_over() => Some(rollout.as_ref().clone()),
            _ => None,
        });
        all.collect()
    }

    /// What a rollout's decision must know besides the evidence.
    pub fn rollout_facts(&self, id: &RolloutId, now: Timestamp) -> Facts {
        self.flag_state(&id.place, &id.flag)
            .map(|state| facts(self, &id.place, &state, now))
            .unwrap_or_default()
    }
}

pub(super) fn active(view: &dyn View, place: &Place, flag: &Key, state: &FlagState) -> Option<Rollout> {
    let id = RolloutId { place: place.clone(), flag: flag.clone(), number: state.rollouts };
    view.rollout(&id).filter(|rollout| !rollout.is_over())
}

pub(super) fn use_case(view: &dyn View, project: &Key, record: &FlagRecord) -> Option<UseCaseDocument> {
    let own = record.shared.get("use_case").and_then(Json::as_str).and_then(|key| key.parse().ok());
    if let Some(found) = own.and_then(|key: Key| view.use_case(project, &key)) {
        return Some(found);
    }
    let keys = view.keys(&Scope::project(project), "use_case");
    let all = keys.iter().filter_map(|key| view.use_case(project, &key.parse().ok()?));
    all.into_iter().find(|use_case| use_case.flags.contains(&record.key))
}

impl Catalogue {
    /// The use case that a flag belongs to: the one it names, else one that lists it.
    pub fn use_case_of(&self, project: &Key, flag: &Key) -> Option<UseCaseDocument> {
        use_case(self, project, &self.flag_record(project, flag)?)
    }
}

/// The variant that most units of a rule get.
fn most(serve: &Serve) -> Option<&str> {
    match serve {
        Serve::Variant(name) => Some(name),
        Serve::Split(parts) => {
            parts.iter().rev().max_by_key(|part| part.weight).map(|part| part.variant.as_str())
        }
    }
}

fn percentage(rule: &Rule) -> Option<condition::Percentage> {
    condition::read(&rule.condition, "", &mut Vec::new()).percentage
}

fn plan_of(
    view: &dyn View,
    place: &Place,
    mut spec: Spec,
    record: &FlagRecord,
    state: &FlagState,
) -> Result<Plan, Rejected> {
    let index = |name: &str| record.variant(name).map(|(index, _)| index);
    let section = &state.section;
    let mut rules: BTreeMap<String, u16> = section
        .rules
        .iter()
        .filter(|rule| percentage(rule).is_none())
        .filter_map(|rule| Some((rule.id.clone(), index(most(&rule.serve)?)?)))
        .collect();
    let end = section.split.clone().map_or_else(|| Serve::Variant(section.default.clone()), Serve::Split);
    rules.extend(most(&end).and_then(index).map(|variant| (FALLTHROUGH.to_owned(), variant)));
    let use_case = use_case(view, &place.project, record);
    let timeout = use_case.as_ref().and_then(|use_case| use_case.request_timeout).unwrap_or(TIMEOUT);
    spec.report_lag = spec.report_lag.or(use_case.and_then(|use_case| use_case.report_lag));
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let variants = record.variants.iter().enumerate().map(|(at, variant)| VariantFact {
        index: u16::try_from(at).unwrap_or(u16::MAX),
        name: variant.name.clone(),
        value: text(&variant.value),
    });
    let unit = section.unit.as_deref().unwrap_or("user").parse::<Key>();
    let facts = FlagFacts {
        flag: record.key.clone(),
        variants: variants.collect(),
        rules,
        unit: unit.unwrap_or_else(|_| "user".parse().expect("the word is a key")),
        timeout,
    };
    let keys = view.keys(&Scope::project(&place.project), "metric");
    let metrics = keys.iter().filter_map(|key| key.parse::<Key>().ok());
    let ready =
        READY_MADE.iter().filter_map(|key| ready_made(key)).map(|metric| (metric.key.clone(), metric));
    let own = metrics.filter_map(|key| Some((key.clone(), view.metric(&place.project, &key)?.metric)));
    let metrics = ready.chain(own).collect();
    Ok(rollout::resolve(&spec, &facts, &metrics)?)
}

pub(super) fn facts(view: &dyn View, place: &Place, state: &FlagState, now: Timestamp) -> Facts {
    let until = view.windows(place).iter().filter_map(|window| window.open_until(now)).max();
    Facts {
        epoch: state.owned.as_ref().map(|owned| Epoch(epoch_of(state, &owned.rule))),
        window: until.map_or(Window::Open, |until| Window::Closed { until: Some(until) }),
        killed: state.kill.as_ref().map(|kill| Killed {
            by: kill.by.clone(),
            at: kill.at,
            reason: kill.reason.clone(),
        }),
        alarm: deployments::firing(view, place, state),
    }
}

pub(super) fn refused(refusal: &rollout::Refusal, flag: &Key) -> Refusal {
    Refusal::new(refusal.code(), refusal.to_string()).next(refusal.next().replace("FLAG", flag.as_str()))
}

pub(super) fn who(draft: &Draft<'_>) -> Who {
    Who { by: draft.actor.name.clone(), reason: draft.reason.clone() }
}

/// Starts a rollout.
pub(super) fn start(draft: &mut Draft<'_>, place: &Place, document: &Json) -> Result<(), Rejected> {
    let spec = Spec::from_document(document)?;
    let flag = spec.flag.clone();
    let (record, mut state) = need(draft, place, &flag)?;
    if let Some(running) = active(draft, place, &flag, &state) {
        let sentence = format!("Rollout {} of this flag is not over ({}).", running.id, running.phase.word());
        return Err(Refusal::new("rollout_running", sentence)
            .next(format!("ensign rollout status {flag}"))
            .into());
    }
    let plan = plan_of(draft, place, spec, &record, &state)?;
    free(&state.section, &plan, &flag)?;
    for sentence in &plan.assumed {
        draft.say(sentence.clone());
    }
    state.rollouts += 1;
    let id = RolloutId { place: place.clone(), flag: flag.clone(), number: state.rollouts };
    let facts = facts(draft, place, &state, draft.now);
    draft.put_state(place, &flag, state);
    let fresh = Rollout::new(id.clone(), plan, draft.actor.name.clone(), draft.now);
    let step =
        fresh.decide(&Ask::Start(who(draft)), draft.now, None, &facts).map_err(|no| refused(&no, &flag))?;
    match step {
        Some(step) => follow(draft, step, None, "")?,
        None => draft.put(ItemKey::rollout(&id), Body::Rollout(Box::new(fresh))),
    }
    Ok(())
}

/// A rollout compares two variants; a split that serves a third one cannot be taken over.
pub(super) fn free(section: &Section, plan: &Plan, flag: &Key) -> Result<(), Refusal> {
    let parts = section.split_at(&plan.rule).unwrap_or_default();
    let arms = [plan.control.name.as_str(), plan.new.name.as_str()];
    match parts.iter().find(|part| part.weight > 0 && !arms.contains(&part.variant.as_str())) {
        None => Ok(()),
        Some(third) => {
            let sentence =
                format!("The split serves {} too; a rollout compares two variants.", third.variant);
            Err(Refusal::new("split_has_more_variants", sentence).next(format!("ensign flag show {flag}")))
        }
    }
}

/// A person's word to the running rollout.
pub(super) fn act(
    draft: &mut Draft<'_>,
    place: &Place,
    flag: &Key,
    action: RolloutAction,
) -> Result<(), Rejected> {
    let (_, state) = need(draft, place, flag)?;
    let id = RolloutId { place: place.clone(), flag: flag.clone(), number: state.rollouts };
    let Some(rollout) = draft.rollout(&id) else {
        let sentence = format!("Flag {flag} has no rollout in {}.", place.environment);
        let next = format!("ensign rollout start {flag} --to VARIANT");
        return Err(Refusal::new("no_rollout", sentence).next(next).into());
    };
    let who = who(draft);
    let ask = match action {
        RolloutAction::Approve => Ask::Approve(who),
        RolloutAction::Hold => Ask::Hold(who),
        RolloutAction::Resume => Ask::Resume(who),
        RolloutAction::Abort => Ask::Abort(who),
    };
    let facts = facts(draft, place, &state, draft.now);
    match rollout.decide(&ask, draft.now, None, &facts).map_err(|no| refused(&no, flag))? {
        Some(step) => follow(draft, step, None, "")?,
        None => draft.say(format!("Nothing changes for rollout {id}.")),
    }
    Ok(())
}

/// Holds every rollout of an environment that is not over or held by a person already.
pub(super) fn hold_all(draft: &mut Draft<'_>, place: &Place) -> Result<(), Rejected> {
    draft.need_place(place)?;
    let mut held = 0;
    for flag in draft.flag_keys(&place.project) {
        let Some(state) = draft.state(place, &flag) else { continue };
        let Some(rollout) = active(draft, place, &flag, &state) else { continue };
        let facts = facts(draft, place, &state, draft.now);
        // One that is held by a person stays so; that is no reason not to hold the others.
        if let Ok(Some(step)) = rollout.decide(&Ask::Hold(who(draft)), draft.now, None, &facts) {
            follow(draft, step, None, "")?;
            held += 1;
        }
    }
    draft.say(match held {
        0 => format!("No rollout of {} could advance: there was nothing to hold.", place.environment),
        1 => format!("One rollout of {} is held.", place.environment),
        n => format!("{n} rollouts of {} are held.", place.environment),
    });
    Ok(())
}

/// A guard's look. Nothing to do is an empty change.
pub(super) fn tick(
    draft: &mut Draft<'_>,
    id: &RolloutId,
    evidence: Option<&Evidence>,
    log: Option<&BlockLog>,
    method: &str,
) -> Result<(), Rejected> {
    let (rollout, state) = match (draft.rollout(id), draft.state(&id.place, &id.flag)) {
        (Some(rollout), Some(state)) => (rollout, state),
        _ => return Err(Refusal::new("no_rollout", format!("There is no rollout {id}.")).into()),
    };
    let facts = facts(draft, &id.place, &state, draft.now);
    if let Some(step) =
        rollout.decide(&Ask::Tick, draft.now, evidence, &facts).map_err(|no| refused(&no, &id.flag))?
    {
        follow(draft, step, log, method)?;
    }
    Ok(())
}

/// A kill stands above the rollout; the rollout is told in the same transaction and holds.
pub(super) fn killed(draft: &mut Draft<'_>, place: &Place, flag: &Key) {
    let Some(state) = draft.state(place, flag) else { return };
    let Some(rollout) = active(draft, place, flag, &state) else { return };
    let facts = facts(draft, place, &state, draft.now);
    if let Ok(Some(mut step)) = rollout.decide(&Ask::Killed(who(draft)), draft.now, None, &facts) {
        // The kill itself has been told already.
        step.notices.retain(|notice| notice.kind != NoticeKind::Kill);
        let id = step.next.id.clone();
        draft.put(ItemKey::rollout(&id), Body::Rollout(Box::new(step.next)));
    }
}

fn members(section: &Section) -> Map<String, Json> {
    match canonical::plain(section) {
        Json::Object(members) => members,
        _ => Map::new(),
    }
}

fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Started => "rollout.start",
        Decision::Queued => "rollout.queue",
        Decision::Advanced { .. } => "rollout.advance",
        Decision::ApprovalAsked => "rollout.ask",
        Decision::Approved => "rollout.approve",
        Decision::Held { .. } => "rollout.hold",
        Decision::Resumed => "rollout.resume",
        Decision::Alerted => "rollout.alert",
        Decision::Completed => "rollout.complete",
        Decision::RolledBack => "rollout.roll_back",
        Decision::Aborted => "rollout.abort",
    }
}

/// Puts a decision into the draft: the rollout, its split, its receipt, who is told.
pub(super) fn follow(
    draft: &mut Draft<'_>,
    step: Step,
    log: Option<&BlockLog>,
    method: &str,
) -> Result<(), Rejected> {
    let id = step.next.id.clone();
    let (place, flag) = (id.place.clone(), id.flag.clone());
    let Some(record) = draft.flag(&place.project, &flag) else {
        return Err(Refusal::new("unknown_flag", format!("There is no flag \"{flag}\".")).into());
    };
    let Some(mut state) = draft.state(&place, &flag) else {
        return Err(Refusal::new("flag_not_here", format!("Flag {flag} has nothing to serve here.")).into());
    };
    let before = members(&state.section);
    if let Some(split) = step.split.filter(|_| !step.next.is_over()) {
        if state.owned.is_none() {
            for sentence in take_over(&mut state, &step.next) {
                draft.say(sentence);
            }
            draft.evidence(EvidenceNote::Watch(step.next.plan.watch(id.clone())));
        }
        divide(&mut state, &record, &step.next, split.new_share)?;
    }
    if step.next.is_over() {
        let watched = state.owned.is_some();
        for sentence in let_go(&mut state, &step.next, matches!(step.decision, Decision::Completed))? {
            draft.say(sentence);
        }
        if watched {
            draft.evidence(EvidenceNote::Finished(id.clone()));
        }
    }
    let lines = merge::lines(&before, &members(&state.section));
    draft.put_state(&place, &flag, state);
    if let Some(receipt) = &step.receipt {
        let sealed = Receipt::seal(receipt, log, method);
        let body = serde_json::from_str(&sealed.to_json()).unwrap_or_default();
        draft.put(ItemKey::receipt(&id, receipt.number), Body::Receipt(body));
    }
    for notice in &step.notices {
        let kind = serde_json::to_value(notice.kind).unwrap_or_default();
        let kind = kind.as_str().unwrap_or("notice").to_owned();
        let key = format!("rollout/{place}/{id}/{}/{kind}", draft.now.0);
        let scope = Scope::place(&place);
        draft.notice(Notice { event: format!("rollout.{kind}"), scope, key, body: notice.payload() });
    }
    draft.say(step.sentence.clone());
    let item = update(format!("flag/{flag}"), &place, step.sentence, lines);
    draft.note(item, Scope::place(&place), word(&step.decision));
    deployments::followed(draft, &step.next);
    draft.put(ItemKey::rollout(&id), Body::Rollout(Box::new(step.next)));
    Ok(())
}

/// The rollout takes its split: what stood in the way of it is folded in, and the answer says so.
fn take_over(state: &mut FlagState, rollout: &Rollout) -> Vec<String> {
    let plan = &rollout.plan;
    let mut told = Vec::new();
    if plan.rule == FALLTHROUGH {
        let folded: Vec<Rule> =
            state.section.rules.iter().filter(|rule| gate_to(rule, &plan.new.name)).cloned().collect();
        state.section.rules.retain(|rule| !folded.contains(rule));
        for rule in folded {
            let share = percentage(&rule).map_or(0, |share| share.weight);
            told.push(format!(
                "Rule {} gave {} % of these units {} already; it is part of the rollout now, which deals them anew.",
                rule.id,
                condition::percent(share),
                plan.new.name
            ));
        }
    }
    let unit = plan.unit.as_str();
    if plan.rule == FALLTHROUGH {
        if state.section.unit.as_deref().unwrap_or("user") != unit {
            state.section.unit = Some(unit.to_owned());
            told.push(format!("The unit of the flag's splits is {unit} now."));
        }
        if plan.new_salt {
            state.section.salt = Some(rollout.id.to_string());
            state.section.seed = None;
        }
    } else if let Some(rule) = state.section.rules.iter_mut().find(|rule| rule.id == plan.rule) {
        rule.unit = Some(unit.to_owned());
        if plan.new_salt {
            rule.salt = Some(rollout.id.to_string());
            rule.seed = None;
        }
    }
    state.owned = Some(Owned {
        rollout: rollout.id.number,
        rule: plan.rule.clone(),
        control: plan.control.name.clone(),
        new: plan.new.name.clone(),
    });
    told
}

/// A percentage to a variant, for everyone who comes to it.
fn gate_to(rule: &Rule, variant: &str) -> bool {
    let only = rule.condition.as_object().is_some_and(|members| members.len() == 1);
    only && percentage(rule).is_some() && rule.serve == Serve::Variant(variant.to_owned())
}

fn divide(
    state: &mut FlagState,
    record: &FlagRecord,
    rollout: &Rollout,
    new_share: u32,
) -> Result<(), Rejected> {
    let plan = &rollout.plan;
    if plan.control == plan.new {
        // The same document deployed again: there is nothing to divide.
        return Ok(());
    }
    let part = |name: &str, weight: u32| Part { variant: name.to_owned(), weight };
    let arms = [plan.control.name.as_str(), plan.new.name.as_str()];
    let live = state.section.split_at(&plan.rule).unwrap_or_default().iter();
    let mut live: Vec<Part> = live.filter(|part| arms.contains(&part.variant.as_str())).cloned().collect();
    match live.first() {
        None => live.extend([part(arms[0], rollout::WHOLE), part(arms[1], 0)]),
        Some(first) if first.variant != arms[0] => live.insert(0, part(arms[0], 0)),
        Some(_) => {}
    }
    let weights = [part(arms[0], rollout::WHOLE.saturating_sub(new_share)), part(arms[1], new_share)];
    let names: Vec<&str> = record.variants.iter().map(|variant| variant.name.as_str()).collect();
    let parts = canonical::weigh(Some(&live), &weights, &names)
        .map_err(|bad| Refusal::new("bad_split", format!("This cannot be a split: {bad}.")))?;
    place_split(&mut state.section, &record.key, &plan.rule, parts)?;
    Ok(())
}

/// The rollout is over: its split is one variant again, and the answer says what to write into the file.
fn let_go(state: &mut FlagState, rollout: &Rollout, completed: bool) -> Result<Vec<String>, Rejected> {
    let plan = &rollout.plan;
    if state.owned.take().is_none() {
        return Ok(Vec::new());
    }
    let kept = if completed { &plan.new.name } else { &plan.control.name };
    let mut told = Vec::new();
    if plan.rule == FALLTHROUGH {
        if completed {
            state.section.default.clone_from(kept);
        }
        let whole = Part { variant: kept.clone(), weight: rollout::WHOLE };
        let zero = Part { variant: state.section.default.clone(), weight: 0 };
        state.section.split = (state.section.default != *kept).then(|| vec![zero, whole]);
    } else if let Some(rule) = state.section.rules.iter_mut().find(|rule| rule.id == plan.rule) {
        rule.serve = Serve::Variant(kept.clone());
    }
    if completed {
        let place = match plan.rule.as_str() {
            FALLTHROUGH => format!("\"default\": {}", Json::from(kept.as_str())),
            rule => format!("in rule {rule} \"value\": {}", Json::from(kept.as_str())),
        };
        told.push(format!(
            "To make it permanent, write into the flag's file: {place} (ensign export writes it so)."
        ));
    }
    Ok(told)
}
