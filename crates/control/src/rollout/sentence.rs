//! What is said: what happened, why with counts, what happens next and when.
//!
//! "No harm seen, n = …" is said without proof; "safe" never is.

use crate::evidence::report::{Evidence, GuardState};
use crate::evidence::watch::{Margin, Randomised};
use crate::ids::{Span, Timestamp};
use crate::metric::Better;

use ensign_stats::e_value;

use super::judge::{self, Blocker};
use super::{Approval, At, Facts, HoldCause, Phase, Plan, RollbackCause, Rollout, StageAt, Window, number};

/// The word for what is counted.
pub(super) fn counted(plan: &Plan) -> &'static str {
    match plan.randomised {
        Randomised::Request => "requests",
        Randomised::Unit => "samples",
    }
}

/// Who is moved.
pub(super) fn everyone(plan: &Plan) -> String {
    if plan.rule == "fallthrough" {
        "Everyone".into()
    } else {
        format!("Everyone that rule {} decides", plan.rule)
    }
}

/// `error rate 4.1 % against 1.0 %`, or that there is no comparison.
pub(super) fn comparison(plan: &Plan, evidence: &Evidence, guard: usize) -> String {
    let Some(planned) = plan.guards.get(guard) else { return "an unknown guardrail".into() };
    let estimate = evidence.guards.get(guard).and_then(|seen| seen.estimate);
    match estimate {
        Some(estimate) => format!(
            "{} {} against {}",
            planned.label,
            number::value(planned.unit, estimate.new),
            number::value(planned.unit, estimate.control)
        ),
        None => format!("{} without a comparison yet", planned.label),
    }
}

/// `it is more than the 1.5× you allow`, by margin and direction.
fn beyond(plan: &Plan, guard: usize) -> String {
    let Some(planned) = plan.guards.get(guard) else { return String::new() };
    let guard = &planned.guard;
    match (guard.margin, guard.better) {
        (Margin::Relative(0.0) | Margin::Absolute(0.0), Better::Lower) => "certain it is higher".into(),
        (Margin::Relative(0.0) | Margin::Absolute(0.0), Better::Higher) => "certain it is lower".into(),
        (margin @ Margin::Relative(_), better) => {
            let more = if better == Better::Lower { "more" } else { "less" };
            format!(
                "certain it is {more} than the {} you allow",
                number::margin(planned.unit, better, margin)
            )
        }
        (margin @ Margin::Absolute(_), better) => {
            format!("certain it is beyond the {} you allow", number::margin(planned.unit, better, margin))
        }
    }
}

/// The largest number of samples any guardrail has seen in the new arm.
pub(super) fn samples(evidence: &Evidence) -> u64 {
    evidence.guards.iter().map(|guard| guard.n_new).max().unwrap_or(0)
}

/// Why it was taken back, with the numbers.
fn harm(plan: &Plan, evidence: &Evidence, guards: &[usize]) -> String {
    let needed = number::evidence(1.0 / plan.alpha);
    let Some(&first) = guards.first() else { return "harm was proven".into() };
    let seen = evidence.guards.get(first);
    let alone = seen.is_some_and(|seen| seen.state == GuardState::Harmed);
    let n = number::count(seen.map_or(0, |seen| seen.n_new));
    let also = guards[1..].iter().map(|guard| comparison(plan, evidence, *guard)).collect::<Vec<_>>();
    let also = if also.is_empty() { String::new() } else { format!("; also {}", also.join(", ")) };
    let after = format!("after {n} {} on {}", counted(plan), plan.new.name);
    if alone {
        let weight = number::evidence(seen.map_or(0.0, |seen| seen.contribution));
        let words = comparison(plan, evidence, first);
        let beyond = beyond(plan, first);
        format!("{words}, {beyond} (weighted evidence {weight}, needed {needed}), {after}{also}")
    } else {
        let total = number::evidence(e_value(evidence.log_e_total));
        let words = comparison(plan, evidence, first);
        format!(
            "the guardrails together prove harm (weighted evidence {total}, needed {needed}), most of it from {words}, {after}{also}"
        )
    }
}

