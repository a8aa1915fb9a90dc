//! Every limit on what clients may send or hold, once.

use std::time::Duration;

/// The longest body of a REST or OFREP request, in bytes.
pub const BODY: usize = 1 << 20;
/// The longest body of `apply` and `plan`, in bytes.
pub const APPLY_BODY: usize = 4 << 20;
/// The longest body of an event batch as sent, perhaps compressed, in bytes.
pub const EVENTS_BODY: usize = 8 << 20;
/// The longest body of an event batch after decompression, in bytes.
pub const EVENTS_INFLATED: usize = 32 << 20;
/// The longest payload of a LaunchDarkly SDK that is read to its end, in bytes; what is longer than
/// [`EVENTS_INFLATED`] is dropped.
pub const PAYLOAD_READ: usize = 256 << 20;
/// The most events in one batch.
pub const EVENTS_PER_BATCH: usize = 10_000;
/// The longest key of a unit, in bytes.
pub const UNIT_KEY: usize = 1_024;
/// The longest id of an event or a request, and the longest idempotency key, in bytes.
pub const ID: usize = 64;
/// The most open connections; more wait to be accepted.
pub const CONNECTIONS: usize = 16_384;
/// The most open streams; fewer than connections, so that there is always room for a request.
pub const STREAMS: usize = 15_000;
/// A connection whose client has taken nothing for so long while something is there for it is cut off.
pub const WRITE_STALL: Duration = Duration::from_secs(20);
/// How long a client may take to send the headers of a request.
pub const HEADER_READ: Duration = Duration::from_secs(10);
/// How long a client may take to send a body.
pub const BODY_READ: Duration = Duration::from_secs(30);
/// The buffer of a connection, in bytes; also the longest headers of HTTP/1.
pub const CONNECTION_BUFFER: usize = 8 << 10;
/// How long requests may take to end at shutdown.
pub const DRAIN: Duration = Duration::from_secs(10);
/// How long an idempotency key is remembered, in microseconds.
pub const IDEMPOTENCY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// How often a change that meets another change is decided anew.
pub const ATTEMPTS: u32 = 8;
/// The most audit records in one answer.
pub const AUDIT_PAGE: usize = 1_000;
/// The most raw records in one answer.
pub const EXPORT_RECORDS: usize = 10_000;
