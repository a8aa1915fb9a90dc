//! An input that is wrong at one place: what every reader of documents collects and shows.

use std::fmt;

use serde::Serialize;

/// One thing wrong with a document or a short form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// Where, as a JSON pointer into the document (`/stages/2/percentage`); empty for the whole.
    pub at: String,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people, with what would be right.
    pub what: String,
}

impl Problem {
    /// A problem at `at`.
    pub fn new(at: impl Into<String>, code: &'static str, what: impl Into<String>) -> Self {
        Self { at: at.into(), code, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.at, self.what) }
    }
}
