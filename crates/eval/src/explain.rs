//! Explanations, from the same code that serves: evaluation tells a trace each step, and the silent one costs
//! nothing.

mod sentences;

use serde_json::Value as Json;

use crate::compiled::Needed;
use crate::model::{AllocationId, Clause, Interval, SegmentMatch, Unit, VariantIndex};

/// Listens to an evaluation.
pub trait Trace {
    /// The next step. It is only made if the trace wants it.
    fn step(&mut self, step: impl FnOnce() -> Step);
}

/// Does not listen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Trace for Silent {
    #[inline]
    fn step(&mut self, _: impl FnOnce() -> Step) {}
}

/// Keeps every step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorder {
    steps: Vec<Step>,
}

impl Trace for Recorder {
    fn step(&mut self, step: impl FnOnce() -> Step) {
        self.steps.push(step());
    }
}

impl Recorder {
    /// What was recorded, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// Whether something held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It did.
    Yes,
    /// It did not.
    No,
    /// The context lacks what it asks for.
    Unknown,
}

impl From<bool> for Passed {
    fn from(yes: bool) -> Self {
        if yes { Passed::Yes } else { Passed::No }
    }
}

/// Why a context is or is not in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// Its key is listed as in.
    Included,
    /// Its key is listed as out.
    Excluded,
    /// The rule of this id matched.
    Rule(String),
    /// It is not listed and no rule matched.
    NoRule,
}

/// One step of an evaluation. Steps inside something (the clauses of a rule, the rules of a segment) come before
/// the step that says how it ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The flag is killed: everyone gets this variant.
    Killed {
        /// What everyone gets.
        variant: VariantIndex,
    },
    /// The flag is off.
    Off,
    /// A prerequisite is evaluated; its own steps follow up to its [`Step::Prerequisite`].
    EnterPrerequisite {
        /// The other flag.
        flag: String,
    },
    /// How a prerequisite ended.
    Prerequisite {
        /// The other flag.
        flag: String,
        /// The variant it must serve.
        wanted: VariantIndex,
        /// The variant it serves while on, if any.
        served: Option<VariantIndex>,
        /// Whether it exists and was evaluated, so that this step closes a [`Step::EnterPrerequisite`].
        entered: bool,
        /// Whether that is good enough.
        passed: Passed,
    },
    /// A pin was tried.
    Pin {
        /// Its id.
        id: String,
        /// Whether it holds the unit.
        passed: Passed,
    },
    /// A key is targeted individually.
    Target {
        /// The context kind.
        kind: String,
        /// The key.
        key: String,
    },
    /// A clause was tried.
    Clause {
        /// The clause.
        clause: Clause,
        /// The attribute's value; `None` if missing, or if the clause asks for kinds.
        found: Option<Json>,
        /// Whether it holds.
        passed: Passed,
    },
    /// Membership of a segment was settled.
    Segment {
        /// The segment.
        segment: String,
        /// How.
        how: Membership,
    },
    /// A condition on segments was tried.
    SegmentMatch {
        /// The condition.
        source: SegmentMatch,
        /// Whether it holds.
        passed: Passed,
    },
    /// A weighted segment rule whose conditions hold.
    SegmentShare {
        /// The unit's value; `None` if the context lacks it.
        value: Option<String>,
        /// The unit's position out of 100,000; `None` if the context lacks the kind.
        position: Option<u32>,
        /// Positions below this are in.
        weight: u32,
        /// Whether it is in.
        passed: Passed,
    },
    /// A gate was tried.
    Gate {
        /// Its id.
        gate: String,
        /// What it hashes.
        unit: Unit,
        /// The unit's value; `None` if the context lacks it.
        value: Option<String>,
        /// Its position out of 100,000.
        position: Option<u32>,
        /// Positions below this are let through.
        weight: u32,
        /// Whether it is let through.
        passed: Passed,
    },
    /// How a rule ended.
    Rule {
        /// Its position, from 0.
        index: usize,
        /// Its id.
        id: String,
        /// Whether it decided.
        passed: Passed,
    },
    /// No rule decided.
    Fallthrough,
    /// An allocation chose.
    Split {
        /// Which.
        allocation: AllocationId,
        /// Its epoch.
        epoch: u32,
        /// What it hashes.
        unit: Unit,
        /// The unit's value.
        value: String,
        /// Its position out of 100,000.
        position: u32,
        /// The intervals it fell into one of.
        intervals: Vec<Interval>,
        /// What it gets.
        variant: VariantIndex,
    },
    /// An allocation could not hash the unit; it gets control and is not compared.
    UnitMissing {
        /// Which.
        allocation: AllocationId,
        /// What it would have hashed.
        unit: Unit,
        /// Its intervals.
        intervals: Vec<Interval>,
        /// Control.
        variant: VariantIndex,
    },
}

impl Step {
    pub(crate) fn rule(index: usize, id: &str, passed: Passed) -> Self {
        Step::Rule { index, id: id.to_owned(), passed }
    }

    pub(crate) fn prerequisite(
        needed: &Needed,
        served: Option<VariantIndex>,
        entered: bool,
        passed: bool,
    ) -> Self {
        let flag = needed.key.to_string();
        Step::Prerequisite { flag, wanted: needed.variant, served, entered, passed: passed.into() }
    }
}
