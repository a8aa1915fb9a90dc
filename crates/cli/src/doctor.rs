//! `ensign doctor`: what is wrong with a server and with the applications that use it, each with what to do.

use serde_json::{Value, json};

use crate::args::Cli;
use crate::client::{Client, Failed, Method};
use crate::settings::{self, Env};
use crate::{End, call, fail, failure, print, show};

/// Asks the server how it is and what its clients do. Exit code 1 when something was found.
pub(crate) async fn run(cli: &Cli, env: &Env) -> End {
    let as_json = cli.target.json;
    let client = match settings::server(&cli.target, env).and_then(Client::new) {
        Ok(client) => client,
        Err(why) => return fail(as_json, &why, End::Refused),
    };
    let state = match client.send(Method::Get, "/readyz", None).await {
        // A server that is not ready answers with what is wrong.
        Ok(state) | Err(Failed::Refused(state)) => state,
        Err(failed) => return failure(as_json, failed),
    };
    let (project, environment) = (call::segment(&cli.target.project), call::segment(&cli.target.environment));
    let path = format!("/api/v1/projects/{project}/environments/{environment}/clients");
    let clients = match client.send(Method::Get, &path, None).await {
        Ok(clients) => clients,
        Err(failed) => return failure(as_json, failed),
    };
    let found = findings(&state, &clients);
    if as_json {
        print(&format!("{}\n", json!({ "healthy": found.is_empty(), "findings": found })));
    } else if found.is_empty() {
        let count = clients["clients"].as_array().map_or(0, Vec::len);
        print(&format!(
            "Nothing is wrong: the server is ready, and none of its {count} SDK instances is odd.\n"
        ));
    } else {
        print(&(found.join("\n\n") + "\n"));
    }
    if found.is_empty() { End::Done } else { End::Refused }
}

fn findings(state: &Value, clients: &Value) -> Vec<String> {
    let problems = state["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let problems = problems.map(str::to_owned);
    problems.chain(show::odd_clients(clients)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_problems_come_first_and_equal_clients_are_named_once() {
        let odd = json!({"warning": {"sentence": "It is odd.", "next": "do this"}});
        let clients = json!({"clients": [odd, odd, {"warning": null}]});
        let found = findings(&json!({"problems": ["The disk is full."]}), &clients);
        assert_eq!(found, ["The disk is full.", "It is odd.\nNext: do this"]);
        assert!(findings(&json!({"problems": []}), &json!({"clients": []})).is_empty());
    }
}
