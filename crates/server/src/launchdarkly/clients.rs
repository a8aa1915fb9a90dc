//! Which SDK instances are there: by name and version, what they have, when they were last heard, and what is odd.
//!
//! Kept in memory: it is about now. A client object of a server-side SDK has an id of its own; browsers have none and
//! are counted together by version and application.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use ensign_control::catalogue::rfc3339;
use ensign_control::ids::{Span, Timestamp};
use ensign_protocol::launchdarkly::events::{Count, Diagnostic};
use serde_json::{Value as Json, json};

/// Instances remembered per environment; beyond it the one not heard of for longest is forgotten.
const REMEMBERED: usize = 10_000;
/// An instance without a stream counts as connected for so long after it was last heard.
const CONNECTED: Span = Span::seconds(600);
/// An instance not heard of for so long is forgotten.
const FORGOTTEN: Span = Span::seconds(24 * 3_600);
/// The longest text taken from a header.
const TEXT: usize = 128;
/// Flags and variations whose evaluations are counted per environment.
const COUNTED: usize = 10_000;
/// Names of tracked events without a metric that are remembered per environment.
const UNKNOWN: usize = 200;
/// Payloads whose counts are remembered as taken, per environment.
const PAYLOADS: usize = 4_096;

/// Who a client says it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    name: String,
    version: String,
    instance: Option<String>,
    wrapper: Option<String>,
    application: Option<String>,
}

impl Identity {
    /// From the headers of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let text = headers.get(name)?.to_str().ok()?.trim();
            let end = text.char_indices().nth(TEXT).map_or(text.len(), |(at, _)| at);
            (!text.is_empty()).then(|| text[..end].to_owned())
        };
        let agent = text("x-launchdarkly-user-agent").or_else(|| text(USER_AGENT.as_str()));
        let agent = agent.unwrap_or_else(|| "unknown".to_owned());
        let (name, version) = agent.split_once('/').unwrap_or((&agent, ""));
        Self {
            name: name.to_owned(),
            version: version.split(' ').next().unwrap_or_default().to_owned(),
            instance: text("x-launchdarkly-instance-id"),
            wrapper: text("x-launchdarkly-wrapper"),
            application: text("x-launchdarkly-tags"),
        }
    }
}

/// What changes with every byte of a stream, outside the lock: thousands of streams hear of a change at once.
#[derive(Debug, Default)]
struct Live {
    last: AtomicI64,
    streams: AtomicU32,
    /// 0: none.
    revision: AtomicU64,
}

impl Live {
    fn heard(&self, now: Timestamp, revision: Option<u64>) {
        self.last.fetch_max(now.0, Ordering::Relaxed);
        self.revision.fetch_max(revision.unwrap_or(0), Ordering::Relaxed);
    }

    fn last(&self) -> i64 {
        self.last.load(Ordering::Relaxed)
    }

    fn streams(&self) -> u32 {
        self.streams.load(Ordering::Relaxed)
    }
}

/// What is known of one instance.
#[derive(Debug, Clone, Default)]
struct Client {
    first: i64,
    live: Arc<Live>,
    evaluations: u64,
    contexts: u64,
    events: u64,
    dropped: u64,
    sdk: Option<String>,
    platform: Option<String>,
    ai_sdk: Option<String>,
    /// The wrong contexts were spoken of in the log.
    told: bool,
}

/// What a payload of events adds to what is known of its sender.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) counts: Vec<Count>,
    pub(crate) contexts: u64,
    pub(crate) events: u64,
    pub(crate) ai_sdk: Option<String>,
    pub(crate) unknown: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Inner {
    clients: BTreeMap<Identity, Client>,
    counts: BTreeMap<(String, Option<u16>), u64>,
    unknown: BTreeMap<String, u64>,
    payloads: BTreeMap<u128, i64>,
}

/// The clients of one environment.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Inner>);

/// What is wrong with a client, for people.
pub(crate) struct Oddity {
    pub(crate) sentence: String,
    pub(crate) next: String,
}

impl Clients {
    fn with<T>(&self, identity: &Identity, now: Timestamp, change: impl FnOnce(&mut Client) -> T) -> T {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.clients.contains_key(identity) && inner.clients.len() >= REMEMBERED {
            let silent = inner.clients.iter().filter(|(_, client)| client.live.streams() == 0);
            if let Some(oldest) =
                silent.min_by_key(|(_, client)| client.live.last()).map(|(id, _)| id.clone())
            {
                inner.clients.remove(&oldest);
            }
        }
        let client =
            inner.clients.entry(identity.clone()).or_insert(Client { first: now.0, ..Client::default() });
        client.live.heard(now, None);
        change(client)
    }

