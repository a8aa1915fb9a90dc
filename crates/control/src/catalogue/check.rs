//! What documents name must exist: segments, flags, variants; and prerequisites must not go round.

use std::collections::BTreeSet;

use super::apply::Target;
use super::draft::Draft;
use super::state::FlagState;
use super::variants::Variants;
use super::view::View;
use crate::document::{Document, Problem, condition};
use crate::ids::{Key, Place};

/// What a document names that is not there. Called when every document has been merged, so that order does not matter.
pub(super) fn document(draft: &mut Draft<'_>, target: &Target<'_>, document: &Document) -> Vec<Problem> {
    let places = draft.environments(target.project);
    let places =
        places.into_iter().filter(|place| target.environment.is_none_or(|only| place.environment == *only));
    let mut problems = Vec::new();
    for place in places {
        match document {
            Document::Flag(flag) => {
                if let Some(state) = draft.state(&place, &flag.key) {
                    problems.extend(self::flag(draft, &place, &flag.key, state));
                }
            }
            Document::Segment(segment) => {
                let state = draft.segment(&place, segment.key.as_str());
                for rule in state.iter().flat_map(|state| &state.rules) {
                    problems.extend(segments(draft, &place, &rule.condition));
                }
                if loops(draft, &place, segment.key.as_str(), &mut Vec::new()) {
                    let sentence = format!("Segment {} asks itself.", segment.key);
                    problems.push(Problem::new("segment_cycle", "/rules", sentence));
                }
            }
            Document::Metric(_) | Document::UseCase(_) | Document::Rollout(_) => {}
        }
    }
    let mut seen = BTreeSet::new();
    problems.retain(|problem: &Problem| seen.insert((problem.pointer.clone(), problem.sentence.clone())));
    problems
}

/// Checks a flag's state and settles the names of its prerequisites' variants.
pub(super) fn flag(draft: &mut Draft<'_>, place: &Place, key: &Key, mut state: FlagState) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in &state.section.rules {
        problems.extend(segments(draft, place, &rule.condition));
    }
    for condition in state.section.pins.iter().filter_map(|pin| pin.condition.as_ref()) {
        problems.extend(segments(draft, place, condition));
    }
    for prerequisite in &mut state.section.prerequisites {
        let other = &prerequisite.flag;
        let at = "/prerequisites";
        let Some(record) = draft.flag(&place.project, other).filter(|record| record.retired.is_none()) else {
            problems.push(Problem::new("unknown_flag", at, format!("There is no flag \"{other}\".")));
            continue;
        };
        match Variants::find(&record, &prerequisite.variant.clone().into()) {
            Some(variant) => prerequisite.variant = variant.name.clone(),
            None => {
                let sentence = format!("Flag {other} has no variant \"{}\".", prerequisite.variant);
                problems.push(Problem::new("unknown_variant", at, sentence));
            }
        }
    }
    draft.put_state(place, key, state);
    if goes_round(draft, place, key, &mut Vec::new()) {
        problems.push(Problem::new(
            "prerequisite_cycle",
            "/prerequisites",
            format!("Flag {key} depends on itself."),
        ));
    }
    problems
}

fn segments(draft: &Draft<'_>, place: &Place, condition: &serde_json::Value) -> Vec<Problem> {
    let read = condition::read(condition, "", &mut Vec::new());
    let unknown = read.segments.into_iter().filter(|(key, _)| draft.segment(place, key).is_none());
    unknown
        .map(|(key, _)| {
            let sentence = format!("There is no segment \"{key}\" in {}.", place.environment);
            Problem::new("unknown_segment", "/rules", sentence)
                .hint("apply its document too; a plain attribute of that name is written {\"attribute\": \"segment\", \"in\": […]}")
        })
        .collect()
}

fn goes_round(view: &dyn View, place: &Place, flag: &Key, path: &mut Vec<Key>) -> bool {
    if path.contains(flag) {
        return true;
    }
    path.push(flag.clone());
    let state = view.state(place, flag);
    let round = state
        .iter()
        .flat_map(|state| &state.section.prerequisites)
        .any(|prerequisite| goes_round(view, place, &prerequisite.flag, path));
    path.pop();
    round
}

fn loops(view: &dyn View, place: &Place, segment: &str, path: &mut Vec<String>) -> bool {
    if path.iter().any(|known| known == segment) {
        return true;
    }
    path.push(segment.to_owned());
    let mut asked = BTreeSet::new();
    let state = view.segment(place, segment);
    state
        .iter()
        .flat_map(|state| &state.rules)
        .for_each(|rule| super::strata::asked(&rule.condition, &mut asked));
    let round = asked.iter().any(|key| loops(view, place, key, path));
    path.pop();
    round
}
