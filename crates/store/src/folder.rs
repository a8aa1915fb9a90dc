//! The data folder: its file names, and the lock that gives it to one process.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Fault;

/// The database's file name.
pub const DATABASE: &str = "ensign.db";
/// The file name of the saved evidence.
pub const EVIDENCE: &str = "evidence.db";
/// The event log's folder.
pub const EVENTS: &str = "events";
/// The lock's file name.
const LOCK: &str = "lock";

/// A data folder that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The lock goes with the last handle, also when the process dies.
    _lock: File,
}

impl Folder {
    /// Creates the folder if it is missing (mode 0700) and takes its lock. A folder that is in use is refused, with
    /// the process that has it.
    pub fn lock(path: &Path) -> Result<Self, Fault> {
        let failed = |error: &std::io::Error| {
            Fault::operator(format!("cannot use the data folder {}: {error}", path.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed(&error))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(path.join(LOCK)).map_err(|error| failed(&error))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut owner = String::new();
            // Without the number the message is less helpful, not wrong.
            let _ = lock.read_to_string(&mut owner);
            let owner = owner.trim();
            let owner = if owner.is_empty() { "another process".into() } else { format!("process {owner}") };
            return Err(Fault::operator(format!(
                "the data folder {} is in use by {owner}: stop it, or choose another folder",
                path.display()
            )));
        }
        let pid = std::process::id().to_string();
        let note = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(pid.as_bytes()));
        // A full disk must not keep the server from starting: it can still serve and kill.
        drop(note);
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// The file of the saved evidence.
    #[must_use]
    pub fn evidence(&self) -> PathBuf {
        self.path.join(EVIDENCE)
    }

    /// The event log's folder.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.path.join(EVENTS)
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_names(dir: &Path) -> Result<(), Fault> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Fault::machine(format!("cannot sync {}: {error}", dir.display())))
}
