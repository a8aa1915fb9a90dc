//! One suite for every backend: each case is told through the port alone.

mod commands;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub(crate) use commands::{apply, commands};
use ensign_store::{
    AuditDraft, AuditQuery, Clock, Commit, CommitError, Faulty, Fence, FenceCheck, Folder, Idempotency,
    ItemId, MembersOf, Membership, Memory, Micros, OutboxDraft, Revision, Scope, Settled, Sqlite, Store,
};

pub(crate) fn memory(clock: Clock) -> (Memory, ()) {
    (Memory::new(clock), ())
}

pub(crate) fn sqlite(clock: Clock) -> (Sqlite, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::lock(dir.path()).unwrap();
    (Sqlite::open(folder, clock).unwrap(), dir)
}

pub(crate) fn honest(clock: Clock) -> (Faulty<Memory>, ()) {
    (Faulty::new(Memory::new(clock)), ())
}

pub(crate) async fn everything(store: &dyn Store) -> String {
    let image = store.load().await.unwrap();
    let audit = store.verify_audit().await.unwrap();
    let members = store.members(MembersOf::All).await.unwrap();
    let mut status = store.status().await.unwrap();
    (status.incarnation, status.schema) = (String::new(), 0);
    format!("{image:?} {audit:?} {members:?} {status:?}")
}

/// A clock that a test moves.
#[derive(Clone, Default)]
pub(crate) struct Hands(Arc<AtomicI64>);

impl Hands {
    pub(crate) fn clock(&self) -> Clock {
        let now = self.0.clone();
        Arc::new(move || Micros(now.load(Ordering::SeqCst)))
    }

    pub(crate) fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::SeqCst);
    }
}

pub(crate) fn scope() -> Scope {
    Scope::environment("shop", "production")
}

pub(crate) fn flag(key: &str) -> ItemId {
    ItemId::new(scope(), "flag", key)
}

pub(crate) fn put(key: &str, body: &str) -> Commit {
    Commit { put: vec![(flag(key), body.as_bytes().to_vec())], ..Commit::default() }
}

pub(crate) fn draft(subject: &str) -> AuditDraft {
    AuditDraft {
        scope: scope(),
        actor: "ada".into(),
        action: "flag.update".into(),
        subject: subject.into(),
        reason: None,
        at: Micros(7),
        diff: b"{}".to_vec(),
    }
}

pub(crate) async fn versions_follow_their_scope(store: &dyn Store, _hands: &Hands) {
    let first = store.commit(put("a", "1")).await.unwrap();
    assert_eq!(first.revisions.get(&scope()), Some(&Revision(1)));
    let project = Scope::project("shop");
    let both = Commit { bump: [project.clone(), scope()].into(), ..put("b", "2") };
    let second = store.commit(both).await.unwrap();
    assert_eq!(second.revisions.len(), 2);
    let mut two = put("a", "3");
    two.put.push((flag("a"), b"4".to_vec()));
    store.commit(two).await.unwrap();

    let image = store.load().await.unwrap();
    let seen: Vec<_> = image.items.iter().map(|i| (i.id.key.as_str(), i.version.0, &*i.body)).collect();
    assert_eq!(seen, [("a", 3, &b"4"[..]), ("b", 2, b"2")]);
    assert_eq!(image.revisions, [(project.clone(), Revision(1)), (scope(), Revision(3))].into());
    let keys = |items: Vec<ensign_store::Item>| items.into_iter().map(|i| i.id.key).collect::<Vec<_>>();
    assert_eq!(keys(store.changed_since(&scope(), Revision(0)).await.unwrap()), ["b", "a"]);
    assert_eq!(keys(store.changed_since(&scope(), Revision(2)).await.unwrap()), ["a"]);
    assert!(store.changed_since(&project, Revision(0)).await.unwrap().is_empty());
}

