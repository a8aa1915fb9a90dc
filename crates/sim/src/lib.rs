//! Development only: simulation of whole rollouts from one seed.
//!
//! Synthetic fleets are driven through the public ingestion types and the pure rollout machine, in virtual
//! time and without sockets, and what the guard does is counted: how often it takes back what is not worse,
//! how soon it sees what is, and whether the same log gives the same bits. The same seed gives the same
//! table, on every machine and with any number of threads; only the times of S14 differ.

pub mod fleet;
pub mod guards;
pub mod interval;
pub mod parallel;
pub mod pilot;
pub mod random;
pub mod report;
pub mod rows;

#[path = "../../stats/tests/vectors/methods.rs"]
mod vectors;

use report::Report;
use rows::{ALL, Ask};

/// Runs the rows with these ids; with none given, all of them.
pub fn run(ask: &Ask<'_>, only: &[String]) -> Report {
    let wanted = |id: &str| only.is_empty() || only.iter().any(|name| name.eq_ignore_ascii_case(id));
    let mut rows = Vec::new();
    for (id, make) in ALL {
        if wanted(id) {
            rows.extend(make(ask));
        }
    }
    Report { quick: ask.quick, seed: ask.seed, rows }
}
