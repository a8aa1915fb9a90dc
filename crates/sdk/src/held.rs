//! What is held: definitions as they came, and compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensign_control::ids::{FlagId, Key, Place};
use ensign_control::subject::{unit_of, unit_word};
use ensign_control::token::TokenKey;
use ensign_eval::model::{self, AllocationId, Flag, Segment, ValueKind};
use ensign_eval::{Changes, Context, FlagHandle, Ruleset, Silent};
use ensign_protocol::stream::{
    Attribution, BadItem, Patch, Position, Put, VERSION, flag_from_json, segment_from_json,
};
use rustc_hash::FxHashMap;
use serde_json::Value as Json;

use crate::answer::Answer;

/// What reports say of a flag.
#[derive(Debug)]
pub(crate) struct FlagInfo {
    pub(crate) key: Arc<str>,
    pub(crate) kind: ValueKind,
    /// Its number in tokens, once the environment is known.
    pub(crate) definition: Flag,
}

impl FlagInfo {
    /// The unit that a decision goes by, and its word in events.
    pub(crate) fn unit(&self, allocation: Option<AllocationId>) -> (model::Unit, String) {
        let unit = unit_of(&self.definition, allocation).cloned().unwrap_or_else(model::Unit::user);
        let word = unit_word(&unit);
        (unit, word)
    }
}

/// The environment and what its tokens are made with.
#[derive(Debug, Clone)]
pub(crate) struct Signing {
    pub(crate) place: Place,
    pub(crate) unit_key: [u8; 16],
    pub(crate) key: TokenKey,
}

impl Signing {
    pub(crate) fn of(place: &str, attribution: &Attribution) -> Option<Self> {
        let (project, environment) = place.split_once('/')?;
        let place = Place { project: project.parse().ok()?, environment: environment.parse().ok()? };
        let (unit_key, key) = attribution.keys()?;
        Some(Self { place, unit_key, key })
    }

    pub(crate) fn flag(&self, key: &str) -> Option<FlagId> {
        Some(FlagId::of(&self.place, &key.parse::<Key>().ok()?))
    }
}

/// One version of the ruleset: immutable, shared, swapped whole.
#[derive(Debug, Default)]
pub struct Snapshot {
    ruleset: Ruleset,
    flags: FxHashMap<FlagHandle, Arc<FlagInfo>>,
    at: Option<Position>,
    problems: Vec<String>,
    pub(crate) signing: Option<Signing>,
}

impl Snapshot {
    /// Which revision it is; none before the first.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.at.as_ref().map(|at| at.revision)
    }

    /// What is wrong with single items, as sentences; each is served as well as it can be.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The keys of all flags, in no particular order.
    pub fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.values().map(|info| &*info.key)
    }

    /// The compiled ruleset, for callers that look flags up once.
    #[must_use]
    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// Evaluates without noting anything.
    #[inline]
    #[must_use]
    pub fn peek<'s>(&'s self, flag: &str, context: &impl Context) -> Answer<'s> {
        match self.ruleset.flag(flag) {
            Some(handle) => self.peek_by(handle, context),
            None => Answer::not_found(self),
        }
    }

    /// As [`Snapshot::peek`], for a flag that was looked up in this ruleset or one before it.
    #[inline]
    #[must_use]
    pub fn peek_by<'s>(&'s self, flag: FlagHandle, context: &impl Context) -> Answer<'s> {
        let evaluation = self.ruleset.evaluate(flag, context, &mut Silent);
        Answer { evaluation, snapshot: self, handle: Some(flag) }
    }

    #[inline]
    pub(crate) fn info(&self, flag: FlagHandle) -> Option<&Arc<FlagInfo>> {
        self.flags.get(&flag)
    }
}

/// The definitions as they came, to make the next snapshot and the copy on disk of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) at: Option<Position>,
    flags: BTreeMap<String, Json>,
    segments: BTreeMap<String, Json>,
    ruleset: Ruleset,
    infos: FxHashMap<FlagHandle, Arc<FlagInfo>>,
    /// Items that are not understood, by key, so that each is named until it is mended.
    bad: BTreeMap<String, String>,
    compiled: Vec<String>,
    pub(crate) signing: Option<Signing>,
}

