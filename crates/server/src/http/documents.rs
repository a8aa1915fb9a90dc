//! Documents in and out: apply, plan, export; projects and environments.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use ensign_control::catalogue::{Actor, Answer, Command, ExportFormat, Mode, Source};
use ensign_control::ids::{Key, Place};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Changed, options};
use super::auth::{self, Admin, By, Plan, Read, To, Write};
use super::body::Body;
use crate::image::{place_scope, project_scope};
use crate::{ApiError, App, launchdarkly, limits};

/// Files as a person has them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Files {
    /// The files, in the order in which they are read.
    files: Vec<File>,
    /// Why, for the audit log.
    #[serde(default)]
    reason: Option<String>,
    /// Only plan: nothing changes.
    #[serde(default)]
    dry_run: bool,
    /// Leave every other environment alone, also where a document speaks of all.
    #[serde(default)]
    this_environment_only: bool,
}

/// One file.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Its name, as problems will name it.
    name: String,
    /// Its text: JSON or YAML, one document or several.
    text: String,
}

impl File {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Files {
    fn command(self, place: &Place) -> Command {
        let sources =
            self.files.into_iter().map(|file| Source { name: file.name, text: file.text.into_bytes() });
        Command::Apply {
            project: place.project.clone(),
            environment: self.this_environment_only.then(|| place.environment.clone()),
            sources: sources.collect(),
            mode: Mode::Merge,
            reason: self.reason,
        }
    }
}

/// Creates and updates what the documents describe, all or nothing.
#[utoipa::path(post, path = "/apply", tag = "documents", request_body = Files, responses((status = 200, body = Changed)))]
pub(super) async fn apply(
    to: To<Write>,
    headers: HeaderMap,
    Body(files): Body<Files, { limits::APPLY_BODY }>,
) -> Result<Json<Changed>, ApiError> {
    let dry = files.dry_run;
    let command = files.command(&to.place);
    if dry {
        return Ok(Json(Changed::planned(planned(&to.app, &command, &to.place, &to.grant.actor)?)));
    }
    let mut done = to.app.act(&command, &to.grant.actor, options(&headers)?).await?;
    let said = launchdarkly::remarks(&to.app.image().catalogue, &to.place, &done.answer.plan);
    done.answer.sentences.extend(said);
    Ok(Changed::of(done, Some(&to.place)))
}

/// What `apply` would do. Nothing changes.
#[utoipa::path(post, path = "/plan", tag = "documents", request_body = Files, responses((status = 200, body = Changed)))]
pub(super) async fn plan(
    to: To<Plan>,
    Body(files): Body<Files, { limits::APPLY_BODY }>,
) -> Result<Json<Changed>, ApiError> {
    Ok(Json(Changed::planned(planned(&to.app, &files.command(&to.place), &to.place, &to.grant.actor)?)))
}

/// What a command would do, with what there would be to say about it afterwards.
fn planned(app: &App, command: &Command, place: &Place, actor: &Actor) -> Result<Answer, ApiError> {
    let change = app.plan(command, actor)?;
    let mut after = app.image().catalogue.clone();
    after.apply(&change, &std::collections::BTreeMap::new());
    let said = launchdarkly::remarks(&after, place, &change.answer.plan);
    let mut answer = change.answer;
    answer.sentences.extend(said);
    Ok(answer)
}

/// What to export.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// `yaml` (the default) or `json`.
    format: Option<String>,
    /// Only this flag.
    #[param(value_type = Option<String>)]
    flag: Option<Key>,
    /// `launchdarkly`: the payload that LaunchDarkly's SDKs get in this environment, instead of documents.
    #[serde(rename = "as")]
    shape: Option<String>,
}

/// Documents that `apply` takes back as they are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Exported {
    files: Vec<File>,
}

