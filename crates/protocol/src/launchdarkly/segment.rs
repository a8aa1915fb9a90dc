//! Segments.

use ensign_eval::model::{KeyList, Segment, SegmentRule, USER};

use super::clause::{self, present, reference};
use super::note::Note;
use super::wire::{WireKeys, WireSegment, WireSegmentRule};

/// A segment with its members, at a version. `None`: it cannot be carried, and the notes say why.
#[must_use]
pub fn segment(segment: &Segment, version: u64) -> (Option<WireSegment>, Vec<Note>) {
    let mut notes = Vec::new();
    let mut rules = Vec::new();
    for rule in &segment.rules {
        for (pattern, odd) in clause::odd_patterns(&rule.conditions) {
            notes.push(Note::differs("segment", &segment.key, &odd_words(&pattern, odd)));
        }
        let Ok(alternatives) = clause::alternatives(&rule.conditions) else {
            let why = format!("rule {} has more than {} alternatives", rule.id, clause::ALTERNATIVES);
            notes.push(Note::left_out("segment", &segment.key, &why));
            return (None, notes);
        };
        rules.extend(alternatives.into_iter().enumerate().map(|(at, all)| one(rule, at, all)));
    }
    let users = |lists: &[KeyList]| -> Vec<String> {
        lists.iter().filter(|list| list.kind == USER).flat_map(|list| list.keys.iter().cloned()).collect()
    };
    let others = |lists: &[KeyList]| -> Vec<WireKeys> {
        let others = lists.iter().filter(|list| list.kind != USER);
        others.map(|list| WireKeys { context_kind: list.kind.clone(), values: list.keys.clone() }).collect()
    };
    let wire = WireSegment {
        key: segment.key.clone(),
        version,
        included: users(&segment.included),
        excluded: users(&segment.excluded),
        included_contexts: others(&segment.included),
        excluded_contexts: others(&segment.excluded),
        rules,
        salt: segment.salt.clone(),
        unbounded: false,
        deleted: false,
    };
    (Some(wire), notes)
}

fn one(rule: &SegmentRule, at: usize, mut clauses: clause::All) -> WireSegmentRule {
    let id = numbered(&rule.id, at);
    if rule.weight.is_none() {
        return WireSegmentRule { id, clauses, weight: None, bucket_by: None, rollout_context_kind: None };
    }
    // SDKs disagree about a context that lacks the kind; asking for its key makes all of them say no.
    clauses.push(present(&rule.kind, &ensign_eval::model::AttributeRef::key()));
    WireSegmentRule {
        id,
        clauses,
        weight: rule.weight,
        bucket_by: Some(reference(&rule.by)),
        rollout_context_kind: Some(rule.kind.clone()),
    }
}

/// The id of an alternative: the first has the rule's own.
pub(super) fn numbered(id: &str, at: usize) -> String {
    if at == 0 { id.to_owned() } else { format!("{id}~{}", at + 1) }
}

pub(super) fn odd_words(pattern: &str, odd: &str) -> String {
    format!(
        "the expression \"{pattern}\" uses {odd}, which the engines of LaunchDarkly's SDKs (Python, JavaScript, Go and \
         others) do not all read alike"
    )
}
