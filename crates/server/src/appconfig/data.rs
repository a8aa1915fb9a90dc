//! The data plane: a session is opened, and polled with the token of the answer before.
//!
//! The answer to a poll follows from its token alone, so a repeated poll gets it again, from this server or another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use bytes::Bytes;
use ensign_control::deployment::flags::Document;
use ensign_control::deployment::{NOTHING, ProfileKind, UNIT};
use ensign_eval::model::Value;
use ensign_eval::{ContextBuf, Silent};
use ensign_protocol::appconfig::token::{self, Bad, Session, pad, unpad};
use ensign_protocol::appconfig::{AwsError, Kind, query, wire};
use ensign_store::secrets::random;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::directory::{EnvironmentEntry, ProfileEntry, Served};
use super::{Caller, Reply};
use crate::App;
use crate::evaluation::Answer;
use crate::serving::{PlaceState, Serving};

/// What a session is told to wait between polls where it asked for nothing, in seconds.
const POLL: u32 = 60;
/// How much too early a poll may be, in microseconds.
const JITTER: i64 = 1_000_000;

fn sees(caller: &Caller, entry: &EnvironmentEntry) -> bool {
    match caller {
        Caller::Account(account) => entry.application.account == *account,
        Caller::Place(place) => entry.place == *place,
    }
}

fn unresolved(what: &str, names: [&str; 3]) -> AwsError {
    let [application, environment, profile] = names;
    let all = [
        ("ApplicationIdentifier", application),
        ("EnvironmentIdentifier", environment),
        ("ConfigurationProfileIdentifier", profile),
    ];
    let referenced: Vec<(&str, &str)> = match what {
        "Configuration" => all.to_vec(),
        _ => all.into_iter().filter(|(name, _)| name.starts_with(what)).collect(),
    };
    AwsError::unresolved(what, &referenced)
}

/// `POST /configurationsessions`.
pub(super) fn open(
    app: &App,
    caller: &Caller,
    key_id: &str,
    app_name: Option<&str>,
    body: &[u8],
) -> Result<Reply, AwsError> {
    let body = wire::Body::read(body)?;
    let names = [
        body.need("ApplicationIdentifier", 128)?,
        body.need("EnvironmentIdentifier", 128)?,
        body.need("ConfigurationProfileIdentifier", 128)?,
    ];
    let names = names.each_ref().map(String::as_str);
    let interval = body.whole("RequiredMinimumPollIntervalInSeconds", 15..=86_400)?.unwrap_or(0);
    let directory = app.directory.load();
    let (environment, profile) = directory
        .find(|entry| sees(caller, entry), names)
        .map_err(|what| refuse(caller, app, what, names))?;
    let id = if environment.by_credential {
        let digest =
            Sha256::new().chain_update(key_id).chain_update([0]).chain_update(app_name.unwrap_or_default());
        let digest = digest.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        half
    } else {
        random::<16>().map_err(|_| AwsError::new(Kind::Internal, "The system has no random bytes."))?
    };
    let now = app.now().0;
    let session = Session {
        id: u128::from_be_bytes(id),
        application: pad(&environment.application.id),
        environment: pad(&environment.id),
        profile: pad(&profile.profile.id),
        interval,
        version: 0,
        issued: now,
        not_before: 0,
        nonce: nonce(),
    };
    let state = place(app, &environment)?;
    let token = sign(&state, &session)?;
    Ok(Reply::json(201, &json!({ "InitialConfigurationToken": token })))
}

/// A data key that names another place learns only that it may not; what is there is none of its business.
fn refuse(caller: &Caller, app: &App, what: &str, names: [&str; 3]) -> AwsError {
    let elsewhere = app.directory.load().find(|_| true, names).is_ok();
    match caller {
        Caller::Place(own) if elsewhere => AwsError::new(
            Kind::AccessDenied,
            format!("AccessDenied: this key reads the configurations of environment {own} only."),
        ),
        Caller::Place(_) | Caller::Account(_) => unresolved(what, names),
    }
}

