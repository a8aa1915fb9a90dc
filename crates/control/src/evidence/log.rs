//! The block log: what a receipt holds, and what an automatic decision is recomputed from.

use std::fmt;

use ensign_stats::METHOD_VERSION;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::closer::Closer;
use super::entry::{Entry, Look};
use super::report::Evidence;
use super::watch::{Stratum, Watch};

/// A chunk is full from this size on.
const CHUNK: usize = 64 * 1024;

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
    let (watch, entries) = read(log)?;
    let mut closer = Closer::new(watch);
    let Some((last, entries)) = entries.split_last() else { return Err(BadLog::Entry(0)) };
    for (at, entry) in (1_u64..).zip(entries) {
        if !closer.take(entry) {
            return Err(BadLog::Entry(at));
        }
    }
    match last {
        Entry::Look(look) => Ok(closer.evidence(look)),
        Entry::Start { .. }
        | Entry::Stratum { .. }
        | Entry::Cap { .. }
        | Entry::Threshold { .. }
        | Entry::Block { .. }
        | Entry::Late { .. }
        | Entry::Labels { .. }
        | Entry::Units { .. }
        | Entry::UnitLabels { .. }
        | Entry::Exposed { .. } => Err(BadLog::Entry(closer.entries())),
    }
}

/// The watch and the strata a block log was taken under: what a receipt shows beside the numbers.
///
/// # Errors
/// As [`replay`].
pub fn contents(log: &BlockLog) -> Result<(Watch, Vec<Stratum>), BadLog> {
    let (watch, entries) = read(log)?;
    let strata = entries
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Stratum { stratum, .. } => Some(stratum),
            Entry::Start { .. }
            | Entry::Cap { .. }
            | Entry::Threshold { .. }
            | Entry::Block { .. }
            | Entry::Late { .. }
            | Entry::Labels { .. }
            | Entry::Units { .. }
            | Entry::UnitLabels { .. }
            | Entry::Exposed { .. }
            | Entry::Look(_) => None,
        })
        .collect();
    Ok((watch, strata))
}

fn read(log: &BlockLog) -> Result<(Watch, Vec<Entry>), BadLog> {
    let mut head = [0; 32];
    let mut rest = log.bytes.as_slice();
    let mut raw = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<4>().ok_or(BadLog::Chain)?;
        let length = u32::from_le_bytes(*length) as usize;
        let entry = tail.get(..length).ok_or(BadLog::Chain)?;
        head = link(head, entry);
        raw.push(entry);
        rest = &tail[length..];
    }
    if head != log.head {
        return Err(BadLog::Chain);
    }
    let mut raw = raw.into_iter().zip(0_u64..);
    let watch = match raw.next().map(|(bytes, _)| postcard::from_bytes(bytes)) {
        Some(Ok(Entry::Start { method, watch })) if method == METHOD_VERSION => *watch,
        Some(Ok(Entry::Start { method, .. })) => return Err(BadLog::Method(method)),
        Some(Ok(_) | Err(_)) | None => return Err(BadLog::Entry(0)),
    };
    let entries: Result<Vec<Entry>, BadLog> =
        raw.map(|(bytes, at)| postcard::from_bytes(bytes).map_err(|_| BadLog::Entry(at))).collect();
    Ok((watch, entries?))
}

fn link(head: [u8; 32], entry: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(head);
    hash.update(entry);
    hash.finalize().into()
}

/// The growing block log of a running rollout, in chunks: only the last one still changes.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct LogWriter {
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) head: [u8; 32],
    /// The first chunk that was not written to a checkpoint since it changed.
    pub(crate) dirty_from: usize,
}

impl LogWriter {
    pub(crate) fn push(&mut self, entry: &Entry) {
        let bytes = encode(entry);
        self.head = link(self.head, &bytes);
        if self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.chunks.push(Vec::new());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.extend((bytes.len() as u32).to_le_bytes());
            chunk.extend(&bytes);
        }
    }

    /// The log up to now, closed by a look.
    pub(crate) fn at(&self, look: Look) -> BlockLog {
        let look = encode(&Entry::Look(Box::new(look)));
        let mut bytes = self.chunks.concat();
        bytes.extend((look.len() as u32).to_le_bytes());
        bytes.extend(&look);
        BlockLog { bytes, head: link(self.head, &look) }
    }
}

fn encode(entry: &Entry) -> Vec<u8> {
    postcard::to_stdvec(entry).expect("writing into memory does not fail, and every part has a length")
}
