//! What a document has to satisfy: the profile's schemas, and for feature flags the form of such documents.

use ensign_schema::{Schema, Unnamed};
use serde_json::Value as Json;

use super::{Profile, ProfileKind, Validator, flags};

/// How many violations of one schema are told.
const TOLD: usize = 20;

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that is broken, such as `required`.
    pub constraint: String,
    /// JSON pointer into the document; `/` for the document as a whole.
    pub location: String,
    /// As a sentence.
    pub reason: String,
    /// The offending value, as text.
    pub value: String,
}

impl Violation {
    pub(crate) fn new(constraint: &str, location: &str, reason: impl Into<String>, value: &Json) -> Self {
        let location = if location.is_empty() { "/" } else { location };
        let value = match value {
            Json::Null => String::new(),
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self {
            constraint: constraint.to_owned(),
            location: location.to_owned(),
            reason: reason.into(),
            value,
        }
    }
}

/// Everything that the profile's own rules find wrong; checks at addresses are made by whoever has a network.
#[must_use]
pub fn validate(profile: &Profile, content: &[u8]) -> Vec<Violation> {
    if profile.kind == ProfileKind::Flags {
        return match flags::Document::read(content) {
            Ok(_) => Vec::new(),
            Err(violations) => violations,
        };
    }
    let schemas = profile.validators.iter().filter_map(|validator| match validator {
        Validator::Schema(text) => Some(text.as_str()),
        Validator::Url(_) => None,
    });
    let mut found = Vec::new();
    for schema in schemas {
        let value: Json = match serde_json::from_slice(content) {
            Ok(value) => value,
            Err(error) => {
                let reason = format!("The document is not JSON: {error}.");
                found.push(Violation::new("type", "", reason, &Json::Null));
                break;
            }
        };
        match compile(schema) {
            Ok(schema) => found.extend(schema.violations(&value, TOLD).into_iter().map(|violation| {
                Violation::new(&violation.keyword, &violation.pointer, violation.reason, &violation.value)
            })),
            Err(reason) => found.push(Violation::new("$schema", "", reason, &Json::Null)),
        }
    }
    found
}

/// A schema that can be used, or why not. Without `$schema` it is draft 4; references elsewhere are never followed.
pub(crate) fn compile(text: &str) -> Result<Schema, String> {
    let schema: Json =
        serde_json::from_str(text).map_err(|error| format!("The schema is not JSON: {error}."))?;
    Schema::new(&schema, Unnamed::Draft4)
}
