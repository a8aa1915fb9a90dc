//! JSON Schemas of flags.

use ensign_schema::{Schema, Unnamed};
use serde_json::Value as Json;

/// How many violations of one value are told.
const TOLD: usize = 100;

/// Says what is wrong with a schema itself.
pub(super) fn check_schema(schema: &Json) -> Result<(), String> {
    Schema::new(schema, Unnamed::Latest).map(drop)
}

/// What is wrong with a value by a schema: pointers into the value, and sentences.
pub fn violations(schema: &Json, value: &Json) -> Vec<(String, String)> {
    match Schema::new(schema, Unnamed::Latest) {
        Ok(schema) => {
            let found = schema.violations(value, TOLD).into_iter();
            found.map(|violation| (violation.pointer, format!("{}.", violation.reason))).collect()
        }
        Err(why) => vec![(String::new(), why)],
    }
}
