//! JSON Schemas: checked when something is edited, never when it is evaluated.
//!
//! A crate of its own because the validator is generic and large: here it is compiled once, and for size rather than
//! speed (see the profiles of the workspace).

use serde_json::Value as Json;

/// What a schema is read as that names no version of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    /// The newest version.
    Latest,
    /// Draft 4.
    Draft4,
}

/// A schema that can be used.
#[derive(Debug)]
pub struct Schema(jsonschema::Validator);

/// One thing that is wrong with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// The keyword that is not satisfied, such as `required`.
    pub keyword: String,
    /// JSON pointer into the value; empty for the value as a whole.
    pub pointer: String,
    /// As a clause, without an end.
    pub reason: String,
    /// The offending part.
    pub value: Json,
}

impl Schema {
    /// Reads a schema. References to other documents are never followed, and therefore wrong.
    ///
    /// # Errors
    /// A sentence that says why it cannot be used.
    pub fn new(schema: &Json, unnamed: Unnamed) -> Result<Self, String> {
        if !schema.is_object() && !schema.is_boolean() {
            return Err("A schema is an object.".to_owned());
        }
        let mut options = jsonschema::options();
        if unnamed == Unnamed::Draft4 && schema.get("$schema").is_none() {
            options = options.with_draft(jsonschema::Draft::Draft4);
        }
        options.build(schema).map(Self).map_err(|error| format!("The schema cannot be used: {error}."))
    }

    /// At most `most` things that are wrong with a value.
    #[must_use]
    pub fn violations(&self, value: &Json, most: usize) -> Vec<Violation> {
        let found = self.0.iter_errors(value).take(most);
        found
            .map(|error| Violation {
                keyword: error.kind().keyword().to_owned(),
                pointer: error.instance_path().to_string(),
                reason: error.to_string(),
                value: error.instance().clone().into_owned(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_differ_and_nothing_is_fetched() {
        // A boolean in draft 4, a number since draft 6.
        let schema = json!({ "minimum": 3, "exclusiveMinimum": true });
        let read = |unnamed| Schema::new(&schema, unnamed).map(|schema| schema.violations(&json!(3), 9));
        assert_eq!(read(Unnamed::Draft4).unwrap().len(), 1);
        assert!(read(Unnamed::Latest).is_err());
        let elsewhere = json!({ "$ref": "http://127.0.0.1:9/schema.json" });
        assert!(
            Schema::new(&elsewhere, Unnamed::Latest).unwrap_err().starts_with("The schema cannot be used")
        );
        assert_eq!(Schema::new(&json!(7), Unnamed::Latest).unwrap_err(), "A schema is an object.");
    }

    #[test]
    fn a_violation_says_which_keyword_where_and_what() {
        let schema = Schema::new(&json!({ "properties": { "n": { "type": "integer" } } }), Unnamed::Latest);
        let found = schema.unwrap().violations(&json!({ "n": "seven" }), 9);
        let [Violation { keyword, pointer, value, .. }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((keyword.as_str(), pointer.as_str(), value), ("type", "/n", &json!("seven")));
    }
}
