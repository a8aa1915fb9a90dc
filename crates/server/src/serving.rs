//! What one environment serves: swapped whole, read without a lock.

mod book;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ensign_control::catalogue::{Catalogue, RecordKind};
use ensign_control::ids::{Fingerprint, FlagId, Key, Place, Revision, Timestamp};
use ensign_eval::model::{Flag, KeyList, Segment, USER};
use ensign_eval::{Changes, Ruleset};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::watch;

use crate::image::{Image, place_scope};
use crate::ingest::{BookKeys, PlaceBook};
use crate::keys::ClientKeys;
use crate::launchdarkly::clients::Clients;
use crate::launchdarkly::epochs::Epochs;

/// The setting of an environment that makes browsers show a hash of their context.
pub(crate) const SECURE_MODE: &str = "secure_mode";

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
    /// The flags' ids in events.
    pub(crate) ids: FxHashMap<String, FlagId>,
    segments: BTreeMap<String, Opted>,
    /// How often opt-ins have changed, in the whole installation. They change segments and have no revision.
    pub opt_ins: u64,
    /// What flags' documents say about client-side SDKs (`client_side`), by key; flags that say nothing are not here.
    pub client_side: BTreeMap<String, serde_json::Value>,
    /// Whether browsers must show that the application vouches for their context.
    pub secure_mode: bool,
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
            ids: FxHashMap::default(),
            segments: BTreeMap::new(),
            opt_ins: 0,
            client_side: BTreeMap::new(),
            secure_mode: false,
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
        let ids = flags
            .keys()
            .filter_map(|key| Some((key.clone(), FlagId::of(place, &key.parse::<Key>().ok()?))))
            .collect();
        let book = book::of(place, keys, catalogue, &flags);
        let client_side = flags.keys().filter_map(|key| {
            let record = catalogue.flag_record(&place.project, &key.parse().ok()?)?;
            Some((key.clone(), record.shared.get("client_side")?.clone()))
        });
        let client_side = client_side.collect();
        let opt_ins = image.member_changes();
        let secure_mode = image.item(&place_scope(place), RecordKind::Setting.word(), SECURE_MODE);
        let secure_mode = secure_mode.is_some_and(|stored| stored.body["on"] == true);
        Self { version, ruleset, flags, ids, segments, opt_ins, client_side, secure_mode, book, problems }
    }

    /// The definitions of segments, each with the users who opted in, in order.
    pub fn segments(&self) -> impl Iterator<Item = (&Arc<Segment>, &[String])> {
        self.segments.values().map(|opted| (&opted.segment, opted.members.as_slice()))
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
    noted: [Mutex<Noted>; NOTED_SHARDS],
    /// What client-side SDKs are recognised by.
    pub(crate) client_keys: ClientKeys,
    /// Connected SDK instances.
    pub(crate) clients: Clients,
    /// Which epochs the flags' versions carried.
    pub(crate) epochs: Epochs,
}

const NOTED_SHARDS: usize = 16;
/// Exposures that one shard remembers.
const NOTED: usize = 1 << 14;
/// How long they are remembered, in microseconds: an exposure that the log could not take is noted again after that.
const NOTED_FOR: i64 = 60 * 1_000_000;

/// Exposures noted lately, so that a unit that asks often does not fill the log with what is known.
#[derive(Default)]
struct Noted {
    since: i64,
    ids: FxHashSet<u128>,
}

impl PlaceState {
    pub(crate) fn new(place: Place, keys: BookKeys, client_keys: ClientKeys) -> Self {
        let serving = Serving::empty(&place, &keys);
        let announce = watch::Sender::new(serving.version);
        Self {
            place,
            keys,
            serving: ArcSwap::from_pointee(serving),
            announce,
            noted: Default::default(),
            client_keys,
            clients: Clients::default(),
            epochs: Epochs::default(),
        }
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

    /// Whether an exposure was noted within the last minute.
    pub(crate) fn knows_exposure(&self, id: Fingerprint, now: Timestamp) -> bool {
        let shard = &self.noted[(id.0 >> 64) as usize % NOTED_SHARDS];
        let noted = shard.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 - noted.since <= NOTED_FOR && noted.ids.contains(&id.0)
    }

    /// Whether an exposure was not noted within the last minute; it is from now on.
    pub(crate) fn is_new_exposure(&self, id: Fingerprint, now: Timestamp) -> bool {
        let shard = &self.noted[(id.0 >> 64) as usize % NOTED_SHARDS];
        let mut noted = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.ids.len() >= NOTED || now.0 - noted.since > NOTED_FOR {
            noted.ids.clear();
            noted.since = now.0;
        }
        noted.ids.insert(id.0)
    }

    /// Serves something else from now on, and says so.
    pub(crate) fn swap(&self, serving: Serving) {
        let version = serving.version;
        self.epochs.note(serving.flags.values().map(AsRef::as_ref));
        self.serving.store(Arc::new(serving));
        self.announce.send_replace(version);
    }
}