pub(crate) async fn a_conflict_is_about_one_item_and_changes_nothing(store: &dyn Store, _hands: &Hands) {
    store.commit(put("a", "1")).await.unwrap();
    store.commit(put("b", "1")).await.unwrap();
    let on_a = |version| Commit { expect: vec![(flag("a"), version)], ..put("a", "2") };
    // Somebody else's edit of b has moved the revision; a has not changed since its version 1.
    store.commit(on_a(Some(Revision(1)))).await.unwrap();
    let before = store.load().await.unwrap();
    for (expected, found) in [(Some(Revision(1)), Some(Revision(3))), (None, Some(Revision(3)))] {
        let mut commit = on_a(expected);
        commit.audit.push(draft("flag/a"));
        let error = store.commit(commit).await.unwrap_err();
        assert_eq!(error, CommitError::Conflict { item: flag("a"), found });
    }
    let absent = Commit { expect: vec![(flag("c"), Some(Revision(1)))], ..put("c", "1") };
    assert_eq!(
        store.commit(absent).await.unwrap_err(),
        CommitError::Conflict { item: flag("c"), found: None }
    );
    assert_eq!(store.load().await.unwrap(), before);
    assert_eq!(store.status().await.unwrap().audit.seq, 0);
}

pub(crate) async fn a_retry_gets_the_first_answer_until_it_expires(store: &dyn Store, hands: &Hands) {
    let key = |response: &str| {
        Some(Idempotency { key: "k".into(), response: response.as_bytes().to_vec(), expires: Micros(100) })
    };
    let send = |response: &str| Commit { idempotency: key(response), ..put("a", response) };
    assert_eq!(store.recall("k").await.unwrap(), None);
    store.commit(send("first")).await.unwrap();
    let replayed = CommitError::Replayed { response: b"first".to_vec() };
    assert_eq!(store.commit(send("second")).await.unwrap_err(), replayed);
    // The key is looked at before the expectations, which a retry no longer meets.
    let stale = Commit { expect: vec![(flag("a"), None)], ..send("third") };
    assert_eq!(store.commit(stale).await.unwrap_err(), replayed);
    assert_eq!(store.recall("k").await.unwrap().as_deref(), Some(&b"first"[..]));
    hands.set(100);
    assert_eq!(store.recall("k").await.unwrap(), None);
    let again = Commit {
        idempotency: Some(Idempotency { key: "k".into(), response: b"new".to_vec(), expires: Micros(200) }),
        ..put("a", "new")
    };
    store.commit(again).await.unwrap();
    assert_eq!(store.recall("k").await.unwrap().as_deref(), Some(&b"new"[..]));
}

pub(crate) async fn a_lease_is_one_holders_and_its_fence_rises(store: &dyn Store, hands: &Hands) {
    hands.set(1000);
    let fenced = |fence| Commit { fence: Some(FenceCheck { lease: "r".into(), fence }), ..put("a", "x") };
    assert_eq!(store.commit(fenced(Fence(1))).await.unwrap_err(), CommitError::Fenced);
    let first = store.acquire("r", "n1", 10).await.unwrap().unwrap();
    assert_eq!((first.fence, first.until), (Fence(1), Micros(1010)));
    assert_eq!(store.acquire("r", "n2", 10).await.unwrap(), None);
    hands.set(1009);
    let renewed = store.acquire("r", "n1", 10).await.unwrap().unwrap();
    assert_eq!((renewed.fence, renewed.until), (Fence(1), Micros(1019)));
    store.commit(fenced(Fence(1))).await.unwrap();
    hands.set(1019);
    // Expired, and nobody has taken it: the holder's decisions are still the only ones.
    store.commit(fenced(Fence(1))).await.unwrap();
    let second = store.acquire("r", "n2", 10).await.unwrap().unwrap();
    assert_eq!(second.fence, Fence(2));
    assert_eq!(store.commit(fenced(Fence(1))).await.unwrap_err(), CommitError::Fenced);
    store.release("r", Fence(1)).await.unwrap();
    store.commit(fenced(Fence(2))).await.unwrap();
    store.release("r", Fence(2)).await.unwrap();
    assert_eq!(store.commit(fenced(Fence(2))).await.unwrap_err(), CommitError::Fenced);
    assert_eq!(store.acquire("r", "n2", 10).await.unwrap().unwrap().fence, Fence(3));
    hands.set(2000);
    assert_eq!(store.acquire("r", "n2", 10).await.unwrap().unwrap().fence, Fence(4), "its own, expired");
    store.release("unknown", Fence(1)).await.unwrap();
}

