//! Deployments that start, move, stop and are taken back; alarms that take them back.

use super::super::change::{ItemKey, Refusal, Rejected, Scope};
use super::super::draft::Draft;
use super::super::rollouts::{self, TIMEOUT};
use super::super::state::{Body, FlagRecord, FlagState, Section};
use super::super::view::View;
use super::{contained, deployment_key, lookup, profiles, put};
use crate::deployment::{
    self, Alarm, Deployment, Environment, Item, NOTHING, NewStart, Profile, State, Strategy, UNIT, Version,
};
use crate::document::Problem;
use crate::ids::{Key, Place, RolloutId, Span};
use crate::metric::Metric;
use crate::rollout::{
    Arm, Command as Ask, Firing, GuardSpec, Plan, Rollout, Timed, Timetable, parse_guardrail,
};

/// Reports come in batches.
const REPORT_LAG: Span = Span::seconds(1);

/// An alarm that fires and is named by a monitor of the environment, if the flag is being deployed.
pub(in super::super) fn firing(view: &dyn View, place: &Place, state: &FlagState) -> Option<Firing> {
    state.owned.as_ref()?;
    firing_monitor(view, place, &lookup::environment(view, place))
}

fn firing_monitor(view: &dyn View, place: &Place, environment: &Environment) -> Option<Firing> {
    environment.monitors.iter().find_map(|monitor| {
        let names = [monitor.alarm.as_str(), monitor.name()];
        let alarm = names.iter().find_map(|name| lookup::alarm(view, place, name))?;
        alarm.firing.then(|| Firing {
            alarm: monitor.alarm.clone(),
            reason: alarm.reason,
            since: alarm.since,
        })
    })
}

/// The guardrails among an environment's monitors: names in the short form of a guardrail whose metric exists.
fn guardrails(
    environment: &Environment,
    metrics: &std::collections::BTreeMap<Key, Metric>,
) -> Vec<GuardSpec> {
    let mut found: Vec<GuardSpec> = Vec::new();
    for monitor in &environment.monitors {
        let Ok(spec) = parse_guardrail(monitor.name(), "/Monitors") else { continue };
        let known =
            crate::rollout::is_builtin(&spec.metric) || metrics.keys().any(|key| key.as_str() == spec.metric);
        if known && found.iter().all(|other| other.metric != spec.metric) {
            found.push(spec);
        }
    }
    found
}

fn arm(record: &FlagRecord, name: &str) -> Result<Arm, Refusal> {
    match record.variant(name) {
        Some((variant, _)) => Ok(Arm { variant, name: name.to_owned() }),
        None => {
            let sentence = format!("Flag {} has no variant \"{name}\".", record.key);
            Err(Refusal::new("unknown_variant", sentence))
        }
    }
}

/// The one variant that a profile's flag serves now. Rules that somebody added decide before it and are left alone.
fn served(section: &Section) -> &str {
    let most = section.split.iter().flatten().max_by_key(|part| part.weight);
    most.map_or(section.default.as_str(), |part| part.variant.as_str())
}

/// Refuses a start that must not be.
fn may_start(
    draft: &Draft<'_>,
    new: &NewStart,
    environment: &Environment,
    profile: &Profile,
    state: &FlagState,
) -> Result<(), Refusal> {
    if new.latest.is_some_and(|latest| latest != environment.deployments) {
        let sentence = format!("The newest deployment is {}.", environment.deployments);
        return Err(Refusal::new("deployment_conflict", sentence));
    }
    if let Some(running) = rollouts::active(draft, &new.place, &profile.flag, state) {
        let sentence = match running.plan.timetable {
            Some(timetable) => format!(
                "Deployment {} of configuration profile {} is still running in this environment.",
                timetable.deployment, profile.name
            ),
            None => format!("Rollout {} of flag {} is not over.", running.id, profile.flag),
        };
        return Err(Refusal::new("deployment_running", sentence));
    }
    if let Some(firing) = firing_monitor(draft, &new.place, environment) {
        let sentence = format!(
            "Alarm {} of this environment fires; a deployment would be taken back at once.",
            firing.alarm
        );
        return Err(Refusal::new("alarm_firing", sentence));
    }
    Ok(())
}

