//! Flags: lists, pages, histories, and what a person does to one of them.

use axum::Json;
use axum::http::HeaderMap;
use ensign_control::catalogue::{Command, FlagView, HistoryEntry, HistoryRecord, Line, history, rfc3339};
use ensign_control::ids::{Key, Place, Timestamp};
use ensign_store::AuditQuery;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer::{Changed, line_text, options};
use super::auth::{self, Kill, Name, Need, Read, To, Write};
use super::body::Body;
use super::documents::unknown_flag;
use crate::image::{place_scope, store_scope};
use crate::{ApiError, App, limits};

/// Why.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    /// For the audit log.
    #[serde(default)]
    pub(super) reason: Option<String>,
}

fn flag_json(view: FlagView) -> Value {
    let killed = view.state.as_ref().and_then(|state| state.kill.as_ref().map(|kill| kill.to.clone()));
    let serves = killed.or_else(|| view.state.as_ref().map(|state| state.section.default.clone()));
    let rollout = view.state.as_ref().and_then(|state| state.owned.as_ref()).map(|owned| owned.rollout);
    json!({
        "key": view.key,
        "sentence": view.sentence,
        "type": view.value_type,
        "serves": serves,
        "rollout": rollout.map(|number| format!("{}.{number}", view.key)),
        "owner": view.shared.get("owner"),
        "cleanup": view.shared.get("cleanup"),
        "use_case": view.shared.get("use_case"),
        "variants": view.variants,
        "shared": view.shared,
        "state": view.state,
        "retired": view.retired,
        "created": rfc3339(view.created),
        "revision": view.version,
    })
}

/// Every flag of the environment, retired ones last.
#[utoipa::path(get, path = "/flags", tag = "flags", responses((status = 200, body = Object)))]
pub(super) async fn list(to: To<Read>) -> Json<Value> {
    let views = to.app.image().catalogue.flag_views(&to.place);
    let flags: Vec<Value> = views.into_iter().map(flag_json).collect();
    Json(json!({ "flags": flags }))
}

/// One flag.
#[utoipa::path(get, path = "/flags/{flag}", tag = "flags", responses((status = 200, body = Object)))]
pub(super) async fn show(to: To<Read>, Name(flag): Name) -> Result<Json<Value>, ApiError> {
    let flag = auth::key(&flag)?;
    let view = to.app.image().catalogue.flag_view(&to.place, &flag);
    Ok(Json(flag_json(view.ok_or_else(|| unknown_flag(&to.place, &flag))?)))
}

/// The changes of a flag, oldest first.
pub(crate) async fn changes(app: &App, place: &Place, flag: &Key) -> Result<Vec<HistoryEntry>, ApiError> {
    let mut records = Vec::new();
    let mut after = 0;
    loop {
        let query = AuditQuery {
            after,
            subject: Some(format!("flag/{flag}")),
            scope: Some(store_scope(&place_scope(place))),
            limit: limits::AUDIT_PAGE,
        };
        let page = app.deps().store.audit(query).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        records.extend(page.iter().map(|record| HistoryRecord {
            at: Timestamp(record.draft.at.0),
            actor: record.draft.actor.clone(),
            action: record.draft.action.clone(),
            reason: record.draft.reason.clone(),
            diff: serde_json::from_slice(&record.draft.diff).unwrap_or_default(),
        }));
    }
    let version = app.image().catalogue.flag_view(place, flag).map_or(0, |view| view.version);
    Ok(history(&records, version))
}

