//! One client-side stream: everything for its context, and then each result that changes.
//!
//! What a context gets is its own, so nothing can be shared between streams. A stream holds its context and one number
//! for each flag, evaluates when it is told that another version is served, and has no queue: whoever reads slowly
//! skips versions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensign_eval::ContextBuf;
use ensign_protocol::launchdarkly::evalx;
use futures_util::stream::{Stream, unfold};
use serde_json::Value as Json;
use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use super::clients::OpenStream;
use super::evaluated::{Audience, all, document};
use crate::App;
use crate::fanout::Seat;
use crate::serving::{PlaceState, Version};

/// Something is sent at least this often.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// Streams end one after the other within this time when the server stops.
const CLOSING: Duration = Duration::from_secs(2);

struct Watcher {
    app: Arc<App>,
    state: Arc<PlaceState>,
    context: ContextBuf,
    audience: Audience,
    with_reasons: bool,
    /// A hash of each result as it was sent last; none before the first.
    sent: Option<BTreeMap<String, u64>>,
    changes: Receiver<Version>,
    stop: CancellationToken,
    seat: Seat,
    open: OpenStream,
}

/// The stream of a context.
pub(super) fn watch(
    app: Arc<App>,
    state: Arc<PlaceState>,
    context: ContextBuf,
    audience: Audience,
    with_reasons: bool,
    seat: Seat,
    open: OpenStream,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    // Subscribed before the first look, so that no change falls between the two.
    let (changes, stop) = (state.subscribe(), app.tasks.stop_token());
    let watcher =
        Watcher { app, state, context, audience, with_reasons, sent: None, changes, stop, seat, open };
    unfold(watcher, |mut watcher| async move { Some((Ok(watcher.next().await?), watcher)) })
}

impl Watcher {
    /// What is to be sent next; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.look() {
                return Some(bytes);
            }
            tokio::select! {
                () = self.stop.cancelled() => {
                    tokio::time::sleep(CLOSING / crate::fanout::COHORTS as u32 * self.seat.cohort() as u32).await;
                    return None;
                }
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b":\n")),
            }
        }
    }

    /// What is different from what was sent.
    fn look(&mut self) -> Option<Bytes> {
        self.changes.borrow_and_update();
        let serving = self.state.serving();
        let data = self.app.launchdarkly.of(&self.app, &self.state).data(&serving);
        let results = all(&serving, &data, &self.context, self.audience);
        let version = data.number();
        self.open.has(serving.version.revision.0, self.app.now());
        let contents = results.iter().map(|(key, result)| (key, result.content(self.with_reasons)));
        let hash = |content: &serde_json::Map<String, Json>| {
            xxh3_64(&serde_json::to_vec(content).unwrap_or_default())
        };
        let mut now = BTreeMap::new();
        let Some(sent) = &self.sent else {
            now.extend(contents.map(|(key, content)| (key.clone(), hash(&content))));
            self.sent = Some(now);
            return Some(evalx::put(&document(&results, self.with_reasons, version)).into());
        };
        let mut text = String::new();
        for (key, content) in contents {
            let hash = hash(&content);
            if sent.get(key) != Some(&hash) {
                text.push_str(&evalx::patch(key, content, version));
            }
            now.insert(key.clone(), hash);
        }
        for key in sent.keys().filter(|key| !now.contains_key(*key)) {
            text.push_str(&evalx::delete(key, version));
        }
        self.sent = Some(now);
        (!text.is_empty()).then(|| text.into())
    }
}
