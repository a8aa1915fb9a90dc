//! One protocol's view of one environment: the last steps, the whole, and who is to be told.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;

use super::COHORTS;
use crate::serving::{Serving, Version};

/// So many steps are kept for readers that come back or fall behind; further back, the whole is cheaper anyway.
const STEPS: usize = 128;

/// And at most so many bytes of them.
const STEP_BYTES: usize = 4 << 20;

/// How a protocol says what an environment serves. Called for each version in order, under a lock, never twice for one.
pub trait Encoding: Send + 'static {
    /// What is served now, in the protocol's bytes.
    fn encode(&mut self, serving: &Serving) -> Encoded;

    /// What keeps an idle stream alive; by default an SSE comment, which every reader skips.
    fn heartbeat(&self) -> Bytes {
        Bytes::from_static(b":\n")
    }
}

/// One version in a protocol's bytes.
pub struct Encoded {
    /// Names the content: the same content has the same tag, in every process. Entity tags and cursors are made of it.
    pub tag: String,
    /// Everything, for who has nothing. Made when somebody needs it first.
    pub whole: Box<dyn FnOnce() -> Bytes + Send>,
    /// What has changed since the version before.
    pub step: Step,
}

/// From one version to the next.
pub enum Step {
    /// Nothing that this protocol shows.
    Nothing,
    /// These bytes.
    Bytes(Bytes),
    /// No step can say it: everybody gets the whole.
    Whole,
}

type Whole = LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>;

/// What readers see: swapped whole, read without a lock.
pub(super) struct View {
    /// The position behind the last step.
    pub(super) head: u64,
    /// The version it was made from.
    version: Version,
    /// The tag of the head.
    pub(super) tag: Arc<str>,
    /// Oldest first; the last leads to `head`.
    steps: VecDeque<Kept>,
    pub(super) whole: Arc<Whole>,
}

#[derive(Clone)]
struct Kept {
    /// The tag of what it starts from.
    from: Arc<str>,
    bytes: Bytes,
}

/// What readers are told; they look for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Signal {
    pub(super) head: u64,
    pub(super) beat: u32,
    pub(super) closing: bool,
}

/// What is there for a cursor.
pub(super) enum Next {
    /// Nothing yet.
    Nothing,
    /// The step from the cursor; it leads one further.
    Step(Bytes),
    /// The cursor is too old: everything, and where it leads.
    Whole(Bytes, u64),
}

/// See the module.
pub struct Topic {
    encoding: Mutex<Box<dyn Encoding>>,
    view: ArcSwap<View>,
    pub(super) heartbeat: Bytes,
    cohorts: [watch::Sender<Signal>; COHORTS],
}

impl Topic {
    pub(super) fn new(mut encoding: Box<dyn Encoding>, serving: &Serving) -> Self {
        let encoded = encoding.encode(serving);
        let view = View {
            head: 0,
            version: serving.version,
            tag: encoded.tag.into(),
            steps: VecDeque::new(),
            whole: Arc::new(LazyLock::new(encoded.whole)),
        };
        Self {
            heartbeat: encoding.heartbeat(),
            encoding: Mutex::new(encoding),
            view: ArcSwap::from_pointee(view),
            cohorts: std::array::from_fn(|_| watch::Sender::default()),
        }
    }

    /// Takes in what is served now, unless that is known. Whoever answers a poll calls it first, so that an answer is
    /// never older than what an earlier answer of the server has acknowledged.
    pub fn advance(&self, serving: &Serving) {
        let mut encoding = self.encoding.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.view.load();
        if serving.version <= before.version {
            return;
        }
        let encoded = encoding.encode(serving);
        let (mut head, mut steps) = (before.head, before.steps.clone());
        match encoded.step {
            Step::Nothing => {}
            Step::Bytes(bytes) => {
                head += 1;
                steps.push_back(Kept { from: Arc::clone(&before.tag), bytes });
            }
            Step::Whole => {
                // A gap: every cursor is older than the oldest step, which is none.
                head += STEPS as u64 + 1;
                steps.clear();
            }
        }
        while steps.len() > STEPS || steps.iter().map(|kept| kept.bytes.len()).sum::<usize>() > STEP_BYTES {
            steps.pop_front();
        }
        let moved = head != before.head;
        let view = View {
            head,
            version: serving.version,
            tag: encoded.tag.into(),
            steps,
            whole: Arc::new(LazyLock::new(encoded.whole)),
        };
        self.view.store(Arc::new(view));
        drop(encoding);
        if moved {
            for cohort in &self.cohorts {
                cohort.send_modify(|signal| signal.head = head);
            }
        }
    }

    /// The tag of what is served now.
    #[must_use]
    pub fn tag(&self) -> Arc<str> {
        Arc::clone(&self.view.load().tag)
    }

    /// Everything that is served now, with its tag.
    #[must_use]
    pub fn whole(&self) -> (Bytes, Arc<str>) {
        let view = self.view.load_full();
        (LazyLock::force(&view.whole).clone(), Arc::clone(&view.tag))
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub(super) fn next(&self, cursor: u64) -> Next {
        let view = self.view.load();
        let behind = view.head.saturating_sub(cursor);
        if behind == 0 {
            return Next::Nothing;
        }
        let at = usize::try_from(behind).ok().and_then(|behind| view.steps.len().checked_sub(behind));
        match at.and_then(|at| view.steps.get(at)) {
            Some(kept) => Next::Step(kept.bytes.clone()),
            None => Next::Whole(LazyLock::force(&view.whole).clone(), view.head),
        }
    }

    pub(super) fn signals(&self, cohort: usize) -> watch::Receiver<Signal> {
        self.cohorts.get(cohort).unwrap_or(&self.cohorts[0]).subscribe()
    }

    pub(super) fn beat(&self, cohort: usize) {
        if let Some(cohort) = self.cohorts.get(cohort) {
            cohort.send_modify(|signal| signal.beat = signal.beat.wrapping_add(1));
        }
    }

    pub(super) fn close(&self, cohort: usize) {
        if let Some(cohort) = self.cohorts.get(cohort) {
            cohort.send_modify(|signal| signal.closing = true);
        }
    }
}

impl View {
    /// The cursor of who has the content of a tag, if its steps are still here.
    pub(super) fn cursor_of(&self, tag: &str) -> Option<u64> {
        if *self.tag == *tag {
            return Some(self.head);
        }
        let at = self.steps.iter().rposition(|kept| *kept.from == *tag)?;
        Some(self.head - (self.steps.len() - at) as u64)
    }
}
