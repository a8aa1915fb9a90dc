//! The cluster-robust normal mixture: user-level metrics of every kind, ratios included.
//!
//! A score `U` compares the arms; its variance is taken over units (`V_arm`) and over the random
//! assignment (`V_design`), whichever is larger: the first sees variance that differs between the arms, the
//! second sees rare values before the small arm has had one. Asymptotic. Derivation:
//! docs/internals/guards.md, §5 (cluster-robust inference: Cameron & Miller 2015; monitoring: Slepian 1962).
//!
//! The work is split so that units can live in many shards: a shard keeps a [`UnitScore`] for each unit and
//! sums [`ClusterDelta`]s against a frame that is fixed for the tick; the process adds them up.

use serde::{Deserialize, Serialize};

use crate::bet::{Arm, Invalid, Null, Rejected, Side};
use crate::math::{Sum, ln, log_sum_exp};
use crate::mixture::one_sided_log_e;

/// Observations of one unit that count in one stratum. Without a limit a few very active units dominate
/// the variance and detection becomes several times slower.
pub const PER_UNIT: u8 = 10;
/// Units each arm needs before the variance is frozen and evidence begins.
const UNITS_TO_START: u64 = 30;
/// The standardised effects mixed over: small, medium, large.
const EFFECTS: [f64; 3] = [0.05, 0.2, 0.8];

/// How a cluster process is set up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterParams {
    /// Harm or safe.
    pub side: Side,
    /// What is tested, margin included.
    pub null: Null,
    /// The centre before there is data: about what control's mean (or ratio) is. Any finite number is
    /// valid; a good one only makes the first ticks less noisy.
    pub start_centre: f64,
    /// `Some`: the centre stays at `start_centre` and the variance is this one, known beforehand.
    pub known_variance: Option<f64>,
}

impl ClusterParams {
    /// A process whose margin is zero, for the difference that is shown (not for a decision).
    ///
    /// # Errors
    /// Never for the fixed margin zero; the signature follows [`Null::new`].
    pub fn for_display(start_centre: f64) -> Result<Self, Invalid> {
        let null = Null::new(crate::bet::Direction::Up, 1.0, 0.0)?;
        Ok(Self { side: Side::Harm, null, start_centre, known_variance: None })
    }
}

/// What every shard uses during one tick: fixed before the tick's data is seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterFrame {
    side: Side,
    null: Null,
    centre: f64,
}

/// One stratum of a rollout, as the unit scores need it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StratumShare {
    /// Design share of the new arm among new and control.
    pub share: f64,
    /// True when units may have moved back (the allocation shrank) or were dealt anew (another salt):
    /// assignments before say nothing about assignments from here on.
    pub reset: bool,
}

/// One observation of one unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The arm that was served.
    pub arm: Arm,
    /// The stratum in which the request started: an index into the list of strata.
    pub stratum: u16,
    /// The value; for a ratio metric the numerator.
    pub y: f64,
    /// 1, or for a ratio metric the denominator.
    pub size: f64,
}

/// The state of one unit, 40 bytes, kept by the shard that owns the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitScore {
    /// Running score in each arm (control, new).
    u: [f64; 2],
    /// Sum of deviations in the current stratum.
    r: f64,
    /// Sum of share × deviations over earlier strata.
    q: f64,
    stratum: u16,
    seen: u8,
    /// Observations that belonged to an earlier stratum than the current one.
    late: u8,
    /// Arms seen: bit 0 control, bit 1 new.
    arms: u8,
}

/// What a shard adds to the process. Mergeable; merge in the order of the shards for equal bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterDelta {
    u: Sum,
    v_arm: Sum,
    v_design: Sum,
    information: Sum,
    /// Σe² and how many: the variance that is frozen.
    e2: Sum,
    count: u64,
    /// Σ of values (new ones divided by θ0) and of sizes: the next centre.
    y: Sum,
    size: Sum,
    units: [u64; 2],
}

impl ClusterDelta {
    /// Adds another shard's part.
    pub fn merge(&mut self, other: &Self) {
        self.u.merge(other.u);
        self.v_arm.merge(other.v_arm);
        self.v_design.merge(other.v_design);
        self.information.merge(other.information);
        self.e2.merge(other.e2);
        self.count += other.count;
        self.y.merge(other.y);
        self.size.merge(other.size);
        self.units[0] += other.units[0];
        self.units[1] += other.units[1];
    }
}

