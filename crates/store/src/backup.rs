//! Backup while running, and restore: the databases, the event log and the key as one folder.
//!
//! The databases go first and the log after them, so that the log reaches at least as far as the saved evidence; what
//! is behind it is folded in again at the next start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::folder::{DATABASE, EVENTS, EVIDENCE, Folder, sync_names};
use crate::log::{Disk, LogWriter};
use crate::secrets::{KEY_FILE, write_private};
use crate::{Fault, Micros, Store, sqlite};

/// Copies everything of a running installation into a new folder. The key is part of it: keep the folder as safe as
/// the installation itself.
pub async fn take(store: &dyn Store, log: Arc<LogWriter>, data: &Path, to: &Path) -> Result<(), Fault> {
    new_folder(to)?;
    store.backup(to).await?;
    let (data, to) = (data.to_owned(), to.to_owned());
    let rest = tokio::task::spawn_blocking(move || copy_rest(&log, &data, &to));
    rest.await.map_err(|error| Fault::ours(format!("backup: {error}")))?
}

fn copy_rest(log: &LogWriter, data: &Path, to: &Path) -> Result<(), Fault> {
    let events = to.join(EVENTS);
    let disk = Disk::new(&events).map_err(|error| failed("create", &events, &error))?;
    log.copy_to(&disk)?;
    copy_key(data, to)?;
    sync_names(to)
}

/// Makes a data folder from a backup. Every revision counter jumps by a million and the incarnation is renewed, so that
/// no client takes the restored state for one it has seen; the audit log says who restored it and when.
pub fn restore(from: &Path, to: &Path, at: Micros, actor: &str) -> Result<(), Fault> {
    let database = from.join(DATABASE);
    if !database.is_file() {
        return Err(Fault::operator(format!("{} is no backup: it has no {DATABASE}", from.display())));
    }
    if to.join(DATABASE).exists() {
        return Err(Fault::operator(format!(
            "{} holds data already: restore into an empty folder",
            to.display()
        )));
    }
    let _folder = Folder::lock(to)?;
    let events = from.join(EVENTS);
    let target = to.join(EVENTS);
    std::fs::create_dir_all(&target).map_err(|error| failed("create", &target, &error))?;
    if events.is_dir() {
        for entry in std::fs::read_dir(&events).map_err(|error| failed("read", &events, &error))? {
            let entry = entry.map_err(|error| failed("read", &events, &error))?;
            copy_file(&entry.path(), &target.join(entry.file_name()))?;
        }
    }
    sync_names(&target)?;
    copy_key(from, to)?;
    copy_file(&from.join(EVIDENCE), &to.join(EVIDENCE))?;
    // Under another name until it is whole and revived: a restore that was interrupted leaves no data folder.
    let part = to.join("restoring.db");
    if part.exists() {
        std::fs::remove_file(&part).map_err(|error| failed("remove", &part, &error))?;
    }
    copy_file(&database, &part)?;
    sqlite::revive(&part, at, actor)?;
    let done = to.join(DATABASE);
    std::fs::rename(&part, &done).map_err(|error| failed("create", &done, &error))?;
    sync_names(to)
}

fn new_folder(path: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt;
    if path.exists() {
        return Err(Fault::operator(format!("{} exists already: name a new folder", path.display())));
    }
    let created = std::fs::DirBuilder::new().mode(0o700).create(path);
    created.map_err(|error| failed("create", path, &error))
}

/// Copies the key file, if the key is not from elsewhere.
fn copy_key(from: &Path, to: &Path) -> Result<(), Fault> {
    let (from, to): (PathBuf, PathBuf) = (from.join(KEY_FILE), to.join(KEY_FILE));
    if !from.exists() {
        return Ok(());
    }
    let bytes = std::fs::read(&from).map_err(|error| failed("read", &from, &error))?;
    if std::fs::read(&to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    write_private(&to, &bytes)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), Fault> {
    std::fs::copy(from, to).map_err(|error| failed("write", to, &error))?;
    std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(|error| failed("sync", to, &error))
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::machine(format!("cannot {doing} {}: {error}", path.display()))
}
