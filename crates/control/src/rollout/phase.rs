//! Where a rollout stands: each phase with exactly the data it has.

use serde::{Deserialize, Serialize};

use crate::ids::Timestamp;

use super::Plan;
use super::plan::WHOLE;

/// Where a rollout stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Nobody gets the new variant yet: not started, or started while a window was closed.
    Waiting {
        /// Who asked for the start, if anybody has.
        start: Option<Approval>,
    },
    /// At a stage, and moving on when its conditions hold.
    Ramping {
        /// The stage.
        at: StageAt,
    },
    /// At a stage whose conditions hold, waiting for a person.
    AwaitingApproval {
        /// The stage.
        at: StageAt,
        /// Since when.
        asked: Timestamp,
    },
    /// Not advancing; the traffic stays as it is.
    Held {
        /// Where it goes on from.
        from: At,
        /// Since when.
        since: Timestamp,
        /// Why.
        why: HoldCause,
    },
    /// At the last stage, compared with the holdback until the soak ends.
    Soaking {
        /// The last stage.
        at: StageAt,
    },
    /// Everyone has the new variant.
    Completed {
        /// When.
        at: Timestamp,
    },
    /// Everyone has control again, by the rollout's own rule.
    RolledBack {
        /// When.
        at: Timestamp,
        /// The share it was taken back from, 1/100000.
        from: u32,
        /// Why.
        cause: RollbackCause,
        /// The sentence of the decision.
        sentence: String,
    },
    /// Everyone has control again, because a person said so.
    Aborted {
        /// The share it was taken back from, 1/100000.
        from: u32,
        /// Who, when and why.
        by: Approval,
    },
}

/// Where a rollout is in its plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// Not begun.
    Start,
    /// At a stage, or in the soak, which is the last one.
    Stage(StageAt),
}

/// A stage being passed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StageAt {
    /// Index into [`Plan::stages`].
    pub stage: usize,
    /// When its share was first served: the minimum duration counts from here.
    pub since: Timestamp,
    /// What the maximum duration counts from: `since`, or when a person last said to go on.
    pub clock: Timestamp,
    /// A person's approval to leave the stage.
    pub approved: Option<Approval>,
    /// A person's decision to leave it without proof of safety.
    pub without_proof: Option<Approval>,
}

impl StageAt {
    /// A stage that begins at `now`.
    pub fn begin(stage: usize, now: Timestamp) -> Self {
        Self { stage, since: now, clock: now, approved: None, without_proof: None }
    }
}

/// Who decided, when and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// The person or key.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, if said.
    pub reason: Option<String>,
}

/// Why a rollout does not advance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum HoldCause {
    /// A person said so.
    Person(Approval),
    /// The flag is killed; after `restore` a person resumes it.
    Killed(Approval),
    /// The evidence of harm is half way to the threshold. Ends by itself.
    Doubt,
    /// A guardrail that acts by holding is harmed.
    Harm {
        /// Indices of the guardrails.
        guards: Vec<usize>,
    },
    /// The split is not what was configured.
    RatioMismatch,
    /// Labels of these guardrails go missing unequally.
    Untrusted {
        /// Indices of the guardrails.
        guards: Vec<usize>,
    },
    /// An arm is exposed and reports nothing. Ends by itself.
    MissingData {
        /// The new arm, else control.
        new: bool,
    },
    /// More than one percent of the events have data errors, or of the units were in both arms. Ends by itself.
    DataErrors,
    /// The unit table is full.
    UnitsFull,
    /// The stage's maximum duration has passed.
    MaxDuration,
}

