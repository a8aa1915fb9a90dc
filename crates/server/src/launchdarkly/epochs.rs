//! Which epoch of a split a flag's version carried.
//!
//! Events of LaunchDarkly's SDKs name the flag's version and the rule that decided, not a decision record. The epoch is
//! part of what a flag's version stands for, so version and rule give it, whenever the event arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use ensign_control::catalogue::HistoryEntry;
use ensign_eval::model::{Flag, Outcome};
use rustc_hash::FxHashMap;

/// Versions of one flag that are remembered; older ones are read again from its history.
const REMEMBERED: usize = 256;

/// The rule that stands for the end of the rules.
pub(crate) const FALLTHROUGH: &str = "fallthrough";

/// The epochs of one environment's splits by flag and version.
#[derive(Debug, Default)]
pub(crate) struct Epochs(RwLock<FxHashMap<String, OfFlag>>);

#[derive(Debug, Default)]
struct OfFlag {
    versions: BTreeMap<u64, BTreeMap<String, u32>>,
    /// Whether the history was read.
    read: bool,
}

impl Epochs {
    /// Takes in what is served.
    pub(crate) fn note<'f>(&self, flags: impl Iterator<Item = &'f Flag>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for flag in flags {
            let now = splits(flag);
            if now.is_empty() && !all.contains_key(&flag.key) {
                continue;
            }
            let known = all.entry(flag.key.clone()).or_default();
            known.versions.insert(flag.version, now);
            while known.versions.len() > REMEMBERED {
                known.versions.pop_first();
            }
        }
    }

    /// The epoch of a rule's split in a version of a flag.
    pub(crate) fn get(&self, flag: &str, version: u64, rule: &str) -> Option<u32> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (_, rules) = all.get(flag)?.versions.range(..=version).next_back()?;
        rules.get(rule).copied()
    }

    /// Flags of which these versions are older than what is remembered, and whose history was not read yet.
    pub(crate) fn missing<'v>(&self, asked: impl Iterator<Item = (&'v str, u64)>) -> BTreeSet<String> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let lacks = |flag: &str, version: u64| {
            let known = all.get(flag);
            known.is_none_or(|known| !known.read && known.versions.range(..=version).next_back().is_none())
        };
        asked.filter(|(flag, version)| lacks(flag, *version)).map(|(flag, _)| flag.to_owned()).collect()
    }

    /// Takes in a flag's history.
    pub(crate) fn learn(&self, flag: &str, history: &[HistoryEntry]) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(flag.to_owned()).or_default();
        known.read = true;
        let first = known.versions.keys().next().copied().unwrap_or(u64::MAX);
        for entry in history.iter().rev().take(REMEMBERED).filter(|entry| entry.revision < first) {
            let epochs = entry.snapshot.pointer("/state/epochs").cloned().unwrap_or_default();
            let epochs = serde_json::from_value(epochs).unwrap_or_default();
            known.versions.insert(entry.revision, epochs);
        }
    }
}

fn splits(flag: &Flag) -> BTreeMap<String, u32> {
    let rules = flag.rules.iter().map(|rule| (rule.id.as_str(), &rule.outcome));
    let all = rules.chain([(FALLTHROUGH, &flag.fallthrough)]);
    all.filter_map(|(rule, outcome)| match outcome {
        Outcome::Split(split) => Some((rule.to_owned(), split.epoch)),
        Outcome::Fixed(_) | Outcome::Gate { .. } => None,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use ensign_control::ids::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_has_the_epochs_of_the_last_change_before_it() {
        let epochs = Epochs::default();
        let entry = |revision: u64, epoch: u32| HistoryEntry {
            revision,
            at: Timestamp(0),
            actor: String::new(),
            action: String::new(),
            reason: None,
            sentence: String::new(),
            lines: Vec::new(),
            snapshot: json!({"state": {"epochs": {"fallthrough": epoch}}}),
        };
        assert_eq!(epochs.missing([("model", 7)].into_iter()).len(), 1);
        epochs.learn("model", &[entry(3, 1), entry(6, 2), entry(9, 3)]);
        assert!(epochs.missing([("model", 1)].into_iter()).is_empty());
        for (version, expected) in [(2, None), (3, Some(1)), (5, Some(1)), (8, Some(2)), (20, Some(3))] {
            assert_eq!(epochs.get("model", version, FALLTHROUGH), expected, "{version}");
        }
        assert_eq!(epochs.get("model", 9, "other"), None);
    }
}
