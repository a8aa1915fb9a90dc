//! One client's stream: a cursor, and nothing else of its own.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use tokio::sync::watch;

use super::topic::{Next, Signal};
use super::{Seat, Topic};

/// How a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The client has nothing, or something too old: the whole comes first.
    Whole,
    /// The client has what is served now.
    Current,
    /// The client has an earlier version, and the steps from there on are sent.
    Behind,
}

struct Reader {
    topic: Arc<Topic>,
    signals: watch::Receiver<Signal>,
    cursor: u64,
    beat: u32,
    first: [Option<Bytes>; 2],
    _seat: Seat,
}

impl Topic {
    /// A client's stream. `since` is the tag of what it has. `greet` may put bytes in front, knowing how the stream
    /// begins and the tag of what is served now; then comes the whole, if it is needed, and each step from there.
    pub fn stream(
        self: &Arc<Self>,
        seat: Seat,
        since: Option<&str>,
        greet: &dyn Fn(Start, &str) -> Option<Bytes>,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
        let signals = self.signals(seat.cohort());
        let view = self.view();
        let (start, cursor) = match since.and_then(|tag| view.cursor_of(tag)) {
            Some(cursor) if cursor == view.head => (Start::Current, cursor),
            Some(cursor) => (Start::Behind, cursor),
            None => (Start::Whole, view.head),
        };
        let whole = (start == Start::Whole).then(|| std::sync::LazyLock::force(&view.whole).clone());
        let first = [greet(start, &view.tag), whole];
        let beat = signals.borrow().beat;
        let reader = Reader { topic: Arc::clone(self), signals, cursor, beat, first, _seat: seat };
        unfold(reader, |mut reader| async move { Some((Ok(reader.next().await?), reader)) })
    }
}

impl Reader {
    /// What is to be sent next; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.first.iter_mut().find_map(Option::take) {
            return Some(bytes);
        }
        loop {
            let signal = *self.signals.borrow_and_update();
            match self.topic.next(self.cursor) {
                Next::Step(bytes) => {
                    self.cursor += 1;
                    return Some(bytes);
                }
                Next::Whole(bytes, cursor) => {
                    self.cursor = cursor;
                    return Some(bytes);
                }
                Next::Nothing => {}
            }
            if signal.closing {
                return None;
            }
            if signal.beat != self.beat {
                self.beat = signal.beat;
                return Some(self.topic.heartbeat.clone());
            }
            self.signals.changed().await.ok()?;
        }
    }
}
