//! What only SQLite can get wrong: files, schemas, a full disk, and copies made while writing.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::{RESTORE_STEP, Sqlite, migrate};
use crate::log::{Disk, Group, Limits, LogWriter, SegmentLog};
use crate::secrets::SecretKey;
use crate::{
    AuditDraft, Clock, Commit, CommitError, Fault, Folder, ItemId, Micros, Revision, Scope, Store, Whose,
    backup,
};

fn clock() -> Clock {
    Arc::new(|| Micros(5))
}

fn open(dir: &Path) -> Result<Sqlite, Fault> {
    Sqlite::open(Folder::lock(dir)?, clock())
}

fn scope() -> Scope {
    Scope::environment("shop", "production")
}

fn change(n: usize, body: Vec<u8>) -> Commit {
    let draft = AuditDraft {
        scope: scope(),
        actor: "ada".into(),
        action: "flag.update".into(),
        subject: format!("flag/{n}"),
        reason: Some("why".into()),
        at: Micros(1),
        diff: b"{}".to_vec(),
    };
    let put = vec![(ItemId::new(scope(), "flag", n.to_string()), body)];
    Commit { put, audit: vec![draft], ..Commit::default() }
}

#[tokio::test]
async fn a_folder_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let fault = open(dir.path()).err().unwrap();
    assert_eq!(fault.whose, Whose::Operator);
    assert!(fault.inward.contains(&dir.path().display().to_string()), "{fault}");
    assert!(fault.inward.contains(&format!("process {}", std::process::id())), "{fault}");
    let incarnation = store.status().await.unwrap().incarnation;
    drop(store);
    assert_eq!(open(dir.path()).unwrap().status().await.unwrap().incarnation, incarnation);
}

#[tokio::test]
async fn commits_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(change(1, b"{}".to_vec())).await.unwrap();
    let image = store.load().await.unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.load().await.unwrap(), image);
    assert_eq!(store.verify_audit().await.unwrap().count, 1);
}

#[tokio::test]
async fn an_older_schema_is_upgraded_beside_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ensign.db");
    let old = Connection::open(&file).unwrap();
    old.execute_batch(include_str!("../../migrations/sqlite/0001_state.sql")).unwrap();
    old.execute_batch(
        "INSERT INTO installation (id, incarnation, audit_hash) VALUES (1, 'first', zeroblob(32));
         INSERT INTO revision VALUES ('shop', 'production', 7);
         INSERT INTO item VALUES ('shop', 'production', 'flag', 'old', 7, x'7b7d');
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let store = open(dir.path()).unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.incarnation.as_str(), status.schema), ("first", migrate::SCHEMA));
    let image = store.load().await.unwrap();
    assert_eq!((image.items[0].version, image.revisions[&scope()]), (Revision(7), Revision(7)));
    store.save_checkpoint(1, vec![("a".into(), vec![1])]).await.unwrap();
    let copy = Connection::open(dir.path().join("ensign.v1.bak")).unwrap();
    assert_eq!(copy.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)), Ok(1));
}

#[test]
fn newer_and_foreign_files_are_refused() {
    let check = |sql: &str, words: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ensign.db");
        Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        let before = std::fs::read(&file).unwrap();
        let fault = open(dir.path()).err().unwrap();
        assert_eq!(fault.whose, Whose::Operator);
        for word in words {
            assert!(fault.inward.contains(word), "{fault}");
        }
        // Only the journal mode in the header may differ.
        assert_eq!(std::fs::read(&file).unwrap()[100..], before[100..], "the file was touched");
    };
    let known = format!("up to {}", migrate::SCHEMA);
    check("CREATE TABLE t (x); PRAGMA user_version = 99", &["version 99", &known]);
    check("CREATE TABLE t (x)", &["another program"]);
}

