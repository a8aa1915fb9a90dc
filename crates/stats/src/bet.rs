//! What is being tested: direction, side, margin, and the numbers that follow from them.
//!
//! Formulas and proofs: docs/internals/guards.md, §1–§3.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which of the two groups a unit or request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Arm {
    /// The units that keep what was there before.
    Control,
    /// The units that receive the variant on trial.
    New,
}

/// Which way a metric gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// An increase is bad: errors, latency, tokens, cost.
    Up,
    /// A decrease is bad: scores, ratings, completion.
    Down,
}

impl Direction {
    /// `s` of the formulas: +1 when an increase is bad, −1 when a decrease is bad.
    #[must_use]
    pub fn sign(self) -> f64 {
        match self {
            Self::Up => 1.0,
            Self::Down => -1.0,
        }
    }
}

/// What a process gathers evidence for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Evidence that the new variant is worse by more than the margin.
    Harm,
    /// Evidence that the new variant is not worse by as much as the margin.
    Safe,
}

impl Side {
    /// `b` of the formulas: the direction of the bet. Harm bets with the metric, safe against it.
    #[must_use]
    pub fn bet_sign(self, direction: Direction) -> f64 {
        match self {
            Self::Harm => direction.sign(),
            Self::Safe => -direction.sign(),
        }
    }
}

/// How much worse is acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Margin {
    /// As a share of control's mean: 0.2 accepts 20 % more (or less, if a decrease is bad).
    Relative(f64),
    /// In the metric's unit.
    Absolute(f64),
}

impl Margin {
    /// Turns the margin into the null hypothesis "new is not worse than control by more than this".
    ///
    /// A relative margin `r` gives `θ0 = 1 + r` (an increase is bad) or `1 − r`; an absolute one gives `δ`.
    ///
    /// # Errors
    /// [`Invalid::Margin`] when the margin is negative or not a number, or when a relative margin of a
    /// metric whose decrease is bad is 1 or more.
    pub fn null(self, direction: Direction) -> Result<Null, Invalid> {
        match self {
            Self::Relative(r) => Null::new(direction, 1.0 + direction.sign() * r, 0.0)
                .and_then(|null| if r >= 0.0 { Ok(null) } else { Err(Invalid::Margin) }),
            Self::Absolute(delta) => Null::new(direction, 1.0, delta),
        }
    }
}

/// A one-sided null hypothesis: `s·(E[Y_new]/θ0 − s·δ − E[Y_control]) ≤ 0`. Valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Null {
    direction: Direction,
    theta0: f64,
    delta: f64,
}

impl Null {
    /// A null with both a factor `theta0` (1e-9 to 1e9) and a shift `delta` (0 to 1e18, in the metric's unit).
    ///
    /// # Errors
    /// [`Invalid::Margin`] when either is outside its range or not finite.
    pub fn new(direction: Direction, theta0: f64, delta: f64) -> Result<Self, Invalid> {
        if (1e-9..=1e9).contains(&theta0) && (0.0..=1e18).contains(&delta) {
            Ok(Self { direction, theta0, delta })
        } else {
            Err(Invalid::Margin)
        }
    }

    /// Which way the metric gets worse.
    #[must_use]
    pub fn direction(self) -> Direction {
        self.direction
    }

    /// The factor by which new values are divided before they are compared.
    #[must_use]
    pub fn theta0(self) -> f64 {
        self.theta0
    }

    /// The accepted shift, in the metric's unit.
    #[must_use]
    pub fn delta(self) -> f64 {
        self.delta
    }

    /// `s·δ`: what is taken off a new value after the division.
    pub(crate) fn shift(self) -> f64 {
        self.direction.sign() * self.delta
    }
}

/// The parallel bets of a process: a fixed table, named rather than stored.
///
/// θ-grids hold the ratios a rate bet is best for (relative to θ0); the d-grid the standardised effects
/// a mean bet is best for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grid {
    /// Rates, harm: from a tenth more to thirty times more.
    RateHarm,
    /// Rates, safe.
    RateSafe,
    /// Share of values above a quantile of control, harm.
    ExceedanceHarm,
    /// Bounded or winsorised values, either side.
    Effect,
}

