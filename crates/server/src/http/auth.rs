//! Who may ask: every route names the scope it needs in its arguments, so that none can forget to ask.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use data_encoding::BASE64;
use ensign_control::catalogue::KeyScope;
use ensign_control::ids::{Key, Place};

use crate::keys::Grant;
use crate::serving::PlaceState;
use crate::{ApiError, App};

/// A scope as a type.
pub(crate) trait Need: Send + Sync {
    const SCOPE: KeyScope;
}

macro_rules! needs {
    ($($name:ident),*) => {$(
        pub(crate) struct $name;
        impl Need for $name {
            const SCOPE: KeyScope = KeyScope::$name;
        }
    )*};
}
needs!(Read, Plan, Write, Approve, Kill, Admin);

/// A bearer with a scope, for routes of the installation or of a whole project.
pub(crate) struct By<N> {
    pub(crate) app: Arc<App>,
    pub(crate) grant: Grant,
    need: PhantomData<N>,
}

/// A bearer with a scope in the environment of the path, which exists.
pub(crate) struct To<N> {
    pub(crate) app: Arc<App>,
    pub(crate) grant: Grant,
    pub(crate) place: Place,
    pub(crate) state: Arc<PlaceState>,
    need: PhantomData<N>,
}

/// The key of a request, from either header. The password of basic authentication is one too: some senders of
/// webhooks can say nothing else.
pub(crate) fn token(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = authorization.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        match scheme {
            _ if scheme.eq_ignore_ascii_case("bearer") => Some(Cow::Borrowed(token.trim())),
            _ if scheme.eq_ignore_ascii_case("basic") => password(token.trim()).map(Cow::Owned),
            _ => None,
        }
    });
    given.or_else(|| headers.get("x-api-key")?.to_str().ok().map(|key| Cow::Borrowed(key.trim())))
}

fn password(credentials: &str) -> Option<String> {
    let text = String::from_utf8(BASE64.decode(credentials.as_bytes()).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// Who it is. Unknown, expired and revoked look the same.
pub(crate) fn authenticate(app: &App, headers: &HeaderMap) -> Result<Grant, ApiError> {
    let Some(token) = token(headers) else {
        return Err(ApiError::new(
            "unauthenticated",
            "Send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
        ));
    };
    app.grant(&token).ok_or_else(|| ApiError::new("unauthenticated", "This key is not valid here."))
}

pub(crate) fn require(grant: &Grant, scope: KeyScope) -> Result<(), ApiError> {
    if grant.may(scope) {
        return Ok(());
    }
    let word = scope_word(scope);
    let detail = format!("The key \"{}\" lacks the scope \"{word}\".", grant.actor.name);
    Err(ApiError::new("forbidden", detail).next(format!("ensign keys create NAME --scopes {word}")))
}

/// The word of a scope.
pub(crate) fn scope_word(scope: KeyScope) -> &'static str {
    match scope {
        KeyScope::Read => "read",
        KeyScope::Ingest => "ingest",
        KeyScope::Plan => "plan",
        KeyScope::Write => "write",
        KeyScope::Approve => "approve",
        KeyScope::Kill => "kill",
        KeyScope::Admin => "admin",
    }
}

fn elsewhere(grant: &Grant) -> ApiError {
    let detail = format!("The key \"{}\" belongs to another project or environment.", grant.actor.name);
    ApiError::new("forbidden", detail)
}

/// A key out of a path.
pub(crate) fn key(text: &str) -> Result<Key, ApiError> {
    text.parse().map_err(|bad| ApiError::new("bad_key", format!("\"{text}\": {bad}.")))
}

async fn param(parts: &mut Parts, app: &Arc<App>, name: &str) -> Result<Option<Key>, ApiError> {
    let params = RawPathParams::from_request_parts(parts, app)
        .await
        .map_err(|_| ApiError::new("bad_key", "The path has bytes that are not UTF-8."))?;
    params.iter().find(|(known, _)| *known == name).map(|(_, text)| key(text)).transpose()
}

impl<N: Need> FromRequestParts<Arc<App>> for By<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let grant = authenticate(app, &parts.headers)?;
        require(&grant, N::SCOPE)?;
        if let Some(project) = param(parts, app, "project").await? {
            if !grant.reaches_project(&project) {
                return Err(elsewhere(&grant));
            }
            if !app.image().projects().contains(&project) {
                return Err(ApiError::new("unknown_project", format!("There is no project \"{project}\".")));
            }
        }
        Ok(Self { app: Arc::clone(app), grant, need: PhantomData })
    }
}

impl<N> By<N> {
    /// Only keys of the whole installation.
    pub(crate) fn installation(&self) -> Result<(), ApiError> {
        if self.grant.project.is_none() { Ok(()) } else { Err(elsewhere(&self.grant)) }
    }

    /// Only keys of the whole project.
    pub(crate) fn whole_project(&self) -> Result<(), ApiError> {
        if self.grant.environment.is_none() { Ok(()) } else { Err(elsewhere(&self.grant)) }
    }
}

/// The part of an environment's path behind the environment.
pub(crate) struct Name(pub(crate) String);

/// The two parts of an environment's path behind the environment.
pub(crate) struct Names(pub(crate) [String; 2]);

async fn names<const N: usize>(parts: &mut Parts, app: &Arc<App>) -> Result<[String; N], ApiError> {
    let params = RawPathParams::from_request_parts(parts, app)
        .await
        .map_err(|_| ApiError::new("bad_key", "The path has bytes that are not UTF-8."))?;
    let own = params.iter().filter(|(name, _)| !matches!(*name, "project" | "environment"));
    let own: Vec<String> = own.map(|(_, text)| text.to_owned()).collect();
    own.try_into().map_err(|_| ApiError::not_found("There is nothing under this path."))
}

impl FromRequestParts<Arc<App>> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let [name] = names(parts, app).await?;
        Ok(Self(name))
    }
}

impl FromRequestParts<Arc<App>> for Names {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        Ok(Self(names(parts, app).await?))
    }
}

impl<N: Need> FromRequestParts<Arc<App>> for To<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let By { grant, .. } = By::<N>::from_request_parts(parts, app).await?;
        let (project, environment) =
            (param(parts, app, "project").await?, param(parts, app, "environment").await?);
        let (Some(project), Some(environment)) = (project, environment) else {
            return Err(ApiError::not_found("The path names no environment."));
        };
        let place = Place { project, environment };
        if !grant.reaches(&place) {
            return Err(elsewhere(&grant));
        }
        let Some(state) = app.place(&place) else {
            let Place { project, environment } = &place;
            let detail = format!("Project \"{project}\" has no environment \"{environment}\".");
            return Err(ApiError::new("unknown_environment", detail));
        };
        Ok(Self { app: Arc::clone(app), grant, place, state, need: PhantomData })
    }
}
