//! What must hold for any data: order makes no difference, nothing overflows, nothing false is alarmed
//! more often than promised, and a restored snapshot goes on with the same bits.

#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use ensign_stats::cluster::{ClusterParams, Observation, StratumShare};
use ensign_stats::{
    Arm, ClusterDelta, ClusterMixture, DdSketch, DesignBet, Direction, FirstEvent, LabelHealth, Margin,
    MeanBet, MeanBlock, MeanParams, MhSummary, Moments, Null, Range, RateBet, RateBlock, RateParams, Side,
    Srm, UnitScore, quantile_log_e, srm_log_e,
};
use proptest::prelude::*;

/// A small generator, so that the simulations are the same everywhere (xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn hit(&mut self, p: f64) -> bool {
        self.next() < p
    }
}

fn up(r: f64) -> Null {
    Margin::Relative(r).null(Direction::Up).unwrap()
}

fn down(r: f64) -> Null {
    Margin::Relative(r).null(Direction::Down).unwrap()
}

fn rate(r: f64, side: Side) -> RateBet {
    RateBet::new(RateParams::rate(up(r), side).unwrap()).unwrap()
}

fn rate_blocks() -> impl Strategy<Value = RateBlock> {
    (1_u64..2_000_000_000, 0.0..=1.0_f64, 1_u64..2_000_000_000, 0.0..=1.0_f64).prop_map(
        |(n_t, p_t, n_c, p_c)| RateBlock {
            n_t,
            k_t: (n_t as f64 * p_t) as u64,
            n_c,
            k_c: (n_c as f64 * p_c) as u64,
        },
    )
}

fn values() -> impl Strategy<Value = Vec<(bool, f64)>> {
    prop::collection::vec((any::<bool>(), prop_oneof![0.0..=1.0_f64, Just(0.0), Just(1.0), Just(0.5)]), 2..60)
}

