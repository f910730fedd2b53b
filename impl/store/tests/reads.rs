//! Tests with sessions that are only on disk, and with a slow disk.

use crate::support::gated::{Gate, Gated};
use crate::support::{Grant, Player, Running, acquire, config, id, set};
use std::time::Duration;
use tenure_engine::{Engine, Health, Memory};
use tenure_protocol::attributes::{Head, State};
use tenure_protocol::id::Stamp;
use tenure_protocol::message::{Commit, GrantRef, Release};
use tenure_protocol::{Delta, SessionId, ToProcess, ToStore, Update, Version};
use tenure_store::{Config, Stop, StoreError};

/// Returns a store on which these sessions exist and have left memory, and the process `p`.
async fn with_sessions(
    ids: &[SessionId],
    change: impl FnOnce(&mut Config),
) -> (Running, Gate, Memory, Player) {
    let mut config = config(std::path::Path::new("unused"));
    config.evict = Duration::from_millis(0);
    config.limits.memory_sessions_max = 1;
    change(&mut config);
    let memory = Memory::new();
    let (engine, gate) = Gated::new(&memory);
    let store = Running::with_engine(config, engine).await;
    let mut p = Player::connect(store.address, "p").await;
    for (at, id) in ids.iter().enumerate() {
        p.write(id, at as u64 + 1, "old").await;
    }
    for id in ids {
        store.leaves(id).await;
    }
    (store, gate, memory, p)
}

fn is_full(delta: &Delta, grant: &Grant) -> bool {
    matches!(&grant.state, State::Full(state) if state == delta)
}

/// Pairs of ids with the same hash, which cause a useless read of the disk.
const SAME: [[&str; 2]; 2] = [
    ["8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"],
    ["gMPflVXtwGDXbIhP73TX", "LtHf1prlU1bCeYZEdqWf"],
];

