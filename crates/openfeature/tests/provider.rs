//! The provider for Rust against a real server.

use std::time::Duration;

use ensign_openfeature::Provider;
use ensign_sdk::{Client, Config};
use ensign_server::first::Credentials;
use ensign_server::{Clock, Server};
use open_feature::provider::FeatureProvider as _;
use open_feature::{EvaluationContext, EvaluationErrorCode, EvaluationReason, OpenFeature};
use serde_json::json;

const DOCUMENTS: &str = "\
flag: model
default: haiku
rules:
  - {condition: {plan: pro}, value: opus}
  - {condition: {org:plan: big}, value: sonnet}
---
flag: top_k
default: 8
---
flag: format
default: {style: plain, list: [1, 2.5, null]}
";

#[tokio::test(flavor = "multi_thread")]
async fn values_reasons_and_errors_in_openfeatures_words() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data = tempfile::tempdir().unwrap();
    let config = ensign_server::Config::new("127.0.0.1:0".parse().unwrap(), data.path());
    let running = Server::start(config, Clock::system()).await.unwrap();
    let credentials = std::fs::read(data.path().join("credentials.json")).unwrap();
    let credentials: Credentials = serde_json::from_slice(&credentials).unwrap();
    let apply = format!("{}/api/v1/projects/default/environments/production/apply", running.url());
    let files =
        json!({ "files": [{ "name": "f.yaml", "text": DOCUMENTS.replace("org:plan", "\"org:plan\"") }] });
    let request = reqwest::Client::new().post(apply).bearer_auth(&credentials.admin_token).json(&files);
    request.send().await.unwrap().error_for_status().unwrap();

    let key = &credentials.projects["default"].environments["production"].sdk_key;
    let client = Client::start(Config::new(running.url(), key)).unwrap();
    let before = Provider::new(client.clone());
    assert!(client.ready(Duration::from_secs(20)).await);
    for _ in 0..400 {
        if client.snapshot().flags().count() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(before.metadata().name, "ensign");
    OpenFeature::singleton_mut().await.set_provider(Provider::new(client)).await;
    let api = OpenFeature::singleton().await.create_client();

    let pro = EvaluationContext::default().with_targeting_key("u1").with_custom_field("plan", "pro");
    let details = api.get_string_details("model", Some(&pro), None).await.unwrap();
    assert_eq!((details.value.as_str(), details.variant.as_deref()), ("opus", Some("opus")));
    assert_eq!(details.reason, Some(EvaluationReason::TargetingMatch));
    assert!(details.flag_metadata.values.contains_key("revision"));
    let free = EvaluationContext::default().with_targeting_key("u1");
    let details = api.get_string_details("model", Some(&free), None).await.unwrap();
    assert_eq!((details.value.as_str(), details.reason), ("haiku", Some(EvaluationReason::Default)));
    let many = EvaluationContext::default().with_custom_field("kind", "multi").with_custom_field(
        "org",
        open_feature::EvaluationContextFieldValue::new_struct(json!({ "key": "acme", "plan": "big" })),
    );
    assert_eq!(api.get_string_value("model", Some(&many), None).await.unwrap(), "sonnet");
    assert_eq!(api.get_int_value("top_k", Some(&free), None).await.unwrap(), 8);
    assert_eq!(api.get_float_value("top_k", Some(&free), None).await.unwrap(), 8.0);
    let missing = api.get_string_value("nowhere", Some(&free), None).await.unwrap_err();
    assert_eq!(missing.code, EvaluationErrorCode::FlagNotFound);
    let wrong = api.get_bool_value("model", Some(&free), None).await.unwrap_err();
    assert_eq!(wrong.code, EvaluationErrorCode::TypeMismatch);
    running.stop().await;
}
