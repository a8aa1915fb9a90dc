//! Errors as clients see them: `application/problem+json` with a stable code, and the one table of those codes.

mod deploy;
mod domain;
mod table;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One kind of error that a client can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The stable word.
    pub word: &'static str,
    /// The HTTP status it comes with.
    pub status: u16,
    /// The same for people, without details.
    pub title: &'static str,
    /// What it means and what to do about it, for the reference page.
    pub docs: &'static str,
}

/// Every code, once.
pub fn all() -> impl Iterator<Item = &'static Code> {
    table::TABLE.iter().chain(domain::WRONG).chain(domain::REFUSED).chain(deploy::DEPLOY)
}

/// The reference page of all codes, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Error codes\n\nEvery error is `application/problem+json` with one of these codes. This page is written \
         from the tables in\n`crates/protocol/src/problem/`; a test compares them.\n",
    );
    let parts = [
        ("Requests and the server", table::TABLE),
        ("Documents and other input", domain::WRONG),
        ("What the state does not allow", domain::REFUSED),
        ("Applications and deployments", deploy::DEPLOY),
    ];
    for (title, rows) in parts {
        let _ = write!(page, "\n## {title}\n");
        for row in rows {
            let _ = write!(page, "\n### {}\n\n{} ({}). {}\n", row.word, row.title, row.status, row.docs);
        }
    }
    page
}

/// The row of a code. A word that is not in the table is a bug of ours, and is answered as a refusal would be.
#[must_use]
pub fn code(word: &str) -> Option<&'static Code> {
    all().find(|row| row.word == word)
}

/// The body of an error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// Where the code is explained.
    #[serde(rename = "type")]
    pub kind: String,
    /// The stable word.
    pub code: String,
    /// The kind of error for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, as a sentence.
    pub detail: String,
    /// JSON pointer to the offending place of the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Line of the offending place, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column of the offending place, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The command that would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Everything that is wrong, where several things were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Item>,
}

/// One of several things that are wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The stable word.
    pub code: String,
    /// What is wrong, as a sentence.
    pub detail: String,
    /// The file, where several were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// JSON pointer into the file or body.
    pub pointer: String,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ProblemDocument {
    /// The document of a code of the table. A word that is not in it gets `fallback`'s status and title, so that a
    /// client still sees the word.
    #[must_use]
    pub fn new(word: &str, fallback: &'static Code, detail: impl Into<String>) -> Self {
        let row = code(word).unwrap_or(fallback);
        Self {
            kind: format!("/docs/errors#{word}"),
            code: word.to_owned(),
            title: row.title.to_owned(),
            status: row.status,
            detail: detail.into(),
            pointer: None,
            line: None,
            column: None,
            next: None,
            problems: Vec::new(),
        }
    }
}
