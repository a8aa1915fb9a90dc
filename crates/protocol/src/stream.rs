//! The ruleset stream of Ensign's own SDKs: what a frame says, and definitions as JSON.
//!
//! A client that compiles what it received with `ensign_eval` gives the same answers as the server. Items are decoded
//! one by one, so one that a client does not understand is one missing flag, not a missing ruleset.

mod definition;
mod frame;
mod wire;

pub use definition::{BadItem, flag_from_json, flag_to_json, segment_from_json, segment_to_json};
pub use frame::{Attribution, BadFrame, Frame, Hello, Patch, Position, Put};

/// The version of the protocol; a client refuses frames of another.
pub const VERSION: u32 = 1;

/// The seconds of silence after which the server says that it is still there.
pub const HEARTBEAT_SECONDS: u32 = 24;
