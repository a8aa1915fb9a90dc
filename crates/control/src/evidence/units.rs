//! What is remembered of one unit in one rollout: its arm per stratum, and its scores.

use std::ops::Range;

use ensign_stats::{ClusterDelta, ClusterFrame, Null, Observation, StratumShare, UnitScore};
use serde::{Deserialize, Serialize};

use super::guard::arm;
use super::plan::{GuardPlan, Method, beyond};
use super::requests::LateValue;
use crate::ids::{Timestamp, Unit};

/// A first exposure.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Exposed {
    pub(crate) at: Timestamp,
    pub(crate) stratum: u16,
    pub(crate) new: bool,
    /// Seen in both arms within one stratum: out of the comparison.
    pub(crate) crossed: bool,
    /// Late metrics for which it has matured, one bit per guardrail.
    pub(crate) matured: u32,
}

/// One unit in one rollout. Small, because there are many; what only some units have is behind a pointer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct UnitState {
    /// The first exposure of the newest stratum it was seen in.
    pub(crate) now: Exposed,
    /// Guardrails whose first event or observation of this unit was taken (the first 32).
    pub(crate) firsts: u32,
    /// The slot of the rollout.
    pub(crate) roll: u32,
    pub(crate) more: Option<Box<More>>,
}

/// What only some units have.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct More {
    pub(crate) earlier: Vec<Exposed>,
    /// For each guardrail that is judged by unit, in order: harm, each safe margin, display.
    scores: Vec<UnitScore>,
    pub(crate) late: Vec<LateValue>,
}

impl UnitState {
    pub(crate) fn new(roll: u32, now: Exposed) -> Self {
        Self { now, firsts: 0, roll, more: None }
    }

    pub(crate) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Every first exposure, the newest stratum's first.
    pub(crate) fn exposures(&self) -> impl Iterator<Item = &Exposed> {
        std::iter::once(&self.now).chain(self.more.iter().flat_map(|more| more.earlier.iter().rev()))
    }

    /// The exposure an outcome of this time belongs to: the latest one before it.
    pub(crate) fn exposure_at(&self, time: Timestamp) -> Option<&Exposed> {
        self.exposures().find(|exposed| exposed.at <= time)
    }

    pub(crate) fn in_stratum(&mut self, stratum: u16) -> Option<&mut Exposed> {
        if self.now.stratum == stratum {
            return Some(&mut self.now);
        }
        self.more.as_mut()?.earlier.iter_mut().find(|exposed| exposed.stratum == stratum)
    }
}

/// One observation on its way into the unit-level processes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Obs {
    pub(crate) time: Timestamp,
    pub(crate) unit: Unit,
    pub(crate) guard: u16,
    pub(crate) stratum: u16,
    pub(crate) new: bool,
    pub(crate) y: f64,
    pub(crate) size: f64,
}

impl Obs {
    /// Settles the order of observations of one unit at one time.
    pub(crate) fn order(&self) -> (u16, u16, bool, u64, u64) {
        (self.guard, self.stratum, self.new, self.y.to_bits(), self.size.to_bits())
    }
}

/// What every unit uses during one tick of one guardrail.
pub(crate) struct TickFrame<'a> {
    pub(crate) plan: &'a GuardPlan,
    /// Harm first, then the safe margins.
    pub(crate) nulls: Vec<Option<Null>>,
    /// Harm, the safe margins, display; none: the process does not run yet.
    pub(crate) frames: Vec<Option<ClusterFrame>>,
    /// Where a unit keeps its scores in these processes.
    pub(crate) scores: Range<usize>,
    /// How many scores a unit keeps for all guardrails.
    pub(crate) slots: usize,
    pub(crate) strata: Vec<StratumShare>,
    pub(crate) threshold: Option<f64>,
    pub(crate) cap: Option<f64>,
    /// Proofs of safety start anew at each stratum.
    pub(crate) proof_per_stage: bool,
}

impl TickFrame<'_> {
    /// The value the `process`-th process sees: 0 harm, then the safe margins, last the display.
    pub(crate) fn seen(&self, obs: &Obs, process: usize) -> Option<f64> {
        let null = self.nulls.get(process).copied().flatten();
        match self.plan.method {
            Method::Rate | Method::Events | Method::Score { .. } | Method::Ratio => Some(obs.y),
            Method::Amount => {
                let cap = self.cap?;
                match null {
                    Some(null) if obs.new => Some((obs.y / null.theta0()).min(cap) / cap),
                    Some(_) => Some(obs.y.min(cap) / cap),
                    None => Some(obs.y.min(cap)),
                }
            }
            Method::Exceedance { .. } => {
                let x = self.threshold?;
                let beyond = match null {
                    Some(null) => beyond(null, obs.new, obs.y, x),
                    None => obs.y > x,
                };
                Some(f64::from(u8::from(beyond)))
            }
        }
    }

    /// Feeds one observation of a unit to every cluster process. Answers the value that is shown, if it counted.
    pub(crate) fn observe(&self, unit: &mut More, obs: &Obs, deltas: &mut [ClusterDelta]) -> Option<f64> {
        if unit.scores.is_empty() {
            unit.scores = vec![UnitScore::default(); self.slots];
        }
        let scores = &mut unit.scores[self.scores.clone()];
        let display = scores.len() - 1;
        if self.proof_per_stage && scores[display].is_before(obs.stratum) {
            scores[1..display].fill(UnitScore::default());
        }
        let mut shown = None;
        for (process, (frame, score)) in self.frames.iter().zip(scores).enumerate() {
            let (Some(frame), Some(y)) = (frame, self.seen(obs, process)) else { continue };
            let seen = Observation { arm: arm(obs.new), stratum: obs.stratum, y, size: obs.size };
            let taken = score.observe(frame, &self.strata, seen, &mut deltas[process]);
            if process == display && taken == Ok(true) {
                shown = Some(y);
            }
        }
        shown
    }
}
