//! The client's own thread: follows the stream, keeps the copy on disk, sends what was noted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ensign_control::ids::{Span, Timestamp};
use ensign_protocol::stream::{Frame, Hello};
use reqwest::Response;
use reqwest::header::{ACCEPT, HeaderMap, RETRY_AFTER};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::client::Shared;
use crate::config::{Change, Config};
use crate::disk;
use crate::held::{Held, Signing};
use crate::pause::pause;
use crate::report::{Batch, Note, Numbers, Queued, Verdict, verdict};
use crate::sse::Reader;
use crate::sync::{Do, End, Input, Settings, Sync};

/// Random bits, for waits and names.
pub(crate) fn dice() -> u64 {
    // Without a source of randomness waits are not spread; nothing else suffers.
    getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15)
}

/// Milliseconds since 1970.
pub(crate) fn wall_clock() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the process that uses the SDK: events say when"
    )]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn length(span: Span) -> Duration {
    Duration::from_micros(u64::try_from(span.0).unwrap_or(0))
}

fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

enum Line {
    Closed,
    Opening(std::pin::Pin<Box<dyn Future<Output = Result<Response, reqwest::Error>> + Send>>),
    Open(Response, Reader),
}

enum News {
    Opened(Response),
    Bytes(Vec<u8>),
    Ended(End),
}

impl Line {
    /// What comes next; may be dropped and asked again.
    async fn next(&mut self) -> News {
        match self {
            Self::Closed => std::future::pending().await,
            Self::Opening(answer) => match answer.await {
                Err(_) => News::Ended(End::Lost),
                Ok(response) => match response.status().as_u16() {
                    200 => News::Opened(response),
                    status @ (401 | 403) => News::Ended(End::Refused(status)),
                    _ => match retry_after(response.headers()) {
                        Some(seconds) => {
                            let seconds = i64::try_from(seconds.min(3_600)).unwrap_or(60);
                            News::Ended(End::Later(Span::seconds(seconds)))
                        }
                        None => News::Ended(End::Lost),
                    },
                },
            },
            Self::Open(response, _) => match response.chunk().await {
                Ok(Some(bytes)) => News::Bytes(bytes.to_vec()),
                Ok(None) | Err(_) => News::Ended(End::Lost),
            },
        }
    }
}

/// Follows the stream until told to stop.
pub(crate) struct Follower {
    pub(crate) shared: Arc<Shared>,
    pub(crate) http: reqwest::Client,
    pub(crate) config: Config,
    pub(crate) held: Held,
    pub(crate) file: Option<PathBuf>,
    pub(crate) began: Instant,
}

impl Follower {
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    pub(crate) async fn run(mut self, settings: Settings, mut stop: watch::Receiver<bool>) {
        let mut sync = Sync::new(settings, self.held.at.clone(), self.now());
        let (mut line, mut connection) = (Line::Closed, 0);
        loop {
            let wake = self.began + length(Span(sync.wake().0));
            let news = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                news = line.next() => Some(news),
                () = tokio::time::sleep_until(wake) => None,
            };
            let now = self.now();
            let todo = match news {
                None => sync.step(now, Input::Tick, dice()),
                Some(News::Opened(response)) => {
                    line = Line::Open(response, Reader::default());
                    Vec::new()
                }
                Some(News::Ended(end)) => {
                    line = Line::Closed;
                    sync.step(now, Input::Ended { connection, end }, dice())
                }
                Some(News::Bytes(bytes)) => self.bytes(&mut sync, &mut line, connection, &bytes).await,
            };
            for what in todo {
                match what {
                    Do::Connect { connection: number, cursor } => {
                        connection = number;
                        line = self.connect(cursor);
                    }
                    Do::Close { .. } => line = Line::Closed,
                    Do::Take => {}
                }
            }
            self.shared.set_contact(sync.contact(self.now()));
        }
    }

    fn connect(&self, cursor: Option<String>) -> Line {
        let mut request = self
            .http
            .get(format!("{}/api/v1/stream", self.config.url))
            .bearer_auth(&self.config.key)
            .header(ACCEPT, "text/event-stream");
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
        Line::Opening(Box::pin(request.send()))
    }

    async fn bytes(&mut self, sync: &mut Sync, line: &mut Line, connection: u64, bytes: &[u8]) -> Vec<Do> {
        let now = self.now();
        sync.step(now, Input::Heard { connection }, dice());
        let Line::Open(_, reader) = line else { return Vec::new() };
        let mut events = Vec::new();
        let readable = reader.take(bytes, &mut events);
        for event in &events {
            let frame = Frame::read(&event.name, &event.data).ok();
            let todo = sync.step(now, Input::Frame { connection, frame: frame.as_ref() }, dice());
            if !todo.contains(&Do::Take) {
                if !todo.is_empty() {
                    return todo;
                }
                continue;
            }
            if let Some(frame) = frame {
                self.take(frame).await;
            }
        }
        if readable.is_err() {
            return sync.step(now, Input::Frame { connection, frame: None }, dice());
        }
        Vec::new()
    }

    /// Serves what a frame says, tells who wants to know, and keeps it.
    async fn take(&mut self, frame: Frame) {
        let changed = match frame {
            Frame::Hello(Hello { place, attribution, .. }) => {
                self.held.signing = attribution.and_then(|keys| Signing::of(&place, &keys));
                if self.held.at.is_some() {
                    self.shared.publish(self.held.snapshot());
                }
                return;
            }
            Frame::Put(put) => self.held.put(put),
            Frame::Patch(patch) => self.held.patch(patch),
            Frame::Other => return,
        };
        self.shared.publish(self.held.snapshot());
        if let (Some(listener), Some(at)) = (&self.config.on_change, &self.held.at) {
            listener(&Change { revision: at.revision, flags: changed });
        }
        if let (Some(file), Some(put)) = (self.file.clone(), self.held.to_put()) {
            // A copy that cannot be written is only missed at the next cold start.
            let saved = tokio::task::spawn_blocking(move || disk::save(&file, &put)).await;
            self.shared.set_kept(matches!(saved, Ok(Ok(()))));
        }
    }
}

