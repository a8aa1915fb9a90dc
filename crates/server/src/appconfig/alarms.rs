//! Alarms from outside: Prometheus Alertmanager, CloudWatch through SNS, and whoever signs what it sends.
//!
//! A request is believed by a key with the scope `kill`, or by its signature. No address that a message names is asked
//! unless its origin is allowed in the settings.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use ensign_control::catalogue::{Actor, Command, Record, RecordKind};
use ensign_control::deployment::Ask;
use ensign_control::ids::{Key, Place};
use ensign_protocol::appconfig::alarm::{self, Report, Sns};
use ensign_store::secrets::same;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::http::auth::{self, Admin, By, Kill, To};
use crate::http::body::{self, Body};
use crate::image::place_scope;
use crate::keys::{from_hex, hex, new_token};
use crate::{ApiError, App, Options, limits, webhooks};

/// How old a signature may be, in seconds.
const WINDOW: i64 = 300;

type Answered = Result<Json<Value>, ApiError>;

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

/// Takes a notification of Prometheus Alertmanager's webhook.
#[utoipa::path(post, path = "/alarms/alertmanager", tag = "alarms", request_body = Object,
    responses((status = 200, body = Object)))]
pub(crate) async fn alertmanager(to: To<Kill>, request: Request) -> Answered {
    let bytes = body::read(request, limits::BODY).await?;
    let reports = alarm::alertmanager(&bytes).map_err(unreadable)?;
    report(&to.app, &to.place, reports, "alertmanager", &to.grant.actor).await
}

/// Takes a CloudWatch alarm through SNS, or the question whether to subscribe. SNS sends the key as the password of
/// basic authentication.
#[utoipa::path(post, path = "/alarms/sns", tag = "alarms", request_body = Object,
    responses((status = 200, body = Object)))]
pub(crate) async fn sns(to: To<Kill>, request: Request) -> Answered {
    let bytes = body::read(request, limits::BODY).await?;
    match alarm::sns(&bytes).map_err(unreadable)? {
        Sns::Alarm(reported) => {
            report(&to.app, &to.place, reported.into_iter().collect(), "sns", &to.grant.actor).await
        }
        Sns::Confirm(url) => confirm(&to.app, &url).await,
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

/// A sender of alarms.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSource {
    /// Its name, in the address that it sends to.
    name: String,
}

fn source_key(name: &str) -> String {
    format!("alarm_source.{name}")
}

fn seal_context(place: &Place, name: &str) -> String {
    format!("{}/{}/{}", source_key(name), place.project, place.environment)
}

/// Makes a source of alarms, whose secret is shown once.
#[utoipa::path(post, path = "/alarm-sources", tag = "alarms", request_body = NewSource,
    responses((status = 200, body = Object)))]
pub(crate) async fn new_source(to: To<Admin>, Body(NewSource { name }): Body<NewSource>) -> Answered {
    let To { app, grant, place, .. } = to;
    let name: Key = auth::key(&name)?;
    let secret = new_token("ens-als")?;
    let sealed = app.secret.seal(&seal_context(&place, name.as_str()), secret.as_bytes())?;
    let scope = (place.project.clone(), Some(place.environment.clone()));
    keep(&app, scope, source_key(name.as_str()), &sealed, &grant.actor).await?;
    let url =
        format!("/api/v1/projects/{}/environments/{}/alarms/signed/{name}", place.project, place.environment);
    let sentence = format!("Alarms of \"{name}\" are taken at this address, signed with the secret.");
    Ok(Json(json!({ "name": name, "url": url, "secret": secret, "sentences": [sentence] })))
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
    let sentence = match &scope.1 {
        Some(environment) => {
            format!("This pair reads the configurations of {}/{environment} from now on.", scope.0)
        }
        None => format!("This pair manages the applications of project {} from now on.", scope.0),
    };
    let context = format!("aws/{}/{}", scope.0, scope.1.as_ref().map_or("", Key::as_str));
    let sealed = app.secret.seal(&context, format!("{id}\n{plain}").as_bytes())?;
    keep(app, scope, "aws".to_owned(), &sealed, actor).await?;
    let sentences = [sentence, "The pair before is not valid any more.".to_owned()];
    Ok(Json(json!({ "aws_access_key_id": id, "aws_secret_access_key": plain, "sentences": sentences })))
}

/// Makes a new AWS key pair that reads an environment's configurations, shown once; the one before ends.
#[utoipa::path(post, path = "/aws-keys", tag = "keys", responses((status = 200, body = Object)))]
pub(crate) async fn new_pair(to: To<Admin>) -> Answered {
    pair(&to.app, (to.place.project, Some(to.place.environment)), &to.grant.actor).await
}

/// Makes a new AWS key pair that manages a project's applications, shown once; the one before ends.
#[utoipa::path(post, path = "/api/v1/projects/{project}/aws-keys", tag = "keys",
    responses((status = 200, body = Object)))]
pub(crate) async fn new_project_pair(by: By<Admin>, Path(project): Path<Key>) -> Answered {
    by.whole_project()?;
    pair(&by.app, (project, None), &by.grant.actor).await
}

/// Takes an alarm from a source, whose signature is made like that of our own notices:
/// `{"alarm": …, "state": "ALARM" | "OK", "reason": …}`.
#[utoipa::path(post, path = "/alarms/signed/{source}", tag = "alarms", request_body = Object, security(()),
    responses((status = 200, body = Object)))]
pub(crate) async fn signed(
    State(app): State<Arc<App>>,
    Path((project, environment, source)): Path<(String, String, String)>,
    request: Request,
) -> Answered {
    let place = Place { project: auth::key(&project)?, environment: auth::key(&environment)? };
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
