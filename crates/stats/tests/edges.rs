//! The awkward inputs, each with what must happen.

#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use ensign_stats::combine::{Decider, Set, Weighed, combine};
use ensign_stats::{
    Arm, Direction, Invalid, Margin, MeanBet, MeanBlock, MeanParams, MhSummary, Moments, Null, Range,
    RateBet, RateBlock, RateParams, Rejected, Side, Srm, asymp_cs, bh, ebh, holm, srm_log_e,
};

fn rate() -> RateBet {
    let null = Margin::Relative(0.0).null(Direction::Up).unwrap();
    RateBet::new(RateParams::rate(null, Side::Harm).unwrap()).unwrap()
}

fn block(n_t: u64, k_t: u64, n_c: u64, k_c: u64) -> RateBlock {
    RateBlock { n_t, k_t, n_c, k_c }
}

#[test]
fn bad_blocks_leave_the_process_as_it_was() {
    for (bad, why) in [
        (block(3, 4, 10, 0), Rejected::Counts),
        (block(3, 0, 10, 11), Rejected::Counts),
        (block(u64::MAX, 0, 10, 0), Rejected::Counts),
        (block(0, 0, 10, 0), Rejected::EmptyArm),
        (block(10, 1, 0, 0), Rejected::EmptyArm),
    ] {
        let mut bet = rate();
        assert_eq!(bet.close(bad), Err(why));
        assert_eq!(bet, rate());
    }
}

#[test]
fn each_error_of_a_small_arm_counts_tenfold_when_control_has_none() {
    let mut bet = rate();
    for _ in 0..20 {
        bet.close(block(5, 0, 95, 0)).unwrap();
    }
    let before = bet.log_e();
    for errors in 1..=5 {
        bet.close(block(5, 1, 95, 0)).unwrap();
        // The first error also has to find the right bet among eight.
        let expected = f64::from(errors) * 10_f64.ln() - 8_f64.ln();
        assert!(bet.log_e() - before >= expected, "{} after {before}", bet.log_e());
    }
}

#[test]
fn extreme_splits_stay_finite() {
    let mut bet = rate();
    for b in [
        block(1, 1, 1_000_000_000, 0),
        block(1_000_000_000, 1_000_000_000, 1, 0),
        block(1, 0, 1 << 52, 1 << 52),
    ] {
        bet.close(b).unwrap();
        assert!(bet.log_e().is_finite());
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let mut scores = MeanBlock::values(Range::Unit);
    let mut amounts = MeanBlock::values(Range::Amount);
    for y in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, 1.1] {
        assert_eq!(scores.push(Arm::New, y), Err(Rejected::Value));
    }
    for y in [f64::NAN, f64::INFINITY, -1.0] {
        assert_eq!(amounts.push(Arm::New, y), Err(Rejected::Value));
    }
    assert_eq!(scores.merge(&amounts), Err(Rejected::Shape));
    assert_eq!(scores.merge(&MeanBlock::ratings()), Err(Rejected::Shape));
}

#[test]
fn ratings_in_bins_are_exact() {
    let null = Margin::Relative(0.0).null(Direction::Down).unwrap();
    let run = |mut block: MeanBlock| {
        for (i, rating) in [5, 4, 1, 3, 3, 2, 5, 5, 4, 1].into_iter().enumerate() {
            let arm = if i % 3 == 0 { Arm::New } else { Arm::Control };
            block.push(arm, f64::from(rating - 1) / 4.0).unwrap();
        }
        let mut bet = MeanBet::new(MeanParams::score(null, Side::Harm)).unwrap();
        bet.close(&block).unwrap();
        bet.log_e()
    };
    let (listed, binned) = (run(MeanBlock::values(Range::Unit)), run(MeanBlock::ratings()));
    assert!((listed - binned).abs() < 1e-14, "{listed} {binned}");
    assert!((listed - run(MeanBlock::score_histogram())).abs() < 0.01);
}

#[test]
fn a_new_cap_changes_the_scale_and_nothing_else() {
    let null = Margin::Relative(0.1).null(Direction::Up).unwrap();
    let run = |scale: f64| {
        let mut bet = MeanBet::new(MeanParams::amount(null, Side::Harm, 100.0)).unwrap();
        bet.set_winsor(100.0 * scale).unwrap();
        bet
    };
    assert_eq!(run(1.0).params().winsor, Some(100.0));
    let mut bet = run(2.0);
    assert_eq!(bet.set_winsor(0.0), Err(Invalid::Cap));
    let mut scores = MeanBet::new(MeanParams::score(null, Side::Harm)).unwrap();
    assert_eq!(scores.set_winsor(1.0), Err(Invalid::Cap));
}