pub(super) fn start(draft: &mut Draft<'_>, new: &NewStart) -> Result<(), Rejected> {
    let place = &new.place;
    let project = &place.project;
    let account = lookup::need_application(draft, project)?.account;
    let mut environment = lookup::need_environment(draft, place)?;
    let profile = lookup::profile(draft, project, &new.profile)?;
    let version = lookup::version_named(draft, project, &profile, &new.version)?;
    let strategy = lookup::strategy(draft, &account, &new.strategy)?;
    let (record, mut state) = super::super::flags::need(draft, place, &profile.flag)?;
    may_start(draft, new, &environment, &profile, &state)?;
    profiles::passes(&profile, &version.content)?;
    environment.deployments += 1;
    let number = environment.deployments;
    let before = served(&state.section).to_owned();
    let plan = plan(draft, place, &environment, &record, [&before, &version.variant], &strategy, number)?;
    rollouts::free(&state.section, &plan, &profile.flag)?;
    state.rollouts += 1;
    let id = RolloutId { place: place.clone(), flag: profile.flag.clone(), number: state.rollouts };
    let facts = rollouts::facts(draft, place, &state, draft.now);
    draft.put_state(place, &profile.flag, state);
    let deployment = record_of(new, &profile, &version, &strategy, number, &id, before, draft);
    let words = format!(
        "Start deployment {number}: version {} of {} in {}.",
        version.number, profile.name, environment.name
    );
    let scope = Scope::place(place);
    let environment_key = super::key(&scope, "deployment_environment", "environment");
    draft.put(environment_key, Body::Deployment(Box::new(Item::Environment(environment))));
    put(draft, Item::Deployment(deployment), &scope, &deployment_key(number), "deployment.create", words);
    draft.answer_id(number.to_string());
    let fresh = Rollout::new(id.clone(), plan, draft.actor.name.clone(), draft.now);
    let ask = Ask::Start(rollouts::who(draft));
    let step =
        fresh.decide(&ask, draft.now, None, &facts).map_err(|no| rollouts::refused(&no, &profile.flag))?;
    match step {
        Some(step) => rollouts::follow(draft, step, None, "")?,
        None => draft.put(ItemKey::rollout(&id), Body::Rollout(Box::new(fresh))),
    }
    // What is due at once, such as all of a strategy without a duration.
    catch_up(draft, &id)
}

/// Every stage that the timetable has left behind.
fn catch_up(draft: &mut Draft<'_>, id: &RolloutId) -> Result<(), Rejected> {
    for _ in 0..200 {
        let (Some(rollout), Some(state)) = (draft.rollout(id), draft.state(&id.place, &id.flag)) else {
            break;
        };
        let facts = rollouts::facts(draft, &id.place, &state, draft.now);
        let step = rollout.decide(&Ask::Tick, draft.now, None, &facts);
        let Some(step) = step.map_err(|no| rollouts::refused(&no, &id.flag))? else { break };
        rollouts::follow(draft, step, None, &ensign_stats::METHOD_VERSION.to_string())?;
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "each is one member of the record")]
fn record_of(
    new: &NewStart,
    profile: &Profile,
    version: &Version,
    strategy: &Strategy,
    number: u32,
    rollout: &RolloutId,
    before: String,
    draft: &Draft<'_>,
) -> Deployment {
    Deployment {
        number,
        profile: profile.id.clone(),
        profile_name: profile.name.clone(),
        flag: profile.flag.clone(),
        rollout: rollout.number,
        version: version.number,
        label: version.label.clone(),
        before,
        description: new.description.clone(),
        strategy: strategy.deployed(),
        state: State::Deploying,
        share: 0,
        started: draft.now,
        ended: None,
        events: deployment::started("", draft.now),
        kms: new.kms.clone(),
        tags: new.tags.clone(),
    }
}

fn plan(
    draft: &Draft<'_>,
    place: &Place,
    environment: &Environment,
    record: &FlagRecord,
    [before, after]: [&str; 2],
    strategy: &Strategy,
    number: u32,
) -> Result<Plan, Rejected> {
    let keys = draft.keys(&Scope::project(&place.project), "metric");
    let metrics = keys.iter().filter_map(|key| key.parse::<Key>().ok());
    let metrics =
        metrics.filter_map(|key| Some((key.clone(), draft.metric(&place.project, &key)?.metric))).collect();
    let use_case = rollouts::use_case(draft, &place.project, record);
    let everyone = before == NOTHING || before == after;
    let timed = Timed {
        flag: &record.key,
        control: arm(record, before)?,
        new: arm(record, after)?,
        unit: UNIT.parse().expect("the word is a key"),
        stages: &strategy.stages(),
        guardrails: guardrails(environment, &metrics),
        metrics: &metrics,
        timeout: use_case.as_ref().and_then(|use_case| use_case.request_timeout).unwrap_or(TIMEOUT),
        report_lag: use_case.and_then(|use_case| use_case.report_lag).unwrap_or(REPORT_LAG),
        timetable: Timetable { deployment: number, everyone },
    };
    timed.plan().map_err(|problems: Vec<Problem>| {
        let why = problems.first().map_or_else(String::new, |problem| problem.sentence.clone());
        Refusal::new("bad_monitor", format!("A monitor of the environment cannot be watched: {why}.")).into()
    })
}

