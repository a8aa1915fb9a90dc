//! Alarms from outside: Prometheus Alertmanager, CloudWatch through SNS, and whoever signs what it sends.
//!
//! A request is believed by a key with the scope `kill`, or by its signature. No address that a message names is asked
//! unless its origin is allowed in the settings.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::routing::post;
use ensign_control::catalogue::{Actor, Command, KeyScope, Record, RecordKind};
use ensign_control::deployment::Ask;
use ensign_control::ids::{Key, Place};
use ensign_protocol::appconfig::alarm::{self, Report, Sns};
use ensign_store::secrets::same;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::{auth, body};
use crate::image::place_scope;
use crate::keys::{Grant, from_hex, hex, new_token};
use crate::{ApiError, App, Options, limits, webhooks};

/// How old a signature may be, in seconds.
const WINDOW: i64 = 300;

type Answered = Result<Json<Value>, ApiError>;

/// Where alarms are reported, and where their sources and AWS keys are made.
pub(super) fn routes() -> Router<Arc<App>> {
    const PLACE: &str = "/api/v1/projects/{project}/environments/{environment}";
    Router::new()
        .route(&format!("{PLACE}/alarms/alertmanager"), post(alertmanager))
        .route(&format!("{PLACE}/alarms/sns"), post(sns))
        .route(&format!("{PLACE}/alarms/signed/{{source}}"), post(signed))
        .route(&format!("{PLACE}/alarm-sources"), post(new_source))
        .route(&format!("{PLACE}/aws-keys"), post(new_pair))
        .route("/api/v1/projects/{project}/aws-keys", post(new_project_pair))
}

fn place(app: &App, path: &(String, String)) -> Result<Place, ApiError> {
    let place = Place { project: auth::key(&path.0)?, environment: auth::key(&path.1)? };
    match app.place(&place) {
        Some(_) => Ok(place),
        None => Err(ApiError::new("unknown_environment", format!("There is no environment {place}."))),
    }
}

/// Who asks, also as the password of basic authentication, which is all that SNS can send.
fn granted(app: &App, headers: &HeaderMap, place: &Place, scope: KeyScope) -> Result<Grant, ApiError> {
    let basic = headers.get("authorization").and_then(|value| value.to_str().ok()).and_then(alarm::password);
    let grant = match basic {
        Some(password) => app
            .grant(&password)
            .ok_or_else(|| ApiError::new("unauthenticated", "This key is not valid here."))?,
        None => auth::authenticate(app, headers)?,
    };
    auth::require(&grant, scope)?;
    if grant.reaches(place) {
        return Ok(grant);
    }
    Err(ApiError::new("forbidden", "The key belongs to another project or environment."))
}

async fn report(app: &App, place: &Place, reports: Vec<Report>, source: &str, actor: &Actor) -> Answered {
    let mut sentences = Vec::new();
    for Report { name, firing, reason } in reports {
        let ask = Ask::Alarm {
            place: place.clone(),
            name,
            firing,
            reason: reason.clone(),
            source: source.to_owned(),
        };
        let command = Command::Deploy { ask: Box::new(ask), reason };
        let done = app.act(&command, actor, Options::default()).await?;
        sentences.extend(done.answer.sentences);
    }
    Ok(Json(json!({ "sentences": sentences })))
}

fn unreadable(why: String) -> ApiError {
    ApiError::new("invalid", why)
}

async fn alertmanager(
    State(app): State<Arc<App>>,
    Path(path): Path<(String, String)>,
    request: Request,
) -> Answered {
    let place = place(&app, &path)?;
    let grant = granted(&app, request.headers(), &place, KeyScope::Kill)?;
    let bytes = body::read(request, limits::BODY).await?;
    let reports = alarm::alertmanager(&bytes).map_err(unreadable)?;
    report(&app, &place, reports, "alertmanager", &grant.actor).await
}

async fn sns(State(app): State<Arc<App>>, Path(path): Path<(String, String)>, request: Request) -> Answered {
    let place = place(&app, &path)?;
    let grant = granted(&app, request.headers(), &place, KeyScope::Kill)?;
    let bytes = body::read(request, limits::BODY).await?;
    match alarm::sns(&bytes).map_err(unreadable)? {
        Sns::Alarm(reported) => {
            report(&app, &place, reported.into_iter().collect(), "sns", &grant.actor).await
        }
        Sns::Confirm(url) => confirm(&app, &url).await,
        Sns::Other => Ok(Json(json!({ "sentences": ["Nothing follows from this message."] }))),
    }
}

