//! Tests of rule 8: a store sends nothing that is not durable, and no message overtakes an earlier one.

use crate::support::gated::{Gate, Gated};
use crate::support::{Player, Running, acquire, config, id, set};
use std::time::Duration;
use tenure_engine::{Health, Memory};
use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Limited, Refusal, Release, WaitMode,
};
use tenure_protocol::{Delta, Request, ToProcess, ToStore};
use tenure_store::{Stop, StoreError};
use tenure_wire::FaultCode;

async fn gated() -> (Running, Gate, Memory) {
    let memory = Memory::new();
    let (engine, gate) = Gated::new(&memory);
    let config = config(std::path::Path::new("unused"));
    (Running::with_engine(config, engine).await, gate, memory)
}

#[tokio::test]
async fn a_grant_a_commit_and_a_handoff_wait_for_the_disk_in_order() {
    let (store, gate, memory) = gated().await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;

    gate.shut_commits();
    p.ask_for(&s, 1).await;
    gate.until(1, 0).await;
    assert!(p.lives().await.is_empty());
    assert!(memory.records().get(&s).is_none());
    gate.open();
    let grant = p.granted(&s).await;

    let (commits, _) = gate.begun();
    gate.shut_commits();
    let commit = ToStore::Commit(Commit {
        session: s.clone(),
        token: grant.token,
        base: grant.version,
        delta: set("n", "1"),
    });
    p.say(commit).await;
    gate.until(commits + 1, 0).await;
    q.ask_for(&s, 1).await;
    // The recall and the queue place come behind the commit, on each connection.
    assert!(p.lives().await.is_empty() && q.lives().await.is_empty());
    gate.open();
    let ToProcess::Committed { version, .. } = p.next().await else {
        panic!("committed first")
    };
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    assert!(matches!(q.next().await, ToProcess::Queued { .. }));

    let (commits, _) = gate.begun();
    gate.shut_commits();
    let release = ToStore::Release(Release {
        session: s.clone(),
        token: grant.token,
        base: version,
        delta: Delta::default(),
        requeue: Some(Request(2)),
        idle_ms: 0,
    });
    p.say(release).await;
    gate.until(commits + 1, 0).await;
    assert!(p.lives().await.is_empty() && q.lives().await.is_empty());
    gate.open();
    assert!(matches!(p.next().await, ToProcess::Released { .. }));
    q.granted(&s).await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_welcome_waits_for_the_ends_that_it_reports() {
    let (store, gate, memory) = gated().await;
    let (s, t) = (id("s"), id("t"));
    let mut p = Player::connect(store.address, "p").await;
    let grant = p.acquire(&s, 1).await;
    let hold = GrantRef {
        session: s.clone(),
        token: grant.token,
    };
    let (commits, _) = gate.begun();
    gate.shut_commits();
    let rename = ToStore::Rename {
        session: s.clone(),
        token: grant.token,
        to: t.clone(),
    };
    p.say(rename).await;
    gate.until(commits + 1, 0).await;
    // The answer is lost. The new connection asks for the result.
    let mut again = Player::silent(store.address, "p", 1, 2).await;
    again.hello(vec![hold], vec![]).await;
    assert!(memory.records().get(&t).is_none());
    assert_eq!(p.fault().await.code, FaultCode::Unexpected);
    // The hello was received, and the next message does not overtake it.
    again
        .say(ToStore::KeepAlive {
            sent: Default::default(),
        })
        .await;
    let mut q = Player::connect(store.address, "q").await;
    assert!(q.lives().await.is_empty());
    gate.open();
    match again.next().await {
        ToProcess::Welcome { gone, .. } => {
            assert!(
                memory.records().get(&t).is_some(),
                "the end must be durable before the Welcome reports it"
            );
            assert_eq!(gone.len(), 1);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(again.next().await, ToProcess::Alive { .. }));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn no_message_overtakes_a_welcome_that_waits_for_the_disk() {
    let (store, gate, _) = gated().await;
    let (s, t) = (id("s"), id("t"));
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;
    p.acquire(&s, 1).await;
    q.acquire(&t, 1).await;
    let (commits, _) = gate.begun();
    gate.shut_commits();
    // The grants of the old incarnation are void, which must become durable first. The waits of the new one are only
    // queued.
    let mut again = Player::silent(store.address, "p", 2, 1).await;
    let acquire = AcquireRequest {
        session: t.clone(),
        request: Request(1),
        known: None,
        wait_mode: WaitMode::Wait,
        ticket: None,
        existing: false,
    };
    again.hello(vec![], vec![acquire]).await;
    gate.until(commits + 1, 0).await;
    assert!(matches!(q.next().await, ToProcess::Recall { .. }));
    gate.open();
    let first = again.next().await;
    assert!(matches!(first, ToProcess::Welcome { .. }), "{first:?}");
    assert!(matches!(again.next().await, ToProcess::Queued { .. }));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_full_disk_refuses_new_work_loses_nothing_and_the_store_continues_when_there_is_room() {
    let memory = Memory::new();
    let config = config(std::path::Path::new("unused"));
    let store = Running::with_engine(config.clone(), Box::new(memory.clone())).await;
    let (s, t) = (id("s"), id("t"));
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;
    let grant = p.acquire(&s, 1).await;
    let version = p
        .commit(&s, grant.token, grant.version, set("n", "1"))
        .await;
    memory.set_health(Health::Full);
    let commit = ToStore::Commit(Commit {
        session: s.clone(),
        token: grant.token,
        base: version,
        delta: set("n", "2"),
    });
    p.say(commit).await;
    store.until("/readyz", |status, _| status == 503).await;
    q.ask_for(&t, 1).await;
    match q.next().await {
        ToProcess::Refused { session, why, .. } => {
            assert_eq!(
                (session, why),
                (t.clone(), Refusal::Limit(Limited::Storage))
            )
        }
        other => panic!("{other:?}"),
    }
    // Other processes keep their leases, and nothing is sent that is not durable.
    assert!(p.lives().await.is_empty() && q.lives().await.is_empty());
    let durable = memory.records();
    assert_eq!(durable.get(&s).expect("kept").head.version, version);

    memory.set_health(Health::Well);
    assert!(matches!(p.next().await, ToProcess::Committed { .. }));
    store.until("/readyz", |status, _| status == 200).await;
    q.acquire(&t, 2).await;

    // Stop in between: only acknowledged changes are there afterwards.
    memory.set_health(Health::Full);
    q.ask_for(&id("u"), 3).await;
    store.until("/readyz", |status, _| status == 503).await;
    store.stop(Stop::Fast).await.expect("no failure");
    memory.set_health(Health::Well);
    let store = Running::with_engine(config, Box::new(memory.clone())).await;
    assert_eq!((store.server.sessions, store.server.held), (2, 2));
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn an_engine_failure_ends_the_store_without_an_uncertain_message() {
    for health in [Health::Failing, Health::Losing] {
        let memory = Memory::new();
        let config = config(std::path::Path::new("unused"));
        let store = Running::with_engine(config.clone(), Box::new(memory.clone())).await;
        let s = id("s");
        let mut p = Player::connect(store.address, "p").await;
        let mut silent = Player::silent(store.address, "silent", 1, 1).await;
        let grant = p.acquire(&s, 1).await;
        let version = p
            .commit(&s, grant.token, grant.version, set("n", "1"))
            .await;
        memory.set_health(health);
        let commit = ToStore::Commit(Commit {
            session: s.clone(),
            token: grant.token,
            base: version,
            delta: set("n", "2"),
        });
        p.say(commit).await;
        match p.item().await {
            Some(tenure_wire::FromStore::Fault(fault)) => {
                assert_eq!(fault.code, FaultCode::ShuttingDown)
            }
            other => panic!("{other:?}"),
        }
        // No process stays connected to the ended store.
        assert_eq!(silent.fault().await.code, FaultCode::ShuttingDown);
        assert!(matches!(store.ends().await, Err(StoreError::Engine(_))));
        let kept = memory.records().get(&s).expect("kept").head.version;
        assert_eq!(kept == version, health == Health::Losing);
    }
}

#[tokio::test]
async fn a_fenced_store_sends_nothing_more() {
    let memory = Memory::new();
    let config = config(std::path::Path::new("unused"));
    let store = Running::with_engine(config.clone(), Box::new(memory.clone())).await;
    let mut p = Player::connect(store.address, "p").await;
    let other = Running::with_engine(config, Box::new(memory.clone())).await;
    p.say(acquire(&id("s"), 1)).await;
    assert_eq!(p.fault().await.code, FaultCode::ShuttingDown);
    assert!(matches!(store.ends().await, Err(StoreError::Engine(_))));
    let mut p = Player::connect(other.address, "p").await;
    p.acquire(&id("s"), 1).await;
    other.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn the_operator_sees_a_stalled_disk_until_it_answers() {
    let memory = Memory::new();
    let (engine, gate) = Gated::new(&memory);
    let mut config = config(std::path::Path::new("unused"));
    config.stall = Duration::from_millis(1);
    let store = Running::with_engine(config, engine).await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    store.until("/readyz", |status, _| status == 200).await;

    gate.shut_commits();
    p.ask_for(&s, 1).await;
    let says = |status, body: &str| {
        status == 503 && body.contains("the oldest commit has waited") && body.contains("stall_ms")
    };
    store.until("/readyz", says).await;
    let waits = |_, body: &str| {
        let name = "tenure_oldest_commit_seconds ";
        let line = body.lines().find_map(|line| line.strip_prefix(name));
        line.expect("the gauge").parse::<f64>().expect("a number") > 0.001
    };
    store.until("/metrics", waits).await;
    // The lease is alive: keep-alives do not wait for the disk.
    assert!(p.lives().await.is_empty());
    gate.open();
    let grant = p.granted(&s).await;
    store.until("/readyz", |status, _| status == 200).await;
    p.release(&s, grant.token, grant.version, set("n", "1"))
        .await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_stalled_disk() {
    let memory = Memory::new();
    let (engine, gate) = Gated::new(&memory);
    let mut config = config(std::path::Path::new("unused"));
    config.stop_limit = Duration::from_millis(1);
    let store = Running::with_engine(config, engine).await;
    let mut p = Player::connect(store.address, "p").await;
    let (commits, _) = gate.begun();
    gate.shut_commits();
    p.ask_for(&id("s"), 1).await;
    gate.until(commits + 1, 0).await;
    // The gate stays closed until the store has ended.
    store
        .stop(Stop::Keep)
        .await
        .expect("the store stops as requested");
    assert!(memory.records().get(&id("s")).is_none());
    drop(gate);
}
