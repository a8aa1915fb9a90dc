//! What the evidence asks for: to go back, to hold, or what is still missing before a stage is left.
//!
//! Nothing here changes a rollout. Missing data is an answer of its own and never reads as "no harm".

use crate::evidence::report::{Evidence, GuardEvidence, GuardState, Health};
use crate::evidence::watch::OnHarm;
use crate::ids::{Span, Timestamp};
use crate::metric::{Builtin, MetricRef};

use super::{
    Advance, FRESH, Facts, HoldCause, OnMismatch, OnMissing, Plan, RollbackCause, Rollout, StageAt, Window,
};

/// Exposures within one silence that make it a silence, not a pause in the traffic.
const BUSY: i64 = 5;

/// What leaving a stage waits for.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Blocker {
    /// No look at the evidence, or none that is recent.
    NoEvidence,
    /// The evidence is still that of the stage before.
    OldStratum,
    /// The minimum duration.
    Duration { until: Timestamp },
    /// An arm has not reported for too long.
    Silent { new: bool },
    /// Samples of one guardrail.
    Samples { guard: usize, have: u64, need: u64 },
    /// A guardrail that cannot decide yet.
    Cannot { guard: usize, waits_for: String },
    /// Proof of safety of one guardrail; the share of the needed evidence, in logs.
    Proof { guard: usize, done: f64 },
    /// A person.
    Approval,
    /// A window.
    Window { until: Option<Timestamp> },
}

impl Blocker {
    /// Whether only a proof, a person or a window is waited for.
    pub(super) fn is_proof_or_person(&self) -> bool {
        match self {
            Self::Proof { .. } | Self::Approval | Self::Window { .. } => true,
            Self::NoEvidence
            | Self::OldStratum
            | Self::Duration { .. }
            | Self::Silent { .. }
            | Self::Samples { .. }
            | Self::Cannot { .. } => false,
        }
    }
}

/// The evidence, if it is recent enough to decide on.
pub(super) fn fresh(evidence: Option<&Evidence>, now: Timestamp) -> Option<&Evidence> {
    evidence.filter(|evidence| evidence.at <= now && now - evidence.at <= FRESH)
}

/// Why the rollout must go back, if it must.
pub(super) fn rollback(rollout: &Rollout, evidence: &Evidence, now: Timestamp) -> Option<RollbackCause> {
    if evidence.harm {
        return Some(RollbackCause::Harm { guards: harmed(&rollout.plan, evidence, OnHarm::RollBack) });
    }
    let plan = &rollout.plan;
    if evidence.ratio.mismatch && plan.on_ratio_mismatch == OnMismatch::RollBack {
        return Some(RollbackCause::RatioMismatch);
    }
    let missing = plan.on_missing == OnMissing::RollBack && missing(rollout, evidence, now).is_some();
    missing.then_some(RollbackCause::MissingData)
}

/// Guardrails with this action that are harmed, the largest contribution first; for a rollback, where only the
/// combination crossed, the largest contributor.
pub(super) fn harmed(plan: &Plan, evidence: &Evidence, action: OnHarm) -> Vec<usize> {
    let acts = |guard: &&usize| plan.guards.get(**guard).is_some_and(|guard| guard.guard.on_harm == action);
    let mut all: Vec<usize> = (0..evidence.guards.len()).collect();
    all.retain(|guard| acts(&guard));
    all.sort_by(|a, b| evidence.guards[*b].contribution.total_cmp(&evidence.guards[*a].contribution));
    let mut bad: Vec<usize> =
        all.iter().copied().filter(|guard| is_harmed(&evidence.guards[*guard])).collect();
    if bad.is_empty() && action == OnHarm::RollBack {
        bad.extend(all.first());
    }
    bad
}

fn is_harmed(guard: &GuardEvidence) -> bool {
    match guard.state {
        GuardState::Harmed | GuardState::MainContributor => true,
        GuardState::Collecting | GuardState::Healthy | GuardState::Untrusted => false,
    }
}

/// Why the rollout must hold, if it must; what a person has set aside does not count.
pub(super) fn hold(rollout: &Rollout, evidence: &Evidence, now: Timestamp) -> Option<HoldCause> {
    let plan = &rollout.plan;
    let open = |code: &str, guards: Vec<usize>| -> Vec<usize> {
        guards.into_iter().filter(|guard| !is_set_aside(rollout, &format!("{code}:{guard}"))).collect()
    };
    let guards = open("harm", harmed(plan, evidence, OnHarm::Hold));
    if !guards.is_empty() {
        return Some(HoldCause::Harm { guards });
    }
    let mismatch = evidence.ratio.mismatch && plan.on_ratio_mismatch == OnMismatch::Hold;
    if mismatch && !is_set_aside(rollout, "ratio_mismatch") {
        return Some(HoldCause::RatioMismatch);
    }
    if let Some(new) = missing(rollout, evidence, now) {
        return Some(HoldCause::MissingData { new });
    }
    let untrusted = |guard: &usize| {
        evidence.guards[*guard].state == GuardState::Untrusted
            && plan.guards.get(*guard).is_some_and(|guard| !guard.watch_only)
    };
    let guards = open("untrusted", (0..evidence.guards.len()).filter(untrusted).collect());
    if !guards.is_empty() {
        return Some(HoldCause::Untrusted { guards });
    }
    let units: u64 = evidence.ratio.units.iter().sum();
    let crossed = evidence.health.crossed_units;
    if evidence.health.too_many_errors || (units >= 100 && crossed.saturating_mul(100) > units) {
        return Some(HoldCause::DataErrors);
    }
    if evidence.health.units_full && !is_set_aside(rollout, "units_full") {
        return Some(HoldCause::UnitsFull);
    }
    evidence.doubt.then_some(HoldCause::Doubt)
}

