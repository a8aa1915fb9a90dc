//! Rollouts: plan, start, look, steer; receipts and why.

use axum::Json;
use axum::extract::Query;
use axum::http::HeaderMap;
use ensign_control::catalogue::{Command, RolloutAction};
use ensign_control::document;
use ensign_control::evidence::report::Evidence;
use ensign_control::ids::{Key, Place};
use ensign_control::rollout::{Arm, Rollout, file_edit, render, view};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Changed, options};
use super::auth::{self, Approve, Kill, Name, Names, Need, Plan, Read, To, Write};
use super::body::Body;
use super::documents::{File, unknown_flag};
use super::flags::Because;
use crate::{ApiError, App};

/// A rollout to be: a document, or the file that holds it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The rollout document.
    #[serde(default)]
    #[schema(value_type = Object)]
    spec: Option<Value>,
    /// Or its file.
    #[serde(default)]
    file: Option<File>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

impl Wanted {
    fn document(&self) -> Result<Value, ApiError> {
        match (&self.spec, &self.file) {
            (Some(spec), None) => Ok(spec.clone()),
            (None, Some(file)) => {
                let (mut parsed, problems) = document::parse(file.name(), file.text().as_bytes());
                if !problems.is_empty() {
                    return Err(problems.into());
                }
                match (parsed.pop(), parsed.is_empty()) {
                    (Some(one), true) => Ok(one.raw),
                    _ => Err(ApiError::new("invalid", "The file has to hold one rollout document.")
                        .pointer("/file")),
                }
            }
            _ => Err(ApiError::new("invalid", "Send either `spec` or `file`.")),
        }
    }
}

/// Stages, guardrails and predictions. Nothing moves.
#[utoipa::path(post, path = "/rollouts/plan", tag = "rollouts", request_body = Wanted, responses((status = 200, body = Object)))]
pub(super) async fn plan(to: To<Plan>, Body(wanted): Body<Wanted>) -> Result<Json<Value>, ApiError> {
    let document = wanted.document()?;
    let plan = to.app.image().catalogue.rollout_plan(&to.place, &document)?;
    let command = Command::RolloutStart { place: to.place.clone(), document, reason: wanted.reason };
    // What a start would answer: the same sentences, and the refusal if there is one.
    let change = to.app.plan(&command, &to.grant.actor)?;
    Ok(Json(crate::forecast::plan(&to.app, &to.place, &plan, change.answer.sentences).await))
}

/// Starts a rollout.
#[utoipa::path(post, path = "/rollouts", tag = "rollouts", request_body = Wanted, responses((status = 200, body = Changed)))]
pub(super) async fn start(
    to: To<Write>,
    headers: HeaderMap,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Changed>, ApiError> {
    let document = wanted.document()?;
    let command = Command::RolloutStart { place: to.place.clone(), document, reason: wanted.reason };
    let done = to.app.act(&command, &to.grant.actor, options(&headers)?).await?;
    Ok(Changed::of(done, Some(&to.place)))
}

/// The evidence that the last automatic decision of a finished rollout stood on.
fn deciding_evidence(app: &App, rollout: &Rollout) -> Option<Evidence> {
    let own = format!("{}.", rollout.id);
    let (_, body) = receipts_of(app, &rollout.id.place, &rollout.id.flag)
        .into_iter()
        .rfind(|(id, body)| id.starts_with(&own) && !body["evidence"].is_null())?;
    serde_json::from_value(body["evidence"].clone()).ok()
}

/// How a rollout stands, as data and as text.
async fn standing(app: &App, rollout: &Rollout) -> Value {
    let look = if rollout.is_over() {
        deciding_evidence(app, rollout)
    } else {
        app.pipeline().evidence(&rollout.id).await.evidence
    };
    let now = app.now();
    let facts = app.image().catalogue.rollout_facts(&rollout.id, now);
    let status = view(rollout, look.as_ref(), &facts, now);
    let text = render(&status);
    let mut all = json!(status);
    all["id"] = json!(rollout.id.to_string());
    all["number"] = json!(rollout.id.number);
    all["over"] = json!(rollout.is_over());
    all["split"] = json!(format!("{} %", status.percent));
    all["text"] = json!(text);
    if let Some(edit) = edit(app, rollout) {
        all["text"] = json!(format!("{text}\n{edit}"));
        all["edit"] = json!(edit);
    }
    all
}

/// What makes a completed rollout permanent in the flag's file.
fn edit(app: &App, rollout: &Rollout) -> Option<String> {
    let record = app.image().catalogue.flag_record(&rollout.id.place.project, &rollout.plan.flag)?;
    let value = |arm: &Arm| Some(record.variants.get(usize::from(arm.variant))?.value.clone());
    file_edit(rollout, &value(&rollout.plan.control)?, &value(&rollout.plan.new)?)
}

/// All rollouts of the environment, with a sentence each.
#[utoipa::path(get, path = "/rollouts", tag = "rollouts", responses((status = 200, body = Object)))]
pub(super) async fn list(to: To<Read>) -> Json<Value> {
    let rollouts = to.app.image().catalogue.rollouts(&to.place);
    let mut all = Vec::new();
    for rollout in &rollouts {
        all.push(standing(&to.app, rollout).await);
    }
    Json(json!({ "rollouts": all }))
}

/// Which rollout.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Its number; without it the latest.
    number: Option<u32>,
}

