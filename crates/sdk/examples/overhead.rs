//! What the client adds to the bare evaluator, and what OpenFeature's layer adds to that. Run in release; it needs a
//! running server: `cargo run --release -p ensign-sdk --example overhead -- URL SDK_KEY FLAG`.
#![expect(clippy::disallowed_methods, reason = "a benchmark at the edge of a process of its own")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ensign_sdk::{Client, Config, Pairs};

/// Nanoseconds a call, the best of many rounds.
fn best(mut call: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..60 {
        let began = Instant::now();
        for _ in 0..20_000 {
            call();
        }
        best = best.min(began.elapsed().as_nanos() as f64 / 20_000.0);
    }
    best
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, key, flag] = arguments.as_slice() else {
        eprintln!("overhead URL SDK_KEY FLAG");
        std::process::exit(2);
    };
    let client = Client::start(Config::new(url, key)).expect("the settings are right");
    assert!(client.wait_ready(Duration::from_secs(10)), "the server does not answer");
    let attributes = [
        ("country", "dk".into()),
        ("plan", "pro".into()),
        ("org", "acme".into()),
        ("version", "2.1.0".into()),
        ("beta", true.into()),
        ("age", 40_i64.into()),
    ];
    let context = Pairs::new("user-17", &attributes);
    let snapshot = client.snapshot();
    let handle = snapshot.ruleset().flag(flag).expect("the flag exists");
    let bare = best(|| {
        black_box(snapshot.ruleset().evaluate(handle, black_box(&context), &mut ensign_eval::Silent));
    });
    let bare_by_key = best(|| {
        black_box(ensign_eval::evaluate(
            snapshot.ruleset(),
            black_box(flag),
            &context,
            &mut ensign_eval::Silent,
        ));
    });
    let by_handle = best(|| {
        black_box(client.read().evaluate_by(handle, black_box(&context)).value().is_some());
    });
    let by_key = best(|| {
        black_box(client.read().evaluate(black_box(flag), &context).value().is_some());
    });
    println!("bare evaluator, by handle  {bare:8.1} ns");
    println!("client, by handle          {by_handle:8.1} ns   {:.2} x", by_handle / bare);
    println!("bare evaluator, by key     {bare_by_key:8.1} ns");
    println!("client, by key             {by_key:8.1} ns   {:.2} x", by_key / bare_by_key);
    println!("compared: {}", client.read().evaluate(flag, &context).decision().compared);
}
