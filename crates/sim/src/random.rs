//! Random numbers: one small generator, seeded by one number, the same on every machine.
//!
//! The generator is xoshiro256++ (Blackman & Vigna 2019), filled by SplitMix64. Nothing here is for secrets.

/// The next number of SplitMix64; also the way one seed becomes many.
pub fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
    /// The second normal of a pair.
    spare: Option<f64>,
}

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        let mut next = || mix(&mut mixer);
        Self { state: [next(), next(), next(), next()], spare: None }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// 128 random bits.
    pub fn wide(&mut self) -> u128 {
        (u128::from(self.bits()) << 64) | u128::from(self.bits())
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -libm::log(1.0 - self.uniform()) * mean
    }

    /// Standard normal (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let r = x * x + y * y;
            if r > 0.0 && r < 1.0 {
                let scale = libm::sqrt(-2.0 * libm::log(r) / r);
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// Lognormal with this median and standard deviation of the logarithm.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    /// Gamma with shape `k` ≥ 1 and scale 1 (Marsaglia & Tsang 2000).
    fn gamma(&mut self, k: f64) -> f64 {
        let d = k - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            let u = 1.0 - self.uniform();
            if libm::log(u) < 0.5 * x * x + d * (1.0 - v + libm::log(v)) {
                return d * v;
            }
        }
    }

    /// Beta with this mean and standard deviation; both of its shape parameters must be at least 1.
    pub fn beta(&mut self, mean: f64, sd: f64) -> f64 {
        let size = mean * (1.0 - mean) / (sd * sd) - 1.0;
        let (a, b) = (self.gamma(mean * size), self.gamma((1.0 - mean) * size));
        a / (a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(draw: impl Fn(&mut Random) -> f64, mean: f64, sd: f64) {
        let mut random = Random::new(7);
        let n = 200_000;
        let (mut s, mut q) = (0.0, 0.0);
        for _ in 0..n {
            let x = draw(&mut random);
            s += x;
            q += x * x;
        }
        let m = s / f64::from(n);
        let v = q / f64::from(n) - m * m;
        assert!((m - mean).abs() < 4.0 * sd / 447.0, "mean {m}");
        assert!((v.sqrt() / sd - 1.0).abs() < 0.03, "standard deviation {}", v.sqrt());
    }

    #[test]
    fn the_laws_have_their_means_and_deviations() {
        check(|r| r.uniform(), 0.5, 1.0 / 12.0_f64.sqrt());
        check(|r| r.normal(), 0.0, 1.0);
        check(|r| r.exponential(3.0), 3.0, 3.0);
        check(|r| r.beta(0.7, 0.18), 0.7, 0.18);
        check(|r| r.beta(0.65, 0.18), 0.65, 0.18);
        let s = 0.6_f64;
        let mean = (s * s / 2.0).exp();
        check(|r| r.lognormal(1.0, s), mean, mean * ((s * s).exp() - 1.0).sqrt());
    }

    #[test]
    fn a_seed_is_a_stream() {
        let stream = |seed| {
            let mut random = Random::new(seed);
            [random.bits(), random.bits()]
        };
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
    }
}
