//! What one environment serves: swapped whole, read without a lock.

mod book;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ensign_control::catalogue::Catalogue;
use ensign_control::ids::{Place, Revision};
use ensign_eval::model::{Flag, KeyList, Segment, USER};
use ensign_eval::{Changes, Ruleset};
use tokio::sync::watch;

use crate::image::Image;
use crate::ingest::{BookKeys, PlaceBook};

/// Which configuration is served. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version {
    /// The environment's revision.
    pub revision: Revision,
    /// Rises with each kill that holds in memory only, and with each change of opt-ins.
    pub overlay: u64,
}

/// A snapshot of one environment.
pub struct Serving {
    /// Which configuration this is.
    pub version: Version,
    /// What evaluates.
    pub ruleset: Ruleset,
    /// The definitions by key.
    pub flags: BTreeMap<String, Arc<Flag>>,
    segments: BTreeMap<String, Opted>,
    /// What events need to know of it.
    pub book: PlaceBook,
    /// What is wrong with single items; each is served as well as it can be.
    pub problems: Vec<ensign_eval::Problem>,
}

/// A segment and how many opted in when it was compiled.
#[derive(Debug, Clone)]
struct Opted {
    segment: Arc<Segment>,
    members: Vec<String>,
}

impl Serving {
    /// An environment without flags.
    fn empty(place: &Place, keys: &BookKeys) -> Self {
        Self {
            version: Version::default(),
            ruleset: Ruleset::default(),
            flags: BTreeMap::new(),
            segments: BTreeMap::new(),
            book: PlaceBook::new(place.clone(), keys.clone(), [], [], []),
            problems: Vec::new(),
        }
    }

    /// The next snapshot: only what differs from the one before is compiled.
    pub(crate) fn build(
        place: &Place,
        keys: &BookKeys,
        version: Version,
        catalogue: &Catalogue,
        image: &Image,
        before: &Self,
    ) -> Self {
        let definitions = catalogue.compile(place);
        let flags: BTreeMap<String, Arc<Flag>> =
            definitions.flags.into_iter().map(|flag| (flag.key.clone(), flag)).collect();
        let members = |key: &str| image.members(place, key).into_iter().flatten().cloned().collect();
        let segments: BTreeMap<String, Opted> = definitions
            .segments
            .into_iter()
            .map(|segment| {
                let members = members(&segment.key);
                (segment.key.clone(), Opted { segment, members })
            })
            .collect();
        let same =
            |key: &str, flag: &Arc<Flag>| before.flags.get(key).is_some_and(|old| Arc::ptr_eq(old, flag));
        let changed_flags: Vec<Flag> = flags
            .iter()
            .filter(|(key, flag)| !same(key, flag))
            .map(|(_, flag)| flag.as_ref().clone())
            .collect();
        let changed_segments: Vec<Segment> = segments
            .iter()
            .filter(|(key, now)| before.segments.get(*key).is_none_or(|old| old.differs(now)))
            .map(|(_, now)| now.with_members())
            .collect();
        let gone = |old: &mut dyn Iterator<Item = &String>, has: &dyn Fn(&str) -> bool| -> Vec<String> {
            old.filter(|key| !has(key)).cloned().collect()
        };
        let (ruleset, problems) = before.ruleset.with_changes(Changes {
            flags: &changed_flags,
            segments: &changed_segments,
            removed_flags: &gone(&mut before.flags.keys(), &|key| flags.contains_key(key)),
            removed_segments: &gone(&mut before.segments.keys(), &|key| segments.contains_key(key)),
        });
        let book = book::of(place, keys, image, &flags);
        Self { version, ruleset, flags, segments, book, problems }
    }
}

impl Opted {
    fn differs(&self, other: &Self) -> bool {
        !Arc::ptr_eq(&self.segment, &other.segment) || self.members != other.members
    }

    /// Members are included keys: whoever opted in is in, whatever the rules say.
    fn with_members(&self) -> Segment {
        let mut segment = self.segment.as_ref().clone();
        if !self.members.is_empty() {
            segment.included.push(KeyList { kind: USER.to_owned(), keys: self.members.clone() });
        }
        segment
    }
}

/// One environment: what it serves now, and who wants to know when that changes.
pub struct PlaceState {
    /// Where.
    pub place: Place,
    /// Its secrets.
    pub(crate) keys: BookKeys,
    serving: ArcSwap<Serving>,
    announce: watch::Sender<Version>,
}

impl PlaceState {
    pub(crate) fn new(place: Place, keys: BookKeys) -> Self {
        let serving = Serving::empty(&place, &keys);
        let announce = watch::Sender::new(serving.version);
        Self { place, keys, serving: ArcSwap::from_pointee(serving), announce }
    }

    /// What is served now.
    #[must_use]
    pub fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// Says when another version is served. Only a signal: read [`PlaceState::serving`] after it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Version> {
        self.announce.subscribe()
    }

    /// Serves something else from now on, and says so.
    pub(crate) fn swap(&self, serving: Serving) {
        let version = serving.version;
        self.serving.store(Arc::new(serving));
        self.announce.send_replace(version);
    }
}