impl UnitScore {
    /// Whether everything this unit was seen with belongs to an earlier stratum.
    #[must_use]
    pub fn is_before(&self, stratum: u16) -> bool {
        self.arms != 0 && self.stratum < stratum
    }

    /// Takes in one observation of this unit; what it adds goes into `delta`. Observations beyond the
    /// limit of the stratum are left out (and answered `Ok(false)`).
    ///
    /// # Errors
    /// [`Rejected::Value`] for numbers that are not finite or a size that is not positive,
    /// [`Rejected::Share`] for an unknown stratum or a share outside (0, 1).
    pub fn observe(
        &mut self,
        frame: &ClusterFrame,
        strata: &[StratumShare],
        seen: Observation,
        delta: &mut ClusterDelta,
    ) -> Result<bool, Rejected> {
        let Observation { arm, stratum, y, size } = seen;
        let share = strata.get(usize::from(stratum)).map(|s| s.share).filter(|p| *p > 0.0 && *p < 1.0);
        let share = share.ok_or(Rejected::Share)?;
        if !(y.is_finite() && size > 0.0 && size.is_finite()) {
            return Err(Rejected::Value);
        }
        let known = self.arms != 0;
        if known && stratum < self.stratum {
            return Ok(self.observe_late(frame, strata, seen, share, delta));
        }
        if known && stratum > self.stratum {
            self.enter(strata, stratum);
        } else if !known {
            self.stratum = stratum;
        }
        if self.seen >= PER_UNIT {
            return Ok(false);
        }
        self.seen += 1;
        let e = self.score(frame, arm, y, size, share, delta);
        let rest = 1.0 - share;
        delta.v_design.add(share * rest * (2.0 * self.r * e + e * e) + 2.0 * rest * self.q * e);
        self.r += e;
        Ok(true)
    }

    /// The unit's first observation in a new stratum.
    fn enter(&mut self, strata: &[StratumShare], stratum: u16) {
        let passed = usize::from(self.stratum) + 1..=usize::from(stratum);
        if strata.get(passed).is_some_and(|s| s.iter().any(|s| s.reset)) {
            self.q = 0.0;
        } else {
            let before = strata.get(usize::from(self.stratum)).map_or(0.0, |s| s.share);
            self.q += before * self.r;
        }
        self.r = 0.0;
        self.seen = 0;
        self.stratum = stratum;
    }

    /// A late outcome of an earlier stratum than the unit's current one. On a ramp, assignments of two
    /// strata π' < π have covariance π'(1−π), which gives the terms with the current and earlier parts
    /// (exactly so when the unit has been seen in no stratum between the two).
    fn observe_late(
        &mut self,
        frame: &ClusterFrame,
        strata: &[StratumShare],
        seen: Observation,
        share: f64,
        delta: &mut ClusterDelta,
    ) -> bool {
        if self.late >= PER_UNIT {
            return false;
        }
        self.late += 1;
        let e = self.score(frame, seen.arm, seen.y, seen.size, share, delta);
        let passed = usize::from(seen.stratum) + 1..=usize::from(self.stratum);
        let cut = strata.get(passed).is_some_and(|s| s.iter().any(|s| s.reset));
        let rest = 1.0 - share;
        let mut variance = share * rest * e * e;
        if !cut {
            let now = strata.get(usize::from(self.stratum)).map_or(share, |s| s.share);
            variance += 2.0 * rest * self.q * e + 2.0 * share * (1.0 - now) * self.r * e;
            self.q += share * e;
        }
        delta.v_design.add(variance);
        true
    }

    /// The part that needs no history of strata. Returns the deviation `e`.
    fn score(
        &mut self,
        frame: &ClusterFrame,
        arm: Arm,
        y: f64,
        size: f64,
        share: f64,
        delta: &mut ClusterDelta,
    ) -> f64 {
        let b = frame.side.bet_sign(frame.null.direction());
        let rest = 1.0 - share;
        let (index, y, e, x) = match arm {
            Arm::Control => {
                let e = y - frame.centre * size;
                (0, y, e, b * (-share * e))
            }
            Arm::New => {
                let y = y / frame.null.theta0();
                let e = y - frame.null.shift() * size - frame.centre * size;
                (1, y, e, b * (rest * e))
            }
        };
        delta.u.add(x);
        delta.v_arm.add(2.0 * self.u[index] * x + x * x);
        self.u[index] += x;
        delta.information.add(size * share * rest);
        delta.e2.add(e * e);
        delta.count += 1;
        delta.y.add(y);
        delta.size.add(size);
        if self.arms & (1 << index) == 0 {
            self.arms |= 1 << index;
            delta.units[index] += 1;
        }
        e
    }
}

