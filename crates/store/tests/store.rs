//! Every backend against the one suite, and against each other.

#[cfg(test)]
mod conformance;

use conformance::{everything, honest, memory, sqlite};
use ensign_store::{CommitError, Faulty, Lie, Store};
use proptest::prelude::*;

store_conformance!(in_memory => memory, in_sqlite => sqlite, without_lies => honest);

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_answers_as_memory_does(commands in conformance::commands()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let hands = [conformance::Hands::default(), conformance::Hands::default()];
            let (model, ()) = memory(hands[0].clock());
            let (store, _dir) = sqlite(hands[1].clock());
            for (at, command) in commands.iter().enumerate() {
                let expected = conformance::apply(&model, &hands[0], command.clone()).await;
                let found = conformance::apply(&store, &hands[1], command.clone()).await;
                assert_eq!(expected, found, "command {at}: {command:?}");
            }
            assert_eq!(everything(&model).await, everything(&store).await);
        });
    }
}

#[tokio::test]
async fn lies_are_told_once_and_where_planned() {
    let (model, ()) = memory(conformance::Hands::default().clock());
    let store = Faulty::new(model)
        .on_commit(1, Lie::Before)
        .on_commit(2, Lie::ForgetReply)
        .on_commit(3, Lie::Late)
        .on_commit(4, Lie::Full);
    let bodies = async || {
        let image = store.load().await.unwrap();
        image.items.into_iter().map(|item| String::from_utf8(item.body).unwrap()).collect::<Vec<_>>()
    };
    assert!(matches!(store.commit(conformance::put("a", "1")).await, Err(CommitError::Fault(_))));
    assert!(bodies().await.is_empty());
    assert!(matches!(store.commit(conformance::put("a", "2")).await, Err(CommitError::Fault(_))));
    assert_eq!(bodies().await, ["2"]);
    assert!(matches!(store.commit(conformance::put("a", "3")).await, Err(CommitError::Fault(_))));
    assert_eq!(bodies().await, ["2"]);
    assert_eq!(store.commit(conformance::put("b", "4")).await, Err(CommitError::Full));
    assert_eq!(bodies().await, ["3"]);
    store.commit(conformance::put("b", "5")).await.unwrap();
    assert_eq!(bodies().await, ["3", "5"]);
    assert_eq!(store.commits(), 5);
}
