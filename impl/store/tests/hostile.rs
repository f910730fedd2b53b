//! Tests with well-formed messages that no correct process sends. In a debug build, the machine asserts its invariants
//! after each.

use crate::support::{Player, Running, acquire, config, id, set};
use std::time::Duration;
use tenure_protocol::id::Stamp;
use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Limited, Refusal, Release, WaitMode,
};
use tenure_protocol::{
    Delta, Request, SessionId, Ticket, Time, ToProcess, ToStore, Token, Version,
};
use tenure_store::{Config, Stop};
use tenure_wire::FaultCode;

const FAR: Stamp = Stamp {
    epoch: u64::MAX,
    sequence: u64::MAX,
};

async fn store(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = config(std::path::Path::new("unused"));
    change(&mut config);
    Running::with_engine(config, Box::new(tenure_engine::Memory::new())).await
}

fn acquire_request(session: &SessionId, request: u64, ticket: Option<Stamp>) -> AcquireRequest {
    AcquireRequest {
        session: session.clone(),
        request: Request(request),
        known: Some(Version(FAR)),
        wait_mode: WaitMode::Wait,
        ticket: ticket.map(Ticket),
        existing: false,
    }
}

fn release(session: &SessionId, token: Token, requeue: Option<u64>, idle_ms: u64) -> ToStore {
    ToStore::Release(Release {
        session: session.clone(),
        token,
        base: Version(FAR),
        delta: Delta::default(),
        requeue: requeue.map(Request),
        idle_ms,
    })
}

