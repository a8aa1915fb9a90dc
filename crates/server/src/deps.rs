//! What the server is given from outside: clock, store, event log.

use std::sync::Arc;

use ensign_control::ids::Timestamp;
use ensign_store::log::LogWriter;
use ensign_store::{Micros, Store};

/// The clock. Only the process's edge makes a real one; tests make their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that says what `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            #[expect(clippy::disallowed_methods, reason = "the one place of the server that reads the clock")]
            let now = std::time::SystemTime::now();
            let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
        })
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// The same clock in the store's terms.
    #[must_use]
    pub fn for_store(&self) -> ensign_store::Clock {
        let clock = self.clone();
        Arc::new(move || Micros(clock.now().0))
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// What the parts of the server share.
#[derive(Clone)]
pub struct Deps {
    /// The clock.
    pub clock: Clock,
    /// Where the control plane's state lives.
    pub store: Arc<dyn Store>,
    /// The event log.
    pub log: Arc<LogWriter>,
}
