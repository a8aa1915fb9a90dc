//! Starting and stopping a server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use arc_swap::ArcSwap;
use ensign_store::log::{Disk, Limits, LogError, LogWriter, SegmentLog};
use ensign_store::secrets::SecretKey;
use ensign_store::{Fault, Folder, Sqlite};
use tokio::net::TcpListener;

use crate::act::Writer;
use crate::guard::{Guard, Tuning};
use crate::image::Image;
use crate::ingest::Pipeline;
use crate::telemetry::Telemetry;
use crate::{App, Clock, Config, Deps, Tasks, first, http, net, schedule, webhooks};

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

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        Self(error.to_string())
    }
}

/// A server that runs until it is stopped.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    app: Arc<App>,
}

impl Server {
    /// Starts a server on a data folder, which it creates when it is missing and locks while it runs.
    ///
    /// # Errors
    /// [`StartError`] says what to change.
    pub async fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
        check_listen(&config)?;
        let folder = Folder::lock(&config.data)?;
        let events = folder.events();
        let disk = Disk::new(&events)
            .map_err(|error| StartError(format!("cannot use the event log {}: {error}", events.display())))?;
        let store = Arc::new(Sqlite::open(folder, clock.for_store())?);
        let limits = Limits::default();
        let log = SegmentLog::open(Arc::new(disk), limits, clock.for_store())?;
        let log = Arc::new(LogWriter::start(log, limits.waiting_groups)?);
        Self::start_with(config, Deps { clock, store, log }).await
    }

    /// Starts a server on given parts.
    ///
    /// # Errors
    /// [`StartError`] says what to change.
    pub async fn start_with(config: Config, deps: Deps) -> Result<Running, StartError> {
        check_listen(&config)?;
        let empty = deps.store.load().await?.items.is_empty();
        let secret = match config.secret {
            Some(bytes) => SecretKey::from_bytes(bytes),
            None => SecretKey::open_or_create(&config.data, empty)?,
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|error| StartError(format!("cannot listen on {}: {error}", config.listen)))?;
        let address = listener
            .local_addr()
            .map_err(|error| StartError(format!("cannot listen on {}: {error}", config.listen)))?;
        let url = format!("http://{address}");
        if empty {
            first::start(deps.store.as_ref(), &secret, &config.data, &url, deps.clock.now()).await?;
        } else {
            first::update_url(&config.data, &url)?;
        }
        let app = compose(&config, deps, secret).await?;
        let router = http::router(Arc::clone(&app));
        app.tasks.spawn("accept", net::run(Arc::clone(&app), listener, router));
        app.tasks.spawn("webhooks", webhooks::run(Arc::clone(&app)));
        app.tasks.spawn("schedule", schedule::run(Arc::clone(&app)));
        app.tasks.spawn("fanout", Arc::clone(&app.fanout).run(app.tasks.clone()));
        run_evidence(&app);
        app.ready.store(true, Ordering::Release);
        tracing::info!(%address, "listening");
        Ok(Running { address, app })
    }
}

async fn compose(config: &Config, deps: Deps, secret: SecretKey) -> Result<Arc<App>, StartError> {
    let settings = config.ingest.clone();
    let pipeline =
        Pipeline::open(settings, Arc::clone(&deps.store), Arc::clone(&deps.log), deps.clock.clone())
            .await
            .map_err(|error| StartError(error.to_string()))?;
    let app = Arc::new(App {
        deps,
        tasks: Tasks::default(),
        data: config.data.clone(),
        secret,
        pipeline: Arc::new(pipeline),
        guard: OnceLock::new(),
        telemetry: Telemetry::default(),
        fanout: Arc::default(),
        launchdarkly: Default::default(),
        writer: tokio::sync::Mutex::new(Writer::default()),
        image: RwLock::new(Image::default()),
        access: ArcSwap::default(),
        places: ArcSwap::from_pointee(BTreeMap::new()),
        rate: crate::rate::Rate::new(config.ofrep_rate),
        ready: AtomicBool::new(false),
        aws: ArcSwap::default(),
        directory: ArcSwap::default(),
        seen: crate::appconfig::Seen::default(),
        confirm: config.confirm.clone(),
    });
    let mut writer = app.writer.lock().await;
    app.reload(&mut writer).await.map_err(|error| StartError(error.to_string()))?;
    drop(writer);
    let now = app.now();
    let standing = app.image().catalogue.watches(now);
    let missing =
        app.pipeline.reconcile(standing, now).await.map_err(|error| StartError(error.to_string()))?;
    if missing > 0 {
        tracing::info!(missing, "told the evidence what the last run could not");
    }
    app.due().await;
    Ok(app)
}

/// The tasks between events and decisions.
fn run_evidence(app: &Arc<App>) {
    let app_as_charge: Arc<dyn crate::guard::Charge> = Arc::clone(app) as _;
    let charge = Arc::downgrade(&app_as_charge);
    // The folder's lock keeps other processes away, so whoever runs here is the same holder: after a crash its leases
    // are its own again at once.
    let holder = "local";
    let (pipeline, store) = (Arc::clone(&app.pipeline), Arc::clone(&app.deps.store));
    let guard = Arc::new(Guard::new(Arc::clone(&pipeline), store, charge, Tuning::default(), holder));
    let stop = app.tasks.stop_token();
    app.guard.get_or_init(|| Arc::downgrade(&guard));
    app.tasks.spawn("guard", async move { guard.run(&stop).await });
    let (carrier, stop) = (Arc::clone(&pipeline), app.tasks.stop_token());
    app.tasks.spawn("exposures", async move { carrier.carry_exposures(&stop).await });
    let stop = app.tasks.stop_token();
    app.tasks.spawn("checkpoints", async move { pipeline.keep_checkpoints(&stop).await });
}

fn check_listen(config: &Config) -> Result<(), StartError> {
    if config.listen.ip().is_loopback() || config.behind_proxy {
        return Ok(());
    }
    Err(StartError(format!(
        "{} can be reached from other machines, and this server does not speak TLS itself: keys would travel in the \
         open. Listen on 127.0.0.1, or put a proxy that ends TLS in front and say so with --behind-proxy.",
        config.listen
    )))
}

impl Running {
    /// The parts, for tests and for whoever runs in the same process.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting, lets requests end, flushes, saves a checkpoint.
    pub async fn stop(self) {
        self.app.ready.store(false, Ordering::Release);
        self.app.tasks.stop().await;
        self.app.pipeline.close().await;
    }
}