    /// A request of a client; `revision` is what it has after it, if it asked for flags.
    pub(crate) fn seen(&self, identity: &Identity, now: Timestamp, revision: Option<u64>) {
        self.with(identity, now, |client| client.live.heard(now, revision));
    }

    /// What a client says about itself.
    pub(crate) fn diagnosed(&self, identity: &Identity, now: Timestamp, said: &Diagnostic) {
        self.with(identity, now, |client| {
            client.dropped += said.dropped;
            if let Some(name) = &said.name {
                let version = said.version.as_deref().unwrap_or_default();
                client.sdk = Some(format!("{name}/{version}"));
            }
            client.platform = said.platform.clone().or_else(|| client.platform.take());
        });
    }

    /// Whether the counts of this payload were not taken before; they are from now on.
    pub(crate) fn is_new_payload(&self, payload: u128, now: Timestamp) -> bool {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.payloads.len() >= PAYLOADS {
            let oldest = inner.payloads.iter().min_by_key(|(_, at)| **at).map(|(id, _)| *id);
            oldest.and_then(|oldest| inner.payloads.remove(&oldest));
        }
        inner.payloads.insert(payload, now.0).is_none()
    }

    /// Takes in what a payload of events says. Answers what is odd about its sender, the first time.
    pub(crate) fn reported(&self, identity: &Identity, now: Timestamp, report: &Report) -> Option<Oddity> {
        let evaluations: u64 = report.counts.iter().map(|count| count.count).sum();
        let odd = self.with(identity, now, |client| {
            client.evaluations += evaluations;
            client.contexts += report.contexts;
            client.events += report.events;
            if report.ai_sdk.is_some() {
                client.ai_sdk.clone_from(&report.ai_sdk);
            }
            let odd = oddity(identity, client).filter(|_| !client.told);
            client.told |= odd.is_some();
            odd
        });
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for count in &report.counts {
            let key = (count.flag.clone(), count.variation);
            if inner.counts.len() < COUNTED || inner.counts.contains_key(&key) {
                *inner.counts.entry(key).or_default() += count.count;
            }
        }
        for (name, count) in &report.unknown {
            if inner.unknown.len() < UNKNOWN || inner.unknown.contains_key(name) {
                *inner.unknown.entry(name.clone()).or_default() += count;
            }
        }
        odd
    }

    /// What the API shows.
    pub(crate) fn view(&self, now: Timestamp, revision: u64) -> Json {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .clients
            .retain(|_, client| client.live.streams() > 0 || now.0 - client.live.last() < FORGOTTEN.0);
        let clients =
            inner.clients.iter().map(|(identity, client)| of_client(identity, client, now, revision));
        let clients: Vec<Json> = clients.collect();
        let evaluations: Vec<Json> = inner
            .counts
            .iter()
            .map(|((flag, variation), count)| json!({"flag": flag, "variant": variation, "evaluations": count}))
            .collect();
        let unknown: Vec<Json> =
            inner.unknown.iter().map(|(name, count)| json!({"name": name, "events": count})).collect();
        json!({
            "revision": revision,
            "clients": clients,
            "evaluations": evaluations,
            "events_without_metric": unknown,
        })
    }
}

/// A stream of a client that is open, for as long as this lives.
pub(crate) struct OpenStream(Arc<Live>);

