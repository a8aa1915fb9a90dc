//! Takes over flags and segments of another system.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ensign_protocol::launchdarkly::{Imported, Remark, import};
use serde_json::{Value, json};

use crate::args::{Cli, ImportFile};
use crate::client::{Client, Method};
use crate::settings::Env;
use crate::{End, call, fail, failure, files, print, settings};

/// Documents go to the server in portions of at most so many bytes: as text in JSON they become longer, and the server
/// takes 4 MiB at once.
const PORTION: usize = 2 << 20;

/// Remarks name at most so many items each.
const NAMED: usize = 5;

/// Imports a payload, or writes what it becomes into files.
pub(crate) async fn launchdarkly(cli: &Cli, env: &Env, file: &ImportFile) -> End {
    let json = cli.target.json;
    let imported = match read(&file.file) {
        Ok(imported) => imported,
        Err(why) => return fail(json, &why, End::Usage),
    };
    let revision = match &file.output {
        Some(folder) => match write(folder, &imported.documents) {
            Ok(()) => None,
            Err(why) => return fail(json, &why, End::Refused),
        },
        None => match send(cli, env, file, &imported.documents).await {
            Ok(revision) => revision,
            Err(end) => return end,
        },
    };
    let count =
        |kind: &str| imported.documents.iter().filter(|document| document.get(kind).is_some()).count();
    let (flags, segments) = (count("flag"), count("segment"));
    if json {
        let remarks = imported.remarks.iter();
        let remarks: Vec<Value> =
            remarks.map(|r| json!({"item": r.item, "what": r.what, "left_out": r.left_out})).collect();
        let answer = json!({"flags": flags, "segments": segments, "revision": revision, "remarks": remarks});
        print(&format!("{answer}\n"));
        return End::Done;
    }
    let what = format!("{flags} flags and {segments} segments");
    print(&match (&file.output, file.dry_run, revision) {
        (Some(folder), _, _) => format!("{what} written to {}.\n", folder.display()),
        (None, true, _) => format!("{what} would come along.\n"),
        (None, false, Some(revision)) => {
            format!("{what} imported into {} (revision {revision}).\n", cli.target.environment)
        }
        (None, false, None) => format!("{what} are there already; nothing changed.\n"),
    });
    print(&words(&imported.remarks));
    End::Done
}

fn read(path: &Path) -> Result<Imported, String> {
    let name = path.display();
    let bytes = files::bytes(path)?;
    let payload: Value = serde_json::from_slice(&bytes).map_err(|why| format!("{name}: not JSON: {why}"))?;
    import(&payload).map_err(|why| format!("{name}: {why}"))
}

fn write(folder: &Path, documents: &[Value]) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    for document in documents {
        let (kind, key) = match (document["segment"].as_str(), document["flag"].as_str()) {
            (Some(key), _) => ("segment", key),
            (None, key) => ("flag", key.unwrap_or_default()),
        };
        // Keys have letters, digits, dots, dashes and underscores, and begin with none of the last three.
        let path = folder.join(format!("{kind}.{key}.json"));
        std::fs::write(&path, format!("{document:#}\n"))
            .map_err(|why| format!("{}: {why}", path.display()))?;
    }
    Ok(())
}

/// Applies the documents to the one environment; the last revision, if anything changed.
async fn send(cli: &Cli, env: &Env, file: &ImportFile, documents: &[Value]) -> Result<Option<u64>, End> {
    let json = cli.target.json;
    let client = settings::server(&cli.target, env)
        .and_then(Client::new)
        .map_err(|why| fail(json, &why, End::Refused))?;
    let path = format!(
        "/api/v1/projects/{}/environments/{}/apply",
        call::segment(&cli.target.project),
        call::segment(&cli.target.environment)
    );
    let name = file.file.display().to_string();
    let mut revision = None;
    for portion in portions(documents) {
        let mut body = json!({
            "files": [{"name": name, "text": Value::Array(portion).to_string()}],
            "this_environment_only": true,
            "dry_run": file.dry_run,
        });
        if let Some(reason) = &file.reason {
            body["reason"] = reason.as_str().into();
        }
        match client.send(Method::Post, &path, Some(&body)).await {
            Ok(answer) => revision = answer["revision"].as_u64().or(revision),
            Err(failed) => return Err(failure(json, failed)),
        }
        // What a later portion needs is not there after a plan.
        if file.dry_run {
            break;
        }
    }
    Ok(revision)
}

fn portions(documents: &[Value]) -> Vec<Vec<Value>> {
    let mut all: Vec<Vec<Value>> = Vec::new();
    let mut size = PORTION;
    for document in documents {
        let own = document.to_string().len();
        if size + own > PORTION {
            all.push(Vec::new());
            size = 0;
        }
        size += own;
        if let Some(last) = all.last_mut() {
            last.push(document.clone());
        }
    }
    all
}

/// What did not come along as it was, each thing once with the items it is about.
fn words(remarks: &[Remark]) -> String {
    let mut by_what: BTreeMap<(bool, &str), Vec<&str>> = BTreeMap::new();
    for remark in remarks {
        by_what.entry((!remark.left_out, &remark.what)).or_default().push(&remark.item);
    }
    let mut text = String::new();
    for ((_, what), items) in by_what {
        let named = items.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = items.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(text, "  {named}{more}: {what}");
    }
    text
}
