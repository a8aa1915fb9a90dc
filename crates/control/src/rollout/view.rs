//! How a rollout stands, as data for lists, status, watch and why.

use serde::Serialize;

use crate::evidence::report::{Estimate, Evidence, GuardState};
use crate::evidence::watch::Margin;
use crate::ids::{Span, Timestamp};
use crate::metric::Better;

use super::judge::{self, Blocker};
use super::{At, Facts, NumberUnit, Phase, Plan, Rollout, StageAt, number, sentence};

/// How a rollout stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StatusView {
    /// Its name, `inference_model.3`.
    pub rollout: String,
    /// The flag.
    pub flag: String,
    /// The control variant's name.
    pub control: String,
    /// The new variant's name.
    pub new: String,
    /// The phase in one word.
    pub phase: &'static str,
    /// The stage from 1 and how many there are, while at a stage.
    pub stage: Option<(usize, usize)>,
    /// The share of the new variant in percent: 95 until the soak has ended.
    pub percent: f64,
    /// What is the case, why, and what happens next.
    pub sentence: String,
    /// What it waits for before its next step, each in words.
    pub waits_for: Vec<String>,
    /// What happens next.
    pub next: String,
    /// The earliest time of the next step, where time is what it waits for.
    pub next_at: Option<Timestamp>,
    /// One entry per guardrail and watch metric.
    pub guards: Vec<GuardView>,
    /// Split check, missing data and data errors, in words.
    pub health: Vec<String>,
    /// When the evidence was looked at.
    pub looked: Option<Timestamp>,
}

/// A guardrail's verdict. "Not yet" is never safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Proven worse than the margin allows.
    Harm,
    /// Proven to keep the safe margin that the stage asks for.
    Safe,
    /// Neither.
    NotYet,
}

/// How one guardrail stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GuardView {
    /// What people call it.
    pub label: String,
    /// What is allowed: `≤ 1.5×`.
    pub limit: String,
    /// How its numbers are written.
    pub unit: NumberUnit,
    /// Samples in the new arm.
    pub n_new: u64,
    /// Samples in the control arm.
    pub n_control: u64,
    /// The new arm's value in the open stratum.
    pub new: Option<f64>,
    /// The control arm's value in the open stratum.
    pub control: Option<f64>,
    /// New over control.
    pub ratio: Option<f64>,
    /// The interval of new over control (relative margins) or new minus control (absolute ones), 95 %.
    pub interval: Option<(f64, f64)>,
    /// Its verdict.
    pub verdict: Verdict,
    /// The verdict in words with its count.
    pub words: String,
    /// Weighted evidence of harm, and what is needed.
    pub evidence: f64,
    /// The threshold of the weighted evidence, 1/α.
    pub needed: f64,
    /// Evidence of safety as a share of what is needed, in logs: 1 is proven; none where nothing is to be proven.
    pub proof: Option<f64>,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// The age at which its samples count.
    pub settle: Option<Span>,
    /// Shown only.
    pub watch_only: bool,
}