/// Every change with author, time, reason and difference.
#[utoipa::path(get, path = "/flags/{flag}/history", tag = "flags", responses((status = 200, body = Object)))]
pub(super) async fn past(to: To<Read>, Name(flag): Name) -> Result<Json<Value>, ApiError> {
    let flag = auth::key(&flag)?;
    if to.app.image().catalogue.flag_record(&to.place.project, &flag).is_none() {
        return Err(unknown_flag(&to.place, &flag));
    }
    let entries = changes(&to.app, &to.place, &flag).await?;
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            json!({
                "revision": entry.revision, "at": rfc3339(entry.at), "actor": entry.actor,
                "action": entry.action, "reason": entry.reason, "sentence": entry.sentence,
                "diff": entry.lines.iter().map(line_text).collect::<Vec<_>>(),
                "lines": entry.lines.iter().map(line_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    Ok(Json(json!({ "history": entries })))
}

fn line_json(line: &Line) -> Value {
    json!({ "path": line.path, "before": line.before, "after": line.after })
}

async fn act<N: Need>(to: &To<N>, headers: &HeaderMap, command: &Command) -> Result<Json<Changed>, ApiError> {
    let done = to.app.act(command, &to.grant.actor, options(headers)?).await?;
    Ok(Changed::of(done, Some(&to.place)))
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident, $path:literal, $scope:ty, |$place:ident, $flag:ident, $reason:ident| $command:expr;)*) => {$(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "flags", request_body = Because, responses((status = 200, body = Changed)))]
        pub(super) async fn $name(
            to: To<$scope>,
            Name($flag): Name,
            headers: HeaderMap,
            Body(because): Body<Because>,
        ) -> Result<Json<Changed>, ApiError> {
            let ($place, $flag, $reason) = (to.place.clone(), auth::key(&$flag)?, because.reason);
            act(&to, &headers, &$command).await
        }
    )*};
}

actions! {
    /// Switches a flag on.
    on, "/flags/{flag}/on", Write, |place, flag, reason| Command::Switch { place, flag, on: true, reason };
    /// Switches a flag off: everyone gets the off value.
    off, "/flags/{flag}/off", Write, |place, flag, reason| Command::Switch { place, flag, on: false, reason };
    /// Makes a flag a tombstone, in every environment: nothing else may take its key.
    retire, "/flags/{flag}/retire", Write, |place, flag, reason| Command::Retire { project: place.project, flag, reason };
    /// Revives a retired flag with its history.
    unretire, "/flags/{flag}/unretire", Write, |place, flag, reason| Command::Unretire { project: place.project, flag, reason };
    /// Lifts a kill; the rules beneath hold again.
    restore, "/flags/{flag}/restore", Kill, |place, flag, reason| Command::Restore { place, flag, reason };
}

/// A kill of one flag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KillFlag {
    /// The variant that everyone gets, by name or value; without it control.
    #[serde(default)]
    #[schema(value_type = Object)]
    to: Option<Value>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// Everyone to control, or to the named variant, now.
#[utoipa::path(post, path = "/flags/{flag}/kill", tag = "flags", request_body = KillFlag, responses((status = 200, body = Changed)))]
pub(super) async fn kill(
    to: To<Kill>,
    Name(flag): Name,
    headers: HeaderMap,
    Body(kill): Body<KillFlag>,
) -> Result<Json<Changed>, ApiError> {
    let flag = auth::key(&flag)?;
    act(&to, &headers, &Command::Kill { place: to.place.clone(), flag, to: kill.to, reason: kill.reason })
        .await
}

/// A kill of one value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KillValue {
    /// The value that nobody may get.
    #[schema(value_type = Object)]
    value: Value,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// Kills every flag of the environment that can serve a value.
#[utoipa::path(post, path = "/kill", tag = "flags", request_body = KillValue, responses((status = 200, body = Changed)))]
pub(super) async fn kill_value(
    to: To<Kill>,
    headers: HeaderMap,
    Body(kill): Body<KillValue>,
) -> Result<Json<Changed>, ApiError> {
    let command = Command::KillValue { place: to.place.clone(), value: kill.value, reason: kill.reason };
    act(&to, &headers, &command).await
}

/// An earlier revision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Back {
    /// As the history lists it.
    revision: u64,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// Brings back what a flag was at an earlier revision, as a new change.
#[utoipa::path(post, path = "/flags/{flag}/restore-revision", tag = "flags", request_body = Back,
    responses((status = 200, body = Changed)))]