/// Makes no two tokens equal; it need not be hard to guess, because tokens are signed.
fn nonce() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

fn place(app: &App, environment: &EnvironmentEntry) -> Result<Arc<PlaceState>, AwsError> {
    app.place(&environment.place)
        .ok_or_else(|| AwsError::new(Kind::Internal, "The environment is not served."))
}

fn sign(state: &PlaceState, session: &Session) -> Result<String, AwsError> {
    let key = state.keys.tokens.first();
    let key = key.ok_or_else(|| AwsError::new(Kind::Internal, "The environment has no key to sign with."))?;
    Ok(token::encode(session, key.id, &key.secret))
}

/// What a session has now.
pub(super) enum Current {
    /// A version.
    Version(Arc<Served>),
    /// A version of which some flags have other values here: one is killed, off or pinned.
    Changed(Arc<Served>, Box<Document>, String),
    /// A variant that came from Ensign's side: its value, under a number that no version has.
    Value(u32, String),
}

impl Current {
    fn number(&self) -> u32 {
        match self {
            Self::Version(version) => version.number,
            // Any number that no version has, and another for other values: the session polls it anew.
            Self::Changed(_, _, text) => {
                0x8000_0000 | (xxhash_rust::xxh3::xxh3_64(text.as_bytes()) as u32 >> 1)
            }
            Self::Value(number, _) => *number,
        }
    }
}

/// What a target has now, by the evaluator; none while nothing is deployed.
pub(super) fn current(
    app: &App,
    state: &PlaceState,
    profile: &ProfileEntry,
    target: &str,
) -> Option<Current> {
    let context = ContextBuf::of_kind(UNIT, target);
    let serving = state.serving();
    let answer = Answer::of(&serving, profile.profile.flag.as_str(), &context, &mut Silent)?;
    let name = answer.variant().filter(|name| *name != NOTHING)?;
    answer.expose(app, state, app.now());
    if let Some(version) = profile.versions.get(name) {
        let version = Arc::clone(version);
        return Some(match changed(&serving, profile, &version, &context) {
            Some(document) => {
                let (_, text) = document.served();
                Current::Changed(version, Box::new(document), text)
            }
            None => Current::Version(version),
        });
    }
    let index = u32::from(answer.evaluation.variant?);
    let value = answer.flag.variants.get(index as usize)?.value.to_json().to_string();
    Some(Current::Value(1_000_000 + index, value))
}

/// The document with what its flags, as flags of their own, serve to this target; none where that is what it says.
fn changed(
    serving: &Serving,
    profile: &ProfileEntry,
    version: &Served,
    context: &ContextBuf,
) -> Option<Document> {
    let original = version.document.as_ref()?;
    let mut document: Option<Document> = None;
    for key in original.keys() {
        let flag = format!("{}.{key}", profile.profile.flag);
        let Some(answer) = Answer::of(serving, &flag, context, &mut Silent) else { continue };
        let Some(variant) =
            answer.evaluation.variant.and_then(|at| answer.flag.variants.get(usize::from(at)))
        else {
            continue;
        };
        let same =
            matches!((&variant.value, original.raw(key)), (Value::Json(value), Some(raw)) if value == raw);
        if !same {
            let value = variant.value.to_json();
            let there = (variant.name != NOTHING).then_some(&value);
            document = Some(document.unwrap_or_else(|| original.clone()).with(key, there));
        }
    }
    document
}

