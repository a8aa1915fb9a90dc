//! Answers to changes: sentences first.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::HeaderMap;
use ensign_control::catalogue::{Answer, Line, PlanItem, Verb};
use ensign_control::ids::Place;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::act::{Done, Options};
use crate::keys::EnvironmentCredentials;
use crate::{ApiError, limits};

/// What a change did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// The environment's revision after the change; absent when nothing changed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u64>,
    /// What happened, what follows from it, what to know.
    pub(crate) sentences: Vec<String>,
    /// Item by item: `{subject, environment, verb, sentence, lines}`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) changes: Vec<Value>,
    /// What differs from the file that was last applied, and was left alone.
    #[schema(value_type = Vec<Object>)]
    pub(crate) drift: Vec<Value>,
    /// False for a kill that holds in memory only, until the store can be written again.
    pub(crate) stored: bool,
    /// Whether this is the answer of an earlier, identical request.
    pub(crate) replayed: bool,
    /// Credentials of environments that were made; shown once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub(crate) credentials: BTreeMap<String, EnvironmentCredentials>,
}

impl Changed {
    pub(crate) fn of(done: Done, place: Option<&Place>) -> Json<Self> {
        let revision = place.and_then(|place| done.revision(place));
        let mut changed = Self::planned(done.answer);
        changed.revision = revision;
        changed.stored = done.stored;
        changed.replayed = done.replayed;
        changed.credentials = done.credentials;
        Json(changed)
    }

    /// The answer of a plan: nothing has happened.
    pub(crate) fn planned(answer: Answer) -> Self {
        let items = answer.plan.iter();
        let drift = items
            .clone()
            .filter(|item| !item.drift.is_empty())
            .map(|item| item_json(item, &item.drift))
            .collect();
        let changes =
            items.filter(|item| item.verb != Verb::Keep).map(|item| item_json(item, &item.lines)).collect();
        Self {
            revision: None,
            sentences: answer.sentences,
            changes,
            drift,
            stored: true,
            replayed: false,
            credentials: BTreeMap::new(),
        }
    }
}

fn item_json(item: &PlanItem, lines: &[Line]) -> Value {
    json!({
        "subject": item.subject,
        "environment": item.environment,
        "verb": item.verb,
        "sentence": item.sentence,
        "lines": lines.iter().map(line_text).collect::<Vec<_>>(),
    })
}

/// A line of a difference for people.
pub(crate) fn line_text(line: &Line) -> String {
    match (&line.before, &line.after) {
        (Some(before), Some(after)) => format!("{}: {before} → {after}", line.path),
        (None, Some(after)) => format!("+ {}: {after}", line.path),
        (Some(before), None) => format!("- {}: {before}", line.path),
        (None, None) => line.path.clone(),
    }
}

/// The options that come with headers.
pub(crate) fn options(headers: &HeaderMap) -> Result<Options, ApiError> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(Options::default()) };
    let good = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= limits::ID);
    let Some(key) = good else {
        let detail = format!("An idempotency key has 1 to {} characters of ASCII.", limits::ID);
        return Err(ApiError::new("bad_header", detail));
    };
    Ok(Options { idempotency_key: Some(key.to_owned()), ..Options::default() })
}