fn is_set_aside(rollout: &Rollout, key: &str) -> bool {
    rollout.set_aside.iter().any(|(aside, _)| aside == key)
}

/// How long an arm may be exposed without a report: until the last of its requests must have been reported, and the
/// plan's silence on top.
pub(super) fn patience(plan: &Plan) -> Span {
    Span(plan.timeout.0.saturating_add(plan.report_lag.0).saturating_add(plan.silence.0))
}

/// The arm that is exposed and has stopped reporting, or never began: `true` for the new one.
pub(super) fn missing(rollout: &Rollout, evidence: &Evidence, now: Timestamp) -> Option<bool> {
    let since = match rollout.phase.place()? {
        super::At::Start => return None,
        super::At::Stage(at) => at.since,
    };
    let silent = |arm: usize| is_missing(&rollout.plan, &evidence.health, arm, since, now);
    if silent(1) {
        return Some(true);
    }
    silent(0).then_some(false)
}

fn is_missing(plan: &Plan, health: &Health, arm: usize, since: Timestamp, now: Timestamp) -> bool {
    let Some(exposed) = health.last_exposure[arm] else { return false };
    let reported = health.last_report[arm].unwrap_or(since).max(since);
    let patience = patience(plan);
    if exposed - reported <= patience {
        return false;
    }
    // One exposure after a long pause is not a silence: either many came meanwhile, or this one is overdue as well.
    let count = i64::try_from(health.exposures[arm]).unwrap_or(i64::MAX).max(1);
    let gap = Span((exposed - since).0 / count);
    let due = Span(plan.timeout.0.saturating_add(plan.report_lag.0).saturating_add(FRESH.0));
    let overdue = now - exposed > due;
    gap.0.saturating_mul(BUSY) <= patience.0 || overdue
}

/// Everything that leaving the stage still waits for; empty means it can be left.
pub(super) fn blockers(
    rollout: &Rollout,
    at: &StageAt,
    evidence: Option<&Evidence>,
    facts: &Facts,
    now: Timestamp,
) -> Vec<Blocker> {
    let plan = &rollout.plan;
    let Some(stage) = plan.stages.get(at.stage) else { return vec![Blocker::NoEvidence] };
    let mut found = Vec::new();
    match evidence {
        // The clock waits for nothing; harm is looked for elsewhere.
        Some(_) | None if plan.timetable.is_some() => {}
        None => found.push(Blocker::NoEvidence),
        Some(evidence) if facts.epoch.is_some_and(|epoch| epoch != evidence.epoch) => {
            found.push(Blocker::OldStratum);
        }
        Some(evidence) => {
            for arm in [1, 0] {
                let last = evidence.health.last_report[arm];
                let silent = last.is_none_or(|last| last < at.since || now - last > patience(plan));
                if silent || evidence.health.reports[arm] == 0 {
                    found.push(Blocker::Silent { new: arm == 1 });
                }
            }
            for guard in 0..plan.guards.len() {
                found.extend(guard_blockers(plan, at, evidence, guard));
            }
        }
    }
    let until = at.since + stage.min_duration;
    if now < until {
        found.push(Blocker::Duration { until });
    }
    if stage.approval && at.approved.is_none() {
        found.push(Blocker::Approval);
    }
    if let Window::Closed { until } = facts.window {
        found.push(Blocker::Window { until });
    }
    found
}

fn guard_blockers(plan: &Plan, at: &StageAt, evidence: &Evidence, index: usize) -> Vec<Blocker> {
    let (Some(guard), Some(stage)) = (plan.guards.get(index), plan.stages.get(at.stage)) else {
        return Vec::new();
    };
    // What is never reported has no samples where nothing is announced; silence itself is looked at elsewhere.
    if guard.watch_only || guard.guard.metric == MetricRef::Builtin(Builtin::Unreported) {
        return Vec::new();
    }
    let Some(seen) = evidence.guards.get(index) else {
        return vec![Blocker::Samples { guard: index, have: 0, need: stage.min_samples }];
    };
    let mut found = Vec::new();
    let have = if guard.guard.maturity.is_some() { seen.n_new } else { seen.stratum_n_new };
    let need = stage.min_samples.max(1);
    if have < need {
        found.push(Blocker::Samples { guard: index, have, need });
    }
    if let Some(waits_for) = &seen.waits_for {
        found.push(Blocker::Cannot { guard: index, waits_for: waits_for.clone() });
    }
    if stage.advance == Advance::ProvenSafe && at.without_proof.is_none() {
        found.extend(
            proof(plan, at.stage, evidence, index)
                .filter(|done| *done < 1.0)
                .map(|done| Blocker::Proof { guard: index, done }),
        );
    }
    found
}

/// How much of the proof that a guardrail needs at a stage is there, in logs: 1 and more is proven. None: no proof is
/// asked for. A guardrail whose labels are not to be trusted proves nothing.
pub(super) fn proof(plan: &Plan, stage: usize, evidence: &Evidence, guard: usize) -> Option<f64> {
    plan.safe_margin(guard, stage)?;
    let index = (*plan.guards.get(guard)?.proof.get(stage)?)?;
    let Some(seen) = evidence.guards.get(guard) else { return Some(0.0) };
    if seen.state == GuardState::Untrusted {
        return Some(0.0);
    }
    let have = seen.max_log_e_safe.get(index).copied().unwrap_or(0.0);
    Some((have / -libm::log(plan.beta)).max(0.0))
}