pub(crate) async fn the_audit_chain_grows_and_verifies(store: &dyn Store, _hands: &Hands) {
    assert_eq!(store.verify_audit().await.unwrap().broken_at, None);
    for n in 1..=5_u64 {
        let subject = if n % 2 == 0 { "flag/even" } else { "flag/odd" };
        let with_reason = AuditDraft { reason: Some(String::new()), ..draft(subject) };
        let audit = vec![draft(subject), with_reason];
        let committed = store.commit(Commit { audit, ..Commit::default() }).await.unwrap();
        assert_eq!(committed.audit_seq, Some(2 * n));
        assert!(committed.revisions.is_empty());
    }
    let verdict = store.verify_audit().await.unwrap();
    assert_eq!((verdict.count, verdict.broken_at), (10, None));
    let query = AuditQuery { subject: Some("flag/even".into()), after: 4, limit: 10, scope: None };
    let seqs: Vec<_> = store.audit(query.clone()).await.unwrap().iter().map(|record| record.seq).collect();
    assert_eq!(seqs, [7, 8]);
    let page = store.audit(AuditQuery { limit: 3, ..AuditQuery::default() }).await.unwrap();
    assert_eq!(page.len(), 3);
    let elsewhere = AuditQuery { scope: Some(Scope::project("shop")), limit: 9, ..AuditQuery::default() };
    assert!(store.audit(elsewhere).await.unwrap().is_empty());
    let here = AuditQuery { scope: Some(scope()), limit: 99, ..AuditQuery::default() };
    let all = store.audit(here).await.unwrap();
    assert_eq!(all.len(), 10);
    assert_eq!(store.status().await.unwrap().audit.hash, all[9].hash);
    assert_ne!(all[0].hash, all[1].hash);
}

pub(crate) async fn the_outbox_hands_out_each_key_until_it_is_settled(store: &dyn Store, _hands: &Hands) {
    let entry = |key: &str, at| OutboxDraft {
        kind: "webhook".into(),
        key: key.into(),
        body: key.as_bytes().to_vec(),
        not_before: Micros(at),
    };
    let outbox = vec![entry("late", 20), entry("soon", 10), entry("soon", 5), entry("bad", 10)];
    store.commit(Commit { outbox, ..Commit::default() }).await.unwrap();
    let keys = async |now| {
        let due = store.due(Micros(now), 10).await.unwrap();
        due.iter().map(|item| item.key.clone()).collect::<Vec<_>>()
    };
    assert!(keys(9).await.is_empty());
    assert_eq!(keys(30).await, ["soon", "bad", "late"]);
    let due = store.due(Micros(30), 2).await.unwrap();
    store.settle(due[0].id, Settled::Again { at: Micros(40), error: "503".into() }).await.unwrap();
    store.settle(due[1].id, Settled::Abandoned { error: "410".into() }).await.unwrap();
    assert_eq!(keys(30).await, ["late"]);
    let again = store.due(Micros(40), 10).await.unwrap().pop().unwrap();
    assert_eq!((again.key.as_str(), again.attempts, again.last_error.as_deref()), ("soon", 1, Some("503")));
    store.settle(again.id, Settled::Done).await.unwrap();
    store.settle(again.id, Settled::Again { at: Micros(0), error: "late news".into() }).await.unwrap();
    store.settle(99, Settled::Done).await.unwrap();
    assert_eq!(keys(99).await, ["late"]);
    // A key that was used is used for good.
    store.commit(Commit { outbox: vec![entry("soon", 0)], ..Commit::default() }).await.unwrap();
    assert_eq!(keys(99).await, ["late"]);
    let status = store.status().await.unwrap();
    assert_eq!((status.outbox_waiting, status.outbox_abandoned), (1, 1));
}

