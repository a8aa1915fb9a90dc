//! `ensign receipts verify`: recomputes decisions on this machine, from a server's receipts or from files.

use ensign_control::receipt;
use serde_json::{Value, json};

use crate::args::Cli;
use crate::call::segment;
use crate::client::{Client, Failed, Method};
use crate::settings::{self, Env};
use crate::{End, fail, print};

/// Recomputes one receipt; returns the sentence that says what was confirmed, or what differs.
pub(crate) fn check(text: &str) -> Result<String, String> {
    receipt::verify(text).map(|verified| verified.to_string()).map_err(|differs| differs.to_string())
}

/// Verifies every receipt that the arguments name.
pub(crate) async fn verify(cli: &Cli, env: &Env, what: &[String]) -> End {
    let json = cli.target.json;
    let texts = match gather(cli, env, what).await {
        Ok(texts) => texts,
        Err(why) => return fail(json, &why, End::Refused),
    };
    let mut good = true;
    for (name, text) in &texts {
        let result = check(text);
        good &= result.is_ok();
        if json {
            let (verified, said) = (result.is_ok(), result.unwrap_or_else(|why| why));
            print(&format!("{}\n", json!({"receipt": name, "verified": verified, "sentence": said})));
        } else {
            match result {
                Ok(said) => print(&format!("{name}: {said}\n")),
                Err(why) => print(&format!("{name}: does not verify: {why}\n")),
            }
        }
    }
    if texts.is_empty() {
        return fail(json, "there are no receipts yet: no automatic decision was taken", End::Done);
    }
    if good { End::Done } else { End::Refused }
}

/// The receipts by name: files as they are, flags as the server has them, everything without an argument.
async fn gather(cli: &Cli, env: &Env, what: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut texts = Vec::new();
    let mut flags = Vec::new();
    for name in what {
        if name == "-" || std::path::Path::new(name).is_file() {
            let file = crate::files::read(&[name.into()])?.pop();
            texts.extend(file.map(|file| (file.name, file.text)));
        } else {
            flags.push(name.clone());
        }
    }
    if what.is_empty() || !flags.is_empty() {
        let client = Client::new(settings::server(&cli.target, env)?)?;
        let place = format!(
            "/api/v1/projects/{}/environments/{}",
            segment(&cli.target.project),
            segment(&cli.target.environment)
        );
        if what.is_empty() {
            let all = get(&client, &format!("{place}/rollouts")).await?;
            flags = all["rollouts"].as_array().into_iter().flatten().filter_map(flag_of).collect();
            flags.dedup();
        }
        for flag in flags {
            let home = format!("{place}/rollouts/{}/receipts", segment(&flag));
            let list = get(&client, &home).await?;
            for entry in list["receipts"].as_array().into_iter().flatten() {
                let Some(id) = entry["id"].as_str() else { continue };
                let receipt = get(&client, &format!("{home}/{}", segment(id))).await?;
                texts.push((id.to_owned(), receipt.to_string()));
            }
        }
    }
    Ok(texts)
}

fn flag_of(rollout: &Value) -> Option<String> {
    rollout["flag"].as_str().map(str::to_owned)
}

async fn get(client: &Client, path: &str) -> Result<Value, String> {
    client.send(Method::Get, path, None).await.map_err(|failed| match failed {
        Failed::Broken(why) => why,
        Failed::Refused(problem) => crate::show::problem(&problem).trim_end().to_owned(),
    })
}
