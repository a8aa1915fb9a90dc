//! What an evaluation asks of a context, and three ways to be one: borrowed pairs, pairs indexed by a ruleset's
//! attribute numbers, and an owned context of several kinds parsed from JSON.

mod owned;
mod parse;

use serde_json::Value as Json;

pub use owned::{ContextBuf, Part};
pub use parse::{BadContext, BadContextCode};

use crate::model::USER;
use crate::names::Names;

/// A context kind as the compiled ruleset asks for it.
#[derive(Debug, Clone, Copy)]
pub struct KindRef<'r> {
    /// Whether it is `user`, so that contexts of that kind alone need not compare text.
    pub is_user: bool,
    /// Its name.
    pub name: &'r str,
}

/// An attribute name as the compiled ruleset asks for it.
#[derive(Debug, Clone, Copy)]
pub struct NameRef<'r> {
    /// Its number in [`crate::Ruleset::attribute_names`].
    pub id: u32,
    /// The name.
    pub name: &'r str,
}

/// The facts sent with an evaluation.
///
/// The built-in attributes `key` and `kind` are asked for by [`Context::key`] and [`Context::any_kind`];
/// `name` and `anonymous` are ordinary attributes (a missing `anonymous` counts as false).
pub trait Context {
    /// Whether there is a part of that kind.
    #[inline]
    fn has(&self, kind: KindRef<'_>) -> bool {
        self.key(kind).is_some()
    }

    /// The key of the part of that kind; `None` if there is no such part, or it has none.
    fn key(&self, kind: KindRef<'_>) -> Option<&str>;

    /// A top-level attribute of the part of that kind; `None` if there is no such part, or no such attribute,
    /// or if it is null.
    fn attribute(&self, kind: KindRef<'_>, name: NameRef<'_>) -> Option<Attr<'_>>;

    /// Whether `test` holds for any of the kinds.
    fn any_kind(&self, test: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// The value of an attribute, borrowed from the context. Never null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attr<'a> {
    /// A boolean.
    Bool(bool),
    /// A whole number that fits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(&'a str),
    /// An array.
    List(&'a [Json]),
    /// An object.
    Object(&'a serde_json::Map<String, Json>),
}

impl<'a> Attr<'a> {
    /// Borrows from JSON; `None` for null.
    #[must_use]
    pub fn from_json(json: &'a Json) -> Option<Self> {
        Some(match json {
            Json::Null => return None,
            Json::Bool(b) => Attr::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(i), _) => Attr::Int(i),
                (None, Some(f)) => Attr::Float(f),
                (None, None) => return None,
            },
            Json::String(s) => Attr::Str(s),
            Json::Array(list) => Attr::List(list),
            Json::Object(map) => Attr::Object(map),
        })
    }

    /// As JSON, for explanations.
    #[must_use]
    pub fn to_json(self) -> Json {
        match self {
            Attr::Bool(b) => b.into(),
            Attr::Int(i) => i.into(),
            Attr::Float(f) => f.into(),
            Attr::Str(s) => s.into(),
            Attr::List(list) => Json::Array(list.to_vec()),
            Attr::Object(map) => Json::Object(map.clone()),
        }
    }
}

impl<'a> From<&'a str> for Attr<'a> {
    fn from(text: &'a str) -> Self {
        Attr::Str(text)
    }
}

impl From<bool> for Attr<'_> {
    fn from(b: bool) -> Self {
        Attr::Bool(b)
    }
}

impl From<i64> for Attr<'_> {
    fn from(i: i64) -> Self {
        Attr::Int(i)
    }
}

impl From<f64> for Attr<'_> {
    fn from(f: f64) -> Self {
        Attr::Float(f)
    }
}

/// A context of kind `user` alone, as a key and borrowed name/value pairs. Costs nothing to build.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    key: &'a str,
    attributes: &'a [(&'a str, Attr<'a>)],
}

impl<'a> Pairs<'a> {
    /// The user's key and attributes; the first of two pairs with one name counts.
    #[must_use]
    pub fn new(key: &'a str, attributes: &'a [(&'a str, Attr<'a>)]) -> Self {
        Self { key, attributes }
    }
}

impl Context for Pairs<'_> {
    #[inline]
    fn key(&self, kind: KindRef<'_>) -> Option<&str> {
        kind.is_user.then_some(self.key)
    }

    #[inline]
    fn attribute(&self, kind: KindRef<'_>, name: NameRef<'_>) -> Option<Attr<'_>> {
        if !kind.is_user {
            return None;
        }
        self.attributes.iter().find(|(known, _)| same_name(known, name.name)).map(|(_, value)| *value)
    }

    fn any_kind(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        test(USER)
    }
}

/// Equality of names, which are mostly short: up to eight bytes without a call.
#[inline(always)]
fn same_name(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<4>(), b.first_chunk::<4>(), a.last_chunk::<4>(), b.last_chunk::<4>()) {
        (Some(a_head), Some(b_head), Some(a_tail), Some(b_tail)) if a.len() <= 8 => {
            a_head == b_head && a_tail == b_tail
        }
        _ => a == b,
    }
}

/// A context of kind `user` alone whose attributes are found by number, for many evaluations of one context.
///
/// The numbers belong to one table of names. Later rulesets made from it with
/// [`crate::Ruleset::with_changes`] share them; with any other ruleset attributes are found by name.
#[derive(Debug, Clone)]
pub struct Indexed<'a> {
    key: &'a str,
    names: &'a Names,
    slots: Vec<Option<Attr<'a>>>,
    rest: Vec<(&'a str, Attr<'a>)>,
}

impl<'a> Indexed<'a> {
    /// Looks every name up once.
    #[must_use]
    pub fn new(names: &'a Names, key: &'a str, attributes: &[(&'a str, Attr<'a>)]) -> Self {
        let mut slots = vec![None; names.len()];
        for (name, value) in attributes.iter().rev() {
            if let Some(slot) = names.id(name).and_then(|id| slots.get_mut(id as usize)) {
                *slot = Some(*value);
            }
        }
        Self { key, names, slots, rest: attributes.to_vec() }
    }
}

impl Context for Indexed<'_> {
    #[inline]
    fn key(&self, kind: KindRef<'_>) -> Option<&str> {
        kind.is_user.then_some(self.key)
    }

    #[inline]
    fn attribute(&self, kind: KindRef<'_>, name: NameRef<'_>) -> Option<Attr<'_>> {
        if !kind.is_user {
            return None;
        }
        match self.names.shared(name.id) {
            // The same piece of memory is the same name: tables that share history share their names.
            Some(known) if std::ptr::eq(known.as_ptr(), name.name.as_ptr()) => {
                self.slots.get(name.id as usize).copied().flatten()
            }
            Some(_) | None => {
                self.rest.iter().find(|(known, _)| *known == name.name).map(|(_, value)| *value)
            }
        }
    }

    fn any_kind(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        test(USER)
    }
}
