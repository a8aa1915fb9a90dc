//! The statements that read. Each function sees one snapshot.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::migrate::SCHEMA;
use crate::port::{
    AuditDraft, AuditHead, AuditQuery, AuditRecord, Checkpoint, Image, Item, ItemId, Members, MembersOf,
    Membership, Micros, OutboxItem, Revision, Scope, Status,
};

type Result<T> = rusqlite::Result<T>;

/// The column for [`Scope::environment`].
pub(super) fn environment(scope: &Scope) -> &str {
    scope.environment.as_deref().unwrap_or_default()
}

/// A scope from two neighbouring columns.
fn scope(row: &Row<'_>, at: usize) -> Result<Scope> {
    let environment: String = row.get(at + 1)?;
    Ok(Scope { project: row.get(at)?, environment: Some(environment).filter(|name| !name.is_empty()) })
}

/// SQLite has no unsigned integers; ours stay far below the sign.
fn number(row: &Row<'_>, at: usize) -> Result<u64> {
    Ok(row.get::<_, i64>(at)?.cast_unsigned())
}

fn item(row: &Row<'_>) -> Result<Item> {
    let id = ItemId { scope: scope(row, 0)?, kind: row.get(2)?, key: row.get(3)? };
    Ok(Item { id, version: Revision(number(row, 4)?), body: row.get(5)? })
}

pub(super) fn image(tx: &Connection) -> Result<Image> {
    let mut statement = tx.prepare_cached(
        "SELECT project, environment, kind, key, version, body FROM item
         ORDER BY project, environment, kind, key",
    )?;
    let items = statement.query_map((), item)?.collect::<Result<_>>()?;
    let mut statement = tx.prepare_cached("SELECT project, environment, revision FROM revision")?;
    let counter = |row: &Row<'_>| Ok((scope(row, 0)?, Revision(number(row, 2)?)));
    let revisions = statement.query_map((), counter)?.collect::<Result<_>>()?;
    let log_position = tx.query_row("SELECT log_position FROM installation", (), |row| number(row, 0))?;
    Ok(Image { items, revisions, log_position })
}

pub(super) fn changed_since(tx: &Connection, scope: &Scope, after: Revision) -> Result<Vec<Item>> {
    let mut statement = tx.prepare_cached(
        "SELECT project, environment, kind, key, version, body FROM item
         WHERE project = ?1 AND environment = ?2 AND version > ?3 ORDER BY version, kind, key",
    )?;
    statement.query_map((&scope.project, environment(scope), after.0.cast_signed()), item)?.collect()
}

pub(super) fn version(tx: &Connection, id: &ItemId) -> Result<Option<Revision>> {
    let mut statement = tx.prepare_cached(
        "SELECT version FROM item WHERE project = ?1 AND environment = ?2 AND kind = ?3 AND key = ?4",
    )?;
    let key = (&id.scope.project, environment(&id.scope), &id.kind, &id.key);
    statement.query_row(key, |row| Ok(Revision(number(row, 0)?))).optional()
}

pub(super) fn answer(tx: &Connection, key: &str, now: Micros) -> Result<Option<Vec<u8>>> {
    let mut statement =
        tx.prepare_cached("SELECT response FROM idempotency WHERE key = ?1 AND expires > ?2")?;
    statement.query_row((key, now.0), |row| row.get(0)).optional()
}

pub(super) fn head(tx: &Connection) -> Result<AuditHead> {
    tx.query_row("SELECT audit_seq, audit_hash FROM installation", (), |row| {
        Ok(AuditHead { seq: number(row, 0)?, hash: row.get(1)? })
    })
}

