//! OpenFeature's remote evaluation protocol: bodies, tags, and what unmodified providers demand beyond its text.

use serde_json::{Map, Value as Json, json};
use xxhash_rust::xxh3::Xxh3;

/// An answer without an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// One of the protocol's error codes.
    pub code: &'static str,
    /// What is wrong. Providers read it unconditionally, so it is always there.
    pub details: String,
}

impl Failure {
    /// There is no such flag.
    #[must_use]
    pub fn not_found(key: &str) -> Self {
        Self { status: 404, code: "FLAG_NOT_FOUND", details: format!("There is no flag \"{key}\".") }
    }

    /// The context cannot be read.
    #[must_use]
    pub fn invalid_context(details: impl Into<String>) -> Self {
        Self { status: 400, code: "INVALID_CONTEXT", details: details.into() }
    }

    /// Anything else about this flag.
    #[must_use]
    pub fn general(details: impl Into<String>) -> Self {
        Self { status: 400, code: "GENERAL", details: details.into() }
    }

    /// The body; `key` for single evaluations and for items of a bulk answer.
    #[must_use]
    pub fn body(&self, key: Option<&str>) -> Json {
        let mut body = Map::new();
        if let Some(key) = key {
            body.insert("key".to_owned(), json!(key));
        }
        body.insert("errorCode".to_owned(), json!(self.code));
        body.insert("errorDetails".to_owned(), json!(self.details));
        body.insert("metadata".to_owned(), json!({}));
        Json::Object(body)
    }
}

/// A success body. Without a value the caller's default applies: `value` is left out, and `variant` is there and
/// empty, because one provider reads it unconditionally.
#[must_use]
pub fn success(
    key: &str,
    value: Option<Json>,
    reason: &str,
    variant: &str,
    metadata: Map<String, Json>,
) -> Json {
    let mut body = Map::new();
    body.insert("key".to_owned(), json!(key));
    if let Some(value) = value {
        body.insert("value".to_owned(), value);
    }
    body.insert("reason".to_owned(), json!(reason));
    body.insert("variant".to_owned(), json!(variant));
    body.insert("metadata".to_owned(), Json::Object(metadata));
    Json::Object(body)
}

/// The context of a request body: absent and null are empty, members beside it are ignored.
///
/// # Errors
/// When body or context is not an object.
pub fn context(body: &Json) -> Result<Json, Failure> {
    let Json::Object(members) = body else {
        return Err(Failure {
            status: 400,
            code: "PARSE_ERROR",
            details: "The body has to be an object.".into(),
        });
    };
    match members.get("context") {
        None | Some(Json::Null) => Ok(json!({})),
        Some(context @ Json::Object(_)) => Ok(context.clone()),
        Some(_) => Err(Failure::invalid_context("The context has to be an object.")),
    }
}

/// The version of the evaluator; part of every tag, so that a new program never answers with an old one's tag.
const EVALUATOR: &str = "1";

/// The tag of a bulk answer: of the configuration and of the context, whatever the order of its members.
#[must_use]
pub fn tag(configuration: &str, context: &Json) -> String {
    let mut hasher = Xxh3::new();
    hasher.update(EVALUATOR.as_bytes());
    hasher.update(&[0]);
    hasher.update(configuration.as_bytes());
    hasher.update(&[0]);
    canonical(context, &mut hasher);
    format!("\"{:032x}\"", hasher.digest128())
}

fn canonical(value: &Json, hasher: &mut Xxh3) {
    match value {
        Json::Object(members) => {
            let mut sorted: Vec<(&String, &Json)> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            hasher.update(b"{");
            for (name, value) in sorted {
                hasher.update(Json::from(name.as_str()).to_string().as_bytes());
                hasher.update(b":");
                canonical(value, hasher);
                hasher.update(b",");
            }
            hasher.update(b"}");
        }
        Json::Array(items) => {
            hasher.update(b"[");
            for item in items {
                canonical(item, hasher);
                hasher.update(b",");
            }
            hasher.update(b"]");
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            hasher.update(value.to_string().as_bytes());
        }
    }
}

/// Whether an `If-None-Match` header names the tag: a list, `*`, weak tags compared as if they were strong.
#[must_use]
pub fn matches(header: &str, tag: &str) -> bool {
    let mut rest = header.trim();
    while !rest.is_empty() {
        if rest.starts_with('*') {
            return true;
        }
        let strong = rest.strip_prefix("W/").unwrap_or(rest);
        let Some(end) = strong.strip_prefix('"').and_then(|inner| inner.find('"')) else { return false };
        let (found, after) = strong.split_at(end + 2);
        if found == tag {
            return true;
        }
        rest = after.trim_start().strip_prefix(',').unwrap_or_default().trim_start();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_configuration_and_context_and_not_on_order() {
        let base = tag("p/e 7", &json!({"targetingKey": "u", "a": {"x": 1, "y": [1, 2]}}));
        assert_eq!(base, tag("p/e 7", &json!({"a": {"y": [1, 2], "x": 1}, "targetingKey": "u"})));
        for (configuration, context) in [
            ("p/e 8", json!({"targetingKey": "u", "a": {"x": 1, "y": [1, 2]}})),
            ("p/e 7", json!({"targetingKey": "v", "a": {"x": 1, "y": [1, 2]}})),
            ("p/e 7", json!({"targetingKey": "u", "a": {"x": 1, "y": [2, 1]}})),
            ("p/e 7", json!({"targetingKey": "u", "a": {"x": "1", "y": [1, 2]}})),
        ] {
            assert_ne!(base, tag(configuration, &context));
        }
    }

    #[test]
    fn tags_are_compared_as_headers_write_them() {
        let tag = "\"ab\"";
        for yes in ["\"ab\"", "W/\"ab\"", "\"x\", \"ab\"", "\"x,y\" , W/\"ab\"", "*", " * "] {
            assert!(matches(yes, tag), "{yes}");
        }
        for no in ["", "ab", "\"x\"", "W/", "\"abc\", \"a\"", "\"x\" \"ab\""] {
            assert!(!matches(no, tag), "{no}");
        }
    }

    #[test]
    fn every_error_has_a_code_and_details() {
        let body = Failure::not_found("m").body(Some("m"));
        assert_eq!(
            body,
            json!({"key": "m", "errorCode": "FLAG_NOT_FOUND", "errorDetails": "There is no flag \"m\".", "metadata": {}})
        );
        assert!(context(&json!([])).is_err() && context(&json!({"context": 1})).is_err());
        assert_eq!(context(&json!({})), Ok(json!({})));
    }
}
