//! The block bet for rates and exceedances: four integers a block.
//!
//! Valid for every look frequency, for ever (Ville 1939), whatever the baseline does, because the arms
//! meet only inside one short block. Derivation: docs/internals/guards.md, §2 and §3.

use serde::{Deserialize, Serialize};

use crate::bet::{Arm, Direction, Grid, Invalid, MAX_BETS, Null, Rejected, Side};
use crate::math::ln_1p;
use crate::wealth::{Joins, Wealth};

/// Counts above this are not exact as floats.
pub(crate) const MAX_COUNT: u64 = 1 << 53;

/// Trials and events of one block, per arm. Mergeable by addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateBlock {
    /// Trials of the new arm.
    pub n_t: u64,
    /// Bad events among them.
    pub k_t: u64,
    /// Trials of the control arm.
    pub n_c: u64,
    /// Bad events among them.
    pub k_c: u64,
}

impl RateBlock {
    /// Counts one trial.
    pub fn push(&mut self, arm: Arm, event: bool) {
        match arm {
            Arm::New => {
                self.n_t += 1;
                self.k_t += u64::from(event);
            }
            Arm::Control => {
                self.n_c += 1;
                self.k_c += u64::from(event);
            }
        }
    }

    /// Adds another part of the same block.
    pub fn merge(&mut self, other: Self) {
        self.n_t = self.n_t.saturating_add(other.n_t);
        self.k_t = self.k_t.saturating_add(other.k_t);
        self.n_c = self.n_c.saturating_add(other.n_c);
        self.k_c = self.k_c.saturating_add(other.k_c);
    }

    /// Trials of one arm.
    #[must_use]
    pub fn n(&self, arm: Arm) -> u64 {
        match arm {
            Arm::New => self.n_t,
            Arm::Control => self.n_c,
        }
    }

    pub(crate) fn check(self) -> Result<(), Rejected> {
        let total = self.n_t.saturating_add(self.n_c);
        if self.k_t > self.n_t || self.k_c > self.n_c || total > MAX_COUNT {
            Err(Rejected::Counts)
        } else if self.n_t == 0 || self.n_c == 0 {
            Err(Rejected::EmptyArm)
        } else {
            Ok(())
        }
    }
}

/// How a rate bet is set up. The presets are [`RateParams::rate`] and [`RateParams::exceedance`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateParams {
    /// Harm or safe.
    pub side: Side,
    /// The acceptable risk ratio (1 + relative margin).
    pub theta0: f64,
    /// Which ratios the parallel bets are best for.
    pub grid: Grid,
    /// The largest share of its wealth a bet may lose at one observation, 0 < cap < 1.
    pub cap: f64,
    /// A centre fixed beforehand (exceedances: 1 − p); `None` learns the base rate from earlier blocks.
    pub fixed_centre: Option<f64>,
    /// Restarts for late onset: on for harm, off for safe.
    pub restarts: bool,
}

impl RateParams {
    /// Error rates and the like: base rate below about 20 %, relative margin, an increase is bad.
    ///
    /// # Errors
    /// [`Invalid::RateForm`] for an absolute margin or a metric whose decrease is bad: use a
    /// mean bet on the 0/1 values instead.
    pub fn rate(null: Null, side: Side) -> Result<Self, Invalid> {
        if null.direction() != Direction::Up || null.delta() != 0.0 {
            return Err(Invalid::RateForm);
        }
        Ok(Self {
            side,
            theta0: null.theta0(),
            grid: match side {
                Side::Harm => Grid::RateHarm,
                Side::Safe => Grid::RateSafe,
            },
            cap: 0.99,
            fixed_centre: None,
            restarts: side == Side::Harm,
        })
    }

    /// Quantile guards: the share of values above control's `p`-quantile. The margin is already in the
    /// counting (`k_t` counts new values with `y/θ0 > x`), so the ratio tested here is 1.
    #[must_use]
    pub fn exceedance(p: f64, side: Side) -> Self {
        Self {
            side,
            theta0: 1.0,
            grid: match side {
                Side::Harm => Grid::ExceedanceHarm,
                Side::Safe => Grid::RateSafe,
            },
            cap: 0.9,
            fixed_centre: Some(1.0 - p),
            restarts: side == Side::Harm,
        }
    }
}

