//! A rollout: a plan that moves one split from control to a new variant, and the state machine that follows it.
//!
//! `spec` is what a person writes, `plan` what it means with every default filled in, `decide` the only place
//! where a rollout changes state. Absent on purpose: anything that acts. A decision is returned as a [`Step`];
//! the shell commits it in one transaction and then announces it.

use serde::{Deserialize, Serialize};

use crate::ids::{RolloutId, Span, Timestamp};

mod command;
mod decide;
mod fields;
mod finish;
mod guardrail;
mod guards;
mod judge;
mod notice;
mod number;
mod phase;
mod plan;
mod predict;
mod render;
mod resolve;
mod sentence;
mod spec;
mod timetable;
mod view;

pub use command::{Command, Facts, Firing, Killed, Refusal, Who, Window};
pub use decide::{Decision, Draft, SplitChange, Step};
pub use finish::file_edit;
pub use guardrail::{parse_guardrail, parse_span};
pub use guards::is_builtin;
pub use notice::{Notice, NoticeKind};
pub use phase::{Approval, At, HoldCause, Phase, RollbackCause, StageAt};
pub use plan::{
    Advance, Arm, GuardPlan, NumberUnit, OnMaxDuration, OnMismatch, OnMissing, Plan, Soak, Stage, WHOLE,
};
pub use predict::{
    Expectation, GuardPrediction, Prediction, StagePrediction, Traffic, predict, render_prediction,
};
pub use render::{WIDTH, render, table};
pub use resolve::{FlagFacts, VariantFact, resolve};
pub use spec::{AdvanceSpec, GuardSpec, MarginSpec, Spec, StageSpec};
pub use timetable::{Timed, Timetable};
pub use view::{GuardView, StatusView, Verdict, view};

/// Evidence older than this decides nothing.
pub const FRESH: Span = Span::seconds(60);

/// One rollout: what was planned and where it stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rollout {
    /// Its name.
    pub id: RolloutId,
    /// What was asked for, with every default filled in.
    pub plan: Plan,
    /// Where it stands.
    pub phase: Phase,
    /// Who created it.
    pub created_by: String,
    /// When it was created.
    pub created: Timestamp,
    /// How many automatic decisions were taken; each has a receipt with its number.
    pub decisions: u32,
    /// Reasons to hold that a person has looked at and set aside, by their code; they hold no more.
    pub set_aside: Vec<(String, Approval)>,
    /// Indices of guardrails that have been alerted about.
    pub alerted: Vec<usize>,
}

impl Rollout {
    /// A rollout that has not begun; [`Command::Start`] begins it.
    pub fn new(id: RolloutId, plan: Plan, by: impl Into<String>, now: Timestamp) -> Self {
        let (created_by, phase) = (by.into(), Phase::Waiting { start: None });
        Self {
            id,
            plan,
            phase,
            created_by,
            created: now,
            decisions: 0,
            set_aside: Vec::new(),
            alerted: Vec::new(),
        }
    }

    /// The share of the new variant that is served now, in 1/100000: 95000 until the soak has ended.
    pub fn share(&self) -> u32 {
        self.phase.share(&self.plan)
    }

    /// Whether it has ended: completed, rolled back or aborted. It never moves again.
    pub fn is_over(&self) -> bool {
        self.phase.is_over()
    }
}