/// Sends what was noted until told to stop, and then once more what is there.
pub(crate) struct Sender {
    pub(crate) shared: Arc<Shared>,
    pub(crate) http: reqwest::Client,
    pub(crate) config: Config,
    pub(crate) queue: mpsc::Receiver<Queued>,
    pub(crate) numbers: Numbers,
    /// How many dropped notes the server has been told of.
    pub(crate) told: u64,
}

impl Sender {
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut flushed = Vec::new();
        loop {
            let first = tokio::select! {
                biased;
                first = self.queue.recv() => first,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Some(first) = first else { return };
            let mut notes = Vec::new();
            let mut urgent = take_in(first, &mut notes, &mut flushed);
            let until = Instant::now() + self.config.flush;
            while !urgent && notes.len() < self.config.batch {
                tokio::select! {
                    next = self.queue.recv() => match next {
                        Some(next) => urgent = take_in(next, &mut notes, &mut flushed),
                        None => urgent = true,
                    },
                    () = tokio::time::sleep_until(until) => urgent = true,
                    _ = stop.wait_for(|stop| *stop) => urgent = true,
                }
            }
            if !notes.is_empty() {
                let batch = self.numbers.batch(notes);
                self.deliver(batch, &mut stop).await;
            }
            for done in flushed.drain(..) {
                let _ = done.send(());
            }
        }
    }

    /// Sends until it is acknowledged or will never be; at the stop it is tried once more.
    async fn deliver(&mut self, batch: Batch, stop: &mut watch::Receiver<bool>) {
        let mut left = vec![batch];
        let mut failures = 0;
        while let Some(mut batch) = left.pop() {
            let (status, after) = self.send(&batch).await;
            if status == Some(200) {
                failures = 0;
                continue;
            }
            self.shared.reports.failed_try();
            let wait = match verdict(status, after) {
                Verdict::Again(after) => {
                    let wait = after + pause(Span::millis(500), Span::seconds(30), failures, dice());
                    failures += 1;
                    left.push(batch);
                    wait
                }
                Verdict::Halve => {
                    match batch.halve() {
                        Some(second) => left.extend([second, batch]),
                        None => self.shared.reports.answered(1, 1),
                    }
                    continue;
                }
                Verdict::Never => {
                    self.shared.reports.answered(batch.len(), batch.len());
                    continue;
                }
            };
            if *stop.borrow() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(length(wait)) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    async fn send(&mut self, batch: &Batch) -> (Option<u16>, Option<u64>) {
        let dropped = self.shared.reports.counts().dropped;
        let request = self
            .http
            .post(format!("{}/api/v1/events", self.config.url))
            .bearer_auth(&self.config.key)
            .header("content-type", "application/json")
            .header("ensign-dropped", dropped - self.told)
            .timeout(Duration::from_secs(30))
            .body(batch.body(wall_clock()));
        let Ok(response) = request.send().await else { return (None, None) };
        let (status, after) = (response.status().as_u16(), retry_after(response.headers()));
        if status != 200 {
            return (Some(status), after);
        }
        // An answer that was cut off may have been meant for all: the same numbers are sent again.
        let Ok(answer) = response.json::<serde_json::Value>().await else { return (None, None) };
        let refused = answer.get("refused").and_then(serde_json::Value::as_u64).unwrap_or(0);
        self.shared.reports.answered(batch.len(), refused);
        self.told = dropped;
        (Some(200), None)
    }
}

/// Whether the batch is to be sent at once.
fn take_in(
    queued: Queued,
    notes: &mut Vec<Note>,
    flushed: &mut Vec<tokio::sync::oneshot::Sender<()>>,
) -> bool {
    match queued {
        Queued::Note(note) => {
            notes.push(note);
            false
        }
        Queued::Flush(done) => {
            flushed.push(done);
            true
        }
    }
}