/// How `rollout` stands at `now`.
pub fn view(rollout: &Rollout, evidence: Option<&Evidence>, facts: &Facts, now: Timestamp) -> StatusView {
    let plan = &rollout.plan;
    let stage = match rollout.phase.place() {
        Some(At::Stage(at)) => Some(at),
        Some(At::Start) | None => None,
    };
    let blockers = match (&rollout.phase, &stage) {
        (Phase::Ramping { .. } | Phase::Soaking { .. } | Phase::AwaitingApproval { .. }, Some(at)) => {
            judge::blockers(rollout, at, judge::fresh(evidence, now), facts, now)
        }
        (
            Phase::Ramping { .. }
            | Phase::Soaking { .. }
            | Phase::AwaitingApproval { .. }
            | Phase::Waiting { .. }
            | Phase::Held { .. }
            | Phase::Completed { .. }
            | Phase::RolledBack { .. }
            | Phase::Aborted { .. },
            _,
        ) => Vec::new(),
    };
    let next_at = blockers.iter().find_map(|blocker| match blocker {
        Blocker::Duration { until } => Some(*until),
        Blocker::Window { until } => *until,
        Blocker::NoEvidence
        | Blocker::OldStratum
        | Blocker::Silent { .. }
        | Blocker::Samples { .. }
        | Blocker::Cannot { .. }
        | Blocker::Proof { .. }
        | Blocker::Approval => None,
    });
    let next = sentence::next(rollout, evidence, facts, now);
    StatusView {
        rollout: rollout.id.to_string(),
        flag: plan.flag.to_string(),
        control: plan.control.name.clone(),
        new: plan.new.name.clone(),
        phase: rollout.phase.word(),
        stage: stage.as_ref().map(|at| (at.stage + 1, plan.stages.len())),
        percent: f64::from(rollout.share()) / 1000.0,
        sentence: format!("{} {next}", now_sentence(rollout, stage.as_ref(), evidence, now)),
        waits_for: sentence::waits(rollout, &blockers, now),
        next,
        next_at,
        guards: evidence.map_or_else(Vec::new, |evidence| {
            (0..plan.guards.len())
                .filter_map(|guard| guard_view(rollout, stage.as_ref(), evidence, guard))
                .collect()
        }),
        health: evidence.map_or_else(Vec::new, |evidence| health(plan, evidence, now)),
        looked: evidence.map(|evidence| evidence.at),
    }
}

/// What is the case, with the count it rests on.
fn now_sentence(
    rollout: &Rollout,
    stage: Option<&StageAt>,
    evidence: Option<&Evidence>,
    now: Timestamp,
) -> String {
    let plan = &rollout.plan;
    let share = number::share(rollout.share());
    let seen = match evidence {
        None => "nothing seen yet".to_owned(),
        Some(evidence) if evidence.doubt => {
            format!("signs of harm, n = {}", number::count(sentence::samples(evidence)))
        }
        Some(evidence) => match sentence::samples(evidence) {
            0 => "nothing seen yet".into(),
            n => format!("no harm seen so far, n = {}", number::count(n)),
        },
    };
    let since = stage.map_or_else(String::new, |at| format!(" for {}", sentence::since(at.since, now)));
    match &rollout.phase {
        Phase::Waiting { .. } => format!("{} is served to nobody yet.", plan.new.name),
        Phase::Ramping { .. } => format!("{} has {share}{since}: {seen}.", plan.new.name),
        Phase::AwaitingApproval { .. } => {
            format!("{} has {share}{since} and waits for an approval: {seen}.", plan.new.name)
        }
        Phase::Soaking { .. } => format!("{} soaks at {share}{since}: {seen}.", plan.new.name),
        Phase::Held { why, .. } => format!("Held at {share}: {}", sentence::held(rollout, why, evidence)),
        Phase::Completed { at } => {
            format!("{} is on {} since {}.", sentence::everyone(plan), plan.new.name, number::clock(*at, now))
        }
        Phase::RolledBack { sentence, .. } => sentence.clone(),
        Phase::Aborted { from, by } => format!(
            "Aborted at {} by {}. {} is on {} since {}.",
            number::share(*from),
            by.by,
            sentence::everyone(plan),
            plan.control.name,
            number::clock(by.at, now)
        ),
    }
}

