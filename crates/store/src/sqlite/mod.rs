//! The store in a SQLite file: the default.
//!
//! The saved evidence is a file of its own with a thread of its own: it is large, and a rollback must not wait for it.
//! One thread writes the rest, a few read. WAL with `synchronous = FULL`, so that a commit is durable when it is acknowledged
//! and readers never wait for the writer.

mod migrate;
mod read;
#[cfg(test)]
mod tests;
mod worker;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi};

use crate::folder::{self, Folder};
use crate::port::{
    AuditQuery, AuditRecord, Checkpoint, Clock, Commit, CommitError, Committed, Fence, Image, Item, Lease,
    Members, MembersOf, Membership, Micros, OutboxItem, PartId, Revision, Scope, Settled, Status, Store,
};
use crate::{Fault, Retry, Whose, audit};
use worker::Worker;

const READERS: usize = 2;
/// Added to every counter by a restore, so that no revision given out after the backup is given out again.
const RESTORE_STEP: u64 = 1_000_000;

/// A store in a data folder.
pub struct Sqlite {
    writer: Worker,
    evidence: Worker,
    readers: Vec<Worker>,
    next_reader: AtomicUsize,
    clock: Clock,
    health: Arc<Health>,
    folder: Folder,
}

/// What the last writes showed about the disk.
#[derive(Debug, Default)]
struct Health {
    full: AtomicBool,
    /// A sync failed: the kernel may have dropped pages that SQLite believes to be written. Reading the file anew, in
    /// a new process, is the only way to know what is there.
    broken: AtomicBool,
}

impl Sqlite {
    /// Opens or creates the database of a data folder, upgrading it if it is older.
    pub fn open(folder: Folder, clock: Clock) -> Result<Self, Fault> {
        let file = folder.database();
        let connection = writer(&file, &migrate::STATE)?;
        let evidence = writer(&folder.evidence(), &migrate::EVIDENCE)?;
        folder::sync_names(folder.path())?;
        let readers = (0..READERS).map(|_| reader(&file)).collect::<Result<_, _>>()?;
        let writer = Worker::start("store-write", connection)?;
        let evidence = Worker::start("store-evidence", evidence)?;
        Ok(Self {
            writer,
            evidence,
            readers,
            next_reader: AtomicUsize::new(0),
            clock,
            health: Arc::default(),
            folder,
        })
    }

    /// The folder it is in.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let reader = &self.readers[turn % self.readers.len()];
        reader.call(move |connection| snapshot(connection, job)).await?.map_err(Fault::from)
    }

    async fn write<T: Send + 'static>(
        &self,
        worker: &Worker,
        job: impl FnOnce(&Connection) -> Result<T, CommitError> + Send + 'static,
    ) -> Result<T, CommitError> {
        let health = self.health.clone();
        let job = move |connection: &mut Connection| {
            if health.broken.load(Ordering::Relaxed) {
                return Err(CommitError::Fault(broken()));
            }
            let result = transaction(connection, job);
            health.note(&result);
            result
        };
        worker.call(job).await?
    }

    /// A write that cannot conflict.
    async fn change<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, CommitError> + Send + 'static,
    ) -> Result<T, Fault> {
        self.write(&self.writer, job).await.map_err(unexpected)
    }
}

impl Health {
    fn note<T>(&self, result: &Result<T, CommitError>) {
        match result {
            Ok(_) => self.full.store(false, Ordering::Relaxed),
            Err(CommitError::Full) => self.full.store(true, Ordering::Relaxed),
            Err(CommitError::Fault(fault)) if *fault == broken() => {
                self.broken.store(true, Ordering::Relaxed);
            }
            Err(_) => {}
        }
    }
}

fn broken() -> Fault {
    let inward =
        "sqlite: a sync of the database failed; no write is accepted until the process is started again";
    Fault { whose: Whose::Machine, retry: Retry::Never, inward: inward.into() }
}

/// The error of a write that cannot conflict.
fn unexpected(error: CommitError) -> Fault {
    match error {
        CommitError::Fault(fault) => fault,
        CommitError::Full => Fault::machine(error.to_string()),
        CommitError::Conflict { .. } | CommitError::Fenced | CommitError::Replayed { .. } => {
            Fault::ours(error.to_string())
        }
    }
}

fn writer(file: &Path, schema: &migrate::Schema) -> Result<Connection, Fault> {
    let mut connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate::migrate(&mut connection, file, schema)?;
    Ok(connection)
}

fn reader(file: &Path) -> Result<Worker, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Worker::start("store-read", connection)
}

/// Several statements that see the same state.
fn snapshot<T>(
    connection: &mut Connection,
    job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction()?;
    job(&transaction)
}

fn transaction<T>(
    connection: &mut Connection,
    job: impl FnOnce(&Connection) -> Result<T, CommitError>,
) -> Result<T, CommitError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = job(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// Names whose fault an error of SQLite is.
impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let inward = format!("sqlite: {error}");
        match error.sqlite_error() {
            Some(error)
                if error.extended_code == ffi::SQLITE_IOERR_FSYNC
                    || error.extended_code == ffi::SQLITE_IOERR_DIR_FSYNC =>
            {
                broken()
            }
            Some(error) => match error.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull => {
                    Self::machine(inward)
                }
                ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory => Self::machine(inward),
                ErrorCode::CannotOpen
                | ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied => Self::operator(inward),
                _ => Self::ours(inward),
            },
            None => Self::ours(inward),
        }
    }
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            Self::Full
        } else {
            Self::Fault(Fault::from(error))
        }
    }
}

