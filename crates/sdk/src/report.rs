//! What is told to the server: exposures, requests, outcomes; in bounded batches, never blocking.
//!
//! A note goes into a bounded queue without waiting. One task takes notes out, numbers them, and sends batch after
//! batch, each until it is acknowledged, so that an event is counted once however often it is sent. What does not fit
//! into the queue is dropped, counted, and the count is reported with the next batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ensign_control::ids::Span;
use ensign_control::metric::Status;
use ensign_eval::Context;
use serde_json::{Map, Value as Json, json};
use tokio::sync::{mpsc, oneshot};

use crate::answer::{Answer, Record};

/// Exposures that are remembered, so that a unit that asks often is reported once. A power of two.
const REMEMBERED: usize = 1 << 14;

/// How a model request ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// How it ended.
    pub status: Status,
    /// How long it took.
    pub duration: Duration,
    /// When its first token came.
    pub first_token: Option<Duration>,
    /// Tokens sent.
    pub tokens_in: Option<u32>,
    /// Tokens received.
    pub tokens_out: Option<u32>,
    /// Its cost, where the price table does not say it.
    pub cost: Option<f64>,
    /// The use case, for its price table.
    pub use_case: Option<String>,
    /// The model, for the price table.
    pub model: Option<String>,
    /// An id that outcomes can name later.
    pub id: Option<String>,
}

impl Request {
    /// A request that ended like this after so long.
    #[must_use]
    pub fn new(status: Status, duration: Duration) -> Self {
        Self {
            status,
            duration,
            first_token: None,
            tokens_in: None,
            tokens_out: None,
            cost: None,
            use_case: None,
            model: None,
            id: None,
        }
    }
}

/// What became of the notes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Notes that came into the queue.
    pub noted: u64,
    /// Notes that did not fit.
    pub dropped: u64,
    /// Events that the server has acknowledged, repeated ones among them.
    pub acknowledged: u64,
    /// Events that the server refused, each with a reason; they are not sent again.
    pub refused: u64,
    /// Tries to send a batch that failed.
    pub failed_tries: u64,
}

#[derive(Debug, Default)]
struct Counters {
    noted: AtomicU64,
    dropped: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    failed_tries: AtomicU64,
}

#[derive(Debug)]
pub(crate) enum Queued {
    Note(Note),
    Flush(oneshot::Sender<()>),
}

/// Something to tell, and when it happened (milliseconds since 1970).
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) time: i64,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Exposure(Record),
    Request { records: Vec<Record>, request: Request },
    Outcome { records: Vec<Record>, token: Option<String>, metric: String, value: Value },
}

/// The value of an outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Number(f64),
    Ratio(f64, f64),
}

/// The end of the queue that evaluations hold.
#[derive(Debug)]
pub(crate) struct Reports {
    queue: mpsc::Sender<Queued>,
    seen: Box<[AtomicU64]>,
    exposures: bool,
    counters: Counters,
}

impl Reports {
    pub(crate) fn new(bound: usize, exposures: bool) -> (Self, mpsc::Receiver<Queued>) {
        let (queue, taken) = mpsc::channel(bound);
        let seen = (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect();
        (Self { queue, seen, exposures, counters: Counters::default() }, taken)
    }

    /// Notes that a unit received a variant, unless it was noted lately. Only compared units have exposures.
    #[inline]
    pub(crate) fn expose(&self, answer: &Answer<'_>, context: &impl Context, now: impl FnOnce() -> i64) {
        let decision = answer.decision();
        if !decision.compared || !self.exposures {
            return;
        }
        let stratum = decision.allocation.map_or(0, |id| id.0)
            ^ (u64::from(decision.epoch) << 32)
            ^ u64::from(answer.variant_index().unwrap_or(0)).rotate_left(56);
        // The hash stands for the unit: two units of one allocation share it once in 2^60. Zero is an empty place.
        let id = (decision.hash ^ stratum) | 1;
        let place = &self.seen[(id >> 1) as usize % REMEMBERED];
        if place.load(Ordering::Relaxed) == id {
            return;
        }
        place.store(id, Ordering::Relaxed);
        self.note_exposure(place, answer, context, now);
    }

    #[cold]
    fn note_exposure(
        &self,
        place: &AtomicU64,
        answer: &Answer<'_>,
        context: &impl Context,
        now: impl FnOnce() -> i64,
    ) {
        let Some(record) = answer.record(context) else { return };
        if !self.note(now(), What::Exposure(record)) {
            // The next evaluation tries again.
            place.store(0, Ordering::Relaxed);
        }
    }

    /// Puts a note into the queue, or drops and counts it.
    pub(crate) fn note(&self, time: i64, what: What) -> bool {
        let fits = self.queue.try_send(Queued::Note(Note { time, what })).is_ok();
        let counter = if fits { &self.counters.noted } else { &self.counters.dropped };
        counter.fetch_add(1, Ordering::Relaxed);
        fits
    }

    /// Asks for everything noted so far to be sent now; resolves when it has been acknowledged.
    pub(crate) async fn flush(&self) -> bool {
        let (done, wait) = oneshot::channel();
        self.queue.send(Queued::Flush(done)).await.is_ok() && wait.await.is_ok()
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            noted: read(&self.counters.noted),
            dropped: read(&self.counters.dropped),
            acknowledged: read(&self.counters.acknowledged),
            refused: read(&self.counters.refused),
            failed_tries: read(&self.counters.failed_tries),
        }
    }

