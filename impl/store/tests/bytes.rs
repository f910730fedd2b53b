//! Tests with peers that violate the protocol, or send only a part of it.

use crate::support::{Player, Running, acquire, config, encode, id, set};
use std::time::Duration;
use tenure_protocol::message::{Commit, GrantRef, Limited, Release};
use tenure_protocol::{Delta, ToProcess, ToStore};
use tenure_store::{Config, Stop};
use tenure_wire::{FaultCode, FromProcess, FromStore};
use tokio::io::AsyncWriteExt;

async fn store(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = config(std::path::Path::new("unused"));
    change(&mut config);
    Running::with_engine(config, Box::new(tenure_engine::Memory::new())).await
}

/// Checks that other processes noticed nothing, and that the store stops without an error.
async fn is_well(store: Running) {
    let mut other = Player::connect(store.address, "other").await;
    other.write(&id("other"), 1, "1").await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn garbage_is_answered_with_a_fault() {
    let store = store(|_| {}).await;
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for length in 16..80 {
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            // Never use a valid length, because the store would then wait for the rest.
            (seed >> 32) as u8 | 0x80
        };
        let bytes: Vec<u8> = (0..length).map(|_| next()).collect();
        let mut player = Player::silent(store.address, "g", 1, 1).await;
        player.stream.write_all(&bytes).await.expect("it reads");
        let code = player.fault().await.code;
        assert!(
            matches!(code, FaultCode::Version | FaultCode::TooLarge),
            "{code:?}"
        );
    }
    is_well(store).await;
}

