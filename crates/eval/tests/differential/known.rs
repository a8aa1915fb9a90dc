//! Recognises the differences that are known, each by what the trace shows.

use std::collections::{BTreeMap, BTreeSet};

use ensign_eval::model::Op;
use ensign_eval::{Passed, Recorder, Step};
use serde_json::Value as Json;

use crate::Answer;

pub(crate) fn table() -> BTreeMap<String, String> {
    let rows: Vec<Json> = serde_json::from_str(include_str!("../data/known_differences.json")).unwrap();
    let text = |row: &Json, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "id"), text(row, "reason"))).collect()
}

pub(crate) fn explain(
    here: &Answer,
    there: &Answer,
    trace: &Recorder,
    context: &Json,
) -> Option<&'static str> {
    if here.reason == there.reason && here.value == there.value && here.variant.is_none() {
        return (there.reason["kind"] == "ERROR").then_some("index-of-error");
    }
    if there.reason["kind"] == "ERROR" && stale_chain(trace.steps()) {
        return Some("stale-prerequisite-chain");
    }
    trace.steps().iter().find_map(|step| of_step(step, context))
}

fn of_step(step: &Step, context: &Json) -> Option<&'static str> {
    match step {
        Step::UnitMissing { intervals, .. } => {
            intervals.first().is_some_and(|i| i.weight == 0).then_some("missing-unit-and-empty-control")
        }
        Step::SegmentShare { value: Some(value), .. } | Step::Gate { value: Some(value), .. }
            if beyond_exact(value) =>
        {
            Some("whole-number-beyond-2-53")
        }
        Step::Split { value, .. } if beyond_exact(value) => Some("whole-number-beyond-2-53"),
        Step::SegmentShare { position: None, weight: 1.., .. } => Some("weighted-segment-without-kind"),
        Step::SegmentShare { position: Some(position), weight, value: Some(_), .. }
            if near(*position, *weight) =>
        {
            Some("f32-border")
        }
        Step::Gate { position: Some(position), weight, .. } if near(*position, *weight) => Some("f32-border"),
        Step::Gate { value: None, weight: 1.., .. } => Some("gate-of-unhashable"),
        Step::Split { position, intervals, .. } => {
            let mut sum = 0;
            let mut borders = intervals.iter().map(|i| {
                sum += i.weight;
                sum
            });
            borders.any(|border| near(*position, border)).then_some("f32-border")
        }
        Step::Clause { clause, found: Some(found), .. } if matches!(clause.op, Op::Before | Op::After) => {
            let blank = |json: &Json| json.as_str().is_some_and(|s| s.as_bytes().get(10) == Some(&b' '));
            let in_found = blank(found) || found.as_array().is_some_and(|list| list.iter().any(blank));
            (in_found || clause.values.iter().any(blank) && !context.is_null()).then_some("blank-in-date")
        }
        _ => None,
    }
}

fn near(position: u32, border: u32) -> bool {
    position == border || position + 1 == border
}

fn beyond_exact(value: &str) -> bool {
    value.parse::<i64>().is_ok_and(|n| n.unsigned_abs() > 9_007_199_254_740_991)
}

/// Whether a prerequisite was entered, failed by a prerequisite of its own, and was entered again.
fn stale_chain(steps: &[Step]) -> bool {
    let mut open: Vec<&str> = Vec::new();
    let mut left_behind: BTreeSet<&str> = BTreeSet::new();
    for step in steps {
        match step {
            Step::EnterPrerequisite { flag } => {
                if left_behind.contains(flag.as_str()) {
                    return true;
                }
                open.push(flag);
            }
            Step::Prerequisite { passed, entered, .. } => {
                if *entered {
                    open.pop();
                }
                if *passed != Passed::Yes {
                    left_behind.extend(open.last());
                }
            }
            _ => {}
        }
    }
    false
}