#[tokio::test]
async fn a_lease_that_ends_during_a_long_read_delays_no_other_process() {
    let s = [id("s")];
    let (store, gate, _, _) =
        with_sessions(&s, |config| config.lease = Duration::from_millis(300)).await;
    gate.shut_loads();
    let (_, loads) = gate.begun();
    let mut p = Player::silent(store.address, "p", 2, 1).await;
    p.hello(vec![], vec![]).await;
    assert!(matches!(p.next().await, ToProcess::Welcome { .. }));
    p.ask_for(&s[0], 9).await;
    gate.until(0, loads + 1).await;
    // The leases of both processes end together if q is silent too. Enough time has then passed.
    let mut q = Player::connect(store.address, "q").await;
    assert!(matches!(q.next().await, ToProcess::LeaseEnded));
    let mut r = Player::connect(store.address, "r").await;
    assert!(r.lives().await.is_empty());
    gate.open();
    // The request of p was not answered before its lease ended, so the session goes to the next request.
    let mut p = Player::silent(store.address, "p", 2, 2).await;
    p.hello(vec![], vec![]).await;
    assert!(matches!(p.next().await, ToProcess::Welcome { .. }));
    let grant = p.acquire(&s[0], 10).await;
    assert!(is_full(&set("n", "old"), &grant));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_process_that_waits_for_a_read_stays_alive_and_is_read_up_to_a_bound() {
    let s = [id("s")];
    let (store, gate, _, mut p) = with_sessions(&s, |_| {}).await;
    gate.shut_loads();
    let (_, loads) = gate.begun();
    p.ask_for(&s[0], 9).await;
    gate.until(0, loads + 1).await;
    assert!(p.lives().await.is_empty());
    // This exceeds all buffers on the way. A store without the bound would read all of it into memory.
    let chunk = vec![b'x'; 256 << 10];
    let commit = |at: u64| {
        ToStore::Commit(Commit {
            session: id("t"),
            token: Default::default(),
            base: Version::NONE,
            delta: set("n", vec![at as u8; chunk.len()]),
        })
    };
    let mut said = 0;
    while said < 512 {
        let more = p.say(commit(said));
        // No event shows that the store has stopped reading. A message that is read takes a millisecond.
        let more = tokio::time::timeout(Duration::from_millis(500), more);
        if more.await.is_err() {
            break;
        }
        said += 1;
    }
    assert!(said < 512, "the store must not read and defer 128 MiB");
    let mut q = Player::connect(store.address, "q").await;
    assert!(q.lives().await.is_empty());
    drop(p);
    gate.open();
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn messages_behind_a_read_are_processed_after_it_in_order() {
    let s = [id("s"), id("t")];
    let (store, gate, _, mut p) = with_sessions(&s, |_| {}).await;
    gate.shut_loads();
    let (_, loads) = gate.begun();
    p.ask_for(&s[0], 9).await;
    p.ask_for(&id("new"), 10).await;
    p.ask_for(&s[1], 11).await;
    let (session, request) = (s[1].clone(), tenure_protocol::Request(12));
    p.say(ToStore::Cancel { session, request }).await;
    gate.until(0, loads + 1).await;
    assert!(p.lives().await.is_empty());
    gate.open();
    for id in [&s[0], &id("new"), &s[1]] {
        p.granted(id).await;
    }
    assert!(matches!(p.next().await, ToProcess::Refused { .. }));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_hello_that_concerns_many_sessions_on_disk_is_answered_with_welcome() {
    // If the hello were tried again after each read, this would take minutes.
    let ids: Vec<SessionId> = (0..20_000).map(|at| id(&format!("s{at}"))).collect();
    let mut memory = Memory::new();
    memory.claim().expect("well");
    let head = Head {
        version: Version(Stamp {
            epoch: 1,
            sequence: 1,
        }),
        ..Head::default()
    };
    let put = |id: &SessionId| Update::Put {
        session: id.clone(),
        head: head.clone(),
        delta: set("n", "old"),
        is_whole: true,
    };
    let batch: Vec<_> = ids.iter().map(put).collect();
    memory.commit(&batch).expect("well");
    let mut config = config(std::path::Path::new("unused"));
    config.evict = Duration::from_millis(0);
    config.limits.memory_sessions_max = 1;
    let store = Running::with_engine(config, Box::new(memory)).await;
    let hold = |id: &SessionId| GrantRef {
        session: id.clone(),
        token: Default::default(),
    };
    let mut q = Player::silent(store.address, "q", 1, 1).await;
    q.hello(ids.iter().map(hold).collect(), vec![]).await;
    match q.next().await {
        // The sessions exist, so they are not gone, and they are not held, so the grants are lost.
        ToProcess::Welcome { holds, gone, .. } => assert_eq!((holds.len(), gone.len()), (0, 0)),
        other => panic!("{other:?}"),
    }
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn ids_with_the_same_hash_are_read_once_and_stay_separate_sessions() {
    let ids = SAME.map(|pair| id(pair[0]));
    let others = SAME.map(|pair| id(pair[1]));
    for (one, other) in ids.iter().zip(&others) {
        assert_eq!(one.frozen_hash(), other.frozen_hash());
    }
    let (store, gate, _, mut p) = with_sessions(&ids, |_| {}).await;
    let (_, loads) = gate.begun();
    let hold = |id: &SessionId| GrantRef {
        session: id.clone(),
        token: Default::default(),
    };
    let mut q = Player::silent(store.address, "q", 1, 1).await;
    q.hello(others.iter().map(hold).collect(), vec![]).await;
    match q.next().await {
        ToProcess::Welcome { holds, gone, .. } => assert_eq!((holds.len(), gone.len()), (0, 2)),
        other => panic!("{other:?}"),
    }
    assert_eq!(gate.begun().1, loads + 2);
    q.write(&others[0], 1, "other").await;
    let grant = p.acquire(&ids[0], 9).await;
    assert!(is_full(&set("n", "old"), &grant));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_destroyed_session_is_not_read_back_before_its_end_is_durable() {
    let ids = SAME.map(|pair| id(pair[0]));
    let other = id(SAME[0][1]);
    let (store, gate, _, mut p) = with_sessions(&ids[..1], |_| {}).await;
    // The other session with the same hash exists too, and stays on disk.
    p.write(&other, 8, "other").await;
    store.leaves(&other).await;
    let grant = p.acquire(&ids[0], 9).await;
    gate.shut_commits();
    let (commits, _) = gate.begun();
    let (session, token) = (ids[0].clone(), grant.token);
    p.say(ToStore::Destroy { session, token }).await;
    gate.until(commits + 1, 0).await;
    p.ask_for(&ids[0], 10).await;
    assert!(p.lives().await.is_empty());
    gate.open();
    assert!(matches!(p.next().await, ToProcess::Gone { .. }));
    let grant = p.granted(&ids[0]).await;
    assert_eq!(grant.version, Version::NONE);
    assert!(is_full(&Delta::default(), &grant));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn sessions_are_read_while_the_disk_is_full() {
    let s = [id("s")];
    let (store, _gate, memory, mut p) = with_sessions(&s, |_| {}).await;
    memory.set_health(Health::Full);
    p.ask_for(&id("t"), 9).await;
    store.until("/readyz", |status, _| status == 503).await;
    let mut q = Player::silent(store.address, "q", 1, 1).await;
    let hold = GrantRef {
        session: s[0].clone(),
        token: Default::default(),
    };
    q.hello(vec![hold], vec![]).await;
    assert!(matches!(q.next().await, ToProcess::Welcome { .. }));
    memory.set_health(Health::Well);
    p.granted(&id("t")).await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_session_that_is_not_durable_stays_in_memory() {
    let (s, t) = (id("s"), id("t"));
    let (store, _gate, memory, mut p) = with_sessions(std::slice::from_ref(&t), |_| {}).await;
    let grant = p.acquire(&s, 8).await;
    memory.set_health(Health::Full);
    let release = ToStore::Release(Release {
        session: s.clone(),
        token: grant.token,
        base: grant.version,
        delta: set("n", "new"),
        requeue: None,
        idle_ms: 0,
    });
    p.say(release).await;
    store.until("/readyz", |status, _| status == 503).await;
    // A session that is used later is examined later. Once it has left memory, the first one was free to leave.
    let mut q = Player::silent(store.address, "q", 1, 1).await;
    let hold = GrantRef {
        session: t.clone(),
        token: Default::default(),
    };
    q.hello(vec![hold], vec![]).await;
    assert!(matches!(q.next().await, ToProcess::Welcome { .. }));
    store.leaves(&t).await;
    assert_eq!(store.ask("GET", "/sessions/s").await.0, 200);
    memory.set_health(Health::Well);
    assert!(matches!(p.next().await, ToProcess::Released { .. }));
    let grant = p.acquire(&s, 9).await;
    assert!(is_full(&set("n", "new"), &grant));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn an_unused_session_on_disk_expires_and_an_engine_panic_ends_the_store() {
    let s = [id("s"), id("t")];
    let (store, gate, memory, _) = with_sessions(&s, |config| {
        config.time_to_live = Some(Duration::from_millis(1_000));
    })
    .await;
    assert_eq!(memory.records().iter().count(), 2);
    let (commits, loads) = gate.begun();
    gate.until(commits + 1, loads + 2).await;
    while memory.records().iter().count() > 0 {
        tokio::task::yield_now().await;
    }
    store.stop(Stop::Fast).await.expect("no failure");

    let (store, gate, _, mut p) = with_sessions(&s, |_| {}).await;
    gate.panic_next_load();
    p.say(acquire(&s[0], 9)).await;
    assert_eq!(p.fault().await.code, tenure_wire::FaultCode::ShuttingDown);
    assert!(matches!(store.ends().await, Err(StoreError::Panicked)));
}