fn mean_block(mut block: MeanBlock, values: &[(bool, f64)]) -> MeanBlock {
    block.push(Arm::New, 0.5).unwrap();
    block.push(Arm::Control, 0.5).unwrap();
    for (new, y) in values {
        block.push(if *new { Arm::New } else { Arm::Control }, *y).unwrap();
    }
    block
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rate_evidence_is_always_a_number(
        blocks in prop::collection::vec(rate_blocks(), 1..20),
        margin in 0.0..5.0_f64,
        p in 0.5..0.999_f64,
    ) {
        let exceedance = |side| RateBet::new(RateParams::exceedance(p, side)).unwrap();
        let bets = [rate(margin, Side::Harm), rate(margin, Side::Safe), exceedance(Side::Harm), exceedance(Side::Safe)];
        for mut bet in bets {
            for block in &blocks {
                bet.close(*block).unwrap();
                prop_assert!(bet.log_e().is_finite(), "{bet:?} {block:?}");
                prop_assert!(bet.max_log_e() >= bet.log_e() && bet.max_log_e() >= 0.0);
            }
        }
    }

    #[test]
    fn mean_evidence_is_always_a_number(
        blocks in prop::collection::vec(values(), 1..12),
        margin in prop_oneof![0.0..0.99_f64, Just(0.0), Just(0.999_999)],
        delta in prop_oneof![0.0..2.0_f64, Just(1e17)],
        winsor in prop_oneof![1e-6..2.0_f64, Just(1e9)],
        upwards in any::<bool>(),
    ) {
        let direction = if upwards { Direction::Up } else { Direction::Down };
        for null in [Margin::Relative(margin).null(direction).unwrap(), Margin::Absolute(delta).null(direction).unwrap()] {
            for side in [Side::Harm, Side::Safe] {
                let mut score = MeanBet::new(MeanParams::score(null, side)).unwrap();
                let mut amount = MeanBet::new(MeanParams::amount(null, side, winsor)).unwrap();
                let mut design = DesignBet::new(MeanParams::score(null, side)).unwrap();
                for block in &blocks {
                    score.close(&mean_block(MeanBlock::values(Range::Unit), block)).unwrap();
                    amount.close(&mean_block(MeanBlock::values(Range::Amount), block)).unwrap();
                    for (new, y) in block {
                        design.observe(if *new { Arm::New } else { Arm::Control }, 0.01, *y).unwrap();
                    }
                    prop_assert!(score.log_e().is_finite(), "{score:?}");
                    prop_assert!(amount.log_e().is_finite(), "{amount:?}");
                    prop_assert!(design.log_e().is_finite(), "{design:?}");
                }
            }
        }
    }

    #[test]
    fn blocks_merge_in_any_order(a in values(), b in values(), c in values()) {
        let part = |v: &[(bool, f64)]| mean_block(MeanBlock::values(Range::Unit), v);
        let joined = |parts: [&[(bool, f64)]; 3]| {
            let mut block = part(parts[0]);
            block.merge(&part(parts[1])).unwrap();
            block.merge(&part(parts[2])).unwrap();
            let mut bet = MeanBet::new(MeanParams::score(down(0.0), Side::Harm)).unwrap();
            bet.close(&block).unwrap();
            bet
        };
        // Not nearly the same: the same bits.
        prop_assert_eq!(joined([&a, &b, &c]), joined([&c, &a, &b]));
    }

    #[test]
    fn moments_merge_in_any_order(a in values(), b in values()) {
        let of = |v: &[(bool, f64)]| {
            let mut m = Moments::default();
            v.iter().for_each(|(_, y)| m.push(*y * 1e3 + 1e6));
            m
        };
        let (mut ab, mut ba) = (of(&a), of(&b));
        ab.merge(&of(&b));
        ba.merge(&of(&a));
        let whole = of(&[a, b].concat());
        for m in [ab, ba] {
            prop_assert_eq!(m.n(), whole.n());
            prop_assert!((m.mean() - whole.mean()).abs() < 1e-6);
            prop_assert!((m.m2() - whole.m2()).abs() < 1e-6 * whole.m2().max(1.0));
        }
    }

    #[test]
    fn sketches_merge_in_any_order_and_keep_their_promise(
        a in prop::collection::vec(-1e6..1e6_f64, 1..200),
        b in prop::collection::vec(0.0..1e-3_f64, 1..200),
        p in 0.0..=1.0_f64,
    ) {
        let of = |v: &[f64]| {
            let mut s = DdSketch::default();
            v.iter().for_each(|y| s.add(*y).unwrap());
            s
        };
        let (mut ab, mut ba) = (of(&a), of(&b));
        ab.merge(&of(&b)).unwrap();
        ba.merge(&of(&a)).unwrap();
        let mut all = [a, b].concat();
        prop_assert_eq!(&ab, &ba);
        prop_assert_eq!(&ab, &of(&all));
        all.sort_by(f64::total_cmp);
        let exact = all[(p * (all.len() - 1) as f64).floor() as usize];
        let shown = ab.quantile(p).unwrap();
        prop_assert!((shown - exact).abs() <= 0.01 * exact.abs() * (1.0 + 1e-9), "{} for {}", shown, exact);
    }

    #[test]
    fn a_restored_snapshot_goes_on_with_the_same_bits(
        before in prop::collection::vec(rate_blocks(), 0..6),
        after in prop::collection::vec(rate_blocks(), 1..6),
    ) {
        let mut bet = rate(0.25, Side::Harm);
        let mut health = LabelHealth::new().unwrap();
        for block in &before {
            bet.close(*block).unwrap();
            health.close(*block).unwrap();
        }
        let mut again: RateBet = restored(&bet);
        let mut health_again: LabelHealth = restored(&health);
        for block in &after {
            bet.close(*block).unwrap();
            again.close(*block).unwrap();
            health.close(*block).unwrap();
            health_again.close(*block).unwrap();
            prop_assert_eq!(bet.log_e().to_bits(), again.log_e().to_bits());
            prop_assert_eq!(health.log_e().to_bits(), health_again.log_e().to_bits());
        }
        prop_assert_eq!(bet, again);
    }

    #[test]
    fn mismatch_evidence_is_always_a_number(
        counts in prop::collection::vec(0_u64..2_000_000_000, 2..6),
        weight in 1e-5..1.0_f64,
    ) {
        let mut weights = vec![1.0; counts.len()];
        weights[0] = weight;
        prop_assert!(srm_log_e(&counts, &weights).is_finite());
    }
}

fn restored<T: serde::Serialize + serde::de::DeserializeOwned>(state: &T) -> T {
    postcard::from_bytes(&postcard::to_stdvec(state).unwrap()).unwrap()
}

/// Counts runs that ever reach `ln(1/α)` although nothing is wrong.
#[track_caller]
fn check_false_alarms(what: &str, alpha: f64, runs: u64, run: impl Fn(&mut Dice, f64) -> bool) {
    let threshold = -alpha.ln();
    let alarms = (0..runs)
        .filter(|seed| run(&mut Dice(0x9E37_79B9_7F4A_7C15 ^ ((seed + 1) * 7919)), threshold))
        .count();
    let share = alarms as f64 / runs as f64;
    let allowed = alpha + 3.0 * (alpha * (1.0 - alpha) / runs as f64).sqrt();
    println!("{what}: {alarms} of {runs} runs ({:.2} %), allowed {:.2} %", 100.0 * share, 100.0 * allowed);
    assert!(share <= allowed, "{what}: {share} of the runs alarm, {allowed} would be allowed");
}

