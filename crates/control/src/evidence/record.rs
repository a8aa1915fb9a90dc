//! One entry of the event log: everything the evidence is folded from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::watch::{Stratum, Watch};
use crate::event::Event;
use crate::ids::{Place, RolloutId, Timestamp, Unit};

/// The version of the encoding; the first byte of every record.
const VERSION: u8 = 1;

/// One entry of the event log, in the order in which it takes effect.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Record {
    /// Events that were accepted together.
    Batch {
        /// The environment whose key sent them.
        place: Place,
        /// When the server took them in.
        received: Timestamp,
        /// The events, in the order sent.
        events: Vec<Event>,
    },
    /// A look: requests that are old enough enter their blocks, and blocks that may close do.
    Tick {
        /// The time of the look; earlier than a previous one counts as that one.
        now: Timestamp,
    },
    /// A rollout begins to be watched, with its first stratum.
    Watch {
        /// What is watched.
        watch: Box<Watch>,
        /// The first stratum.
        stratum: Stratum,
    },
    /// A rollout's split changed: a new stratum begins, the one before it ends.
    Stratum {
        /// The rollout.
        rollout: RolloutId,
        /// The new stratum.
        stratum: Stratum,
    },
    /// A rollout ended. Outcomes of what was served before are still taken in until they can no longer come.
    Ended {
        /// The rollout.
        rollout: RolloutId,
        /// When.
        at: Timestamp,
    },
    /// A decision was committed at this point of the log. No effect on the evidence; a replay knows by it
    /// which decisions were taken and takes none of them again.
    Decided {
        /// The rollout.
        rollout: RolloutId,
        /// When.
        at: Timestamp,
        /// The revision it was committed as.
        revision: u64,
        /// The decision's stable code.
        what: String,
    },
    /// Everything held about a unit is forgotten. Sums it already entered stay: they hold no unit.
    Erase {
        /// The environment.
        place: Place,
        /// The unit.
        unit: Unit,
    },
    /// A finished rollout's evidence is no longer needed: its state and block log are dropped.
    Forget {
        /// The rollout.
        rollout: RolloutId,
    },
}

/// Why bytes are not a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadRecord {
    /// Nothing there.
    Empty,
    /// Written by a version this one does not read.
    Version(u8),
    /// The bytes do not decode.
    Malformed,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the log record is empty"),
            Self::Version(v) => {
                write!(f, "the log record has version {v}; this program reads version {VERSION}")
            }
            Self::Malformed => f.write_str("the log record does not decode"),
        }
    }
}

impl std::error::Error for BadRecord {}

impl Record {
    /// The record's bytes, as the log holds them: a version byte, then the compact encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION])
            .expect("writing into memory does not fail, and every part has a length")
    }

    /// Reads a record's bytes back.
    ///
    /// # Errors
    /// When the bytes are empty, of another version, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadRecord> {
        match bytes.split_first() {
            None => Err(BadRecord::Empty),
            Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| BadRecord::Malformed),
            Some((&version, _)) => Err(BadRecord::Version(version)),
        }
    }
}
