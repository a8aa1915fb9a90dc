//! The answer to a batch: how many were counted, and every event that was not simply accepted.

use ensign_control::event::Fate;
use serde::Serialize;

use super::Refused;

/// What became of one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// Durable and counted.
    Accepted,
    /// Seen before; counted once.
    Duplicate,
    /// Durable, but no recorded exposure matches it.
    Unattributed,
    /// Not counted; `code` says why.
    Refused,
}

/// One event that was not simply accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Item {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// What became of it.
    pub status: ItemStatus,
    /// Why it was refused: a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Answer {
    /// Events in the batch.
    pub received: usize,
    /// Durable and counted.
    pub accepted: usize,
    /// Seen before.
    pub duplicate: usize,
    /// Durable, but not attributed.
    pub unattributed: usize,
    /// Not counted.
    pub refused: usize,
    /// Every event that was not simply accepted, in order.
    pub items: Vec<Item>,
}

impl Answer {
    /// Adds the next event's fate.
    pub fn fate(&mut self, fate: Fate, prefix: &str) {
        match fate {
            Fate::Accepted => {
                self.received += 1;
                self.accepted += 1;
            }
            Fate::Duplicate => {
                self.duplicate += 1;
                self.plain(ItemStatus::Duplicate);
            }
            Fate::Unattributed => {
                self.unattributed += 1;
                self.plain(ItemStatus::Unattributed);
            }
            Fate::TooOld => {
                let why = Refused::new("too_old", "/time", "The event is older than repeats are recognised.");
                self.refuse(why, prefix);
            }
            Fate::BadValue => {
                self.refuse(Refused::new("bad_value", "", "The value does not fit the metric."), prefix);
            }
            Fate::Full => {
                let detail = "The tables of units or ids are full; send it again later.";
                self.refuse(Refused::new("full", "", detail), prefix);
            }
        }
    }

    /// Adds the next event as refused.
    pub fn refuse(&mut self, why: Refused, prefix: &str) {
        let index = self.received;
        self.received += 1;
        self.refused += 1;
        self.items.push(Item {
            index,
            status: ItemStatus::Refused,
            code: Some(why.code),
            detail: Some(why.detail),
            pointer: Some(format!("{prefix}/{index}{}", why.at)),
        });
    }

    fn plain(&mut self, status: ItemStatus) {
        self.items.push(Item { index: self.received, status, code: None, detail: None, pointer: None });
        self.received += 1;
    }
}
