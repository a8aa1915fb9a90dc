//! What ingestion must know of one environment's configuration: an immutable picture, swapped with the ruleset.

use std::collections::BTreeMap;

use ensign_control::deployment::UNIT;
use ensign_control::event::Served;
use ensign_control::ids::{AllocationId, Epoch, Fingerprint, FlagId, Key, Place, Span, Unit};
use ensign_control::metric::Metric;
pub use ensign_control::subject::unit_word;
use ensign_control::token::{TokenKey, unit_hash, use_case_hash};
use ensign_eval::model;
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// The keys of one environment.
#[derive(Clone, Debug)]
pub struct BookKeys {
    /// The key that units are hashed with.
    pub unit: [u8; 16],
    /// The keys that attribution tokens may be signed with.
    pub tokens: Vec<TokenKey>,
}

/// One flag, as events name it.
#[derive(Clone, Debug)]
pub struct FlagBook {
    /// Its id in events.
    pub id: FlagId,
    /// The names of its variants; the position is the index.
    pub variants: Vec<String>,
    /// Its splits: the epoch now served and the unit that is randomised.
    pub splits: BTreeMap<AllocationId, (Epoch, String)>,
    /// The unit meant where a decision has no split.
    pub unit: String,
}

impl FlagBook {
    /// The picture of a flag's definition. `key` is the flag's key in `place`.
    #[must_use]
    pub fn of(place: &Place, key: &Key, flag: &model::Flag) -> Self {
        let outcomes = flag.rules.iter().map(|rule| &rule.outcome).chain([&flag.fallthrough]);
        let mut splits = BTreeMap::new();
        let mut unit = None;
        for outcome in outcomes {
            if let model::Outcome::Split(split) = outcome {
                let word = unit_word(&split.unit);
                unit = Some(word.clone());
                splits.insert(AllocationId(split.id.0), (Epoch(split.epoch), word));
            }
        }
        Self {
            id: FlagId::of(place, key),
            variants: flag.variants.iter().map(|variant| variant.name.clone()).collect(),
            splits,
            unit: unit.unwrap_or_else(|| model::USER.to_owned()),
        }
    }

    /// The split of a document that is being deployed: its clients know the version they have, and no decision record.
    #[must_use]
    pub fn deployed(&self) -> Option<(AllocationId, Epoch)> {
        let mut splits = self.splits.iter().filter(|(_, (_, word))| word == UNIT);
        match (splits.next(), splits.next()) {
            (Some((id, (epoch, _))), None) => Some((*id, *epoch)),
            _ => None,
        }
    }

    /// The kind of unit that a decision of this flag is about.
    #[must_use]
    pub fn unit_kind(&self, split: Option<AllocationId>) -> &str {
        split.and_then(|id| self.splits.get(&id)).map_or(&self.unit, |(_, word)| word)
    }
}

/// What a use case adds to its requests.
#[derive(Clone, Debug, Default)]
pub struct UseCaseBook {
    /// A request not finished after this is a timeout.
    pub timeout: Option<Span>,
    /// Price of a million tokens in and out, by model.
    pub prices: BTreeMap<String, (f64, f64)>,
}

/// The picture of one environment.
#[derive(Clone, Debug)]
pub struct PlaceBook {
    pub(super) place: Place,
    pub(super) keys: BookKeys,
    pub(super) flags: FxHashMap<String, FlagBook>,
    pub(super) by_id: FxHashMap<FlagId, String>,
    pub(super) metrics: FxHashMap<String, Metric>,
    pub(super) use_cases: FxHashMap<String, UseCaseBook>,
    pub(super) use_case_by_hash: FxHashMap<u32, String>,
    pub(super) seed: u64,
}

impl PlaceBook {
    /// A picture from its parts, each with its key.
    #[must_use]
    pub fn new(
        place: Place,
        keys: BookKeys,
        flags: impl IntoIterator<Item = (Key, FlagBook)>,
        metrics: impl IntoIterator<Item = Metric>,
        use_cases: impl IntoIterator<Item = (Key, UseCaseBook)>,
    ) -> Self {
        let flags: FxHashMap<String, FlagBook> =
            flags.into_iter().map(|(key, flag)| (key.as_str().to_owned(), flag)).collect();
        let use_cases: FxHashMap<String, UseCaseBook> =
            use_cases.into_iter().map(|(key, book)| (key.as_str().to_owned(), book)).collect();
        let seed = xxh3_64(place.to_string().as_bytes());
        Self {
            by_id: flags.iter().map(|(key, flag)| (flag.id, key.clone())).collect(),
            metrics: metrics.into_iter().map(|metric| (metric.key.as_str().to_owned(), metric)).collect(),
            use_case_by_hash: use_cases.keys().map(|key| (use_case_hash(&place, key), key.clone())).collect(),
            place,
            keys,
            flags,
            use_cases,
            seed,
        }
    }

    /// Where it belongs.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A metric that the project defines.
    #[must_use]
    pub fn metric(&self, key: &str) -> Option<&Metric> {
        self.metrics.get(key)
    }

    /// The hash that stands for a unit in events, evidence and tokens.
    #[must_use]
    pub fn unit(&self, kind: &str, key: &str) -> Unit {
        unit_hash(self.keys.unit, &self.place, kind, key)
    }

    /// The hash that stands for an event's id or a sender.
    #[must_use]
    pub fn fingerprint(&self, id: &str) -> Fingerprint {
        Fingerprint(xxh3_128_with_seed(id.as_bytes(), self.seed))
    }

    /// The hash that stands for a request, in events and in tokens.
    #[must_use]
    pub fn request(&self, id: &str) -> Fingerprint {
        Fingerprint(xxh3_128_with_seed(id.as_bytes(), self.seed ^ 1))
    }

    /// Whether the flag and the variant exist and the epoch has been served.
    #[must_use]
    pub fn knows(&self, served: &Served) -> bool {
        let flag = self.by_id.get(&served.flag).and_then(|key| self.flags.get(key));
        flag.is_some_and(|flag| {
            let variant = usize::from(served.variant) < flag.variants.len();
            let past = |(id, epoch): (AllocationId, Epoch)| {
                flag.splits.get(&id).is_none_or(|(current, _)| epoch <= *current)
            };
            variant && served.split.is_none_or(past)
        })
    }
}
