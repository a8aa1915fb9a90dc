//! What goes on when the store cannot be written, or does not say what it did.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::Arc;

use common::{DOCUMENT, Ensign, PLACE, client, credentials};
use ensign_server::{Clock, Config, Deps, Server};
use ensign_store::log::{Disk, Limits, LogWriter, SegmentLog};
use ensign_store::{Faulty, Lie, Memory};
use serde_json::{Value, json};

/// A server on a store that lies when told to.
async fn ensign(folder: &std::path::Path) -> (Ensign, Arc<Faulty<Memory>>) {
    let clock = Clock::system();
    let store = Arc::new(Faulty::new(Memory::new(clock.for_store())));
    let disk = Disk::new(&folder.join("events")).unwrap();
    let log = SegmentLog::open(Arc::new(disk), Limits::default(), clock.for_store()).unwrap();
    let log = Arc::new(LogWriter::start(log, 64).unwrap());
    let deps = Deps { clock, store: store.clone(), log };
    let config = Config::new("127.0.0.1:0".parse().unwrap(), folder);
    let running = Server::start_with(config, deps).await.unwrap();
    (Ensign { running, credentials: credentials(folder), http: client(), folder: None }, store)
}

/// The commit after those made so far does this.
fn next(store: &Faulty<Memory>, lie: Lie) {
    store.lie(store.commits() + 1, lie);
}

async fn value(ensign: &Ensign) -> Value {
    let internal = json!({ "targetingKey": "u1", "user_segment": "internal" });
    ensign.ofrep("inference_model", internal).await.1["value"].clone()
}

async fn history(ensign: &Ensign) -> usize {
    let path = format!("{PLACE}/flags/inference_model/history");
    ensign.done("GET", &path, Value::Null).await["history"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_kill_works_on_a_full_disk_and_is_stored_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let (ensign, store) = ensign(folder.path()).await;
    ensign.apply(DOCUMENT).await;
    assert_eq!(value(&ensign).await, "claude-opus-4-6");

    next(&store, Lie::Full);
    let body = json!({ "files": [{ "name": "f", "text": DOCUMENT.replace("haiku", "other") }] });
    let (status, told) = ensign.ask("POST", &format!("{PLACE}/apply"), body).await;
    assert_eq!((status, told["code"].as_str()), (503, Some("store_full")));

    next(&store, Lie::Full);
    let kill = format!("{PLACE}/flags/inference_model/kill");
    let killed = ensign.done("POST", &kill, json!({ "reason": "now" })).await;
    assert_eq!((&killed["stored"], &killed["revision"]), (&json!(false), &Value::Null));
    assert!(killed["sentences"].to_string().contains("in memory"), "{killed}");
    assert_eq!(value(&ensign).await, "claude-3-haiku");

    let mut beat = tokio::time::interval(std::time::Duration::from_millis(100));
    while history(&ensign).await < 2 {
        beat.tick().await;
    }
    assert_eq!(value(&ensign).await, "claude-3-haiku");
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/restore"), json!({})).await;
    assert_eq!(value(&ensign).await, "claude-opus-4-6");
    ensign.running.stop().await;
}

#[tokio::test]
async fn a_change_that_happened_unseen_is_served_and_a_repeat_does_not_happen_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (ensign, store) = ensign(folder.path()).await;
    ensign.apply(DOCUMENT).await;

    next(&store, Lie::ForgetReply);
    let send = async || {
        let request = ensign.request("POST", &format!("{PLACE}/flags/inference_model/off"));
        let request = request.bearer_auth(&ensign.credentials.admin_token).header("idempotency-key", "off-1");
        common::answer(request.json(&json!({})).send().await.unwrap()).await
    };
    let (status, told) = send().await;
    assert_eq!((status, told["code"].as_str()), (503, Some("store_failed")));
    let (status, told) = send().await;
    assert_eq!((status, &told["replayed"]), (200, &json!(true)), "{told}");
    assert_eq!(history(&ensign).await, 2);
    // Whatever is decided next is decided on what really is there.
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/on"), json!({})).await;
    assert_eq!(value(&ensign).await, "claude-opus-4-6");
    ensign.running.stop().await;
}
