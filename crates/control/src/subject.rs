//! Whom a decision is about: the unit that a flag's statistics go by, and its key in a context.
//!
//! The server and the SDKs must agree on it, or one unit would be counted as two.

use std::borrow::Cow;

use ensign_eval::model::{self, AllocationId, Flag, Outcome, USER};
use ensign_eval::{Attr, Context, KindRef, NameRef};
use serde_json::Value as Json;

/// Whole numbers beyond this are not exact in a double.
const EXACT: f64 = 9_007_199_254_740_991.0;

/// What is randomised: the unit of the allocation that decided, else that of the flag's last split, else the user
/// (`None`).
#[must_use]
pub fn unit_of(flag: &Flag, allocation: Option<AllocationId>) -> Option<&model::Unit> {
    let outcomes = flag.rules.iter().map(|rule| &rule.outcome).chain([&flag.fallthrough]);
    let mut last = None;
    for outcome in outcomes {
        let Outcome::Split(split) = outcome else { continue };
        if Some(split.id) == allocation {
            return Some(&split.unit);
        }
        last = Some(&split.unit);
    }
    last
}

/// How a unit of the ruleset is called in events and in hashes: `user`, `org`, or `user/plan` for an attribute.
#[must_use]
pub fn unit_word(unit: &model::Unit) -> String {
    match unit {
        model::Unit::Named(kind) => kind.clone(),
        model::Unit::Attribute { kind, by } => format!("{kind}/{by}"),
    }
}

/// The unit's key, as the hash of a split reads it: a string, or a whole number in its plain spelling.
#[must_use]
pub fn unit_key<'c>(context: &'c impl Context, unit: &model::Unit) -> Option<Cow<'c, str>> {
    match unit {
        model::Unit::Named(name) => {
            let kind = KindRef { is_user: name == USER, name };
            if let Some(key) = context.key(kind) {
                return Some(Cow::Borrowed(key));
            }
            let user = KindRef { is_user: true, name: USER };
            text_of(context.attribute(user, NameRef { id: u32::MAX, name })?)
        }
        model::Unit::Attribute { kind, by } => {
            let kind = KindRef { is_user: kind == USER, name: kind };
            if by.raw() == "key" {
                return context.key(kind).map(Cow::Borrowed);
            }
            let top = context.attribute(kind, NameRef { id: u32::MAX, name: by.top()? })?;
            let Some((first, rest)) = by.rest().split_first() else { return text_of(top) };
            let Attr::Object(map) = top else { return None };
            let mut json: &'c Json = map.get(first)?;
            for name in rest {
                json = json.get(name)?;
            }
            text_of(Attr::from_json(json)?)
        }
    }
}

fn text_of(attribute: Attr<'_>) -> Option<Cow<'_, str>> {
    match attribute {
        Attr::Str(text) => Some(Cow::Borrowed(text)),
        Attr::Int(number) => Some(Cow::Owned(number.to_string())),
        // As the hash of a split reads it: a float is a unit if it is whole and exact.
        Attr::Float(number) if number.abs() <= EXACT && number.fract() == 0.0 => {
            Some(Cow::Owned((number as i64).to_string()))
        }
        Attr::Float(_) | Attr::Bool(_) | Attr::List(_) | Attr::Object(_) => None,
    }
}
