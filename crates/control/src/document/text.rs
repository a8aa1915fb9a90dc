//! From bytes to trees of JSON values with the place of every node, for JSON and YAML.
//!
//! YAML is read by the core schema of YAML 1.2: `no`, `on` and dates are strings, `1.0` is a float. What is
//! ambiguous between readers (numbers with leading zeros) is refused rather than guessed.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::json_marks;
use super::problem::{Mark, Problem};
use super::yaml;

/// One document with the place of each of its nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree {
    /// The document.
    pub value: Json,
    /// Place of each node, by JSON pointer relative to the document; an object's member has the place of its key.
    pub marks: BTreeMap<String, Mark>,
}

/// Nesting beyond which a text is refused.
pub(super) const DEPTH: usize = 100;

/// The documents of a text, and what is wrong with its form. With problems of form there are no documents.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<Tree>, Vec<Problem>> {
    let text = utf8(bytes).map_err(|problem| vec![problem])?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_json(name, text) { json_marks::read(text) } else { yaml::read(text) }
}

fn is_json(name: &str, text: &str) -> bool {
    let yaml_name = name.ends_with(".yaml") || name.ends_with(".yml");
    !yaml_name && (name.ends_with(".json") || text.trim_start().starts_with(['{', '[']))
}

fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
        Problem::new("invalid_utf8", "", "The text is not valid UTF-8.").at(end_of(&good))
    })
}

fn end_of(text: &str) -> Mark {
    let line = text.matches('\n').count();
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count();
    Mark { line: clamp(line + 1), column: clamp(column + 1) }
}

pub(super) fn clamp(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A pointer one step deeper.
pub(crate) fn join(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}