/// The sentence of a rollback.
pub(super) fn rolled_back(
    before: &Rollout,
    cause: &RollbackCause,
    evidence: Option<&Evidence>,
    now: Timestamp,
) -> String {
    let plan = &before.plan;
    let why = match (cause, evidence) {
        (RollbackCause::Harm { guards }, Some(evidence)) => harm(plan, evidence, guards),
        (RollbackCause::Harm { .. }, None) => "harm was proven".into(),
        (RollbackCause::RatioMismatch, _) => {
            "the split is not what was configured, and the plan takes it back then".into()
        }
        (RollbackCause::MissingData, _) => {
            "an arm is exposed and reports nothing, and the plan takes it back then".into()
        }
        (RollbackCause::MaxDuration, _) => {
            "the stage's maximum duration passed, and the plan takes it back then".into()
        }
        (RollbackCause::Alarm { alarm, reason }, _) => {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
            format!("alarm {alarm} fires{reason}")
        }
    };
    format!(
        "Rolled back at {}: {why}. {} is on {} since {}.",
        number::share(before.scheduled()),
        everyone(plan),
        plan.control.name,
        number::clock(now, now)
    )
}

/// What lets a stage be left: "no harm seen, n = …", or what was proven.
pub(super) fn why_left(rollout: &Rollout, at: &StageAt, evidence: &Evidence) -> String {
    let plan = &rollout.plan;
    let n = number::count(samples(evidence));
    let proven: Vec<String> = (0..plan.guards.len())
        .filter(|guard| judge::proof(plan, at.stage, evidence, *guard).is_some_and(|done| done >= 1.0))
        .map(|guard| limit_proven(plan, guard, at.stage))
        .collect();
    let asked = (0..plan.guards.len()).filter(|guard| plan.safe_margin(*guard, at.stage).is_some()).count();
    let mut words = if asked > 0 && proven.len() == asked {
        format!("proven safe: {} (n = {n} on {})", proven.join(", "), plan.new.name)
    } else {
        format!("no harm seen, n = {n} {} on {}", counted(plan), plan.new.name)
    };
    if let (Some(approval), true) = (&at.without_proof, proven.len() < asked) {
        words += &format!("; without proof of safety, as {} decided", approval.by);
    } else if proven.len() < asked {
        words += "; without proof of safety, as the plan says after the maximum duration";
    }
    if let Some(approval) = &at.approved {
        words += &format!("; approved by {}", approval.by);
    }
    words
}

/// What is known while a person is asked.
pub(super) fn so_far(rollout: &Rollout, at: &StageAt, evidence: &Evidence) -> String {
    let mut at = at.clone();
    at.approved = None;
    why_left(rollout, &at, evidence)
}

/// `error rate below 1.88×`.
pub(super) fn limit_proven(plan: &Plan, guard: usize, stage: usize) -> String {
    let (Some(planned), Some(margin)) = (plan.guards.get(guard), plan.safe_margin(guard, stage)) else {
        return String::new();
    };
    let better = planned.guard.better;
    let side = if better == Better::Lower { "below" } else { "above" };
    match margin {
        Margin::Relative(_) => {
            format!("{} {side} {}", planned.label, number::margin(planned.unit, better, margin))
        }
        Margin::Absolute(by) => format!("{} within {}", planned.label, number::distance(planned.unit, by)),
    }
}