    pub(crate) fn failed_try(&self) {
        self.counters.failed_tries.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes in the server's answer to a batch of `events`.
    pub(crate) fn answered(&self, events: u64, refused: u64) {
        self.counters.acknowledged.fetch_add(events.saturating_sub(refused), Ordering::Relaxed);
        self.counters.refused.fetch_add(refused, Ordering::Relaxed);
    }
}

/// A batch on its way: numbered once, sent until it is acknowledged.
#[derive(Debug)]
pub(crate) struct Batch {
    events: Vec<Json>,
}

/// Numbers events.
#[derive(Debug)]
pub(crate) struct Numbers {
    source: String,
    next: u64,
}

impl Numbers {
    /// `source` is unique among all senders that ever were.
    pub(crate) fn new(source: String) -> Self {
        Self { source, next: 0 }
    }

    /// Makes a batch. Numbers are given here and not when something is noted, so that what was dropped leaves no hole.
    pub(crate) fn batch(&mut self, notes: impl IntoIterator<Item = Note>) -> Batch {
        let events = notes.into_iter().map(|note| {
            let mut event = write(note);
            event.insert("source".to_owned(), json!(self.source));
            event.insert("seq".to_owned(), json!(self.next));
            self.next += 1;
            Json::Object(event)
        });
        Batch { events: events.collect() }
    }
}

impl Batch {
    pub(crate) fn len(&self) -> u64 {
        self.events.len() as u64
    }

    /// The body, with the sender's clock of this try.
    pub(crate) fn body(&self, sent_at: i64) -> String {
        json!({ "sent_at": sent_at, "events": self.events }).to_string()
    }

    /// Two halves, for a server that wants smaller batches; none when there is nothing to halve.
    pub(crate) fn halve(&mut self) -> Option<Batch> {
        let middle = self.events.len() / 2;
        (middle > 0).then(|| Batch { events: self.events.split_off(middle) })
    }
}

/// What a failed try means for the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it again, after at least so long.
    Again(Span),
    /// Send it in two halves.
    Halve,
    /// It will never be taken.
    Never,
}

/// What a status says. No answer at all is no status.
pub(crate) fn verdict(status: Option<u16>, retry_after: Option<u64>) -> Verdict {
    let after = Span::seconds(i64::try_from(retry_after.unwrap_or(0).min(3_600)).unwrap_or(0));
    match status {
        Some(413) => Verdict::Halve,
        // The body is at fault, and will be at fault again.
        Some(400 | 415 | 422) => Verdict::Never,
        // Somebody has to mend the key.
        Some(401 | 403 | 404) => Verdict::Again(after.max(Span::seconds(30))),
        Some(_) | None => Verdict::Again(after),
    }
}

fn write(note: Note) -> Map<String, Json> {
    let mut event = Map::new();
    let mut put = |name: &str, value: Json| drop(event.insert(name.to_owned(), value));
    put("time", json!(note.time));
    match note.what {
        What::Exposure(record) => {
            put("type", json!("exposure"));
            put("decisions", json!([decision(&record)]));
        }
        What::Request { records, request } => {
            put("type", json!("request"));
            if !records.is_empty() {
                put("decisions", records.iter().map(decision).collect());
            }
            put("status", json!(request.status));
            put("duration_ms", json!(request.duration.as_secs_f64() * 1_000.0));
            let first_token = request.first_token.map(|time| json!(time.as_secs_f64() * 1_000.0));
            for (name, value) in [
                ("ttft_ms", first_token),
                ("tokens_in", request.tokens_in.map(|count| json!(count))),
                ("tokens_out", request.tokens_out.map(|count| json!(count))),
                ("cost", request.cost.map(|cost| json!(cost))),
                ("use_case", request.use_case.map(|key| json!(key))),
                ("model", request.model.map(|model| json!(model))),
                ("request", request.id.map(|id| json!(id))),
            ] {
                if let Some(value) = value {
                    put(name, value);
                }
            }
        }
        What::Outcome { records, token, metric, value } => {
            put("type", json!("outcome"));
            if !records.is_empty() {
                put("decisions", records.iter().map(decision).collect());
            }
            if let Some(token) = token {
                put("token", json!(token));
            }
            put("metric", json!(metric));
            match value {
                Value::Bool(value) => put("value", json!(value)),
                Value::Number(value) => put("value", json!(value)),
                Value::Ratio(numerator, denominator) => {
                    put("numerator", json!(numerator));
                    put("denominator", json!(denominator));
                }
            }
        }
    }
    event
}

fn decision(record: &Record) -> Json {
    let mut all = json!({
        "flag": &*record.flag,
        "variant": record.variant,
        "unit": { "kind": &*record.kind, "key": &*record.key },
    });
    if let Some((allocation, epoch)) = record.split {
        all["allocation"] = json!(format!("{allocation:016x}"));
        all["epoch"] = json!(epoch);
    }
    all
}