pub(super) fn stop(draft: &mut Draft<'_>, place: &Place, number: u32, revert: bool) -> Result<(), Rejected> {
    lookup::need_environment(draft, place)?;
    let found = lookup::deployment(draft, place, number)?;
    let id = RolloutId { place: place.clone(), flag: found.flag.clone(), number: found.rollout };
    if found.state.is_running() {
        let (Some(rollout), Some(state)) = (draft.rollout(&id), draft.state(place, &found.flag)) else {
            return Err(Refusal::new("no_rollout", format!("There is no rollout {id}.")).into());
        };
        let facts = rollouts::facts(draft, place, &state, draft.now);
        let ask = Ask::Abort(rollouts::who(draft));
        let step = rollout.decide(&ask, draft.now, None, &facts);
        if let Some(step) = step.map_err(|no| rollouts::refused(&no, &found.flag))? {
            rollouts::follow(draft, step, None, "")?;
        }
        return Ok(());
    }
    let cannot =
        |why: &str| Rejected::from(Refusal::new("deployment_over", format!("Deployment {number} {why}.")));
    match found.state {
        State::RolledBack => return Err(cannot("was rolled back already")),
        State::Reverted => return Err(cannot("was reverted already")),
        State::Complete if !revert => {
            return Err(cannot("is complete; to take it back, allow the revert"));
        }
        State::Complete | State::Deploying | State::Baking => {}
    }
    let newer = lookup::deployments(draft, place)
        .into_iter()
        .any(|other| other.profile == found.profile && other.number > number);
    if newer {
        return Err(cannot("is not the newest of its configuration profile"));
    }
    take_back(draft, place, found)
}

/// Serves again what was served before a deployment that had ended.
fn take_back(draft: &mut Draft<'_>, place: &Place, found: Deployment) -> Result<(), Rejected> {
    let number = found.number;
    let cannot =
        |why: &str| Rejected::from(Refusal::new("deployment_over", format!("Deployment {number} {why}.")));
    let (record, mut state) = super::super::flags::need(draft, place, &found.flag)?;
    let variant =
        lookup::version(draft, &place.project, &found.profile, found.version).map(|found| found.variant);
    if rollouts::active(draft, place, &found.flag, &state).is_some()
        || variant.as_deref() != Some(served(&state.section))
    {
        return Err(cannot("is not what is served any more"));
    }
    arm(&record, &found.before)?;
    let (flag, before) = (found.flag.clone(), found.before.clone());
    let Some(reverted) = deployment::revert(found, &draft.actor.name, draft.now) else {
        return Err(cannot("ended more than 72 hours ago"));
    };
    state.section.default.clone_from(&before);
    state.section.split = None;
    draft.put_state(place, &flag, state);
    if let Ok(profile) = lookup::profile(draft, &place.project, &reverted.profile) {
        contained::follow(draft, place, &profile);
    }
    let words = format!("Deployment {number} is reverted: everyone is on {before}.");
    let lines = Vec::new();
    let item = super::super::flags::update(format!("flag/{flag}"), place, words.clone(), lines);
    draft.note(item, Scope::place(place), "deployment.revert");
    put(
        draft,
        Item::Deployment(reverted),
        &Scope::place(place),
        &deployment_key(number),
        "deployment.revert",
        words,
    );
    Ok(())
}

/// Writes down what a rollout's decision means for its deployment, in the same transaction.
pub(in super::super) fn followed(draft: &mut Draft<'_>, rollout: &Rollout) {
    let Some(timetable) = rollout.plan.timetable else { return };
    let place = &rollout.id.place;
    let Ok(found) = lookup::deployment(draft, place, timetable.deployment) else { return };
    let next = deployment::follow(found, rollout);
    if let Ok(profile) = lookup::profile(draft, &place.project, &next.profile) {
        contained::follow(draft, place, &profile);
    }
    let key = super::key(&Scope::place(place), "deployment", &deployment_key(next.number));
    draft.put(key, Body::Deployment(Box::new(Item::Deployment(next))));
}

pub(super) fn alarm(
    draft: &mut Draft<'_>,
    place: &Place,
    name: &str,
    fires: bool,
    reason: Option<&str>,
    source: &str,
) -> Result<(), Rejected> {
    draft.need_place(place)?;
    if name.is_empty() || name.len() > 2048 {
        return Err(Refusal::new("bad_alarm", "An alarm has a name of 1 to 2048 bytes.").into());
    }
    let known = lookup::alarm(draft, place, name);
    if known.as_ref().is_some_and(|known| known.firing == fires) || (known.is_none() && !fires) {
        draft.say(format!("Alarm {name} says what it said before."));
        return Ok(());
    }
    let now = draft.now;
    let reason = reason.map(|text| text.chars().take(1_000).collect::<String>());
    let alarm = Alarm { name: name.to_owned(), firing: fires, since: now, reason, source: source.to_owned() };
    let words = if fires { format!("Alarm {name} fires.") } else { format!("Alarm {name} is over.") };
    let scope = Scope::place(place);
    put(draft, Item::Alarm(alarm), &scope, name, if fires { "alarm.fire" } else { "alarm.end" }, words);
    if !fires {
        return Ok(());
    }
    let watched = lookup::environment(draft, place).monitors;
    if watched.iter().all(|monitor| monitor.name() != name && monitor.alarm != name) {
        draft.say("No monitor of the environment names it, so nothing follows.".to_owned());
        return Ok(());
    }
    for running in lookup::deployments(draft, place).into_iter().filter(|found| found.state.is_running()) {
        let id = RolloutId { place: place.clone(), flag: running.flag, number: running.rollout };
        catch_up(draft, &id)?;
    }
    Ok(())
}
