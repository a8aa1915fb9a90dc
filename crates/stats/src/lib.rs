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
//! | [`mean`], [`block`] | scores, ratings, winsorised amounts, per request |
//! | [`mod@unit`], [`cluster`] | the same when units, not requests, are randomised |
//! | [`mod@combine`] | all guardrails together: roll back, hold |
//! | [`srm`], [`label`] | whether the data can be trusted |
//! | [`summary`], [`mixture`], [`quantile`] | estimates with confidence sequences |
//! | [`moments`], [`sketch`] | mergeable summaries |
//! | [`adjust`] | several comparisons at once |
//! | [`experiment`] | fixed-horizon experiments |
//! | [`predict`] | how long it will take |

pub mod adjust;
pub mod bet;
pub mod block;
pub mod cluster;
pub mod combine;
pub mod experiment;
pub mod label;
pub mod math;
pub mod mean;
pub mod mixture;
pub mod moments;
pub mod predict;
pub mod quantile;
pub mod rate;
pub mod sketch;
pub mod special;
pub mod srm;
pub mod summary;
pub mod unit;
mod wealth;

pub use adjust::{bh, ebh, holm, p_anytime};
pub use bet::{Arm, Direction, Grid, Invalid, Margin, Null, Rejected, Side};
pub use block::{MeanBlock, Range};
pub use cluster::{
    ClusterDelta, ClusterEstimate, ClusterFrame, ClusterMixture, ClusterParams, Observation, StratumShare,
    UnitScore,
};
pub use combine::{Combined, Decider, Set, Weighed, combine, default_weight};
pub use label::{LabelHealth, UnitLabelHealth};
pub use math::{Sum, e_value, log_normal_cdf};
pub use mean::{MeanBet, MeanParams};
pub use mixture::{AsympCs, asymp_cs, asymp_cs_for_total};
pub use moments::{Moments, PairMoments};
pub use quantile::quantile_log_e;
pub use rate::{RateBet, RateBlock, RateParams};
pub use sketch::DdSketch;
pub use srm::{Srm, srm_log_e};
pub use summary::{MhEstimate, MhSummary};
pub use unit::{DesignBet, FirstEvent, user_level};

/// The version of the arithmetic. Changes with every change of a formula, a constant or the order of
/// operations; receipts carry it, and evidence of another version is never continued.
pub const METHOD_VERSION: u32 = 1;