/// The documents of the project: everything that files can say.
#[utoipa::path(get, path = "/export", tag = "documents", params(ExportQuery), responses((status = 200, body = Exported)))]
pub(super) async fn export(
    to: To<Read>,
    query: Result<Query<ExportQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Exported>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::new("bad_query", error.body_text()))?;
    let (format, ending) = match query.format.as_deref() {
        None | Some("yaml") => (ExportFormat::Yaml, "yaml"),
        Some("json") => (ExportFormat::Json, "json"),
        Some(other) => {
            return Err(ApiError::new("bad_query", format!("format is yaml or json, not \"{other}\".")));
        }
    };
    match query.shape.as_deref() {
        None => {}
        Some("launchdarkly") => return Ok(Json(Exported { files: vec![launchdarkly_file(&to)] })),
        Some(other) => {
            return Err(ApiError::new("bad_query", format!("as is launchdarkly, not \"{other}\".")));
        }
    }
    let image = to.app.image();
    let mut export = image.catalogue.export(&to.place.project);
    let mut name = to.place.project.to_string();
    if let Some(flag) = &query.flag {
        let document = image.catalogue.export_flag(&to.place.project, flag);
        export.documents = vec![document.ok_or_else(|| unknown_flag(&to.place, flag))?];
        name = flag.to_string();
    }
    let text = export.text(format);
    Ok(Json(Exported { files: vec![File { name: format!("{name}.{ending}"), text }] }))
}

fn launchdarkly_file(to: &To<Read>) -> File {
    let text = to.app.launchdarkly.of(&to.app, &to.state).data(&to.state.serving()).text();
    let payload: Value = serde_json::from_slice(&text).unwrap_or_default();
    let Place { project, environment } = &to.place;
    let name = format!("{project}.{environment}.launchdarkly.json");
    File { name, text: format!("{payload:#}\n") }
}

pub(super) fn unknown_flag(place: &Place, flag: &Key) -> ApiError {
    ApiError::new("unknown_flag", format!("Project \"{}\" has no flag \"{flag}\".", place.project))
        .next("ensign flag list")
}

/// A key to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// The key: letters, digits, `.`, `_`, `-`.
    key: String,
}

/// Every project that the key reaches.
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", responses((status = 200, body = Object)))]
pub(super) async fn projects(by: By<Read>) -> Json<Value> {
    let image = by.app.image();
    let all = image.projects().into_iter().filter(|project| by.grant.reaches_project(project));
    let all: Vec<Value> = all
        .map(|project| {
            let environments: Vec<Key> =
                image.environments(&project).into_iter().map(|place| place.environment).collect();
            json!({ "key": project, "environments": environments, "revision": image.revision(&project_scope(&project)) })
        })
        .collect();
    Json(json!({ "projects": all }))
}

/// Creates a project with `production` and `staging`; the answer has their credentials, once.
#[utoipa::path(post, path = "/api/v1/projects", tag = "projects", request_body = New, responses((status = 200, body = Changed)))]
pub(super) async fn new_project(
    by: By<Admin>,
    headers: HeaderMap,
    Body(new): Body<New>,
) -> Result<Json<Changed>, ApiError> {
    by.installation()?;
    let command = Command::CreateProject { project: auth::key(&new.key)? };
    Ok(Changed::of(by.app.act(&command, &by.grant.actor, options(&headers)?).await?, None))
}

/// The environments of a project.
#[utoipa::path(get, path = "/api/v1/projects/{project}/environments", tag = "projects", responses((status = 200, body = Object)))]
pub(super) async fn environments(by: By<Read>, Path(project): Path<Key>) -> Json<Value> {
    let image = by.app.image();
    let all = image.environments(&project).into_iter().filter(|place| by.grant.reaches(place));
    let all: Vec<Value> = all
        .map(|place| json!({ "key": place.environment, "revision": image.revision(&place_scope(&place)) }))
        .collect();
    Json(json!({ "environments": all }))
}

/// Creates an environment; the answer has its credentials, once.
#[utoipa::path(post, path = "/api/v1/projects/{project}/environments", tag = "projects", request_body = New,
    responses((status = 200, body = Changed)))]
pub(super) async fn new_environment(
    by: By<Admin>,
    Path(project): Path<Key>,
    headers: HeaderMap,
    Body(new): Body<New>,
) -> Result<Json<Changed>, ApiError> {
    by.whole_project()?;
    let place = Place { project, environment: auth::key(&new.key)? };
    let command = Command::CreateEnvironment { place: place.clone() };
    Ok(Changed::of(by.app.act(&command, &by.grant.actor, options(&headers)?).await?, Some(&place)))
}
