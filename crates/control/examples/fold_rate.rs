//! Measures the fold: events per second on one core, and bytes per live unit.
//!
//! `cargo run --release -p ensign-control --example fold_rate`

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ensign_control::event::{Event, Identity, Request, Served, What};
use ensign_control::evidence::watch::{Guard, Margin, OnHarm, Randomised, Settle, Stratum, Watch};
use ensign_control::evidence::{Engine, Limits, Record};
use ensign_control::ids::{
    AllocationId, Epoch, Fingerprint, FlagId, Key, Place, RolloutId, Span, Timestamp, Unit,
};
use ensign_control::metric::{Better, Builtin, MetricRef, Shape, Statistic, Status};

/// Counts the bytes that are live.
struct Counting;
static LIVE: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator can only be written with unsafe; it hands everything on")]
// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const T0: Timestamp = Timestamp(1_800_000_000_000_000);

fn key(text: &str) -> Key {
    text.parse().expect("the keys of this example are keys")
}

fn place() -> Place {
    Place { project: key("default"), environment: key("production") }
}

fn mix(x: u64) -> u128 {
    let z = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (u128::from(z) << 64) | u128::from(z.wrapping_mul(0x94d0_49bb_1331_11eb) ^ (z >> 32))
}

fn watch(randomised: Randomised) -> Watch {
    let guard = |metric, shape, statistic| Guard {
        metric: MetricRef::Builtin(metric),
        statistic,
        shape,
        better: Better::Lower,
        margin: Margin::Relative(0.5),
        safe_margins: vec![Margin::Relative(1.0)],
        weight: 0.2,
        on_harm: OnHarm::RollBack,
        settle: Settle::After(Span::seconds(2)),
        maturity: None,
        cap: None,
    };
    Watch {
        rollout: RolloutId { place: place(), flag: key("model"), number: 1 },
        flag: FlagId(1),
        allocation: AllocationId(2),
        control: 0,
        new: 1,
        randomised,
        timeout: Span::seconds(10),
        report_lag: Span::seconds(1),
        warmup: Span(0),
        guards: vec![
            guard(Builtin::ErrorRate, Shape::Rate, Statistic::Mean),
            guard(Builtin::Latency, Shape::Value, Statistic::Quantile(0.95)),
            guard(Builtin::TokensOut, Shape::Value, Statistic::Mean),
            guard(Builtin::Unreported, Shape::Rate, Statistic::Mean),
        ],
        alpha: 0.01,
        beta: 0.05,
        alpha_srm: 0.001,
        proof_per_stage: false,
    }
}

/// Half exposures, half requests; `users` units (0: every request is one).
fn batches(events: u64, users: u64, by_id: bool) -> Vec<Record> {
    let mut log = Vec::new();
    let mut batch = Vec::new();
    for i in 0..events {
        let request = i / 2;
        let unit = Unit(mix(if users == 0 { request } else { request % users }));
        let start = T0 + Span(request as i64 * 5);
        let new = (unit.0 >> 7).is_multiple_of(20);
        let split = Some((AllocationId(2), Epoch(1)));
        let served = vec![Served { flag: FlagId(1), variant: u16::from(new), split, unit }];
        let id = Fingerprint(mix(request.wrapping_mul(7_777_777)));
        let what = if i.is_multiple_of(2) {
            What::Exposure { served, request: Some(id) }
        } else {
            What::Request(Request {
                id: Some(id),
                served,
                start,
                duration: Span::millis(200 + (request % 997) as i64),
                first_token: Some(Span::millis(100)),
                status: if request.is_multiple_of(100) { Status::Timeout } else { Status::Ok },
                tokens_in: Some(400),
                tokens_out: Some((request % 700) as u32),
                cost: Some(0.01),
            })
        };
        let identity = if by_id {
            Identity::Id(Fingerprint(mix(i.wrapping_mul(31) + 5)))
        } else {
            Identity::Sequence { source: Fingerprint(i as u128 % 8), seq: i / 8 }
        };
        batch.push(Event { identity, time: start, what });
        if batch.len() == 1_000 {
            log.push(Record::Batch { place: place(), received: start, events: std::mem::take(&mut batch) });
            log.push(Record::Tick { now: start });
        }
    }
    log
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn measure(name: &str, randomised: Randomised, users: u64, by_id: bool) {
    let log = batches(2_000_000, users, by_id);
    let mut engine = Engine::new(Limits::default());
    let stratum = Stratum { epoch: Epoch(1), share: 5_000, at: T0 };
    engine.apply(1, &Record::Watch { watch: Box::new(watch(randomised)), stratum });
    let before = LIVE.load(Ordering::Relaxed);
    let began = Instant::now();
    for (position, record) in (2..).zip(&log) {
        engine.apply(position, record);
    }
    let took = began.elapsed().as_secs_f64();
    let held = engine.held(&place());
    println!(
        "{name}: {:.0} events/s, {:.0} ns each; {} MB live, {held:?}",
        2e6 / took,
        took * 500.0,
        (LIVE.load(Ordering::Relaxed) - before) / 1_000_000
    );
    engine.apply(u64::MAX, &Record::Tick { now: engine.now() + Span::seconds(1_000) });
    let drained = LIVE.load(Ordering::Relaxed) - before;
    println!("  drained: {} MB", drained / 1_000_000);
    let units = engine.held(&place()).units as usize;
    if let Some(each) = drained.checked_div(units) {
        println!("  {each} bytes per unit, four user-level guardrails with a safe margin each included");
    }
    let began = Instant::now();
    let parts: Vec<_> = engine.checkpoint().parts().collect();
    let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
    println!(
        "  checkpoint: {} parts, {} MB, {:.2} s",
        parts.len(),
        bytes / 1_000_000,
        began.elapsed().as_secs_f64()
    );
}

fn main() {
    measure("unit request, numbered events", Randomised::Request, 0, false);
    measure("unit request, events with ids", Randomised::Request, 0, true);
    measure("unit user (200,000), numbered events", Randomised::Unit, 200_000, false);
}