impl HoldCause {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Person(_) => "person",
            Self::Killed(_) => "killed",
            Self::Doubt => "doubt",
            Self::Harm { .. } => "harm",
            Self::RatioMismatch => "ratio_mismatch",
            Self::Untrusted { .. } => "untrusted",
            Self::MissingData { .. } => "missing_data",
            Self::DataErrors => "data_errors",
            Self::UnitsFull => "units_full",
            Self::MaxDuration => "max_duration",
        }
    }

    /// What a person sets aside by going on: the code, with the guardrail where there is one.
    pub(super) fn keys(&self) -> Vec<String> {
        match self {
            Self::Harm { guards } | Self::Untrusted { guards } => {
                guards.iter().map(|guard| format!("{}:{guard}", self.code())).collect()
            }
            Self::RatioMismatch | Self::UnitsFull => vec![self.code().to_owned()],
            Self::Person(_)
            | Self::Killed(_)
            | Self::Doubt
            | Self::MissingData { .. }
            | Self::DataErrors
            | Self::MaxDuration => Vec::new(),
        }
    }

    /// Whether the hold ends without a person once its cause is gone.
    pub fn ends_by_itself(&self) -> bool {
        match self {
            Self::Doubt | Self::MissingData { .. } | Self::DataErrors => true,
            Self::Person(_)
            | Self::Killed(_)
            | Self::Harm { .. }
            | Self::RatioMismatch
            | Self::Untrusted { .. }
            | Self::UnitsFull
            | Self::MaxDuration => false,
        }
    }
}

/// Why a rollout was taken back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum RollbackCause {
    /// Guardrails proved harm.
    Harm {
        /// Indices of the guardrails, the largest contribution first.
        guards: Vec<usize>,
    },
    /// The split is not what was configured, and the plan says to roll back then.
    RatioMismatch,
    /// An arm reported nothing, and the plan says to roll back then.
    MissingData,
    /// The maximum duration passed, and the plan says to roll back then.
    MaxDuration,
    /// An alarm fired.
    Alarm {
        /// Its name.
        alarm: String,
        /// Why, as it was sent.
        reason: Option<String>,
    },
}

impl Phase {
    /// The share of the new variant served in this phase, 1/100000.
    pub fn share(&self, plan: &Plan) -> u32 {
        match self {
            Self::Waiting { .. } | Self::RolledBack { .. } | Self::Aborted { .. } => 0,
            Self::Ramping { at } | Self::Soaking { at } | Self::AwaitingApproval { at, .. } => {
                plan.share_at(at.stage)
            }
            Self::Held { from, .. } => match from {
                At::Start => 0,
                At::Stage(at) => plan.share_at(at.stage),
            },
            Self::Completed { .. } => WHOLE,
        }
    }

    /// Whether nothing follows.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Completed { .. } | Self::RolledBack { .. } | Self::Aborted { .. } => true,
            Self::Waiting { .. }
            | Self::Ramping { .. }
            | Self::AwaitingApproval { .. }
            | Self::Held { .. }
            | Self::Soaking { .. } => false,
        }
    }

    /// One word for lists.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Ramping { .. } => "ramping",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::Held { .. } => "held",
            Self::Soaking { .. } => "soaking",
            Self::Completed { .. } => "completed",
            Self::RolledBack { .. } => "rolled_back",
            Self::Aborted { .. } => "aborted",
        }
    }

    /// Where it goes on when it is held or resumed: the phase of a place.
    pub(super) fn at(place: &At, plan: &Plan) -> Self {
        match place {
            At::Start => Self::Waiting { start: None },
            At::Stage(at) if plan.is_soak(at.stage) => Self::Soaking { at: at.clone() },
            At::Stage(at) => Self::Ramping { at: at.clone() },
        }
    }

    /// Where it is in the plan, unless it is over.
    pub fn place(&self) -> Option<At> {
        match self {
            Self::Waiting { .. } => Some(At::Start),
            Self::Ramping { at } | Self::Soaking { at } | Self::AwaitingApproval { at, .. } => {
                Some(At::Stage(at.clone()))
            }
            Self::Held { from, .. } => Some(from.clone()),
            Self::Completed { .. } | Self::RolledBack { .. } | Self::Aborted { .. } => None,
        }
    }
}
