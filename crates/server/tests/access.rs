//! Who may do what: every scope against every route, and the life of a key.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{DOCUMENT, Ensign, PLACE, answer};
use serde_json::{Value, json};

const SCOPES: [&str; 7] = ["read", "ingest", "plan", "write", "approve", "kill", "admin"];

/// Method, path below the environment (or from the root), and the scope it needs.
const ROUTES: &[(&str, &str, &str)] = &[
    ("POST", "/apply", "write"),
    ("POST", "/plan", "plan"),
    ("GET", "/export", "read"),
    ("GET", "/flags", "read"),
    ("GET", "/flags/none", "read"),
    ("GET", "/flags/none/history", "read"),
    ("GET", "/flags/none/why", "read"),
    ("POST", "/flags/none/on", "write"),
    ("POST", "/flags/none/off", "write"),
    ("POST", "/flags/none/retire", "write"),
    ("POST", "/flags/none/unretire", "write"),
    ("POST", "/flags/none/restore-revision", "write"),
    ("POST", "/flags/none/kill", "kill"),
    ("POST", "/flags/none/restore", "kill"),
    ("POST", "/kill", "kill"),
    ("POST", "/hold-all", "kill"),
    ("POST", "/evaluate", "read"),
    ("GET", "/pins", "read"),
    ("POST", "/pins", "write"),
    ("DELETE", "/pins/none", "write"),
    ("GET", "/segments", "read"),
    ("GET", "/segments/none/members/u", "read"),
    ("PUT", "/segments/none/members/u", "write"),
    ("DELETE", "/segments/none/members/u", "write"),
    ("GET", "/metrics", "read"),
    ("POST", "/metrics", "write"),
    ("GET", "/use-cases", "read"),
    ("POST", "/use-cases", "write"),
    ("GET", "/rollouts", "read"),
    ("POST", "/rollouts", "write"),
    ("POST", "/rollouts/plan", "plan"),
    ("GET", "/rollouts/none", "read"),
    ("POST", "/rollouts/none/approve", "approve"),
    ("POST", "/rollouts/none/hold", "kill"),
    ("POST", "/rollouts/none/resume", "write"),
    ("POST", "/rollouts/none/abort", "kill"),
    ("GET", "/rollouts/none/receipts", "read"),
    ("GET", "/rollouts/none/receipts/1", "read"),
    ("GET", "/webhooks", "admin"),
    ("POST", "/webhooks", "admin"),
    ("DELETE", "/webhooks/none", "admin"),
    ("GET", "/windows", "read"),
    ("POST", "/windows", "write"),
    ("DELETE", "/windows/none", "write"),
    ("DELETE", "/units/user/u", "admin"),
    ("GET", "/api/v1/projects", "read"),
    ("POST", "/api/v1/projects", "admin"),
    ("GET", "/clients", "read"),
    ("GET", "/settings", "read"),
    ("PUT", "/settings", "admin"),
    ("POST", "/alarms/alertmanager", "kill"),
    ("POST", "/alarms/sns", "kill"),
    ("POST", "/alarm-sources", "admin"),
    ("POST", "/aws-keys", "admin"),
    ("POST", "/api/v1/projects/default/aws-keys", "admin"),
    ("GET", "/api/v1/projects/default/environments", "read"),
    ("POST", "/api/v1/projects/default/environments", "admin"),
    ("GET", "/api/v1/keys", "admin"),
    ("POST", "/api/v1/keys", "admin"),
    ("POST", "/api/v1/keys/none/rotate", "admin"),
    ("DELETE", "/api/v1/keys/none", "admin"),
    ("GET", "/api/v1/audit", "read"),
    ("POST", "/api/v1/audit/verify", "read"),
    ("POST", "/api/v1/backup", "admin"),
    ("POST", "/api/v1/export-events", "admin"),
    ("POST", "/api/v1/events?project=default&environment=production", "ingest"),
];

fn path(route: &str) -> String {
    if route.starts_with("/api/") { route.to_owned() } else { format!("{PLACE}{route}") }
}

