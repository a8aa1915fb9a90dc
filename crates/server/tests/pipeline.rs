//! The pipeline on a disk that fails on purpose: what was acknowledged is there, what was not may be sent again.
#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ensign_control::event::{Event, Fate, Identity, Request, Served, What};
use ensign_control::evidence::Record;
use ensign_control::ids::{Fingerprint, FlagId, Place, Span, Timestamp, Unit};
use ensign_control::metric::Status;
use ensign_server::Clock;
use ensign_server::ingest::{Pipeline, Settings, Unavailable};
use ensign_store::log::unreliable::{Crash, Unreliable};
use ensign_store::log::{Limits, LogWriter, SegmentLog};
use ensign_store::{Memory, Micros, Store};
use tokio_util::sync::CancellationToken;

const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// One life of a server's ingestion on a disk.
struct Bench {
    disk: Unreliable,
    store: Arc<dyn Store>,
    pipeline: Arc<Pipeline>,
    now: Arc<AtomicI64>,
}

fn small() -> Limits {
    Limits { segment_bytes: 64 << 10, record_bytes: 32 << 10, ..Limits::default() }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new(Arc::new(|| Micros(NOW.0))))
}

impl Bench {
    async fn new() -> Self {
        Self::on(Unreliable::new(), memory(), Settings::default()).await
    }

    async fn on(disk: Unreliable, store: Arc<dyn Store>, settings: Settings) -> Self {
        let now = Arc::new(AtomicI64::new(NOW.0));
        let hands = Arc::clone(&now);
        let clock = Clock::new(move || Timestamp(hands.load(Ordering::SeqCst)));
        let log = SegmentLog::open(Arc::new(disk.clone()), small(), clock.for_store()).unwrap();
        let log = Arc::new(LogWriter::start(log, 64).unwrap());
        let pipeline = Pipeline::open(settings, Arc::clone(&store), log, clock).await.unwrap();
        Self { disk, store, pipeline: Arc::new(pipeline), now }
    }

    /// What a crash at this moment leaves, started again. The old life goes on beside it and is no longer looked at.
    async fn crash(&self, how: Crash) -> Self {
        Self::on(self.disk.crash(how), Arc::clone(&self.store), Settings::default()).await
    }

    async fn send(&self, ids: impl IntoIterator<Item = u128>) -> Result<Vec<Fate>, Unavailable> {
        let events = ids.into_iter().map(event).collect();
        self.pipeline.submit(place(), NOW, events).await
    }
}

fn place() -> Place {
    Place { project: "default".parse().unwrap(), environment: "production".parse().unwrap() }
}

fn event(id: u128) -> Event {
    let flag = FlagId::of(&place(), &"model".parse().unwrap());
    let served = Served { flag, variant: (id % 2) as u16, split: None, unit: Unit(id % 1_000) };
    let request = Request {
        id: Some(Fingerprint(id ^ 0xffff_0000)),
        served: vec![served],
        start: NOW - Span::seconds(2),
        duration: Span::millis(800 + (id % 100) as i64),
        first_token: None,
        status: if id.is_multiple_of(10) { Status::Timeout } else { Status::Ok },
        tokens_in: Some(100),
        tokens_out: Some(50),
        cost: None,
    };
    Event { identity: Identity::Id(Fingerprint(id)), time: NOW, what: What::Request(request) }
}

