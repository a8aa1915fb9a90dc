//! Conditions as JSONLogic.
//!
//! A condition is true, false or unknown (an attribute is missing), and only true makes a rule match; JSONLogic knows
//! two values. So each condition is written in two ways: what makes it certainly true, and what makes it certainly
//! false. `not` swaps them, and an unknown leaf is neither.

use std::collections::BTreeMap;

use ensign_eval::model::{AttributeRef, Clause, Condition, KeyList, Op, Segment, SegmentMatch, USER};
use serde_json::{Value as Json, json};

use super::NotExact;

/// Deeper nesting than this is not written out.
const DEPTH: u32 = 16;

/// Stands for an attribute that is missing; no attribute has this value.
const ABSENT: &str = "$absent";

/// What conditions may ask.
pub(super) struct Rules<'a> {
    pub(super) segments: &'a BTreeMap<String, Segment>,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Certainly {
    True,
    False,
}

impl Certainly {
    fn swapped(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
        }
    }
}

fn and(mut all: Vec<Json>) -> Json {
    match all.len() {
        0 => json!(true),
        1 => all.remove(0),
        _ => json!({ "and": all }),
    }
}

fn or(mut any: Vec<Json>) -> Json {
    match any.len() {
        0 => json!(false),
        1 => any.remove(0),
        _ => json!({ "or": any }),
    }
}

fn not(it: Json) -> Json {
    json!({ "!": [it] })
}

fn user() -> Json {
    json!({ "var": "targetingKey" })
}

/// The user's key is there. An empty one is none.
pub(super) fn user_present() -> Json {
    json!({ "!!": [user()] })
}

/// The user's key is one of these.
pub(super) fn user_in(keys: &[String]) -> Json {
    json!({ "in": [user(), keys] })
}

impl Rules<'_> {
    /// All conditions are certainly true.
    pub(super) fn all(&self, conditions: &[Condition]) -> Result<Json, NotExact> {
        self.list(conditions, Certainly::True, 0).map(and)
    }

    fn list(&self, conditions: &[Condition], which: Certainly, depth: u32) -> Result<Vec<Json>, NotExact> {
        conditions.iter().map(|condition| self.condition(condition, which, depth + 1)).collect()
    }

    fn condition(&self, condition: &Condition, which: Certainly, depth: u32) -> Result<Json, NotExact> {
        if depth > DEPTH {
            return Err(NotExact::Operator);
        }
        match condition {
            Condition::Clause(clause) => leaf(clause, which),
            Condition::Segment(of) => self.membership(of, which, depth),
            Condition::All(all) => self.list(all, which, depth).map(|all| match which {
                Certainly::True => and(all),
                Certainly::False => or(all),
            }),
            Condition::Any(any) => self.list(any, which, depth).map(|any| match which {
                Certainly::True => or(any),
                Certainly::False => and(any),
            }),
            Condition::Not(it) => self.condition(it, which.swapped(), depth),
        }
    }

    /// Membership is always known.
    fn membership(&self, of: &SegmentMatch, which: Certainly, depth: u32) -> Result<Json, NotExact> {
        let mut any = Vec::new();
        for segment in of.segments.iter().filter_map(|key| self.segments.get(key)) {
            any.push(self.segment(segment, depth)?);
        }
        let positive = (which == Certainly::True) != of.negate;
        Ok(if positive { or(any) } else { not(or(any)) })
    }

    fn segment(&self, segment: &Segment, depth: u32) -> Result<Json, NotExact> {
        let mut rules = Vec::new();
        for rule in &segment.rules {
            if rule.weight.is_some() {
                return Err(NotExact::Percentage);
            }
            rules.push(self.list(&rule.conditions, Certainly::True, depth).map(and)?);
        }
        let (included, excluded) = (keys(&segment.included)?, keys(&segment.excluded)?);
        Ok(or(vec![user_in(&included), and(vec![not(user_in(&excluded)), or(rules)])]))
    }
}

fn keys(lists: &[KeyList]) -> Result<Vec<String>, NotExact> {
    let mut all = Vec::new();
    for list in lists {
        if list.kind != USER {
            return Err(NotExact::ContextKind);
        }
        all.extend(list.keys.iter().cloned());
    }
    Ok(all)
}

/// The attribute as JSONLogic names it.
fn variable(attribute: &AttributeRef) -> Result<Json, NotExact> {
    let top = attribute.top().ok_or(NotExact::Attribute)?;
    let parts: Vec<&str> = [top].into_iter().chain(attribute.rest().iter().map(String::as_str)).collect();
    // A dot is a step down there, and a number an index; names that flagd puts in itself mean something else.
    let plain =
        parts.iter().all(|part| !part.is_empty() && !part.contains('.') && part.parse::<u64>().is_err());
    if !plain || top.starts_with('$') || matches!(top, "kind" | "targetingKey") {
        return Err(NotExact::Attribute);
    }
    if parts == ["key"] {
        return Ok(user());
    }
    Ok(json!({ "var": parts.join(".") }))
}

fn leaf(clause: &Clause, which: Certainly) -> Result<Json, NotExact> {
    if clause.kind != USER {
        return Err(NotExact::ContextKind);
    }
    let var = variable(&clause.attribute)?;
    // With null instead of a mark, evaluators disagree: some take 0 for it, some say "undefined".
    let present = json!({ "!==": [{ "var": [var["var"], ABSENT] }, ABSENT] });
    let matches = comparison(clause, &var)?;
    // Negated or not, a missing attribute is neither true nor false.
    let positive = (which == Certainly::True) != clause.negate;
    Ok(and(vec![present, if positive { matches } else { not(matches) }]))
}

fn comparison(clause: &Clause, var: &Json) -> Result<Json, NotExact> {
    let texts = clause.values.iter().filter(|value| value.is_string());
    let numbers = clause.values.iter().filter(|value| value.is_number());
    let with =
        |operator: &str| or(numbers.clone().map(|number| json!({ operator: [var, number] })).collect());
    let text_with = |operator: &str| {
        or(texts.clone().map(|text| json!({ "===": [{ operator: [var, text] }, true] })).collect())
    };
    Ok(match &clause.op {
        Op::In => {
            let mut any = Vec::new();
            let texts: Vec<&Json> = texts.collect();
            if !texts.is_empty() {
                any.push(json!({ "in": [var, texts] }));
            }
            for value in clause.values.iter().filter(|value| !value.is_string()) {
                match value {
                    Json::Bool(_) | Json::Number(_) => any.push(json!({ "===": [var, value] })),
                    Json::Null => {}
                    Json::String(_) | Json::Array(_) | Json::Object(_) => return Err(NotExact::Operator),
                }
            }
            or(any)
        }
        Op::StartsWith => text_with("starts_with"),
        Op::EndsWith => text_with("ends_with"),
        Op::Contains => or(texts.map(|text| json!({ "in": [text, var] })).collect()),
        Op::LessThan => with("<"),
        Op::LessThanOrEqual => with("<="),
        Op::GreaterThan => with(">"),
        Op::GreaterThanOrEqual => with(">="),
        Op::Matches
        | Op::Before
        | Op::After
        | Op::SemVerEqual
        | Op::SemVerLessThan
        | Op::SemVerGreaterThan
        | Op::Unknown(_) => return Err(NotExact::Operator),
    })
}