/// Copies a database into a new file, in one snapshot, durably. The name appears when the copy is whole.
fn backup_to(connection: &Connection, to: &Path) -> Result<(), Fault> {
    if to.exists() {
        return Err(Fault::operator(format!("{} exists already", to.display())));
    }
    let part = to.with_extension("partial");
    let copy = || -> rusqlite::Result<()> {
        let mut target = Connection::open(&part)?;
        rusqlite::backup::Backup::new(connection, &mut target)?.step(-1)?;
        // A single file, without the companions of WAL, is easier to carry away.
        target.pragma_update(None, "journal_mode", "DELETE")
    };
    let failed = |error: std::io::Error| Fault::machine(format!("cannot write {}: {error}", to.display()));
    copy()?;
    std::fs::File::open(&part).and_then(|file| file.sync_all()).map_err(failed)?;
    std::fs::rename(&part, to).map_err(failed)?;
    to.parent().map_or(Ok(()), folder::sync_names)
}

/// Turns a copied database into a new life of the data: every counter and fence jumps, the incarnation is renewed, and
/// the audit chain says so.
pub(crate) fn revive(file: &Path, at: Micros, actor: &str) -> Result<(), Fault> {
    let mut connection = Connection::open(file)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    migrate::migrate(&mut connection, file, &migrate::STATE)?;
    let incarnation = migrate::incarnation()?;
    let result = transaction(&mut connection, |tx| {
        tx.execute("UPDATE revision SET revision = revision + ?1", [RESTORE_STEP.cast_signed()])?;
        tx.execute("UPDATE lease SET fence = fence + ?1, holder = NULL", [RESTORE_STEP.cast_signed()])?;
        tx.execute("UPDATE installation SET incarnation = ?1", [&incarnation])?;
        let draft = crate::AuditDraft {
            scope: Scope::INSTALLATION,
            actor: actor.to_owned(),
            action: "installation.restore".into(),
            subject: "installation".into(),
            reason: None,
            at,
            diff: format!("{{\"incarnation\":\"{incarnation}\"}}").into_bytes(),
        };
        let record = audit::link(read::head(tx)?, draft);
        write::append_audit(tx, &record)?;
        Ok(())
    });
    result.map_err(|error| match error {
        CommitError::Fault(fault) => fault,
        CommitError::Full
        | CommitError::Conflict { .. }
        | CommitError::Fenced
        | CommitError::Replayed { .. } => Fault::machine(error.to_string()),
    })
}

#[async_trait]
impl Store for Sqlite {
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let now = (self.clock)();
        self.write(&self.writer, move |tx| write::commit(tx, commit, now)).await
    }

    async fn load(&self) -> Result<Image, Fault> {
        self.read(read::image).await
    }

    async fn changed_since(&self, scope: &Scope, after: Revision) -> Result<Vec<Item>, Fault> {
        let scope = scope.clone();
        self.read(move |tx| read::changed_since(tx, &scope, after)).await
    }

    async fn recall(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        let (key, now) = (key.to_owned(), (self.clock)());
        self.read(move |tx| read::answer(tx, &key, now)).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, Fault> {
        self.read(move |tx| read::audit(tx, &query)).await
    }

    async fn acquire(&self, lease: &str, holder: &str, ttl: i64) -> Result<Option<Lease>, Fault> {
        let (lease, holder, now) = (lease.to_owned(), holder.to_owned(), (self.clock)());
        self.change(move |tx| write::acquire(tx, &lease, &holder, now, ttl)).await
    }

    async fn release(&self, lease: &str, fence: Fence) -> Result<(), Fault> {
        let lease = lease.to_owned();
        self.change(move |tx| write::release(tx, &lease, fence)).await
    }

    async fn due(&self, now: Micros, limit: usize) -> Result<Vec<OutboxItem>, Fault> {
        self.read(move |tx| read::due(tx, now, limit)).await
    }

    async fn settle(&self, id: u64, how: Settled) -> Result<(), Fault> {
        self.change(move |tx| write::settle(tx, id, &how)).await
    }

    async fn set_member(&self, membership: &Membership, member: bool) -> Result<u64, Fault> {
        let membership = membership.clone();
        self.change(move |tx| write::set_member(tx, &membership, member)).await
    }

    async fn members(&self, of: MembersOf) -> Result<Members, Fault> {
        self.read(move |tx| read::members(tx, &of)).await
    }

    async fn save_checkpoint(&self, position: u64, parts: Vec<(PartId, Vec<u8>)>) -> Result<(), Fault> {
        let job = move |tx: &Connection| write::save_checkpoint(tx, position, &parts);
        self.write(&self.evidence, job).await.map_err(unexpected)
    }

    async fn load_checkpoint(&self) -> Result<Option<Checkpoint>, Fault> {
        self.evidence.call(|connection| snapshot(connection, read::checkpoint)).await?.map_err(Fault::from)
    }

    async fn backup(&self, folder: &Path) -> Result<(), Fault> {
        // The evidence first: what the log and the catalogue have beyond it is found again at the start.
        let to = folder.join(folder::EVIDENCE);
        self.evidence.call(move |connection| backup_to(connection, &to)).await??;
        let to = folder.join(folder::DATABASE);
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let reader = &self.readers[turn % self.readers.len()];
        reader.call(move |connection| backup_to(connection, &to)).await?
    }

    async fn status(&self) -> Result<Status, Fault> {
        let full = self.health.full.load(Ordering::Relaxed);
        let status = self.read(read::status).await?;
        Ok(Status { full, ..status })
    }
}
