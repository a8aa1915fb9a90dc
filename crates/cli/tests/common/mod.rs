//! A server process of its own, and requests to it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test fail by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The default environment's path.
pub(crate) const PLACE: &str = "/api/v1/projects/default/environments/production";

/// A server process. Dropping it kills it, as everything here does.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(data: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ensign"))
            .args(["--json", "serve", "--listen", "127.0.0.1:0", "--log", "error", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("its output is read here");
        BufReader::new(out).read_line(&mut line).expect("the server says where it listens");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not an address: {line:?}"));
        let address = told["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL: nothing is flushed, nobody is told.
        self.process.kill().expect("it runs until it is killed");
        self.process.wait().expect("a killed process ends");
    }
}

/// One request on a connection of its own; an error when the server died meanwhile.
pub(crate) fn ask(
    address: &str,
    key: &str,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let broken = || std::io::Error::other("the answer was cut off");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    Ok((status, serde_json::from_str(body).map_err(|_| broken())?))
}

/// The administrator's key and the key of the default environment.
pub(crate) fn keys(data: &Path) -> (String, String) {
    let credentials = std::fs::read_to_string(data.join("credentials.json")).unwrap();
    let credentials: Value = serde_json::from_str(&credentials).unwrap();
    let environment = &credentials["projects"]["default"]["environments"]["production"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&credentials["admin_token"]), text(&environment["sdk_key"]))
}
