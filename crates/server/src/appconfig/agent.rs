//! The agent's local interface, answered by the server itself: documents and evaluated flags for whoever has a key of
//! the environment. `ensign agent` puts it on a port of the application's machine, where no key is asked for.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use ensign_control::catalogue::KeyScope;
use ensign_control::deployment::flags::Document;
use ensign_protocol::appconfig::query;
use serde_json::{Map, Value as Json, json};

use super::data::{self, Current};
use super::{Reply, respond};
use crate::http::auth;
use crate::{App, limits};

/// An error as the agent's clients show it.
fn failed(status: u16, message: impl Into<String>) -> Reply {
    Reply::json(status, &json!({ "Message": message.into() }))
}

/// `GET /applications/{}/environments/{}/configurations/{}` without a signature.
pub(super) fn serve(app: &App, request: &Request, names: &[String; 3]) -> Response {
    let reply = answer(app, request, names).unwrap_or_else(|failed| failed);
    respond(app, reply)
}

fn answer(app: &App, request: &Request, names: &[String; 3]) -> Result<Reply, Reply> {
    let headers = request.headers();
    let grant =
        auth::authenticate(app, headers).map_err(|error| failed(401, error.document.detail.clone()))?;
    auth::require(&grant, KeyScope::Read).map_err(|error| failed(403, error.document.detail.clone()))?;
    let names = names.each_ref().map(String::as_str);
    let directory = app.directory.load();
    let found = directory.find(|entry| grant.reaches(&entry.place), names);
    let (environment, profile) = found.map_err(|what| failed(404, format!("There is no such {what}.")))?;
    let state = app.place(&environment.place).ok_or_else(|| failed(502, "The environment is not served."))?;
    let entity = headers.get("entity-id").map(HeaderValue::as_bytes).filter(|id| !id.is_empty());
    if entity.is_some_and(|id| id.len() > 2_048) {
        return Err(failed(400, "An Entity-Id has at most 2 KB."));
    }
    let session = headers.get("ensign-session").map(HeaderValue::as_bytes);
    let target =
        entity.or(session).map_or_else(|| grant.id.clone(), |id| String::from_utf8_lossy(id).into_owned());
    if target.len() > limits::UNIT_KEY {
        return Err(failed(400, "A session's name has at most 1024 bytes here."));
    }
    let current = data::current(app, &state, &profile, &target)
        .ok_or_else(|| failed(404, "Nothing of this configuration profile is deployed there."))?;
    app.seen.note(&environment.id, &profile.profile.id, app.now());
    let context = context(headers)?;
    let raw = request.uri().query().unwrap_or_default();
    let wanted: Vec<String> = query(raw, "flag").collect();
    let (number, label, content_type, body) = match &current {
        Current::Version(version) => match &version.document {
            Some(document) => {
                let body = flags(document, &profile.profile.id, &wanted, &context)?;
                (version.number, version.label.clone(), "application/json", body.to_string().into())
            }
            None => {
                (version.number, version.label.clone(), version.content_type.as_str(), version.body.clone())
            }
        },
        Current::Changed(version, document, _) => {
            let body = flags(document, &profile.profile.id, &wanted, &context)?;
            (version.number, version.label.clone(), "application/json", body.to_string().into())
        }
        Current::Value(number, value) => (*number, None, "application/json", value.clone().into()),
    };
    let reply = Reply { status: 200, headers: Vec::new(), body: Body::from(body) };
    let reply = reply.header("content-type", content_type);
    let reply = reply.header("configuration-version", &number.to_string());
    Ok(match label {
        Some(label) => reply.header("version-label", &label),
        None => reply,
    })
}

/// One flag alone, or a map of those asked for; without any, of all.
fn flags(
    document: &Document,
    profile: &str,
    wanted: &[String],
    context: &[(String, String)],
) -> Result<Json, Reply> {
    let one = |key: &str| {
        document
            .evaluate(profile, key, context)
            .ok_or_else(|| failed(404, format!("There is no flag \"{key}\".")))
    };
    if let [only] = wanted {
        return one(only);
    }
    let mut all = Map::new();
    let keys: Vec<&str> = if wanted.is_empty() {
        document.keys().collect()
    } else {
        wanted.iter().map(String::as_str).collect()
    };
    for key in keys {
        all.insert(key.to_owned(), one(key)?);
    }
    Ok(Json::Object(all))
}

/// `Context: name=value`, repeated or divided by commas.
fn context(headers: &HeaderMap) -> Result<Vec<(String, String)>, Reply> {
    let mut all = Vec::new();
    for value in headers.get_all("context") {
        let text = String::from_utf8_lossy(value.as_bytes());
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(failed(
                    400,
                    format!("\"{}\" in a Context header is not name=value.", pair.trim()),
                ));
            };
            all.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    Ok(all)
}
