//! The client: starts, evaluates, reports, stops.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache, Guard};
use data_encoding::HEXLOWER;
use ensign_control::ids::Timestamp;
use ensign_eval::{Context, FlagHandle};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answer::{Answer, Record};
use crate::config::{Config, StartError};
use crate::disk;
use crate::follow::{Follower, Sender, wall_clock};
use crate::held::{Held, Snapshot};
use crate::report::{Counts, Numbers, Reports, Request, Value, What};
use crate::sync::{Contact, Settings};

/// What the client's thread and its users share.
pub(crate) struct Shared {
    snapshot: ArcSwap<Snapshot>,
    pub(crate) reports: Reports,
    contact: Mutex<Contact>,
    kept: AtomicBool,
    ready: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
    }

    pub(crate) fn set_contact(&self, contact: Contact) {
        *self.contact.lock().unwrap_or_else(PoisonError::into_inner) = contact;
    }

    pub(crate) fn set_kept(&self, kept: bool) {
        self.kept.store(kept, Ordering::Relaxed);
    }
}

/// Connections that several clients can share.
#[derive(Clone)]
pub struct Transport {
    http: reqwest::Client,
}

impl Transport {
    /// Connections with the machine's certificates.
    ///
    /// # Errors
    /// [`StartError::Machine`] when TLS cannot be set up.
    pub fn new() -> Result<Self, StartError> {
        // Somebody else may have chosen one already; theirs is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .user_agent(concat!("ensign-sdk/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| StartError::Machine(format!("connections cannot be set up: {why}")))?;
        Ok(Self { http })
    }
}

struct Owner {
    shared: Arc<Shared>,
    config: Config,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Reads flags of one environment. Cheap to clone; when the last clone is gone, its thread ends.
#[derive(Clone)]
pub struct Client {
    owner: Arc<Owner>,
}

impl Client {
    /// Starts a client with a thread of its own. It returns at once, also while the server is away: until there is a
    /// ruleset (see [`Client::wait_ready`]) every evaluation gives the caller's default.
    ///
    /// # Errors
    /// [`StartError`] when the settings cannot work or the machine refuses.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::on_own_thread(config, None)
    }

    /// A client like `old`, for a process that was forked from the one in which `old` was started: the thread of `old`
    /// does not exist here. It serves what `old` served until it hears from the server. Only what needs no lock is read
    /// of `old`; it must not be used or dropped any more.
    ///
    /// # Errors
    /// [`StartError`] when the machine refuses.
    pub fn forked(old: &Self) -> Result<Self, StartError> {
        Self::on_own_thread(old.config().clone(), Some(old.snapshot()))
    }

