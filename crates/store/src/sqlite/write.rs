//! The statements that write. Each function runs inside one transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::read::{self, environment};
use crate::port::{
    AuditRecord, Commit, CommitError, Committed, Fence, FenceCheck, ItemId, Lease, Membership, Micros,
    OutboxDraft, PartId, Revision, Scope, Settled,
};
use crate::{Fault, audit};

type Result<T> = std::result::Result<T, CommitError>;

pub(super) fn commit(tx: &Connection, commit: Commit, now: Micros) -> Result<Committed> {
    check(tx, &commit, now)?;
    let mut bump = commit.bump;
    bump.extend(commit.put.iter().map(|(id, _)| id.scope.clone()));
    let mut committed = Committed::default();
    for scope in bump {
        let revision = raise(tx, &scope)?;
        committed.revisions.insert(scope, revision);
    }
    for (id, body) in &commit.put {
        let version = committed.revisions.get(&id.scope).copied().unwrap_or_default();
        put(tx, id, version, body)?;
    }
    for id in &commit.forget {
        forget(tx, id)?;
    }
    let mut head = read::head(tx)?;
    for draft in commit.audit {
        let record = audit::link(head, draft);
        append_audit(tx, &record)?;
        head.seq = record.seq;
        head.hash = record.hash;
        committed.audit_seq = Some(record.seq);
    }
    for draft in &commit.outbox {
        enqueue(tx, draft)?;
    }
    if let Some(answer) = &commit.idempotency {
        tx.prepare_cached("DELETE FROM idempotency WHERE expires <= ?1")?.execute([now.0])?;
        tx.prepare_cached("INSERT INTO idempotency (key, response, expires) VALUES (?1, ?2, ?3)")?
            .execute((&answer.key, &answer.response, answer.expires.0))?;
    }
    if let Some(position) = commit.log_position {
        tx.prepare_cached("UPDATE installation SET log_position = max(log_position, ?1)")?
            .execute([position.cast_signed()])?;
    }
    Ok(committed)
}

fn check(tx: &Connection, commit: &Commit, now: Micros) -> Result<()> {
    if let Some(idempotency) = &commit.idempotency
        && let Some(response) = read::answer(tx, &idempotency.key, now)?
    {
        return Err(CommitError::Replayed { response });
    }
    if let Some(FenceCheck { lease, fence }) = &commit.fence {
        let held = "SELECT 1 FROM lease WHERE name = ?1 AND fence = ?2 AND holder IS NOT NULL";
        if !tx.prepare_cached(held)?.exists((lease, fence.0.cast_signed()))? {
            return Err(CommitError::Fenced);
        }
    }
    for (item, expected) in &commit.expect {
        let found = read::version(tx, item)?;
        if found != *expected {
            return Err(CommitError::Conflict { item: item.clone(), found });
        }
    }
    Ok(())
}

fn raise(tx: &Connection, scope: &Scope) -> Result<Revision> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO revision (project, environment, revision) VALUES (?1, ?2, 1)
         ON CONFLICT DO UPDATE SET revision = revision + 1 RETURNING revision",
    )?;
    let revision: i64 = statement.query_row((&scope.project, environment(scope)), |row| row.get(0))?;
    Ok(Revision(revision.cast_unsigned()))
}

fn put(tx: &Connection, id: &ItemId, version: Revision, body: &[u8]) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO item (project, environment, kind, key, version, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET version = excluded.version, body = excluded.body",
    )?;
    let scope = &id.scope;
    let row = params![scope.project, environment(scope), id.kind, id.key, version.0.cast_signed(), body];
    statement.execute(row)?;
    Ok(())
}

fn forget(tx: &Connection, id: &ItemId) -> Result<()> {
    tx.prepare_cached("DELETE FROM item WHERE project = ?1 AND environment = ?2 AND kind = ?3 AND key = ?4")?
        .execute((&id.scope.project, environment(&id.scope), &id.kind, &id.key))?;
    Ok(())
}

