//! Signed notices to the outside: from the outbox, at least once, exactly as recorded.
//!
//! What is sent is written in the transaction of the change it tells of. A receiver that is down gets it later, with
//! growing pauses; `Ensign-Signature` and `Idempotency-Key` let it check the sender and recognise repeats.

use std::sync::Arc;
use std::time::Duration;

use ensign_control::catalogue::{Notice, RecordKind, Scope, rfc3339};
use ensign_control::ids::Timestamp;
use ensign_store::{Micros, OutboxItem, Settled};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;

use crate::image::Image;
use crate::keys::{from_hex, hex};
use crate::{ApiError, App};

/// The outbox's word for webhooks.
pub(crate) const KIND: &str = "webhook";
/// How many are sent at a time.
const AT_ONCE: usize = 32;
/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause between two attempts, in seconds.
const LONGEST_PAUSE: i64 = 3_600;
/// After so many failures, about three days, it is given up.
const ATTEMPTS: u32 = 84;

/// A webhook as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Webhook {
    /// Where to.
    pub(crate) url: String,
    /// Which events; empty: all.
    #[serde(default)]
    pub(crate) events: Vec<String>,
    /// The signing secret, sealed.
    pub(crate) secret_sealed: String,
    /// When it was made.
    pub(crate) created: Timestamp,
}

/// An entry of the outbox: to whom, and the bytes to send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    scope: Scope,
    webhook: String,
    payload: String,
}

impl Entry {
    pub(crate) fn new(webhook: &str, notice: &Notice, now: Timestamp) -> Self {
        let payload = json!({
            "id": notice.key,
            "event": notice.event,
            "at": rfc3339(now),
            "project": notice.scope.project,
            "environment": notice.scope.environment,
            "data": notice.body,
        });
        Self { scope: notice.scope.clone(), webhook: webhook.to_owned(), payload: payload.to_string() }
    }
}

/// The webhooks of the notice's environment that want to hear of it.
pub(crate) fn wanted<'a>(image: &'a Image, notice: &'a Notice) -> impl Iterator<Item = &'a str> {
    image.items(&notice.scope, RecordKind::Webhook.word()).filter_map(|(key, stored)| {
        let webhook = Webhook::deserialize(stored.body.as_ref()).ok()?;
        let wants = webhook.events.is_empty() || webhook.events.contains(&notice.event);
        wants.then_some(key)
    })
}

pub(crate) fn seal_context(scope: &Scope, key: &str) -> String {
    format!("webhook/{}/{}/{key}", scope.project, scope.environment.as_deref().unwrap_or_default())
}

/// Whether notices may be sent there: https anywhere, http to this machine only. Only administrators name receivers.
pub(crate) fn check_url(text: &str) -> Result<(), ApiError> {
    let wrong = |why: &str| Err(ApiError::new("bad_url", format!("{text}: {why}")).pointer("/url"));
    let Ok(url) = reqwest::Url::parse(text) else { return wrong("this is not a URL.") };
    let local = match url.host_str() {
        None => return wrong("a host is missing."),
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("a name or a password does not belong into the URL; check the signature instead.");
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if local => Ok(()),
        "http" => wrong("http is for this machine only; use https."),
        _ => wrong("only https, and http to this machine."),
    }
}

/// `t=…,v1=…`: HMAC-SHA256 of the time, a dot, and the body.
pub(crate) fn signature(secret: &[u8], at: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex(&mac.finalize().into_bytes()))
}

pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    // Fails only when a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("ensign/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
}

/// Sends what is due, until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let client = match client() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "no webhooks are sent: there is no HTTP client");
            return;
        }
    };
    while app.tasks.wait(Duration::from_millis(500)).await {
        let due = match app.deps.store.due(Micros(app.now().0), AT_ONCE).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read");
                continue;
            }
        };
        let sends = due.into_iter().filter(|item| item.kind == KIND).map(|item| send(&app, &client, item));
        futures_util::future::join_all(sends).await;
    }
}

async fn send(app: &App, client: &reqwest::Client, item: OutboxItem) {
    let how = match attempt(app, client, &item).await {
        Ok(()) => Settled::Done,
        Err(Failed::ForGood(error)) => Settled::Abandoned { error },
        Err(Failed::Now(error)) if item.attempts + 1 >= ATTEMPTS => Settled::Abandoned { error },
        Err(Failed::Now(error)) => {
            let pause = LONGEST_PAUSE.min(1 << item.attempts.min(12));
            Settled::Again { at: Micros(app.now().0 + pause * 1_000_000), error }
        }
    };
    match &how {
        Settled::Done => app.telemetry.webhook("delivered"),
        Settled::Again { error, .. } => {
            app.telemetry.webhook("failed");
            tracing::warn!(
                key = item.key,
                attempts = item.attempts + 1,
                error,
                "a webhook was not delivered yet"
            );
        }
        Settled::Abandoned { error } => {
            app.telemetry.webhook("abandoned");
            tracing::error!(key = item.key, error, "a webhook is given up");
        }
    }
    if let Err(error) = app.deps.store.settle(item.id, how).await {
        tracing::warn!(%error, "the outbox cannot be written; the receiver may get this notice again");
    }
}

enum Failed {
    Now(String),
    ForGood(String),
}

async fn attempt(app: &App, client: &reqwest::Client, item: &OutboxItem) -> Result<(), Failed> {
    let entry: Entry = serde_json::from_slice(&item.body)
        .map_err(|error| Failed::ForGood(format!("unreadable: {error}")))?;
    let webhook = {
        let image = app.image();
        let stored = image.item(&entry.scope, RecordKind::Webhook.word(), &entry.webhook);
        stored.and_then(|stored| Webhook::deserialize(stored.body.as_ref()).ok())
    };
    let Some(webhook) = webhook else { return Err(Failed::ForGood("the webhook was removed".to_owned())) };
    let context = seal_context(&entry.scope, &entry.webhook);
    let Some(secret) = from_hex(&webhook.secret_sealed).and_then(|bytes| app.secret.open(&context, &bytes))
    else {
        return Err(Failed::ForGood("the signing secret cannot be opened".to_owned()));
    };
    let at = app.now().0.div_euclid(1_000_000);
    let answer = client
        .post(&webhook.url)
        .header("content-type", "application/json")
        .header("ensign-signature", signature(&secret, at, &entry.payload))
        .header("idempotency-key", &item.key)
        .body(entry.payload)
        .send()
        .await
        // The error would repeat the URL, which may hold a receiver's token.
        .map_err(|error| Failed::Now(error.without_url().to_string()))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(Failed::Now(format!("the receiver answered {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_time_a_dot_and_the_body() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature(b"secret", 1_700_000_000, "{\"a\":1}"),
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
    }

    #[test]
    fn receivers_are_https_or_on_this_machine() {
        for good in
            ["https://example.org/hook", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:1/"]
        {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.org/",
            "ftp://x/",
            "nonsense",
            "https://u:p@example.org/",
            "http://127.0.0.1.example.org/",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