#[tokio::test]
async fn the_audit_table_takes_no_update_and_tampering_shows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for n in 0..5 {
        store.commit(change(n, b"{}".to_vec())).await.unwrap();
    }
    let file = store.folder().database();
    let other = Connection::open(&file).unwrap();
    for sql in ["UPDATE audit SET actor = 'eve' WHERE seq = 3", "DELETE FROM audit WHERE seq = 5"] {
        let error = other.execute(sql, ()).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
    let broken = async |sql: &str| {
        other.execute_batch(sql).unwrap();
        store.verify_audit().await.unwrap().broken_at
    };
    assert_eq!(
        broken("DROP TRIGGER audit_is_never_updated; DROP TRIGGER audit_is_never_deleted").await,
        None
    );
    assert_eq!(broken("DELETE FROM audit WHERE seq = 5").await, Some(5), "cut at the end");
    assert_eq!(broken("UPDATE audit SET reason = NULL WHERE seq = 3").await, Some(3));
    assert_eq!(broken("DELETE FROM audit WHERE seq = 2").await, Some(2));
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_goes_on_reading() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(change(0, b"{}".to_vec())).await.unwrap();
    let limit = |pages: u32| {
        store.writer.call(move |connection| {
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), (), |_| Ok(())).unwrap();
        })
    };
    limit(1).await.unwrap();
    let before = store.load().await.unwrap();
    let large = change(1, vec![b' '; 1 << 20]);
    assert_eq!(store.commit(large.clone()).await, Err(CommitError::Full));
    assert!(store.status().await.unwrap().full);
    assert_eq!(store.load().await.unwrap(), before);
    limit(1 << 30).await.unwrap();
    assert_eq!(store.commit(large).await.unwrap().revisions[&scope()], Revision(2));
    assert!(!store.status().await.unwrap().full);
    assert_eq!(store.verify_audit().await.unwrap().broken_at, None);
}

#[tokio::test]
async fn a_backup_made_while_writing_restores_to_a_new_life() {
    let (dir, copy, new) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Arc::new(open(dir.path()).unwrap());
    let key = SecretKey::open_or_create(dir.path(), true).unwrap();
    let sealed = key.seal("c", b"secret").unwrap();
    let events = Arc::new(Disk::new(&store.folder().events()).unwrap());
    let log = SegmentLog::open(events, Limits::default(), clock()).unwrap();
    let log = Arc::new(LogWriter::start(log, 100).unwrap());
    let write = async |n: usize| {
        let at = log.append([n.to_string()].iter().collect::<Group>()).await.unwrap();
        store.save_checkpoint(at.end, vec![("a".into(), vec![1])]).await.unwrap();
        store.commit(change(n, vec![b' '; 5_000])).await.unwrap();
    };
    for n in 0..30 {
        write(n).await;
    }
    store.acquire("r", "n", 1_000).await.unwrap().unwrap();
    let to = copy.path().join("backup");
    let writing = async {
        for n in 30..60 {
            write(n).await;
        }
    };
    let (taken, ()) = tokio::join!(backup::take(&*store, log.clone(), dir.path(), &to), writing);
    taken.unwrap();
    assert!(backup::take(&*store, log.clone(), dir.path(), &to).await.is_err(), "never over another");

    backup::restore(&to, new.path(), Micros(99), "ada").unwrap();
    assert!(backup::restore(&to, new.path(), Micros(99), "ada").is_err(), "never over data");
    let restored = open(new.path()).unwrap();
    let (old, now) = (store.status().await.unwrap(), restored.status().await.unwrap());
    assert_ne!(old.incarnation, now.incarnation);
    let image = restored.load().await.unwrap();
    let revision = image.revisions[&scope()].0;
    assert!((30..=60).contains(&(revision - RESTORE_STEP)), "{revision}");
    assert!(revision > store.load().await.unwrap().revisions[&scope()].0);
    let verdict = restored.verify_audit().await.unwrap();
    assert_eq!((verdict.count, verdict.broken_at), (image.items.len() as u64 + 1, None));
    assert!(restored.acquire("r", "m", 1).await.unwrap().unwrap().fence.0 > RESTORE_STEP);
    restored.commit(change(0, b"{}".to_vec())).await.unwrap();

    let key = SecretKey::open_or_create(new.path(), false).unwrap();
    assert_eq!(key.open("c", &sealed).as_deref(), Some(&b"secret"[..]));
    let events = Arc::new(Disk::new(&restored.folder().events()).unwrap());
    let log = SegmentLog::open(events, Limits::default(), clock()).unwrap();
    let checkpoint = restored.load_checkpoint().await.unwrap().unwrap();
    assert!(checkpoint.position >= 30 && checkpoint.position <= log.end());
    let numbers: Vec<_> = log.read_from(0).unwrap().map(|record| record.unwrap().1).collect();
    assert!(numbers.iter().enumerate().all(|(n, bytes)| *bytes == n.to_string().into_bytes()));
}