#[tokio::test]
async fn a_hello_that_is_cut_off_at_any_byte_is_answered_with_a_fault() {
    let store = store(|_| {}).await;
    let hold = GrantRef {
        session: id("s"),
        token: Default::default(),
    };
    let whole = Player::silent(store.address, "h", 1, 1)
        .await
        .hello_bytes(vec![hold], vec![]);
    for cut in 0..whole.len() {
        let mut player = Player::silent(store.address, "h", 1, 1).await;
        let (begin, _) = whole.split_at(cut);
        player.stream.write_all(begin).await.expect("it reads");
        player
            .stream
            .shutdown()
            .await
            .expect("the store has not closed the connection yet");
        match player.item().await {
            None => assert_eq!(
                cut, 0,
                "without any byte there is nothing to complain about"
            ),
            Some(FromStore::Fault(fault)) => assert_eq!(fault.code, FaultCode::Malformed),
            other => panic!("{other:?}"),
        }
    }
    // A hello in two pieces is accepted like one in a single piece.
    for cut in 1..whole.len() {
        let mut player = Player::silent(store.address, "h", 2, cut as u64).await;
        let whole = player.hello_bytes(vec![], vec![]);
        let (begin, rest) = whole.split_at(cut.min(whole.len() - 1));
        player.stream.write_all(begin).await.expect("it reads");
        tokio::task::yield_now().await;
        player.stream.write_all(rest).await.expect("it reads");
        assert!(matches!(player.next().await, ToProcess::Welcome { .. }));
    }
    is_well(store).await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_before_and_after_the_hello() {
    let store = store(|config| {
        config.hello = Duration::from_millis(100);
        config.lease = Duration::from_millis(100);
    })
    .await;
    let mut mute = Player::silent(store.address, "m", 1, 1).await;
    assert_eq!(mute.fault().await.code, FaultCode::Silent);
    let mut half = Player::silent(store.address, "h", 1, 1).await;
    let whole = half.hello_bytes(vec![], vec![]);
    half.stream.write_all(&whole[..20]).await.expect("it reads");
    assert_eq!(half.fault().await.code, FaultCode::Silent);
    let mut idle = Player::connect(store.address, "i").await;
    assert!(matches!(idle.next().await, ToProcess::LeaseEnded));
    assert_eq!(idle.fault().await.code, FaultCode::Silent);
    is_well(store).await;
}

#[tokio::test]
async fn a_frame_or_session_above_the_limit_is_refused_and_changes_nothing() {
    let store = store(|config| {
        config.limits.session_bytes_max = 1_000;
        config.limits.attribute_bytes_max = 900;
        config.limits.attributes_max = 2;
    })
    .await;
    let mut large = Player::silent(store.address, "l", 1, 1).await;
    let mut bytes = large.hello_bytes(vec![], vec![]).to_vec();
    bytes[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    large.stream.write_all(&bytes).await.expect("it reads");
    assert_eq!(large.fault().await.code, FaultCode::TooLarge);

    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    let kept = p.acquire(&id("kept"), 1).await;
    let mut grant = p.acquire(&s, 2).await;
    grant.version = p
        .commit(&s, grant.token, grant.version, set("a", vec![b'x'; 900]))
        .await;
    for (request, delta, passed) in [
        (3, set("b", vec![b'x'; 901]), Limited::AttributeBytes),
        (4, set("b", vec![b'x'; 800]), Limited::SessionBytes),
    ] {
        let (session, token, base) = (s.clone(), grant.token, grant.version);
        p.say(ToStore::Commit(Commit {
            session,
            token,
            base,
            delta,
        }))
        .await;
        match p.next().await {
            ToProcess::Revoked { token, limit, .. } => {
                assert_eq!((token, limit), (grant.token, Some(passed)));
            }
            other => panic!("expected Revoked, not {other:?}"),
        }
        assert!(matches!(p.next().await, ToProcess::Recall { .. }));
        p.release(&s, grant.token, grant.version, Delta::default())
            .await;
        let again = p.acquire(&s, request).await;
        assert_eq!(again.version, grant.version);
        grant = again;
    }
    // The connection and the other grant are unaffected.
    p.commit(&id("kept"), kept.token, kept.version, set("a", "fits"))
        .await;
    let version = p
        .commit(&s, grant.token, grant.version, set("b", "fits"))
        .await;
    let (session, token, base) = (s.clone(), grant.token, version);
    p.say(ToStore::Release(Release {
        session,
        token,
        base,
        delta: set("c", "one too many"),
        requeue: None,
        idle_ms: 0,
    }))
    .await;
    match p.next().await {
        ToProcess::Released { version, limit, .. } => {
            assert_eq!((version, limit), (None, Some(Limited::Attributes)));
        }
        other => panic!("expected Released, not {other:?}"),
    }
    is_well(store).await;
}

/// Returns the first part of a hello that continues.
fn first_part(player: &Player) -> bytes::Bytes {
    let hold = |at: u32| GrantRef {
        session: id(&format!("s{at}")),
        token: Default::default(),
    };
    let whole = player.hello_bytes((0..10_000).map(hold).collect(), vec![]);
    let length = u32::from_be_bytes(whole[..4].try_into().expect("four"));
    whole.slice(..16 + length as usize)
}

#[tokio::test]
async fn an_endless_hello_is_refused_as_too_large_or_too_late() {
    // The reader accepts as many items as from a process with the default limits, and needs enough time for them.
    let small = store(|config| config.hello = Duration::from_millis(60_000)).await;
    let mut endless = Player::silent(small.address, "e", 1, 1).await;
    let part = first_part(&endless);
    while endless.stream.write_all(&part).await.is_ok() {}
    // Bytes sent behind the hello may prevent the peer from reading the fault, so check the counter instead.
    let counted = |_, text: &str| text.contains("tenure_faults_total{kind=\"too_large\"} 1");
    small.until("/metrics", counted).await;
    is_well(small).await;

    let store = store(|config| config.hello = Duration::from_millis(300)).await;
    let mut endless = Player::silent(store.address, "e", 1, 1).await;
    let part = first_part(&endless);
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while endless.stream.write_all(&part).await.is_ok() {
        beat.tick().await;
    }
    let counted = |_, text: &str| text.contains("tenure_faults_total{kind=\"silent\"} 1");
    store.until("/metrics", counted).await;
    is_well(store).await;
}

#[tokio::test]
async fn a_process_sends_exactly_one_hello_and_sends_it_first() {
    let store = store(|_| {}).await;
    let mut rash = Player::silent(store.address, "r", 1, 1).await;
    rash.say(acquire(&id("s"), 1)).await;
    assert_eq!(rash.fault().await.code, FaultCode::Unexpected);
    let mut twice = Player::connect(store.address, "t").await;
    twice.hello(vec![], vec![]).await;
    assert_eq!(twice.fault().await.code, FaultCode::Unexpected);
    is_well(store).await;
}

#[tokio::test]
async fn only_the_newest_of_several_connections_of_a_process_stays_open() {
    let store = store(|_| {}).await;
    let mut second = Player::silent(store.address, "p", 1, 2).await;
    second.hello(vec![], vec![]).await;
    assert!(matches!(second.next().await, ToProcess::Welcome { .. }));
    // Use the same number while the first connection is open.
    let mut same = Player::silent(store.address, "p", 1, 2).await;
    same.hello(vec![], vec![]).await;
    assert_eq!(same.fault().await.code, FaultCode::Unexpected);
    // A lower number comes late, and so does 0.
    for number in [1, 0] {
        let mut late = Player::silent(store.address, "p", 1, number).await;
        late.hello(vec![], vec![]).await;
        assert_eq!(late.fault().await.code, FaultCode::Unexpected);
    }
    assert!(second.lives().await.is_empty());
    let mut third = Player::silent(store.address, "p", 1, 3).await;
    third.hello(vec![], vec![]).await;
    assert!(matches!(third.next().await, ToProcess::Welcome { .. }));
    assert_eq!(second.fault().await.code, FaultCode::Unexpected);
    assert!(third.lives().await.is_empty());
    is_well(store).await;
}

#[tokio::test]
async fn a_peer_may_send_a_fault_before_it_closes() {
    let store = store(|_| {}).await;
    let mut p = Player::connect(store.address, "p").await;
    let fault = tenure_wire::Fault::new(FaultCode::Internal, "out of ideas");
    let bytes = encode(&FromProcess::Fault(fault));
    p.stream.write_all(&bytes).await.expect("it reads");
    assert_eq!(p.item().await, None);
    is_well(store).await;
}
