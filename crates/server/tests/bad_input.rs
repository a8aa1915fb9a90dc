//! Wrong input: each case with its answer.

mod common;

use common::{DOCUMENT, Ensign, PLACE, answer};
use serde_json::{Value, json};

/// What is sent where, and the status, code and place that must come back.
struct Case {
    path: &'static str,
    body: Vec<u8>,
    expect: (u16, &'static str, Option<&'static str>, Option<(u64, u64)>),
}

fn apply(text: &str) -> Vec<u8> {
    json!({ "files": [{ "name": "f", "text": text }] }).to_string().into_bytes()
}

fn case(
    path: &'static str,
    body: impl Into<Vec<u8>>,
    expect: (u16, &'static str, Option<&'static str>, Option<(u64, u64)>),
) -> Case {
    Case { path, body: body.into(), expect }
}

fn cases() -> Vec<Case> {
    vec![
        // The request itself.
        case("/apply", "{\"files\": [,]}", (400, "json_syntax", None, Some((1, 12)))),
        case("/apply", "{\n  \"files\": NaN\n}", (400, "json_syntax", None, Some((2, 12)))),
        case("/apply", "{\"files\": 7}", (400, "json_type", Some("/files"), Some((1, 11)))),
        case("/apply", "{\"filse\": []}", (400, "json_unknown_member", Some("/filse"), Some((1, 8)))),
        case("/apply", "{}", (400, "json_missing_member", Some(""), Some((1, 2)))),
        case("/apply", &b"{\"files\":\n[\"\xff\"]}"[..], (400, "not_utf8", None, Some((2, 3)))),
        case("/apply", vec![b' '; 10 << 20], (413, "body_too_large", None, None)),
        case("/evaluate", "{\"flag\": \"nope\"}", (404, "unknown_flag", None, None)),
        case(
            "/evaluate",
            "{\"flag\": \"m\", \"context\": []}",
            (400, "invalid_context", Some("/context"), None),
        ),
        case("/flags/nope/kill", "{}", (404, "unknown_flag", None, None)),
        case("/flags/no%20pe/kill", "{}", (400, "bad_key", None, None)),
        case("/flags/m/restore-revision", "{\"revision\": 99999}", (404, "no_such_revision", None, None)),
        case("/webhooks", "{\"url\": \"http://example.org/\"}", (422, "bad_url", Some("/url"), None)),
        case(
            "/windows",
            "{\"from\": \"soon\", \"until\": \"later\"}",
            (422, "bad_time", Some("/from"), None),
        ),
        // Documents, with line and column in their file.
        case("/apply", apply("{ \"flag\": \"m\", \"default\": }"), (422, "", None, Some((1, 27)))),
        case("/apply", apply("flag: m\n\tdefault: a"), (422, "", None, Some((1, 0)))),
        case(
            "/apply",
            apply(
                "{ \"flag\": \"m\", \"default\": \"a\",\n  \"rules\": [{\"condition\": {\"rollout_percentage\": 101}, \"value\": \"b\"}] }",
            ),
            (422, "", Some("/rules/0/condition/rollout_percentage"), Some((2, 0))),
        ),
        case(
            "/apply",
            apply(
                "{\"flag\": \"m\", \"default\": \"a\", \"rules\": [{\"condition\": {\"x\": {\"like\": 1}}, \"value\": \"b\"}]}",
            ),
            (422, "", Some("/rules/0/condition/x"), None),
        ),
        case("/apply", apply("{\"flag\": 7, \"default\": \"a\"}"), (422, "", Some("/flag"), None)),
        case(
            "/apply",
            apply("{\"flag\": \"m\", \"default\": \"a\", \"colour\": 1}"),
            (422, "", Some("/colour"), None),
        ),
    ]
}

#[tokio::test]
async fn every_case_has_its_status_code_and_place() {
    let ensign = Ensign::start().await;
    ensign.apply(&DOCUMENT.replace("inference_model", "m")).await;
    for Case { path, body, expect } in cases() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let request = ensign.request("POST", &format!("{PLACE}{path}"));
        let request = request.bearer_auth(&ensign.credentials.admin_token).body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{shown}");
        let (status, told) = answer(response).await;
        let (want_status, want_code, pointer, place) = expect;
        let what = format!("{path} {shown}\n{told:#}");
        assert_eq!(status, want_status, "{what}");
        assert_eq!(told["status"], want_status, "{what}");
        // The documents' own codes are listed where they are made; here it matters that there is one.
        let code = told["code"].as_str().unwrap();
        assert!(if want_code.is_empty() { !code.is_empty() } else { code == want_code }, "{what}");
        if let Some(pointer) = pointer {
            assert!(told["pointer"].as_str().unwrap().starts_with(pointer), "{what}");
        }
        if let Some((line, column)) = place {
            assert_eq!(told["line"], line, "{what}");
            // The column of a document's problem is its reader's business; that of the body is ours.
            assert!(
                if want_code.is_empty() { told["column"].is_u64() } else { told["column"] == column },
                "{what}"
            );
        }
        assert!(told["detail"].as_str().is_some_and(|detail| detail.ends_with(['.', '`'])), "{what}");
    }
    ensign.running.stop().await;
}

#[tokio::test]
async fn several_problems_are_all_told_and_nothing_is_applied() {
    let ensign = Ensign::start().await;
    let text = "flag: a\ndefault: 1\nrules:\n  - condition: {rollout_percentage: 101}\n    value: 2\n---\nflag: b\ndefault: 1\ncolour: red\n";
    let body =
        json!({ "files": [{ "name": "good.json", "text": DOCUMENT }, { "name": "bad.yaml", "text": text }] });
    let (status, told) = ensign.ask("POST", &format!("{PLACE}/apply"), body).await;
    assert_eq!(status, 422, "{told}");
    let problems = told["problems"].as_array().unwrap();
    assert!(problems.len() >= 2, "{told:#}");
    assert!(
        problems.iter().all(|problem| problem["file"] == "bad.yaml" && problem["line"].is_u64()),
        "{told:#}"
    );
    let flags = ensign.done("GET", &format!("{PLACE}/flags"), Value::Null).await;
    assert_eq!(flags["flags"], json!([]));
    ensign.running.stop().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let ensign = Ensign::start().await;
    for (method, path, status, code) in [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/api/v1/projects/other/environments/production/flags", 404, "unknown_project"),
        ("GET", "/api/v1/projects/default/environments/other/flags", 404, "unknown_environment"),
        ("DELETE", "/api/v1/projects", 405, "method_not_allowed"),
        ("GET", "/api/v1/projects/default/environments/production/export?format=xml", 400, "bad_query"),
    ] {
        let (got, told) = ensign.ask(method, path, Value::Null).await;
        assert_eq!((got, told["code"].as_str()), (status, Some(code)), "{method} {path} {told}");
    }
    ensign.running.stop().await;
}