/// The cluster process of one guardrail.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterMixture {
    params: ClusterParams,
    total: ClusterDelta,
    centre: f64,
    /// Frozen variance of a deviation; `None` while data is collected (e = 1).
    variance: Option<f64>,
    max_log_e: f64,
}

/// The difference between the arms as a cluster process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterEstimate {
    /// New minus control, in the metric's unit (per size, for ratios).
    pub difference: f64,
    /// Its cluster-robust standard error.
    pub se: f64,
}

impl ClusterMixture {
    /// A process before any data: log e = 0.
    ///
    /// # Errors
    /// [`Invalid::Centre`] for a centre that is not finite or a known variance that is not positive.
    pub fn new(params: ClusterParams) -> Result<Self, Invalid> {
        let variance_ok = params.known_variance.is_none_or(|v| v > 0.0 && v.is_finite());
        if !(params.start_centre.is_finite() && variance_ok) {
            return Err(Invalid::Centre);
        }
        Ok(Self {
            params,
            total: ClusterDelta::default(),
            centre: params.start_centre,
            variance: params.known_variance,
            max_log_e: 0.0,
        })
    }

    /// What the shards use during the coming tick.
    #[must_use]
    pub fn frame(&self) -> ClusterFrame {
        ClusterFrame { side: self.params.side, null: self.params.null, centre: self.centre }
    }

    /// Ends a tick: adds what the shards collected, freezes the variance once both arms have 30 units, and
    /// sets the centre for the next tick.
    pub fn end_tick(&mut self, delta: &ClusterDelta) {
        self.total.merge(delta);
        if self.params.known_variance.is_none() {
            if self.variance.is_none() && self.total.units.iter().all(|n| *n >= UNITS_TO_START) {
                let variance = self.total.e2.value() / self.total.count as f64;
                if variance > 0.0 && variance.is_finite() {
                    self.variance = Some(variance);
                }
            }
            // Pooled mean (or ratio) with the start value as one more observation.
            let centre = (self.total.y.value() + self.params.start_centre) / (self.total.size.value() + 1.0);
            if centre.is_finite() {
                self.centre = centre;
            }
        }
        self.max_log_e = self.max_log_e.max(self.log_e());
    }

    /// Log of the evidence now; 0 until the variance is frozen.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        let Some(variance) = self.variance else { return 0.0 };
        let (u, v) = (self.score(), self.v());
        let terms = EFFECTS.map(|d| one_sided_log_e(u, v, variance / (d * d)));
        log_sum_exp(&terms) - ln(EFFECTS.len() as f64)
    }

    /// The largest log evidence at the end of any tick so far (0 at the start).
    #[must_use]
    pub fn max_log_e(&self) -> f64 {
        self.max_log_e
    }

    /// The score `U`.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.total.u.value()
    }

    /// The score's variance over units.
    #[must_use]
    pub fn v_arm(&self) -> f64 {
        self.total.v_arm.value().max(0.0)
    }

    /// The score's variance over the assignment.
    #[must_use]
    pub fn v_design(&self) -> f64 {
        self.total.v_design.value().max(0.0)
    }

    /// The larger of the two variances.
    #[must_use]
    pub fn v(&self) -> f64 {
        self.v_arm().max(self.v_design())
    }

    /// Units seen in one arm.
    #[must_use]
    pub fn units(&self, arm: Arm) -> u64 {
        match arm {
            Arm::Control => self.total.units[0],
            Arm::New => self.total.units[1],
        }
    }

    /// Observations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.total.count
    }

    /// `U/Σnπ(1−π)` with its standard error; meaningful for [`ClusterParams::for_display`].
    /// `None` before there is any observation.
    #[must_use]
    pub fn estimate(&self) -> Option<ClusterEstimate> {
        let information = self.total.information.value();
        (information > 0.0).then(|| ClusterEstimate {
            difference: self.score() / information,
            se: self.v().sqrt() / information,
        })
    }
}
