//! What one environment serves: swapped whole, read without a lock.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ensign_control::ids::{Place, Revision};
use ensign_control::token::TokenKey;
use tokio::sync::watch;

/// Which configuration is served. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version {
    /// The environment's revision.
    pub revision: Revision,
    /// Rises with each kill that holds in memory only, and with each change of opt-ins.
    pub overlay: u64,
}

/// A snapshot of one environment.
#[derive(Debug)]
pub struct Serving {
    /// Which configuration this is.
    pub version: Version,
}

/// The secrets of one environment that events and tokens need.
#[derive(Clone)]
pub struct PlaceKeys {
    /// Token-signing keys; the first signs, all verify.
    pub tokens: Vec<TokenKey>,
    /// The key of the units' hash.
    pub unit: [u8; 16],
}

impl std::fmt::Debug for PlaceKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlaceKeys(…)")
    }
}

/// One environment: what it serves now, and who wants to know when that changes.
#[derive(Debug)]
pub struct PlaceState {
    /// Where.
    pub place: Place,
    /// Its secrets.
    pub keys: PlaceKeys,
    serving: ArcSwap<Serving>,
    announce: watch::Sender<Version>,
}

impl PlaceState {
    pub(crate) fn new(place: Place, keys: PlaceKeys, serving: Serving) -> Self {
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
