//! API keys, the audit log, webhooks and windows.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use ensign_control::catalogue::{ApiKey, Command, KeyScope, Record, RecordKind, Scope, Window, rfc3339};
use ensign_control::document::until;
use ensign_control::ids::{Key, Place, Timestamp};
use ensign_control::rollout::parse_span;
use ensign_store::AuditQuery;
use ensign_store::secrets::random;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Changed, options};
use super::auth::{self, Admin, By, Name, Read, To, Write, scope_word};
use super::body::Body;
use crate::image::place_scope;
use crate::keys::{api_key, hex, new_token, owner};
use crate::webhooks::{Webhook, check_url, seal_context};
use crate::{ApiError, App, limits};

fn time(text: &str, pointer: &str) -> Result<Timestamp, ApiError> {
    until(text).ok_or_else(|| {
        ApiError::new("bad_time", format!("\"{text}\" is neither a date nor an RFC 3339 time."))
            .pointer(pointer)
    })
}

fn put(place: Option<&Place>, kind: RecordKind, key: String, body: Value) -> Command {
    let project = place.map(|place| place.project.clone());
    let environment = place.map(|place| place.environment.clone());
    Command::PutRecord { record: Record { project, environment, kind, key, body }, reason: None }
}

fn remove(scope: &Scope, kind: RecordKind, key: &str) -> Command {
    let (project, environment) = owner(scope);
    Command::RemoveRecord { project, environment, kind, key: key.to_owned(), reason: None }
}

/// A key to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// The name in the audit log.
    name: String,
    /// `read`, `ingest`, `plan`, `write`, `approve`, `kill`, `admin`.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<KeyScope>,
    /// When it ends: a date or an RFC 3339 time.
    #[serde(default)]
    expires: Option<String>,
    /// Only this project; without it the whole installation.
    #[serde(default)]
    project: Option<String>,
    /// Only this environment.
    #[serde(default)]
    environment: Option<String>,
}

/// A stored key with its place.
struct Found {
    scope: Scope,
    id: String,
    key: ApiKey,
}

fn keys(app: &App) -> Vec<Found> {
    let image = app.image();
    let all = image.records(RecordKind::ApiKey);
    all.filter_map(|(id, stored)| {
        let key = ApiKey::deserialize(stored.body.as_ref()).ok()?;
        Some(Found { scope: id.scope.clone(), id: id.key.clone(), key })
    })
    .collect()
}

fn where_is(scope: &Scope) -> String {
    match (scope.project.as_str(), &scope.environment) {
        ("", _) => "everywhere".to_owned(),
        (project, None) => project.to_owned(),
        (project, Some(environment)) => format!("{project}/{environment}"),
    }
}

/// Whether a bearer may manage what belongs to a scope: only inside its own reach.
fn within(by: &By<Admin>, scope: &Scope) -> bool {
    let (project, environment) = owner(scope);
    by.grant.project.as_ref().is_none_or(|own| Some(own) == project.as_ref())
        && by.grant.environment.as_ref().is_none_or(|own| Some(own) == environment.as_ref())
}

/// Every key within the bearer's reach; never their secrets.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", responses((status = 200, body = Object)))]
pub(super) async fn list_keys(by: By<Admin>) -> Json<Value> {
    let now = by.app.now();
    let all: Vec<Value> = keys(&by.app)
        .into_iter()
        .filter(|found| within(&by, &found.scope))
        .map(|Found { scope, id, key }| {
            json!({
                "id": id, "name": key.name, "scopes": key.scopes, "where": where_is(&scope),
                "prefix": key.prefix, "created": rfc3339(key.created), "expires": key.expires.map(rfc3339),
                "valid": key.valid(now), "replaced_by": key.replaced_by,
            })
        })
        .collect();
    Json(json!({ "keys": all }))
}

