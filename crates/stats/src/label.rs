//! Label health: do labels go missing more in one arm than in the other?
//!
//! The value tested is "this unit reached the metric's maturity and has its label". Both directions count,
//! so two processes of margin zero are averaged (docs/internals/guards.md, §9).

use serde::{Deserialize, Serialize};

use crate::bet::{Arm, Direction, Invalid, Null, Rejected, Side};
use crate::block::MeanBlock;
use crate::math::{LN_2, log_add_exp};
use crate::mean::{MeanBet, MeanParams};
use crate::rate::RateBlock;
use crate::unit::DesignBet;

fn params(direction: Direction) -> Result<MeanParams, Invalid> {
    let null = Null::new(direction, 1.0, 0.0)?;
    Ok(MeanParams { restarts: false, ..MeanParams::score(null, Side::Harm) })
}

/// Label health when requests are randomised: blocks of matured requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelHealth {
    more: MeanBet,
    fewer: MeanBet,
    max_log_e: f64,
}

impl LabelHealth {
    /// A test before any data.
    ///
    /// # Errors
    /// Never for the fixed margin zero; the signature follows [`Null::new`].
    pub fn new() -> Result<Self, Invalid> {
        Ok(Self {
            more: MeanBet::new(params(Direction::Up)?)?,
            fewer: MeanBet::new(params(Direction::Down)?)?,
            max_log_e: 0.0,
        })
    }

    /// Takes in one closed block: trials are matured requests, events are those with a label.
    ///
    /// # Errors
    /// [`Rejected::Counts`] or [`Rejected::EmptyArm`]; the test is then unchanged.
    pub fn close(&mut self, block: RateBlock) -> Result<(), Rejected> {
        let values = MeanBlock::events(block)?;
        self.more.close(&values)?;
        self.fewer.close(&values)?;
        self.max_log_e = self.max_log_e.max(self.log_e());
        Ok(())
    }

    /// Log of the evidence that labels go missing unequally.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_add_exp(self.more.log_e(), self.fewer.log_e()) - LN_2
    }

    /// The largest log evidence so far (0 at the start).
    #[must_use]
    pub fn max_log_e(&self) -> f64 {
        self.max_log_e
    }
}

/// Label health when users are randomised: each unit's first matured exposure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitLabelHealth {
    more: DesignBet,
    fewer: DesignBet,
    max_log_e: f64,
}

impl UnitLabelHealth {
    /// A test before any data.
    ///
    /// # Errors
    /// Never for the fixed margin zero; the signature follows [`Null::new`].
    pub fn new() -> Result<Self, Invalid> {
        Ok(Self {
            more: DesignBet::new(params(Direction::Up)?)?,
            fewer: DesignBet::new(params(Direction::Down)?)?,
            max_log_e: 0.0,
        })
    }

    /// Takes in one unit: whether its first matured exposure has its label.
    ///
    /// # Errors
    /// [`Rejected::Share`]; the test is then unchanged.
    pub fn observe(&mut self, arm: Arm, share: f64, labelled: bool) -> Result<(), Rejected> {
        let y = f64::from(u8::from(labelled));
        self.more.observe(arm, share, y)?;
        self.fewer.observe(arm, share, y)?;
        self.max_log_e = self.max_log_e.max(self.log_e());
        Ok(())
    }

    /// Log of the evidence that labels go missing unequally.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_add_exp(self.more.log_e(), self.fewer.log_e()) - LN_2
    }

    /// The largest log evidence so far (0 at the start).
    #[must_use]
    pub fn max_log_e(&self) -> f64 {
        self.max_log_e
    }
}
