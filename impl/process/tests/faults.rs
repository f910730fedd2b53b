//! Failures of connections, stores, leases and processes.

use crate::support::{LEASE_MS, builder, process, reconnected, short};
use bytes::BytesMut;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tenure::testing::{Store, StoreSettings};
use tenure::{ConnectError, Error, Phase, Process, Typed};
use tenure_wire::{Decoder, FrameLimits, FromProcess};

#[tokio::test]
async fn a_commit_survives_a_store_restart_and_a_guard_survives_a_cut_connection() {
    let store = short();
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let mut guard = session.lock("a").await.expect("locked");
    guard.put(&1).expect("put");
    guard.commit().await.expect("durable");

    store.cut();
    reconnected(&process, 1).await;
    assert_eq!(guard.check(), Ok(()));
    guard.put(&2).expect("put");
    guard.commit().await.expect("durable");

    let token = guard.token();
    store.restart();
    assert_eq!(store.value("s", "a").as_deref(), Some(&b"2"[..]));
    reconnected(&process, 2).await;
    guard.put(&3).expect("put");
    guard.commit().await.expect("durable");
    assert_eq!(guard.token(), token, "the process has kept the same grant");
    guard.unlock().expect("never lost");
    assert_eq!(store.value("s", "a").as_deref(), Some(&b"3"[..]));
}

/// The pauses between such connections grow, as the tests of `connection_state` show. The lease and the grants outlast
/// the pauses.
#[tokio::test]
async fn a_store_that_ends_each_connection_soon_is_reported_and_costs_no_grant() {
    let store = short();
    // No connection of this test lasts as long as the longest pause.
    let builder = builder(&store.address(), "one")
        .backoff(Duration::from_millis(5), Duration::from_millis(60_000));
    let process = builder.connect().await.expect("connected");
    let session = process.session("s").expect("an id");
    let mut guard = session.lock("a").await.expect("locked");
    let token = guard.token();
    for times in 1..=6 {
        store.cut();
        reconnected(&process, times).await;
        guard.put(&times).expect("put");
    }
    let why = process
        .status()
        .last_error
        .expect("a process that lost its connection reports the error");
    assert!(why.contains("6 connections in a row ended soon"), "{why}");
    guard.commit().await.expect("durable");
    assert_eq!(guard.token(), token, "the process has kept the same grant");
}

