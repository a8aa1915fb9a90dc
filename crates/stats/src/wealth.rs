//! The wealth of parallel bets, with or without restarts.
//!
//! Without restarts the wealth is the plain average of the bets. With restarts each bet is a mixture
//! over start times, so that harm that begins late is not paid for by the bets lost before
//! (docs/internals/guards.md, §6; after Shiryaev and Roberts, in the e-detector form of
//! Shin, Ramdas & Rinaldo 2024).

use serde::{Deserialize, Serialize};

use crate::bet::MAX_BETS;
use crate::math::{LN_2, ln, log_add_exp, log_sum_exp};

/// Mass that starts at the first block.
const FIRST: f64 = 0.5;
/// Time scale of the start times, in observations of the new arm.
const SCALE: f64 = 100.0;

/// When the mass that starts at a block joins its bet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joins {
    /// Before the block counts: the arm counts of the block were known beforehand.
    Before,
    /// After the block counts: the arm itself was random, so the mass may not depend on it and bet on it.
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wealth {
    /// Log wealth of each bet; entries from `bets` on are unused.
    log_r: [f64; MAX_BETS],
    bets: u8,
    /// `None`: no restarts. `Some(n)`: observations of the new arm so far.
    clock: Option<u64>,
    log_e: f64,
    max_log_e: f64,
}

/// `S(n)`: the mass whose start time is later than `n` observations of the new arm.
fn survival(n: u64) -> f64 {
    LN_2 / ln(2.0 + n as f64 / SCALE)
}

impl Wealth {
    pub(crate) fn new(bets: usize, restarts: bool) -> Self {
        let start = if restarts { ln(FIRST) } else { 0.0 };
        Self {
            log_r: [start; MAX_BETS],
            bets: bets.min(MAX_BETS) as u8,
            clock: restarts.then_some(0),
            log_e: 0.0,
            max_log_e: 0.0,
        }
    }

    /// One block: multiplies every bet by its factor (given as logs).
    pub(crate) fn step(&mut self, n_new: u64, log_l: &[f64; MAX_BETS], joins: Joins) {
        let bets = usize::from(self.bets);
        let mut waiting = f64::NEG_INFINITY;
        let mut log_w = f64::NEG_INFINITY;
        if let Some(n) = self.clock {
            let later = n.saturating_add(n_new);
            let left = survival(later);
            // Written as a difference of two survivals: what is given out and what is left always add up.
            let w = (1.0 - FIRST) * (survival(n) - left);
            if w > 0.0 {
                log_w = ln(w);
            }
            waiting = ln((1.0 - FIRST) * left);
            self.clock = Some(later);
        }
        for (r, l) in self.log_r.iter_mut().zip(log_l).take(bets) {
            *r = match joins {
                Joins::Before if log_w > f64::NEG_INFINITY => log_add_exp(*r, log_w) + l,
                Joins::After if log_w > f64::NEG_INFINITY => log_add_exp(*r + l, log_w),
                Joins::Before | Joins::After => *r + l,
            };
        }
        let mean = log_sum_exp(&self.log_r[..bets]) - ln(bets as f64);
        self.log_e = log_add_exp(mean, waiting);
        self.max_log_e = self.max_log_e.max(self.log_e);
    }

    pub(crate) fn log_e(&self) -> f64 {
        self.log_e
    }

    pub(crate) fn max_log_e(&self) -> f64 {
        self.max_log_e
    }
}