/// Makes a key. The answer has its secret, once.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", request_body = NewKey, responses((status = 200, body = Object)))]
pub(super) async fn new_key(by: By<Admin>, Body(new): Body<NewKey>) -> Result<Json<Value>, ApiError> {
    if new.scopes.is_empty() || new.name.trim().is_empty() || new.name.len() > limits::ID {
        let detail = format!("A key has a name of 1 to {} bytes and at least one scope.", limits::ID);
        return Err(ApiError::new("invalid", detail).pointer("/name"));
    }
    let project = new.project.as_deref().map(auth::key).transpose()?;
    let environment = new.environment.as_deref().map(auth::key).transpose()?;
    let scope = Scope {
        project: project.as_ref().map(ToString::to_string).unwrap_or_default(),
        environment: environment.as_ref().map(ToString::to_string),
    };
    if !within(&by, &scope) {
        return Err(ApiError::new("forbidden", "A key cannot make keys that reach further than itself."));
    }
    match (&project, &environment) {
        (None, Some(_)) => {
            return Err(
                ApiError::new("invalid", "An environment belongs to a project.").pointer("/environment")
            );
        }
        (Some(project), _) if !by.app.image().projects().contains(project) => {
            return Err(ApiError::new("unknown_project", format!("There is no project \"{project}\".")));
        }
        (Some(project), Some(environment)) => {
            let place = Place { project: project.clone(), environment: environment.clone() };
            if by.app.place(&place).is_none() {
                return Err(ApiError::new(
                    "unknown_environment",
                    format!("There is no environment \"{place}\"."),
                ));
            }
        }
        (None | Some(_), None) => {}
    }
    let expires = new.expires.as_deref().map(|text| time(text, "/expires")).transpose()?;
    let secret = new_token("ens-key")?;
    let (id, key) = api_key(&new.name, &secret, &new.scopes, by.app.now(), expires);
    let record = Record { project, environment, kind: RecordKind::ApiKey, key: id.clone(), body: json!(key) };
    by.app.act(&Command::PutRecord { record, reason: None }, &by.grant.actor, Default::default()).await?;
    let scopes: Vec<&str> = new.scopes.iter().map(|scope| scope_word(*scope)).collect();
    let sentence = format!(
        "Key {id} \"{}\" may {} in {}. Its secret is shown once.",
        new.name,
        scopes.join(", "),
        where_is(&scope)
    );
    Ok(Json(json!({ "id": id, "secret": secret, "sentences": [sentence] })))
}

fn find_key(by: &By<Admin>, id: &str) -> Result<Found, ApiError> {
    let found = keys(&by.app).into_iter().find(|found| found.id == id && within(by, &found.scope));
    found.ok_or_else(|| ApiError::not_found(format!("There is no key \"{id}\".")).next("ensign keys list"))
}

/// How a key is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// How long the old one still works: `1h`, `7d`. A day if not given.
    #[serde(default)]
    overlap: Option<String>,
}

/// Replaces a key by one with the same rights; both work for a while.
#[utoipa::path(post, path = "/api/v1/keys/{id}/rotate", tag = "keys", request_body = Rotation, responses((status = 200, body = Object)))]
pub(super) async fn rotate_key(
    by: By<Admin>,
    Path(id): Path<String>,
    Body(rotation): Body<Rotation>,
) -> Result<Json<Value>, ApiError> {
    let found = find_key(&by, &id)?;
    let text = rotation.overlap.as_deref().unwrap_or("1d");
    let overlap = parse_span(text).ok_or_else(|| {
        ApiError::new("bad_time", format!("\"{text}\" is no length of time.")).pointer("/overlap")
    })?;
    let now = by.app.now();
    let secret = new_token("ens-key")?;
    let (new_id, new) = api_key(&found.key.name, &secret, &found.key.scopes, now, found.key.expires);
    let (project, environment) = owner(&found.scope);
    let record = |key: &str, body: Value| Command::PutRecord {
        record: Record {
            project: project.clone(),
            environment: environment.clone(),
            kind: RecordKind::ApiKey,
            key: key.to_owned(),
            body,
        },
        reason: None,
    };
    // The new one first: a failure in between leaves one key too many, never one too few.
    by.app.act(&record(&new_id, json!(new)), &by.grant.actor, Default::default()).await?;
    let end = found.key.expires.map_or(now + overlap, |expires| expires.min(now + overlap));
    let old = ApiKey { expires: Some(end), replaced_by: Some(new_id.clone()), ..found.key };
    by.app.act(&record(&id, json!(old)), &by.grant.actor, Default::default()).await?;
    let sentence = format!("Key {new_id} replaces {id}, which works until {}.", rfc3339(end));
    Ok(Json(json!({ "id": new_id, "secret": secret, "sentences": [sentence] })))
}

/// Ends a key now.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "keys", responses((status = 200, body = Object)))]
pub(super) async fn revoke_key(by: By<Admin>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let found = find_key(&by, &id)?;
    let now = by.app.now();
    let lasting_admin = |found: &Found| {
        found.scope == Scope::default()
            && found.key.scopes.contains(&KeyScope::Admin)
            && found.key.expires.is_none()
    };
    let others =
        keys(&by.app).iter().any(|other| other.id != id && lasting_admin(other) && other.key.valid(now));
    if lasting_admin(&found) && !others {
        return Err(ApiError::new(
            "last_admin",
            format!("\"{}\" is the last administrator.", found.key.name),
        )
        .next("ensign keys create NAME --scopes admin"));
    }
    by.app.act(&remove(&found.scope, RecordKind::ApiKey, &id), &by.grant.actor, Default::default()).await?;
    Ok(Json(json!({ "sentences": [format!("Key {id} \"{}\" has ended.", found.key.name)] })))
}

