//! Conditions as clauses. A rule there is a conjunction, so a tree becomes its alternatives: the same truth for every
//! context, because a rule asks only whether a condition is *true*, and unknown stays unknown under negation.

use ensign_eval::model::{AttributeRef, Clause, Condition, Op, SegmentMatch, USER};
use serde_json::Value as Json;

use super::wire::WireClause;

/// A rule with more alternatives than this is not carried.
pub(super) const ALTERNATIVES: usize = 64;

/// There are more than [`ALTERNATIVES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// Clauses that must all hold.
pub(super) type All = Vec<WireClause>;

/// The alternatives of conditions that must all hold: one of them holds exactly when the conditions do.
pub(super) fn alternatives(conditions: &[Condition]) -> Result<Vec<All>, TooMany> {
    product(conditions, false)
}

fn expand(condition: &Condition, negate: bool) -> Result<Vec<All>, TooMany> {
    match condition {
        Condition::Clause(clause) => Ok(vec![vec![one(clause, negate)]]),
        Condition::Segment(asked) => Ok(vec![vec![segments(asked, negate)]]),
        Condition::Not(inner) => expand(inner, !negate),
        Condition::Any(members) if !negate => union(members, negate),
        Condition::All(members) if negate => union(members, negate),
        Condition::Any(members) | Condition::All(members) => product(members, negate),
    }
}

fn union(members: &[Condition], negate: bool) -> Result<Vec<All>, TooMany> {
    let mut all = Vec::new();
    for member in members {
        all.extend(expand(member, negate)?);
    }
    if all.len() > ALTERNATIVES { Err(TooMany) } else { Ok(all) }
}

fn product(members: &[Condition], negate: bool) -> Result<Vec<All>, TooMany> {
    let mut all: Vec<All> = vec![Vec::new()];
    for member in members {
        let choices = expand(member, negate)?;
        if all.len() * choices.len() > ALTERNATIVES {
            return Err(TooMany);
        }
        all = all
            .iter()
            .flat_map(|head| choices.iter().map(|tail| head.iter().chain(tail).cloned().collect()))
            .collect();
    }
    Ok(all)
}

fn one(clause: &Clause, negate: bool) -> WireClause {
    WireClause {
        context_kind: clause.kind.clone(),
        attribute: reference(&clause.attribute),
        op: clause.op.name().to_owned(),
        values: clause.values.clone(),
        negate: clause.negate != negate,
    }
}

fn segments(asked: &SegmentMatch, negate: bool) -> WireClause {
    WireClause { negate: asked.negate != negate, ..in_segment(&asked.segments) }
}

/// Membership of one of several segments.
pub(super) fn in_segment(segments: &[String]) -> WireClause {
    WireClause {
        context_kind: USER.to_owned(),
        attribute: String::new(),
        op: "segmentMatch".to_owned(),
        values: segments.iter().map(|key| key.as_str().into()).collect(),
        negate: false,
    }
}

/// An attribute as a reference; a literal name that begins with a slash is written as a path of one name.
pub(super) fn reference(attribute: &AttributeRef) -> String {
    if attribute.is_literal_slash() {
        format!("/{}", attribute.raw().replace('~', "~0").replace('/', "~1"))
    } else {
        attribute.raw().to_owned()
    }
}

/// That an attribute is there, whatever it is: nothing is in an empty list, and a missing attribute does not match
/// even turned round.
pub(super) fn present(kind: &str, attribute: &AttributeRef) -> WireClause {
    WireClause {
        context_kind: kind.to_owned(),
        attribute: reference(attribute),
        op: "in".to_owned(),
        values: Vec::new(),
        negate: true,
    }
}

/// That the context has no part of a kind.
pub(super) fn lacks_kind(kind: &str) -> WireClause {
    WireClause {
        context_kind: USER.to_owned(),
        attribute: "kind".to_owned(),
        op: "in".to_owned(),
        values: vec![kind.into()],
        negate: true,
    }
}

/// That an attribute is one of these.
pub(super) fn is_one_of(kind: &str, attribute: &AttributeRef, values: Vec<Json>) -> WireClause {
    WireClause { values, negate: false, ..present(kind, attribute) }
}

/// Expressions that not every client's engine reads as ours does, each with the part that it is about.
pub(super) fn odd_patterns(conditions: &[Condition]) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    for condition in conditions {
        match condition {
            Condition::Clause(clause) if clause.op == Op::Matches => {
                let patterns = clause.values.iter().filter_map(Json::as_str);
                all.extend(patterns.filter_map(|pattern| Some((pattern.to_owned(), odd(pattern)?))));
            }
            Condition::Clause(_) | Condition::Segment(_) => {}
            Condition::Any(members) | Condition::All(members) => all.extend(odd_patterns(members)),
            Condition::Not(inner) => all.extend(odd_patterns(std::slice::from_ref(inner))),
        }
    }
    all
}

/// The first construct of a pattern that Python, JavaScript, Go and Rust do not all have in common.
fn odd(pattern: &str) -> Option<&'static str> {
    const ODD: [&str; 14] =
        ["(?P<", "(?<", "(?i", "(?m", "(?s", "(?x", "(?u", "(?-", "(?U", "[[:", "&&", "--", "~~", "(?R"];
    const ODD_ESCAPES: [(char, &str); 10] = [
        ('p', r"\p"),
        ('P', r"\P"),
        ('A', r"\A"),
        ('z', r"\z"),
        ('Z', r"\Z"),
        ('h', r"\h"),
        ('x', r"\x"),
        ('u', r"\u"),
        ('U', r"\U"),
        ('<', r"\<"),
    ];
    let mut escaped = false;
    for c in pattern.chars() {
        if escaped {
            escaped = false;
            if let Some((_, shown)) = ODD_ESCAPES.iter().find(|(letter, _)| *letter == c) {
                return Some(shown);
            }
        } else {
            escaped = c == '\\';
        }
    }
    ODD.into_iter().find(|odd| pattern.contains(odd))
}
