//! From a document to an answer, over real HTTP.

mod common;

use std::os::unix::fs::MetadataExt as _;

use common::{DOCUMENT, Ensign, PLACE, answer};
use ensign_server::{Clock, Config, Server};
use serde_json::{Value, json};

#[tokio::test]
async fn the_document_as_teams_write_it_decides_who_gets_what() {
    let ensign = Ensign::start().await;
    let applied = ensign.apply(DOCUMENT).await;
    assert!(applied["sentences"][0].is_string(), "{applied}");
    assert!(applied["revision"].as_u64() > Some(0), "{applied}");

    let (mut sonnet, users) = (0, 1_000);
    for user in 0..users {
        let (_, told) = ensign.ofrep("inference_model", json!({ "targetingKey": format!("u{user}") })).await;
        match told["value"].as_str() {
            Some("claude-sonnet-4-6") => sonnet += 1,
            Some("claude-3-haiku") => {}
            other => panic!("{other:?} in {told}"),
        }
    }
    assert!((60..140).contains(&sonnet), "{sonnet} of {users}");
    let internal = json!({ "targetingKey": "u1", "user_segment": "internal" });
    let (status, told) = ensign.ofrep("inference_model", internal).await;
    assert_eq!((status, told["value"].as_str()), (200, Some("claude-opus-4-6")));
    assert_eq!(told["reason"], "TARGETING_MATCH");

    // Applying what is there already is an empty plan, and so is applying an export.
    let again = ensign.apply(DOCUMENT).await;
    assert_eq!((&again["changes"], &again["revision"]), (&json!([]), &Value::Null));
    for format in ["yaml", "json"] {
        let export = ensign.done("GET", &format!("{PLACE}/export?format={format}"), Value::Null).await;
        let plan = ensign.done("POST", &format!("{PLACE}/plan"), json!({ "files": export["files"] })).await;
        assert_eq!(plan["changes"], json!([]), "{format}: {export}");
    }
    ensign.running.stop().await;
}

#[tokio::test]
async fn a_kill_a_restore_and_history_are_seen_by_the_next_evaluation() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    let internal = json!({ "targetingKey": "u1", "user_segment": "internal" });
    let value = async || ensign.ofrep("inference_model", internal.clone()).await.1["value"].clone();

    ensign.done("POST", &format!("{PLACE}/flags/inference_model/kill"), json!({ "reason": "smoke" })).await;
    assert_eq!(value().await, "claude-3-haiku");
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/restore"), json!({})).await;
    assert_eq!(value().await, "claude-opus-4-6");
    ensign.done("POST", &format!("{PLACE}/kill"), json!({ "value": "claude-opus-4-6" })).await;
    assert_eq!(value().await, "claude-3-haiku");
    ensign.done("POST", &format!("{PLACE}/flags/inference_model/restore"), json!({})).await;

    let history = ensign.done("GET", &format!("{PLACE}/flags/inference_model/history"), Value::Null).await;
    let history = history["history"].as_array().unwrap();
    assert_eq!(history.len(), 5, "{history:#?}");
    assert_eq!(history[1]["reason"], "smoke");
    assert_eq!(history[1]["actor"], "admin");

    ensign.apply(&DOCUMENT.replace("internal", "staff")).await;
    assert_ne!(value().await, "claude-opus-4-6");
    let first = &history[0]["revision"];
    let path = format!("{PLACE}/flags/inference_model/restore-revision");
    ensign.done("POST", &path, json!({ "revision": first })).await;
    assert_eq!(value().await, "claude-opus-4-6");
    let verdict = ensign.done("POST", "/api/v1/audit/verify", Value::Null).await;
    assert_eq!(verdict["intact"], true);
    ensign.running.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_done_once_and_another_one_under_its_key_is_refused() {
    let ensign = Ensign::start().await;
    let send = async |text: &str| {
        let request = ensign.request("POST", &format!("{PLACE}/apply"));
        let request = request.bearer_auth(&ensign.credentials.admin_token).header("idempotency-key", "once");
        let body = json!({ "files": [{ "name": "f", "text": text }] });
        answer(request.json(&body).send().await.unwrap()).await
    };
    let (_, first) = send(DOCUMENT).await;
    let (_, second) = send(DOCUMENT).await;
    assert_eq!((&first["revision"], &first["sentences"]), (&second["revision"], &second["sentences"]));
    assert_eq!((&first["replayed"], &second["replayed"]), (&json!(false), &json!(true)));
    let (status, other) = send(&DOCUMENT.replace("10", "11")).await;
    assert_eq!((status, other["code"].as_str()), (422, Some("idempotency_mismatch")));
    ensign.running.stop().await;
}

#[tokio::test]
async fn an_explanation_names_each_rule_and_the_bucket() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    let question = json!({ "flag": "inference_model", "context": { "targetingKey": "u1" }, "explain": true });
    let told = ensign.done("POST", &format!("{PLACE}/evaluate"), question).await;
    assert!(told["steps"].as_array().unwrap().len() >= 2, "{told}");
    assert_eq!(told["decision"]["flag"], "inference_model");
    assert!(told["token"].is_string() && told["reason"].is_string());
    ensign.running.stop().await;
}

