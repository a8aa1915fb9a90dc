//! Open blocks: what gathers between two closings, and what a closed one hands over.

use ensign_stats::{Arm, DdSketch, MeanBlock, Range, RateBlock};
use serde::{Deserialize, Serialize};

use super::entry::Sample;
use super::guard::arm;
use super::plan::{GuardPlan, Method, beyond};
use crate::ids::Span;

/// A block closes with at least this many requests or labels.
const SMALLEST: u64 = 20;
/// Above this many values a block is kept as a histogram.
const LISTED: usize = 512;
/// Control values a winsorising cap is set from.
pub(crate) const CAP_FROM: u64 = 1_000;

/// What a guardrail needs to know before its blocks: set only from control values seen before.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tuning {
    /// Control values of closed blocks (for caps: of this stratum).
    pub(crate) control: DdSketch,
    /// The quantile threshold.
    pub(crate) threshold: Option<f64>,
    /// Control values at the last computation of the threshold.
    pub(crate) computed_at: u64,
    /// The winsorising cap.
    pub(crate) cap: Option<f64>,
}

/// What a tuning step decided.
pub(crate) enum Tuned {
    Nothing,
    Threshold(f64),
    Cap(f64),
}

impl Tuning {
    /// How many control values a guardrail needs before it can begin.
    pub(crate) fn needs(method: Method) -> u64 {
        match method {
            Method::Exceedance { p } => (20.0 / (1.0 - p).min(p)).ceil() as u64,
            Method::Amount => CAP_FROM,
            Method::Rate | Method::Events | Method::Score { .. } | Method::Ratio => 0,
        }
    }

    /// After control values came in: sets or renews the threshold, or sets the first cap.
    pub(crate) fn after_block(&mut self, plan: &GuardPlan, age: Option<Span>) -> Tuned {
        let count = self.control.count();
        if count < Self::needs(plan.method) {
            return Tuned::Nothing;
        }
        match plan.method {
            Method::Exceedance { p } => {
                let due = self.threshold.is_none() || count as f64 >= 1.25 * self.computed_at as f64;
                let Some(x) = due.then(|| self.control.quantile(p)).flatten() else { return Tuned::Nothing };
                let x = below_age(x, plan, age);
                self.computed_at = count;
                if self.threshold == Some(x) {
                    return Tuned::Nothing;
                }
                self.threshold = Some(x);
                Tuned::Threshold(x)
            }
            Method::Amount if self.cap.is_none() => self.set_cap(self.control.quantile(0.99)),
            Method::Amount | Method::Rate | Method::Events | Method::Score { .. } | Method::Ratio => {
                Tuned::Nothing
            }
        }
    }

    /// A cap from control values seen before; nothing if they give none.
    pub(crate) fn set_cap(&mut self, cap: Option<f64>) -> Tuned {
        match cap.filter(|cap| *cap > 0.0 && cap.is_finite()) {
            Some(cap) => {
                self.cap = Some(cap);
                Tuned::Cap(cap)
            }
            None => Tuned::Nothing,
        }
    }

    /// What the guardrail still waits for, in words.
    pub(crate) fn waits_for(&self, plan: &GuardPlan) -> Option<String> {
        let (needs, has) = (Self::needs(plan.method), self.control.count());
        let ready = match plan.method {
            Method::Exceedance { .. } => self.threshold.is_some(),
            Method::Amount => self.cap.is_some(),
            Method::Rate | Method::Events | Method::Score { .. } | Method::Ratio => true,
        };
        (!ready).then(|| format!("{needs} control values before the first comparison; {has} so far"))
    }
}

/// With a settle age, no value is above it: a threshold there would compare nothing.
pub(crate) fn below_age(x: f64, plan: &GuardPlan, age: Option<Span>) -> f64 {
    match age {
        Some(age) if age.0 > 0 => x.min(age.0 as f64 / 1e3 / plan.widest() * (1.0 - 1e-9)),
        Some(_) | None => x,
    }
}

/// What one guardrail gathers in an open block.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Gather {
    Counts(RateBlock),
    Beyond {
        /// The threshold when the block opened; without one only control's values are kept.
        x: Option<f64>,
        blocks: Vec<RateBlock>,
        control: Vec<f64>,
    },
    Values {
        /// For amounts: the cap when the block opened. Scores need none.
        ready: bool,
        scale: f64,
        new: Vec<f64>,
        control: Vec<f64>,
    },
}