    fn on_own_thread(config: Config, first: Option<Arc<Snapshot>>) -> Result<Self, StartError> {
        let machine = |why: std::io::Error| StartError::Machine(format!("the client's thread: {why}"));
        let (client, tasks) = Self::prepare(config, None)?;
        if let Some(first) = first.filter(|first| first.revision().is_some()) {
            client.owner.shared.snapshot.store(first);
            client.owner.shared.ready.send_replace(true);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(machine)?;
        let thread = std::thread::Builder::new()
            .name("ensign-sdk".to_owned())
            .spawn(move || runtime.block_on(tasks.run()))
            .map_err(machine)?;
        *client.owner.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(client)
    }

    /// Starts a client as a task of an existing runtime, with connections that others may share.
    ///
    /// # Errors
    /// [`StartError`] when the settings cannot work.
    pub fn start_on(
        runtime: &tokio::runtime::Handle,
        transport: &Transport,
        config: Config,
    ) -> Result<Self, StartError> {
        let (client, tasks) = Self::prepare(config, Some(transport))?;
        runtime.spawn(tasks.run());
        Ok(client)
    }

    fn prepare(config: Config, transport: Option<&Transport>) -> Result<(Self, Tasks), StartError> {
        let config = config.check().map_err(StartError::Config)?;
        let transport = transport.cloned().map_or_else(Transport::new, Ok)?;
        let file = config.folder.as_ref().map(|folder| disk::file(folder, &config.url, &config.key));
        let mut held = Held::default();
        if let Some(put) = file.as_deref().and_then(disk::load) {
            held.put(put);
        }
        let mut source = [0; 12];
        getrandom::fill(&mut source)
            .map_err(|why| StartError::Machine(format!("there are no random bytes: {why}")))?;
        let source = HEXLOWER.encode(&source);
        let (reports, queue) = Reports::new(config.queue, config.exposures);
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(held.snapshot()),
            reports,
            contact: Mutex::new(Contact::Never),
            kept: AtomicBool::new(false),
            ready: watch::Sender::new(held.at.is_some()),
        });
        let (stop, stopped) = watch::channel(false);
        let follower = (Arc::clone(&shared), transport.http.clone(), config.clone(), held, file);
        let sender = Sender {
            shared: Arc::clone(&shared),
            http: transport.http,
            config: config.clone(),
            queue,
            numbers: Numbers::new(format!("sdk-{source}")),
            told: 0,
        };
        let owner = Owner { shared, config, stop, thread: Mutex::new(None) };
        Ok((Self { owner: Arc::new(owner) }, Tasks { follower, sender, stopped }))
    }

    /// The ruleset of this moment. What it gives borrows from it; hold it for one request, not for ever.
    #[inline]
    #[must_use]
    pub fn read(&self) -> Reading<'_> {
        Reading { snapshot: self.owner.shared.snapshot.load(), reports: &self.owner.shared.reports }
    }

    /// A reader for one thread, for loops that evaluate much: reading takes a comparison where nothing changed.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { snapshot: Cache::new(Swap(Arc::clone(&self.owner.shared))), client: self.clone() }
    }

    /// The ruleset of this moment, to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.owner.shared.snapshot.load_full()
    }

    /// Waits until there is a ruleset, from the server or the disk; false when there is none in time. For
    /// threads outside any runtime.
    #[must_use]
    pub fn wait_ready(&self, longest: Duration) -> bool {
        let ready = self.owner.shared.ready.borrow();
        if *ready || longest.is_zero() {
            return *ready;
        }
        drop(ready);
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            return false;
        };
        runtime.block_on(self.ready(longest))
    }

    /// As [`Client::wait_ready`], for tasks.
    pub async fn ready(&self, longest: Duration) -> bool {
        let mut ready = self.owner.shared.ready.subscribe();
        tokio::time::timeout(longest, ready.wait_for(|ready| *ready)).await.is_ok_and(|ready| ready.is_ok())
    }

    /// How well the server is heard.
    #[must_use]
    pub fn contact(&self) -> Contact {
        *self.owner.shared.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last ruleset was written to the disk.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.owner.shared.kept.load(Ordering::Relaxed)
    }

    /// What became of the notes so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.owner.shared.reports.counts()
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.owner.config
    }

    /// Notes how a model request ended. Never waits; false when it was dropped, which is counted.
    pub fn request(&self, records: Vec<Record>, request: Request) -> bool {
        self.owner.shared.reports.note(wall_clock(), What::Request { records, request })
    }

    /// Notes a fact found out later: a number. Never waits; false when it was dropped, which is counted.
    pub fn outcome(&self, records: Vec<Record>, metric: &str, value: f64) -> bool {
        self.note_outcome(records, None, metric, Value::Number(value))
    }

    /// As [`Client::outcome`]: yes or no.
    pub fn outcome_is(&self, records: Vec<Record>, metric: &str, value: bool) -> bool {
        self.note_outcome(records, None, metric, Value::Bool(value))
    }

    /// As [`Client::outcome`]: a part of a whole.
    pub fn outcome_ratio(&self, records: Vec<Record>, metric: &str, part: f64, whole: f64) -> bool {
        self.note_outcome(records, None, metric, Value::Ratio(part, whole))
    }

    /// As [`Client::outcome`], by an attribution token, wherever it came from.
    pub fn outcome_by_token(&self, token: &str, metric: &str, value: f64) -> bool {
        self.note_outcome(Vec::new(), Some(token.to_owned()), metric, Value::Number(value))
    }

    fn note_outcome(&self, records: Vec<Record>, token: Option<String>, metric: &str, value: Value) -> bool {
        let what = What::Outcome { records, token, metric: metric.to_owned(), value };
        self.owner.shared.reports.note(wall_clock(), what)
    }

    /// The attribution token of a record, made now; see [`Answer::token`].
    #[must_use]
    pub fn token(&self, record: &Record, use_case: Option<&str>) -> Option<String> {
        let now = Timestamp(wall_clock().saturating_mul(1_000));
        record.token(&self.owner.shared.snapshot.load(), use_case, now)
    }

    /// Sends what has been noted so far; resolves when the server has acknowledged it, however long it is away.
    pub async fn flush(&self) -> bool {
        self.owner.shared.reports.flush().await
    }

    /// Waits until what has been noted so far is acknowledged; false when it is not in time. For threads outside any
    /// runtime.
    #[must_use]
    pub fn flush_blocking(&self, longest: Duration) -> bool {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            return false;
        };
        runtime.block_on(async { tokio::time::timeout(longest, self.flush()).await.unwrap_or(false) })
    }

    /// Flushes, ends the client's thread, and says whether everything was acknowledged. Evaluations go on working with
    /// the ruleset of this moment.
    #[must_use]
    pub fn close(&self, longest: Duration) -> bool {
        let flushed = self.flush_blocking(longest);
        self.owner.stop.send_replace(true);
        let thread = self.owner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It panicked or ended; either way it is gone.
            let _ = thread.join();
        }
        flushed
    }
}

