//! The same numbers twice: against the published vectors, and against ourselves.

use ensign_control::evidence::report::Evidence;
use ensign_control::evidence::{Engine, Limits, Part, Record, replay};
use ensign_control::ids::Span;

use super::Ask;
use super::detect::{TRAFFIC, full};
use crate::fleet::{Asked, rollout};
use crate::guards;
use crate::pilot::Pilot;
use crate::random::Random;
use crate::report::{Lines, Row, Unit};
use crate::vectors::{self as methods, Done, Judged};

/// S12: the worst deviation from the vectors; the sample-ratio check has a line of its own.
pub(super) fn vectors(_: &Ask<'_>) -> Vec<Row> {
    let cases = methods::run(methods::OURS);
    let mut waiting = 0;
    let mut failed = Vec::new();
    let mut done: Vec<(&Done, f64, &str)> = Vec::new();
    for case in &cases {
        match &case.judged {
            Judged::Waiting => waiting += 1,
            Judged::Failed(why) => failed.push(format!("{}: {why}", case.id)),
            Judged::Off { off, at, ok } => {
                done.push((case, *off, at));
                if !ok {
                    failed.push(case.id.clone());
                }
            }
        }
    }
    let row = |what: &str, srm: bool, lines: Lines| {
        let of: Vec<_> = done.iter().filter(|(case, _, _)| (case.method == "srm") == srm).collect();
        let worst = of.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        Row {
            id: "S12",
            what: what.into(),
            n: of.len(),
            value: worst.filter(|_| failed.is_empty()).map_or(f64::INFINITY, |worst| worst.1),
            beside: String::new(),
            unit: Unit::Deviation,
            lines: Some(lines),
            timing: false,
            note: worst.map_or_else(String::new, |(case, _, at)| format!("Farthest: {} {at}.", case.id)),
        }
    };
    let mut rows = vec![
        row("worst deviation of a vector", false, Lines { floor: 1e-9, goal: 1e-12 }),
        row("the same, sample ratio", true, Lines { floor: 1e-9, goal: 1e-10 }),
    ];
    if let Some(last) = rows.last_mut() {
        last.note =
            format!("{} {waiting} cases belong to methods not built yet. {}", last.note, failed.join("; "));
    }
    rows
}

fn bits(evidence: &Option<Evidence>) -> Vec<u8> {
    postcard::to_stdvec(evidence).unwrap_or_default()
}

/// The evidence after every 40th record, as bytes, with a checkpoint and restore before some of them.
fn fold(log: &[Record], restore: Option<u64>) -> Vec<Vec<u8>> {
    let mut random = Random::new(restore.unwrap_or_default());
    let mut engine = Engine::new(Limits::default());
    let mut stored: std::collections::BTreeMap<String, Vec<u8>> = std::collections::BTreeMap::new();
    let mut seen = Vec::new();
    for (position, record) in (1_u64..).zip(log) {
        engine.apply(position, record);
        if restore.is_some() && random.chance(0.01) {
            for part in engine.checkpoint().parts() {
                if part.bytes.is_empty() {
                    stored.remove(&part.key);
                } else {
                    stored.insert(part.key, part.bytes);
                }
            }
            let parts = stored.iter().map(|(key, bytes)| Part { key: key.clone(), bytes: bytes.clone() });
            match Engine::restore(Limits::default(), parts) {
                Ok(restored) => engine = restored,
                Err(bad) => seen.push(bad.to_string().into_bytes()),
            }
        }
        if position % 40 == 0 {
            seen.push(bits(&engine.evidence(&rollout())));
        }
    }
    seen.push(bits(&engine.evidence(&rollout())));
    if let (Some(log), Some(evidence)) = (engine.block_log(&rollout()), engine.evidence(&rollout())) {
        // What a receipt holds gives the same evidence without the events.
        seen.push(match replay(&log) {
            Ok(again) => vec![u8::from(bits(&Some(again)) == bits(&Some(evidence)))],
            Err(bad) => bad.to_string().into_bytes(),
        });
    }
    seen
}

/// S13: the same log gives the same bits: folded again, folded with checkpoints and restores, and from the block log.
pub(super) fn replays(ask: &Ask<'_>) -> Vec<Row> {
    let stage = Span::seconds(20);
    let plan = guards::plan(&guards::watch(guards::eight(), 0.01), &[5, 25, 95], stage, true);
    let law = |asked: &Asked, random: &mut Random| full(if asked.new { 0.03 } else { 0.01 }, random);
    let counts = ask.repeat("S13", 6, 60).run(|seed| {
        let mut pilot = Pilot::start(seed, TRAFFIC, &law, plan.clone(), true);
        pilot.follow(Span(stage.0 * 6));
        let last = bits(&pilot.fleet.evidence());
        let log = pilot.fleet.log.take().unwrap_or_default();
        let (first, second, restored) = (fold(&log, None), fold(&log, None), fold(&log, Some(seed)));
        let differ = |a: &[Vec<u8>], b: &[Vec<u8>]| {
            a.iter().zip(b).filter(|(x, y)| x != y).count() + a.len().abs_diff(b.len())
        };
        let from_block_log = usize::from(first.last() != Some(&vec![1]));
        let looks = first.len();
        let live = usize::from(first.len() < 2 || first[first.len() - 2] != last);
        (looks, differ(&first, &second) + differ(&first, &restored) + from_block_log + live)
    });
    let looks: usize = counts.iter().map(|(looks, _)| looks).sum();
    let differ: usize = counts.iter().map(|(_, differ)| differ).sum();
    vec![Row {
        id: "S13",
        what: "evidence that differs by a bit".into(),
        n: counts.len(),
        value: differ as f64,
        beside: format!("{looks} looks"),
        unit: Unit::Count,
        lines: Some(Lines { floor: 0.0, goal: 0.0 }),
        timing: false,
        note: "The log of a rollout folded twice, folded with a checkpoint and restore at one record in a hundred, \
               and recomputed from the block log of a receipt; evidence compared byte by byte."
            .into(),
    }]
}