pub(super) async fn restore_revision(
    to: To<Write>,
    Name(flag): Name,
    headers: HeaderMap,
    Body(back): Body<Back>,
) -> Result<Json<Changed>, ApiError> {
    let flag = auth::key(&flag)?;
    let entries = changes(&to.app, &to.place, &flag).await?;
    let Some(entry) = entries.into_iter().find(|entry| entry.revision == back.revision) else {
        let detail = format!("Flag \"{flag}\" did not change at revision {} here.", back.revision);
        return Err(ApiError::new("no_such_revision", detail).next(format!("ensign flag history {flag}")));
    };
    let command = Command::RestoreRevision {
        place: to.place.clone(),
        flag,
        revision: back.revision,
        snapshot: entry.snapshot,
        reason: back.reason,
    };
    act(&to, &headers, &command).await
}

/// A pin to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPin {
    /// The flag.
    flag: String,
    /// Keys of units.
    #[serde(default)]
    units: Option<Vec<String>>,
    /// The context kind of the keys; without it the flag's unit.
    #[serde(default)]
    unit: Option<String>,
    /// Or a condition, as in a rule.
    #[serde(default)]
    #[schema(value_type = Object)]
    condition: Option<Value>,
    /// The variant they keep, by name or value.
    #[schema(value_type = Object)]
    variant: Value,
    /// Who answers for it.
    owner: String,
    /// Why.
    reason: String,
    /// Until when: a date or an RFC 3339 time.
    #[serde(default)]
    until: Option<String>,
}

/// Every pin of the environment.
#[utoipa::path(get, path = "/pins", tag = "pins", responses((status = 200, body = Object)))]
pub(super) async fn pins(to: To<Read>) -> Json<Value> {
    Json(json!({ "pins": pins_of(&to.app, &to.place) }))
}

fn pins_of(app: &App, place: &Place) -> Vec<Value> {
    let views = app.image().catalogue.flag_views(place);
    let mut all = Vec::new();
    for view in views {
        for pin in view.state.iter().flat_map(|state| &state.section.pins) {
            let who = if pin.who.is_empty() { json!(pin.condition) } else { json!(pin.who) };
            all.push(json!({
                "id": format!("{}.{}", view.key, pin.id), "flag": view.key, "who": who, "unit": pin.unit,
                "variant": pin.variant, "owner": pin.owner, "reason": pin.reason, "until": pin.until,
            }));
        }
    }
    all
}

/// Keeps units on one variant until a date.
#[utoipa::path(post, path = "/pins", tag = "pins", request_body = NewPin, responses((status = 200, body = Changed)))]
pub(super) async fn add_pin(
    to: To<Write>,
    headers: HeaderMap,
    Body(new): Body<NewPin>,
) -> Result<Json<Changed>, ApiError> {
    let flag = auth::key(&new.flag)?;
    let members = [
        ("who", json!(new.units)),
        ("unit", json!(new.unit)),
        ("condition", json!(new.condition)),
        ("variant", new.variant),
        ("owner", json!(new.owner)),
        ("reason", json!(new.reason)),
        ("until", json!(new.until)),
    ];
    let pin = members.into_iter().filter(|(_, value)| !value.is_null());
    let pin = Value::Object(pin.map(|(name, value)| (name.to_owned(), value)).collect());
    act(&to, &headers, &Command::AddPin { place: to.place.clone(), flag, pin }).await
}

/// Ends a pin.
#[utoipa::path(delete, path = "/pins/{id}", tag = "pins", responses((status = 200, body = Changed)))]
pub(super) async fn remove_pin(
    to: To<Write>,
    Name(id): Name,
    headers: HeaderMap,
) -> Result<Json<Changed>, ApiError> {
    let found = pins_of(&to.app, &to.place).into_iter().find(|pin| pin["id"] == id);
    let flag = found.as_ref().and_then(|pin| pin["flag"].as_str()?.parse::<Key>().ok());
    let Some(flag) = flag else {
        return Err(ApiError::not_found(format!("There is no pin \"{id}\" here.")).next("ensign pin list"));
    };
    let pin = id.strip_prefix(&format!("{flag}.")).unwrap_or(&id).to_owned();
    act(&to, &headers, &Command::RemovePin { place: to.place.clone(), flag, pin, reason: None }).await
}
