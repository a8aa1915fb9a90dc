//! Contexts from JSON: the form of OpenFeature, flat or with nested kinds, and the forms of the LaunchDarkly SDKs.

use std::fmt;

use serde_json::{Map, Value as Json};

use super::{ContextBuf, Part};
use crate::model::USER;

/// Why a context was not accepted, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadContext {
    /// A stable code.
    pub code: BadContextCode,
    /// A JSON pointer into the context.
    pub at: String,
}

/// What can be wrong with a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadContextCode {
    /// It is not a JSON object.
    NotAnObject,
    /// A kind is empty, `kind`, `multi` inside another, not a string, or has characters beyond letters, digits,
    /// `.`, `_`, `-`.
    BadKind,
    /// The key (or targeting key) is missing.
    MissingKey,
    /// The key is empty or not a string.
    BadKey,
    /// `name` is not a string.
    BadName,
    /// `anonymous` is not a boolean.
    BadAnonymous,
    /// Several kinds were announced and none given.
    NoKinds,
}

impl BadContextCode {
    /// The code as text.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            BadContextCode::NotAnObject => "context-not-an-object",
            BadContextCode::BadKind => "context-bad-kind",
            BadContextCode::MissingKey => "context-missing-key",
            BadContextCode::BadKey => "context-bad-key",
            BadContextCode::BadName => "context-bad-name",
            BadContextCode::BadAnonymous => "context-bad-anonymous",
            BadContextCode::NoKinds => "context-no-kinds",
        }
    }

    /// A sentence for a person.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            BadContextCode::NotAnObject => "a context is a JSON object",
            BadContextCode::BadKind => {
                "a context kind is made of letters, digits, `.`, `_` and `-`, and is neither `kind` nor `multi`"
            }
            BadContextCode::MissingKey => "the key of the context is missing",
            BadContextCode::BadKey => "the key of a context is a string that is not empty",
            BadContextCode::BadName => "the attribute `name` is a string",
            BadContextCode::BadAnonymous => "the attribute `anonymous` is a boolean",
            BadContextCode::NoKinds => "a context of kind `multi` needs at least one part",
        }
    }
}

impl fmt::Display for BadContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {:?})", self.code.sentence(), self.at)
    }
}

/// Which of two conventions a JSON context follows.
#[derive(Clone, Copy)]
enum Form {
    /// `targetingKey` is the key, also inside parts; `key` may stand in for it there.
    OpenFeature,
    /// `key` is the key.
    LaunchDarkly,
}

impl ContextBuf {
    /// Reads an OpenFeature context as OFREP sends it.
    ///
    /// Flat: `targetingKey` (or `key`) is the key of kind `user`, everything else an attribute. `kind: "org"`
    /// makes it the key of that kind. `kind: "multi"` makes every nested object a part of the kind it is named
    /// after; a `targetingKey` beside them is the user's, and other scalars beside them are left out. A key may
    /// be missing: such a context has attributes and no unit.
    ///
    /// # Errors
    /// [`BadContext`]: the first thing wrong with it.
    pub fn from_openfeature(json: &Json) -> Result<Self, BadContext> {
        let map = object(json, "")?;
        match map.get("kind") {
            None => part(map, USER, "", Form::OpenFeature).map(single),
            Some(Json::String(kind)) if kind == "multi" => multi(map, Form::OpenFeature),
            Some(Json::String(kind)) => {
                check_kind(kind, "/kind")?;
                part(map, kind, "", Form::OpenFeature).map(single)
            }
            Some(_) => part(map, USER, "", Form::OpenFeature).map(single),
        }
    }

    /// Reads a LaunchDarkly context: of one kind, of several, or an old user (which has no `kind`).
    ///
    /// # Errors
    /// [`BadContext`]: the first thing wrong with it.
    pub fn from_launchdarkly(json: &Json) -> Result<Self, BadContext> {
        let map = object(json, "")?;
        match map.get("kind") {
            None => old_user(map).map(single),
            Some(Json::String(kind)) if kind == "multi" => multi(map, Form::LaunchDarkly),
            Some(Json::String(kind)) => {
                check_kind(kind, "/kind")?;
                part(map, kind, "", Form::LaunchDarkly).map(single)
            }
            Some(_) => Err(bad(BadContextCode::BadKind, "/kind")),
        }
    }
}

fn single(part: Part) -> ContextBuf {
    ContextBuf { parts: vec![part] }
}

fn bad(code: BadContextCode, at: impl Into<String>) -> BadContext {
    BadContext { code, at: at.into() }
}

fn object<'j>(json: &'j Json, at: &str) -> Result<&'j Map<String, Json>, BadContext> {
    json.as_object().ok_or_else(|| bad(BadContextCode::NotAnObject, at))
}