fn draw_block(dice: &mut Dice, n_t: u64, n_c: u64, p: f64) -> RateBlock {
    let mut block = RateBlock::default();
    (0..n_t).for_each(|_| block.push(Arm::New, dice.hit(p)));
    (0..n_c).for_each(|_| block.push(Arm::Control, dice.hit(p)));
    block
}

#[test]
fn harmless_rates_are_rarely_taken_back() {
    check_false_alarms("rate, no margin, moving baseline and share", 0.05, 2000, |dice, threshold| {
        let mut bet = rate(0.0, Side::Harm);
        (0..120).any(|t| {
            let n_t = if t < 60 { 2 } else { 10 };
            let block = draw_block(dice, n_t, 20 - n_t, if t % 40 < 20 { 0.02 } else { 0.2 });
            bet.close(block).unwrap();
            bet.log_e() >= threshold
        })
    });
}

#[test]
fn rates_at_the_margin_are_rarely_proven_safe() {
    check_false_alarms("rate at the safe margin", 0.05, 2000, |dice, threshold| {
        let mut bet = rate(0.5, Side::Safe);
        (0..150).any(|_| {
            let mut block = draw_block(dice, 10, 0, 0.075);
            block.merge(draw_block(dice, 0, 10, 0.05));
            bet.close(block).unwrap();
            bet.log_e() >= threshold
        })
    });
}

#[test]
fn harmless_scores_are_rarely_taken_back() {
    check_false_alarms("score, no margin", 0.05, 2000, |dice, threshold| {
        let mut bet = MeanBet::new(MeanParams::score(down(0.0), Side::Harm)).unwrap();
        (0..80).any(|_| {
            let mut block = MeanBlock::values(Range::Unit);
            for i in 0..20 {
                let arm = if i < 3 { Arm::New } else { Arm::Control };
                let y = dice.next().max(dice.next());
                block.push(arm, y).unwrap();
            }
            bet.close(&block).unwrap();
            bet.log_e() >= threshold
        })
    });
}

#[test]
fn harmless_first_events_and_observations_rarely_alarm() {
    check_false_alarms("first event", 0.05, 2000, |dice, threshold| {
        let mut bet = FirstEvent::new(up(0.0)).unwrap();
        (0..200).any(|_| {
            let arm = if dice.hit(0.1) { Arm::New } else { Arm::Control };
            bet.observe(arm, 0.1).unwrap();
            bet.log_e() >= threshold
        })
    });
    check_false_alarms("first observation, rising mean", 0.05, 2000, |dice, threshold| {
        let mut bet = DesignBet::new(MeanParams::score(up(0.0), Side::Harm)).unwrap();
        (0..400).any(|t| {
            let arm = if dice.hit(0.1) { Arm::New } else { Arm::Control };
            let y = if t < 200 { 0.3 * dice.next() } else { 0.5 + 0.5 * dice.next() };
            bet.observe(arm, 0.1, y).unwrap();
            bet.log_e() >= threshold
        })
    });
}

#[test]
fn harmless_clusters_rarely_alarm() {
    check_false_alarms("cluster mixture, heavy users, ramp", 0.05, 2000, |dice, threshold| {
        let null = Null::new(Direction::Down, 1.0, 0.0).unwrap();
        let params = ClusterParams { side: Side::Harm, null, start_centre: 0.5, known_variance: None };
        let mut mixture = ClusterMixture::new(params).unwrap();
        let strata = [StratumShare { share: 0.1, reset: false }, StratumShare { share: 0.3, reset: false }];
        let users: Vec<(f64, f64)> = (0..300).map(|_| (dice.next(), dice.next())).collect();
        let mut scores = vec![UnitScore::default(); users.len()];
        (0..40).any(|tick| {
            let stratum = usize::from(tick >= 20);
            let frame = mixture.frame();
            let mut delta = ClusterDelta::default();
            for _ in 0..50 {
                // The lower a user's number, the more active.
                let who = ((dice.next() * dice.next()) * users.len() as f64) as usize;
                let (hash, taste) = users[who];
                let arm = if hash < strata[stratum].share { Arm::New } else { Arm::Control };
                let y = f64::from(u8::from(dice.hit(taste)));
                let seen = Observation { arm, stratum: stratum as u16, y, size: 1.0 };
                scores[who].observe(&frame, &strata, seen, &mut delta).unwrap();
            }
            mixture.end_tick(&delta);
            mixture.log_e() >= threshold
        })
    });
}

