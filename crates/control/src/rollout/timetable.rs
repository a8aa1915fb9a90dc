//! Rollouts that the clock moves: the stages of a deployment's strategy, each due at its time whether or not evidence
//! has come. Harm, an alarm, a kill and a person still stop them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::guards::Guards;
use super::resolve::{ALPHA, ALPHA_SRM, BETA};
use super::{
    Advance, Arm, GuardPlan, GuardSpec, OnMaxDuration, OnMismatch, OnMissing, Plan, Rollout, Spec, Stage,
    StageAt, WHOLE, number, sentence,
};
use crate::document::Problem;
use crate::evidence::watch::Randomised;
use crate::ids::{Key, Span, Timestamp};
use crate::metric::Metric;

/// Where a plan is a deployment's: the clock leaves each stage when its minimum duration has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timetable {
    /// The deployment's number in its environment.
    pub deployment: u32,
    /// Everyone gets the new variant from the start, and the stages are only reported: there is nothing before it.
    pub everyone: bool,
}

/// What a plan by the clock is made of.
pub struct Timed<'a> {
    /// The flag.
    pub flag: &'a Key,
    /// The variant to return to.
    pub control: Arm,
    /// The variant to move to.
    pub new: Arm,
    /// What is randomised.
    pub unit: Key,
    /// Each share, 1/100000, with how long it holds; the last one is everyone.
    pub stages: &'a [(u32, Span)],
    /// What takes it back; with none, only alarms and people do.
    pub guardrails: Vec<GuardSpec>,
    /// The project's metrics.
    pub metrics: &'a BTreeMap<Key, Metric>,
    /// A request not finished after this is a timeout.
    pub timeout: Span,
    /// How late a report may arrive.
    pub report_lag: Span,
    /// Its deployment.
    pub timetable: Timetable,
}

impl Timed<'_> {
    /// The plan, or what is wrong with the guardrails.
    ///
    /// # Errors
    /// Guardrails that cannot be read, or whose metrics do not exist.
    pub fn plan(self) -> Result<Plan, Vec<Problem>> {
        let stages: Vec<Stage> = self.stages.iter().map(|(share, length)| stage(*share, *length)).collect();
        let (mut problems, mut assumed) = (Vec::new(), Vec::new());
        let mut guards: Vec<GuardPlan> = Vec::new();
        if !self.guardrails.is_empty() {
            let mut spec = Spec::new(self.flag.clone(), self.new.name.clone());
            (spec.template, spec.guardrails) = (false, self.guardrails);
            let (problems, assumed) = (&mut problems, &mut assumed);
            let (metrics, stages) = (self.metrics, stages.as_slice());
            guards = Guards { spec: &spec, metrics, stages, ramp: stages.len(), problems, assumed }.resolve();
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Plan {
            flag: self.flag.clone(),
            rule: "fallthrough".to_owned(),
            control: self.control,
            new: self.new,
            unit: self.unit,
            randomised: Randomised::Unit,
            stages,
            soak: None,
            guards,
            on_missing: OnMissing::Hold,
            silence: Span::seconds(600),
            on_ratio_mismatch: OnMismatch::Warn,
            alpha: ALPHA,
            beta: BETA,
            alpha_srm: ALPHA_SRM,
            proof_per_stage: false,
            timeout: self.timeout,
            report_lag: self.report_lag,
            warmup: Span::default(),
            new_salt: true,
            assumed,
            timetable: Some(self.timetable),
        })
    }
}

fn stage(share: u32, length: Span) -> Stage {
    Stage {
        share,
        min_duration: length,
        max_duration: Span(i64::MAX),
        min_samples: 0,
        approval: false,
        advance: Advance::NoHarm,
        on_max_duration: OnMaxDuration::Hold,
    }
}

impl Plan {
    /// The share that is served at a stage, 1/100000.
    pub(super) fn served(&self, stage: &Stage) -> u32 {
        if self.timetable.is_some_and(|timetable| timetable.everyone) { WHOLE } else { stage.share }
    }
}

impl Rollout {
    /// When the stage after `at` begins: by the timetable its predecessor's end, so that a late look shifts nothing.
    pub(super) fn next_begins(&self, at: &StageAt, now: Timestamp) -> Timestamp {
        let stage = self.plan.stages.get(at.stage).filter(|_| self.plan.timetable.is_some());
        stage.map_or(now, |stage| at.since + stage.min_duration)
    }

    /// The stage again after a hold: by the timetable as much of it is left as there was.
    pub(super) fn resumed(&self, mut at: StageAt, held: Timestamp, now: Timestamp) -> StageAt {
        if self.plan.timetable.is_some() {
            at.since = at.since + (now - held);
        }
        at.clock = now;
        at
    }

    /// What is said of a stage that the timetable ends.
    pub(super) fn by_the_clock(&self, next: &Rollout, begins: Timestamp, now: Timestamp) -> String {
        let name = &self.plan.new.name;
        if next.is_over() {
            return format!(
                "Completed: everyone is on {name}, and nothing spoke against it until {}.",
                number::clock(begins, now)
            );
        }
        format!(
            "By the timetable {name} goes to {} at {}. {}",
            number::share(next.scheduled()),
            number::clock(begins, now),
            sentence::entered(next, now)
        )
    }

    /// What the plan says of the share now, 1/100000; the share that is served where the clock does not move it.
    pub fn scheduled(&self) -> u32 {
        match self.phase.place() {
            Some(super::At::Stage(at)) => {
                self.plan.stages.get(at.stage).map_or_else(|| self.share(), |stage| stage.share)
            }
            Some(super::At::Start) | None => self.share(),
        }
    }
}
