//! An owned context of one or several kinds.

use std::fmt::Write;

use serde_json::Value as Json;

use super::{Attr, Context, KindRef, NameRef};

/// A context that owns its facts. Its kinds are distinct, and there is at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextBuf {
    pub(super) parts: Vec<Part>,
}

/// The part of a context that is of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The kind: `user`, `org`, …
    pub kind: String,
    /// Its key. Empty only in the old user format; `None` where OpenFeature gave no targeting key.
    pub key: Option<String>,
    /// Everything else, `name` and `anonymous` among it.
    pub attributes: Vec<(String, Json)>,
    /// References to attributes that must not be sent on, as written.
    pub private: Vec<String>,
}

impl ContextBuf {
    /// A user with this key and no attributes.
    #[must_use]
    pub fn user(key: &str) -> Self {
        let part = Part {
            kind: crate::model::USER.to_owned(),
            key: Some(key.to_owned()),
            attributes: Vec::new(),
            private: Vec::new(),
        };
        Self { parts: vec![part] }
    }

    /// Something of another kind, such as a session, with this key and no attributes.
    #[must_use]
    pub fn of_kind(kind: &str, key: &str) -> Self {
        let (kind, key) = (kind.to_owned(), Some(key.to_owned()));
        Self { parts: vec![Part { kind, key, attributes: Vec::new(), private: Vec::new() }] }
    }

    /// The same context with an attribute of kind `user` added; a part of that kind is there already or is not
    /// made.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        if let Some(part) = self.parts.iter_mut().find(|p| p.kind == crate::model::USER) {
            part.attributes.retain(|(known, _)| known != name);
            part.attributes.push((name.to_owned(), value.into()));
        }
        self
    }

    /// Its parts.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// One string for all kinds and keys: for a user alone the key; otherwise `kind:key` of each part, sorted
    /// by kind, with `%` and `:` in keys escaped.
    #[must_use]
    pub fn canonical_key(&self) -> String {
        if let [only] = self.parts.as_slice()
            && only.kind == crate::model::USER
        {
            return only.key.clone().unwrap_or_default();
        }
        let mut parts: Vec<&Part> = self.parts.iter().collect();
        parts.sort_by(|a, b| a.kind.cmp(&b.kind));
        let mut text = String::new();
        for part in parts {
            let colon = if text.is_empty() { "" } else { ":" };
            let key = part.key.as_deref().unwrap_or_default().replace('%', "%25").replace(':', "%3A");
            write!(text, "{colon}{}:{key}", part.kind).expect("writing to a string does not fail");
        }
        text
    }

    fn part(&self, kind: KindRef<'_>) -> Option<&Part> {
        self.parts.iter().find(|part| part.kind == kind.name)
    }
}

impl Context for ContextBuf {
    fn has(&self, kind: KindRef<'_>) -> bool {
        self.part(kind).is_some()
    }

    fn key(&self, kind: KindRef<'_>) -> Option<&str> {
        self.part(kind)?.key.as_deref()
    }

    fn attribute(&self, kind: KindRef<'_>, name: NameRef<'_>) -> Option<Attr<'_>> {
        let part = self.part(kind)?;
        part.attributes
            .iter()
            .find(|(known, _)| known == name.name)
            .and_then(|(_, json)| Attr::from_json(json))
    }

    fn any_kind(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.parts.iter().any(|part| test(&part.kind))
    }
}
