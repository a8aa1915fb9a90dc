//! What the arithmetic costs: time for one tick, bytes for one guardrail.

use std::hint::black_box;

use ensign_control::evidence::watch::Margin;
use ensign_stats::{
    Arm, DdSketch, Direction, MeanBet, MeanBlock, MeanParams, Null, Range, RateBet, RateBlock, RateParams,
    Side, UnitScore,
};

use super::Ask;
use crate::random::Random;
use crate::report::{Row, Unit};

/// 1,000 rollouts with 8 guardrails each.
const GUARDS: usize = 8_000;
const ROUNDS: usize = 101;

fn null(margin: Margin) -> Option<Null> {
    let margin = match margin {
        Margin::Relative(r) => ensign_stats::Margin::Relative(r),
        Margin::Absolute(d) => ensign_stats::Margin::Absolute(d),
    };
    margin.null(Direction::Up).ok()
}

/// Blocks of 20 values: one new, nineteen of control.
fn blocks(random: &mut Random) -> Vec<MeanBlock> {
    (0..GUARDS)
        .map(|_| {
            let mut block = MeanBlock::values(Range::Unit);
            for at in 0..20 {
                let arm = if at == 0 { Arm::New } else { Arm::Control };
                // Scores of this law lie in [0, 1].
                let _kept = block.push(arm, random.beta(0.7, 0.18));
            }
            block.seal();
            block
        })
        .collect()
}

/// The mean time of a round, in milliseconds. All rounds are timed together: a processor-time clock may move
/// in steps of several milliseconds.
fn timed(clock: &dyn Fn() -> f64, mut round: impl FnMut()) -> f64 {
    round();
    let begin = clock();
    (0..ROUNDS).for_each(|_| round());
    (clock() - begin) * 1e3 / ROUNDS as f64
}

fn times(ask: &Ask<'_>, clock: &dyn Fn() -> f64) -> Vec<Row> {
    let mut random = Random::new(ask.seed);
    let blocks = blocks(&mut random);
    let mean = |side| {
        let bet =
            null(Margin::Relative(0.1)).and_then(|null| MeanBet::new(MeanParams::score(null, side)).ok());
        vec![bet; GUARDS]
    };
    let (mut harm, mut safe) = (mean(Side::Harm), mean(Side::Safe));
    let close = |bets: &mut [Option<MeanBet>]| {
        for (bet, block) in bets.iter_mut().flatten().zip(&blocks) {
            // Both arms are there.
            let _kept = black_box(&mut *bet).close(black_box(block));
        }
    };
    let one = timed(clock, || close(&mut harm));
    let both = timed(clock, || {
        close(&mut harm);
        close(&mut safe);
    });
    let counts: Vec<RateBlock> = (0..GUARDS)
        .map(|_| RateBlock { n_t: 1, k_t: 0, n_c: 19, k_c: u64::from(random.chance(0.2)) })
        .collect();
    let rate = null(Margin::Relative(0.5)).and_then(|null| RateParams::rate(null, Side::Harm).ok());
    let mut rates = vec![rate.and_then(|params| RateBet::new(params).ok()); GUARDS];
    let counted = timed(clock, || {
        for (bet, block) in rates.iter_mut().flatten().zip(&counts) {
            let _kept = black_box(&mut *bet).close(black_box(*block));
        }
    });
    let row = |what: &str, value: f64, note: &str| Row {
        id: "S14",
        what: what.into(),
        n: ROUNDS,
        value,
        beside: String::new(),
        unit: Unit::Millis,
        lines: Some(ask.lines("S14 time")),
        timing: true,
        note: note.into(),
    };
    vec![
        row("8,000 closes of 20 values, harm", one, ""),
        row("the same, harm and one safe", both, ""),
        row(
            "8,000 closes of a rate, harm",
            counted,
            "One tick of 1,000 rollouts with 8 guardrails on one thread, mean processor time of the rounds; a \
             time says something about this machine only and is not judged.",
        ),
    ]
}

/// S14: the e-process work of one tick, and the state it needs.
pub(super) fn one_tick(ask: &Ask<'_>) -> Vec<Row> {
    let mut rows = ask.clock.map_or_else(Vec::new, |clock| times(ask, clock));
    let state = size_of::<MeanBet>().max(size_of::<RateBet>());
    let note = format!(
        "The larger of a rate's ({} B) and a mean's ({} B); one more per safe margin. Apart from it: an open block of \
         20 values {} B, of counts {} B; a control sketch of 660 buckets about {} B; per unit and user-level \
         guardrail {} B.",
        size_of::<RateBet>(),
        size_of::<MeanBet>(),
        size_of::<MeanBlock>() + 20 * size_of::<f64>(),
        size_of::<RateBlock>(),
        size_of::<DdSketch>() + 660 * 16,
        size_of::<UnitScore>(),
    );
    rows.push(Row {
        id: "S14",
        what: "state of one e-process".into(),
        n: 1,
        value: state as f64,
        beside: String::new(),
        unit: Unit::Bytes,
        lines: Some(ask.lines("S14 state")),
        timing: false,
        note,
    });
    rows
}