type FollowerParts = (Arc<Shared>, reqwest::Client, Config, Held, Option<std::path::PathBuf>);

/// What the client's thread does.
struct Tasks {
    follower: FollowerParts,
    sender: Sender,
    stopped: watch::Receiver<bool>,
}

impl Tasks {
    async fn run(self) {
        let (shared, http, config, held, file) = self.follower;
        let follower = Follower { shared, http, config, held, file, began: Instant::now() };
        let follow = follower.run(Settings::default(), self.stopped.clone());
        tokio::join!(follow, self.sender.run(self.stopped));
    }
}

/// The ruleset of one moment, and where evaluations are noted.
pub struct Reading<'c, S = Guard<Arc<Snapshot>>> {
    snapshot: S,
    reports: &'c Reports,
}

/// Reads for one thread. It keeps the ruleset that it read last until it reads again.
pub struct Reader {
    snapshot: Cache<Swap, Arc<Snapshot>>,
    client: Client,
}

struct Swap(Arc<Shared>);

impl Deref for Swap {
    type Target = ArcSwap<Snapshot>;

    fn deref(&self) -> &ArcSwap<Snapshot> {
        &self.0.snapshot
    }
}

impl Reader {
    /// The ruleset of this moment.
    #[inline]
    #[must_use]
    pub fn read(&mut self) -> Reading<'_, &Arc<Snapshot>> {
        Reading { snapshot: self.snapshot.load(), reports: &self.client.owner.shared.reports }
    }
}

impl<S: Deref<Target = Arc<Snapshot>>> Reading<'_, S> {
    /// Evaluates, and notes the exposure if the unit is part of a comparison. No lock, no wait; no allocation, but for
    /// the note of a unit's first exposure.
    #[inline]
    #[must_use]
    pub fn evaluate<'s>(&'s self, flag: &str, context: &impl Context) -> Answer<'s> {
        let answer = self.snapshot.peek(flag, context);
        self.reports.expose(&answer, context, wall_clock);
        answer
    }

    /// As [`Reading::evaluate`], for a flag that was looked up before with [`Reading::flag`].
    #[inline]
    #[must_use]
    pub fn evaluate_by<'s>(&'s self, flag: FlagHandle, context: &impl Context) -> Answer<'s> {
        let answer = self.snapshot.peek_by(flag, context);
        self.reports.expose(&answer, context, wall_clock);
        answer
    }

    /// Looks a flag up once, to evaluate it many times with this client.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<FlagHandle> {
        self.snapshot.ruleset().flag(key)
    }

    /// The ruleset.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}