fn find(app: &App, place: &Place, flag: &str, number: Option<u32>) -> Result<Rollout, ApiError> {
    let flag: Key = auth::key(flag)?;
    let image = app.image();
    if image.catalogue.flag_record(&place.project, &flag).is_none() {
        return Err(unknown_flag(place, &flag));
    }
    let of_flag = image.catalogue.rollouts(place).into_iter().filter(|rollout| rollout.id.flag == flag);
    let found = of_flag.filter(|rollout| number.is_none_or(|number| rollout.id.number == number));
    found.max_by_key(|rollout| rollout.id.number).ok_or_else(|| {
        let detail = match number {
            Some(number) => format!("Flag \"{flag}\" has no rollout number {number} here."),
            None => format!("Flag \"{flag}\" has had no rollout here."),
        };
        ApiError::not_found(detail).next(format!("ensign rollout start {flag} --to VARIANT"))
    })
}

/// One rollout: the latest of the flag, or the one of the number.
#[utoipa::path(get, path = "/rollouts/{flag}", tag = "rollouts", params(Which), responses((status = 200, body = Object)))]
pub(super) async fn show(
    to: To<Read>,
    Name(flag): Name,
    query: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(which) = query.map_err(|error| ApiError::new("bad_query", error.body_text()))?;
    let rollout = find(&to.app, &to.place, &flag, which.number)?;
    let mut all = standing(&to.app, &rollout).await;
    all["plan"] = json!(rollout.plan);
    Ok(Json(all))
}

async fn steer<N: Need>(
    to: &To<N>,
    flag: &str,
    headers: &HeaderMap,
    action: RolloutAction,
    reason: Option<String>,
) -> Result<Json<Changed>, ApiError> {
    let command = Command::Rollout { place: to.place.clone(), flag: auth::key(flag)?, action, reason };
    let done = to.app.act(&command, &to.grant.actor, options(headers)?).await?;
    Ok(Changed::of(done, Some(&to.place)))
}

