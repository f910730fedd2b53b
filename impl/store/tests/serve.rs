//! Tests of a store over TCP, from a process's point of view.

use crate::support::{PATIENCE, Player, Running, acquire, config, id, set};
use std::time::Duration;
use tenure_protocol::attributes::State;
use tenure_protocol::message::{Commit, GrantRef};
use tenure_protocol::{Delta, ToProcess, ToStore};
use tenure_store::{Server, Stop, StoreError};
use tenure_wire::{FaultCode, FromStore};

#[tokio::test]
async fn a_session_passes_between_processes_with_its_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(config(folder.path())).await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;
    let grant = p.acquire(&s, 1).await;
    let version = p
        .commit(&s, grant.token, grant.version, set("cart", "apple"))
        .await;
    q.ask_for(&s, 1).await;
    assert!(matches!(q.next().await, ToProcess::Queued { .. }));
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    p.release(&s, grant.token, version, set("user", "1")).await;
    let second = q.granted(&s).await;
    assert!(second.token > grant.token);
    let State::Full(delta) = second.state else {
        panic!("{second:?}")
    };
    assert_eq!(delta.changes().len(), 2);
    // The old token is void now.
    let old = ToStore::Commit(Commit {
        session: s.clone(),
        token: grant.token,
        base: version,
        delta: set("cart", "worm"),
    });
    p.say(old).await;
    assert!(matches!(p.next().await, ToProcess::Revoked { .. }));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn after_a_restart_acknowledged_changes_and_the_holder_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let s = id("s");
    let store = Running::start(config(folder.path())).await;
    let mut p = Player::connect(store.address, "p").await;
    let grant = p.acquire(&s, 1).await;
    p.commit(&s, grant.token, grant.version, set("cart", "apple"))
        .await;
    let epoch = store.server.epoch;
    store.stop(Stop::Fast).await.expect("no failure");

    let store = Running::start(config(folder.path())).await;
    assert!(store.server.epoch > epoch);
    assert_eq!((store.server.sessions, store.server.held), (1, 1));
    let mut q = Player::connect(store.address, "q").await;
    q.ask_for(&s, 1).await;
    assert!(matches!(q.next().await, ToProcess::Queued { .. }));
    // The holder reconnects and still holds the session.
    let mut p = Player::silent(store.address, "p", 1, 2).await;
    let hold = GrantRef {
        session: s.clone(),
        token: grant.token,
    };
    p.hello(vec![hold.clone()], vec![]).await;
    match p.next().await {
        ToProcess::Welcome { holds, .. } => assert_eq!(holds, [hold]),
        other => panic!("{other:?}"),
    }
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_free_session_leaves_memory_and_returns_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.evict = Duration::from_millis(0);
    config.limits.memory_sessions_max = 1;
    let store = Running::start(config).await;
    let mut p = Player::connect(store.address, "p").await;
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        let grant = p.acquire(&id(name), at as u64 + 1).await;
        p.release(&id(name), grant.token, grant.version, set("n", name))
            .await;
    }
    // Wait for the event: the operator's view shows when the session has left memory.
    let gone = async {
        while store.ask("GET", "/sessions/a").await.0 == 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("it leaves");
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        let grant = p.acquire(&id(name), at as u64 + 10).await;
        let State::Full(delta) = grant.state else {
            panic!("{grant:?}")
        };
        assert_eq!(delta, set("n", name));
    }
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_drain_recalls_all_grants_and_keeps_the_released_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let s = id("s");
    let store = Running::start(config(folder.path())).await;
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;
    let grant = p.acquire(&s, 1).await;
    q.ask_for(&s, 1).await;
    assert!(matches!(q.next().await, ToProcess::Queued { .. }));
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    let stops = tokio::spawn(store.stop(Stop::Drain));
    // The drain recalls the session once more, for the operator.
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    p.release(&s, grant.token, grant.version, set("cart", "kept"))
        .await;
    // The waiter is granted nothing any more. It presents its ticket to the next start.
    assert_eq!(q.fault().await.code, FaultCode::ShuttingDown);
    stops.await.expect("no panic").expect("no failure");

    let store = Running::start(config(folder.path())).await;
    assert_eq!((store.server.sessions, store.server.held), (1, 0));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_second_store_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(config(folder.path())).await;
    match Server::start(config(folder.path())).await {
        Err(StoreError::Engine(error)) => {
            assert!(error.to_string().contains("another store"), "{error}")
        }
        other => panic!("{other:?}"),
    }
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn the_operator_sees_holders_and_waiters_and_can_recall() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(config(folder.path())).await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    let grant = p.acquire(&s, 1).await;
    assert_eq!(store.ask("GET", "/livez").await.0, 200);
    assert_eq!(store.ask("GET", "/readyz").await.0, 200);
    let (status, body) = store.ask("POST", "/sessions/s/recall").await;
    assert_eq!((status, &body[..]), (202, "recalled\n"));
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    let (status, body) = store.ask("GET", "/sessions/s").await;
    assert_eq!(status, 200);
    let shown: tenure_store::SessionStatus = serde_json::from_str(&body).expect("JSON");
    let holder = shown.holder.expect("held");
    assert_eq!(
        (holder.process.as_str(), holder.recall.as_deref()),
        ("p", Some("operator"))
    );
    let (_, metrics) = store.ask("GET", "/metrics").await;
    assert!(
        metrics.contains("tenure_messages_sent_total{kind=\"granted\"} 1"),
        "{metrics}"
    );
    p.release(&s, grant.token, grant.version, Delta::default())
        .await;
    let (status, _) = store.ask("GET", "/sessions/nobody").await;
    assert_eq!(status, 404);
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_lost_connection_frees_no_grant() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(config(folder.path())).await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    let grant = p.acquire(&s, 1).await;
    drop(p);
    let mut q = Player::connect(store.address, "q").await;
    q.say(acquire(&s, 1)).await;
    assert!(matches!(
        q.item().await,
        Some(FromStore::Message(ToProcess::Queued { .. }))
    ));
    // A new incarnation shows that the old one is gone.
    let mut again = Player::silent(store.address, "p", 2, 1).await;
    again.hello(vec![], vec![]).await;
    assert!(q.granted(&s).await.token > grant.token);
    store.stop(Stop::Fast).await.expect("no failure");
}
