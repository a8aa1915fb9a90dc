//! The block bet for bounded scores and winsorised amounts.
//!
//! The same bet as for rates, on values in [0, 1]: what is learned from earlier blocks sets the centre and
//! the size of the bets, what is in the block decides them. Derivation: docs/internals/guards.md, §2 and §4
//! (betting for bounded means: Waudby-Smith & Ramdas 2024).

use serde::{Deserialize, Serialize};

use crate::bet::{Arm, Grid, Invalid, MAX_BETS, Null, Rejected, Side};
use crate::block::{MeanBlock, Range, Reading};
use crate::math::{LN_2, Sum, ln, ln_1p};
use crate::rate::{MAX_COUNT, times};
use crate::wealth::{Joins, Wealth};

/// How many factors are multiplied before the product is brought back into range. Sixteen factors between
/// 0.01 and 1e18 stay far inside the range of a float.
const CHUNK: usize = 16;
/// A factor above this is cut to it. Cutting can only lose wealth, so validity does not suffer; it keeps
/// an absurd margin from overflowing.
const LARGEST_FACTOR: f64 = 1e18;

/// How a mean bet is set up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanParams {
    /// Harm or safe.
    pub side: Side,
    /// What is tested, margin included (δ in the metric's unit).
    pub null: Null,
    /// `None`: values in [0, 1]. `Some(B)`: amounts, winsorised at B (in the metric's unit), set from
    /// control values seen before the stratum.
    pub winsor: Option<f64>,
    /// The largest share of its wealth a bet may lose at one observation, 0 < cap ≤ 0.99; usually 0.9.
    pub cap: f64,
    /// Restarts for late onset: on for harm, off for safe.
    pub restarts: bool,
}

impl MeanParams {
    /// Scores, ratings, proportions: values in [0, 1].
    #[must_use]
    pub fn score(null: Null, side: Side) -> Self {
        Self { side, null, winsor: None, cap: 0.9, restarts: side == Side::Harm }
    }

    /// Tokens, cost, latency means: amounts winsorised at `winsor`.
    #[must_use]
    pub fn amount(null: Null, side: Side, winsor: f64) -> Self {
        Self { side, null, winsor: Some(winsor), cap: 0.9, restarts: side == Side::Harm }
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.winsor.is_some_and(|b| !(b > 0.0 && b.is_finite())) {
            Err(Invalid::Cap)
        } else if !(self.cap > 0.0 && self.cap <= 0.99) {
            Err(Invalid::BetCap)
        } else {
            Ok(())
        }
    }

    pub(crate) fn range(&self) -> Range {
        match self.winsor {
            None => Range::Unit,
            Some(_) => Range::Amount,
        }
    }

    /// The value on the common scale: new values are divided by θ0 *before* they are cut, which keeps the
    /// test exact whenever Y/θ0 is stochastically no larger than control.
    pub(crate) fn on_scale(&self, arm: Arm, y: f64) -> f64 {
        let y = match arm {
            Arm::New => y / self.null.theta0(),
            Arm::Control => y,
        };
        match self.winsor {
            None => y,
            Some(b) => y.min(b) / b,
        }
    }

    /// `s·δ` on the common scale: taken off new values.
    pub(crate) fn shift(&self) -> f64 {
        match self.winsor {
            None => self.null.shift(),
            Some(b) => self.null.shift() / b,
        }
    }

    /// `b·λ_k` for a share `h` of new values (`h_c` = 1 − h), centre `m` and scale `sigma`.
    ///
    /// The cap keeps every factor at `1 − cap` or above for every value the arms can have.
    pub(crate) fn bets(&self, h: f64, h_c: f64, m: f64, sigma: f64) -> [f64; MAX_BETS] {
        let top = match self.winsor {
            None => 1.0 / self.null.theta0(),
            Some(_) => 1.0,
        };
        let b = self.side.bet_sign(self.null.direction());
        let worst = if b > 0.0 {
            (h_c * (m + self.shift())).max(h * (1.0 - m))
        } else {
            (h_c * (top - self.shift() - m)).max(h * m)
        };
        // No possible value loses: nothing to cap.
        let limit = if worst > 0.0 { self.cap / worst } else { f64::INFINITY };
        let mut bets = [0.0; MAX_BETS];
        for (bet, d) in bets.iter_mut().zip(Grid::Effect.points()) {
            *bet = b * (d / sigma).min(limit);
        }
        bets
    }
}

/// Count, sum and sum of squares over all earlier blocks, both arms, on the common scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pooled {
    n: u64,
    s: Sum,
    q: Sum,
}

impl Pooled {
    pub(crate) fn add(&mut self, u: f64, count: u64) {
        self.n = self.n.saturating_add(count);
        self.s.add(u * count as f64);
        self.q.add(u * u * count as f64);
    }

    /// Centre and standard deviation, with a prior of one observation at ½ and a variance floor, so that
    /// constant values keep every bet finite.
    pub(crate) fn centre_and_scale(&self) -> (f64, f64) {
        let (n, s, q) = (self.n as f64, self.s.value(), self.q.value());
        let m = (s + 0.5) / (n + 1.0);
        let variance = (q - 2.0 * m * s + m * m * n + 1.0 / 6.0) / (n + 2.0);
        (m, variance.max(1e-6).sqrt())
    }

    pub(crate) fn rescale(&mut self, factor: f64) {
        self.s = Sum::of(self.s.value() * factor);
        self.q = Sum::of(self.q.value() * factor * factor);
    }
}

/// An e-process for "the new mean is not worse (harm) / is worse (safe) than control's by the margin".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanBet {
    params: MeanParams,
    wealth: Wealth,
    pooled: Pooled,
}