#[tokio::test]
async fn an_opt_in_acts_at_once_and_without_a_revision_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ensign = Ensign::on(folder.path(), Clock::system()).await;
    ensign
        .apply(
            "segment: beta\n---\nflag: m\ndefault: old\nrules:\n  - condition: {segment: beta}\n    value: new\n",
        )
        .await;
    let user = json!({ "targetingKey": "ann" });
    let member = format!("{PLACE}/segments/beta/members/ann");
    let revision = async |ensign: &Ensign| {
        ensign.done("GET", "/api/v1/projects/default/environments", Value::Null).await["environments"].clone()
    };
    let before = revision(&ensign).await;
    assert_eq!(ensign.ofrep("m", user.clone()).await.1["value"], "old");
    ensign.done("PUT", &member, Value::Null).await;
    assert_eq!(ensign.ofrep("m", user.clone()).await.1["value"], "new");
    assert_eq!(revision(&ensign).await, before);
    ensign.running.stop().await;

    let ensign = Ensign::on(folder.path(), Clock::system()).await;
    assert_eq!(ensign.ofrep("m", user.clone()).await.1["value"], "new");
    // Erasing the unit takes its opt-ins along.
    let erased = ensign.done("DELETE", &format!("{PLACE}/units/user/ann"), Value::Null).await;
    assert_eq!(erased["opt_ins"], 1);
    assert_eq!(ensign.ofrep("m", user).await.1["value"], "old");
    ensign.running.stop().await;
}

#[tokio::test]
async fn the_first_start_writes_credentials_for_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let ensign = Ensign::on(folder.path(), Clock::system()).await;
    let file = folder.path().join("credentials.json");
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let text: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(text["url"], ensign.running.url());
    let production = &text["projects"]["default"]["environments"]["production"];
    for name in ["sdk_key", "mobile_key", "client_id", "aws_access_key_id", "aws_secret_access_key"] {
        assert!(production[name].as_str().unwrap().len() >= 20, "{name}");
    }
    assert!(text["projects"]["default"]["environments"]["staging"]["sdk_key"].is_string());
    assert!(text["projects"]["default"]["aws_access_key_id"].is_string());
    let old = text.clone();
    ensign.running.stop().await;

    // Nothing in the data folder holds a secret as it is, except the file for the person.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path == file {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for secret in [&old["admin_token"], &production["sdk_key"], &production["aws_secret_access_key"]] {
            let secret = secret.as_str().unwrap().as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
        }
    }

    // A later start keeps the keys and tells the new address.
    let ensign = Ensign::on(folder.path(), Clock::system()).await;
    let text: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&text["admin_token"], &text["projects"]), (&old["admin_token"], &old["projects"]));
    assert_eq!(text["url"], ensign.running.url());
    assert_eq!(ensign.ask("GET", "/api/v1/projects", Value::Null).await.0, 200);
    ensign.running.stop().await;
}

#[tokio::test]
async fn a_second_process_and_an_open_address_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let ensign = Ensign::on(folder.path(), Clock::system()).await;
    let config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path());
    let error = Server::start(config, Clock::system()).await.err().unwrap();
    assert!(error.0.contains("in use by process"), "{error}");
    ensign.running.stop().await;

    let other = tempfile::tempdir().unwrap();
    let mut config = Config::new("0.0.0.0:0".parse().unwrap(), other.path());
    let error = Server::start(config.clone(), Clock::system()).await.err().unwrap();
    assert!(error.0.contains("--behind-proxy"), "{error}");
    config.behind_proxy = true;
    Server::start(config, Clock::system()).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_new_environment_gets_keys_of_its_own() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    let made = ensign.done("POST", "/api/v1/projects/default/environments", json!({ "key": "qa" })).await;
    let key = made["credentials"]["default/qa"]["sdk_key"].as_str().unwrap().to_owned();
    let request = ensign.request("POST", "/ofrep/v1/evaluate/flags/inference_model").bearer_auth(&key);
    let (status, told) =
        answer(request.json(&json!({ "context": { "targetingKey": "u" } })).send().await.unwrap()).await;
    assert_eq!((status, &told["metadata"]["flagSetId"]), (200, &json!("default/qa")));
    assert!(told["value"].is_string());
    ensign.running.stop().await;
}

#[tokio::test]
async fn operators_see_how_it_is() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    ensign.ofrep("inference_model", json!({ "targetingKey": "u" })).await;
    let (status, ready) = ensign.ask("GET", "/readyz", Value::Null).await;
    assert_eq!((status, &ready["ready"]), (200, &json!(true)), "{ready}");
    assert_eq!(ensign.ask("GET", "/healthz", Value::Null).await.0, 200);
    let page = ensign.request("GET", "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "ensign_evaluations_total{surface=\"ofrep\"",
        "ensign_http_requests_total{route=\"/ofrep/v1/evaluate/flags/{*key}\",method=\"POST\",status=\"200\"} 1",
        "ensign_revision{project=\"default\",environment=\"production\"}",
        "ensign_guard_failures ",
    ] {
        assert!(page.contains(line), "{line} in\n{page}");
    }
    assert!(page.ends_with("# EOF\n") && page.matches("# EOF").count() == 1);
    let home = ensign.request("GET", "/").send().await.unwrap();
    assert_eq!((home.status().as_u16(), home.headers()["location"].to_str().unwrap()), (307, "/console"));
    ensign.running.stop().await;
}
