//! A flag's history, out of the audit log.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::change::Line;
use crate::ids::Timestamp;

/// An audit record of one subject in one scope, as the store has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// Why.
    pub reason: Option<String>,
    /// The entry's diff.
    pub diff: Json,
}

/// One change of a flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The environment's revision that it led to.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// Why.
    pub reason: Option<String>,
    /// What happened.
    pub sentence: String,
    /// What changed.
    pub lines: Vec<Line>,
    /// The state after it, for restoring.
    pub snapshot: Json,
}

/// The changes of one subject in one environment, oldest first. `records` are its audit records in order; `version` is
/// that of the item now. Each record knows the version it was decided on, which is what the one before led to.
pub fn history(records: &[HistoryRecord], version: u64) -> Vec<HistoryEntry> {
    let written: Vec<&HistoryRecord> =
        records.iter().filter(|record| record.diff.get("after").is_some()).collect();
    let mut entries = Vec::new();
    for (at, record) in written.iter().enumerate() {
        let next = written.get(at + 1).and_then(|next| next.diff.get("was")).and_then(Json::as_u64);
        let text = |name: &str| record.diff.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let lines = record.diff.get("lines").cloned().unwrap_or_default();
        entries.push(HistoryEntry {
            revision: next.unwrap_or(version),
            at: record.at,
            actor: record.actor.clone(),
            action: record.action.clone(),
            reason: record.reason.clone(),
            sentence: text("sentence"),
            lines: serde_json::from_value(lines).unwrap_or_default(),
            snapshot: record.diff.get("after").cloned().unwrap_or_default(),
        });
    }
    entries
}
