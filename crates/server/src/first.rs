//! The first start: project `default`, its environments, their keys, and `credentials.json`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ensign_control::catalogue::{AuditEntry, Catalogue, ItemKey, KeyScope, RecordKind, Scope};
use ensign_control::ids::{Key, Place, Timestamp};
use ensign_store::secrets::SecretKey;
use ensign_store::{AuditDraft, Commit, Fault, ItemId, Micros, Store};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::image::store_scope;
use crate::keys::{self, ProjectCredentials};

/// The file's name.
pub const CREDENTIALS: &str = "credentials.json";

/// What the first start writes for the person who started it; never read by the server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// Where the server listens.
    pub url: String,
    /// May do everything.
    pub admin_token: String,
    /// By project.
    pub projects: BTreeMap<String, ProjectCredentials>,
}

/// Fills an empty store. The file goes first: keys that nobody has been told are worse than a file whose keys a crash
/// has made worthless, because the next start writes it anew.
pub(crate) async fn start(
    store: &dyn Store,
    secret: &SecretKey,
    data: &Path,
    url: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut change = Catalogue::initial(now);
    let admin_token = keys::new_token("ens-adm")?;
    let (id, admin) = keys::api_key("admin", &admin_token, &[KeyScope::Admin], now, None);
    let kind = RecordKind::ApiKey.word().to_owned();
    change.puts.push((ItemKey { scope: Scope::default(), kind, key: id }, json!(admin)));
    let mut projects = BTreeMap::new();
    for project in made(&change.puts, "project", |_, key| key.parse::<Key>().ok()) {
        projects.insert(project.to_string(), keys::for_project(secret, &project, &mut change)?);
    }
    let places = made(&change.puts, "environment", |id, key| {
        Some(Place { project: id.scope.project.parse().ok()?, environment: key.parse().ok()? })
    });
    for place in places {
        let made = keys::for_environment(secret, &place, now, &mut change)?;
        if let Some(project) = projects.get_mut(place.project.as_str()) {
            project.environments.insert(place.environment.to_string(), made);
        }
    }
    write(data, &Credentials { url: url.to_owned(), admin_token, projects })?;
    change.audit.push(AuditEntry {
        scope: Scope::default(),
        actor: "ensign".to_owned(),
        action: "installation.create".to_owned(),
        subject: "installation".to_owned(),
        reason: None,
        at: now,
        diff: json!({ "sentence": "The first start made project default and its keys." }),
    });
    let commit = Commit {
        put: change
            .puts
            .iter()
            .map(|(id, body)| {
                let id = ItemId::new(store_scope(&id.scope), id.kind.clone(), id.key.clone());
                (id, body.to_string().into_bytes())
            })
            .collect(),
        bump: change.bumps.iter().map(store_scope).collect(),
        audit: change
            .audit
            .into_iter()
            .map(|entry| AuditDraft {
                scope: store_scope(&entry.scope),
                actor: entry.actor,
                action: entry.action,
                subject: entry.subject,
                reason: entry.reason,
                at: Micros(entry.at.0),
                diff: entry.diff.to_string().into_bytes(),
            })
            .collect(),
        ..Commit::default()
    };
    match store.commit(commit).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::machine(format!("the first start could not write its data: {error}"))),
    }
}

fn made<T>(
    puts: &[(ItemKey, serde_json::Value)],
    kind: &str,
    read: impl Fn(&ItemKey, &str) -> Option<T>,
) -> Vec<T> {
    puts.iter().filter(|(id, _)| id.kind == kind).filter_map(|(id, _)| read(id, &id.key)).collect()
}

/// Keeps the file's address true when the server listens elsewhere than last time. Nothing else in it changes, and a
/// file that the person has removed stays removed.
pub(crate) fn update_url(data: &Path, url: &str) -> Result<(), Fault> {
    let Ok(text) = std::fs::read_to_string(data.join(CREDENTIALS)) else { return Ok(()) };
    let Ok(mut credentials) = serde_json::from_str::<serde_json::Value>(&text) else { return Ok(()) };
    match credentials.get_mut("url") {
        Some(known) if *known != json!(url) => *known = json!(url),
        Some(_) | None => return Ok(()),
    }
    write(data, &credentials)
}

fn write(data: &Path, credentials: &impl Serialize) -> Result<(), Fault> {
    let failed = |error: std::io::Error| {
        Fault::machine(format!("cannot write {}: {error}", data.join(CREDENTIALS).display()))
    };
    let text = serde_json::to_string_pretty(credentials).expect("credentials are texts");
    let part = data.join("credentials.json.part");
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&part, data.join(CREDENTIALS)).map_err(failed)
}