pub(super) fn audit(tx: &Connection, query: &AuditQuery) -> Result<Vec<AuditRecord>> {
    let mut statement = tx.prepare_cached(
        "SELECT seq, project, environment, actor, action, subject, reason, at, diff, prev_hash, hash FROM audit
         WHERE seq > ?1 AND (?2 IS NULL OR subject = ?2)
           AND (?3 IS NULL OR (project = ?3 AND environment = ?4))
         ORDER BY seq LIMIT ?5",
    )?;
    let project = query.scope.as_ref().map(|scope| &scope.project);
    let environment = query.scope.as_ref().map(environment);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let parameters = params![query.after.cast_signed(), query.subject, project, environment, limit];
    let record = |row: &Row<'_>| {
        let draft = AuditDraft {
            scope: scope(row, 1)?,
            actor: row.get(3)?,
            action: row.get(4)?,
            subject: row.get(5)?,
            reason: row.get(6)?,
            at: Micros(row.get(7)?),
            diff: row.get(8)?,
        };
        Ok(AuditRecord { seq: number(row, 0)?, draft, prev_hash: row.get(9)?, hash: row.get(10)? })
    };
    statement.query_map(parameters, record)?.collect()
}

pub(super) fn due(tx: &Connection, now: Micros, limit: usize) -> Result<Vec<OutboxItem>> {
    let mut statement = tx.prepare_cached(
        "SELECT id, kind, key, body, attempts, last_error FROM outbox
         WHERE state = 0 AND not_before <= ?1 ORDER BY not_before, id LIMIT ?2",
    )?;
    let entry = |row: &Row<'_>| {
        Ok(OutboxItem {
            id: number(row, 0)?,
            kind: row.get(1)?,
            key: row.get(2)?,
            body: row.get(3)?,
            attempts: row.get(4)?,
            last_error: row.get(5)?,
        })
    };
    statement.query_map((now.0, i64::try_from(limit).unwrap_or(i64::MAX)), entry)?.collect()
}

pub(super) fn member_changes(tx: &Connection) -> Result<u64> {
    tx.query_row("SELECT member_changes FROM installation", (), |row| number(row, 0))
}

pub(super) fn members(tx: &Connection, of: &MembersOf) -> Result<Members> {
    let (filter, parameters) = match of {
        MembersOf::All => ("", vec![]),
        MembersOf::Segment { scope, segment } => (
            "WHERE project = ?1 AND environment = ?2 AND segment = ?3",
            vec![scope.project.as_str(), environment(scope), segment],
        ),
        MembersOf::Unit(unit) => ("WHERE unit = ?1", vec![unit.as_str()]),
    };
    let mut statement = tx.prepare_cached(&format!(
        "SELECT project, environment, segment, unit FROM membership {filter}
         ORDER BY project, environment, segment, unit"
    ))?;
    let member =
        |row: &Row<'_>| Ok(Membership { scope: scope(row, 0)?, segment: row.get(2)?, unit: row.get(3)? });
    let members = statement.query_map(rusqlite::params_from_iter(parameters), member)?;
    Ok(Members { changes: member_changes(tx)?, members: members.collect::<Result<_>>()? })
}

pub(super) fn checkpoint_position(tx: &Connection) -> Result<Option<u64>> {
    let position = tx.query_row("SELECT position FROM checkpoint", (), |row| row.get(0)).optional()?;
    Ok(position.map(i64::cast_unsigned))
}

pub(super) fn checkpoint(tx: &Connection) -> Result<Option<Checkpoint>> {
    let Some(position) = checkpoint_position(tx)? else { return Ok(None) };
    let mut statement = tx.prepare_cached("SELECT part, body FROM evidence")?;
    let parts = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Some(Checkpoint { position, parts: parts.collect::<Result<_>>()? }))
}

pub(super) fn status(tx: &Connection) -> Result<Status> {
    let incarnation = tx.query_row("SELECT incarnation FROM installation", (), |row| row.get(0))?;
    let waiting = "SELECT count(*) FROM outbox WHERE state = 0";
    let abandoned = "SELECT count(*) FROM outbox WHERE state = 2";
    Ok(Status {
        incarnation,
        schema: SCHEMA,
        audit: head(tx)?,
        outbox_waiting: tx.query_row(waiting, (), |row| number(row, 0))?,
        outbox_abandoned: tx.query_row(abandoned, (), |row| number(row, 0))?,
        full: false,
    })
}