#[tokio::test]
async fn extreme_numbers_do_no_harm() {
    let store = store(|config| config.time_to_live = Some(Duration::from_millis(60_000))).await;
    let s = id("s");
    for (at, incarnation) in [0, 1, u64::MAX].into_iter().enumerate() {
        let mut p = Player::silent(store.address, "p", incarnation, 0).await;
        let acquire = acquire_request(&s, u64::MAX, Some(FAR));
        p.hello(vec![], vec![acquire]).await;
        assert!(matches!(p.next().await, ToProcess::Welcome { .. }));
        let grant = p.granted(&s).await;
        assert_eq!(grant.version, Version::NONE, "{at}");
        // A late low number is not a request.
        p.ask_for(&s, 0).await;
        assert!(p.lives().await.is_empty());
        p.say(ToStore::KeepAlive {
            sent: Time(u64::MAX),
        })
        .await;
        assert!(matches!(
            p.next().await,
            ToProcess::Alive {
                sent: Time(u64::MAX),
                ..
            }
        ));
        p.say(release(&s, grant.token, Some(u64::MAX), u64::MAX))
            .await;
        assert!(matches!(
            p.next().await,
            ToProcess::Released {
                version: Some(_),
                ..
            }
        ));
        let again = p.granted(&s).await;
        assert!(again.token > grant.token);
        p.say(release(&s, again.token, None, u64::MAX)).await;
        assert!(matches!(
            p.next().await,
            ToProcess::Released {
                version: Some(_),
                ..
            }
        ));
    }
    // The highest incarnation has no successor, so its lease must end first.
    let mut p = Player::silent(store.address, "p", 5, 1).await;
    p.hello(vec![], vec![]).await;
    assert!(matches!(p.next().await, ToProcess::Superseded));
    let long = "n".repeat(128);
    let mut p = Player::connect(store.address, &long).await;
    p.write(&id(&long), 1, "1").await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn forged_grants_tickets_and_tokens_have_no_effect() {
    let store = store(|_| {}).await;
    let (s, t) = (id("s"), id("t"));
    let mut p = Player::connect(store.address, "p").await;
    let grant = p.acquire(&s, 1).await;
    let mut q = Player::connect(store.address, "q").await;
    q.ask_for(&s, 1).await;
    let ToProcess::Queued { ticket, .. } = q.next().await else {
        panic!("queued")
    };
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    // The thief knows the token of p and the ticket of q, and presents both, many times.
    let mut thief = Player::silent(store.address, "thief", 1, 1).await;
    let hold = GrantRef {
        session: s.clone(),
        token: grant.token,
    };
    let mut waits = vec![acquire_request(&s, 1, Some(ticket.0)); 20];
    waits.extend([
        acquire_request(&s, 2, Some(FAR)),
        acquire_request(&s, 0, Some(Stamp::default())),
    ]);
    thief.hello(vec![hold.clone(), hold], waits).await;
    match thief.next().await {
        ToProcess::Welcome { holds, gone, .. } => assert!(holds.is_empty() && gone.is_empty()),
        other => panic!("{other:?}"),
    }
    while !thief.lives().await.is_empty() {}
    let commit = ToStore::Commit(Commit {
        session: s.clone(),
        token: grant.token,
        base: grant.version,
        delta: set("n", "stolen"),
    });
    let (session, token) = (s.clone(), grant.token);
    let destroy = ToStore::Destroy {
        session: session.clone(),
        token,
    };
    let rename = ToStore::Rename {
        session: session.clone(),
        token,
        to: t.clone(),
    };
    let busy = ToStore::Busy {
        session,
        token,
        inside: u32::MAX,
        blocked_on: vec![s.clone()],
    };
    thief.say(busy).await;
    for forged in [commit, destroy, rename] {
        thief.say(forged).await;
        assert!(matches!(thief.next().await, ToProcess::Revoked { .. }));
    }
    thief.say(release(&s, grant.token, None, 0)).await;
    assert!(matches!(
        thief.next().await,
        ToProcess::Released { version: None, .. }
    ));
    // q is still the next waiter.
    p.release(&s, grant.token, grant.version, Delta::default())
        .await;
    let own = q.granted(&s).await;
    q.release(&s, own.token, own.version, Delta::default())
        .await;
    thief.granted(&s).await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_rename_to_itself_or_to_an_existing_id_is_refused_and_a_repeated_rename_acts_once() {
    let store = store(|_| {}).await;
    let (s, t) = (id("s"), id("t"));
    let mut p = Player::connect(store.address, "p").await;
    let grant = p.acquire(&s, 1).await;
    let other = p.acquire(&t, 2).await;
    let rename = |from: &SessionId, token: Token, to: &SessionId| ToStore::Rename {
        session: from.clone(),
        token,
        to: to.clone(),
    };
    for to in [&s, &t] {
        p.say(rename(&s, grant.token, to)).await;
        match p.next().await {
            ToProcess::NotRenamed { why, .. } => assert_eq!(why, Refusal::IdTaken),
            other => panic!("{other:?}"),
        }
    }
    p.release(&t, other.token, other.version, Delta::default())
        .await;
    for _ in 0..2 {
        p.say(rename(&s, grant.token, &t)).await;
        match p.next().await {
            ToProcess::Gone { renamed, .. } => assert_eq!(renamed.expect("renamed").session, t),
            other => panic!("{other:?}"),
        }
    }
    // Rename by the former token to the session's own id.
    p.say(rename(&t, grant.token, &t)).await;
    assert!(matches!(p.next().await, ToProcess::Gone { .. }));
    // A wait for the old id does not end at another session.
    p.ask_for(&s, 3).await;
    assert_eq!(p.granted(&s).await.version, Version::NONE);
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_process_blocked_on_very_many_sessions_slows_no_other_down() {
    let store = store(|_| {}).await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    let grant = p.acquire(&s, 1).await;
    let mut q = Player::connect(store.address, "q").await;
    q.ask_for(&s, 1).await;
    assert!(matches!(q.next().await, ToProcess::Queued { .. }));
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    // Name as many sessions as fit in a frame.
    let blocked_on = (0..300_000).map(|at| id(&format!("b{at}"))).collect();
    let busy = ToStore::Busy {
        session: s.clone(),
        token: grant.token,
        inside: 1,
        blocked_on,
    };
    p.say(busy).await;
    p.lives().await;
    // Each of these requests examines the sessions on which p is blocked.
    for request in 2..300 {
        q.ask_for(&s, request).await;
        assert!(matches!(q.next().await, ToProcess::Queued { .. }));
    }
    p.release(&s, grant.token, grant.version, Delta::default())
        .await;
    q.granted(&s).await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn sessions_and_processes_above_the_limits_are_refused() {
    let store = store(|config| {
        config.limits.grants_max = 3;
        config.limits.processes_max = 2;
    })
    .await;
    let mut p = Player::connect(store.address, "p").await;
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        p.acquire(&id(name), at as u64).await;
    }
    p.say(acquire(&id("d"), 9)).await;
    match p.next().await {
        ToProcess::Refused { why, .. } => assert_eq!(why, Refusal::Limit(Limited::Grants)),
        other => panic!("{other:?}"),
    }
    let _q = Player::connect(store.address, "q").await;
    let mut r = Player::silent(store.address, "r", 1, 1).await;
    r.hello(vec![], vec![]).await;
    assert!(matches!(r.next().await, ToProcess::Full));
    assert_eq!(r.fault().await.code, FaultCode::Unexpected);
    // A change to a version that does not exist violates the protocol.
    let commit = ToStore::Commit(Commit {
        session: id("a"),
        token: Default::default(),
        base: Version(FAR),
        delta: set("n", "1"),
    });
    p.say(commit).await;
    assert!(matches!(p.next().await, ToProcess::Revoked { .. }));
    store.stop(Stop::Fast).await.expect("no failure");
}
