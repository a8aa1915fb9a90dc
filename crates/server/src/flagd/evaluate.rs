//! Remote evaluation, v1 and v2.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use ensign_eval::model::Value;
use ensign_eval::{ContextBuf, ErrorKind, Silent};
use ensign_protocol::openfeature::{Why, why};
use prost_types::Struct;
use serde_json::{Map, Value as Json, json};

use super::calls::{Wants, message, place};
use super::messages::{AnyFlag, AnyValue, Bool, Float, Int, Object, Resolve, ResolveAll, ResolvedAll, Text};
use super::wire::{self, Code, Failed, answered, refused, structure};
use crate::App;
use crate::evaluation::{Answer, reason_word};
use crate::http::ofrep::metadata;
use crate::serving::{PlaceState, Serving};

/// Which of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Which type is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Text,
    Int,
    Float,
    Object,
}

impl Kind {
    pub(super) const ALL: [(&'static str, Self); 5] = [
        ("ResolveBoolean", Self::Bool),
        ("ResolveString", Self::Text),
        ("ResolveInt", Self::Int),
        ("ResolveFloat", Self::Float),
        ("ResolveObject", Self::Object),
    ];
}

/// One evaluation's members, without the value.
struct Said {
    reason: &'static str,
    variant: Option<String>,
    metadata: Option<Struct>,
}

pub(super) async fn one(app: Arc<App>, request: Request, version: Version, kind: Kind) -> Response {
    let state = match place(&app, &request, Wants::Answers) {
        Ok(state) => state,
        Err(failed) => return refused(&failed),
    };
    let asked: Resolve = match message(request).await {
        Ok(asked) => asked,
        Err(failed) => return refused(&failed),
    };
    let serving = state.serving();
    let found = find(&app, &state, &serving, asked, version);
    let (value, said) = match found {
        Ok(found) => found,
        Err(failed) => return refused(&failed),
    };
    typed(kind, value.as_ref(), said)
}

fn find(
    app: &App,
    state: &PlaceState,
    serving: &Serving,
    asked: Resolve,
    version: Version,
) -> Result<(Option<Value>, Said), Failed> {
    let context = context(asked.context)?;
    let missing = || Failed::new(Code::NotFound, format!("there is no flag \"{}\"", asked.flag_key));
    let Some(answer) = Answer::of(serving, &asked.flag_key, &context, &mut Silent) else {
        app.telemetry.evaluation("flagd", "flag_not_found");
        return Err(missing());
    };
    app.telemetry.evaluation("flagd", reason_word(&answer.evaluation.reason));
    answer.expose(app, state, app.now());
    let said = said(app, state, serving, &answer, version)?;
    let value = answer.evaluation.value.cloned();
    if value.is_none() && version == Version::One {
        // There, a missing value cannot be told from a zero, and the zero would be taken for an answer.
        return Err(missing());
    }
    Ok((value, said))
}

fn context(context: Option<Struct>) -> Result<ContextBuf, Failed> {
    ContextBuf::from_openfeature(&wire::json(context))
        .map_err(|bad| Failed::new(Code::InvalidArgument, bad.to_string()))
}

fn said(
    app: &App,
    state: &PlaceState,
    serving: &Serving,
    answer: &Answer<'_>,
    version: Version,
) -> Result<Said, Failed> {
    let depends = || {
        let handle = serving.ruleset.flag(&answer.flag.key);
        handle.is_some_and(|handle| serving.ruleset.depends_on_context(handle))
    };
    let reason = match (why(&answer.evaluation, depends), version) {
        // Callers of v1 keep what is static for a minute and open no stream: a kill would reach them late.
        (Ok(Why::Static), Version::One) => Why::Default.word(),
        (Ok(why), Version::One | Version::Two) => why.word(),
        (Err(ErrorKind::FlagNotFound), _) => {
            return Err(Failed::new(Code::NotFound, "there is no such flag"));
        }
        (Err(ErrorKind::MalformedFlag), _) => {
            let message = "the flag's definition is broken where this evaluation went";
            return Err(Failed::new(Code::DataLoss, message));
        }
    };
    // A default that is served must carry its variant, or callers take their own.
    let variant = answer.evaluation.value.and(answer.variant()).map(str::to_owned);
    Ok(Said { reason, variant, metadata: Some(structure(&metadata(app, state, serving, answer))) })
}

fn typed(kind: Kind, value: Option<&Value>, said: Said) -> Response {
    let mismatch = || {
        let kind = value.map_or("no type", |value| value.kind().word());
        Failed::new(Code::InvalidArgument, format!("the flag has values of type {kind}"))
    };
    macro_rules! answer {
        ($message:ident, $read:expr) => {{
            let read: fn(&Value) -> Option<_> = $read;
            let value = value.map(|value| read(value).ok_or_else(mismatch)).transpose();
            let Said { reason, variant, metadata } = said;
            let reason = reason.to_owned();
            answered(value.map(|value| $message { value, reason, variant, metadata }))
        }};
    }
    match kind {
        Kind::Bool => answer!(Bool, |value| match value {
            Value::Bool(value) => Some(*value),
            Value::String(_) | Value::Int(_) | Value::Float(_) | Value::Json(_) => None,
        }),
        Kind::Text => answer!(Text, |value| match value {
            Value::String(value) => Some(value.clone()),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Json(_) => None,
        }),
        Kind::Int => answer!(Int, |value| match value {
            Value::Int(value) => Some(*value),
            Value::Bool(_) | Value::String(_) | Value::Float(_) | Value::Json(_) => None,
        }),
        Kind::Float => answer!(Float, |value| match value {
            Value::Float(value) => Some(*value),
            Value::Int(value) => Some(*value as f64),
            Value::Bool(_) | Value::String(_) | Value::Json(_) => None,
        }),
        Kind::Object => answer!(Object, |value| match value {
            Value::Json(Json::Object(map)) => Some(structure(map)),
            Value::Bool(_) | Value::String(_) | Value::Int(_) | Value::Float(_) | Value::Json(_) => None,
        }),
    }
}

/// Every flag at once. Not an exposure: nobody knows which of them will be used.
pub(super) async fn all(State(app): State<Arc<App>>, request: Request) -> Response {
    let state = match place(&app, &request, Wants::Answers) {
        Ok(state) => state,
        Err(failed) => return refused(&failed),
    };
    let context = match message::<ResolveAll>(request).await.and_then(|asked| context(asked.context)) {
        Ok(context) => context,
        Err(failed) => return refused(&failed),
    };
    let serving = state.serving();
    let flags = serving.flags.keys().filter_map(|key| {
        let answer = Answer::of(&serving, key, &context, &mut Silent)?;
        let value = match answer.evaluation.value? {
            Value::Bool(value) => AnyValue::Bool(*value),
            Value::String(text) => AnyValue::Text(text.clone()),
            Value::Int(value) => AnyValue::Float(*value as f64),
            Value::Float(value) => AnyValue::Float(*value),
            Value::Json(Json::Object(map)) => AnyValue::Object(structure(map)),
            Value::Json(_) => return None,
        };
        let Said { reason, variant, metadata } = said(&app, &state, &serving, &answer, Version::One).ok()?;
        let (reason, variant) = (reason.to_owned(), variant.unwrap_or_default());
        Some((key.clone(), AnyFlag { reason, variant, value: Some(value), metadata }))
    });
    let flags = flags.collect();
    let mut metadata = Map::new();
    metadata.insert("flagSetId".to_owned(), json!(state.place.to_string()));
    metadata.insert("version".to_owned(), json!(serving.version.revision.0));
    answered(Ok(ResolvedAll { flags, metadata: Some(structure(&metadata)) }))
}
