//! How long a kill takes to reach many clients in this process: from its acknowledgement to the first evaluation with
//! the new value. `cargo run --release -p ensign-sdk --example kill_fleet -- URL SDK_KEY ADMIN_TOKEN FLAG [CLIENTS]`.
#![expect(clippy::disallowed_methods, reason = "a benchmark at the edge of a process of its own")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the benchmark")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ensign_sdk::{Client, Config, Pairs, Reason, Transport};

const ROUNDS: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, key, admin, flag, rest @ ..] = arguments.as_slice() else {
        eprintln!("kill_fleet URL SDK_KEY ADMIN_TOKEN FLAG [CLIENTS]");
        std::process::exit(2);
    };
    let count: usize = rest.first().map_or(1_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let transport = Transport::new().unwrap();
    let began = Instant::now();
    let micros = move || began.elapsed().as_micros() as u64;
    // When each client first evaluated to a kill; 0: not yet.
    let seen: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    let clients: Arc<Vec<Client>> = {
        let mut clients = Vec::new();
        for at in 0..count {
            let mut config = Config::new(url, key);
            config.exposures = false;
            let slot: Arc<std::sync::OnceLock<Client>> = Arc::default();
            let (own, seen, name) = (Arc::clone(&slot), Arc::clone(&seen), flag.clone());
            // The evaluation follows the swap at once, as a busy service's next request would.
            let config = config.on_change(move |_| {
                let Some(client) = own.get() else { return };
                let reading = client.read();
                let reason = reading.evaluate(&name, &Pairs::new("u1", &[])).reason();
                if matches!(reason, Reason::Kill) {
                    let _ = seen[at].compare_exchange(0, micros(), Ordering::SeqCst, Ordering::SeqCst);
                }
            });
            let client = Client::start_on(runtime.handle(), &transport, config).unwrap();
            let _ = slot.set(client.clone());
            clients.push(client);
        }
        Arc::new(clients)
    };
    runtime.block_on(async {
        for client in clients.iter() {
            assert!(client.ready(Duration::from_secs(60)).await, "a client has no ruleset");
        }
    });
    let http = reqwest::Client::new();
    let place = format!("{url}/api/v1/projects/default/environments/production/flags/{flag}");
    let act = |what: &str| {
        let request = http.post(format!("{place}/{what}")).bearer_auth(admin).json(&serde_json::json!({}));
        runtime.block_on(async { request.send().await.unwrap().error_for_status().unwrap() });
    };
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        seen.iter().for_each(|at| at.store(0, Ordering::SeqCst));
        act("kill");
        let acknowledged = micros();
        while seen.iter().any(|at| at.load(Ordering::SeqCst) == 0) {
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
        all.extend(seen.iter().map(|at| at.load(Ordering::SeqCst).saturating_sub(acknowledged)));
        act("restore");
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(200)).await });
    }
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize] as f64 / 1_000.0;
    println!(
        "{count} clients, {ROUNDS} kills: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
