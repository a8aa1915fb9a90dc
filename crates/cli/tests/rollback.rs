//! The main job through the command line: a bad model is taken back, `why` says so, and the receipt proves it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use common::{PLACE, Server, ask, keys};
use serde_json::{Value, json};

/// One step of traffic: 5 % on the new model, where one request in 20 fails; one in 95 of control's.
const REQUESTS: u64 = 400;

struct Person<'a> {
    server: &'a Server,
    admin: String,
    folder: &'a Path,
}

impl Person<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ensign"));
        command.args(arguments).current_dir(self.folder);
        command.env("ENSIGN_URL", format!("http://{}", self.server.address)).env("ENSIGN_TOKEN", &self.admin);
        command.output().unwrap()
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, words: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stdout).unwrap();
        let all = format!("{said}{}", String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
        for word in words {
            assert!(all.contains(word), "{arguments:?} does not say \"{word}\": {all}");
        }
        said
    }
}

fn step(number: u64, decision: &Value) -> String {
    let event = |i: u64| {
        let (new, id) = (i.is_multiple_of(20), format!("r-{number}-{i}"));
        let failed = if new { i == 0 } else { i % 95 == 1 };
        let status = if failed { "upstream_error" } else { "ok" };
        let decision = json!({"flag": "model", "variant": u8::from(new), "allocation": decision["allocation"], "epoch": decision["epoch"]});
        json!({"type": "request", "id": id, "request": id, "status": status, "duration_ms": 300, "decisions": [decision]})
    };
    Value::Array((0..REQUESTS).map(event).collect()).to_string()
}

#[test]
fn a_bad_model_is_taken_back_explained_and_proven() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let (admin, key) = keys(&data);
    let person = Person { server: &server, admin: admin.clone(), folder: folder.path() };
    let flag = json!({"flag": "model", "default": "old", "variants": ["old", "new"], "unit": "request"});
    std::fs::write(folder.path().join("model.json"), flag.to_string()).unwrap();
    let rollout = json!({"rollout": "model", "to": "new", "unit": "request", "template": false,
        "stages": [{"percentage": 1, "min_samples": 1, "min_duration": "0s"}, {"percentage": 5, "min_duration": "1d"}, 100],
        "guardrails": [{"metric": "error_rate", "settle": "on_completion"}]});
    std::fs::write(folder.path().join("rollout.json"), rollout.to_string()).unwrap();
    person.check(&["apply", "model.json"], 0, &["model"]);
    person.check(&["rollout", "plan", "-f", "rollout.json"], 0, &["error rate"]);
    person.check(&["rollout", "start", "-f", "rollout.json"], 0, &[]);

    let (_open, wait) = channel::<()>();
    let mut ended = false;
    for number in 0..200 {
        let question =
            json!({"flag": "model", "context": {"targetingKey": "u", "request": format!("r{number}")}});
        let told = ask(&server.address, &admin, "POST", &format!("{PLACE}/evaluate"), &question.to_string());
        let decision = told.unwrap().1["decision"].clone();
        if decision["allocation"].is_string() {
            let sent =
                ask(&server.address, &key, "POST", "/api/v1/events", &step(number, &decision)).unwrap();
            assert_eq!(sent.1["accepted"], REQUESTS, "{}", sent.1);
        }
        let view = ask(&server.address, &admin, "GET", &format!("{PLACE}/rollouts/model"), "").unwrap().1;
        ended = view["phase"] == "rolled_back";
        if ended {
            break;
        }
        // The guard looks ten times a second.
        assert_eq!(wait.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
    }
    let status = person.check(&["rollout", "status", "model"], 0, &[]);
    assert!(ended, "it was not taken back: {status}");

    person.check(&["why", "model"], 0, &["olled back", "5 %", "error rate", "new", "old"]);
    person.check(&["receipts", "verify", "model"], 0, &["is the same to the last bit"]);
    let home = format!("{PLACE}/rollouts/model/receipts");
    let list = ask(&server.address, &admin, "GET", &home, "").unwrap().1;
    let last =
        list["receipts"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().replace('/', "%2F");
    let receipt = ask(&server.address, &admin, "GET", &format!("{home}/{last}"), "").unwrap().1.to_string();
    let file = folder.path().join("receipt.json");
    std::fs::write(&file, &receipt).unwrap();
    person.check(&["receipts", "verify", "receipt.json"], 0, &["is the same to the last bit"]);
    let mut bytes = receipt.into_bytes();
    let at = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
    bytes[at] = if bytes[at] == b'7' { b'8' } else { b'7' };
    std::fs::write(&file, &bytes).unwrap();
    person.check(&["receipts", "verify", "receipt.json"], 1, &["does not verify"]);
    let question = json!({"flag": "model", "context": {"targetingKey": "u", "request": "after"}}).to_string();
    let served = ask(&server.address, &admin, "POST", &format!("{PLACE}/evaluate"), &question).unwrap().1;
    assert_eq!(served["value"], "old", "{served}");
}
