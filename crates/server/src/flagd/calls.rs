//! Who calls, and what they sent.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::Request;
use ensign_control::catalogue::KeyScope;
use ensign_protocol::flagd::selects;
use prost::Message;

use super::wire::{Code, Failed, unframed};
use crate::http::{auth, body};
use crate::serving::PlaceState;
use crate::{App, limits};

/// What a call needs of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Answers.
    Answers,
    /// Rules: server-side keys only.
    Rules,
}

/// The environment that the credential belongs to: a bearer token, or a key as the first label of the authority,
/// because most of flagd's providers cannot send a header.
pub(super) fn place(app: &App, request: &Request, wants: Wants) -> Result<Arc<PlaceState>, Failed> {
    let headers = request.headers();
    let authority = request.uri().authority().map(|authority| authority.host());
    let label = authority.and_then(|host| host.split('.').next()).filter(|label| label.starts_with("ens-"));
    let Some(token) = auth::token(headers).or(label.map(Cow::Borrowed)) else {
        let message =
            "send a key as `authorization: Bearer KEY`, or as the first label of the authority: KEY.ensign";
        return Err(Failed::new(Code::Unauthenticated, message));
    };
    let grant =
        app.grant(&token).ok_or_else(|| Failed::new(Code::Unauthenticated, "this key is not valid here"))?;
    if !grant.may(KeyScope::Read) || (wants == Wants::Rules && token.starts_with("ens-mob-")) {
        return Err(Failed::new(Code::PermissionDenied, "this key may not read that"));
    }
    let place = grant.place().ok_or_else(|| {
        Failed::new(
            Code::PermissionDenied,
            "use the SDK key of an environment: it says which flags are meant",
        )
    })?;
    let state = app
        .place(&place)
        .ok_or_else(|| Failed::new(Code::Unavailable, "the environment is not served yet"))?;
    if let Some(selector) = headers.get("flagd-selector") {
        selected(selector.to_str().unwrap_or("?"), &state)?;
    }
    Ok(state)
}

pub(super) fn selected(selector: &str, state: &PlaceState) -> Result<(), Failed> {
    selects(selector, &state.place.to_string()).map_err(|why| Failed::new(Code::InvalidArgument, why))
}

/// The request's message.
pub(super) async fn message<M: Message + Default>(request: Request) -> Result<M, Failed> {
    let body = body::read(request, limits::BODY)
        .await
        .map_err(|error| Failed::new(Code::ResourceExhausted, error.document.detail.clone()))?;
    unframed(&body)
}
