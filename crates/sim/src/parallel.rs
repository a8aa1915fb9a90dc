//! Repetitions on a few threads, with results that do not depend on how many.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

use crate::random::mix;

/// How the repetitions of one row are run.
#[derive(Clone, Copy, Debug)]
pub struct Repeat<'a> {
    /// The seed of the whole simulation.
    pub seed: u64,
    /// What the row is called: each row has streams of its own.
    pub row: &'a str,
    /// How many.
    pub times: usize,
    /// Worker threads.
    pub threads: usize,
    /// Whether to report progress on the error stream.
    pub progress: bool,
}

impl Repeat<'_> {
    /// The seed of one repetition: a function of the simulation's seed, the row and the number only.
    pub fn seed_of(&self, index: usize) -> u64 {
        let mut state = self.seed;
        for byte in self.row.bytes() {
            state ^= u64::from(byte);
            state = mix(&mut state);
        }
        state ^= index as u64;
        mix(&mut state)
    }

    /// Runs `one` for every seed; the results are in the order of the repetitions.
    pub fn run<T: Send>(&self, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(self.times));
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.times {
                    return;
                }
                let result = one(self.seed_of(index));
                let Ok(mut done) = done.lock() else { return };
                done.push((index, result));
                self.say(done.len());
            }
        };
        std::thread::scope(|scope| {
            for worker in 1..self.threads.max(1) {
                let name = format!("{}-{worker}", self.row);
                // Without the thread this one does all the work.
                if Builder::new().name(name).spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        self.end();
        let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
    }

    fn say(&self, done: usize) {
        let step = (self.times / 20).max(1);
        if self.progress && done.is_multiple_of(step) {
            eprint!("\r{:>5} {:>3} %", self.row, 100 * done / self.times);
        }
    }

    fn end(&self) {
        if self.progress {
            eprint!("\r{:20}\r", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let run =
            |threads| Repeat { seed: 1, row: "row", times: 57, threads, progress: false }.run(|seed| seed);
        assert_eq!(run(1), run(3));
        assert_eq!(run(1).len(), 57);
    }
}
