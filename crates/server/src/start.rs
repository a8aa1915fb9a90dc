//! Starting and stopping a server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;
use ensign_control::catalogue::Catalogue;
use ensign_store::Fault;

use crate::act::Writer;
use crate::{App, Config, Deps, Tasks, http};

/// Starts servers.
pub struct Server;

/// Why a server did not start, as a sentence for the person who started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> Self {
        Self(fault.inward)
    }
}

/// A server that runs until it is stopped or dropped.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    app: Arc<App>,
}

impl Server {
    /// Starts a server on given parts.
    ///
    /// # Errors
    /// [`StartError`] says what to change.
    pub async fn start_with(config: Config, deps: Deps) -> Result<Running, StartError> {
        let app = Arc::new(App {
            deps,
            tasks: Tasks::default(),
            writer: tokio::sync::Mutex::new(Writer::default()),
            catalogue: RwLock::new(Catalogue::default()),
            places: ArcSwap::from_pointee(BTreeMap::new()),
        });
        let _router = http::router(Arc::clone(&app));
        Ok(Running { address: config.listen, app })
    }
}

impl Running {
    /// The parts, for tests and for whoever runs in the same process.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Stops accepting, lets requests end, flushes, saves a checkpoint.
    pub async fn stop(self) {
        self.app.tasks().stop().await;
    }
}
