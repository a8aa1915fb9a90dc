//! Errors on their way to a client.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use ensign_control::catalogue::{Refusal, Rejected};
use ensign_control::document::Problem;
use ensign_protocol::problem::{Code, Item, ProblemDocument, code};
use ensign_store::{CommitError, Fault};

/// An error as a client gets it. What is for operators has been logged before this is built.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The body.
    pub document: Box<ProblemDocument>,
    /// When to come back, in seconds.
    pub retry_after: Option<u32>,
}

fn row(word: &str) -> &'static Code {
    code(word).expect("the words used here are rows of the table")
}

impl ApiError {
    /// An error of a code of the table.
    pub fn new(word: &'static str, detail: impl Into<String>) -> Self {
        Self { document: Box::new(ProblemDocument::new(word, row("internal"), detail)), retry_after: None }
    }

    /// The same with a pointer to the offending place.
    #[must_use]
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.document.pointer = Some(pointer.into());
        self
    }

    /// The same with a place in the text.
    #[must_use]
    pub fn at(mut self, line: usize, column: usize) -> Self {
        self.document.line = u32::try_from(line).ok();
        self.document.column = u32::try_from(column).ok();
        self
    }

    /// The same with the command that would be right.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.document.next = Some(next.into());
        self
    }

    /// The same with a time to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Nothing is there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new("not_found", detail)
    }

    /// The code's word.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.document.code
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.document.detail, self.document.code)
    }
}

impl std::error::Error for ApiError {}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let mut document = ProblemDocument::new(&refusal.code, row("refused"), refusal.sentence);
        document.next = refusal.next;
        Self { document: Box::new(document), retry_after: None }
    }
}

impl From<Vec<Problem>> for ApiError {
    fn from(problems: Vec<Problem>) -> Self {
        let Some(first) = problems.first() else { return Self::new("invalid", "The input is invalid.") };
        let detail = if problems.len() == 1 {
            first.sentence.clone()
        } else {
            format!("{} (and {} more)", first.sentence, problems.len() - 1)
        };
        let mut document = ProblemDocument::new(&first.code, row("invalid"), detail);
        document.pointer = Some(first.pointer.clone());
        document.line = first.mark.map(|mark| mark.line);
        document.column = first.mark.map(|mark| mark.column);
        document.next = first.hint.clone();
        document.problems = problems.into_iter().map(item).collect();
        Self { document: Box::new(document), retry_after: None }
    }
}

fn item(problem: Problem) -> Item {
    Item {
        code: problem.code,
        detail: problem.sentence,
        file: problem.source,
        pointer: problem.pointer,
        line: problem.mark.map(|mark| mark.line),
        column: problem.mark.map(|mark| mark.column),
        hint: problem.hint,
    }
}

impl From<Rejected> for ApiError {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Refused(refusal) => refusal.into(),
            Rejected::Invalid(problems) => problems.into(),
        }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        tracing::error!(fault = %fault, "a dependency failed");
        Self::new("store_failed", "The store could not do it; the server's log says why.").retry_after(5)
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict { item, .. } => {
                Self::new("conflict", format!("{} {} kept changing meanwhile.", item.kind, item.key))
            }
            CommitError::Fenced => Self::new("fenced", "Another process decides about this by now."),
            CommitError::Replayed { .. } => {
                Self::new("conflict", "This change is being made by another request.")
            }
            CommitError::Full => {
                Self::new("store_full", "The disk is full: the change cannot be made durable.")
                    .retry_after(30)
            }
            CommitError::Fault(fault) => fault.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&*self.document).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ensign\""));
        }
        response
    }
}
