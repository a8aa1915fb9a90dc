//! The models of the demo: how often they fail and how long they take. Pure; the draws come from a counter.

/// What a simulated model does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub(super) name: &'static str,
    /// Share of requests that fail.
    pub(super) errors: f64,
    /// Median time to an answer, milliseconds; log-normal around it.
    pub(super) median: f64,
    /// Standard deviation of the logarithm of that time.
    pub(super) spread: f64,
    /// Mean quality score of an answer, from 0 to 1.
    pub(super) score: f64,
}

/// What everyone gets before anything moves.
pub(super) const CONTROL: Model =
    Model { name: "claude-3-haiku", errors: 0.01, median: 220.0, spread: 0.35, score: 0.78 };

/// Fails five times as often, and is slower.
pub(super) const BAD: Model =
    Model { name: "claude-3-5-sonnet", errors: 0.05, median: 300.0, spread: 0.35, score: 0.80 };

/// A little better in everything.
pub(super) const GOOD: Model =
    Model { name: "claude-sonnet-4-6", errors: 0.008, median: 205.0, spread: 0.35, score: 0.82 };

/// How one simulated request went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) millis: f64,
    pub(super) first_token_millis: f64,
    pub(super) status: &'static str,
    pub(super) tokens_in: u32,
    pub(super) tokens_out: u32,
    pub(super) score: f64,
}

/// The model of that name; an unknown one behaves like control.
pub(super) fn named(name: &str) -> Model {
    [CONTROL, BAD, GOOD].into_iter().find(|model| model.name == name).unwrap_or(CONTROL)
}

impl Model {
    /// How request number `n` goes: the same number always goes the same way.
    pub(super) fn answer(&self, n: u64) -> Answer {
        let mut draws = Draws(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51a7_e5e4);
        let fails = draws.uniform() < self.errors;
        let millis = self.median * (self.spread * draws.normal()).exp();
        // A failure is noticed sooner than an answer is finished; that must not mislead the guard.
        let millis = if fails { millis * 0.3 } else { millis };
        let status = match fails {
            false => "ok",
            true if draws.uniform() < 0.3 => "malformed",
            true => "upstream_error",
        };
        Answer {
            millis,
            first_token_millis: millis * 0.25,
            status,
            tokens_in: 400 + (draws.uniform() * 800.0) as u32,
            tokens_out: if fails { 0 } else { 120 + (draws.uniform() * 240.0) as u32 },
            score: (self.score + 0.18 * draws.normal()).clamp(0.0, 1.0),
        }
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): enough for a simulated service.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box & Muller 1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_fail_and_take_time_as_described() {
        for model in [CONTROL, BAD, GOOD] {
            let answers: Vec<Answer> = (0..100_000).map(|n| model.answer(n)).collect();
            let failed = answers.iter().filter(|it| it.status != "ok").count() as f64 / 1e5;
            assert!((failed - model.errors).abs() < 0.003, "{}: {failed}", model.name);
            let mut millis: Vec<f64> =
                answers.iter().filter(|it| it.status == "ok").map(|it| it.millis).collect();
            millis.sort_by(f64::total_cmp);
            assert!((millis[millis.len() / 2] / model.median - 1.0).abs() < 0.02, "{}", model.name);
        }
    }
}
