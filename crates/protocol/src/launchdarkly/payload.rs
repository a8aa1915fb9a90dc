//! Everything that SDKs of one environment get, and what changes from one payload to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensign_control::catalogue::Definitions;
use ensign_eval::model::{Flag, KeyList, Outcome, Segment, USER};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::ai_config;
use super::flag::{Translated, clash, flag};
use super::note::Note;
use super::segment::segment;
use super::wire::{Availability, WireFlag, WireSegment};

/// What a payload is made from.
pub struct Sources<'a> {
    /// Every flag, and who may see it client-side.
    pub flags: Vec<(&'a Arc<Flag>, Availability)>,
    /// Every segment, and the users who opted in.
    pub segments: Vec<(&'a Arc<Segment>, &'a [String])>,
    /// The environment's revision.
    pub revision: u64,
    /// How often opt-ins have changed. They have no revision of their own and change segments all the same.
    pub opt_ins: u64,
}

/// What SDKs would not get of these definitions, or not as it is.
#[must_use]
pub fn notes(definitions: &Definitions) -> Vec<Note> {
    let sources = Sources {
        flags: definitions.flags.iter().map(|flag| (flag, Availability::default())).collect(),
        segments: definitions.segments.iter().map(|segment| (segment, [].as_slice())).collect(),
        revision: 0,
        opt_ins: 0,
    };
    let mut notes = Payload::default().next(&sources).notes;
    notes.extend(definitions.flags.iter().flat_map(|flag| ai_config::notes(flag)));
    notes
}

/// The flags and segments of one environment. Versions only grow from each payload to the next: an item whose content
/// is the same keeps its version, one that changed has at least the revision of its last change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Payload {
    /// The environment's revision.
    pub revision: u64,
    /// By key.
    pub flags: BTreeMap<String, Arc<WireFlag>>,
    /// By key; gates are among them.
    pub segments: BTreeMap<String, Arc<WireSegment>>,
    /// What is to be said about the translation.
    pub notes: Vec<Note>,
    gone_flags: BTreeMap<String, u64>,
    gone_segments: BTreeMap<String, u64>,
    made: BTreeMap<String, Made>,
    /// The hash of each flag and each segment as it is written.
    sums: [BTreeMap<String, u64>; 2],
}

/// A flag and what became of it, so that only what differs is translated again.
#[derive(Debug, Clone, PartialEq)]
struct Made {
    of: Arc<Flag>,
    available: Availability,
    translated: Arc<Translated>,
}

/// A flag or a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A flag.
    Flag(Arc<WireFlag>),
    /// A segment.
    Segment(Arc<WireSegment>),
}

/// A difference between two payloads.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// New, or another version.
    Put(Item),
    /// A flag is gone; the version is higher than its last.
    DeleteFlag {
        /// Its key.
        key: String,
        /// Of the deletion.
        version: u64,
    },
    /// A segment is gone; the version is higher than its last.
    DeleteSegment {
        /// Its key.
        key: String,
        /// Of the deletion.
        version: u64,
    },
}

impl Payload {
    /// The payload after this one.
    #[must_use]
    pub fn next(&self, sources: &Sources<'_>) -> Self {
        let mut next = Self {
            revision: sources.revision,
            gone_flags: self.gone_flags.clone(),
            gone_segments: self.gone_segments.clone(),
            ..Self::default()
        };
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for (source, members) in &sources.segments {
            let whole = with_members(source, members);
            let (wire, notes) = segment(&whole, source.version + sources.opt_ins);
            next.notes.extend(notes);
            taken.insert(source.key.clone(), String::new());
            if let Some(wire) = wire {
                next.put_segment(self, wire);
            }
        }
        for (source, available) in &sources.flags {
            let known = self.made.get(&source.key);
            let known = known.filter(|made| Arc::ptr_eq(&made.of, source) && made.available == *available);
            let translated = match known {
                Some(made) => Arc::clone(&made.translated),
                None => Arc::new(flag(source, source.version, *available)),
            };
            next.notes.extend(translated.notes.iter().cloned());
            if let Some(key) = clash(&translated.gates, &taken, &source.key) {
                let why =
                    format!("its percentage would be a segment \"{key}\", and there is one of that key");
                next.notes.push(Note::left_out("flag", &source.key, &why));
            } else if let Some(wire) = &translated.flag {
                for gate in &translated.gates {
                    taken.insert(gate.key.clone(), source.key.clone());
                    next.put_segment(self, gate.clone());
                }
                let before = self.made.get(&source.key);
                // Events name a flag's version, so a new stratum needs one, also where what is served is the same.
                let strata = before.is_some_and(|before| strata(&before.of).eq(strata(source)));
                next.put_flag(self, wire.clone(), strata);
            }
            let made = Made { of: Arc::clone(source), available: *available, translated };
            next.made.insert(source.key.clone(), made);
        }
        next.bury(self);
        next
    }

