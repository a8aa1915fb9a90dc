//! Catalogue, evidence and rollouts as state machines that decide and never do.
//!
//! Everything here is a function of its arguments: time, ids and evidence are passed in, and what comes
//! back is a decision the shell carries out. Absent on purpose: clocks, sockets, files, async, randomness.

pub mod catalogue;
pub mod deployment;
pub mod document;
pub mod event;
pub mod evidence;
pub mod ids;
pub mod lint;
pub mod metric;
pub mod receipt;
pub mod rollout;
pub mod subject;
pub mod token;
