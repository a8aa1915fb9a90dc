//! Segments and opt-ins, metrics, use cases.

use axum::Json;
use axum::http::HeaderMap;
use ensign_control::catalogue::{Command, Mode, Source};
use ensign_control::ids::{Key, Place};
use ensign_store::Membership;
use serde_json::{Map, Value, json};

use super::answer::{Changed, options};
use super::auth::{self, Names, Read, To, Write};
use super::body::Body;
use crate::image::{place_scope, store_scope};
use crate::{ApiError, limits};

/// The environment's segments.
#[utoipa::path(get, path = "/segments", tag = "segments", responses((status = 200, body = Object)))]
pub(super) async fn segments(to: To<Read>) -> Json<Value> {
    let image = to.app.image();
    let all: Vec<Value> = image
        .catalogue
        .segments(&to.place)
        .into_iter()
        .filter_map(|key| {
            let state = image.catalogue.segment_state(&to.place, &key)?;
            let members = image.members(&to.place, &key).map_or(0, std::collections::BTreeSet::len);
            Some(json!({
                "key": key, "members": members, "rules": state.rules.len(), "owner": state.owner,
                "description": state.description, "includes": state.includes, "excludes": state.excludes,
            }))
        })
        .collect();
    Json(json!({ "segments": all }))
}

fn membership(to: &Place, segment: &str, unit: &str, known: &[String]) -> Result<Membership, ApiError> {
    if !known.iter().any(|key| key == segment) {
        return Err(ApiError::not_found(format!("There is no segment \"{segment}\" here."))
            .next("ensign segment list"));
    }
    if unit.is_empty() || unit.len() > limits::UNIT_KEY {
        return Err(ApiError::new(
            "bad_unit",
            format!("The key of a unit has 1 to {} bytes.", limits::UNIT_KEY),
        ));
    }
    Ok(Membership {
        scope: store_scope(&place_scope(to)),
        segment: segment.to_owned(),
        unit: unit.to_owned(),
    })
}

async fn set<N: auth::Need>(
    to: &To<N>,
    segment: &str,
    unit: &str,
    member: bool,
) -> Result<Json<Value>, ApiError> {
    let known = to.app.image().catalogue.segments(&to.place);
    let membership = membership(&to.place, segment, unit, &known)?;
    to.app.opt(&membership, member).await?;
    let (verb, rest) = if member { ("is", "from now on") } else { ("is not", "by opt-in any more") };
    let sentence = format!("{unit} {verb} in segment {segment} {rest}.");
    Ok(Json(json!({ "member": member, "sentences": [sentence] })))
}

/// Opts a unit in. No revision: people click this.
#[utoipa::path(put, path = "/segments/{segment}/members/{unit}", tag = "segments", responses((status = 200, body = Object)))]
pub(super) async fn join(to: To<Write>, Names(names): Names) -> Result<Json<Value>, ApiError> {
    let [segment, unit] = names;
    set(&to, &segment, &unit, true).await
}

/// Opts a unit out.
#[utoipa::path(delete, path = "/segments/{segment}/members/{unit}", tag = "segments", responses((status = 200, body = Object)))]
pub(super) async fn leave(to: To<Write>, Names(names): Names) -> Result<Json<Value>, ApiError> {
    let [segment, unit] = names;
    set(&to, &segment, &unit, false).await
}

/// Whether a unit opted in.
#[utoipa::path(get, path = "/segments/{segment}/members/{unit}", tag = "segments", responses((status = 200, body = Object)))]
pub(super) async fn member(to: To<Read>, Names(names): Names) -> Result<Json<Value>, ApiError> {
    let [segment, unit] = names;
    let image = to.app.image();
    membership(&to.place, &segment, &unit, &image.catalogue.segments(&to.place))?;
    let is = image.members(&to.place, &segment).is_some_and(|units| units.contains(&unit));
    let sentence =
        format!("{unit} has {} segment {segment}.", if is { "opted into" } else { "not opted into" });
    Ok(Json(json!({ "member": is, "sentences": [sentence] })))
}

/// The project's metrics; the built-in ones first.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses((status = 200, body = Object)))]
pub(super) async fn metrics(to: To<Read>) -> Json<Value> {
    let mut all: Vec<Value> = ensign_control::document::measure::BUILT_IN
        .iter()
        .map(|key| json!({ "key": key, "kind": "built-in" }))
        .collect();
    for document in to.app.image().catalogue.metrics(&to.place.project) {
        all.push(with_key(document.members, "metric"));
    }
    Json(json!({ "metrics": all }))
}

fn with_key(members: Value, name: &str) -> Value {
    let mut all = Map::new();
    all.insert("key".to_owned(), members[name].clone());
    if let Value::Object(members) = members {
        all.extend(members);
    }
    Value::Object(all)
}

/// Applies one document that came as a JSON body.
async fn apply(
    to: &To<Write>,
    headers: &HeaderMap,
    kind: &str,
    document: Value,
) -> Result<Json<Changed>, ApiError> {
    let Value::Object(mut members) = document else {
        return Err(ApiError::new("json_type", "The body has to be an object.").pointer(""));
    };
    if let Some(timeout) = members.remove("timeout") {
        members.entry("request_timeout").or_insert(timeout);
    }
    let reason = members.remove("reason").and_then(|reason| reason.as_str().map(str::to_owned));
    // The first member says what a document is.
    let Some(key) = members.remove(kind) else {
        return Err(ApiError::new("json_missing_member", format!("Missing member `{kind}`.")).pointer(""));
    };
    let mut document = Map::from_iter([(kind.to_owned(), key)]);
    document.extend(members);
    let text = Value::Object(document).to_string().into_bytes();
    let command = Command::Apply {
        project: to.place.project.clone(),
        environment: None,
        sources: vec![Source { name: String::new(), text }],
        mode: Mode::Edit,
        reason,
    };
    let done = to.app.act(&command, &to.grant.actor, options(headers)?).await?;
    Ok(Changed::of(done, Some(&to.place)))
}

/// Defines a metric: a metric document as the body.
#[utoipa::path(post, path = "/metrics", tag = "metrics", request_body = Object, responses((status = 200, body = Changed)))]
pub(super) async fn new_metric(
    to: To<Write>,
    headers: HeaderMap,
    Body(document): Body<Value>,
) -> Result<Json<Changed>, ApiError> {
    apply(&to, &headers, "metric", document).await
}

/// The project's use cases.
#[utoipa::path(get, path = "/use-cases", tag = "use cases", responses((status = 200, body = Object)))]
pub(super) async fn use_cases(to: To<Read>) -> Json<Value> {
    let image = to.app.image();
    let all: Vec<Value> = image
        .catalogue
        .use_cases(&to.place.project)
        .into_iter()
        .filter_map(|document| {
            let view = image.catalogue.use_case_view(&to.place, &document.key)?;
            let flags: Vec<Key> = view.flags.into_iter().map(|flag| flag.key).collect();
            let mut all = with_key(document.members, "use_case");
            all["flags"] = json!(flags);
            all["timeout"] = all["request_timeout"].clone();
            Some(all)
        })
        .collect();
    Json(json!({ "use_cases": all }))
}

/// Creates or changes a use case: a use case document as the body.
#[utoipa::path(post, path = "/use-cases", tag = "use cases", request_body = Object, responses((status = 200, body = Changed)))]
pub(super) async fn new_use_case(
    to: To<Write>,
    headers: HeaderMap,
    Body(document): Body<Value>,
) -> Result<Json<Changed>, ApiError> {
    apply(&to, &headers, "use_case", document).await
}
