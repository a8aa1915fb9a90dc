//! Evaluation with an explanation: the same core call that serves.

use axum::Json;
use ensign_eval::{ContextBuf, Recorder};
use ensign_protocol::ofrep;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::auth::{Read, To};
use super::body::Body;
use crate::evaluation::{Answer, reason_json};
use crate::{ApiError, evaluation};

/// What to evaluate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// The flag.
    flag: String,
    /// The context as an OpenFeature client sends it.
    #[serde(default)]
    #[schema(value_type = Object)]
    context: Value,
    /// Say each rule tried, the bucket and the threshold.
    #[serde(default)]
    explain: bool,
}

/// Evaluates one flag for one context. A question, not a use: no exposure is noted.
#[utoipa::path(post, path = "/evaluate", tag = "evaluation", request_body = Question, responses((status = 200, body = Object)))]
pub(super) async fn evaluate(to: To<Read>, Body(question): Body<Question>) -> Result<Json<Value>, ApiError> {
    let context = ofrep::context(&json!({ "context": question.context }))
        .map_err(|failed| ApiError::new("invalid_context", failed.details).pointer("/context"))?;
    let context = ContextBuf::from_openfeature(&context).map_err(|bad| {
        ApiError::new("invalid_context", bad.code.sentence()).pointer(format!("/context{}", bad.at))
    })?;
    let serving = to.state.serving();
    let mut trace = Recorder::default();
    let Some(answer) = Answer::of(&serving, &question.flag, &context, &mut trace) else {
        let detail = format!("There is no flag \"{}\" here.", question.flag);
        return Err(ApiError::new("unknown_flag", detail).next("ensign flag list"));
    };
    to.app.telemetry.evaluation("api", evaluation::reason_word(&answer.evaluation.reason));
    let mut body = json!({
        "flag": question.flag,
        "variant": answer.variant(),
        "reason": evaluation::sentence(&answer.evaluation.reason),
        "why": reason_json(&answer.evaluation.reason),
        "decision": answer.record(serving.version.revision.0),
        "token": answer.token(&to.state, to.app.now()),
    });
    if let Some(value) = answer.evaluation.value {
        body["value"] = value.to_json();
    }
    if question.explain {
        body["steps"] = json!(trace.sentences(&answer.flag.variants));
    }
    Ok(Json(body))
}
