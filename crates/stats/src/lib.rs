//! The statistics of the guard: e-processes, sketches and mergeable summaries. No I/O.
//!
//! Plain values in, plain values out. Nothing here reads a clock, a file or a random source, and nothing
//! iterates in an unstable order, so the same blocks give the same bits on every machine: a receipt can
//! be recomputed years later. The ideas and proofs are on one page: docs/internals/guards.md.
//!
//! | module | what it decides or describes |
//! |---|---|
//! | [`bet`] | direction, side, margin: what is tested |
//! | [`rate`] | error rates and quantile guards, per request |

pub mod bet;
pub mod block;
pub mod math;
pub mod mean;
pub mod moments;
pub mod rate;
pub mod unit;
mod wealth;

pub use bet::{Arm, Direction, Grid, Invalid, Margin, Null, Rejected, Side};
pub use block::{MeanBlock, Range};
pub use math::{Sum, e_value, log_normal_cdf};
pub use mean::{MeanBet, MeanParams};
pub use moments::{Moments, PairMoments};
pub use rate::{RateBet, RateBlock, RateParams};
pub use unit::{DesignBet, FirstEvent, user_level};

/// The version of the arithmetic. Changes with every change of a formula, a constant or the order of
/// operations; receipts carry it, and evidence of another version is never continued.
pub const METHOD_VERSION: u32 = 1;
