//! What the SDK adds to the bare evaluator, and the provider to OpenFeature: times of one flag with a split, whose
//! exposures are noted, for one context of six attributes. `cargo run --release -p ensign-openfeature --example overhead`.
#![expect(clippy::disallowed_methods, reason = "a benchmark at the edge of a process of its own")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the benchmark")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ensign_eval::{Silent, evaluate};
use ensign_openfeature::Provider;
use ensign_sdk::{Client, Config, Pairs};
use ensign_server::first::Credentials;
use ensign_server::{Clock, Server};
use open_feature::provider::{FeatureProvider, ProviderMetadata, ResolutionDetails};
use open_feature::{EvaluationContext, EvaluationResult, OpenFeature, StructValue};
use serde_json::json;

const FLAG: &str = "inference_model";
const DOCUMENT: &str = "\
flag: inference_model
default: a
variants: [a, b, c]
rules:
  - {condition: {country: [NO, SE, FI]}, value: b}
  - {condition: {org: [acme, umbrella]}, value: c}
split: {a: 50, b: 30, c: 20}
";
const ROUNDS: usize = 60;
const CALLS: usize = 20_000;

/// Nanoseconds a call of each, the best of many rounds that take turns, so that all see the same machine.
fn best<const N: usize>(mut calls: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut best = [f64::MAX; N];
    for _ in 0..ROUNDS {
        for (call, best) in calls.iter_mut().zip(&mut best) {
            let began = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            *best = best.min(began.elapsed().as_nanos() as f64 / CALLS as f64);
        }
    }
    best
}

/// Answers at once: what is left is OpenFeature itself.
struct Constant(ProviderMetadata);

#[async_trait]
impl FeatureProvider for Constant {
    fn metadata(&self) -> &ProviderMetadata {
        &self.0
    }
    async fn resolve_bool_value(
        &self,
        _: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<bool>> {
        Ok(ResolutionDetails::new(true))
    }
    async fn resolve_int_value(
        &self,
        _: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<i64>> {
        Ok(ResolutionDetails::new(1))
    }
    async fn resolve_float_value(
        &self,
        _: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<f64>> {
        Ok(ResolutionDetails::new(1.0))
    }
    async fn resolve_string_value(
        &self,
        _: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<String>> {
        Ok(ResolutionDetails::new("a"))
    }
    async fn resolve_struct_value(
        &self,
        _: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<StructValue>> {
        Ok(ResolutionDetails::new(StructValue::default()))
    }
}

/// Nanoseconds a call through OpenFeature with this provider.
async fn through_openfeature(provider: impl FeatureProvider) -> f64 {
    let mut api = OpenFeature::default();
    api.set_provider(provider).await;
    let client = api.create_client();
    let context = EvaluationContext::default()
        .with_targeting_key("user-17")
        .with_custom_field("country", "DK")
        .with_custom_field("plan", "pro")
        .with_custom_field("org", "contoso")
        .with_custom_field("version", "2.1.0")
        .with_custom_field("beta", true)
        .with_custom_field("age", 40_i64);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..CALLS {
            black_box(client.get_string_value(black_box(FLAG), Some(&context), None).await.unwrap());
        }
        best = best.min(began.elapsed().as_nanos() as f64 / CALLS as f64);
    }
    best
}

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = ensign_server::Config::new("127.0.0.1:0".parse().unwrap(), data.path());
    let running = runtime.block_on(Server::start(config, Clock::system())).unwrap();
    let credentials = std::fs::read(data.path().join("credentials.json")).unwrap();
    let credentials: Credentials = serde_json::from_slice(&credentials).unwrap();
    let apply = format!("{}/api/v1/projects/default/environments/production/apply", running.url());
    let files = json!({ "files": [{ "name": "f.yaml", "text": DOCUMENT }] });
    let request = reqwest::Client::new().post(apply).bearer_auth(&credentials.admin_token).json(&files);
    runtime.block_on(async { request.send().await.unwrap().error_for_status().unwrap() });
    let key = &credentials.projects["default"].environments["production"].sdk_key;
    let client = Client::start(Config::new(running.url(), key)).unwrap();
    assert!(client.wait_ready(Duration::from_secs(20)), "the server does not answer");

    let attributes = [
        ("country", "DK".into()),
        ("plan", "pro".into()),
        ("org", "contoso".into()),
        ("version", "2.1.0".into()),
        ("beta", true.into()),
        ("age", 40_i64.into()),
    ];
    let context = Pairs::new("user-17", &attributes);
    let snapshot = client.snapshot();
    let ruleset = snapshot.ruleset();
    let handle = ruleset.flag(FLAG).expect("the flag exists");
    assert!(client.read().evaluate(FLAG, &context).decision().compared, "the split decides");
    let mut reader = client.reader();
    let mut reader_by_key = client.reader();
    let times = best([
        &mut || {
            black_box(ruleset.evaluate(handle, black_box(&context), &mut Silent).value.is_some());
        },
        &mut || {
            black_box(reader.read().evaluate_by(handle, black_box(&context)).value().is_some());
        },
        &mut || {
            black_box(client.read().evaluate_by(handle, black_box(&context)).value().is_some());
        },
        &mut || {
            black_box(evaluate(ruleset, black_box(FLAG), &context, &mut Silent).value.is_some());
        },
        &mut || {
            black_box(reader_by_key.read().evaluate(black_box(FLAG), &context).value().is_some());
        },
        &mut || {
            black_box(client.read().evaluate(black_box(FLAG), &context).value().is_some());
        },
    ]);
    for (how, at) in [("by handle", 0), ("by key", 3)] {
        let [bare, reader, client] = [times[at], times[at + 1], times[at + 2]];
        println!("{how:10} bare evaluator                {bare:8.1} ns");
        println!("{:10} SDK, a reader of the thread   {reader:8.1} ns   {:.2} x", "", reader / bare);
        println!("{:10} SDK, client.read() each time  {client:8.1} ns   {:.2} x", "", client / bare);
    }
    let (alone, with) = runtime.block_on(async {
        let alone = through_openfeature(Constant(ProviderMetadata::new("constant"))).await;
        (alone, through_openfeature(Provider::new(client.clone())).await)
    });
    println!("OpenFeature alone                        {alone:8.1} ns");
    println!("OpenFeature with Ensign                  {with:8.1} ns   {:.2} x", with / alone);
    drop(client);
    runtime.block_on(running.stop());
}