macro_rules! steers {
    ($($(#[$doc:meta])* $name:ident, $path:literal, $scope:ty, $action:ident;)*) => {$(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "rollouts", request_body = Because, responses((status = 200, body = Changed)))]
        pub(super) async fn $name(
            to: To<$scope>,
            Name(flag): Name,
            headers: HeaderMap,
            Body(because): Body<Because>,
        ) -> Result<Json<Changed>, ApiError> {
            steer(&to, &flag, &headers, RolloutAction::$action, because.reason).await
        }
    )*};
}

steers! {
    /// Lets the next stage begin.
    approve, "/rollouts/{flag}/approve", Approve, Approve;
    /// Stops advancing and keeps the traffic.
    hold, "/rollouts/{flag}/hold", Kill, Hold;
    /// Goes on after a hold.
    resume, "/rollouts/{flag}/resume", Write, Resume;
    /// Everyone of the split back to control, for good.
    abort, "/rollouts/{flag}/abort", Kill, Abort;
}

/// Holds every rollout of the environment.
#[utoipa::path(post, path = "/hold-all", tag = "rollouts", request_body = Because, responses((status = 200, body = Changed)))]
pub(super) async fn hold_all(
    to: To<Kill>,
    headers: HeaderMap,
    Body(because): Body<Because>,
) -> Result<Json<Changed>, ApiError> {
    let command = Command::HoldAll { place: to.place.clone(), reason: because.reason };
    let done = to.app.act(&command, &to.grant.actor, options(&headers)?).await?;
    Ok(Changed::of(done, Some(&to.place)))
}

/// The receipts of a flag's rollouts, oldest first: id and body.
fn receipts_of(app: &App, place: &Place, flag: &Key) -> Vec<(String, Value)> {
    let mut all: Vec<(u64, u64, String, Value)> = app
        .image()
        .catalogue
        .receipts(place)
        .into_iter()
        .filter_map(|(id, body)| {
            let rest = id.strip_prefix(flag.as_str())?.strip_prefix('.')?;
            let (rollout, number) = rest.split_once('.')?;
            Some((rollout.parse().ok()?, number.parse().ok()?, id.clone(), body))
        })
        .collect();
    all.sort_by_key(|(rollout, number, ..)| (*rollout, *number));
    all.into_iter().map(|(.., id, body)| (id, body)).collect()
}

/// The receipts of a flag's rollouts, oldest first.
#[utoipa::path(get, path = "/rollouts/{flag}/receipts", tag = "rollouts", responses((status = 200, body = Object)))]
pub(super) async fn receipts(to: To<Read>, Name(flag): Name) -> Result<Json<Value>, ApiError> {
    let flag = auth::key(&flag)?;
    let all: Vec<Value> = receipts_of(&to.app, &to.place, &flag)
        .into_iter()
        .map(|(id, body)| {
            let at = body["at"].as_i64().map(|at| {
                ensign_control::catalogue::rfc3339(ensign_control::ids::Timestamp(at))
            });
            json!({ "id": id, "number": body["number"], "at": at, "decision": word(&body["decision"]), "sentence": body["sentence"] })
        })
        .collect();
    Ok(Json(json!({ "receipts": all })))
}

fn word(decision: &Value) -> Value {
    decision.get("decision").unwrap_or(decision).clone()
}

/// One receipt, exactly as it was sealed: by id, by number in the latest rollout, or `last`.
#[utoipa::path(get, path = "/rollouts/{flag}/receipts/{number}", tag = "rollouts", responses((status = 200, body = Object)))]
pub(super) async fn receipt(to: To<Read>, Names(names): Names) -> Result<Json<Value>, ApiError> {
    let [flag, number] = names;
    let flag = auth::key(&flag)?;
    let mut all = receipts_of(&to.app, &to.place, &flag);
    let found = if number == "last" {
        all.pop()
    } else {
        let counted: Option<u64> = number.parse().ok();
        all.into_iter()
            .rev()
            .find(|(id, body)| *id == number || (counted.is_some() && body["number"].as_u64() == counted))
    };
    let missing = || ApiError::not_found(format!("Flag \"{flag}\" has no receipt \"{number}\" here."));
    found.map(|(_, body)| Json(body)).ok_or_else(missing)
}

/// How a flag stands and why, sentence first.
#[utoipa::path(get, path = "/flags/{flag}/why", tag = "flags", responses((status = 200, body = Object)))]
pub(super) async fn why(to: To<Read>, Name(flag): Name) -> Result<Json<Value>, ApiError> {
    let flag = auth::key(&flag)?;
    let Some(page) = to.app.image().catalogue.flag_view(&to.place, &flag) else {
        return Err(unknown_flag(&to.place, &flag));
    };
    let receipts: Vec<(String, Value)> = receipts_of(&to.app, &to.place, &flag);
    let last = receipts.last().map(|(id, body)| json!({ "id": id, "sentence": body["sentence"] }));
    let mut all = json!({
        "flag": flag,
        "sentence": page.sentence,
        "receipts": receipts.iter().map(|(id, _)| id).collect::<Vec<_>>(),
        "last_decision": last,
    });
    if let Ok(rollout) = find(&to.app, &to.place, flag.as_str(), None) {
        let standing = standing(&to.app, &rollout).await;
        all["sentence"] = standing["sentence"].clone();
        all["sentences"] = json!([page.sentence]);
        all["text"] = standing["text"].clone();
        all["view"] = standing;
    }
    Ok(Json(all))
}
