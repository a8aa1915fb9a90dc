//! Follows the model flag with the unmodified server-side SDK for Rust and prints a line whenever a value changes.
//! Arguments: address, SDK key, and the contexts by name as JSON.

use std::time::Duration;

use launchdarkly_server_sdk::{Client, ConfigBuilder, Context, ServiceEndpointsBuilder};
use tokio::io::AsyncReadExt as _;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (url, key, people) = (
        arguments.next().expect("an address"),
        arguments.next().expect("a key"),
        arguments.next().expect("contexts"),
    );
    let people: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&people).expect("JSON");
    let people: Vec<(String, Context)> = people
        .into_iter()
        .map(|(name, context)| (name, serde_json::from_value(context).expect("a context")))
        .collect();
    let config = ConfigBuilder::new(&key)
        .service_endpoints(ServiceEndpointsBuilder::new().relay_proxy(&url))
        .build()
        .expect("a configuration");
    let client = Client::build(config).expect("a client");
    client.start_with_default_executor();
    if client.wait_for_initialization(Duration::from_secs(10)).await != Some(true) {
        println!("{}", serde_json::json!({"failed": true}));
        return;
    }
    let mut last = serde_json::Value::Null;
    let mut stdin = tokio::io::stdin();
    let mut byte = [0_u8; 1];
    loop {
        let now: serde_json::Map<String, serde_json::Value> = people
            .iter()
            .map(|(name, context)| {
                let value = client.str_variation(context, "inference_model", "default".to_owned());
                (name.clone(), value.into())
            })
            .collect();
        let now = serde_json::Value::Object(now);
        if now != last {
            println!("{now}");
            last = now;
        }
        tokio::select! {
            // This SDK tells nobody of changes, so it is asked again.
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            _ = stdin.read(&mut byte) => break,
        }
    }
    client.close();
}