/// An e-process for "the new rate is at most (harm) / at least (safe) θ0 times control's".
///
/// Source: docs/internals/guards.md §2–§3; with centre 0 it is the conditional two-sample test, with the
/// growth-optimal centre the two-sample e-variable of Turner, Ly & Grünwald (2024).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateBet {
    params: RateParams,
    wealth: Wealth,
    /// Trials and events of all earlier blocks, both arms.
    trials: u64,
    events: u64,
}

impl RateBet {
    /// A process before any data: log e = 0.
    ///
    /// # Errors
    /// [`Invalid`] when a parameter is outside its range.
    pub fn new(params: RateParams) -> Result<Self, Invalid> {
        if !(params.theta0 > 0.0 && params.theta0.is_finite()) {
            return Err(Invalid::Margin);
        }
        if !(params.cap > 0.0 && params.cap < 1.0) {
            return Err(Invalid::BetCap);
        }
        if params.fixed_centre.is_some_and(|m| !(m > 0.0 && m < 1.0)) {
            return Err(Invalid::Centre);
        }
        if params.grid == Grid::Effect {
            return Err(Invalid::Grid);
        }
        Ok(Self {
            params,
            wealth: Wealth::new(params.grid.points().len(), params.restarts),
            trials: 0,
            events: 0,
        })
    }

    /// Takes in one closed block. Four logarithms per bet, no work per event.
    ///
    /// # Errors
    /// [`Rejected::Counts`] or [`Rejected::EmptyArm`]; the process is then unchanged.
    pub fn close(&mut self, block: RateBlock) -> Result<(), Rejected> {
        block.check()?;
        let log_l = self.increments(block);
        self.wealth.step(block.n_t, &log_l, Joins::Before);
        self.trials = self.trials.saturating_add(block.n_t + block.n_c);
        self.events = self.events.saturating_add(block.k_t + block.k_c);
        Ok(())
    }

    fn increments(&self, block: RateBlock) -> [f64; MAX_BETS] {
        let RateParams { side, theta0, grid, cap, fixed_centre, .. } = self.params;
        let b = side.bet_sign(Direction::Up);
        let (n_t, n_c) = (block.n_t as f64, block.n_c as f64);
        // Both shares by division: 1 − h by subtraction loses all digits at extreme splits.
        let (h, h_c) = (n_t / (n_t + n_c), n_c / (n_t + n_c));
        let m = fixed_centre
            .unwrap_or_else(|| ((self.events as f64 + 0.5) / (self.trials as f64 + 50.0)).min(0.5));
        let top = 1.0 / theta0;
        let worst = match side {
            Side::Harm => (h_c * m).max(h * (1.0 - m)),
            Side::Safe => (h_c * (top - m)).max(h * m),
        };
        let mut log_l = [0.0; MAX_BETS];
        for (slot, g) in log_l.iter_mut().zip(grid.points()) {
            let theta = theta0 * g;
            let lambda = ((theta - theta0).abs() / ((1.0 + h * (theta - 1.0)) * (1.0 - m))).min(cap / worst);
            let bet = b * lambda;
            *slot = times(block.k_t, bet * h_c * (top - m))
                + times(block.n_t - block.k_t, -bet * h_c * m)
                + times(block.k_c, -bet * h * (1.0 - m))
                + times(block.n_c - block.k_c, bet * h * m);
        }
        log_l
    }

    /// Log of the evidence now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.wealth.log_e()
    }

    /// The largest log evidence so far (0 at the start). `exp(−max)` is the anytime p-value.
    #[must_use]
    pub fn max_log_e(&self) -> f64 {
        self.wealth.max_log_e()
    }

    /// How the process was set up.
    #[must_use]
    pub fn params(&self) -> &RateParams {
        &self.params
    }
}

/// `count · ln(1 + x)`, without a logarithm when there is nothing to count.
pub(crate) fn times(count: u64, x: f64) -> f64 {
    if count == 0 { 0.0 } else { count as f64 * ln_1p(x) }
}