/// Which audit records.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditFilter {
    /// Only records with a greater number; without it the latest.
    after: Option<u64>,
    /// Only about this: `flag/inference_model`.
    subject: Option<String>,
    /// Only of this project.
    #[param(value_type = Option<String>)]
    project: Option<Key>,
    /// Only of this environment of the project.
    #[param(value_type = Option<String>)]
    environment: Option<Key>,
    /// At most so many.
    limit: Option<usize>,
}

/// Records of the audit log, oldest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditFilter), responses((status = 200, body = Object)))]
pub(super) async fn audit(
    by: By<Read>,
    query: Result<Query<AuditFilter>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(filter) = query.map_err(|error| ApiError::new("bad_query", error.body_text()))?;
    let limit = filter.limit.unwrap_or(100).clamp(1, limits::AUDIT_PAGE);
    let mut records = std::collections::VecDeque::new();
    let mut after = filter.after.unwrap_or(0);
    loop {
        let query = AuditQuery {
            after,
            subject: filter.subject.clone(),
            limit: limits::AUDIT_PAGE,
            ..AuditQuery::default()
        };
        let page = by.app.deps().store.audit(query).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for record in page {
            let (project, environment) = owner(&crate::image::from_store_scope(&record.draft.scope));
            let reached = by.grant.project.as_ref().is_none_or(|own| Some(own) == project.as_ref())
                && by.grant.environment.as_ref().is_none_or(|own| Some(own) == environment.as_ref());
            let wanted =
                filter.project.as_ref().is_none_or(|own| project.as_ref().is_none_or(|is| is == own))
                    && filter
                        .environment
                        .as_ref()
                        .is_none_or(|own| environment.as_ref().is_none_or(|is| is == own));
            if reached && wanted {
                records.push_back(record);
            }
        }
        if filter.after.is_some() && records.len() >= limit {
            break;
        }
        while filter.after.is_none() && records.len() > limit {
            records.pop_front();
        }
    }
    records.truncate(limit);
    let all: Vec<Value> = records
        .into_iter()
        .map(|record| {
            json!({
                "seq": record.seq, "at": rfc3339(Timestamp(record.draft.at.0)), "actor": record.draft.actor,
                "action": record.draft.action, "subject": record.draft.subject, "reason": record.draft.reason,
                "project": record.draft.scope.project, "environment": record.draft.scope.environment,
                "diff": serde_json::from_slice::<Value>(&record.draft.diff).unwrap_or_default(),
                "hash": hex(&record.hash), "prev_hash": hex(&record.prev_hash),
            })
        })
        .collect();
    Ok(Json(json!({ "audit": all })))
}

/// Reads the whole audit chain and checks every link.
#[utoipa::path(post, path = "/api/v1/audit/verify", tag = "audit", responses((status = 200, body = Object)))]
pub(super) async fn verify_audit(by: By<Read>) -> Result<Json<Value>, ApiError> {
    by.installation()?;
    let verdict = by.app.deps().store.verify_audit().await?;
    let sentence = match verdict.broken_at {
        None => format!("All {} records of the audit log are there and unaltered.", verdict.count),
        Some(at) => {
            format!("The audit log is broken at record {at}: it is missing, altered, or does not follow.")
        }
    };
    Ok(Json(json!({
        "intact": verdict.broken_at.is_none(), "count": verdict.count, "broken_at": verdict.broken_at,
        "sentences": [sentence],
    })))
}

/// A webhook to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWebhook {
    /// https anywhere, http to the server's own machine.
    url: String,
    /// Which events; without it all.
    #[serde(default)]
    kinds: Option<Vec<String>>,
}

/// The environment's webhooks; never their secrets.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", responses((status = 200, body = Object)))]
pub(super) async fn webhooks(to: To<Admin>) -> Json<Value> {
    let image = to.app.image();
    let all: Vec<Value> = image
        .items(&place_scope(&to.place), RecordKind::Webhook.word())
        .filter_map(|(id, stored)| {
            let webhook = Webhook::deserialize(stored.body.as_ref()).ok()?;
            Some(json!({ "id": id, "url": webhook.url, "kinds": webhook.events, "created": rfc3339(webhook.created) }))
        })
        .collect();
    Json(json!({ "webhooks": all }))
}

