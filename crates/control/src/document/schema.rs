//! JSON Schemas of flags: checked when a flag is edited, never when it is evaluated.

use serde_json::Value as Json;

/// Says what is wrong with a schema itself. References to other documents are not fetched and therefore wrong.
pub(super) fn check_schema(schema: &Json) -> Result<(), String> {
    if !schema.is_object() && !schema.is_boolean() {
        return Err("A schema is an object.".to_owned());
    }
    jsonschema::validator_for(schema)
        .map(drop)
        .map_err(|error| format!("The schema cannot be used: {error}."))
}

/// What is wrong with a value by a schema: pointers into the value, and sentences.
pub fn violations(schema: &Json, value: &Json) -> Vec<(String, String)> {
    match jsonschema::validator_for(schema) {
        Ok(validator) => validator
            .iter_errors(value)
            .map(|error| (error.instance_path().to_string(), format!("{error}.")))
            .collect(),
        Err(error) => vec![(String::new(), format!("The schema cannot be used: {error}."))],
    }
}
