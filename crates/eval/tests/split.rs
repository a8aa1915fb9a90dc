//! Properties of splits: minimal movement, borders that meet again, and a canonical form.

#![expect(clippy::unwrap_used, reason = "a test may fail where it is")]

use ensign_eval::model::{Interval, WHOLE};
use ensign_eval::split::{BadWeights, lay_out, reweigh};
use proptest::prelude::*;

/// The variant of every bucket.
fn assignment(intervals: &[Interval]) -> Vec<(u16, bool)> {
    intervals.iter().flat_map(|i| std::iter::repeat_n((i.variant, i.untracked), i.weight as usize)).collect()
}

fn weights_of(weights: &[u32]) -> Vec<Interval> {
    (0..).zip(weights).map(|(variant, weight)| Interval::tracked(variant, *weight)).collect()
}

fn sums(intervals: &[Interval], arms: usize) -> Vec<u32> {
    (0..arms as u16).map(|v| intervals.iter().filter(|i| i.variant == v).map(|i| i.weight).sum()).collect()
}

fn scaled(raw: &[u32]) -> Vec<u32> {
    let total: u64 = raw.iter().map(|w| u64::from(*w)).sum::<u64>().max(1);
    let mut weights: Vec<u32> =
        raw.iter().map(|w| (u64::from(*w) * u64::from(WHOLE) / total) as u32).collect();
    weights[0] += WHOLE - weights.iter().sum::<u32>();
    weights
}

fn any_weights(arms: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop_oneof![2 => 0..1000_u32, 1 => Just(0)], arms).prop_map(|raw| scaled(&raw))
}

fn histories() -> impl Strategy<Value = Vec<Vec<u32>>> {
    (2..6_usize).prop_flat_map(|arms| prop::collection::vec(any_weights(arms), 2..7))
}

/// First weights, the arm that grows, and by how much the others shrink at each step, in percent.
fn ramps() -> impl Strategy<Value = (Vec<u32>, usize, Vec<Vec<u32>>)> {
    (2..6_usize).prop_flat_map(|arms| {
        let steps = prop::collection::vec(prop::collection::vec(0..=100_u32, arms), 1..5);
        (any_weights(arms), 0..arms, steps)
    })
}

fn check_step(before: &[Interval], wanted: &[u32]) -> Vec<Interval> {
    let after = reweigh(before, &weights_of(wanted)).unwrap();
    assert_eq!(sums(&after, wanted.len()), wanted, "the weights are what was asked for");
    let had = sums(before, wanted.len());
    let must: u32 = wanted.iter().zip(&had).map(|(now, then)| now.saturating_sub(*then)).sum();
    let (then, now) = (assignment(before), assignment(&after));
    let mut moved = 0;
    for ((from, _), (to, _)) in then.iter().zip(&now).filter(|(a, b)| a != b) {
        moved += 1;
        assert!(wanted[usize::from(*from)] < had[usize::from(*from)], "left an arm that does not shrink");
        assert!(wanted[usize::from(*to)] > had[usize::from(*to)], "came to an arm that does not grow");
    }
    assert_eq!(moved, must, "moves exactly what must move");
    assert_eq!(after[0].variant, before[0].variant, "the first interval stays control's");
    for pair in after.windows(2) {
        assert!(pair[0].variant != pair[1].variant, "neighbours are merged: {after:?}");
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_step_moves_exactly_what_must_move(history in histories()) {
        let mut split = lay_out(&weights_of(&history[0])).unwrap();
        for wanted in &history[1..] {
            split = check_step(&split, wanted);
        }
    }

    #[test]
    fn the_same_weights_change_nothing(history in histories()) {
        let mut split = lay_out(&weights_of(&history[0])).unwrap();
        for wanted in &history[1..] {
            split = reweigh(&split, &weights_of(wanted)).unwrap();
            let again = reweigh(&split, &weights_of(wanted)).unwrap();
            prop_assert_eq!(&again, &split);
        }
    }

    #[test]
    fn an_arm_that_grew_by_steps_shrinks_back_by_the_same_steps((first, grower, steps) in ramps()) {
        let mut weights = vec![first.clone()];
        let mut splits = vec![lay_out(&weights_of(&first)).unwrap()];
        for step in &steps {
            let mut next = weights[weights.len() - 1].clone();
            for arm in 0..next.len() {
                if arm != grower {
                    let given = next[arm] * step[arm] / 100;
                    next[arm] -= given;
                    next[grower] += given;
                }
            }
            splits.push(check_step(&splits[splits.len() - 1], &next));
            weights.push(next);
        }
        let mut split = splits[splits.len() - 1].clone();
        for at in (0..splits.len() - 1).rev() {
            split = check_step(&split, &weights[at]);
            prop_assert!(assignment(&split) == assignment(&splits[at]), "step {}: {:?} is not {:?}", at, split, splits[at]);
        }
    }

    #[test]
    fn two_arms_have_one_assignment_per_weight(path in prop::collection::vec(0..=WHOLE, 2..8)) {
        let at = |new: u32| weights_of(&[WHOLE - new, new]);
        let mut split = lay_out(&at(path[0])).unwrap();
        for new in &path[1..] {
            split = reweigh(&split, &at(*new)).unwrap();
            prop_assert!(assignment(&split) == assignment(&lay_out(&at(*new)).unwrap()));
        }
    }
}

#[test]
fn a_rollout_to_everyone_keeps_a_place_for_control() {
    let start = lay_out(&weights_of(&[WHOLE, 0])).unwrap();
    let all = reweigh(&start, &weights_of(&[0, WHOLE])).unwrap();
    assert_eq!(all, weights_of(&[0, WHOLE]));
    assert_eq!(reweigh(&all, &weights_of(&[WHOLE, 0])).unwrap(), start);
}

#[test]
fn a_new_arm_takes_from_the_ends() {
    let start = lay_out(&weights_of(&[60_000, 40_000])).unwrap();
    let grown = reweigh(&start, &weights_of(&[50_000, 30_000, 20_000])).unwrap();
    let expected = [(0, 50_000), (2, 10_000), (1, 30_000), (2, 10_000)];
    assert_eq!(grown, expected.map(|(variant, weight)| Interval::tracked(variant, weight)));
}

#[test]
fn untracked_is_an_arm_of_its_own() {
    let untracked = |weight| Interval { untracked: true, ..Interval::tracked(0, weight) };
    let start =
        lay_out(&[Interval::tracked(0, 10_000), Interval::tracked(1, 10_000), untracked(80_000)]).unwrap();
    let more = [Interval::tracked(0, 20_000), Interval::tracked(1, 20_000), untracked(60_000)];
    let grown = reweigh(&start, &more).unwrap();
    let moved = assignment(&start).iter().zip(assignment(&grown)).filter(|(a, b)| **a != *b).count();
    assert_eq!(moved, 20_000);
}

#[test]
fn weights_that_are_not_a_whole_are_refused() {
    assert_eq!(lay_out(&[]), Err(BadWeights::Empty));
    assert_eq!(lay_out(&weights_of(&[1, 2])), Err(BadWeights::Sum(3)));
    assert_eq!(reweigh(&weights_of(&[WHOLE]), &weights_of(&[WHOLE, 1])), Err(BadWeights::Sum(100_001)));
}
