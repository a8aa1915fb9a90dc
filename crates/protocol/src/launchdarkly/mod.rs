//! LaunchDarkly's flag data model: an environment of ours as the JSON that its SDKs evaluate, and back.
//!
//! An SDK evaluates what it is sent by itself, so a translation is right when every SDK computes the arm that our own
//! evaluator computes. What cannot be said in that model is left out and named in a [`Note`], never approximated.
//!
//! How things of ours are said there:
//!
//! | here | there |
//! |---|---|
//! | a condition tree | its alternatives, each a rule of its own (`id`, `id~2`, …) |
//! | a percentage that falls through | a weighted segment that asks for the hashed key, and a clause for it |
//! | a split or a rollout | a rollout with the stored intervals, with a seed where a rule has its own salt |
//! | a unit that a flat context names | one rule for the context kind, one for the user's attribute, one for the rest |
//! | pins, and targets beside pins | rules in front |
//! | a kill | on, with nothing but a fixed fallthrough, so that prerequisites hold |
//! | a flag under a rollout | `trackEvents`, and an experiment, so that every evaluation is reported |
//!
//! Absent on purpose: sockets, and any decision about who gets what.

pub mod ai;
mod ai_config;
mod clause;
pub mod evalx;
pub mod events;
mod flag;
mod import;
mod note;
mod payload;
mod reason;
mod segment;
mod split;
mod wire;

pub use flag::{Translated, flag};
pub use import::{Imported, Remark, import};
pub use note::Note;
pub use payload::{Change, Item, Payload, Sources, notes};
pub use reason::reason;
pub use segment::segment;
pub use wire::{
    Availability, WireClause, WireFlag, WireKeys, WirePrerequisite, WireRollout, WireRule, WireSegment,
    WireSegmentRule, WireServe, WireTarget, WireWeight,
};

#[cfg(test)]
mod tests;