/// The largest number of parallel bets in any grid.
pub(crate) const MAX_BETS: usize = 8;

impl Grid {
    /// The bets, in order.
    #[must_use]
    pub fn points(self) -> &'static [f64] {
        match self {
            Self::RateHarm => &[1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0],
            Self::RateSafe => &[0.05, 0.2, 0.4, 0.6, 0.8, 0.9],
            Self::ExceedanceHarm => &[1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0],
            Self::Effect => &[0.05, 0.1, 0.2, 0.4, 0.8, 1.6],
        }
    }
}

/// Why a process could not be set up. A mistake of the definition, not of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The margin is negative, not finite, or leaves nothing to compare.
    Margin,
    /// A rate needs a relative margin and an increase that is bad.
    RateForm,
    /// The winsorising cap is not a positive number.
    Cap,
    /// The bet cap is not strictly between 0 and 1.
    BetCap,
    /// The centre is outside its range.
    Centre,
    /// A share or weight is outside its range.
    Share,
    /// A grid of the other family.
    Grid,
}

impl Invalid {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Margin => "margin_invalid",
            Self::RateForm => "rate_form_invalid",
            Self::Cap => "cap_invalid",
            Self::BetCap => "bet_cap_invalid",
            Self::Centre => "centre_invalid",
            Self::Share => "share_invalid",
            Self::Grid => "grid_invalid",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Margin => {
                "the margin must be a finite number, zero or more, and below 1 when relative and a decrease is bad"
            }
            Self::RateForm => "a rate guardrail needs a relative margin and a metric whose increase is bad",
            Self::Cap => "the winsorising cap must be a positive, finite number",
            Self::BetCap => "the bet cap must lie strictly between 0 and 1",
            Self::Centre => "the centre must be a finite number in the range of the metric",
            Self::Share => "shares and weights must lie between 0 and 1",
            Self::Grid => "this grid of bets belongs to another family",
        })
    }
}

impl std::error::Error for Invalid {}

/// Why data was not taken in. The state is unchanged; the caller counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// More events than trials, or more trials than a float counts exactly (2⁵³).
    Counts,
    /// One arm is empty: the block stays open, or is dropped when its stratum ends.
    EmptyArm,
    /// Not a number, infinite, or outside the metric's range.
    Value,
    /// The share of the new arm is not strictly between 0 and 1.
    Share,
    /// The two summaries are of different shape (range, bins, accuracy) and cannot be put together.
    Shape,
}

impl Rejected {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Counts => "counts_inconsistent",
            Self::EmptyArm => "arm_empty",
            Self::Value => "value_out_of_range",
            Self::Share => "share_out_of_range",
            Self::Shape => "shape_mismatch",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counts => "the counts do not fit together",
            Self::EmptyArm => "one arm has no data",
            Self::Value => "the value is not a number in the metric's range",
            Self::Share => "the share must lie strictly between 0 and 1",
            Self::Shape => "the summaries have different shapes",
        })
    }
}

impl std::error::Error for Rejected {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(margin: Margin, direction: Direction, expected: Result<(f64, f64), Invalid>) {
        assert_eq!(margin.null(direction).map(|n| (n.theta0(), n.delta())), expected);
    }

    #[test]
    fn margins_become_factors_or_shifts() {
        check(Margin::Relative(0.25), Direction::Up, Ok((1.25, 0.0)));
        check(Margin::Relative(0.25), Direction::Down, Ok((0.75, 0.0)));
        check(Margin::Absolute(0.02), Direction::Down, Ok((1.0, 0.02)));
        check(Margin::Relative(0.0), Direction::Up, Ok((1.0, 0.0)));
    }

    #[test]
    fn senseless_margins_are_refused() {
        check(Margin::Relative(1.0), Direction::Down, Err(Invalid::Margin));
        check(Margin::Relative(-0.1), Direction::Up, Err(Invalid::Margin));
        check(Margin::Absolute(f64::NAN), Direction::Up, Err(Invalid::Margin));
        check(Margin::Absolute(-0.1), Direction::Up, Err(Invalid::Margin));
        check(Margin::Relative(f64::INFINITY), Direction::Up, Err(Invalid::Margin));
    }
}
