//! The rows of the table: what is simulated, how often, and by which lines it is judged.

use crate::parallel::Repeat;
use crate::report::{Lines, Row};

mod agree;
mod detect;
mod errors;
mod late;
mod safe;
mod work;

/// What a run is asked for.
#[derive(Clone)]
pub struct Ask<'a> {
    /// The quick form.
    pub quick: bool,
    /// Repetitions as a share of the form's own; 1 except in tests.
    pub scale: f64,
    /// The seed of everything.
    pub seed: u64,
    /// Worker threads.
    pub threads: usize,
    /// Whether to report progress on the error stream.
    pub progress: bool,
    /// A clock in seconds, for the times of S14; without one they are left out.
    pub clock: Option<&'a dyn Fn() -> f64>,
}

impl<'a> Ask<'a> {
    /// The repetitions of a row.
    fn repeat(&self, row: &'a str, quick: usize, full: usize) -> Repeat<'a> {
        let times = if self.quick { quick } else { full };
        let times = libm::ceil(times as f64 * self.scale).max(2.0) as usize;
        Repeat { seed: self.seed, row, times, threads: self.threads, progress: self.progress }
    }

    /// The lines of a row: the floor of the quick form is its own.
    fn lines(&self, quick: f64, full: f64, goal: f64) -> Lines {
        Lines { floor: if self.quick { quick } else { full }, goal }
    }
}

/// A row, or several of one id.
type Make = for<'a> fn(&Ask<'a>) -> Vec<Row>;

/// Every id and what makes its rows, in the order of the table.
pub const ALL: &[(&str, Make)] = &[
    ("S1", errors::false_rollbacks),
    ("S2", detect::against_sprt),
    ("S4", detect::to_rollback),
    ("S5", detect::latency),
    ("S6", detect::score_and_tokens),
    ("S7", late::onset),
    ("S8", errors::unequal_speed),
    ("S10", safe::wrong_proofs),
    ("S12", agree::vectors),
    ("S13", agree::replays),
    ("S14", work::one_tick),
];