#[test]
fn a_rate_whose_decrease_is_bad_is_refused() {
    let down = Margin::Relative(0.1).null(Direction::Down).unwrap();
    let absolute = Null::new(Direction::Up, 1.0, 0.1).unwrap();
    for null in [down, absolute] {
        assert_eq!(RateParams::rate(null, Side::Harm), Err(Invalid::RateForm));
    }
}

#[test]
fn an_arm_without_a_share_that_is_served_is_a_mismatch_at_once() {
    assert_eq!(srm_log_e(&[10, 1], &[1.0, 0.0]), f64::INFINITY);
    assert!(srm_log_e(&[10, 0], &[1.0, 0.0]).abs() < 1e-12);
    assert_eq!(Srm::new(&[0.0, 0.0]).unwrap_err(), Invalid::Share);
    assert_eq!(Srm::new(&[f64::NAN, 1.0]).unwrap_err(), Invalid::Share);
}

#[test]
fn no_variance_is_not_certainty() {
    assert_eq!(asymp_cs(0.1, 0.0, 0.1, 0.05), None);
    assert_eq!(asymp_cs(f64::NAN, 0.1, 0.1, 0.05), None);
    assert_eq!(Moments::constant(1, 3.0).variance(), None);
    assert_eq!(MhSummary::default().estimate(), None);
}

#[test]
fn small_blocks_borrow_the_stratums_mean() {
    // One value per arm and block: within-block deviations are zero, the spread is not.
    let mut summary = MhSummary::default();
    for y in [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0] {
        summary.close(&Moments::constant(1, y), &Moments::constant(1, 1.0 - y)).unwrap();
    }
    let shown = summary.estimate().unwrap();
    // 8 values per arm, variance ¼ each: se = √(¼/8 + ¼/8).
    assert!((shown.se - 0.25).abs() < 1e-12, "{shown:?}");
    summary.end_stratum();
    assert_eq!(summary.estimate(), Some(shown));
}

fn weighed(weight: f64, log_e: f64, set: Set) -> Weighed {
    Weighed { weight, log_e, set }
}

#[test]
fn shared_guardrails_are_averaged_and_others_stand_alone() {
    let guardrails = [
        weighed(0.25, 4.0, Set::Shared(0)),
        weighed(0.25, 3.9, Set::Shared(0)),
        weighed(0.25, f64::NAN, Set::Shared(0)),
        weighed(0.25, 3.0, Set::Alone),
    ];
    let rule = combine(&guardrails, 0.05).unwrap();
    // Neither alone reaches ln 20 = 2.996 after its weight (ln ¼ = −1.386); together they do.
    assert!(rule.crossed && rule.hold);
    assert_eq!(rule.proven, [false; 4]);
    assert_eq!(rule.leader, Some(Decider::Average(0)));
    assert_eq!(rule.main_contributors(&guardrails), [0, 1]);
    assert!(rule.share.iter().all(|s| s.is_finite()));
    let calm = combine(&[weighed(1.0, 1.6, Set::Alone)], 0.05).unwrap();
    assert!(!calm.crossed && calm.hold);
    assert_eq!(
        combine(&[weighed(0.7, 0.0, Set::Alone), weighed(0.7, 0.0, Set::Alone)], 0.05),
        Err(Invalid::Share)
    );
    let none = combine(&[], 0.05).unwrap();
    assert!(!none.crossed && !none.hold && none.leader.is_none());
}

#[test]
fn pairs_are_not_averaged_with_each_other() {
    let two = [weighed(0.5, 3.2, Set::Shared(0)), weighed(0.5, 3.2, Set::Shared(1))];
    assert!(!combine(&two, 0.05).unwrap().crossed);
    let one = [weighed(0.5, 3.2, Set::Shared(0)), weighed(0.5, 3.2, Set::Shared(0))];
    assert!(combine(&one, 0.05).unwrap().crossed);
}

#[test]
fn adjusting_survives_what_is_not_a_number() {
    assert_eq!(holm(&[f64::NAN, 0.01]), [1.0, 0.02]);
    assert_eq!(bh(&[f64::NAN, 0.01]), [1.0, 0.02]);
    assert_eq!(ebh(&[f64::NAN, 10.0], 0.05), [1]);
    assert_eq!(ebh(&[], 0.05), Vec::<usize>::new());
    assert!(holm(&[]).is_empty());
}