/// Adds a webhook. The answer has its signing secret, once.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", request_body = NewWebhook, responses((status = 200, body = Object)))]
pub(super) async fn new_webhook(to: To<Admin>, Body(new): Body<NewWebhook>) -> Result<Json<Value>, ApiError> {
    check_url(&new.url)?;
    let id = format!("w{}", hex(&random::<6>()?));
    let secret = new_token("ens-whs")?;
    let context = seal_context(&place_scope(&to.place), &id);
    let webhook = Webhook {
        url: new.url.clone(),
        events: new.kinds.unwrap_or_default(),
        secret_sealed: hex(&to.app.secret.seal(&context, secret.as_bytes())?),
        created: to.app.now(),
    };
    let command = put(Some(&to.place), RecordKind::Webhook, id.clone(), json!(webhook));
    to.app.act(&command, &to.grant.actor, Default::default()).await?;
    let sentence =
        format!("Notices go to {} from now on; check them with the secret, which is shown once.", new.url);
    Ok(Json(json!({ "id": id, "secret": secret, "sentences": [sentence] })))
}

/// Removes a webhook. What waits for it is dropped.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", responses((status = 200, body = Changed)))]
pub(super) async fn remove_webhook(
    to: To<Admin>,
    Name(id): Name,
    headers: HeaderMap,
) -> Result<Json<Changed>, ApiError> {
    gone(&to.app, &to.place, RecordKind::Webhook, &id)?;
    let command = remove(&place_scope(&to.place), RecordKind::Webhook, &id);
    Ok(Changed::of(to.app.act(&command, &to.grant.actor, options(&headers)?).await?, Some(&to.place)))
}

fn gone(app: &App, place: &Place, kind: RecordKind, id: &str) -> Result<(), ApiError> {
    let found = app.image().item(&place_scope(place), kind.word(), id).is_some();
    if found {
        Ok(())
    } else {
        Err(ApiError::not_found(format!("There is no {} \"{id}\" here.", kind.word())))
    }
}

/// A window to be: a time in which nothing advances.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWindow {
    /// First moment, RFC 3339.
    from: String,
    /// First moment after it, RFC 3339.
    until: String,
    /// Repeats after so many days.
    #[serde(default)]
    every_days: Option<u32>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// The environment's windows.
#[utoipa::path(get, path = "/windows", tag = "windows", responses((status = 200, body = Object)))]
pub(super) async fn windows(to: To<Read>) -> Json<Value> {
    let image = to.app.image();
    let all: Vec<Value> = image
        .items(&place_scope(&to.place), RecordKind::Window.word())
        .filter_map(|(id, stored)| {
            let window = Window::deserialize(stored.body.as_ref()).ok()?;
            Some(json!({
                "id": id, "from": rfc3339(window.from), "until": rfc3339(window.until),
                "every_days": window.every_days, "reason": window.reason,
            }))
        })
        .collect();
    Json(json!({ "windows": all }))
}

/// Adds a time in which nothing advances; rollbacks, holds and kills happen all the same.
#[utoipa::path(post, path = "/windows", tag = "windows", request_body = NewWindow, responses((status = 200, body = Object)))]
pub(super) async fn new_window(to: To<Write>, Body(new): Body<NewWindow>) -> Result<Json<Value>, ApiError> {
    let window = Window {
        from: time(&new.from, "/from")?,
        until: time(&new.until, "/until")?,
        every_days: new.every_days,
        reason: new.reason,
    };
    if window.from >= window.until {
        return Err(ApiError::new("bad_time", "A window ends after it begins.").pointer("/until"));
    }
    let id = format!("n{}", hex(&random::<4>()?));
    let command = put(Some(&to.place), RecordKind::Window, id.clone(), json!(window));
    to.app.act(&command, &to.grant.actor, Default::default()).await?;
    let sentence = format!("Nothing advances in {} from {} to {}.", to.place, new.from, new.until);
    Ok(Json(json!({ "id": id, "sentences": [sentence] })))
}

/// Removes a window.
#[utoipa::path(delete, path = "/windows/{id}", tag = "windows", responses((status = 200, body = Changed)))]
pub(super) async fn remove_window(
    to: To<Write>,
    Name(id): Name,
    headers: HeaderMap,
) -> Result<Json<Changed>, ApiError> {
    gone(&to.app, &to.place, RecordKind::Window, &id)?;
    let command = remove(&place_scope(&to.place), RecordKind::Window, &id);
    Ok(Changed::of(to.app.act(&command, &to.grant.actor, options(&headers)?).await?, Some(&to.place)))
}