impl Gather {
    pub(crate) fn open(plan: &GuardPlan, tuning: &Tuning) -> Self {
        match plan.method {
            Method::Rate | Method::Events => Self::Counts(RateBlock::default()),
            Method::Exceedance { .. } => Self::Beyond {
                x: tuning.threshold,
                blocks: vec![RateBlock::default(); 1 + plan.safe.len()],
                control: Vec::new(),
            },
            Method::Amount => Self::Values {
                ready: tuning.cap.is_some(),
                scale: tuning.cap.unwrap_or(1.0) * plan.widest(),
                new: Vec::new(),
                control: Vec::new(),
            },
            Method::Score { .. } | Method::Ratio => {
                Self::Values { ready: true, scale: 1.0, new: Vec::new(), control: Vec::new() }
            }
        }
    }

    /// Takes in a value on the method's scale.
    pub(crate) fn push(&mut self, plan: &GuardPlan, is_new: bool, y: f64) {
        match self {
            Self::Counts(block) => block.push(arm(is_new), y != 0.0),
            Self::Beyond { x, blocks, control } => {
                if let Some(x) = *x {
                    for (block, null) in blocks.iter_mut().zip(plan.nulls()) {
                        if let Some(null) = null {
                            block.push(arm(is_new), beyond(null, is_new, y, x));
                        }
                    }
                }
                if !is_new {
                    control.push(y);
                }
            }
            Self::Values { new, control, .. } => {
                if is_new { new } else { control }.push(y);
            }
        }
    }

    pub(crate) fn n(&self) -> [u64; 2] {
        match self {
            Self::Counts(block) => [block.n_c, block.n_t],
            Self::Beyond { blocks, control, .. } => {
                let block = blocks.first().copied().unwrap_or_default();
                [block.n_c.max(control.len() as u64), block.n_t]
            }
            Self::Values { new, control, .. } => [control.len() as u64, new.len() as u64],
        }
    }

    /// Closes the block: the sample, and control's values into the tuning of later blocks. A metric without
    /// a value in one of the arms hands over nothing.
    pub(crate) fn close(self, plan: &GuardPlan, tuning: &mut Tuning) -> Sample {
        match self {
            Self::Counts(block) if block.n_t > 0 && block.n_c > 0 => Sample::Counts(block),
            Self::Counts(_) => Sample::Nothing,
            Self::Beyond { x, blocks, control } => {
                remember(tuning, &control);
                let both = blocks.first().is_some_and(|b| b.n_t > 0 && b.n_c > 0);
                if x.is_some() && both { Sample::Beyond(blocks) } else { Sample::Nothing }
            }
            Self::Values { ready, scale, new, control } => {
                if plan.method == Method::Amount {
                    remember(tuning, &control);
                }
                if !ready || new.is_empty() || control.is_empty() {
                    return Sample::Nothing;
                }
                Sample::Values(values(plan, scale, &new, &control))
            }
        }
    }
}

fn remember(tuning: &mut Tuning, control: &[f64]) {
    for y in control {
        // Values that are not finite were refused before.
        let _kept = tuning.control.add(*y);
    }
}

fn values(plan: &GuardPlan, scale: f64, new: &[f64], control: &[f64]) -> MeanBlock {
    let listed = new.len() + control.len() <= LISTED;
    let mut block = match (plan.method, listed) {
        (Method::Amount, true) => MeanBlock::values(Range::Amount),
        (Method::Amount, false) => MeanBlock::amount_histogram(scale),
        (Method::Score { min, range }, false) if min == 1.0 && range == 4.0 => MeanBlock::ratings(),
        (
            Method::Rate | Method::Events | Method::Score { .. } | Method::Exceedance { .. } | Method::Ratio,
            true,
        ) => MeanBlock::values(Range::Unit),
        (
            Method::Rate | Method::Events | Method::Score { .. } | Method::Exceedance { .. } | Method::Ratio,
            false,
        ) => MeanBlock::score_histogram(),
    };
    for (arm, values) in [(Arm::New, new), (Arm::Control, control)] {
        for y in values {
            // Every value was checked against the metric when it came.
            let _kept = block.push(arm, *y);
        }
    }
    block.seal();
    block
}

/// The open request block of one age: its guardrails share its boundaries.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct OpenBlock {
    /// Requests: control, new.
    pub(crate) n: [u64; 2],
    /// One per guardrail of the class; empty until the first request.
    pub(crate) gathers: Vec<Gather>,
}

/// Whether a block with these counts may close: the rule looks at counts only, never at outcomes.
pub(crate) fn may_close(n: [u64; 2]) -> bool {
    n[0] >= 1 && n[1] >= 1 && n[0] + n[1] >= SMALLEST
}
