//! Flag definitions, the compiled ruleset, and evaluation with an explanation on request.
//!
//! Everything here is a function of its arguments: no clock, no files, no randomness. A definition
//! ([`model`]) is valid plain data; a ruleset is its fast, immutable form; an evaluation borrows from it.

pub mod model;
pub mod split;
