//! What the parts of a running server share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use arc_swap::ArcSwap;
use ensign_control::ids::{Place, Timestamp};
use ensign_store::secrets::SecretKey;

use crate::act::Writer;
use crate::fanout::Fanout;
use crate::guard::Guard;
use crate::image::Image;
use crate::ingest::Pipeline;
use crate::keys::{self, Access, Grant};
use crate::serving::PlaceState;
use crate::telemetry::Telemetry;
use crate::{Deps, Tasks};

/// A running server's state; handlers and loops hold it in an `Arc`.
pub struct App {
    pub(crate) deps: Deps,
    pub(crate) tasks: Tasks,
    pub(crate) data: PathBuf,
    pub(crate) secret: SecretKey,
    pub(crate) pipeline: Arc<Pipeline>,
    /// Weak, because the guard holds the app: its task keeps it.
    pub(crate) guard: OnceLock<Weak<Guard>>,
    pub(crate) telemetry: Telemetry,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) launchdarkly: crate::launchdarkly::Environments,
    /// The one writer; see [`App::act`].
    pub(crate) writer: tokio::sync::Mutex<Writer>,
    pub(crate) image: RwLock<Image>,
    pub(crate) access: ArcSwap<Access>,
    pub(crate) places: ArcSwap<BTreeMap<Place, Arc<PlaceState>>>,
    pub(crate) rate: crate::rate::Rate,
    pub(crate) ready: AtomicBool,
    /// AWS key pairs by id.
    pub(crate) aws: ArcSwap<crate::appconfig::AwsKeys>,
    /// What the data plane of deployments looks up.
    pub(crate) directory: ArcSwap<crate::appconfig::Directory>,
    /// When configurations were last fetched.
    pub(crate) seen: crate::appconfig::Seen,
    /// Origins whose addresses may be asked to confirm a subscription.
    pub(crate) confirm: Vec<String>,
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

    /// Events and evidence.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// Streams of changes to clients.
    #[must_use]
    pub fn fanout(&self) -> &Arc<Fanout> {
        &self.fanout
    }

    /// The guard of this process, once it runs.
    #[must_use]
    pub fn guard(&self) -> Option<Arc<Guard>> {
        self.guard.get()?.upgrade()
    }

    /// Who a bearer is, if the key is valid.
    #[must_use]
    pub fn grant(&self, token: &str) -> Option<Grant> {
        self.access.load().grant(token, self.now())
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

    /// The control plane's state, to read. Not to be held across an await.
    pub fn image(&self) -> RwLockReadGuard<'_, Image> {
        self.image.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn image_mut(&self) -> RwLockWriteGuard<'_, Image> {
        self.image.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything is loaded and nothing is stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Makes room for an environment that is served from now on. `None` when its secrets cannot be opened.
    pub(crate) fn open_place(&self, image: &Image, place: &Place) -> Option<Arc<PlaceState>> {
        let Some(keys) = keys::place_keys(&self.secret, image, place) else {
            tracing::error!(%place, "the environment's secrets cannot be opened; it is not served");
            return None;
        };
        let client_keys = keys::client_keys(&self.secret, image, place);
        let state = Arc::new(PlaceState::new(place.clone(), keys, client_keys));
        self.places.rcu(|places| {
            let mut places = BTreeMap::clone(places);
            places.insert(place.clone(), Arc::clone(&state));
            places
        });
        Some(state)
    }
}
