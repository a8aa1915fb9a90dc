//! The documents teams write: flags, segments, metrics, use cases and rollouts, as JSON or YAML.
//!
//! A document is told by its first key. Parsing gives typed documents *and* every problem with its place; nothing
//! here knows what a catalogue already holds.

pub mod problem;

pub use problem::{Mark, Problem};