async fn new_key(ensign: &Ensign, scopes: &[&str], place: bool) -> (String, String) {
    let mut body = json!({ "name": format!("test {}", scopes[0]), "scopes": scopes });
    if place {
        body["project"] = json!("default");
        body["environment"] = json!("staging");
    }
    let made = ensign.done("POST", "/api/v1/keys", body).await;
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

async fn with_key(ensign: &Ensign, method: &str, path: &str, key: Option<&str>) -> (u16, Value) {
    let mut request = ensign.request(method, path);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    // A body that no route accepts: who may not, must not learn whether the body was right.
    if method != "GET" {
        request = request.body("[7]");
    }
    answer(request.send().await.unwrap()).await
}

#[tokio::test]
async fn every_route_wants_its_scope_and_no_other_will_do() {
    let ensign = Ensign::start().await;
    let mut keys = Vec::new();
    for scope in SCOPES {
        keys.push((scope, new_key(&ensign, &[scope], false).await.1));
    }
    let (_, elsewhere) = new_key(&ensign, &SCOPES, true).await;
    for (method, route, needed) in ROUTES {
        let path = path(route);
        assert_eq!(with_key(&ensign, method, &path, None).await.0, 401, "{method} {path} without a key");
        assert_eq!(
            with_key(&ensign, method, &path, Some("nonsense")).await.0,
            401,
            "{method} {path} with a wrong key"
        );
        for (scope, key) in &keys {
            if *scope == "admin" {
                continue;
            }
            let (status, told) = with_key(&ensign, method, &path, Some(key)).await;
            assert_eq!(status == 403, scope != needed, "{method} {path} with {scope}: {status} {told}");
            assert_ne!(status, 401, "{method} {path} with {scope}");
        }
        if !route.starts_with("/api/") {
            let (status, _) = with_key(&ensign, method, &path, Some(&elsewhere)).await;
            assert_eq!(status, 403, "{method} {path} with a key of another environment");
        }
    }
    ensign.running.stop().await;
}

#[tokio::test]
async fn the_description_names_the_same_routes() {
    let api: Value = serde_json::from_str(&ensign_server::description()).unwrap();
    let described: usize = api["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|operations| operations.as_object().unwrap().len())
        .sum();
    // Three for operators and one with a signature need no key; events are described on their own page.
    assert_eq!(described, ROUTES.len() - 1 + 4, "a route is missing in the matrix or in the description");
}

#[tokio::test]
async fn keys_end_overlap_and_cannot_make_more_than_they_are() {
    let ensign = Ensign::start().await;
    ensign.apply(DOCUMENT).await;
    let flags = format!("{PLACE}/flags");
    let (id, old) = new_key(&ensign, &["read"], false).await;
    let as_password = ensign.request("GET", &flags).basic_auth("anybody", Some(&old));
    assert_eq!(answer(as_password.send().await.unwrap()).await.0, 200);
    let rotated = ensign.done("POST", &format!("/api/v1/keys/{id}/rotate"), json!({ "overlap": "1h" })).await;
    let new = rotated["secret"].as_str().unwrap();
    assert_eq!(with_key(&ensign, "GET", &flags, Some(&old)).await.0, 200);
    assert_eq!(with_key(&ensign, "GET", &flags, Some(new)).await.0, 200);
    ensign.done("DELETE", &format!("/api/v1/keys/{id}"), Value::Null).await;
    assert_eq!(with_key(&ensign, "GET", &flags, Some(&old)).await.0, 401);
    assert_eq!(with_key(&ensign, "GET", &flags, Some(new)).await.0, 200);

    let past = json!({ "name": "late", "scopes": ["read"], "expires": "2020-01-01" });
    let made = ensign.done("POST", "/api/v1/keys", past).await;
    assert_eq!(with_key(&ensign, "GET", &flags, made["secret"].as_str()).await.0, 401);

    let (_, local) = new_key(&ensign, &["admin"], true).await;
    let body = json!({ "name": "more", "scopes": ["admin"] });
    let request = ensign.request("POST", "/api/v1/keys").bearer_auth(&local).json(&body);
    assert_eq!(answer(request.send().await.unwrap()).await.0, 403);
    let listed =
        answer(ensign.request("GET", "/api/v1/keys").bearer_auth(&local).send().await.unwrap()).await.1;
    assert!(
        listed["keys"].as_array().unwrap().iter().all(|key| key["where"] == "default/staging"),
        "{listed}"
    );
    assert!(!listed.to_string().contains(&local), "a secret is shown again");

    let all = ensign.done("GET", "/api/v1/keys", Value::Null).await;
    let admin = all["keys"].as_array().unwrap().iter().find(|key| key["name"] == "admin").unwrap();
    let (status, told) =
        ensign.ask("DELETE", &format!("/api/v1/keys/{}", admin["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!((status, told["code"].as_str()), (409, Some("last_admin")));
    ensign.running.stop().await;
}
