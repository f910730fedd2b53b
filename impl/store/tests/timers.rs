//! Tests of timers: without any message, every wait, recall and lease ends, also after a restart.

use crate::support::{Grant, PATIENCE, Player, Running, config, id, set};
use std::time::Duration;
use tenure_engine::Memory;
use tenure_protocol::message::{Granted, Reason, Refusal, Revocation};
use tenure_protocol::{Delta, Time, ToProcess, ToStore, Token};
use tenure_store::{Config, Stop};
use tokio::time::timeout;

/// Returns settings with times so far apart that the order of events is certain.
fn own(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config(std::path::Path::new("unused"));
    config.lease = Duration::from_millis(60_000);
    config.remind = Duration::from_millis(60_000);
    config.recall = Duration::from_millis(60_000);
    config.wait = Duration::from_millis(60_000);
    change(&mut config);
    config
}

async fn store(change: impl FnOnce(&mut Config)) -> Running {
    Running::with_engine(own(change), Box::new(Memory::new())).await
}

#[tokio::test]
async fn an_unanswered_recall_is_repeated_and_the_wait_for_it_ends() {
    let store = store(|config| {
        config.remind = Duration::from_millis(30);
        config.wait = Duration::from_millis(200);
    })
    .await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;
    p.acquire(&s, 1).await;
    q.ask_for(&s, 1).await;
    for _ in 0..3 {
        assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    }
    assert!(matches!(q.next().await, ToProcess::Queued { .. }));
    match q.next().await {
        ToProcess::Refused { why, .. } => assert_eq!(why, Refusal::Deadline),
        other => panic!("{other:?}"),
    }
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_grant_is_revoked_at_the_deadline_of_its_recall_and_busy_does_not_move_it() {
    let store = store(|config| config.recall = Duration::from_millis(100)).await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;
    let grant = p.acquire(&s, 1).await;
    q.ask_for(&s, 1).await;
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    let busy = ToStore::Busy {
        session: s.clone(),
        token: grant.token,
        inside: 1,
        blocked_on: vec![],
    };
    p.say(busy).await;
    match p.next().await {
        ToProcess::Revoked { why, .. } => assert_eq!(why, Revocation::RecallDeadline),
        other => panic!("{other:?}"),
    }
    q.granted(&s).await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_lease_ends_before_and_after_a_restart_but_only_for_a_silent_holder() {
    let memory = Memory::new();
    let config = own(|config| config.lease = Duration::from_millis(1_000));
    let store = Running::with_engine(config.clone(), Box::new(memory.clone())).await;
    let (s, t) = (id("s"), id("t"));
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;
    p.acquire(&s, 1).await;
    q.ask_for(&s, 1).await;
    assert!(matches!(q.next().await, ToProcess::Queued { .. }));
    // q sends keep-alives, and p does not.
    let grant = granted_while_alive(&mut q).await;
    q.ask_for(&t, 2).await;
    granted_while_alive(&mut q).await;
    store.stop(Stop::Fast).await.expect("no failure");

    // q holds two sessions, and never reconnects.
    let store = Running::with_engine(config, Box::new(memory.clone())).await;
    assert_eq!(store.server.held, 2);
    let mut r = Player::connect(store.address, "r").await;
    for (request, id) in [(1, &s), (2, &t)] {
        r.ask_for(id, request).await;
    }
    for _ in 0..2 {
        assert!(granted_while_alive(&mut r).await > grant);
    }
    store.stop(Stop::Fast).await.expect("no failure");
}

/// Sends keep-alives until a session is granted, long before any time other than a lease ends.
async fn granted_while_alive(player: &mut Player) -> Token {
    let granted = async {
        loop {
            player.say(ToStore::KeepAlive { sent: Time(1) }).await;
            match player.next().await {
                ToProcess::Granted(Granted { token, .. }) => return token,
                ToProcess::Alive { .. } | ToProcess::Queued { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(PATIENCE, granted).await.expect("a lease ends")
}

#[tokio::test]
async fn an_unused_session_expires_and_a_held_one_is_recalled() {
    let store = store(|config| config.time_to_live = Some(Duration::from_millis(200))).await;
    let (s, t) = (id("s"), id("t"));
    let mut p = Player::connect(store.address, "p").await;
    p.write(&s, 1, "1").await;
    let grant = p.acquire(&t, 2).await;
    p.commit(&t, grant.token, grant.version, set("n", "1"))
        .await;
    match p.next().await {
        ToProcess::Recall { hold, info } => {
            assert_eq!((hold.session, info.reason), (t.clone(), Reason::Expiry))
        }
        other => panic!("{other:?}"),
    }
    store.leaves(&s).await;
    let again = p.acquire(&s, 3).await;
    assert_eq!(again.version, tenure_protocol::Version::NONE);
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn the_process_refused_for_a_deadlock_is_notified_at_once() {
    let store = store(|_| {}).await;
    let (s, t) = (id("s"), id("t"));
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;
    let (of_p, of_q) = (p.acquire(&s, 1).await, q.acquire(&t, 1).await);
    p.ask_for(&t, 2).await;
    q.ask_for(&s, 2).await;
    let busy = |own: &Grant, session: &tenure_protocol::SessionId, on| ToStore::Busy {
        session: session.clone(),
        token: own.token,
        inside: 1,
        blocked_on: vec![on],
    };
    p.say(busy(&of_p, &s, t.clone())).await;
    p.lives().await;
    q.say(busy(&of_q, &t, s.clone())).await;
    match q.lives().await.last() {
        Some(ToProcess::Refused { why, .. }) => {
            assert!(matches!(why, Refusal::Deadlock { cycle } if cycle.len() == 2))
        }
        other => panic!("{other:?}"),
    }
    q.release(&t, of_q.token, of_q.version, Delta::default())
        .await;
    p.granted(&t).await;
    store.stop(Stop::Fast).await.expect("no failure");
}
