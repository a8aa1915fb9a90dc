//! The pipeline's handle: submit, command, look, checkpoint, status.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use ensign_control::event::{About, Event, Fate};
use ensign_control::evidence::watch::{Stratum, Watch};
use ensign_control::evidence::{Baseline, Engine, Held, Part, Record};
use ensign_control::ids::{Epoch, FlagId, Place, RolloutId, Span, Timestamp};
use ensign_control::metric::MetricRef;
use ensign_store::log::{Files, Group, LogError, LogWriter};
use ensign_store::{Fault, Micros, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::checkpoint::Unsaved;
use super::fold::{self, Look, Message};
use super::status::{NEVER, Shared, Status};
use super::terms::{OpenError, Settings, Taken, Unavailable};
use crate::Clock;

/// Where events go. Cheap to share in an `Arc`.
pub struct Pipeline {
    writer: Mutex<Option<Arc<LogWriter>>>,
    fold: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    settings: Settings,
    store: Arc<dyn Store>,
    clock: Clock,
    exposures: mpsc::Sender<(Place, Event)>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<(Place, Event)>>,
    unsaved: tokio::sync::Mutex<Unsaved>,
}

impl Pipeline {
    /// Restores the last checkpoint and reads what the log has after it. Ready when it returns.
    ///
    /// # Errors
    /// [`OpenError`]: nothing is skipped or repaired by guessing.
    pub async fn open(
        settings: Settings,
        store: Arc<dyn Store>,
        log: Arc<LogWriter>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let checkpoint = store.load_checkpoint().await.map_err(OpenError::Store)?;
        let (mut engine, mut next) = match checkpoint {
            None => (Engine::new(settings.evidence), 0),
            Some(saved) => {
                let parts = saved.parts.into_iter().map(|(key, bytes)| Part { key, bytes });
                let engine = Engine::restore(settings.evidence, parts).map_err(OpenError::Checkpoint)?;
                (engine, saved.position)
            }
        };
        if next > log.end() {
            return Err(OpenError::Behind { checkpoint: next, log: log.end() });
        }
        let saved = next;
        for record in log.read_from(next)? {
            let (position, bytes) = record?;
            let record = Record::from_bytes(&bytes).map_err(|bad| OpenError::Record(position, bad))?;
            engine.apply(position, &record);
            next = position + 1;
        }
        let shared = Arc::new(Shared::new(saved, engine.now()));
        shared.folded(next, engine.now());
        let (fold, inbox) = channel();
        let folding = shared.clone();
        let thread = Builder::new()
            .name("evidence".into())
            .spawn(move || fold::run(engine, next, &inbox, &folding))
            .map_err(OpenError::Thread)?;
        let (exposures, waiting) = mpsc::channel(settings.exposures.max(1));
        Ok(Self {
            writer: Mutex::new(Some(log)),
            fold,
            thread: Mutex::new(Some(thread)),
            shared,
            permits: Arc::new(Semaphore::new(settings.in_flight as usize)),
            settings,
            store,
            clock,
            exposures,
            waiting: tokio::sync::Mutex::new(waiting),
            unsaved: tokio::sync::Mutex::new(Unsaved::default()),
        })
    }

    /// Takes in events of one environment. Returns once they are durable and folded, with what became of each.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing was acknowledged; sending the same events again later counts each once.
    pub async fn submit(
        &self,
        place: Place,
        received: Timestamp,
        events: Vec<Event>,
    ) -> Result<Vec<Fate>, Unavailable> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let count = events.len();
        let taken = self.append(batches(place, received, events)).await?;
        debug_assert_eq!(taken.fates.len(), count, "one fate per event");
        for fate in &taken.fates {
            self.shared.fates[*fate as usize].fetch_add(1, Ordering::Relaxed);
        }
        Ok(taken.fates)
    }

    /// Notes an exposure of the server's own evaluation. Never waits; a crash may lose those of the last 100 ms.
    /// What does not fit is counted in [`Status::exposures_lost`].
    pub fn expose(&self, place: &Place, event: Event) {
        if self.exposures.try_send((place.clone(), event)).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Appends a marker (watch, stratum, end, tick, decision, erasure). Returns once it is durable and folded.
    ///
    /// # Errors
    /// [`Unavailable`]: it is not in the log.
    pub async fn command(&self, record: Record) -> Result<Taken, Unavailable> {
        let bytes = record.to_bytes();
        self.send(vec![(record, bytes)], None).await
    }

    /// Evidence of a rollout as of now.
    pub async fn evidence(&self, rollout: &RolloutId) -> Look {
        self.look(rollout, false).await
    }

    /// Evidence and block log of a rollout, of the same moment, for a decision and its receipt.
    pub async fn decision(&self, rollout: &RolloutId) -> Look {
        self.look(rollout, true).await
    }

    /// What is known about a variant's metric from the last 14 days, with or without a rollout.
    pub async fn baseline(&self, flag: FlagId, variant: u16, metric: MetricRef) -> Option<Baseline> {
        let found = fold::ask(&self.fold, move |engine, _| engine.baseline(flag, variant, &metric)).await;
        found.flatten()
    }

    /// Whether some of these units are to be compared and no exposure of them is known at the time asked for.
    pub async fn awaits_exposures(&self, asked: Vec<(About, Timestamp)>) -> bool {
        let found = fold::ask(&self.fold, move |engine, _| {
            asked.iter().any(|(about, time)| engine.awaits_exposure(about, *time))
        });
        found.await.unwrap_or(false)
    }

    /// What is held in memory for an environment.
    pub async fn held(&self, place: &Place) -> Option<Held> {
        let place = place.clone();
        fold::ask(&self.fold, move |engine, _| engine.held(&place)).await
    }

    /// Appends the markers that a crash has kept from the log: `standing` is what the catalogue says is watched.
    /// Returns how many were missing.
    ///
    /// # Errors
    /// [`Unavailable`]: some are still missing.
    pub async fn reconcile(
        &self,
        standing: Vec<(Watch, Stratum)>,
        now: Timestamp,
    ) -> Result<usize, Unavailable> {
        let known = fold::ask(&self.fold, |engine, _| -> BTreeMap<RolloutId, Option<Epoch>> {
            let epoch = |id: &RolloutId| engine.evidence(id).map(|evidence| evidence.epoch);
            engine.rollouts().map(|id| (id.clone(), epoch(id))).collect()
        });
        let mut known = known.await.ok_or(Unavailable::Stopped)?;
        let mut missing = Vec::new();
        for (watch, stratum) in standing {
            let rollout = watch.rollout.clone();
            match known.remove(&rollout) {
                None => missing.push(Record::Watch { watch: Box::new(watch), stratum }),
                Some(Some(epoch)) if epoch == stratum.epoch => {}
                Some(_) => missing.push(Record::Stratum { rollout, stratum }),
            }
        }
        // Saying it again of one that has ended changes nothing.
        missing.extend(known.into_keys().map(|rollout| Record::Ended { rollout, at: now }));
        let count = missing.len();
        for record in missing {
            self.command(record).await?;
        }
        Ok(count)
    }

    /// Waits until events were folded since the last time somebody waited.
    pub async fn evidence_came(&self) {
        self.shared.evidence.notified().await;
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let time = |at: i64| (at != NEVER).then_some(Timestamp(at));
        let free = self.permits.available_permits() as u64;
        Status {
            last_tick: time(shared.tick.load(Ordering::Relaxed)),
            folded: shared.folded.load(Ordering::Relaxed),
            durable: self.writer().map_or(0, |writer| writer.end()),
            checkpoint: shared.checkpoint.load(Ordering::Relaxed),
            checkpoint_at: time(shared.checkpoint_at.load(Ordering::Relaxed)),
            in_flight: u64::from(self.settings.in_flight).saturating_sub(free),
            full: shared.full.load(Ordering::Relaxed),
            fates: std::array::from_fn(|fate| shared.fates[fate].load(Ordering::Relaxed)),
            overloaded: shared.overloaded.load(Ordering::Relaxed),
            exposures_lost: shared.lost.load(Ordering::Relaxed),
            checkpoint_failures: shared.checkpoint_failures.load(Ordering::Relaxed),
        }
    }

    /// Copies the log into another folder while writing continues. Blocks on the disk.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn copy_log(&self, target: &dyn Files) -> Result<(), Unavailable> {
        Ok(self.writer().ok_or(Unavailable::Stopped)?.copy_to(target)?)
    }

    /// Reads the raw records from a position on. Blocks on the disk.
    ///
    /// # Errors
    /// When the position is gone or a file cannot be read.
    pub fn read_log(&self, from: u64) -> Result<ensign_store::log::Reader, Unavailable> {
        Ok(self.writer().ok_or(Unavailable::Stopped)?.read_from(from)?)
    }

    /// Carries the server's own exposures into the log, until `stop`. Run it once, as a task.
    pub async fn carry_exposures(&self, stop: &tokio_util::sync::CancellationToken) {
        let mut waiting = self.waiting.lock().await;
        let mut batch = Vec::new();
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                _ = waiting.recv_many(&mut batch, EXPOSURES) => false,
            };
            while batch.len() < EXPOSURES
                && let Ok(next) = waiting.try_recv()
            {
                batch.push(next);
            }
            self.log_exposures(&mut batch).await;
            if stopping {
                return;
            }
            // A pause collects many exposures for one sync; it is part of the 100 ms that a crash may lose.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn log_exposures(&self, batch: &mut Vec<(Place, Event)>) {
        let received = self.clock.now();
        let mut places: BTreeMap<Place, Vec<Event>> = BTreeMap::new();
        for (place, event) in batch.drain(..) {
            places.entry(place).or_default().push(event);
        }
        for (place, events) in places {
            let count = events.len() as u64;
            if let Err(error) = self.append(batches(place, received, events)).await {
                self.shared.lost.fetch_add(count, Ordering::Relaxed);
                tracing::warn!(%error, count, "exposures of the server's own evaluations were lost");
            }
        }
    }

    /// Saves checkpoints and drops old segments, until `stop`. Run it once, as a task.
    pub async fn keep_checkpoints(&self, stop: &tokio_util::sync::CancellationToken) {
        let mut pause = self.settings.checkpoint_every;
        loop {
            let wait = std::time::Duration::from_micros(pause.0.max(0).cast_unsigned());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let began = self.clock.now();
            if let Err(error) = self.checkpoint().await {
                tracing::warn!(%error, "the evidence could not be saved; the log keeps it");
            }
            let took = self.clock.now() - began;
            pause = self.settings.checkpoint_every.max(Span(took.0.saturating_mul(20)));
        }
    }

    /// Saves the evidence now, and drops segments that neither a restart nor the retention needs.
    ///
    /// # Errors
    /// When the store does not take it; nothing is lost, the next checkpoint has it.
    pub async fn checkpoint(&self) -> Result<(), Fault> {
        let mut unsaved = self.unsaved.lock().await;
        if self.shared.folded.load(Ordering::Relaxed) == self.shared.checkpoint.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (send, receive) = oneshot::channel();
        let stopped = |_| Fault::ours("the folding thread has stopped");
        self.fold.send(Message::Checkpoint(send)).map_err(|_| stopped(()))?;
        let (position, snapshot) = receive.await.map_err(|_| stopped(()))?;
        let saved = unsaved.save(&self.store, position, snapshot).await;
        let shared = &self.shared;
        if let Err(fault) = saved {
            shared.checkpoint_failures.fetch_add(1, Ordering::Relaxed);
            return Err(fault);
        }
        let now = self.clock.now();
        shared.checkpoint_failures.store(0, Ordering::Relaxed);
        shared.checkpoint.store(position, Ordering::Relaxed);
        shared.checkpoint_at.store(now.0, Ordering::Relaxed);
        drop(unsaved);
        self.drop_old(position, now).await;
        Ok(())
    }

    async fn drop_old(&self, position: u64, now: Timestamp) {
        let Some(writer) = self.writer() else { return };
        let older_than = Micros((now - self.settings.retention).0);
        match writer.drop_before(position, older_than).await {
            Ok(0) | Err(LogError::Busy) => {}
            Ok(count) => tracing::info!(count, position, "dropped old segments of the event log"),
            Err(error) => tracing::warn!(%error, "old segments of the event log could not be dropped"),
        }
    }

    /// Ends: what was submitted is made durable and folded, the evidence is saved. Later calls are refused.
    pub async fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Dropping the last handle waits for the log's thread, which may wait for the disk.
        let _ = tokio::task::spawn_blocking(move || drop(writer)).await;
        if let Err(error) = self.checkpoint().await {
            tracing::warn!(%error, "the evidence was not saved at the end; the next start reads more of the log");
        }
        let _ = self.fold.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
    }

    async fn look(&self, rollout: &RolloutId, log: bool) -> Look {
        let (id, other) = (rollout.clone(), rollout.clone());
        let look = fold::ask(&self.fold, move |engine, position| Look {
            position,
            at: engine.now(),
            evidence: engine.evidence(&id),
            log: if log { engine.block_log(&id) } else { None },
            rollout: id,
        });
        look.await.unwrap_or(Look {
            position: 0,
            at: Timestamp(NEVER),
            evidence: None,
            log: None,
            rollout: other,
        })
    }

    async fn append(&self, records: Vec<(Record, Vec<u8>)>) -> Result<Taken, Unavailable> {
        let size = records.iter().map(|(_, bytes)| bytes.len()).sum::<usize>().min(u32::MAX as usize) as u32;
        let permit = self.permits.clone().try_acquire_many_owned(size.min(self.settings.in_flight));
        let Ok(permit) = permit else {
            self.shared.overloaded.fetch_add(1, Ordering::Relaxed);
            return Err(Unavailable::Overloaded);
        };
        self.send(records, Some(permit)).await
    }

    async fn send(
        &self,
        records: Vec<(Record, Vec<u8>)>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Taken, Unavailable> {
        let group: Group = records.iter().map(|(_, bytes)| bytes).collect();
        let records = records.into_iter().map(|(record, _)| record).collect();
        let (send, receive) = oneshot::channel();
        let fold = self.fold.clone();
        let (failed, refused) = oneshot::channel();
        let done = move |result: Result<ensign_store::log::Appended, LogError>| match result {
            Ok(at) => {
                let answer = Some(send);
                // It fails only when the folding thread has ended, and then the answer is dropped too.
                let _ = fold.send(Message::Apply { first: at.first, records, permit, answer });
            }
            Err(error) => {
                let _ = failed.send(error);
            }
        };
        let writer = self.writer().ok_or(Unavailable::Stopped)?;
        writer.submit(group, done).map_err(|error| self.refused(error))?;
        drop(writer);
        match receive.await {
            Ok(taken) => {
                self.shared.full.store(false, Ordering::Relaxed);
                Ok(taken)
            }
            Err(_) => Err(refused.await.map_or(Unavailable::Stopped, |error| self.refused(error))),
        }
    }

    fn refused(&self, error: LogError) -> Unavailable {
        let error = Unavailable::from(error);
        match &error {
            Unavailable::Full => self.shared.full.store(true, Ordering::Relaxed),
            Unavailable::Overloaded => {
                self.shared.overloaded.fetch_add(1, Ordering::Relaxed);
            }
            Unavailable::Fault(inward) => tracing::error!(inward, "the event log failed"),
            Unavailable::TooLarge | Unavailable::Stopped => {}
        }
        error
    }

    fn writer(&self) -> Option<Arc<LogWriter>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How many exposures are written together at most.
const EXPOSURES: usize = 10_000;

/// Events in one record: a record must stay far below the log's longest.
const EVENTS_PER_RECORD: usize = 2_000;

fn batches(place: Place, received: Timestamp, mut events: Vec<Event>) -> Vec<(Record, Vec<u8>)> {
    let mut records = Vec::with_capacity(events.len().div_ceil(EVENTS_PER_RECORD));
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(EVENTS_PER_RECORD));
        let record = Record::Batch { place: place.clone(), received, events };
        let bytes = record.to_bytes();
        records.push((record, bytes));
        events = rest;
    }
    records
}
