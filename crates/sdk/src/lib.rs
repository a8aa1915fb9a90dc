//! Reads flags in process: streams the ruleset, evaluates locally, reports exposures and outcomes.
//!
//! [`Client::start`] returns at once: it serves the copy on disk, if there is one, and follows the server from then
//! on. An evaluation takes no lock, waits for nothing and allocates nothing; what it notes goes into a bounded queue
//! that a thread of the client's own empties. The server may be away at any time, the start included.
//!
//! ```no_run
//! use ensign_sdk::{Client, Config, Pairs};
//!
//! let client = Client::start(Config::new("http://127.0.0.1:7070", "ens-sdk-…"))?;
//! client.wait_ready(std::time::Duration::from_secs(2));
//! let facts = [("plan", "pro".into())];
//! let context = Pairs::new("user-1", &facts);
//! let now = client.read();
//! let model = now.evaluate("inference_model", &context).str_or("claude-3-haiku");
//! # Ok::<(), ensign_sdk::StartError>(())
//! ```

mod answer;
mod client;
mod config;
mod disk;
mod follow;
mod held;
mod pause;
mod report;
mod sse;
pub mod sync;

pub use answer::{Answer, Record};
pub use client::{Client, Reader, Reading, Transport};
pub use config::{BadConfig, Change, Config, StartError};
pub use ensign_control::metric::Status as RequestStatus;
pub use ensign_eval::model::{Value, ValueKind};
pub use ensign_eval::{Attr, Context, ContextBuf, Decision, ErrorKind, Pairs, Reason};
pub use held::Snapshot;
pub use report::{Counts, Request};
pub use sync::Contact;
