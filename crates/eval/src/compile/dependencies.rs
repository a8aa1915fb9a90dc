//! Problems between items: what is referred to and missing, circles, and nesting without end.

use std::sync::Arc;

use crate::compiled::{CompiledFlag, CompiledSegment, Slot};
use crate::evaluate::{MAX_DEPTH, MAX_VISITS};
use crate::problem::{Item, Problem, What};
use crate::ruleset::Ruleset;

pub(crate) fn problems(ruleset: &Ruleset) -> Vec<Problem> {
    let mut found = Vec::new();
    for flag in ruleset.flags.iter().flatten() {
        prerequisites(ruleset, flag, &mut found);
        missing_segments(ruleset, &Item::Flag(flag.key.to_string()), &flag.segments, &mut found);
    }
    for segment in ruleset.segments.iter().flatten() {
        missing_segments(ruleset, &Item::Segment(segment.key.to_string()), &segment.segments, &mut found);
    }
    let flag_edges =
        edges(&ruleset.flags, |f: &CompiledFlag| f.prerequisites.iter().map(|p| p.slot).collect());
    for (slot, what) in nesting(&flag_edges) {
        if let Some(Some(flag)) = ruleset.flags.get(slot) {
            let item = Item::Flag(flag.key.to_string());
            found.push(Problem { item, at: "/prerequisites".to_owned(), what });
        }
    }
    let segment_edges =
        edges(&ruleset.segments, |s: &CompiledSegment| s.segments.iter().map(|(slot, _)| *slot).collect());
    for (slot, what) in nesting(&segment_edges) {
        if let Some(Some(segment)) = ruleset.segments.get(slot) {
            found.push(Problem {
                item: Item::Segment(segment.key.to_string()),
                at: "/rules".to_owned(),
                what,
            });
        }
    }
    found
}

fn prerequisites(ruleset: &Ruleset, flag: &CompiledFlag, found: &mut Vec<Problem>) {
    for (i, needed) in flag.prerequisites.iter().enumerate() {
        let what = match ruleset.flags.get(needed.slot as usize).and_then(Option::as_ref) {
            None => What::NoSuchFlag(needed.key.to_string()),
            Some(other) if usize::from(needed.variant) >= other.variants.len() => {
                What::NoSuchPrerequisiteVariant(needed.variant)
            }
            Some(_) => continue,
        };
        found.push(Problem {
            item: Item::Flag(flag.key.to_string()),
            at: format!("/prerequisites/{i}"),
            what,
        });
    }
}

fn missing_segments(ruleset: &Ruleset, item: &Item, named: &[(Slot, String)], found: &mut Vec<Problem>) {
    for (slot, at) in named {
        if ruleset.segments.get(*slot as usize).is_none_or(Option::is_none) {
            let key = ruleset.segment_slots.shared(*slot).map(|k| k.to_string()).unwrap_or_default();
            found.push(Problem { item: item.clone(), at: at.clone(), what: What::NoSuchSegment(key) });
        }
    }
}

fn edges<T>(slots: &[Option<Arc<T>>], of: impl Fn(&T) -> Vec<Slot>) -> Vec<Vec<Slot>> {
    slots.iter().map(|item| item.as_deref().map(&of).unwrap_or_default()).collect()
}

/// Takes away, again and again, what depends on nothing that is left. What remains leads into a circle.
fn nesting(edges: &[Vec<Slot>]) -> Vec<(usize, What)> {
    let mut waits_for: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (from, to) in edges.iter().enumerate().flat_map(|(from, tos)| tos.iter().map(move |to| (from, *to))) {
        if let Some(list) = needed_by.get_mut(to as usize) {
            list.push(from);
        }
    }
    let mut ready: Vec<usize> = (0..edges.len()).filter(|at| waits_for[*at] == 0).collect();
    let (mut depth, mut visits) = (vec![0_u32; edges.len()], vec![0_u32; edges.len()]);
    while let Some(at) = ready.pop() {
        let below = edges[at].iter().map(|to| *to as usize);
        depth[at] = 1 + below.clone().map(|to| depth[to]).max().unwrap_or(0);
        visits[at] = below.fold(1, |sum: u32, to| sum.saturating_add(visits[to]));
        for above in &needed_by[at] {
            waits_for[*above] -= 1;
            if waits_for[*above] == 0 {
                ready.push(*above);
            }
        }
    }
    let verdict = |at: usize| {
        if waits_for[at] > 0 {
            return Some((at, What::Cycle));
        }
        (depth[at] > MAX_DEPTH || visits[at] > MAX_VISITS).then_some((at, What::TooDeep))
    };
    (0..edges.len()).filter_map(verdict).collect()
}