/// Why it is held, with what ends the hold.
pub(super) fn held(rollout: &Rollout, why: &HoldCause, evidence: Option<&Evidence>) -> String {
    let plan = &rollout.plan;
    let flag = &plan.flag;
    let list = |guards: &[usize]| {
        let words = guards.iter().map(|guard| match evidence {
            Some(evidence) => comparison(plan, evidence, *guard),
            None => plan.guards.get(*guard).map_or_else(String::new, |guard| guard.label.clone()),
        });
        words.collect::<Vec<_>>().join(", ")
    };
    let person =
        format!("A person decides: `ensign rollout resume {flag}` or `ensign rollout abort {flag}`.");
    match why {
        HoldCause::Person(who) => {
            format!("{}. It goes on with `ensign rollout resume {flag}`.", said("held by", who))
        }
        HoldCause::Killed(who) => format!(
            "{}; {} is on {}. After `ensign restore {flag}` it goes on with `ensign rollout resume {flag}`.",
            said("the flag was killed by", who),
            everyone(plan).to_lowercase(),
            plan.control.name
        ),
        HoldCause::Doubt => {
            let total = evidence.map_or(0.0, |evidence| evidence.log_e_total);
            let total = number::evidence(e_value(total));
            let n = number::count(evidence.map_or(0, samples));
            format!(
                "there are signs of harm, not proof (weighted evidence {total}, harm at {}; n = {n}).",
                number::evidence(1.0 / plan.alpha)
            )
        }
        HoldCause::Harm { guards } => {
            format!("{} proved harm, and the plan holds then. {person}", list(guards))
        }
        HoldCause::RatioMismatch => {
            let [control, new] = evidence.map_or([0, 0], |evidence| evidence.ratio.units);
            format!(
                "the split is not what was configured ({} units on {}, {} on {}, at {}), so nothing compared can be trusted. {person}",
                number::count(new),
                plan.new.name,
                number::count(control),
                plan.control.name,
                number::share(rollout.share())
            )
        }
        HoldCause::Untrusted { guards } => {
            format!("labels go missing unequally between the arms for {}. {person}", list(guards))
        }
        HoldCause::MissingData { new } => {
            let (arm, index) = if *new { (&plan.new.name, 1) } else { (&plan.control.name, 0) };
            let exposed = evidence.map_or(0, |evidence| evidence.health.exposures[index]);
            let reports = evidence.map_or(0, |evidence| evidence.health.reports[index]);
            format!(
                "{arm} is being served and has stopped reporting ({} exposures, {} reports in this stage). Missing data is never read as success.",
                number::count(exposed),
                number::count(reports)
            )
        }
        HoldCause::DataErrors => {
            "more than one percent of the events have errors or of the units were seen in both arms.".into()
        }
        HoldCause::UnitsFull => {
            format!("the table of units is full, and none is forgotten silently. {person}")
        }
        HoldCause::MaxDuration => format!(
            "the stage's maximum duration has passed. A person decides: `ensign rollout approve {flag}` goes on without the proof, `ensign rollout resume {flag}` waits as long again, `ensign rollout abort {flag}` takes it back."
        ),
    }
}

fn said(what: &str, who: &Approval) -> String {
    match &who.reason {
        Some(reason) => format!("{what} {} ({reason})", who.by),
        None => format!("{what} {}", who.by),
    }
}

/// What a stage still waits for, each in words.
pub(super) fn waits(rollout: &Rollout, blockers: &[Blocker], now: Timestamp) -> Vec<String> {
    let plan = &rollout.plan;
    let label = |guard: usize| plan.guards.get(guard).map_or("a guardrail", |guard| guard.label.as_str());
    let one = |blocker: &Blocker| match blocker {
        Blocker::NoEvidence => "a look at the evidence".into(),
        Blocker::OldStratum => "the first evidence of this stage".into(),
        Blocker::Duration { until } => format!("the minimum duration, until {}", number::clock(*until, now)),
        Blocker::Silent { new } => {
            format!("recent reports from {}", if *new { &plan.new.name } else { &plan.control.name })
        }
        Blocker::Samples { guard, have, need } => {
            format!("{} samples of {}, {} so far", number::count(*need), label(*guard), number::count(*have))
        }
        Blocker::Cannot { guard, waits_for } => format!("{}: {waits_for}", label(*guard)),
        Blocker::Proof { guard, done } => {
            let stage = match rollout.phase.place() {
                Some(At::Stage(at)) => at.stage,
                Some(At::Start) | None => 0,
            };
            format!(
                "proof of {} ({:.0} % of the evidence)",
                limit_proven(plan, *guard, stage),
                (done * 100.0).floor()
            )
        }
        Blocker::Approval => format!("an approval: `ensign rollout approve {}`", plan.flag),
        Blocker::Window { until: Some(until) } => format!("a window, at {}", number::clock(*until, now)),
        Blocker::Window { until: None } => "a window in which rollouts may advance".into(),
    };
    blockers.iter().map(one).collect()
}