pub(crate) async fn members_come_and_go(store: &dyn Store, _hands: &Hands) {
    let member =
        |segment: &str, unit: &str| Membership { scope: scope(), segment: segment.into(), unit: unit.into() };
    assert_eq!(store.set_member(&member("beta", "u1"), true).await.unwrap(), 1);
    assert_eq!(store.set_member(&member("beta", "u1"), true).await.unwrap(), 1);
    assert_eq!(store.set_member(&member("beta", "u0"), true).await.unwrap(), 2);
    assert_eq!(store.set_member(&member("alpha", "u1"), true).await.unwrap(), 3);
    assert_eq!(store.set_member(&member("alpha", "nobody"), false).await.unwrap(), 3);
    let beta = MembersOf::Segment { scope: scope(), segment: "beta".into() };
    let members = store.members(beta).await.unwrap();
    assert_eq!((members.changes, members.members), (3, vec![member("beta", "u0"), member("beta", "u1")]));
    let of_u1 = store.members(MembersOf::Unit("u1".into())).await.unwrap().members;
    assert_eq!(of_u1, [member("alpha", "u1"), member("beta", "u1")]);
    for membership in of_u1 {
        store.set_member(&membership, false).await.unwrap();
    }
    let rest = store.members(MembersOf::All).await.unwrap();
    assert_eq!((rest.changes, rest.members), (5, vec![member("beta", "u0")]));
}

pub(crate) async fn a_checkpoint_keeps_the_parts_it_does_not_name(store: &dyn Store, _hands: &Hands) {
    assert_eq!(store.load_checkpoint().await.unwrap(), None);
    store
        .save_checkpoint(10, vec![("a/0".into(), b"a".to_vec()), ("z".into(), b"b".to_vec())])
        .await
        .unwrap();
    store.save_checkpoint(20, vec![("z".into(), b"c".to_vec()), ("7".into(), b"d".to_vec())]).await.unwrap();
    store.save_checkpoint(20, vec![("7".into(), Vec::new())]).await.unwrap();
    assert!(store.save_checkpoint(19, vec![("a/0".into(), b"old".to_vec())]).await.is_err());
    let checkpoint = store.load_checkpoint().await.unwrap().unwrap();
    assert_eq!(checkpoint.position, 20);
    assert_eq!(checkpoint.parts, [("a/0".to_owned(), b"a".to_vec()), ("z".to_owned(), b"c".to_vec())].into());
}

pub(crate) async fn forgetting_and_log_positions(store: &dyn Store, _hands: &Hands) {
    store.commit(Commit { log_position: Some(5), ..put("a", "1") }).await.unwrap();
    let forget =
        Commit { forget: vec![flag("a"), flag("never")], log_position: Some(3), ..Commit::default() };
    store.commit(forget).await.unwrap();
    let image = store.load().await.unwrap();
    assert!(image.items.is_empty());
    assert_eq!(image.log_position, 5);
    assert_eq!(image.revisions.get(&scope()), Some(&Revision(1)), "a counter never goes back");
    store.commit(Commit { expect: vec![(flag("a"), None)], ..put("a", "2") }).await.unwrap();
}

/// Runs the suite for each backend: an expression that makes `(store, whatever must outlive it)` from a clock.
#[macro_export]
macro_rules! store_conformance {
    ($($backend:ident => $make:expr),+ $(,)?) => {
        $($crate::store_conformance!(@cases $backend, $make;
            versions_follow_their_scope,
            a_conflict_is_about_one_item_and_changes_nothing,
            a_retry_gets_the_first_answer_until_it_expires,
            a_lease_is_one_holders_and_its_fence_rises,
            the_audit_chain_grows_and_verifies,
            the_outbox_hands_out_each_key_until_it_is_settled,
            members_come_and_go,
            a_checkpoint_keeps_the_parts_it_does_not_name,
            forgetting_and_log_positions,
        );)+
    };
    (@cases $backend:ident, $make:expr; $($case:ident,)+) => {
        mod $backend {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                let hands = conformance::Hands::default();
                let (store, _alive) = ($make)(hands.clock());
                conformance::$case(&store, &hands).await;
            })+
        }
    };
}