fn guard_view(
    rollout: &Rollout,
    stage: Option<&StageAt>,
    evidence: &Evidence,
    index: usize,
) -> Option<GuardView> {
    let plan = &rollout.plan;
    let (guard, seen) = (plan.guards.get(index)?, evidence.guards.get(index)?);
    let proof = stage.and_then(|at| judge::proof(plan, at.stage, evidence, index));
    let verdict = match seen.state {
        GuardState::Harmed | GuardState::MainContributor => Verdict::Harm,
        GuardState::Collecting | GuardState::Untrusted => Verdict::NotYet,
        GuardState::Healthy if proof.is_some_and(|done| done >= 1.0) => Verdict::Safe,
        GuardState::Healthy => Verdict::NotYet,
    };
    let n = number::count(seen.n_new);
    let words = match (seen.state, verdict) {
        (GuardState::Harmed, _) => format!("harm, n = {n}"),
        (GuardState::MainContributor, _) => format!("harm (main part), n = {n}"),
        (GuardState::Untrusted, _) => "labels not to be trusted".into(),
        (GuardState::Collecting, _) => format!("not yet, n = {n}"),
        (GuardState::Healthy, Verdict::Safe) => {
            format!(
                "safe: {}",
                stage.map_or_else(String::new, |at| sentence::limit_proven(plan, index, at.stage))
            )
        }
        (GuardState::Healthy, Verdict::Harm | Verdict::NotYet) => format!("no harm seen, n = {n}"),
    };
    let sign = if guard.guard.better == Better::Lower { "≤" } else { "≥" };
    let limit = match guard.guard.margin {
        Margin::Relative(0.0) => "any change".into(),
        margin @ Margin::Relative(_) => {
            format!("{sign} {}", number::margin(guard.unit, guard.guard.better, margin))
        }
        Margin::Absolute(by) => {
            let side = if guard.guard.better == Better::Lower { "+" } else { "-" };
            format!("{sign} {side}{}", number::distance(guard.unit, by))
        }
    };
    Some(GuardView {
        label: guard.label.clone(),
        limit,
        unit: guard.unit,
        n_new: seen.n_new,
        n_control: seen.n_control,
        new: seen.estimate.map(|estimate| estimate.new),
        control: seen.estimate.map(|estimate| estimate.control),
        ratio: seen.estimate.and_then(|estimate| estimate.ratio),
        interval: interval(guard.guard.margin, seen.estimate.as_ref()),
        verdict,
        words,
        evidence: seen.contribution,
        needed: 1.0 / plan.alpha,
        proof,
        waits_for: seen.waits_for.clone(),
        settle: (seen.settle.0 > 0).then_some(seen.settle),
        watch_only: guard.watch_only,
    })
}

/// The interval in the margin's own terms: of the ratio for a relative margin, else of the difference.
fn interval(margin: Margin, estimate: Option<&Estimate>) -> Option<(f64, f64)> {
    let estimate = estimate?;
    let half = estimate.half_width?;
    match margin {
        Margin::Absolute(_) => Some((estimate.difference - half, estimate.difference + half)),
        Margin::Relative(_) => {
            // The difference is the quantity with a confidence sequence; the ratio's is read off it at control's level.
            let base = match estimate.ratio {
                Some(ratio) if (ratio - 1.0).abs() > 1e-9 => estimate.difference / (ratio - 1.0),
                Some(_) | None => estimate.control,
            };
            let sane = base.is_finite() && base > 0.0;
            let end = |difference: f64| (1.0 + difference / base).max(0.0);
            sane.then(|| (end(estimate.difference - half), end(estimate.difference + half)))
        }
    }
}

fn health(plan: &Plan, evidence: &Evidence, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let [control, new] = evidence.ratio.units;
    let split = if evidence.ratio.mismatch { "is not what was configured" } else { "as configured" };
    lines.push(format!(
        "split {split}: {} units on {}, {} on {}",
        number::count(new),
        plan.new.name,
        number::count(control),
        plan.control.name
    ));
    for (arm, name) in [(1, &plan.new.name), (0, &plan.control.name)] {
        match evidence.health.last_report[arm] {
            Some(at) if now - at > judge::patience(plan) => {
                lines.push(format!("{name} last reported {} ago", sentence::since(at, now)));
            }
            Some(_) => {}
            None => lines.push(format!("{name} has not reported yet")),
        }
    }
    if evidence.health.crossed_units > 0 {
        lines.push(format!("{} units were seen in both arms", number::count(evidence.health.crossed_units)));
    }
    for (reason, count) in evidence.health.refused.iter().filter(|(_, count)| *count > 0) {
        lines.push(format!("{} events not counted: {}", number::count(*count), reason.replace('_', " ")));
    }
    lines
}
