//! One unmodified provider for Rust, asked for everything that Ensign promises of it. Reads its task from standard
//! input (one JSON line); prints a line where the test is to act, and waits for an answer.

use std::io::BufRead as _;
use std::time::Duration;

use open_feature::provider::FeatureProvider;
use open_feature::{Client, EvaluationContext, EvaluationErrorCode, OpenFeature};
use open_feature_flagd::{CacheSettings, FlagdOptions, FlagdProvider, ResolverType};
use serde_json::Value;

fn next() -> Value {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("a line");
    serde_json::from_str(&line).expect("JSON")
}

fn tell(what: &str) {
    println!("{what}");
    next();
}

async fn flagd(task: &Value, resolver_type: ResolverType) -> FlagdProvider {
    let address = task["url"].as_str().expect("a URL").trim_start_matches("http://").to_owned();
    let (host, port) = address.split_once(':').expect("host and port");
    // Its only way to say a key.
    let target = format!("envoy://{address}/{}.ensign", task["key"].as_str().expect("a key"));
    FlagdProvider::new(FlagdOptions {
        host: host.to_owned(),
        port: port.parse().expect("a port"),
        target_uri: Some(target),
        resolver_type,
        cache_settings: None::<CacheSettings>,
        ..FlagdOptions::default()
    })
    .await
    .expect("the provider is ready")
}

async fn client(provider: impl FeatureProvider) -> Client {
    let mut api = OpenFeature::singleton_mut().await;
    api.set_provider(provider).await;
    drop(api);
    OpenFeature::singleton().await.create_client()
}

fn context(json: &Value) -> EvaluationContext {
    let mut context = EvaluationContext::default();
    for (name, value) in json.as_object().expect("an object") {
        match value {
            Value::String(text) if name == "targetingKey" => context.targeting_key = Some(text.clone()),
            Value::String(text) => context.add_custom_field(name, text.clone()),
            Value::Number(number) => context.add_custom_field(name, number.as_i64().expect("whole")),
            _ => unreachable!("contexts are flat"),
        }
    }
    context
}

async fn tier(client: &Client, user: &EvaluationContext) -> String {
    client.get_string_value("tier", Some(user), None).await.unwrap_or_else(|_| "none".to_owned())
}

async fn until(client: &Client, user: &EvaluationContext, value: &str) {
    for _ in 0..1_500 {
        if tier(client, user).await == value {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("tier did not become {value}");
}

#[tokio::main]
async fn main() {
    let task = next();
    let mode = task["mode"].as_str().expect("a mode").to_owned();
    let client = match mode.as_str() {
        "rpc" => client(flagd(&task, ResolverType::Rpc).await).await,
        "in-process" => client(flagd(&task, ResolverType::InProcess).await).await,
        "ofrep" => {
            let options = open_feature_ofrep::OfrepOptions {
                base_url: task["url"].as_str().expect("a URL").to_owned(),
                ..Default::default()
            };
            let mut options = options;
            let bearer = format!("Bearer {}", task["key"].as_str().expect("a key"));
            options.headers.insert("authorization", bearer.parse().expect("a header"));
            client(open_feature_ofrep::OfrepProvider::new(options).await.expect("the provider is ready"))
                .await
        }
        other => panic!("no mode {other}"),
    };
    let user = context(&serde_json::json!({"targetingKey": "u1", "plan": "pro"}));
    assert_eq!(client.get_int_value("top_k", Some(&user), None).await, Ok(8));
    assert_eq!(client.get_float_value("temperature", Some(&user), None).await, Ok(1.0));
    assert_eq!(client.get_bool_value("stream_answers", Some(&user), None).await, Ok(true));
    let details = client.get_string_details("tier", Some(&user), None).await.expect("a value");
    assert_eq!(details.value, "gold");
    if mode != "ofrep" {
        assert_eq!(details.variant.as_deref(), Some("gold"));
    }
    let missing =
        client.get_string_value("no_such_flag", Some(&user), None).await.expect_err("it is missing");
    assert_eq!(missing.code, EvaluationErrorCode::FlagNotFound);
    assert!(client.get_bool_value("tier", Some(&user), None).await.is_err());

    let exact: Vec<&str> =
        task["exact"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let mut compared = 0;
    for case in task["cases"].as_array().expect("a list") {
        let context = context(&case["context"]);
        for (flag, value) in case["answers"].as_object().expect("an object") {
            if mode == "in-process" && !exact.contains(&flag.as_str()) {
                let error =
                    client.get_string_value(flag, Some(&context), None).await.expect_err("it is left out");
                assert_eq!(error.code, EvaluationErrorCode::FlagNotFound);
                continue;
            }
            let got = client.get_string_value(flag, Some(&context), None).await;
            assert_eq!(got.as_deref().ok(), value.as_str(), "{flag} {}", case["context"]);
            compared += 1;
        }
    }
    tell("kill");
    until(&client, &user, "tin").await;
    tell("restart");
    until(&client, &user, "gold").await;
    tell(&format!("done {compared}"));
}
