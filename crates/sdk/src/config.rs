//! What a client is started with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a client is told when another ruleset is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The revision that is served from now on.
    pub revision: u64,
    /// The keys of flags whose answers may differ from before.
    pub flags: Vec<String>,
}

type Listener = Arc<dyn Fn(&Change) + Send + Sync>;

/// Settings of a client.
#[derive(Clone)]
pub struct Config {
    /// The server, e.g. `https://ensign.example`.
    pub url: String,
    /// The SDK key of an environment.
    pub key: String,
    /// Where the last good ruleset is kept; none: nowhere. The folder is made if it is missing.
    pub folder: Option<PathBuf>,
    /// The most events that wait to be sent, beside one batch on its way; more are dropped and counted.
    pub queue: usize,
    /// The most events in one batch.
    pub batch: usize,
    /// How long an event waits for others before it is sent.
    pub flush: Duration,
    /// Whether exposures are reported.
    pub exposures: bool,
    /// Told after each change, on the client's own thread: it must not wait there.
    pub on_change: Option<Listener>,
}

impl Config {
    /// A client of one environment, with a bound of 10,000 waiting events, and no copy on disk.
    #[must_use]
    pub fn new(url: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            key: key.into(),
            folder: None,
            queue: 10_000,
            batch: 500,
            flush: Duration::from_millis(200),
            exposures: true,
            on_change: None,
        }
    }

    /// Keeps the last good ruleset in a folder.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Calls `listener` after each change.
    #[must_use]
    pub fn on_change(mut self, listener: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        self.on_change = Some(Arc::new(listener));
        self
    }

    /// Looks for what cannot work.
    ///
    /// # Errors
    /// [`BadConfig`] says what.
    pub(crate) fn check(mut self) -> Result<Self, BadConfig> {
        self.url = self.url.trim().trim_end_matches('/').to_owned();
        if !(self.url.starts_with("http://") || self.url.starts_with("https://")) {
            return Err(BadConfig::Url(self.url));
        }
        let printable = !self.key.is_empty() && self.key.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable {
            return Err(BadConfig::Key);
        }
        if self.key.starts_with("ens-mob-") {
            return Err(BadConfig::MobileKey);
        }
        self.queue = self.queue.max(1);
        self.batch = self.batch.clamp(1, 10_000);
        Ok(self)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("url", &self.url).field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadConfig {
    /// The URL does not begin with `http://` or `https://`.
    Url(String),
    /// The key is empty or has characters that no key has.
    Key,
    /// A mobile key does not read rules.
    MobileKey,
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "`{url}` is not a URL: it begins with http:// or https://"),
            Self::Key => f.write_str("the SDK key is empty or has characters that no key has"),
            Self::MobileKey => {
                f.write_str("a mobile key may ask for answers, not for rules: use the SDK key")
            }
        }
    }
}

/// Why a client did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// Its settings cannot work.
    Config(BadConfig),
    /// The machine refuses a thread, random bytes or a TLS set-up.
    Machine(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(bad) => bad.fmt(f),
            Self::Machine(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}