    fn put_flag(&mut self, before: &Self, mut wire: WireFlag, same_strata: bool) {
        let old = before.flags.get(&wire.key);
        let kept =
            old.filter(|old| same_strata && WireFlag { version: old.version, ..wire.clone() } == ***old);
        let (item, sum) = match kept {
            Some(old) => (Arc::clone(old), before.sums[0].get(&wire.key).copied()),
            None => {
                let gone = self.gone_flags.remove(&wire.key);
                wire.version = version(wire.version, old.map(|old| old.version), gone);
                (Arc::new(wire), None)
            }
        };
        let sum = sum.unwrap_or_else(|| xxh3_64(text(item.as_ref()).as_bytes()));
        self.sums[0].insert(item.key.clone(), sum);
        self.flags.insert(item.key.clone(), item);
    }

    fn put_segment(&mut self, before: &Self, mut wire: WireSegment) {
        let old = before.segments.get(&wire.key);
        let kept = old.filter(|old| WireSegment { version: old.version, ..wire.clone() } == ***old);
        let (item, sum) = match kept {
            Some(old) => (Arc::clone(old), before.sums[1].get(&wire.key).copied()),
            None => {
                let gone = self.gone_segments.remove(&wire.key);
                wire.version = version(wire.version, old.map(|old| old.version), gone);
                (Arc::new(wire), None)
            }
        };
        let sum = sum.unwrap_or_else(|| xxh3_64(text(item.as_ref()).as_bytes()));
        self.sums[1].insert(item.key.clone(), sum);
        self.segments.insert(item.key.clone(), item);
    }

    /// What was there before and is not any more gets a version for its grave.
    fn bury(&mut self, before: &Self) {
        for (key, old) in before.flags.iter().filter(|(key, _)| !self.flags.contains_key(*key)) {
            self.gone_flags.insert(key.clone(), self.revision.max(old.version + 1));
        }
        for (key, old) in before.segments.iter().filter(|(key, _)| !self.segments.contains_key(*key)) {
            self.gone_segments.insert(key.clone(), self.revision.max(old.version + 1));
        }
    }

    /// Names the content: the same flags and segments at the same versions have the same tag, in every process.
    #[must_use]
    pub fn tag(&self) -> u64 {
        let all: Vec<u8> =
            self.sums.iter().flat_map(|sums| sums.values()).flat_map(|sum| sum.to_le_bytes()).collect();
        xxh3_64(&all)
    }

    /// What is different, in the order in which an SDK must hear of it: a segment before the flag that asks it.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<Change> {
        let mut all = Vec::new();
        for (key, segment) in &self.segments {
            if before.segments.get(key).is_none_or(|old| old.version != segment.version) {
                all.push(Change::Put(Item::Segment(Arc::clone(segment))));
            }
        }
        for (key, flag) in &self.flags {
            if before.flags.get(key).is_none_or(|old| old.version != flag.version) {
                all.push(Change::Put(Item::Flag(Arc::clone(flag))));
            }
        }
        for key in before.flags.keys().filter(|key| !self.flags.contains_key(*key)) {
            let version = self.gone_flags.get(key).copied().unwrap_or(self.revision);
            all.push(Change::DeleteFlag { key: key.clone(), version });
        }
        for key in before.segments.keys().filter(|key| !self.segments.contains_key(*key)) {
            let version = self.gone_segments.get(key).copied().unwrap_or(self.revision);
            all.push(Change::DeleteSegment { key: key.clone(), version });
        }
        all
    }

    /// `{"flags": {…}, "segments": {…}}`: the answer of a poll and the data of a `put`.
    #[must_use]
    pub fn data(&self) -> String {
        #[derive(Serialize)]
        struct Data<'a> {
            flags: BTreeMap<&'a str, &'a WireFlag>,
            segments: BTreeMap<&'a str, &'a WireSegment>,
        }
        text(&Data {
            flags: self.flags.iter().map(|(key, flag)| (key.as_str(), flag.as_ref())).collect(),
            segments: self.segments.iter().map(|(key, segment)| (key.as_str(), segment.as_ref())).collect(),
        })
    }
}

impl Item {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Item::Flag(flag) => &flag.key,
            Item::Segment(segment) => &segment.key,
        }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        match self {
            Item::Flag(flag) => flag.version,
            Item::Segment(segment) => segment.version,
        }
    }

    /// Its JSON.
    #[must_use]
    pub fn json(&self) -> String {
        match self {
            Item::Flag(flag) => text(flag.as_ref()),
            Item::Segment(segment) => text(segment.as_ref()),
        }
    }
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("members are plain data with text as keys")
}

/// The splits of a flag with their epochs.
fn strata(flag: &Flag) -> impl Iterator<Item = (u64, u32)> {
    let outcomes = flag.rules.iter().map(|rule| &rule.outcome).chain([&flag.fallthrough]);
    outcomes.filter_map(|outcome| match outcome {
        Outcome::Split(split) => Some((split.id.0, split.epoch)),
        Outcome::Fixed(_) | Outcome::Gate { .. } => None,
    })
}

/// Higher than anything this key ever had.
fn version(own: u64, old: Option<u64>, gone: Option<u64>) -> u64 {
    let last = old.max(gone);
    last.map_or(own, |last| own.max(last + 1))
}

/// Members are included keys: whoever opted in is in, whatever the rules say.
fn with_members(segment: &Segment, members: &[String]) -> Segment {
    let mut segment = segment.clone();
    if !members.is_empty() {
        segment.included.push(KeyList { kind: USER.to_owned(), keys: members.to_vec() });
    }
    segment
}
