//! Ingestion: events in, durable in the log, folded into evidence, answered one by one.
//!
//! The road of a batch: parsed and resolved on the runtime's threads, encoded there, made durable by the log's
//! thread (many batches, one fdatasync), folded by one thread in log order, answered. While a group is synced the
//! one before it is folded. Absent on purpose: any reading of clocks (the time is given), and any queue without a
//! bound: what does not fit is refused at once, never acknowledged and lost.

mod book;
mod checkpoint;
mod fold;
mod pipeline;
mod receive;
mod resolve;
mod status;
mod terms;

pub use book::{BookKeys, FlagBook, PlaceBook, UseCaseBook, unit_word};
pub use fold::Look;
pub use pipeline::Pipeline;
pub use receive::routes;
pub(crate) use receive::{Inflate, inflate, unavailable};
pub(crate) use resolve::fitting;
pub use status::Status;
pub use terms::{OpenError, Settings, Taken, Unavailable};