impl Held {
    /// What is held as a frame.
    pub(crate) fn to_put(&self) -> Option<Put> {
        let at = self.at.clone()?;
        Some(Put { v: VERSION, at, flags: self.flags.clone(), segments: self.segments.clone() })
    }

    /// Replaces everything. The keys of flags that may answer differently.
    pub(crate) fn put(&mut self, put: Put) -> Vec<String> {
        let difference = |old: &BTreeMap<String, Json>, new: BTreeMap<String, Json>| {
            let mut all: BTreeMap<String, Option<Json>> =
                old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), None)).collect();
            all.extend(
                new.into_iter()
                    .filter(|(key, json)| old.get(key) != Some(json))
                    .map(|(key, json)| (key, Some(json))),
            );
            all
        };
        let flags = difference(&self.flags, put.flags);
        let segments = difference(&self.segments, put.segments);
        let from = self.at.as_ref().map(|at| at.cursor.clone()).unwrap_or_default();
        self.patch(Patch { v: put.v, from, at: put.at, flags, segments })
    }

    /// Changes what a patch names. The keys of flags that may answer differently.
    pub(crate) fn patch(&mut self, patch: Patch) -> Vec<String> {
        let (mut flags, mut gone_flags): (Vec<Flag>, Vec<String>) = Default::default();
        for (key, json) in patch.flags {
            take_in(&mut self.bad, &key, json.as_ref().map(|json| flag_from_json(&key, json)))
                .map_or_else(|| gone_flags.push(key.clone()), |flag| flags.push(flag));
            put_in(&mut self.flags, key, json);
        }
        let (mut segments, mut gone_segments): (Vec<Segment>, Vec<String>) = Default::default();
        for (key, json) in patch.segments {
            take_in(&mut self.bad, &key, json.as_ref().map(|json| segment_from_json(&key, json)))
                .map_or_else(|| gone_segments.push(key.clone()), |segment| segments.push(segment));
            put_in(&mut self.segments, key, json);
        }
        for handle in gone_flags.iter().filter_map(|key| self.ruleset.flag(key)) {
            self.infos.remove(&handle);
        }
        let (ruleset, problems) = self.ruleset.with_changes(Changes {
            flags: &flags,
            segments: &segments,
            removed_flags: &gone_flags,
            removed_segments: &gone_segments,
        });
        self.ruleset = ruleset;
        self.compiled = problems.iter().map(ToString::to_string).collect();
        self.at = Some(patch.at);
        let mut changed: Vec<String> = flags.iter().map(|flag| flag.key.clone()).chain(gone_flags).collect();
        for flag in flags {
            if let Some(handle) = self.ruleset.flag(&flag.key) {
                let info = FlagInfo { key: flag.key.as_str().into(), kind: flag.kind, definition: flag };
                self.infos.insert(handle, Arc::new(info));
            }
        }
        if !segments.is_empty() || !gone_segments.is_empty() {
            // Whoever asks a segment asks something of the context.
            let depends = |(key, handle): (&str, FlagHandle)| {
                self.ruleset.depends_on_context(handle).then(|| key.to_owned())
            };
            changed.extend(self.ruleset.flags().filter_map(depends));
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// The snapshot of what is held.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let problems = self.bad.iter().map(|(key, why)| format!("{key}: {why}"));
        Snapshot {
            ruleset: self.ruleset.clone(),
            flags: self.infos.clone(),
            at: self.at.clone(),
            problems: problems.chain(self.compiled.iter().cloned()).collect(),
            signing: self.signing.clone(),
        }
    }
}

/// The item, unless it is gone or not understood; what is not understood is kept as a problem.
fn take_in<T>(bad: &mut BTreeMap<String, String>, key: &str, item: Option<Result<T, BadItem>>) -> Option<T> {
    bad.remove(key);
    match item? {
        Ok(item) => Some(item),
        Err(BadItem { key, why }) => {
            bad.insert(key, why);
            None
        }
    }
}

fn put_in(items: &mut BTreeMap<String, Json>, key: String, json: Option<Json>) {
    match json {
        Some(json) => drop(items.insert(key, json)),
        None => drop(items.remove(&key)),
    }
}
