//! Segments.

use ensign_eval::model::{KeyList, Segment, SegmentRule, USER};

use super::clause::{self, lacks_kind, present, reference};
use super::import::ABSENT;
use super::note::Note;
use super::wire::{WireKeys, WireSegment, WireSegmentRule};

/// A segment with its members, at a version. `None`: it cannot be carried, and the notes say why.
#[must_use]
pub fn segment(segment: &Segment, version: u64) -> (Option<WireSegment>, Vec<Note>) {
    let mut notes = Vec::new();
    let mut rules = Vec::new();
    let mut whole = false;
    for (at, rule) in segment.rules.iter().enumerate() {
        if std::mem::take(&mut whole) {
            continue;
        }
        whole = segment.rules.get(at + 1).is_some_and(|next| takes_the_rest(rule, next));
        for (pattern, odd) in clause::odd_patterns(&rule.conditions) {
            notes.push(Note::differs("segment", &segment.key, &odd_words(&pattern, odd)));
        }
        let Ok(alternatives) = clause::alternatives(&rule.conditions) else {
            let why = format!("rule {} has more than {} alternatives", rule.id, clause::ALTERNATIVES);
            notes.push(Note::left_out("segment", &segment.key, &why));
            return (None, notes);
        };
        rules.extend(alternatives.into_iter().enumerate().map(|(at, all)| one(rule, at, all, !whole)));
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

/// Whether a weighted rule is followed by the one that an import puts there, which takes in everybody without the kind
/// that is weighed: the two are what a weighted rule alone means to most SDKs.
fn takes_the_rest(rule: &SegmentRule, next: &SegmentRule) -> bool {
    let (Ok(own), Ok(rest)) =
        (clause::alternatives(&rule.conditions), clause::alternatives(&next.conditions))
    else {
        return false;
    };
    let mut expected = own;
    expected.iter_mut().for_each(|all| all.push(lacks_kind(&rule.kind)));
    rule.weight.is_some()
        && next.weight.is_none()
        && next.id == format!("{}{ABSENT}", rule.id)
        && expected == rest
}

fn one(rule: &SegmentRule, at: usize, mut clauses: clause::All, guarded: bool) -> WireSegmentRule {
    let id = numbered(&rule.id, at);
    if rule.weight.is_none() {
        return WireSegmentRule { id, clauses, weight: None, bucket_by: None, rollout_context_kind: None };
    }
    // SDKs disagree about a context that lacks the kind; asking for its key makes all of them say no.
    if guarded {
        clauses.push(present(&rule.kind, &ensign_eval::model::AttributeRef::key()));
    }
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
