//! A plan: a rollout with every default filled in, ready to be followed.

use serde::{Deserialize, Serialize};

use crate::evidence::watch::{Guard, Margin, Randomised, Watch};
use crate::ids::{AllocationId, FlagId, Key, RolloutId, Span};

/// All units of an allocation, in shares of 1/100000.
pub const WHOLE: u32 = 100_000;

/// A rollout with nothing left to guess.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The flag that is moved.
    pub flag: Key,
    /// The rule whose allocation it owns; `fallthrough` for the units no earlier rule decided.
    pub rule: String,
    /// The variant to return to.
    pub control: Arm,
    /// The variant to move to.
    pub new: Arm,
    /// What is randomised: a context kind or an attribute.
    pub unit: Key,
    /// Which statistics that unit needs.
    pub randomised: Randomised,
    /// The stages in order, each with a larger share. Where there is a soak, it is the last one: its share leaves the
    /// holdback, and its minimum duration is the soak's.
    pub stages: Vec<Stage>,
    /// The comparison with a holdback before everyone gets the new variant.
    pub soak: Option<Soak>,
    /// Guardrails and then watch metrics; the index names them in the evidence.
    pub guards: Vec<GuardPlan>,
    /// What to do when an arm reports nothing.
    pub on_missing: OnMissing,
    /// How long an arm may stay silent before that counts.
    pub silence: Span,
    /// What to do when the split is not what was configured.
    pub on_ratio_mismatch: OnMismatch,
    /// Error budget of the whole rollout for false rollbacks.
    pub alpha: f64,
    /// Error level of a proof of safety.
    pub beta: f64,
    /// Error level of the sample-ratio check.
    pub alpha_srm: f64,
    /// Whether proofs start anew at each stage.
    pub proof_per_stage: bool,
    /// A request not finished after this is a timeout.
    pub timeout: Span,
    /// How late a report may arrive.
    pub report_lag: Span,
    /// First part of each stratum that is dropped in both arms.
    pub warmup: Span,
    /// Whether the units are dealt anew instead of keeping the assignment of an earlier rollout.
    pub new_salt: bool,
    /// Every default that was filled in, as sentences.
    pub assumed: Vec<String>,
    /// Set where the clock moves it: a deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timetable: Option<super::Timetable>,
}

/// One of the two variants compared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Arm {
    /// The variant's permanent index.
    pub variant: u16,
    /// Its name.
    pub name: String,
}

/// One stage of a plan. Its conditions are those for leaving it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// The share of the new variant, 1/100000.
    pub share: u32,
    /// How long it lasts at least.
    pub min_duration: Span,
    /// After this without having advanced, `on_max_duration` applies.
    pub max_duration: Span,
    /// Samples that every guardrail needs in the new arm: since the stage began, or, for metrics with late labels,
    /// since the rollout began.
    pub min_samples: u64,
    /// Whether a person approves before it is left.
    pub approval: bool,
    /// What the evidence must say before it is left.
    pub advance: Advance,
    /// What happens when `max_duration` has passed.
    pub on_max_duration: OnMaxDuration,
}

/// What the evidence must say before a stage is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advance {
    /// No harm seen. It does not mean safe.
    NoHarm,
    /// Every guardrail that has a safe margin for the stage is proven to keep it.
    ProvenSafe,
}

/// What happens when a stage takes too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMaxDuration {
    /// A person decides.
    Hold,
    /// Go on without the proof, where no harm is seen and no data is missing; the decision says so.
    Advance,
    /// Take it back.
    RollBack,
}

/// What happens when an arm reports nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// Stop advancing until it reports again, and tell someone.
    Hold,
    /// Take it back.
    RollBack,
}

/// What happens when the split is not what was configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMismatch {
    /// A person decides.
    Hold,
    /// Take it back.
    RollBack,
    /// Tell someone and go on.
    Warn,
}

/// The comparison with a holdback at the last share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Soak {
    /// The share that stays on control, 1/100000.
    pub holdback: u32,
    /// How long.
    pub duration: Span,
}

/// A guardrail of a plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GuardPlan {
    /// As it was written or would be: `error_rate<=1.5x`.
    pub text: String,
    /// What people call it: `error rate`, `latency p95`.
    pub label: String,
    /// How its numbers are written.
    pub unit: NumberUnit,
    /// What the evidence is told.
    pub guard: Guard,
    /// For each stage, the index into `guard.safe_margins` of what must be proven there; none: nothing.
    pub proof: Vec<Option<usize>>,
    /// Shown only: it takes no part in any decision.
    pub watch_only: bool,
}

/// How a metric's numbers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberUnit {
    /// A share, shown in percent.
    Percent,
    /// Milliseconds.
    Millis,
    /// Money.
    Money,
    /// Anything else.
    Plain,
}

impl Plan {
    /// The share of the stage at `index`, 1/100000; the last one beyond the end.
    pub fn share_at(&self, index: usize) -> u32 {
        self.stages.get(index).map_or_else(|| self.last_share(), |stage| self.served(stage))
    }

    /// The largest share before everyone gets the new variant: 95000 with a holdback of 5 %.
    pub fn last_share(&self) -> u32 {
        self.soak.map_or(WHOLE, |soak| WHOLE - soak.holdback)
    }

    /// The margin to be proven before the stage at `stage` is left, if the guardrail at `guard` needs a proof there.
    pub fn safe_margin(&self, guard: usize, stage: usize) -> Option<Margin> {
        let guard = self.guards.get(guard)?;
        let index = (*guard.proof.get(stage)?)?;
        guard.guard.safe_margins.get(index).copied()
    }

    /// Whether the stage at `index` is the soak.
    pub fn is_soak(&self, index: usize) -> bool {
        self.soak.is_some() && index + 1 == self.stages.len()
    }

    /// What the evidence must know about this rollout.
    pub fn watch(&self, rollout: RolloutId) -> Watch {
        let flag = FlagId::of(&rollout.place, &self.flag);
        let allocation = AllocationId::of(&rollout.place, &self.flag, &self.rule);
        Watch {
            rollout,
            flag,
            allocation,
            control: self.control.variant,
            new: self.new.variant,
            randomised: self.randomised,
            timeout: self.timeout,
            report_lag: self.report_lag,
            warmup: self.warmup,
            guards: self.guards.iter().map(|guard| guard.guard.clone()).collect(),
            alpha: self.alpha,
            beta: self.beta,
            alpha_srm: self.alpha_srm,
            proof_per_stage: self.proof_per_stage,
        }
    }
}