fn check_kind(kind: &str, at: &str) -> Result<(), BadContext> {
    let letters = kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if kind.is_empty() || !letters || matches!(kind, "kind" | "multi") {
        return Err(bad(BadContextCode::BadKind, at));
    }
    Ok(())
}

fn multi(map: &Map<String, Json>, form: Form) -> Result<ContextBuf, BadContext> {
    let mut parts = Vec::new();
    for (kind, json) in map {
        let skipped = match form {
            Form::OpenFeature => kind == "kind" || kind == "targetingKey",
            Form::LaunchDarkly => kind == "kind",
        };
        if skipped {
            continue;
        }
        let at = format!("/{}", kind.replace('~', "~0").replace('/', "~1"));
        if matches!(form, Form::OpenFeature) && !json.is_object() {
            continue;
        }
        check_kind(kind, &at)?;
        parts.push(part(object(json, &at)?, kind, &at, form)?);
    }
    if let (Form::OpenFeature, Some(Json::String(key))) = (form, map.get("targetingKey"))
        && !parts.iter().any(|part| part.kind == USER)
    {
        parts.extend(ContextBuf::user(key).parts);
    }
    if parts.is_empty() {
        return Err(bad(BadContextCode::NoKinds, ""));
    }
    Ok(ContextBuf { parts })
}

fn part(map: &Map<String, Json>, kind: &str, at: &str, form: Form) -> Result<Part, BadContext> {
    let key_name = match form {
        Form::OpenFeature if map.contains_key("targetingKey") => "targetingKey",
        Form::OpenFeature | Form::LaunchDarkly => "key",
    };
    let key = match map.get(key_name) {
        None | Some(Json::Null) => match form {
            Form::OpenFeature => None,
            Form::LaunchDarkly => return Err(bad(BadContextCode::MissingKey, at)),
        },
        Some(Json::String(key)) if !key.is_empty() => Some(key.clone()),
        // An empty targeting key is how some clients say that there is none.
        Some(Json::String(_)) if matches!(form, Form::OpenFeature) => None,
        Some(_) => return Err(bad(BadContextCode::BadKey, format!("{at}/{key_name}"))),
    };
    let mut attributes = Vec::with_capacity(map.len());
    let mut private = Vec::new();
    for (name, json) in map {
        match name.as_str() {
            "kind" | "key" => {}
            "targetingKey" if matches!(form, Form::OpenFeature) => {}
            "_meta" => private = strings(json.get("privateAttributes")),
            _ => attributes.extend(match form {
                Form::OpenFeature => (!json.is_null()).then(|| (name.clone(), json.clone())),
                Form::LaunchDarkly => attribute(name, json, at)?,
            }),
        }
    }
    Ok(Part { kind: kind.to_owned(), key, attributes, private })
}

fn old_user(map: &Map<String, Json>) -> Result<Part, BadContext> {
    let key = match map.get("key") {
        None | Some(Json::Null) => return Err(bad(BadContextCode::MissingKey, "")),
        Some(Json::String(key)) => Some(key.clone()),
        Some(_) => return Err(bad(BadContextCode::BadKey, "/key")),
    };
    let mut attributes = Vec::with_capacity(map.len());
    for (name, json) in map {
        match name.as_str() {
            "ip" | "firstName" | "lastName" | "email" | "avatar" | "name" | "anonymous" | "country" => {
                attributes.extend(attribute(name, json, "")?);
            }
            // The old format had no other attributes outside `custom`.
            _ => {}
        }
    }
    if let Some(custom) = map.get("custom").and_then(Json::as_object) {
        for (name, json) in custom {
            let built_in = matches!(name.as_str(), "key" | "kind" | "name" | "anonymous" | "_meta");
            if !built_in && !attributes.iter().any(|(known, _)| known == name) && !json.is_null() {
                attributes.push((name.clone(), json.clone()));
            }
        }
    }
    let private = strings(map.get("privateAttributeNames"));
    Ok(Part { kind: USER.to_owned(), key, attributes, private })
}

/// The attribute to keep, or nothing for null.
fn attribute(name: &str, json: &Json, at: &str) -> Result<Option<(String, Json)>, BadContext> {
    match (name, json) {
        (_, Json::Null) => Ok(None),
        ("name", Json::String(_)) | ("anonymous", Json::Bool(_)) => Ok(Some((name.to_owned(), json.clone()))),
        ("name", _) => Err(bad(BadContextCode::BadName, format!("{at}/name"))),
        ("anonymous", _) => Err(bad(BadContextCode::BadAnonymous, format!("{at}/anonymous"))),
        _ => Ok(Some((name.to_owned(), json.clone()))),
    }
}

fn strings(json: Option<&Json>) -> Vec<String> {
    let list = json.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Json::as_str).map(str::to_owned).collect()
}
