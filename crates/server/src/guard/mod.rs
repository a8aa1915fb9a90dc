//! The guard's loop: a tick into the log, a look at each active rollout, a decision if one follows.
//!
//! It looks at most every 100 ms while evidence arrives and each second when idle. Absent on purpose: any rule
//! about rollouts (the catalogue decides), and any decision that is not committed by the store.

mod run;

pub use run::{Charge, Guard, Look, Outcome, Tuning};
