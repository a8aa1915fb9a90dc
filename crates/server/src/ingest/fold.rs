//! The thread that folds: records in log order, questions in between.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use ensign_control::evidence::report::Evidence;
use ensign_control::evidence::{BlockLog, Engine, Record, Snapshot};
use ensign_control::ids::{RolloutId, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use super::status::Shared;
use super::terms::Taken;

/// Evidence and block log of one rollout, at one position of the log.
#[derive(Clone, Debug)]
pub struct Look {
    /// The position behind the last record they rest on.
    pub position: u64,
    /// The time of the last tick.
    pub at: Timestamp,
    /// What the data supports; none: the rollout is not watched.
    pub evidence: Option<Evidence>,
    /// What a receipt needs; only where it was asked for.
    pub log: Option<BlockLog>,
    /// The rollout.
    pub rollout: RolloutId,
}

type Answer = oneshot::Sender<Taken>;
type Question = Box<dyn FnOnce(&mut Engine, u64) + Send>;

/// What the thread is sent.
pub(super) enum Message {
    /// Durable records, in the order of the log.
    Apply { first: u64, records: Vec<Record>, permit: Option<OwnedSemaphorePermit>, answer: Option<Answer> },
    /// A question; it sees everything sent before it.
    Ask(Question),
    /// What changed since the last time, and the position it belongs to.
    Checkpoint(oneshot::Sender<(u64, Snapshot)>),
    /// End.
    Stop,
}

/// Runs until it is told to stop or nobody can send any more.
pub(super) fn run(mut engine: Engine, mut next: u64, inbox: &Receiver<Message>, shared: &Arc<Shared>) {
    while let Ok(message) = inbox.recv() {
        match message {
            Message::Apply { first, records, permit, answer } => {
                let taken = apply(&mut engine, first, &records, &shared.evidence);
                next = taken.end;
                shared.folded(next, engine.now());
                drop(permit);
                if let Some(answer) = answer {
                    // Whoever asked may have gone; the events count all the same.
                    let _ = answer.send(taken);
                }
            }
            Message::Ask(question) => question(&mut engine, next),
            Message::Checkpoint(answer) => {
                let _ = answer.send((next, engine.checkpoint()));
            }
            Message::Stop => return,
        }
    }
}

fn apply(engine: &mut Engine, first: u64, records: &[Record], evidence: &Notify) -> Taken {
    let mut taken = Taken { fates: Vec::new(), changed: Vec::new(), end: first };
    let mut events = false;
    for record in records {
        events |= matches!(record, Record::Batch { .. });
        let applied = engine.apply(taken.end, record);
        if taken.fates.is_empty() {
            taken.fates = applied.fates;
        } else {
            taken.fates.extend(applied.fates);
        }
        taken.changed.extend(applied.changed);
        taken.end += 1;
    }
    if events {
        evidence.notify_one();
    }
    taken
}

/// Asks the folding thread; `None` when it has stopped.
pub(super) async fn ask<T: Send + 'static>(
    queue: &Sender<Message>,
    question: impl FnOnce(&mut Engine, u64) -> T + Send + 'static,
) -> Option<T> {
    let (send, receive) = oneshot::channel();
    let question: Question = Box::new(move |engine, next| {
        let _ = send.send(question(engine, next));
    });
    queue.send(Message::Ask(question)).ok()?;
    receive.await.ok()
}
