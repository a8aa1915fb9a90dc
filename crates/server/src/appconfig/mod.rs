//! AWS AppConfig's API for its unmodified clients: who signed, which operation, one call, the answer in its shape.
//!
//! Under `/appconfig` and, for what its clients ask, at the root. Absent on purpose: any rule about which session gets
//! which version; that is the evaluator's.

mod agent;
pub(crate) mod alarms;
mod control;
mod data;
mod directory;
mod keys;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::any;
use ensign_control::catalogue::{Change, RecordKind};
use ensign_control::ids::{Key, Place};
use ensign_protocol::appconfig::{self, AwsError, Kind, Operation, sigv4};
use serde_json::Value as Json;

pub(crate) use directory::{Directory, Seen};
pub(crate) use keys::AwsKeys;

use crate::{App, limits};

/// How far the time of a request may be from ours, in seconds.
const WINDOW: i64 = 300;

/// The paths of AWS's clients.
const ROOTS: [&str; 9] = [
    "/applications",
    "/deploymentstrategies",
    "/deployementstrategies",
    "/configurationsessions",
    "/configuration",
    "/tags",
    "/settings",
    "/extensions",
    "/extensionassociations",
];

impl App {
    /// Keeps keys and directory true to the image after a change.
    pub(crate) fn follow_deployments(&self, image: &crate::image::Image, change: &Change) {
        let kinds = || change.puts.iter().map(|(id, _)| id).chain(&change.forgets).map(|id| id.kind.as_str());
        if kinds().any(|kind| kind == RecordKind::Secret.word()) {
            self.aws.store(AwsKeys::of(&self.secret, image).into());
        }
        if kinds().any(directory::touches) {
            self.directory.store(Directory::of(&image.catalogue, &self.directory.load()).into());
        }
    }
}

/// Every route of the API.
pub(crate) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new().route("/appconfig/{*rest}", any(serve));
    for root in ROOTS {
        router = router.route(root, any(serve)).route(&format!("{root}/{{*rest}}"), any(serve));
    }
    router
}

/// Who signed a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A project's key: the control plane of its applications, and their data.
    Account(Key),
    /// An environment's key: its data only.
    Place(Place),
}

impl Caller {
    /// The account, for the control plane.
    fn account(&self) -> Result<&Key, AwsError> {
        match self {
            Self::Account(account) => Ok(account),
            Self::Place(place) => Err(AwsError::new(
                Kind::AccessDenied,
                format!(
                    "AccessDenied: the key of environment {place} reads configurations and nothing else."
                ),
            )),
        }
    }
}

/// What a handler answers with.
struct Reply {
    status: u16,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Body,
}

impl Reply {
    fn json(status: u16, body: &Json) -> Self {
        let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status, headers: vec![kind], body: Body::from(body.to_string()) }
    }

    fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::empty() }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        // Values come from names and labels, which may hold what no header can.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            self.headers.push((name, value));
        }
        self
    }
}

fn respond(app: &App, reply: Reply) -> Response {
    let mut response = Response::new(reply.body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.extend(reply.headers);
    headers.insert("x-amzn-requestid", request_id(app));
    response
}

/// Different for each answer; nothing depends on it being hard to guess.
fn request_id(app: &App) -> HeaderValue {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&app.now().0.to_le_bytes());
    seed[8..].copy_from_slice(&count.to_le_bytes());
    let id = xxhash_rust::xxh3::xxh3_128(&seed);
    let text = format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        (id >> 96) as u32,
        (id >> 80) as u16,
        (id >> 64) as u16 & 0xfff,
        (id >> 48) as u16 & 0xfff,
        id as u64 & 0xffff_ffff_ffff
    );
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"))
}

fn error(app: &App, error: &AwsError) -> Response {
    let reply = Reply::json(error.kind.status(), &error.body()).header("x-amzn-errortype", error.kind.word());
    respond(app, reply)
}

async fn serve(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    let inner =
        path.strip_prefix("/appconfig").filter(|rest| rest.starts_with('/')).unwrap_or(path).to_owned();
    let operation = appconfig::route(request.method().as_str(), &inner);
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if !sigv4::is_signed(authorization)
        && let Some(Operation::GetConfiguration(names)) = &operation
    {
        return agent::serve(&app, &request, names);
    }
    match answer(&app, request, operation).await {
        Ok(reply) => respond(&app, reply),
        Err(refused) => error(&app, &refused),
    }
}

async fn answer(app: &Arc<App>, request: Request, operation: Option<Operation>) -> Result<Reply, AwsError> {
    let (parts, body) = request.into_parts();
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let method = parts.method.as_str();
    let (caller, key_id, body) = authenticate(app, &parts, body).await?;
    let Some(operation) = operation else {
        return Err(AwsError::bad(format!("{method} {path} is not an operation.")));
    };
    match operation {
        Operation::GetLatestConfiguration => data::poll(app, &caller, query),
        Operation::StartConfigurationSession => {
            data::open(app, &caller, &key_id, user_agent(&parts.headers), &body)
        }
        Operation::GetConfiguration(names) => data::deprecated(app, &caller, &names, query),
        Operation::Unsupported => Err(AwsError::bad("This operation is not supported here.")),
        other => {
            let account = caller.account()?;
            control::Call { app, account, headers: &parts.headers, query, body: &body }.run(other).await
        }
    }
}

/// The name that a client gives itself in its agent string.
fn user_agent(headers: &HeaderMap) -> Option<&str> {
    let agent = headers.get("user-agent")?.to_str().ok()?;
    agent.split(' ').find_map(|part| part.strip_prefix("app/"))
}

/// Who signed the request, under which key, and its body, which the signature covers.
async fn authenticate(
    app: &App,
    parts: &Parts,
    body: Body,
) -> Result<(Caller, String, bytes::Bytes), AwsError> {
    let (method, path, headers) = (parts.method.as_str(), parts.uri.path(), &parts.headers);
    let query = parts.uri.query().unwrap_or_default();
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let mut pairs: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    // HTTP/2 has no such header: what it calls the authority is signed as the host.
    if let (false, Some(authority)) = (headers.contains_key("host"), authority) {
        pairs.push(("host", authority.as_bytes()));
    }
    let request = sigv4::Request { method, path, query, headers: &pairs };
    let presented = sigv4::read(&request)?;
    let unknown =
        || AwsError::new(Kind::UnrecognizedClient, "The security token included in the request is invalid.");
    let keys = app.aws.load();
    let key = keys.find(presented.key).ok_or_else(unknown)?;
    if presented.session_token.is_some() {
        // These keys are long-lived: a session token beside one belongs to somebody else.
        return Err(unknown());
    }
    let body = axum::body::to_bytes(body, limits::APPLY_BODY).await.map_err(|_| {
        AwsError::new(Kind::PayloadTooLarge, "The body is too large or did not arrive whole.")
    })?;
    let signing = key.signing_key(presented.date, presented.region);
    let now = app.now().0.div_euclid(1_000_000);
    sigv4::verify(&request, &presented, &body, &signing, now, WINDOW)?;
    Ok((key.caller.clone(), presented.key.to_owned(), body))
}