/// `GET /configuration`.
pub(super) fn poll(app: &App, caller: &Caller, raw: &str) -> Result<Reply, AwsError> {
    let corrupted = || AwsError::token("Corrupted", "The configuration token cannot be read.");
    let text = query(raw, "configuration_token")
        .next()
        .ok_or_else(|| AwsError::bad("configuration_token is required."))?;
    let directory = app.directory.load();
    let named = token::environment(&text).ok_or_else(corrupted)?;
    let Some(environment) = directory.environment(&named) else {
        return Err(AwsError::unresolved("Environment", &[("EnvironmentIdentifier", unpad(&named))]));
    };
    let state = place(app, environment)?;
    let now = app.now();
    let keys = state.keys.tokens.iter().map(|key| (key.id, &key.secret));
    let session = token::decode(&text, keys, now.0).map_err(|bad| match bad {
        Bad::Corrupted => corrupted(),
        Bad::Expired => AwsError::token("Expired", "The configuration token has expired."),
    })?;
    if !sees(caller, environment) {
        return Err(AwsError::new(
            Kind::AccessDenied,
            "AccessDenied: this key may not read that configuration.",
        ));
    }
    if now.0 < session.not_before {
        return Err(AwsError::token("PollIntervalNotSatisfied", "Request too early"));
    }
    let ids = [&session.application, &session.environment, &session.profile].map(unpad);
    let profile = environment.profile(ids[2]).ok_or_else(|| unresolved("ConfigurationProfile", ids))?;
    let target = format!("{:032x}", session.id);
    let current = current(app, &state, profile, &target).ok_or_else(|| unresolved("Configuration", ids))?;
    app.seen.note(ids[1], ids[2], now);
    let interval = if session.interval == 0 { POLL } else { session.interval };
    let enforced = i64::from(session.interval) * 1_000_000;
    let next = Session {
        version: current.number(),
        issued: now.0,
        not_before: if enforced == 0 { 0 } else { now.0 + enforced - JITTER },
        nonce: nonce(),
        ..session
    };
    let token = sign(&state, &next)?;
    let reply = if current.number() == session.version {
        Reply::empty(200).header("content-type", "application/octet-stream")
    } else {
        document(&current).header("ensign-session", &target)
    };
    let reply = reply.header("next-poll-configuration-token", &token);
    Ok(reply.header("next-poll-interval-in-seconds", &interval.to_string()))
}

fn document(current: &Current) -> Reply {
    match current {
        Current::Version(version) => {
            let reply = Reply { status: 200, headers: Vec::new(), body: Body::from(version.body.clone()) };
            let reply = reply.header("content-type", &version.content_type);
            match &version.label {
                Some(label) => reply.header("version-label", label),
                None => reply,
            }
        }
        Current::Changed(version, document, text) => {
            let reply = Reply { status: 200, headers: Vec::new(), body: Body::from(text.clone()) };
            let reply = reply.header("content-type", document.served().0);
            match &version.label {
                Some(label) => reply.header("version-label", label),
                None => reply,
            }
        }
        Current::Value(_, value) => {
            let reply =
                Reply { status: 200, headers: Vec::new(), body: Body::from(Bytes::from(value.clone())) };
            reply.header("content-type", "application/json")
        }
    }
}

/// `GET /applications/{}/environments/{}/configurations/{}` with a signature: the old way, by a name that the client
/// gives itself.
pub(super) fn deprecated(
    app: &App,
    caller: &Caller,
    names: &[String; 3],
    raw: &str,
) -> Result<Reply, AwsError> {
    let names = names.each_ref().map(String::as_str);
    let directory = app.directory.load();
    let gone = |what: &str| {
        AwsError::new(Kind::NotFound, format!("Could not find {what} for account 000000000000"))
            .with("ResourceName", what)
    };
    let (environment, profile) = directory.find(|entry| sees(caller, entry), names).map_err(gone)?;
    if profile.profile.kind == ProfileKind::Flags {
        return Err(AwsError::bad("GetConfiguration is not available for feature flags; open a session."));
    }
    let client = query(raw, "client_id").next().filter(|id| (1..=64).contains(&id.chars().count()));
    let client = client.ok_or_else(|| AwsError::bad("client_id is required and has 1 to 64 characters."))?;
    let state = place(app, &environment)?;
    let current = current(app, &state, &profile, &client).ok_or_else(|| gone("Configuration"))?;
    app.seen.note(&environment.id, &profile.profile.id, app.now());
    let number = current.number().to_string();
    let known = query(raw, "client_configuration_version").next();
    let reply =
        if known.as_deref() == Some(number.as_str()) { Reply::empty(204) } else { document(&current) };
    Ok(reply.header("configuration-version", &number))
}
