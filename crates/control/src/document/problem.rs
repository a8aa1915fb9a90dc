//! What is wrong with an input, and where: collected, never only the first.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in a text, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable code, such as `unknown_member`.
    pub code: String,
    /// The file or other source, where several are read together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// JSON pointer into the source; where it holds several documents, the first segment is the document's number.
    pub pointer: String,
    /// Where in the text, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// What is wrong, as a sentence.
    pub sentence: String,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(code: &str, pointer: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            source: None,
            pointer: pointer.into(),
            mark: None,
            sentence: sentence.into(),
            hint: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a place in the text.
    #[must_use]
    pub fn at(mut self, mark: Mark) -> Self {
        self.mark = Some(mark);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}:")?;
        }
        if let Some(mark) = self.mark {
            write!(f, "{}:{}:", mark.line, mark.column)?;
        }
        if self.source.is_some() || self.mark.is_some() {
            f.write_str(" ")?;
        }
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.sentence)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        write!(f, " [{}]", self.code)
    }
}