/// What follows the stage: `Next is 25 %`.
pub(super) fn next_step(plan: &Plan, stage: usize) -> String {
    if plan.timetable.is_some() {
        return match plan.stages.get(stage + 1) {
            Some(next) => format!("Next is {}", number::share(next.share)),
            None => format!("Then {} is complete", plan.new.name),
        };
    }
    if stage + 1 < plan.stages.len() {
        let share = number::share(plan.share_at(stage + 1));
        if plan.is_soak(stage + 1) {
            format!("Next is {share} and the soak")
        } else {
            format!("Next is {share}")
        }
    } else {
        format!("Next is {} on {}", everyone(plan).to_lowercase(), plan.new.name)
    }
}

/// What happens next and when, for the rollout as it stands.
pub(super) fn next(rollout: &Rollout, evidence: Option<&Evidence>, facts: &Facts, now: Timestamp) -> String {
    let plan = &rollout.plan;
    match &rollout.phase {
        Phase::Waiting { start: None } => format!("It begins with `ensign rollout start {}`.", plan.flag),
        Phase::Waiting { start: Some(_) } => {
            let when = match facts.window {
                Window::Closed { until: Some(until) } => {
                    format!("at {}, when the window opens", number::clock(until, now))
                }
                Window::Closed { until: None } => "when a window opens".into(),
                Window::Open => "at the next look".into(),
            };
            format!("{} gets the first {} {when}.", plan.new.name, number::share(plan.share_at(0)))
        }
        Phase::Ramping { at } | Phase::Soaking { at } | Phase::AwaitingApproval { at, .. } => {
            let blockers = judge::blockers(rollout, at, judge::fresh(evidence, now), facts, now);
            let waits = waits(rollout, &blockers, now);
            let step = next_step(plan, at.stage);
            match waits.as_slice() {
                [] => format!("{step}, at the next look."),
                [one] => format!("{step}; it waits for {one}."),
                [first, rest @ ..] => format!("{step}; it waits for {first}, and {} more.", rest.len()),
            }
        }
        Phase::Held { why, .. } => {
            if why.ends_by_itself() {
                "It goes on by itself when the cause is gone.".into()
            } else {
                format!("A person decides: `ensign rollout resume {}` or `abort`.", plan.flag)
            }
        }
        Phase::Completed { .. } => "Make it permanent in the file: `ensign export` writes the edit.".into(),
        Phase::RolledBack { .. } | Phase::Aborted { .. } => {
            format!("A new try is `ensign rollout start {} --to {}`.", plan.flag, plan.new.name)
        }
    }
}

/// What begins with a new stage.
pub(super) fn entered(next: &Rollout, now: Timestamp) -> String {
    let plan = &next.plan;
    match &next.phase {
        Phase::Ramping { at } => {
            let until = plan.stages.get(at.stage).map_or(now, |stage| at.since + stage.min_duration);
            let when = if plan.timetable.is_some() { "at" } else { "at the earliest at" };
            format!("{}, {when} {}.", next_step(plan, at.stage), number::clock(until, now))
        }
        Phase::Soaking { at } => {
            let until = plan.stages.get(at.stage).map_or(now, |stage| now + stage.min_duration);
            let holdback = plan.soak.map_or(0, |soak| soak.holdback);
            format!(
                "{} stay on {} until the soak ends, at the earliest at {}.",
                number::share(holdback),
                plan.control.name,
                number::clock(until, now)
            )
        }
        Phase::Waiting { .. }
        | Phase::AwaitingApproval { .. }
        | Phase::Held { .. }
        | Phase::Completed { .. }
        | Phase::RolledBack { .. }
        | Phase::Aborted { .. } => String::new(),
    }
}

/// How long something has lasted.
pub(super) fn since(at: Timestamp, now: Timestamp) -> String {
    number::span(Span((now - at).0.max(0)))
}
