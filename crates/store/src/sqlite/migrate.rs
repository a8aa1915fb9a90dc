//! Bringing a database file to the schema this program knows.
//!
//! The version is SQLite's own `user_version`, written in the same transaction as the change, so that a file is
//! always of exactly one version. Absent on purpose: a way back. An older program refuses a newer file.

use std::path::Path;

use data_encoding::HEXLOWER;
use rusqlite::{Connection, TransactionBehavior};

use super::backup_to;
use crate::{Fault, secrets};

/// The schema of one kind of file.
pub(super) struct Schema {
    /// The migrations in order; the first makes version 1.
    migrations: &'static [&'static str],
    /// Fills a new file.
    fill: fn(&Connection) -> Result<(), Fault>,
}

/// Catalogue, audit, outbox, leases, opt-ins.
pub(super) const STATE: Schema = Schema {
    migrations: &[
        include_str!("../../migrations/sqlite/0001_state.sql"),
        include_str!("../../migrations/sqlite/0002_opt_ins.sql"),
    ],
    fill: |new| {
        let first = (incarnation()?, [0_u8; 32]);
        new.execute("INSERT INTO installation (id, incarnation, audit_hash) VALUES (1, ?1, ?2)", first)?;
        Ok(())
    },
};

/// The saved evidence.
pub(super) const EVIDENCE: Schema =
    Schema { migrations: &[include_str!("../../migrations/evidence/0001_checkpoint.sql")], fill: |_| Ok(()) };

/// The version of [`STATE`] that this program writes, and the newest it reads.
pub(super) const SCHEMA: u32 = STATE.migrations.len() as u32;

/// Upgrades the file if it is older, after copying it to a file beside it.
pub(super) fn migrate(connection: &mut Connection, file: &Path, schema: &Schema) -> Result<(), Fault> {
    let known = schema.migrations.len() as u32;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == known {
        return Ok(());
    }
    if found > known {
        return Err(Fault::operator(format!(
            "{} has schema version {found}, and this program knows versions up to {known}: start the newer program \
             again, or restore a backup made before the upgrade",
            file.display()
        )));
    }
    if found == 0 {
        refuse_foreign(connection, file)?;
    } else {
        keep_copy(connection, file, found)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (index, sql) in schema.migrations.iter().enumerate().skip(found as usize) {
        transaction.execute_batch(sql).map_err(|error| {
            let fault = Fault::from(error);
            Fault { inward: format!("schema upgrade to version {}: {}", index + 1, fault.inward), ..fault }
        })?;
    }
    if found == 0 {
        (schema.fill)(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    Ok(transaction.commit()?)
}

/// A new name for a life of the data.
pub(super) fn incarnation() -> Result<String, Fault> {
    let bytes: [u8; 16] = secrets::random()?;
    Ok(HEXLOWER.encode(&bytes))
}

fn refuse_foreign(connection: &Connection, file: &Path) -> Result<(), Fault> {
    let count = "SELECT count(*) FROM sqlite_master";
    let tables: u32 = connection.query_row(count, (), |row| row.get(0))?;
    if tables == 0 {
        return Ok(());
    }
    Err(Fault::operator(format!("{} is a database of another program", file.display())))
}

fn keep_copy(connection: &Connection, file: &Path, version: u32) -> Result<(), Fault> {
    let copy = file.with_extension(format!("v{version}.bak"));
    // A copy left by an upgrade that failed is of the same version, and older.
    match std::fs::remove_file(&copy) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Fault::machine(format!("cannot replace {}: {error}", copy.display()))),
    }
    backup_to(connection, &copy)
}
