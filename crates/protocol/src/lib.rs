//! The bytes of other systems to core types and back, one module each.
//!
//! Modules know nothing of each other and nothing of sockets. Absent on purpose: any rule about targeting,
//! bucketing or rollouts; a module decodes, names what it could not carry, and encodes.

pub mod appconfig;
pub mod events;
pub mod flagd;
pub mod launchdarkly;
pub mod ofrep;
pub mod openfeature;
pub mod problem;
pub mod stream;
