//! Keys as SDKs send them: bare, without a word in front.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ensign_control::catalogue::KeyScope;
use ensign_store::secrets::same;

use crate::App;
use crate::serving::PlaceState;

/// What mobile keys begin with. They are shipped in applications, so they open only client-side paths.
pub(super) const MOBILE: &str = "ens-mob-";

/// The key of a request: bare, or as a bearer for whoever tries it by hand.
pub(super) fn key(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let key = text.strip_prefix("Bearer ").or_else(|| text.strip_prefix("bearer ")).unwrap_or(text);
    Some(key.trim()).filter(|key| !key.is_empty())
}

/// The environment of a key, whichever kind it is. `None`: the key is unknown, revoked, or of no environment.
pub(super) fn place(app: &App, key: &str) -> Option<Arc<PlaceState>> {
    let grant = app.grant(key)?;
    if !grant.may(KeyScope::Read) {
        return None;
    }
    app.place(&grant.place()?)
}

/// The environment of a server-side SDK. Everything else is 401.
pub(super) fn server_side(app: &App, headers: &HeaderMap) -> Result<Arc<PlaceState>, Refused> {
    let key = key(headers).filter(|key| !key.starts_with(MOBILE)).ok_or(Refused)?;
    place(app, key).ok_or(Refused)
}

/// 401 with an empty body.
pub(super) struct Refused;

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

/// The environment of an SDK key or a mobile key.
pub(super) fn either(app: &App, headers: &HeaderMap) -> Result<Arc<PlaceState>, Refused> {
    place(app, key(headers).ok_or(Refused)?).ok_or(Refused)
}

/// The environment of a client-side ID. `None`: there is no such ID.
pub(super) fn named(app: &App, client_id: &str) -> Option<Arc<PlaceState>> {
    let places = app.places();
    let is = |state: &&Arc<PlaceState>| same(state.client_keys.client_id.as_bytes(), client_id.as_bytes());
    places.values().find(is).cloned()
}
