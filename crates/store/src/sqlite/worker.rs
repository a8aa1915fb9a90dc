//! A connection with a thread of its own, which runs closures one after the other.

use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;

use crate::Fault;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The thread. Dropping it ends the thread after the jobs that wait.
///
/// The queue has no bound of its own: each job belongs to a caller that waits for it, so their number is the number
/// of requests in progress.
pub(super) struct Worker {
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(name: &str, mut connection: Connection) -> Result<Self, Fault> {
        let (queue, inbox) = channel::<Job>();
        let run = move || {
            for job in inbox {
                job(&mut connection);
            }
        };
        let thread = Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error| Fault::machine(format!("cannot start a thread: {error}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Runs a closure on the thread. It is run even when the caller stops waiting.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (send, receive) = tokio::sync::oneshot::channel();
        let job = Box::new(move |connection: &mut Connection| {
            let _ = send.send(job(connection));
        });
        let stopped = || Fault::ours("a database thread has stopped");
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(job).map_err(|_| stopped())?;
        receive.await.map_err(|_| stopped())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