#[test]
fn a_fair_split_is_rarely_called_a_mismatch() {
    check_false_alarms("srm", 0.05, 2000, |dice, threshold| {
        let mut srm = Srm::new(&[0.05, 0.95]).unwrap();
        (0..100).any(|tick| {
            if tick == 50 {
                srm.begin_stratum(&[0.25, 0.75]).unwrap();
            }
            let share = if tick < 50 { 0.05 } else { 0.25 };
            (0..20).for_each(|_| srm.observe(usize::from(!dice.hit(share)), 1));
            srm.end_tick();
            srm.log_e() >= threshold
        })
    });
}

#[test]
fn true_harm_is_found() {
    let mut dice = Dice(42);
    let mut bet = rate(0.0, Side::Harm);
    let blocks = (1..=400).find(|_| {
        let mut block = draw_block(&mut dice, 5, 0, 0.05);
        block.merge(draw_block(&mut dice, 0, 95, 0.01));
        bet.close(block).unwrap();
        bet.log_e() >= 100_f64.ln()
    });
    assert!(blocks.is_some_and(|n| n <= 100), "{blocks:?}");
}

/// The expectation of the evidence under the null, summed over all outcomes, is exactly one.
#[test]
fn the_quantile_mixture_is_fair() {
    for p in [0.5_f64, 0.95, 0.05] {
        for n in [1_u64, 5, 20] {
            let mut expectation = 0.0;
            let mut log_choose = 0.0_f64;
            for k in 0..=n {
                let log_p = log_choose + k as f64 * p.ln() + (n - k) as f64 * (1.0 - p).ln();
                expectation += (log_p + quantile_log_e(p, n, k, 1000, 0.05).unwrap()).exp();
                log_choose += ((n - k) as f64 / (k + 1) as f64).ln();
            }
            assert!((expectation - 1.0).abs() < 1e-9, "{p} {n}: {expectation}");
        }
    }
}

/// A guard keeps thousands of these in memory and in snapshots.
#[test]
fn the_state_of_a_guardrail_is_small() {
    for (what, bytes) in [
        ("rate", size_of::<RateBet>()),
        ("mean", size_of::<MeanBet>()),
        ("first observation", size_of::<DesignBet>()),
        ("first event", size_of::<FirstEvent>()),
        ("cluster", size_of::<ClusterMixture>()),
    ] {
        println!("{what}: {bytes} bytes");
        assert!(bytes <= 512, "{what} takes {bytes} bytes");
    }
    assert!(size_of::<UnitScore>() <= 40);
}

#[test]
fn every_state_survives_a_snapshot() {
    #[track_caller]
    fn check<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(state: &T) {
        assert_eq!(&restored(state), state);
    }
    let mut dice = Dice(7);
    let mut values = MeanBlock::values(Range::Unit);
    let mut mean = MeanBet::new(MeanParams::score(down(0.1), Side::Harm)).unwrap();
    let mut design = DesignBet::new(MeanParams::score(down(0.1), Side::Harm)).unwrap();
    let mut summary = MhSummary::default();
    let mut sketch = DdSketch::default();
    for i in 0..60 {
        let arm = if i % 3 == 0 { Arm::New } else { Arm::Control };
        let y = dice.next();
        values.push(arm, y).unwrap();
        design.observe(arm, 1.0 / 3.0, y).unwrap();
        sketch.add(y).unwrap();
    }
    mean.close(&values).unwrap();
    summary.close_mean(&values).unwrap();
    let mut mixture = ClusterMixture::new(ClusterParams::for_display(0.5).unwrap()).unwrap();
    let mut delta = ClusterDelta::default();
    let mut unit = UnitScore::default();
    let seen = Observation { arm: Arm::New, stratum: 0, y: 0.3, size: 1.0 };
    let strata = [StratumShare { share: 0.5, reset: false }];
    unit.observe(&mixture.frame(), &strata, seen, &mut delta).unwrap();
    mixture.end_tick(&delta);
    check(&values);
    check(&mean);
    check(&design);
    check(&summary);
    check(&sketch);
    check(&mixture);
    check(&delta);
    check(&unit);
    check(&Srm::new(&[0.5, 0.5]).unwrap());
}
