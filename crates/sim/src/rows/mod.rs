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
    /// The processor time of this thread in seconds, for S14; without it its times are left out.
    pub clock: Option<&'a dyn Fn() -> f64>,
}

impl<'a> Ask<'a> {
    /// The repetitions of a row.
    fn repeat(&self, row: &'a str, quick: usize, full: usize) -> Repeat<'a> {
        let times = if self.quick { quick } else { full };
        let times = libm::ceil(times as f64 * self.scale).max(2.0) as usize;
        Repeat { seed: self.seed, row, times, threads: self.threads, progress: self.progress }
    }

    /// The lines of a row.
    fn lines(&self, row: &str) -> Lines {
        let found = LINES.iter().find(|line| line.row == row);
        found.map_or(Lines { floor: 0.0, goal: 0.0 }, |line| Lines {
            floor: if self.quick { line.quick } else { line.full },
            goal: line.goal,
        })
    }
}

/// The lines of one row.
struct Line {
    row: &'static str,
    /// Floor of the quick form.
    quick: f64,
    /// Floor of the full form.
    full: f64,
    /// What is wanted, in both forms.
    goal: f64,
}

const fn line(row: &'static str, quick: f64, full: f64, goal: f64) -> Line {
    Line { row, quick, full, goal }
}

/// Every line. The quick floors are the full ones widened by what a small sample needs, so that a right
/// program breaks one of them in about one seed of a thousand:
///
/// - medians of n runs: a time to decide has a median with a relative standard error of about 1/√n (its
///   spread is near its size), of which three are added to the measured median: 17 % at 300, 21 % at 200,
///   40 % at 60 (where the ratio to the paired SPRT, which moves with it, needs less), 50 % at 40, less the
///   distance the full floor already keeps;
/// - shares judged by their upper 99 % limit: the limit of the count that a true share below the full floor
///   stays under in 999 of 1,000 runs: 5 of 250 at 0.5 % for S1, 18 of 200 and 24 of 300 at 4.5 % for S10;
/// - S8 is judged by the share itself: 9 of 120 at a true 2.4 %.
const LINES: &[Line] = &[
    line("S1", 0.052, 0.013, 0.010),
    line("S2a", 1.95, 1.6, 1.4),
    line("S2b", 1.85, 1.6, 1.4),
    line("S4a", 275.0, 240.0, 200.0),
    line("S4b", 315.0, 275.0, 240.0),
    line("S5", 250.0, 215.0, 150.0),
    line("S6a", 135.0, 115.0, 90.0),
    line("S6b", 330.0, 275.0, 190.0),
    line("S7", 1_400.0, 1_050.0, 800.0),
    line("S8", 0.08, 0.05, 0.01),
    line("S10a", 0.155, 0.065, 0.05),
    line("S10b", 0.13, 0.065, 0.05),
    line("S14 time", 20.0, 20.0, 5.0),
    line("S14 state", 1_024.0, 1_024.0, 512.0),
];

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
