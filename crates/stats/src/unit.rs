//! Exact processes per unit: one event or one observation of each unit counts.
//!
//! Requests of one user are alike, so request-level bets are wrong when users are randomised. Taking one
//! item per unit makes the arm a coin again. Derivation: docs/internals/guards.md, §5.

use serde::{Deserialize, Serialize};

use crate::bet::{Arm, Grid, Invalid, MAX_BETS, Null, Rejected};
use crate::math::{LN_2, ln};
use crate::mean::{MeanParams, Pooled, single};
use crate::rate::RateParams;
use crate::wealth::{Joins, Wealth};

fn proper_share(share: f64) -> Result<f64, Rejected> {
    if share > 0.0 && share < 1.0 { Ok(share) } else { Err(Rejected::Share) }
}

/// First observation of each unit: scores, winsorised amounts, exceedances.
///
/// Each observation is a block of its own whose arm is a coin with the design share, so
/// `E[L] = 1 + bλπ(1−π)(μ_T − μ_C) ≤ 1` exactly under the null.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DesignBet {
    params: MeanParams,
    wealth: Wealth,
    pooled: Pooled,
}

impl DesignBet {
    /// A process before any data: log e = 0.
    ///
    /// # Errors
    /// [`Invalid`] when a parameter is outside its range.
    pub fn new(params: MeanParams) -> Result<Self, Invalid> {
        params.check()?;
        Ok(Self {
            params,
            wealth: Wealth::new(Grid::Effect.points().len(), params.restarts),
            pooled: Pooled::default(),
        })
    }

    /// Takes in the first observation of one unit. `share` is the *design* share of the new arm among new
    /// and control in the unit's stratum. Inside a tick, call in the order (event time, unit hash), so that
    /// the number of nodes makes no difference.
    ///
    /// # Errors
    /// [`Rejected::Value`] or [`Rejected::Share`]; the process is then unchanged.
    pub fn observe(&mut self, arm: Arm, share: f64, y: f64) -> Result<(), Rejected> {
        let share = proper_share(share)?;
        if !self.params.range().contains(y) {
            return Err(Rejected::Value);
        }
        let (m, sigma) = self.pooled.centre_and_scale();
        let rest = 1.0 - share;
        let bets = self.params.bets(share, rest, m, sigma);
        let u = self.params.on_scale(arm, y);
        let (n_new, log_l) = match arm {
            Arm::New => (1, single(&bets, rest, u - self.params.shift() - m)),
            Arm::Control => (0, single(&bets, -share, u - m)),
        };
        self.wealth.step(n_new, &log_l, Joins::After);
        self.pooled.add(u, 1);
        Ok(())
    }

    /// Sets the winsorising cap of a new stratum; what was learned is brought to the new scale.
    ///
    /// # Errors
    /// [`Invalid::Cap`] when the cap is not positive, or the metric is not winsorised.
    pub fn set_winsor(&mut self, cap: f64) -> Result<(), Invalid> {
        let old = self.params.winsor.ok_or(Invalid::Cap)?;
        if !(cap > 0.0 && cap.is_finite()) {
            return Err(Invalid::Cap);
        }
        self.pooled.rescale(old / cap);
        self.params.winsor = Some(cap);
        Ok(())
    }

    /// Log of the evidence now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.wealth.log_e()
    }

    /// The largest log evidence so far (0 at the start).
    #[must_use]
    pub fn max_log_e(&self) -> f64 {
        self.wealth.max_log_e()
    }
}

/// First bad event of each unit: rates, harm only.
///
/// It guards the cumulative incidence of the first event. There are no restarts and there is no safe
/// version, because the arm with more events runs out of units without one: late in a rollout first events
/// come mostly from the *better* arm, and a process started then would be misled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstEvent {
    theta0: f64,
    wealth: Wealth,
}

impl FirstEvent {
    /// A process before any data: log e = 0.
    ///
    /// # Errors
    /// [`Invalid::RateForm`] for an absolute margin or a metric whose decrease is bad.
    pub fn new(null: Null) -> Result<Self, Invalid> {
        let params = RateParams::rate(null, crate::bet::Side::Harm)?;
        Ok(Self { theta0: params.theta0, wealth: Wealth::new(params.grid.points().len(), false) })
    }

    /// Takes in the first event of one unit: `P0 = πθ0/(πθ0 + 1 − π)` is the chance that it is a unit of
    /// the new arm if the risk ratio is θ0.
    ///
    /// # Errors
    /// [`Rejected::Share`]; the process is then unchanged.
    pub fn observe(&mut self, arm: Arm, share: f64) -> Result<(), Rejected> {
        let share = proper_share(share)?;
        let rest = 1.0 - share;
        let mut log_l = [0.0; MAX_BETS];
        for (slot, g) in log_l.iter_mut().zip(Grid::RateHarm.points()) {
            let theta = self.theta0 * g;
            // The ratio of the two normalising sums is common to both outcomes.
            let norm = ln((share * self.theta0 + rest) / (share * theta + rest));
            *slot = match arm {
                Arm::New => ln(*g) + norm,
                Arm::Control => norm,
            };
        }
        self.wealth.step(0, &log_l, Joins::Before);
        Ok(())
    }

    /// Log of the evidence now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.wealth.log_e()
    }

    /// The largest log evidence so far (0 at the start).
    #[must_use]
    pub fn max_log_e(&self) -> f64 {
        self.wealth.max_log_e()
    }
}

/// The log evidence of a user-level guardrail: the larger of half the exact and half the cluster process.
///
/// A part that has nothing yet is passed as 0 (e = 1). The maximum and not the sum: the two processes are
/// fair to observers who know different things, and only for the maximum does the union bound hold.
#[must_use]
pub fn user_level(log_e_exact: f64, log_e_cluster: f64) -> f64 {
    log_e_exact.max(log_e_cluster) - LN_2
}
