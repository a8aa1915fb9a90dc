//! The agent: on an application's own machine, with a key of its own, so that the application needs none; and with the
//! last good answers on disk for when the server is away.
//!
//! Every request goes to the server, so flags change at once. Absent on purpose: evaluation; an answer kept for later
//! is one that the server gave.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ensign_store::secrets::{random, same};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use crate::keys::hex;
use crate::{StartError, Tasks};

/// How long the server may take, as the AWS agent has it.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How many answers are kept.
const KEPT: usize = 10_000;
/// Headers of an answer that are passed on.
const PASSED: [&str; 3] = ["content-type", "configuration-version", "version-label"];

/// What an agent needs to know.
pub struct Settings {
    /// Where applications ask.
    pub listen: SocketAddr,
    /// The server's address.
    pub upstream: String,
    /// A key with the scope `read`, such as an environment's SDK key.
    pub key: String,
    /// Where the last good answers are kept.
    pub backup: Option<PathBuf>,
    /// What applications must send as a bearer.
    pub access_token: Option<String>,
}

/// An agent that runs until it is stopped.
pub struct Agent {
    /// Where it listens.
    pub address: SocketAddr,
    tasks: Tasks,
}

impl Agent {
    /// Stops listening and lets requests end.
    pub async fn stop(self) {
        self.tasks.stop().await;
    }
}

/// An answer as it is kept.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

struct Inner {
    settings: Settings,
    client: reqwest::Client,
    /// The one session for everything that names no entity.
    session: String,
    kept: Mutex<FxHashMap<String, Arc<Kept>>>,
}

/// Starts an agent.
///
/// # Errors
/// [`StartError`] says what to change.
pub async fn start(settings: Settings) -> Result<Agent, StartError> {
    let cannot = |what: &str, why: &dyn std::fmt::Display| StartError(format!("{what}: {why}"));
    if let Some(folder) = &settings.backup {
        std::fs::create_dir_all(folder).map_err(|why| cannot("cannot use the backup folder", &why))?;
    }
    let listener = TcpListener::bind(settings.listen).await.map_err(|why| cannot("cannot listen", &why))?;
    let address = listener.local_addr().map_err(|why| cannot("cannot listen", &why))?;
    let client = crate::webhooks::client().map_err(|why| cannot("there is no HTTP client", &why))?;
    let session = format!("agent-{}", hex(&random::<16>()?));
    let inner = Arc::new(Inner { settings, client, session, kept: Mutex::default() });
    let router = Router::new().fallback(serve).with_state(inner);
    let tasks = Tasks::default();
    let stop = tasks.stop_token();
    tasks.spawn("agent", async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::error!(%error, "the agent stopped");
        }
    });
    Ok(Agent { address, tasks })
}

fn failed(status: StatusCode, message: &str) -> Response {
    let kind = (header::CONTENT_TYPE, "application/json");
    (status, [kind], json!({ "Message": message }).to_string()).into_response()
}

async fn serve(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    if let Some(token) = &inner.settings.access_token {
        let sent =
            request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        if !same(sent, format!("Bearer {token}").as_bytes()) {
            return failed(StatusCode::UNAUTHORIZED, "Send the agent's access token as a bearer.");
        }
    }
    let target = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    if request.method() != axum::http::Method::GET || !target.starts_with("/applications/") {
        return failed(StatusCode::NOT_FOUND, "Ask for /applications/…/environments/…/configurations/….");
    }
    let name = name_of(&target, request.headers());
    match ask(&inner, &target, request.headers()).await {
        Ok((StatusCode::OK, kept)) => {
            let kept = Arc::new(kept);
            keep(&inner, name, &kept);
            answer(&kept)
        }
        Ok((status, _)) if status.is_server_error() => last_good(&inner, &name),
        Ok((status, kept)) => {
            let mut response = answer(&kept);
            *response.status_mut() = status;
            response
        }
        Err(error) => {
            tracing::warn!(%error, "the server does not answer");
            last_good(&inner, &name)
        }
    }
}

/// Under which name an answer is kept: what was asked with which context, for whomever.
fn name_of(target: &str, headers: &HeaderMap) -> String {
    let mut digest = Sha256::new().chain_update(target);
    for value in headers.get_all("context") {
        digest.update([0]);
        digest.update(value.as_bytes());
    }
    hex(&digest.finalize())
}

async fn ask(inner: &Inner, target: &str, headers: &HeaderMap) -> Result<(StatusCode, Kept), reqwest::Error> {
    let url = format!("{}{target}", inner.settings.upstream.trim_end_matches('/'));
    let mut request = inner.client.get(url).timeout(TIMEOUT).bearer_auth(&inner.settings.key);
    request = request.header("ensign-session", &inner.session);
    for name in ["context", "entity-id"] {
        for value in headers.get_all(name) {
            request = request.header(name, value.as_bytes());
        }
    }
    let response = request.send().await.map_err(reqwest::Error::without_url)?;
    let status = response.status();
    let passed = |name: &&str| {
        let value = response.headers().get(*name)?;
        Some(((*name).to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    };
    let headers = PASSED.iter().filter_map(passed).collect();
    let body = response.bytes().await.map_err(reqwest::Error::without_url)?.to_vec();
    Ok((status, Kept { headers, body }))
}

fn answer(kept: &Kept) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(kept.body.clone())));
    for (name, value) in &kept.headers {
        let name = header::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Remembers an answer, and writes it down where that is wanted and it differs.
fn keep(inner: &Inner, name: String, kept: &Arc<Kept>) {
    let mut all = inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
    let same = all.get(&name).is_some_and(|old| old.body == kept.body && old.headers == kept.headers);
    if same || (all.len() >= KEPT && !all.contains_key(&name)) {
        return;
    }
    all.insert(name.clone(), Arc::clone(kept));
    drop(all);
    if let Some(folder) = &inner.settings.backup
        && let Err(error) = write(folder, &name, kept)
    {
        tracing::warn!(%error, "the backup of an answer cannot be written");
    }
}

/// Whole or not at all: the name appears when the content is there.
fn write(folder: &Path, name: &str, kept: &Kept) -> std::io::Result<()> {
    let part = folder.join(format!("{name}.part"));
    std::fs::write(&part, serde_json::to_vec(kept)?)?;
    std::fs::rename(part, folder.join(name))
}

fn last_good(inner: &Inner, name: &str) -> Response {
    let known = inner.kept.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
    let stored = || {
        let bytes = std::fs::read(inner.settings.backup.as_ref()?.join(name)).ok()?;
        serde_json::from_slice::<Kept>(&bytes).ok().map(Arc::new)
    };
    match known.or_else(stored) {
        Some(kept) => answer(&kept),
        None => failed(StatusCode::BAD_GATEWAY, "The server does not answer, and nothing is kept of this."),
    }
}
