//! The event log: append-only segments, acknowledged after one fdatasync per batch of groups.
//!
//! A record's position is its number since the log began. A segment is a file with a header and frames; a frame is a
//! length, a checksum that also covers the position, and the payload. In front of each batch stands a mark that says
//! "all before this was durable", so that a damaged frame can be told from a torn tail: a tail has no mark after it.
//!
//! Absent on purpose: what the records mean, an index, and any repair of damaged data that was acknowledged.

mod files;
mod frame;
mod reader;
mod segments;
#[cfg(test)]
mod tests;
pub mod unreliable;
mod writer;

use std::{fmt, io};

pub use files::{Disk, File, Files};
pub use frame::Group;
pub use reader::Reader;
pub use segments::{SegmentInfo, SegmentLog};
pub use writer::{Appended, LogWriter};

use crate::Fault;

/// Sizes of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A segment is closed once it is this long, in bytes.
    pub segment_bytes: u64,
    /// The longest record, in bytes.
    pub record_bytes: u32,
    /// How many groups may wait for the writer before it says that it is busy.
    pub waiting_groups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, record_bytes: 4 << 20, waiting_groups: 1024 }
    }
}

/// Why the log could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogError {
    /// No space left. The group was taken back; later groups are accepted once there is space.
    Full,
    /// Too many groups are waiting. Nothing was written.
    Busy,
    /// A record is longer than [`Limits::record_bytes`], or a group is longer than a segment. Nothing was written.
    TooLarge,
    /// Records before `first` have been dropped.
    Gone {
        /// The first position that is still there.
        first: u64,
    },
    /// Data that was acknowledged is damaged. Nothing is skipped or cut off: a person has to decide.
    Corrupt {
        /// The segment's file name.
        segment: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// A write or a sync failed. It is not known whether the group is on the disk; it was not acknowledged.
    Fault(Fault),
}

impl LogError {
    fn io(doing: &str, name: &str, error: &io::Error) -> Self {
        Self::Fault(Fault::machine(format!("event log: {doing} {name}: {error}")))
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("event log: the disk is full"),
            Self::Busy => f.write_str("event log: too many groups are waiting"),
            Self::TooLarge => f.write_str("event log: the record is too large"),
            Self::Gone { first } => write!(f, "event log: records before {first} have been dropped"),
            Self::Corrupt { segment, offset, why } => {
                write!(f, "event log: segment {segment} is damaged at byte {offset}: {why}")
            }
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for LogError {}

/// Whether an error means that space ran out, as opposed to a disk that failed.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