impl MeanBet {
    /// A process before any data: log e = 0.
    ///
    /// # Errors
    /// [`Invalid`] when a parameter is outside its range.
    pub fn new(params: MeanParams) -> Result<Self, Invalid> {
        params.check()?;
        Ok(Self {
            params,
            wealth: Wealth::new(Grid::Effect.points().len(), params.restarts),
            pooled: Pooled::default(),
        })
    }

    /// Takes in one closed block of raw values.
    ///
    /// # Errors
    /// [`Rejected::EmptyArm`], [`Rejected::Counts`] or [`Rejected::Shape`] (another range); the process is
    /// then unchanged.
    pub fn close(&mut self, block: &MeanBlock) -> Result<(), Rejected> {
        let (n_t, n_c) = (block.n(Arm::New), block.n(Arm::Control));
        if block.range() != self.params.range() {
            return Err(Rejected::Shape);
        }
        if n_t == 0 || n_c == 0 {
            return Err(Rejected::EmptyArm);
        }
        if n_t.saturating_add(n_c) > MAX_COUNT {
            return Err(Rejected::Counts);
        }
        let total = n_t as f64 + n_c as f64;
        let (h, h_c) = (n_t as f64 / total, n_c as f64 / total);
        let (m, sigma) = self.pooled.centre_and_scale();
        let bets = self.params.bets(h, h_c, m, sigma);
        let mut product = LogProduct::default();
        for (arm, weight, off) in [(Arm::New, h_c, self.params.shift() + m), (Arm::Control, -h, m)] {
            let stakes = bets.map(|bet| bet * weight);
            match block.read(arm) {
                Reading::Values(values) => self.fold(&mut product, arm, values, &stakes, off),
                Reading::Sorted(values) => self.fold(&mut product, arm, &values, &stakes, off),
                Reading::Counts(cells) => {
                    for (y, count) in cells {
                        let u = self.params.on_scale(arm, y);
                        product.repeat(&stakes, u - off, count);
                        self.pooled.add(u, count);
                    }
                }
            }
        }
        self.wealth.step(n_t, &product.logs(), Joins::Before);
        Ok(())
    }

    fn fold(
        &mut self,
        product: &mut LogProduct,
        arm: Arm,
        values: &[f64],
        stakes: &[f64; MAX_BETS],
        off: f64,
    ) {
        for chunk in values.chunks(CHUNK) {
            for y in chunk {
                let u = self.params.on_scale(arm, *y);
                product.multiply(stakes, u - off);
                self.pooled.add(u, 1);
            }
            product.normalise();
        }
    }

    /// Sets the winsorising cap of a new stratum; what was learned is brought to the new scale.
    ///
    /// # Errors
    /// [`Invalid::Cap`] when the cap is not positive, or the metric is not winsorised.
    pub fn set_winsor(&mut self, cap: f64) -> Result<(), Invalid> {
        let old = self.params.winsor.ok_or(Invalid::Cap)?;
        if !(cap > 0.0 && cap.is_finite()) {
            return Err(Invalid::Cap);
        }
        self.pooled.rescale(old / cap);
        self.params.winsor = Some(cap);
        Ok(())
    }

    /// Log of the evidence now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.wealth.log_e()
    }

    /// The largest log evidence so far (0 at the start).
    #[must_use]
    pub fn max_log_e(&self) -> f64 {
        self.wealth.max_log_e()
    }

    /// How the process was set up; the cap is the current one.
    #[must_use]
    pub fn params(&self) -> &MeanParams {
        &self.params
    }
}

/// Six products of many factors near one, as mantissa and binary exponent, and one logarithm at the end.
///
/// A logarithm per value and bet would be most of a guard's work. The products round each factor once,
/// which costs 1e-16 per value in the logarithm.
#[derive(Default)]
struct LogProduct {
    mantissa: Ones,
    exponent: [i64; MAX_BETS],
    logs: [f64; MAX_BETS],
}

struct Ones([f64; MAX_BETS]);

impl Default for Ones {
    fn default() -> Self {
        Self([1.0; MAX_BETS])
    }
}

impl LogProduct {
    fn multiply(&mut self, stakes: &[f64; MAX_BETS], distance: f64) {
        for (p, stake) in self.mantissa.0.iter_mut().zip(stakes) {
            *p *= (1.0 + stake * distance).min(LARGEST_FACTOR);
        }
    }

    fn repeat(&mut self, stakes: &[f64; MAX_BETS], distance: f64, count: u64) {
        for (log, stake) in self.logs.iter_mut().zip(stakes) {
            *log += times(count, (stake * distance).min(LARGEST_FACTOR));
        }
    }

    /// Moves the exponents out of the products, bit by bit: no rounding.
    fn normalise(&mut self) {
        const EXPONENT: u64 = 0x7ff << 52;
        for (p, e) in self.mantissa.0.iter_mut().zip(&mut self.exponent) {
            let bits = p.to_bits();
            *e += ((bits & EXPONENT) >> 52) as i64 - 1023;
            *p = f64::from_bits((bits & !EXPONENT) | (1023 << 52));
        }
    }

    fn logs(mut self) -> [f64; MAX_BETS] {
        let bets = Grid::Effect.points().len();
        for (k, log) in self.logs.iter_mut().enumerate().take(bets) {
            *log += ln(self.mantissa.0[k]) + self.exponent[k] as f64 * LN_2;
        }
        self.logs
    }
}

/// `ln(1 + x)` of one observation for every bet (used where a block is a single observation).
pub(crate) fn single(bets: &[f64; MAX_BETS], weight: f64, distance: f64) -> [f64; MAX_BETS] {
    bets.map(|bet| ln_1p((bet * weight * distance).min(LARGEST_FACTOR)))
}
