//! What the parts of a running server share.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use arc_swap::ArcSwap;
use ensign_control::catalogue::Catalogue;
use ensign_control::ids::{Place, Timestamp};

use crate::act::Writer;
use crate::serving::PlaceState;
use crate::{Deps, Tasks};

/// A running server's state; handlers and loops hold it in an `Arc`.
pub struct App {
    pub(crate) deps: Deps,
    pub(crate) tasks: Tasks,
    /// The one writer; see [`App::act`].
    pub(crate) writer: tokio::sync::Mutex<Writer>,
    /// Written by the writer only, after a commit; held for moments, never across an await.
    pub(crate) catalogue: RwLock<Catalogue>,
    pub(crate) places: ArcSwap<BTreeMap<Place, Arc<PlaceState>>>,
}

impl App {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    /// Clock, store and log.
    #[must_use]
    pub fn deps(&self) -> &Deps {
        &self.deps
    }

    /// The background tasks.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// One environment, without a lock.
    #[must_use]
    pub fn place(&self, place: &Place) -> Option<Arc<PlaceState>> {
        self.places.load().get(place).cloned()
    }

    /// Every environment.
    #[must_use]
    pub fn places(&self) -> Arc<BTreeMap<Place, Arc<PlaceState>>> {
        self.places.load_full()
    }

    /// The catalogue, to read. Not to be held across an await.
    pub fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