pub(super) fn append_audit(tx: &Connection, record: &AuditRecord) -> rusqlite::Result<()> {
    let draft = &record.draft;
    tx.prepare_cached(
        "INSERT INTO audit
            (seq, project, environment, actor, action, subject, reason, at, diff, prev_hash, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        record.seq.cast_signed(),
        draft.scope.project,
        environment(&draft.scope),
        draft.actor,
        draft.action,
        draft.subject,
        draft.reason,
        draft.at.0,
        draft.diff,
        record.prev_hash,
        record.hash,
    ])?;
    tx.prepare_cached("UPDATE installation SET audit_seq = ?1, audit_hash = ?2")?
        .execute((record.seq.cast_signed(), record.hash))?;
    Ok(())
}

fn enqueue(tx: &Connection, draft: &OutboxDraft) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO outbox (key, kind, body, not_before) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?
    .execute((&draft.key, &draft.kind, &draft.body, draft.not_before.0))?;
    Ok(())
}

pub(super) fn acquire(
    tx: &Connection,
    name: &str,
    holder: &str,
    now: Micros,
    ttl: i64,
) -> Result<Option<Lease>> {
    let until = Micros(now.0.saturating_add(ttl));
    // The three cases of one statement: mine and alive keeps its fence; dead or released rises; anybody else's that
    // is alive matches no row.
    let mut statement = tx.prepare_cached(
        "INSERT INTO lease (name, holder, fence, until) VALUES (?1, ?2, 1, ?4)
         ON CONFLICT DO UPDATE SET
            fence = fence + (holder IS NULL OR until <= ?3),
            holder = ?2,
            until = ?4
         WHERE holder IS NULL OR holder = ?2 OR until <= ?3
         RETURNING fence",
    )?;
    let fence: Option<i64> =
        statement.query_row((name, holder, now.0, until.0), |row| row.get(0)).optional()?;
    Ok(fence.map(|fence| Lease { fence: Fence(fence.cast_unsigned()), until }))
}

pub(super) fn release(tx: &Connection, name: &str, fence: Fence) -> Result<()> {
    tx.prepare_cached("UPDATE lease SET holder = NULL WHERE name = ?1 AND fence = ?2")?
        .execute((name, fence.0.cast_signed()))?;
    Ok(())
}

pub(super) fn settle(tx: &Connection, id: u64, how: &Settled) -> Result<()> {
    let id = id.cast_signed();
    match how {
        Settled::Done => tx
            .prepare_cached("UPDATE outbox SET state = 1, body = x'' WHERE id = ?1 AND state = 0")?
            .execute([id]),
        Settled::Again { at, error } => tx
            .prepare_cached(
                "UPDATE outbox SET attempts = attempts + 1, last_error = ?2, not_before = ?3
                 WHERE id = ?1 AND state = 0",
            )?
            .execute((id, error, at.0)),
        Settled::Abandoned { error } => tx
            .prepare_cached(
                "UPDATE outbox SET attempts = attempts + 1, last_error = ?2, state = 2
                 WHERE id = ?1 AND state = 0",
            )?
            .execute((id, error)),
    }?;
    Ok(())
}

pub(super) fn set_member(tx: &Connection, membership: &Membership, member: bool) -> Result<u64> {
    let Membership { scope, segment, unit } = membership;
    let sql = if member {
        "INSERT INTO membership (project, environment, segment, unit) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM membership WHERE project = ?1 AND environment = ?2 AND segment = ?3 AND unit = ?4"
    };
    let changed = tx.prepare_cached(sql)?.execute((&scope.project, environment(scope), segment, unit))?;
    if changed > 0 {
        tx.execute("UPDATE installation SET member_changes = member_changes + 1", ())?;
    }
    Ok(read::member_changes(tx)?)
}

pub(super) fn save_checkpoint(tx: &Connection, position: u64, parts: &[(PartId, Vec<u8>)]) -> Result<()> {
    if let Some(saved) = read::checkpoint_position(tx)?
        && position < saved
    {
        return Err(CommitError::Fault(Fault::ours(format!(
            "checkpoint at {position} after one at {saved}"
        ))));
    }
    let sql = "INSERT INTO checkpoint (id, position) VALUES (1, ?1) ON CONFLICT DO UPDATE SET position = ?1";
    tx.execute(sql, [position.cast_signed()])?;
    for (part, body) in parts {
        if body.is_empty() {
            tx.prepare_cached("DELETE FROM evidence WHERE part = ?1")?.execute([part])?;
        } else {
            tx.prepare_cached(
                "INSERT INTO evidence (part, body) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET body = excluded.body",
            )?
            .execute((part, body))?;
        }
    }
    Ok(())
}
