//! Streams of changes to many clients at once, whatever protocol they speak.
//!
//! A [`Topic`] is one protocol's view of one environment. A change is encoded once, and every connection sends the same
//! bytes. There is no queue per connection: a signal says that something is there, and each [`Topic::stream`] reads on
//! from its own cursor. Who has fallen too far behind gets the whole again; who does not read at all is cut off by the
//! connection's own deadline for writes, and comes back with its cursor.
//!
//! To serve a protocol: write an [`Encoding`], ask [`Fanout::topic`] for the environment's topic, and answer a request
//! with [`Topic::stream`]. One timer sends heartbeats to a sixteenth of all streams at a time, and at shutdown closes
//! them in the same portions, so that neither comes as a wave. Absent on purpose: HTTP, and any protocol.

mod stream;
mod topic;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ensign_control::ids::Place;

use crate::serving::PlaceState;
use crate::{Tasks, limits};

pub use stream::Start;
pub use topic::{Encoded, Encoding, Step, Topic};

/// Streams are told things in this many portions.
pub(crate) const COHORTS: usize = 16;

/// Every stream hears something at least this often.
const HEARTBEAT: Duration = Duration::from_secs(24);

/// How long closing all streams takes at shutdown.
const CLOSING: Duration = Duration::from_secs(2);

/// The topics and streams of a server.
#[derive(Default)]
pub struct Fanout {
    topics: Mutex<BTreeMap<(Place, &'static str), Arc<Topic>>>,
    open: AtomicUsize,
    dealt: AtomicUsize,
}

/// A place among the streams that may be open at once. Given back when it is dropped.
pub struct Seat {
    fanout: Arc<Fanout>,
    cohort: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.fanout.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Seat {
    pub(crate) fn cohort(&self) -> usize {
        self.cohort
    }
}

impl Fanout {
    /// The topic of a protocol in an environment. The first who asks makes it, and it follows the environment from
    /// then on; `protocol` names the encoding, and is asked with the same `make` each time.
    pub fn topic(
        &self,
        tasks: &Tasks,
        state: &Arc<PlaceState>,
        protocol: &'static str,
        make: impl FnOnce() -> Box<dyn Encoding>,
    ) -> Arc<Topic> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (state.place.clone(), protocol);
        if let Some(topic) = topics.get(&id) {
            return Arc::clone(topic);
        }
        // Subscribed before the first look, so that no change falls between the two.
        let mut changes = state.subscribe();
        let topic = Arc::new(Topic::new(make(), &state.serving()));
        topics.insert(id, Arc::clone(&topic));
        let (follower, state, stop) = (Arc::clone(&topic), Arc::clone(state), tasks.stop_token());
        tasks.spawn("topic", async move {
            loop {
                follower.advance(&state.serving());
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
            }
        });
        topic
    }

    /// A place for one more stream. `None`: as many as may be are open, and the client should come back later.
    pub fn seat(self: &Arc<Self>) -> Option<Seat> {
        let taken = self.open.fetch_add(1, Ordering::Relaxed);
        // From here on the seat gives itself back.
        let cohort = self.dealt.fetch_add(1, Ordering::Relaxed) % COHORTS;
        let seat = Seat { fanout: Arc::clone(self), cohort };
        (taken < limits::STREAMS).then_some(seat)
    }

    /// How many streams are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Heartbeats until the server stops, then the end of all streams, portion by portion.
    pub(crate) async fn run(self: Arc<Self>, tasks: Tasks) {
        for cohort in (0..COHORTS).cycle() {
            if !tasks.wait(HEARTBEAT / COHORTS as u32).await {
                break;
            }
            self.topics().iter().for_each(|topic| topic.beat(cohort));
        }
        for cohort in 0..COHORTS {
            self.topics().iter().for_each(|topic| topic.close(cohort));
            if self.open() > 0 {
                tokio::time::sleep(CLOSING / COHORTS as u32).await;
            }
        }
    }
}
