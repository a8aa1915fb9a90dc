//! Backup while people work, and what comes back from it.

mod common;

use common::{DOCUMENT, Ensign, Hands, PLACE};
use ensign_store::Micros;
use serde_json::{Value, json};

#[tokio::test]
async fn a_backup_under_load_comes_back_whole_with_greater_revisions() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::at(1_800_000_000_000_000);
    let ensign = Ensign::on(folder.path(), hands.clock()).await;
    let applied = ensign.apply(DOCUMENT).await;
    let revision = applied["revision"].as_u64().unwrap();
    ensign.apply("segment: beta\n").await;
    ensign.done("PUT", &format!("{PLACE}/segments/beta/members/ann"), Value::Null).await;

    // Changes and evaluations go on while the copy is made.
    let busy = async {
        for round in 0..40 {
            let word = if round % 2 == 0 { "off" } else { "on" };
            ensign.done("POST", &format!("{PLACE}/flags/inference_model/{word}"), json!({})).await;
            ensign.ofrep("inference_model", json!({ "targetingKey": format!("u{round}") })).await;
        }
    };
    let backup = ensign.done("POST", "/api/v1/backup", json!({ "name": "one" }));
    let (made, ()) = tokio::join!(backup, busy);
    let copy = std::path::PathBuf::from(made["path"].as_str().unwrap());
    let (status, told) = ensign.ask("POST", "/api/v1/backup", json!({ "name": "one" })).await;
    assert_eq!((status, told["code"].as_str()), (409, Some("refused")));
    for name in ["../out", "", ".hidden"] {
        assert_eq!(ensign.ask("POST", "/api/v1/backup", json!({ "name": name })).await.0, 400, "{name}");
    }
    let token = ensign.credentials.admin_token.clone();
    ensign.running.stop().await;

    let back = tempfile::tempdir().unwrap();
    let to = back.path().join("data");
    ensign_store::backup::restore(&copy, &to, Micros(hands.clock().now().0), "tester").unwrap();
    // The person keeps the credentials; the copy has none.
    std::fs::copy(folder.path().join("credentials.json"), to.join("credentials.json")).unwrap();
    let ensign = Ensign::on(&to, hands.clock()).await;
    assert_eq!(ensign.credentials.admin_token, token);
    let audit = ensign.done("POST", "/api/v1/audit/verify", Value::Null).await;
    assert_eq!(audit["intact"], true, "{audit}");
    let member = ensign.done("GET", &format!("{PLACE}/segments/beta/members/ann"), Value::Null).await;
    assert_eq!(member["member"], true);
    let changed = ensign.done("POST", &format!("{PLACE}/flags/inference_model/kill"), json!({})).await;
    assert!(changed["revision"].as_u64() > Some(revision + 1_000_000), "{changed}");
    let (status, told) = ensign.ofrep("inference_model", json!({ "targetingKey": "u" })).await;
    assert_eq!((status, told["value"].as_str()), (200, Some("claude-3-haiku")));
    ensign.running.stop().await;
}

#[tokio::test]
async fn raw_events_come_out_page_by_page() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    // The guard's looks are records too, so there is something to export.
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(50));
    let (mut from, mut seen) = (0, 0);
    while seen < 3 {
        beat.tick().await;
        let path = format!("/api/v1/export-events?from={from}&limit=1");
        let request = ensign.request("POST", &path).bearer_auth(&ensign.credentials.admin_token);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let next =
            response.headers().get("ensign-next-position").map(|next| next.to_str().unwrap().to_owned());
        for line in response.text().await.unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["position"], from);
            assert!(record["record"].is_object());
            (from, seen) = (from + 1, seen + 1);
        }
        if let Some(next) = next {
            assert_eq!(next, from.to_string());
        }
    }
    ensign.running.stop().await;
}