#[tokio::test]
async fn a_commit_waits_until_an_unreachable_store_is_back() {
    let store = short();
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let mut guard = session.lock("a").await.expect("locked");
    guard.put(&1).expect("put");
    store.stop();
    process
        .when(|status| status.phase == Phase::Connecting)
        .await;
    let mut commit = pin!(guard.commit());
    let mut context = Context::from_waker(Waker::noop());
    assert!(commit.as_mut().poll(&mut context).is_pending());
    store.restart();
    commit.await.expect("durable");
    assert_eq!(store.value("s", "a").as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn waiters_keep_their_places_over_a_store_restart() {
    let store = short();
    let one = process(&store, "one").await;
    let of_one = one.session("s").expect("an id");
    let guard = of_one.lock("a").await.expect("locked");
    let others = [process(&store, "two").await, process(&store, "three").await];
    let sessions = others
        .each_ref()
        .map(|own| own.session("s").expect("an id"));
    let mut second = Box::pin(sessions[0].lock("a"));
    let mut third = Box::pin(sessions[1].lock("a"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(second.as_mut().poll(&mut context).is_pending());
    store.wait_until(|store| store.waiters("s") == ["two"]);
    assert!(third.as_mut().poll(&mut context).is_pending());
    store.wait_until(|store| store.waiters("s") == ["two", "three"]);

    store.restart();
    for own in [&one, &others[0], &others[1]] {
        reconnected(own, 1).await;
    }
    store.wait_until(|store| store.waiters("s") == ["two", "three"]);
    guard.unlock().expect("never lost");
    drop(second.await.expect("locked"));
    drop(third.await.expect("locked"));
}

#[tokio::test]
async fn after_the_lease_ends_guards_fail_and_the_process_recovers() {
    let store = short();
    let (one, two) = (process(&store, "one").await, process(&store, "two").await);
    let of_one = one.session("s").expect("an id");
    let mut guard = of_one.lock("a").await.expect("locked");
    guard.put(&1).expect("put");
    guard.commit().await.expect("durable");
    guard.put(&2).expect("put");
    store.pause();
    store.wait_until(|_| guard.check().is_err());
    assert!(matches!(guard.check(), Err(Error::LeaseLost(_))));
    assert_eq!(one.status().lease_left, None);
    assert_eq!(one.status().held, 0);
    let lost = guard.commit().await;
    assert!(matches!(lost, Err(Error::LeaseLost(_))), "{lost:?}");
    assert!(matches!(guard.unlock(), Err(Error::LeaseLost(_))));
    assert!(of_one.last_discard().is_some());

    store.resume();
    // Each process notices at its own time that a store is reachable again.
    let of_two = two.session("s").expect("an id");
    let guard = of_two.lock("a").await.expect("locked");
    assert_eq!(guard.get(), Ok(Some(1)), "uncommitted writes are discarded");
    drop(guard);
    let guard = of_one.lock("a").await.expect("it recovers");
    assert_eq!(guard.get(), Ok(Some(1)));
    assert!(one.status().connections > 1);
}

/// The connection has its own thread, so a blocked runtime does not stop it.
#[tokio::test]
async fn a_blocked_runtime_does_not_cost_the_lease() {
    let store = short();
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let mut guard = session.lock("a").await.expect("locked");
    guard.put(&1).expect("put");
    // A blocking call, which a handler must not make.
    std::thread::sleep(Duration::from_millis(3 * LEASE_MS));
    assert_eq!(guard.check(), Ok(()));
    guard.commit().await.expect("durable");
    assert_eq!(process.status().connections, 1);
    let keep_alives = store.counts().keep_alives;
    assert!(keep_alives >= 5, "{keep_alives}");
}

#[tokio::test]
async fn a_newer_start_of_a_process_takes_over_from_the_older_one() {
    let store = short();
    let old = builder(&store.address(), "one").incarnation(1);
    let old = old.connect().await.expect("connected");
    let of_old = old.session("s").expect("an id");
    let mut guard = of_old.lock("a").await.expect("locked");
    guard.put(&1).expect("put");
    let mut waits = Box::pin(of_old.lock("a"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut context).is_pending());

    let new = builder(&store.address(), "one").incarnation(2);
    let new = new.connect().await.expect("connected");
    let of_new = new.session("s").expect("an id");
    let taken = of_new.lock("a").await.expect("at once");
    assert_eq!(taken.get::<u32>(), Ok(None));
    let status = old.when(|status| status.phase == Phase::Superseded).await;
    assert!(status.last_error.expect("a reason").contains("newer"));
    assert!(matches!(guard.commit().await, Err(Error::Superseded(_))));
    assert!(matches!(guard.unlock(), Err(Error::Superseded(_))));
    let waited = waits.await;
    assert!(matches!(waited, Err(Error::Superseded(_))), "{waited:?}");
    let never = of_old.lock("a").await;
    let never = never.expect_err("a newer start has taken over");
    assert!(matches!(never, Error::Superseded(_)), "{never:?}");
    assert!(never.to_string().contains("its own name"), "{never}");
    old.shutdown().await.expect("it has stopped");
    assert_eq!(old.status().phase, Phase::Superseded);
    assert_eq!(taken.check(), Ok(()));

    let older = builder(&store.address(), "one").incarnation(1);
    let turned_away = older.connect().await.map(drop);
    assert!(
        matches!(turned_away, Err(ConnectError::Superseded { .. })),
        "{turned_away:?}"
    );
}

#[tokio::test]
async fn a_shutdown_gives_all_grants_back() {
    // A lease so long that the test could not wait for its end.
    let store = Store::start_with(StoreSettings {
        lease_ms: 1_000_000,
        ..StoreSettings::default()
    })
    .expect("a store");
    let one = Process::connect(store.address()).await.expect("connected");
    for id in ["a", "b", "c"] {
        let session = one.session(id).expect("an id");
        session
            .lock("x")
            .await
            .expect("locked")
            .put(id)
            .expect("put");
    }
    let session = one.session("a").expect("an id");
    let guard = session.lock("x").await.expect("locked");
    let late = one.shutdown_within(Duration::from_millis(50)).await;
    let late = late.expect_err("a thread still holds a lock");
    assert_eq!(late.busy.len(), 1);
    assert_eq!(late.held, 1, "the other grants are given back: {late}");
    assert!(store.holder("b").is_none());
    drop(guard);
    one.shutdown().await.expect("in time");
    assert_eq!(one.status().phase, Phase::Stopped);
    assert_eq!(store.counts().goodbyes, 1);
    assert_eq!(store.value("a", "x").as_deref(), Some(&b"\"a\""[..]));
    let refused = session.lock("x").await;
    assert!(
        matches!(refused, Err(Error::ShuttingDown(_))),
        "{refused:?}"
    );

    // The drop of the last handle does the same in the background.
    let two = Process::connect(store.address()).await.expect("connected");
    let session = two.session("a").expect("an id");
    drop(two);
    drop(
        session
            .lock("x")
            .await
            .expect("a session handle keeps the process alive"),
    );
    drop(session);
    store.wait_until(|store| store.counts().goodbyes == 2 && store.holder("a").is_none());
}

#[tokio::test]
async fn connecting_to_a_missing_store_fails_in_time_with_a_clear_error() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("an address").to_string();
    let refused = async |address: &str| {
        let began = Instant::now();
        let failed = Process::builder(address)
            .connect_timeout(Duration::from_millis(150))
            .connect()
            .await;
        assert!(began.elapsed() < Duration::from_secs(5));
        failed.expect_err("there is no store")
    };
    // This server accepts the connection and never answers.
    let silent = refused(&address).await;
    assert!(
        matches!(&silent, ConnectError::Unreachable { .. }),
        "{silent}"
    );
    drop(nobody);
    let error = refused(&address).await;
    assert!(
        matches!(&error, ConnectError::Unreachable { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&address), "{error}");
    let error = refused("nonsense").await;
    assert!(matches!(&error, ConnectError::Address { .. }), "{error}");
    let unnamed = Process::builder(address).name("").connect().await;
    assert!(matches!(unnamed, Err(ConnectError::Name(_))));
}

#[tokio::test]
async fn connecting_fails_clearly_if_the_lease_is_shorter_than_a_keep_alive() {
    let store = short();
    let error = Process::connect(store.address())
        .await
        .expect_err("3 s are too long");
    let of_store = Duration::from_millis(LEASE_MS);
    assert!(
        matches!(error, ConnectError::LeaseTooShort { lease, .. } if lease == of_store),
        "{error}"
    );
}

#[tokio::test]
async fn connecting_to_a_store_with_too_many_processes_fails_clearly() {
    let mut settings = StoreSettings::default();
    settings.limits.processes_max = 1;
    let store = Store::start_with(settings).expect("a store");
    let process = Process::connect(store.address()).await.expect("connected");
    let second = Process::builder(store.address())
        .connect_timeout(Duration::from_millis(100))
        .connect();
    let error = second.await.expect_err("there is room for one");
    assert!(
        matches!(&error, ConnectError::Unreachable { why, .. } if why.contains("maximum number")),
        "{error}"
    );
    process.shutdown().await.expect("in time");
    Process::connect(store.address())
        .await
        .expect("there is room again");
}

#[tokio::test]
async fn a_process_that_lost_its_store_goes_on_trying_to_connect() {
    let store = short();
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    session
        .lock("a")
        .await
        .expect("locked")
        .put(&1)
        .expect("put");
    store.stop();
    let status = process
        .when(|status| status.phase == Phase::Connecting)
        .await;
    assert!(status.last_error.is_some());
    // A cached session can be used without the store.
    session
        .lock("a")
        .await
        .expect("locked")
        .put(&2)
        .expect("put");
    store.wait_until(|_| process.status().lease_left.is_none());
    // A lock from the cache reads a coarse clock, which may lag some milliseconds behind `lease_left`.
    let late = loop {
        match session.lock("a").timeout(Duration::from_millis(50)).await {
            Ok(guard) => drop(guard),
            Err(why) => break why,
        }
    };
    assert!(matches!(late, Error::Deadline(_)), "{late:?}");
    store.restart();
    reconnected(&process, 1).await;
    drop(session.lock("a").await.expect("locked"));
}

#[tokio::test]
async fn without_a_store_a_shutdown_fails_at_its_time_limit() {
    let store = short();
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    session
        .lock("a")
        .await
        .expect("locked")
        .put(&1)
        .expect("put");
    store.stop();
    process
        .when(|status| status.phase == Phase::Connecting)
        .await;
    let late = process.shutdown_within(Duration::from_millis(20)).await;
    let late = late.expect_err("without a store, the grant cannot be given back");
    assert_eq!((late.held, late.busy.len()), (1, 0));
    assert!(late.last_error.is_some());
    // When the lease has ended, there is nothing left to give back.
    process.shutdown().await.expect("in time");
}

/// A server with another protocol listens at the address. The process connects again and again, sends it a fault, and
/// accepts none of its input.
#[tokio::test]
async fn undecodable_input_is_answered_with_a_fault_and_a_new_connection() {
    let garbage: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0xff; 64],
        // The header of a welcome, followed by invalid CBOR.
        &[
            0, 0, 0, 2, 0x10, 0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff,
        ],
        b"",
    ];
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let stranger = std::thread::spawn(move || {
        for bytes in garbage {
            let (mut stream, _) = listener.accept().expect("the process connects again");
            let mut received = vec![0; 16];
            stream.read_exact(&mut received).expect("a hello");
            stream.write_all(bytes).expect("sent");
            stream.shutdown(std::net::Shutdown::Write).expect("shut");
            stream.read_to_end(&mut received).expect("it ends");
            let mut received = BytesMut::from(&received[..]);
            let mut decoder = Decoder::<FromProcess>::new(FrameLimits::default());
            let mut next = || {
                decoder
                    .decode(&mut received)
                    .expect("the process sends valid frames")
            };
            assert!(matches!(next(), Some(FromProcess::Hello(_))));
            match next() {
                Some(FromProcess::Fault(_)) => assert!(!bytes.is_empty()),
                other => assert_eq!((other, bytes), (None, &b""[..])),
            }
        }
        listener
    });
    let connecting = builder(&address, "one")
        .connect_timeout(Duration::from_millis(20_000))
        .connect();
    let mut connecting = Box::pin(connecting);
    let mut context = Context::from_waker(Waker::noop());
    assert!(connecting.as_mut().poll(&mut context).is_pending());
    let listener = stranger
        .join()
        .expect("the thread of the other server has not panicked");
    drop(connecting);
    drop(listener);
}