impl OpenStream {
    /// The client has this revision from now on.
    pub(crate) fn has(&self, revision: u64, now: Timestamp) {
        self.0.heard(now, Some(revision));
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Notes that a client has opened a stream.
pub(crate) fn open(clients: &Clients, identity: &Identity, now: Timestamp) -> OpenStream {
    let live = clients.with(identity, now, |client| Arc::clone(&client.live));
    live.streams.fetch_add(1, Ordering::Relaxed);
    OpenStream(live)
}

/// Python's `Context.create` takes a key. Given a dictionary it makes a context whose key is that dictionary and that
/// has no attributes: it evaluates, and every event that carries it is lost inside the SDK. So a Python client that
/// counts evaluations and never sends a context is such a one.
fn oddity(identity: &Identity, client: &Client) -> Option<Oddity> {
    let python = identity.name.starts_with("Python");
    (python && client.evaluations > 0 && client.contexts == 0).then(|| Oddity {
        sentence: format!(
            "{}/{} has evaluated flags {} times and has never sent a context: it probably calls Context.create with a \
             dictionary, which makes the dictionary the key. Such contexts match no rule on an attribute, are all in \
             the first part of every split, and their events are lost.",
            identity.name, identity.version, client.evaluations
        ),
        next: "Context.from_dict({\"kind\": \"user\", \"key\": user_id, …}) reads a dictionary".to_owned(),
    })
}

fn of_client(identity: &Identity, client: &Client, now: Timestamp, revision: u64) -> Json {
    let odd = oddity(identity, client);
    let (streams, last) = (client.live.streams(), client.live.last());
    let has = Some(client.live.revision.load(Ordering::Relaxed)).filter(|revision| *revision > 0);
    json!({
        "name": identity.name,
        "version": identity.version,
        "instance": identity.instance,
        "wrapper": identity.wrapper,
        "application": identity.application,
        "sdk": client.sdk,
        "ai_sdk": client.ai_sdk,
        "platform": client.platform,
        "connected": streams > 0 || now.0 - last < CONNECTED.0,
        "streams": streams,
        "revision": has,
        "behind": has.map(|has| revision.saturating_sub(has)),
        "first_seen": rfc3339(Timestamp(client.first)),
        "last_seen": rfc3339(if streams > 0 { now } else { Timestamp(last) }),
        "evaluations": client.evaluations,
        "events": client.events,
        "dropped_events": client.dropped,
        "warning": odd.map(|odd| json!({
            "code": "context_from_dictionary", "sentence": odd.sentence, "next": odd.next,
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(agent: &str) -> Identity {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, agent.parse().unwrap());
        headers.insert("x-launchdarkly-instance-id", "i-1".parse().unwrap());
        Identity::of(&headers)
    }

    fn report(evaluations: u64, contexts: u64) -> Report {
        let count = Count { flag: "model".into(), variation: Some(0), version: Some(1), count: evaluations };
        Report { counts: vec![count], contexts, ..Report::default() }
    }

    #[test]
    fn a_dictionary_as_a_key_is_noticed_once_and_shown_always() {
        let clients = Clients::default();
        let python = identity("PythonClient/9.18.2");
        let odd = clients.reported(&python, Timestamp(1), &report(3, 0)).unwrap();
        assert!(odd.next.contains("Context.from_dict"), "{}", odd.next);
        assert!(clients.reported(&python, Timestamp(2), &report(3, 0)).is_none());
        let view = clients.view(Timestamp(3), 9);
        assert_eq!(view["clients"][0]["warning"]["code"], "context_from_dictionary");
        assert_eq!(view["evaluations"][0]["evaluations"], 6);
        for (agent, report) in [("PythonClient/9.18.2", report(3, 1)), ("NodeJSClient/9.13.7", report(3, 0))]
        {
            let clients = Clients::default();
            assert!(clients.reported(&identity(agent), Timestamp(1), &report).is_none(), "{agent}");
        }
    }

    #[test]
    fn a_stream_is_connected_while_it_lives_and_tells_the_revision() {
        let clients = Clients::default();
        let stream = open(&clients, &identity("NodeJSClient/9.13.7"), Timestamp(0));
        stream.has(7, Timestamp(5));
        let later = Timestamp(CONNECTED.0 + 10);
        let one = clients.view(later, 9)["clients"][0].clone();
        assert_eq!(
            (&one["connected"], &one["revision"], &one["behind"]),
            (&json!(true), &json!(7), &json!(2))
        );
        assert_eq!((&one["name"], &one["version"]), (&json!("NodeJSClient"), &json!("9.13.7")));
        drop(stream);
        assert_eq!(clients.view(later, 9)["clients"][0]["connected"], json!(false));
        assert_eq!(clients.view(Timestamp(FORGOTTEN.0 + 10), 9)["clients"], json!([]));
    }

    #[test]
    fn the_counts_of_a_payload_are_taken_once() {
        let clients = Clients::default();
        assert!(clients.is_new_payload(1, Timestamp(1)));
        assert!(!clients.is_new_payload(1, Timestamp(2)));
        for n in 2..2 * PAYLOADS as u128 {
            assert!(clients.is_new_payload(n, Timestamp(n as i64)));
        }
    }
}
