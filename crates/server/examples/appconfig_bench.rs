//! Requests per second of `GetLatestConfiguration` with an unchanged configuration, beside the health endpoint of the
//! same server in the same run. Both share the machine with the load.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark's edge"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use ensign_protocol::appconfig::sigv4;
use ensign_server::{Clock, Config, Server};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 16;
const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

/// A signed request as text; one signature is good for five minutes, so the load does not pay for signing.
fn signed(
    address: SocketAddr,
    pair: (&str, &str),
    method: &str,
    target: &str,
    body: &str,
    stamp: &str,
) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let hash = HEXLOWER.encode(&Sha256::digest(body));
    let canonical =
        format!("{method}\n{path}\n{query}\nhost:{address}\nx-amz-date:{stamp}\n\nhost;x-amz-date\n{hash}");
    let date = &stamp[..8];
    let scope = format!("{date}/eu-west-1/appconfig/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", HEXLOWER.encode(&Sha256::digest(canonical)));
    let key = sigv4::signing_key(pair.1, date, "eu-west-1");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
    mac.update(text.as_bytes());
    let signature = HEXLOWER.encode(&mac.finalize().into_bytes());
    format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\nx-amz-date: {stamp}\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential={}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}\r\ncontent-length: {}\r\n\r\n{body}",
        pair.0,
        body.len()
    )
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Reads one answer with a known length.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Answer {
    buffer.clear();
    loop {
        let end = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if buffer.len() >= whole {
                let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
                let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
                return Answer { status, head, body: buffer[end + 4..whole].to_vec() };
            }
        }
        let read = stream.read_buf(buffer).await.expect("an answer");
        assert!(read > 0, "the server closed the connection");
    }
}

async fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("a request");
    read(&mut stream, &mut Vec::new()).await
}

/// Requests per second, and the 99th percentile in microseconds.
async fn load(address: SocketAddr, request: &str) -> (f64, u128) {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let request = request.to_owned();
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let (mut times, mut buffer) = (Vec::new(), Vec::with_capacity(4096));
            while began.elapsed() < ROUND {
                let sent = Instant::now();
                stream.write_all(request.as_bytes()).await.expect("a request");
                let answer = read(&mut stream, &mut buffer).await;
                assert_eq!(answer.status, 200, "{}", answer.head);
                times.push(sent.elapsed().as_micros());
            }
            times
        });
    }
    let mut times: Vec<u128> = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done.expect("a worker"));
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    (rate, times.get(times.len() * 99 / 100).copied().unwrap_or_default())
}

fn text<'a>(json: &'a serde_json::Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_default()
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new("127.0.0.1:0".parse().expect("an address"), folder.path());
    let running = Server::start(config, Clock::system()).await.expect("a server");
    let address = running.address;
    let file = std::fs::read(folder.path().join("credentials.json")).expect("credentials");
    let credentials: serde_json::Value = serde_json::from_slice(&file).expect("credentials");
    let project = &credentials["projects"]["default"];
    let pair = (text(project, "aws_access_key_id"), text(project, "aws_secret_access_key"));
    let now = std::process::Command::new("date").args(["-u", "+%Y%m%dT%H%M%SZ"]).output().expect("a date");
    let stamp = String::from_utf8_lossy(&now.stdout).trim().to_owned();
    let call = |method: &str, target: &str, body: &str| signed(address, pair, method, target, body, &stamp);
    let json =
        |answer: &Answer| serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();

    let apps = json(&ask(address, &call("GET", "/applications", "")).await);
    let app = text(&apps["Items"][0], "Id").to_owned();
    let environments =
        json(&ask(address, &call("GET", &format!("/applications/{app}/environments"), "")).await);
    let environment = text(&environments["Items"][0], "Id").to_owned();
    let profiles = format!("/applications/{app}/configurationprofiles");
    let made =
        json(&ask(address, &call("POST", &profiles, r#"{"Name":"bench","LocationUri":"hosted"}"#)).await);
    let profile = text(&made, "Id").to_owned();
    let versions = format!("{profiles}/{profile}/hostedconfigurationversions");
    let request = call("POST", &versions, r#"{"model": "summarizer-v1"}"#);
    let request = request.replacen("\r\n", "\r\ncontent-type: application/json\r\n", 1);
    assert_eq!(ask(address, &request).await.status, 201);
    let start = serde_json::json!({
        "ConfigurationProfileId": profile, "ConfigurationVersion": "1", "DeploymentStrategyId": "AppConfig.AllAtOnce",
    });
    let deployments = format!("/applications/{app}/environments/{environment}/deployments");
    assert_eq!(ask(address, &call("POST", &deployments, &start.to_string())).await.status, 201);
    let open = serde_json::json!({
        "ApplicationIdentifier": app, "EnvironmentIdentifier": environment, "ConfigurationProfileIdentifier": profile,
    });
    let opened = json(&ask(address, &call("POST", "/configurationsessions", &open.to_string())).await);
    let poll = |token: &str| call("GET", &format!("/configuration?configuration_token={token}"), "");
    let first = ask(address, &poll(text(&opened, "InitialConfigurationToken"))).await;
    assert!(!first.body.is_empty());
    let next = first.head.lines().find_map(|line| line.strip_prefix("next-poll-configuration-token: "));
    let unchanged = poll(next.expect("a token"));
    assert!(ask(address, &unchanged).await.body.is_empty());
    let health = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n");

    println!(
        "{CONNECTIONS} connections, rounds of {} s, load and server on the same machine",
        ROUND.as_secs()
    );
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (base, base_p99) = load(address, &health).await;
        let (rate, p99) = load(address, &unchanged).await;
        ratios.push(rate / base);
        println!(
            "health {base:.0}/s (p99 {base_p99} µs)   unchanged {rate:.0}/s (p99 {p99} µs)   ratio {:.2}",
            rate / base
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2} (goal 0.5)", ratios[ratios.len() / 2]);
    running.stop().await;
}