/// Confirms a subscription, if its address is of an allowed origin. Redirects are not followed.
async fn confirm(app: &App, url: &str) -> Answered {
    let origin = reqwest::Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    if !app.confirm.iter().any(|allowed| allowed.trim_end_matches('/') == origin) {
        tracing::warn!(origin, "a subscription is not confirmed: its origin is not allowed");
        return Err(ApiError::new(
            "forbidden",
            format!(
                "Addresses of {origin} are not asked; allow them with --confirm-origin {origin}, or confirm by hand."
            ),
        ));
    }
    let client = webhooks::client().map_err(|_| ApiError::new("internal", "There is no HTTP client."))?;
    match client.get(url).send().await {
        Ok(answer) if answer.status().is_success() => {
            Ok(Json(json!({ "sentences": ["The subscription is confirmed."] })))
        }
        Ok(answer) => Err(ApiError::new("refused", format!("The address answered {}.", answer.status()))),
        Err(error) => {
            Err(ApiError::new("refused", format!("The address did not answer: {}.", error.without_url())))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSource {
    name: String,
}

fn source_key(name: &str) -> String {
    format!("alarm_source.{name}")
}

fn seal_context(place: &Place, name: &str) -> String {
    format!("{}/{}/{}", source_key(name), place.project, place.environment)
}

/// Makes a source of alarms, whose secret is shown once.
async fn new_source(
    State(app): State<Arc<App>>,
    Path(path): Path<(String, String)>,
    request: Request,
) -> Answered {
    let place = place(&app, &path)?;
    let grant = granted(&app, request.headers(), &place, KeyScope::Admin)?;
    let bytes = body::read(request, limits::BODY).await?;
    let NewSource { name } = body::parse(&bytes)?;
    let name: Key = auth::key(&name)?;
    let secret = new_token("ens-als")?;
    let sealed = app.secret.seal(&seal_context(&place, name.as_str()), secret.as_bytes())?;
    let scope = (place.project.clone(), Some(place.environment.clone()));
    keep(&app, scope, source_key(name.as_str()), &sealed, &grant.actor).await?;
    let url =
        format!("/api/v1/projects/{}/environments/{}/alarms/signed/{name}", place.project, place.environment);
    Ok(Json(json!({ "name": name, "url": url, "secret": secret })))
}

async fn keep(
    app: &App,
    (project, environment): (Key, Option<Key>),
    key: String,
    sealed: &[u8],
    actor: &Actor,
) -> Result<(), ApiError> {
    let body = json!({ "sealed": hex(sealed) });
    let record = Record { project: Some(project), environment, kind: RecordKind::Secret, key, body };
    app.act(&Command::PutRecord { record, reason: None }, actor, Options::default()).await?;
    Ok(())
}

/// A new AWS key pair, shown once; the pair before is not valid any more.
async fn pair(app: &App, scope: (Key, Option<Key>), actor: &Actor) -> Answered {
    let (id, plain) = crate::keys::aws_pair()?;
    let context = format!("aws/{}/{}", scope.0, scope.1.as_ref().map_or("", Key::as_str));
    let sealed = app.secret.seal(&context, format!("{id}\n{plain}").as_bytes())?;
    keep(app, scope, "aws".to_owned(), &sealed, actor).await?;
    Ok(Json(json!({ "aws_access_key_id": id, "aws_secret_access_key": plain })))
}

/// The pair that reads an environment's configurations.
async fn new_pair(
    State(app): State<Arc<App>>,
    Path(path): Path<(String, String)>,
    request: Request,
) -> Answered {
    let place = place(&app, &path)?;
    let grant = granted(&app, request.headers(), &place, KeyScope::Admin)?;
    pair(&app, (place.project, Some(place.environment)), &grant.actor).await
}

/// The pair that manages a project's applications.
async fn new_project_pair(
    State(app): State<Arc<App>>,
    Path(project): Path<String>,
    request: Request,
) -> Answered {
    let project = auth::key(&project)?;
    let grant = auth::authenticate(&app, request.headers())?;
    auth::require(&grant, KeyScope::Admin)?;
    if !grant.reaches_project(&project) || grant.environment.is_some() {
        return Err(ApiError::new("forbidden", "The key belongs to another project or environment."));
    }
    pair(&app, (project, None), &grant.actor).await
}

/// `{"alarm": …, "state": "ALARM" | "OK", "reason": …}` with a signature like that of our own notices.
async fn signed(
    State(app): State<Arc<App>>,
    Path((project, environment, source)): Path<(String, String, String)>,
    request: Request,
) -> Answered {
    let place = place(&app, &(project, environment))?;
    let refused = || ApiError::new("unauthenticated", "The signature is not that of this source.");
    let header =
        request.headers().get("ensign-signature").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bytes = body::read(request, limits::BODY).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refused())?;
    let header = header.ok_or_else(refused)?;
    let at = header.split(',').find_map(|part| part.trim().strip_prefix("t=")?.parse::<i64>().ok());
    let at = at.ok_or_else(refused)?;
    let secret = {
        let image = app.image();
        let stored = image.item(&place_scope(&place), RecordKind::Secret.word(), &source_key(&source));
        let sealed = stored.and_then(|stored| from_hex(stored.body.get("sealed")?.as_str()?));
        sealed.and_then(|sealed| app.secret.open(&seal_context(&place, &source), &sealed))
    };
    let secret = secret.ok_or_else(refused)?;
    let expected = webhooks::signature(&secret, at, text);
    let fresh = (app.now().0.div_euclid(1_000_000) - at).abs() <= WINDOW;
    if !same(expected.as_bytes(), header.as_bytes()) || !fresh {
        return Err(refused());
    }
    let reports = alarm::plain(&bytes).map_err(unreadable)?;
    report(&app, &place, vec![reports], &source, &Actor::new(format!("alarm source {source}"))).await
}
