//! From events to evidence: exposures, strata, blocks and e-processes, folded from one ordered log.

pub mod report;
pub mod watch;
