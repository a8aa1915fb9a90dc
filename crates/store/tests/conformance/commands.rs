//! Random command sequences, and what each answers, as text that two backends must agree on.

use ensign_store::{
    AuditQuery, Commit, Fence, FenceCheck, Idempotency, ItemId, MembersOf, Membership, Micros, OutboxDraft,
    Revision, Scope, Settled, Store,
};
use proptest::prelude::*;

use super::{Hands, draft};

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Commit(Box<Commit>),
    Acquire { lease: u8, holder: u8, ttl: i64 },
    Release { lease: u8, fence: u64 },
    Settle { id: u64, how: u8 },
    Member { segment: u8, unit: u8, member: bool },
    Checkpoint { position: u64, part: u16, body: Vec<u8> },
    Pass { micros: i64 },
    Look { scope: u8, after: u64 },
}

fn scope(n: u8) -> Scope {
    match n % 4 {
        0 => Scope::INSTALLATION,
        1 => Scope::project("p"),
        2 => Scope::environment("p", "e"),
        _ => Scope::environment("p", "é"),
    }
}

fn item(n: u8) -> ItemId {
    ItemId::new(scope(n), if n % 8 < 4 { "flag" } else { "segment" }, format!("k{}", n % 5))
}

prop_compose! {
    fn commit()(
        expect in prop::option::weighted(0.4, (0..20_u8, prop::option::of(0..8_u64))),
        bump in prop::collection::btree_set(0..4_u8, 0..2),
        put in prop::collection::vec((0..20_u8, prop::collection::vec(any::<u8>(), 0..4)), 0..3),
        forget in prop::option::weighted(0.2, 0..20_u8),
        audit in prop::collection::vec("[a-c]", 0..2),
        outbox in prop::option::weighted(0.3, (0..6_u8, 0..60_i64)),
        fence in prop::option::weighted(0.2, (0..2_u8, 0..4_u64)),
        idempotency in prop::option::weighted(0.2, (0..3_u8, 0..80_i64)),
        log_position in prop::option::of(0..50_u64),
    ) -> Commit {
        Commit {
            expect: expect.into_iter().map(|(n, version)| (item(n), version.map(Revision))).collect(),
            bump: bump.into_iter().map(scope).collect(),
            put: put.into_iter().map(|(n, body)| (item(n), body)).collect(),
            forget: forget.into_iter().map(item).collect(),
            audit: audit.iter().map(|subject| draft(subject)).collect(),
            outbox: outbox.into_iter().map(|(n, at)| OutboxDraft {
                kind: "webhook".into(), key: n.to_string(), body: vec![n], not_before: Micros(at),
            }).collect(),
            fence: fence.map(|(n, fence)| FenceCheck { lease: n.to_string(), fence: Fence(fence) }),
            idempotency: idempotency.map(|(n, at)| Idempotency {
                key: n.to_string(), response: vec![n], expires: Micros(at),
            }),
            log_position,
        }
    }
}

pub(crate) fn commands() -> impl Strategy<Value = Vec<Command>> {
    let command = prop_oneof![
        8 => commit().prop_map(|commit| Command::Commit(Box::new(commit))),
        2 => (0..2_u8, 0..3_u8, 1..30_i64).prop_map(|(lease, holder, ttl)| Command::Acquire { lease, holder, ttl }),
        1 => (0..2_u8, 0..4_u64).prop_map(|(lease, fence)| Command::Release { lease, fence }),
        2 => (0..6_u64, 0..3_u8).prop_map(|(id, how)| Command::Settle { id, how }),
        2 => (0..3_u8, 0..3_u8, any::<bool>())
            .prop_map(|(segment, unit, member)| Command::Member { segment, unit, member }),
        1 => (0..9_u64, 0..3_u16, prop::collection::vec(any::<u8>(), 0..3))
            .prop_map(|(position, part, body)| Command::Checkpoint { position, part, body }),
        2 => (0..12_i64).prop_map(|micros| Command::Pass { micros }),
        2 => (0..4_u8, 0..6_u64).prop_map(|(scope, after)| Command::Look { scope, after }),
    ];
    prop::collection::vec(command, 1..40)
}

/// Runs a command and tells what came of it. Faults are told without their text, which may differ.
pub(crate) async fn apply(store: &dyn Store, hands: &Hands, command: Command) -> String {
    match command {
        Command::Commit(commit) => format!("{:?}", store.commit(*commit).await),
        Command::Acquire { lease, holder, ttl } => {
            format!("{:?}", store.acquire(&lease.to_string(), &holder.to_string(), ttl).await)
        }
        Command::Release { lease, fence } => {
            format!("{:?}", store.release(&lease.to_string(), Fence(fence)).await)
        }
        Command::Settle { id, how } => {
            let how = match how {
                0 => Settled::Done,
                1 => Settled::Again { at: Micros(30), error: "e".into() },
                _ => Settled::Abandoned { error: "e".into() },
            };
            format!("{:?}", store.settle(id, how).await)
        }
        Command::Member { segment, unit, member } => {
            let scope = scope(segment);
            let membership = Membership { scope, segment: segment.to_string(), unit: format!("u{unit}") };
            let changes = store.set_member(&membership, member).await;
            let of_unit = store.members(MembersOf::Unit(membership.unit)).await;
            format!("{changes:?} {of_unit:?}")
        }
        Command::Checkpoint { position, part, body } => {
            let saved = store.save_checkpoint(position, vec![(part.to_string(), body)]).await.is_ok();
            format!("{saved} {:?}", store.load_checkpoint().await)
        }
        Command::Pass { micros } => {
            let now = hands.clock()().0 + micros;
            hands.set(now);
            format!("{:?}", store.due(Micros(now), 3).await)
        }
        Command::Look { scope: n, after } => {
            let changed = store.changed_since(&scope(n), Revision(after)).await;
            let query = AuditQuery { after, subject: Some("a".into()), limit: 5, scope: None };
            let recalled = store.recall(&n.to_string()).await;
            format!("{changed:?} {:?} {recalled:?}", store.audit(query).await)
        }
    }
}
