//! The guard's loop against an application that fails: it says so, and tries again.
#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ensign_control::event::{Event, Identity, Subject, What};
use ensign_control::ids::{Fingerprint, Place, Revision, RolloutId, Span, Timestamp};
use ensign_control::metric::MetricRef;
use ensign_server::Clock;
use ensign_server::guard::{Charge, Guard, Look, Outcome, Tuning};
use ensign_server::ingest::{Pipeline, Settings};
use ensign_store::log::unreliable::Unreliable;
use ensign_store::log::{Limits, LogWriter, SegmentLog};
use ensign_store::{FenceCheck, Memory, Micros, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// An application with one rollout, whose answers are written down beforehand.
#[derive(Default)]
struct Script {
    answers: Mutex<Vec<Outcome>>,
    looks: AtomicU64,
    over: AtomicBool,
    clock: AtomicU64,
    looked: Notify,
    fences: Mutex<Vec<FenceCheck>>,
}

fn place() -> Place {
    Place { project: "default".parse().unwrap(), environment: "production".parse().unwrap() }
}

fn rollout() -> RolloutId {
    RolloutId { place: place(), flag: "model".parse().unwrap(), number: 1 }
}

fn decided() -> Outcome {
    Outcome::Decided { revision: Revision(7), what: "rollout.rolled_back".into() }
}

#[async_trait]
impl Charge for Script {
    /// Each look at the clock is two seconds later, so that no look waits for another second.
    fn now(&self) -> Timestamp {
        NOW + Span::seconds(2 * self.clock.fetch_add(1, Ordering::SeqCst) as i64)
    }

    fn active(&self) -> Vec<RolloutId> {
        if self.over.load(Ordering::SeqCst) { Vec::new() } else { vec![rollout()] }
    }

    async fn look(&self, look: &Look, fence: &FenceCheck) -> Outcome {
        assert_eq!(look.rollout, rollout());
        self.fences.lock().unwrap().push(fence.clone());
        let answer = self.answers.lock().unwrap().pop().unwrap_or(Outcome::Nothing);
        if answer == decided() {
            self.over.store(true, Ordering::SeqCst);
        }
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.looked.notify_one();
        answer
    }

    async fn due(&self) {
        self.looked.notify_one();
    }
}

struct Bench {
    disk: Unreliable,
    store: Arc<dyn Store>,
    pipeline: Arc<Pipeline>,
    script: Arc<Script>,
    guard: Arc<Guard>,
}

impl Bench {
    async fn new(mut answers: Vec<Outcome>) -> Self {
        answers.reverse();
        let disk = Unreliable::new();
        let clock = Clock::new(|| NOW);
        let store: Arc<dyn Store> = Arc::new(Memory::new(Arc::new(|| Micros(NOW.0))));
        let log = SegmentLog::open(Arc::new(disk.clone()), Limits::default(), clock.for_store()).unwrap();
        let log = Arc::new(LogWriter::start(log, 64).unwrap());
        let pipeline = Pipeline::open(Settings::default(), Arc::clone(&store), log, clock).await.unwrap();
        let pipeline = Arc::new(pipeline);
        let script = Arc::new(Script { answers: Mutex::new(answers), ..Script::default() });
        let charge: Arc<dyn Charge> = Arc::clone(&script) as _;
        let short = Duration::from_millis(1);
        let tuning = Tuning { busy: short, settling: short, idle: short, ..Tuning::default() };
        let weak = Arc::downgrade(&charge);
        let guard = Guard::new(Arc::clone(&pipeline), Arc::clone(&store), weak, tuning, "here");
        Self { disk, store, pipeline, script, guard: Arc::new(guard) }
    }

    /// Runs the guard until `enough`.
    async fn run_until(&self, enough: impl Fn(&Self) -> bool) {
        let stop = CancellationToken::new();
        let (guard, token) = (Arc::clone(&self.guard), stop.clone());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { guard.run(&token).await });
        while !enough(self) {
            self.script.looked.notified().await;
        }
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_waits_for_the_store_and_is_taken_once() {
    let failed = || Outcome::Failed("the disk is full".into());
    let bench = Bench::new(vec![Outcome::Nothing, failed(), failed(), decided()]).await;
    bench.run_until(|bench| bench.script.looks.load(Ordering::SeqCst) >= 3).await;
    assert!(bench.guard.failures() >= 2, "the third answer is a failure too");
    assert_eq!(bench.guard.decisions(), 0);
    bench.run_until(|bench| bench.guard.decisions() == 1).await;
    bench.run_until(|bench| bench.guard.failures() == 0 && bench.guard.last_look().is_some()).await;
    assert_eq!((bench.script.looks.load(Ordering::SeqCst), bench.guard.decisions()), (4, 1));
    // One lease all the time, and given back at each end.
    let fences = bench.script.fences.lock().unwrap().clone();
    assert!(fences.iter().all(|fence| fence.lease == "rollout/default/production/model.1"), "{fences:?}");
    assert!(
        bench.store.acquire("rollout/default/production/model.1", "elsewhere", 1).await.unwrap().is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_log_it_does_not_look_and_says_so() {
    let bench = Bench::new(Vec::new()).await;
    bench.disk.capacity(Some(bench.disk.used()));
    bench.run_until(|bench| bench.guard.failures() >= 3).await;
    assert_eq!((bench.script.looks.load(Ordering::SeqCst), bench.guard.last_look()), (0, None));
    bench.disk.capacity(None);
    bench.run_until(|bench| bench.guard.last_look().is_some()).await;
    assert_eq!(bench.guard.failures(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_rollout_is_left_alone() {
    let bench = Bench::new(Vec::new()).await;
    let taken = bench.store.acquire("rollout/default/production/model.1", "elsewhere", 1_000_000_000).await;
    assert!(taken.unwrap().is_some());
    bench.run_until(|bench| bench.guard.last_look().is_some()).await;
    assert_eq!(bench.script.looks.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_wakes_it() {
    let bench = Bench::new(Vec::new()).await;
    bench.run_until(|bench| bench.script.looks.load(Ordering::SeqCst) >= 1).await;
    let to = Subject { served: Vec::new(), request: Some(Fingerprint(1)), unit: None };
    let metric = MetricRef::Custom("helpful".parse().unwrap());
    let what = What::Outcome { metric, value: 1.0, weight: 1.0, to };
    let event = Event { identity: Identity::Id(Fingerprint(9)), time: NOW, what };
    bench.pipeline.submit(place(), NOW, vec![event]).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(5), bench.pipeline.evidence_came()).await;
    assert!(woken.is_ok());
}
