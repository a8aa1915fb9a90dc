//! The log's own thread: many groups, one fdatasync.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::segments::{SegmentInfo, Shared};
use super::{Files, Group, LogError, Reader, SegmentLog};
use crate::{Fault, Micros};

/// How many bytes of records one fdatasync may cover, so that a flood does not make the first group wait for long.
const BATCH_BYTES: usize = 8 << 20;

/// Where an acknowledged group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The position of its first record.
    pub first: u64,
    /// The position behind its last record.
    pub end: u64,
}

type Answer = Box<dyn FnOnce(Result<Appended, LogError>) + Send>;
type Job = Box<dyn FnOnce(&mut SegmentLog) + Send>;

enum Message {
    Append(Group, Answer),
    Do(Job),
    Stop,
}

/// A handle to the writing thread. Dropping it stops the thread after the groups that wait.
pub struct LogWriter {
    queue: SyncSender<Message>,
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    /// Starts the thread.
    pub fn start(log: SegmentLog, waiting_groups: usize) -> Result<Self, LogError> {
        let shared = log.shared();
        let (queue, inbox) = sync_channel(waiting_groups.max(1));
        let thread = Builder::new().name("event-log".into()).spawn(move || run(log, &inbox));
        let thread = thread.map_err(|error| LogError::io("start", "its thread", &error))?;
        Ok(Self { queue, shared, thread: Some(thread) })
    }

    /// Hands over a group and returns at once. `done` is called on the writer's thread, in log order, when the group
    /// is durable or has failed; it must not block. On an error here it is not called.
    pub fn submit(
        &self,
        group: Group,
        done: impl FnOnce(Result<Appended, LogError>) + Send + 'static,
    ) -> Result<(), LogError> {
        self.queue.try_send(Message::Append(group, Box::new(done))).map_err(|error| match error {
            TrySendError::Full(_) => LogError::Busy,
            TrySendError::Disconnected(_) => stopped(),
        })
    }

    /// Appends a group and waits until it is durable.
    pub async fn append(&self, group: Group) -> Result<Appended, LogError> {
        let (send, receive) = tokio::sync::oneshot::channel();
        self.submit(group, move |result| {
            // The request may have gone away meanwhile; the group is durable all the same.
            let _ = send.send(result);
        })?;
        receive.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// See [`SegmentLog::drop_before`].
    pub async fn drop_before(&self, position: u64, older_than: Micros) -> Result<usize, LogError> {
        let (send, receive) = tokio::sync::oneshot::channel();
        let job = move |log: &mut SegmentLog| {
            let _ = send.send(log.drop_before(position, older_than));
        };
        self.queue.try_send(Message::Do(Box::new(job))).map_err(|_| LogError::Busy)?;
        receive.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// The first position that is not durable.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.shared.end()
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared.segments()
    }

    /// Reads everything durable from a position on, while writing continues. Blocks on the disk.
    pub fn read_from(&self, position: u64) -> Result<Reader, LogError> {
        self.shared.read_from(position)
    }

    /// Copies everything durable into an empty folder, while writing continues. Blocks on the disk.
    pub fn copy_to(&self, target: &dyn Files) -> Result<(), LogError> {
        self.shared.copy_to(target)
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // A send fails only when the thread has ended already.
        let _ = self.queue.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn stopped() -> LogError {
    LogError::Fault(Fault::ours("event log: its thread has stopped"))
}

fn run(mut log: SegmentLog, inbox: &Receiver<Message>) {
    let mut batch = Vec::new();
    while let Ok(first) = inbox.recv() {
        let mut next = Some(first);
        let mut after = None;
        let mut bytes = 0;
        while let Some(message) = next.take() {
            match message {
                Message::Append(group, answer) => {
                    bytes += group.iter().map(<[u8]>::len).sum::<usize>();
                    batch.push((append(&mut log, &group), answer));
                    // A repair takes back what this batch wrote: it must not happen before the batch is answered.
                    if bytes < BATCH_BYTES && !log.is_poisoned() {
                        next = inbox.try_recv().ok();
                    }
                }
                Message::Do(_) | Message::Stop => after = Some(message),
            }
        }
        acknowledge(&mut log, &mut batch);
        match after {
            Some(Message::Stop) => {
                // A missing mark at the end costs only precision in telling damage from a torn tail.
                let _ = log.close();
                return;
            }
            Some(Message::Do(job)) => job(&mut log),
            Some(Message::Append(..)) | None => {}
        }
    }
}

fn append(log: &mut SegmentLog, group: &Group) -> Result<Appended, LogError> {
    let first = log.append(group)?;
    Ok(Appended { first, end: first + group.len() as u64 })
}

/// One sync for the batch, then every answer in order. If a write failed, the sync repairs instead, and the groups in
/// front of the failure, which the repair takes back, fail too.
fn acknowledge(log: &mut SegmentLog, batch: &mut Vec<(Result<Appended, LogError>, Answer)>) {
    let synced = if batch.is_empty() { Ok(0) } else { log.sync() };
    for (appended, answer) in batch.drain(..) {
        answer(match (appended, &synced) {
            (Ok(at), Ok(end)) if at.end <= *end => Ok(at),
            (Ok(_), Err(error)) => Err(error.clone()),
            (Ok(_), Ok(_)) => Err(LogError::Fault(Fault::machine("event log: taken back by a failed write"))),
            (Err(error), _) => Err(error),
        });
    }
}