fn all(fates: &[Fate], fate: Fate) -> bool {
    fates.iter().all(|found| *found == fate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_crash_that_forgets_everything_else() {
    for how in [Crash::Forget, Crash::Keep, Crash::Tear(1), Crash::Tear(2), Crash::Tear(3)] {
        let before = Bench::new().await;
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..8_u128 {
            let pipeline = Arc::clone(&before.pipeline);
            senders.spawn(async move {
                for batch in 0..10_u128 {
                    let first = sender * 1_000_000 + batch * 100;
                    let events = (first..first + 20).map(event).collect();
                    let fates = pipeline.submit(place(), NOW, events).await.unwrap();
                    assert!(all(&fates, Fate::Accepted));
                }
            });
        }
        while let Some(done) = senders.join_next().await {
            done.unwrap();
        }
        let after = before.crash(how).await;
        for sender in 0..8_u128 {
            for batch in 0..10_u128 {
                let first = sender * 1_000_000 + batch * 100;
                let fates = after.send(first..first + 20).await.unwrap();
                assert!(all(&fates, Fate::Duplicate), "{how:?}: {fates:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_and_the_rest_of_the_log_are_the_same_as_the_whole_log() {
    let bench = Bench::new().await;
    for batch in 0..20_u128 {
        bench.send(batch * 10..batch * 10 + 30).await.unwrap();
        bench.pipeline.command(Record::Tick { now: NOW + Span::seconds(batch as i64) }).await.unwrap();
        if batch % 7 == 3 {
            bench.pipeline.checkpoint().await.unwrap();
        }
    }
    let told = bench.pipeline.status();
    assert!(told.checkpoint > 0 && told.checkpoint < told.folded, "{told:?}");
    let saved = bench.crash(Crash::Forget).await;
    let whole = Bench::on(bench.disk.crash(Crash::Forget), memory(), Settings::default()).await;
    assert_eq!(saved.pipeline.status().folded, told.folded);
    assert_eq!(whole.pipeline.status().folded, told.folded);
    assert_eq!(saved.pipeline.status().last_tick, whole.pipeline.status().last_tick);
    for life in [&saved, &whole] {
        assert!(all(&life.send(0..220).await.unwrap(), Fate::Duplicate));
        assert!(all(&life.send(220..230).await.unwrap(), Fate::Accepted));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let bench = Bench::new().await;
    bench.send(0..10).await.unwrap();
    bench.disk.capacity(Some(bench.disk.used() + 300));
    assert_eq!(bench.send(10..40).await, Err(Unavailable::Full));
    assert!(bench.pipeline.status().full);
    bench.disk.capacity(None);
    assert!(all(&bench.send(10..40).await.unwrap(), Fate::Accepted));
    assert!(!bench.pipeline.status().full);
    let after = bench.crash(Crash::Forget).await;
    assert!(all(&after.send(0..40).await.unwrap(), Fate::Duplicate));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_acknowledges_nothing() {
    let bench = Bench::new().await;
    bench.send(0..10).await.unwrap();
    bench.disk.fail_sync(0);
    assert!(matches!(bench.send(10..20).await, Err(Unavailable::Fault(_))));
    assert!(all(&bench.send(10..20).await.unwrap(), Fate::Accepted));
    let after = bench.crash(Crash::Forget).await;
    assert!(all(&after.send(0..20).await.unwrap(), Fate::Duplicate));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_at_once() {
    let settings = Settings { in_flight: 1_000, exposures: 2, ..Settings::default() };
    let bench = Bench::on(Unreliable::new(), memory(), settings).await;
    // One batch fills the whole allowance, so that two at once do not fit.
    let both = tokio::join!(bench.send(0..50), bench.send(50..100));
    let refused =
        [&both.0, &both.1].into_iter().filter(|result| **result == Err(Unavailable::Overloaded)).count();
    assert_eq!(refused, 1, "{both:?}");
    assert!(all(&bench.send(100..150).await.unwrap(), Fate::Accepted));
    for id in 0..5 {
        bench.pipeline.expose(&place(), event(1_000 + id));
    }
    assert_eq!(bench.pipeline.status().exposures_lost, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exposures_of_the_server_are_carried_into_the_log() {
    let bench = Bench::new().await;
    let stop = CancellationToken::new();
    for id in 0..5 {
        bench.pipeline.expose(&place(), event(id));
    }
    stop.cancel();
    bench.pipeline.carry_exposures(&stop).await;
    let after = bench.crash(Crash::Forget).await;
    assert!(all(&after.send(0..5).await.unwrap(), Fate::Duplicate));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_saves_and_later_calls_are_refused() {
    let bench = Bench::new().await;
    bench.send(0..10).await.unwrap();
    bench.now.store(NOW.0 + 5, Ordering::SeqCst);
    bench.pipeline.close().await;
    assert_eq!(bench.send(10..20).await, Err(Unavailable::Stopped));
    let status = bench.pipeline.status();
    assert_eq!((status.checkpoint, status.checkpoint_at), (status.folded, Some(Timestamp(NOW.0 + 5))));
    let after = bench.crash(Crash::Keep).await;
    assert!(all(&after.send(0..10).await.unwrap(), Fate::Duplicate));
}
