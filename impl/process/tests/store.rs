//! The library with the reference store. In other tests, each knows the other only through the protocol.

use crate::support::reconnected;
use bytes::{Buf, BytesMut};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;
use tenure::{Error, Process, ProcessSettings, Typed};
use tenure_protocol::message::{AcquireRequest, WaitMode};
use tenure_protocol::{Incarnation, Link, ProcessId, Request, SessionId, Time, ToProcess, ToStore};
use tenure_store::{Config, Server, Stop, Stopper, StoreError};
use tenure_wire::{Decoder, FrameLimits, FromProcess, FromStore, Opening, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A store on its own thread.
struct Running {
    address: SocketAddr,
    admin: SocketAddr,
    stopper: Stopper,
    thread: JoinHandle<Result<(), StoreError>>,
}

impl Running {
    /// Starts a store on the port of an earlier one, or on any port if `port` is 0.
    fn start(folder: &Path, port: u16) -> Self {
        Self::start_with(Config {
            listen: ([127, 0, 0, 1], port).into(),
            data: folder.join("data"),
            ..Config::default()
        })
    }

    fn start_with(config: Config) -> Self {
        let config = Config {
            admin: ([127, 0, 0, 1], 0).into(),
            ..config
        };
        let (told, tells) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let server = Server::start(config).await?;
                let address = server.address().expect("bound");
                let admin = server.admin_address().expect("bound");
                told.send((address, admin, server.stopper()))
                    .expect("awaited");
                server.run().await
            })
        });
        let (address, admin, stopper) = tells.recv().expect("it starts");
        Self {
            address,
            admin,
            stopper,
            thread,
        }
    }

    /// Returns the answer of the admin listener to a GET request.
    fn get(&self, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(self.admin).expect("it listens");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.admin
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// Returns a counter of the store, or 0 if it does not exist yet.
    fn counter(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or(0)
    }

    fn stop(self, how: Stop) {
        self.stopper.stop(how);
        self.thread.join().expect("no panic").expect("it stops");
    }
}

/// A new grant would have a new token, so the same token shows that the session was never given back.
#[tokio::test]
async fn a_cached_session_that_is_in_use_survives_a_restart_of_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(folder.path(), 0);
    let address = store.address;
    let process = Process::connect(address.to_string())
        .await
        .expect("connected");
    let session = process.session("cart").expect("an id");
    let mut count = 0_u32;
    let first = session.lock("count").await.expect("locked").token();
    let mut store = Some(store);
    let mut restarted = None;
    for round in 0..300 {
        let mut guard = session.lock("count").await.expect("locked");
        assert_eq!(guard.token(), first, "round {round}");
        assert_eq!(guard.get::<u32>(), Ok((count > 0).then_some(count)));
        count += 1;
        guard.put(&count).expect("put");
        match round {
            100 => {
                // This session is locked while the store stops and starts.
                store.take().expect("running").stop(Stop::Keep);
                restarted = Some(Running::start(folder.path(), address.port()));
                reconnected(&process, 1).await;
                guard.commit().await.expect("durable");
            }
            200 => {
                // This session is cached and not locked.
                guard.unlock().expect("held");
                restarted.take().expect("running").stop(Stop::Keep);
                restarted = Some(Running::start(folder.path(), address.port()));
            }
            _ => guard.unlock().expect("held"),
        }
    }
    process.shutdown().await.expect("in time");
    restarted.expect("running").stop(Stop::Keep);
}

/// The ids are like those in forged cookies of clients without an account.
#[tokio::test]
async fn locks_of_existing_sessions_with_5000_unknown_ids_write_nothing_and_leave_no_session() {
    const COUNT: u64 = 5_000;
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(folder.path(), 0);
    let process = Process::connect(store.address.to_string())
        .await
        .expect("connected");
    let id = |number: u64| SessionId::new(format!("{number:032x}")).expect("a short id");
    for number in 0..COUNT {
        let id = id(number);
        let ended = if number.is_multiple_of(2) {
            process.lock(&id, "user").existing().await.map(drop)
        } else {
            let session = process.session(id.as_bytes()).expect("an id");
            session.lock_all().existing().await.map(drop)
        };
        assert_eq!(ended, Err(Error::Absent(Box::new(id))));
    }
    assert_eq!(store.counter("tenure_updates_total"), 0);
    let absent = store.counter("tenure_refusals_total{kind=\"absent\"}");
    assert_eq!(absent, COUNT, "each id costs one look-up");
    let status = store.get("/status");
    assert!(status.contains("\"sessions\":0,\"held\":0"), "{status}");
    assert_eq!(process.status().held, 0);

    // An existing session is found by both processes.
    let known = id(1);
    let mut guard = process.lock(&known, "user").await.expect("granted");
    guard.put("ada").expect("put");
    guard.commit().await.expect("durable");
    drop(guard);
    let other = Process::connect(store.address.to_string())
        .await
        .expect("connected");
    let guard = other.lock(&known, "user").existing().await.expect("known");
    assert_eq!(guard.get(), Ok(Some("ada".to_owned())));
    drop(guard);
    assert!(store.counter("tenure_updates_total") > 0);
    process.shutdown().await.expect("in time");
    other.shutdown().await.expect("in time");
    store.stop(Stop::Keep);
}

#[tokio::test]
async fn the_reference_store_serves_two_processes_across_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(folder.path(), 0);
    let address = store.address;
    let one = Process::connect(address.to_string())
        .await
        .expect("connected");
    let two = Process::connect(address.to_string())
        .await
        .expect("connected");
    let (of_one, of_two) = (
        one.session("s").expect("an id"),
        two.session("s").expect("an id"),
    );
    for round in 0..20_u32 {
        let session = if round % 2 == 0 { &of_one } else { &of_two };
        let mut guard = session.lock("count").await.expect("locked");
        assert_eq!(guard.get::<u32>(), Ok((round > 0).then_some(round)));
        guard.put(&(round + 1)).expect("put");
        if round % 3 == 0 {
            guard.commit().await.expect("durable");
        }
    }

    let mut guard = of_one.lock("count").await.expect("locked");
    guard.put(&100).expect("put");
    guard.commit().await.expect("durable");
    store.stop(Stop::Fast);
    let store = Running::start(folder.path(), address.port());
    reconnected(&one, 1).await;
    guard.put(&101).expect("put");
    guard.commit().await.expect("durable");
    guard.unlock().expect("never lost");
    let guard = of_two.lock("count").await.expect("locked");
    assert_eq!(guard.get(), Ok(Some(101)));
    drop(guard);

    one.shutdown().await.expect("in time");
    two.shutdown().await.expect("in time");
    store.stop(Stop::Drain);
}

/// A process that answers no recall. Its connection ends when it is dropped, as if it had been killed.
struct Mute {
    stream: TcpStream,
    bytes: BytesMut,
    decoder: Decoder<FromStore>,
}

impl Mute {
    async fn connect(address: SocketAddr, name: &str) -> Self {
        let mut own = Self {
            stream: TcpStream::connect(address).await.expect("it listens"),
            bytes: BytesMut::new(),
            decoder: Decoder::new(FrameLimits::default()),
        };
        own.say(FromProcess::Hello(Opening {
            process: ProcessId::new(name.to_owned()).expect("a name"),
            link: Link {
                incarnation: Incarnation(1),
                number: 1,
            },
            minor_max: 0,
            sent: Time(1),
            holds: Vec::new(),
            waits: Vec::new(),
        }))
        .await;
        own.hears(|message| matches!(message, ToProcess::Welcome { .. }))
            .await;
        own
    }

    async fn say(&mut self, item: FromProcess) {
        let mut out = Outgoing::new();
        out.push(&item, &FrameLimits::default()).expect("it fits");
        let bytes = out.copy_to_bytes(out.remaining());
        self.stream.write_all(&bytes).await.expect("it reads");
    }

    async fn ask_for(&mut self, session: &SessionId) {
        let acquire = AcquireRequest {
            session: session.clone(),
            request: Request(1),
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: None,
            existing: false,
        };
        self.say(FromProcess::Message(ToStore::Acquire(acquire)))
            .await;
    }

    /// Waits for a message that matches `is_it`.
    async fn hears(&mut self, is_it: impl Fn(&ToProcess) -> bool) {
        loop {
            match self.decoder.decode(&mut self.bytes).expect("frames") {
                Some(FromStore::Message(message)) if is_it(&message) => return,
                Some(_) => {}
                None => {
                    let read = self.stream.read_buf(&mut self.bytes);
                    assert_ne!(
                        read.await.expect("it is open"),
                        0,
                        "the store keeps the connection open"
                    );
                }
            }
        }
    }
}

/// If a thread works longer than the deadline of a recall, its writes are lost, but only if another process is waiting.
/// The leases are longer than the test, so nothing here is caused by the end of a lease.
#[tokio::test]
async fn a_waiter_that_dies_after_its_recall_does_not_cost_the_holder_its_grant() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start_with(Config {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.path().join("data"),
        lease: Duration::from_secs(600),
        remind: Duration::from_millis(200),
        recall: Duration::from_secs(2),
        ..Config::default()
    });
    let address = store.address;
    let connect = |name: &str| {
        let settings = ProcessSettings {
            recall_margin_ms: 1_000,
            ..ProcessSettings::default()
        };
        let builder = Process::builder(address.to_string()).name(name);
        builder.settings(settings).connect()
    };
    let (holder, other) = (connect("holder").await, connect("other").await);
    let (holder, other) = (holder.expect("connected"), other.expect("connected"));
    let id = |name: &'static str| SessionId::from_static(name);

    let session = holder.session("cart").expect("an id");
    let mut guard = session.lock("count").await.expect("locked");
    let token = guard.token();
    guard.put(&1).expect("put");
    let mut waiter = Mute::connect(address, "waiter").await;
    waiter.ask_for(&id("cart")).await;
    let is_queued = |message: &ToProcess| matches!(message, ToProcess::Queued { .. });
    waiter.hears(is_queued).await;
    assert!(
        guard_is_recalled(&guard).await,
        "the recall has reached the holder"
    );
    drop(waiter);

    // Another grant is recalled later and revoked at its deadline, since its waiter is alive. So the first deadline
    // has passed too.
    let mut mute = Mute::connect(address, "mute").await;
    mute.ask_for(&id("till")).await;
    mute.hears(|message| matches!(message, ToProcess::Granted(_)))
        .await;
    let till = other.session("till").expect("an id");
    drop(till.lock("sum").await.expect("locked"));

    assert_eq!(guard.check(), Ok(()), "the store has not revoked the grant");
    guard.commit().await.expect("durable");
    assert_eq!(guard.token(), token, "the process has kept the same grant");
    drop(guard);
    // The store skips the dead waiter. Otherwise, this would have to wait for the end of its lease.
    let cart = other.session("cart").expect("an id");
    let lock = tokio::time::timeout(Duration::from_secs(30), cart.lock("count"));
    let guard = lock.await.expect("passed by").expect("locked");
    assert_eq!(guard.get(), Ok(Some(1)));
    drop(guard);

    holder.shutdown().await.expect("in time");
    other.shutdown().await.expect("in time");
    store.stop(Stop::Fast);
}

/// Waits until the guard reports that its grant is recalled.
async fn guard_is_recalled(guard: &tenure::Guard<'_>) -> bool {
    let recalled = async {
        while !guard.recalled() {
            tokio::task::yield_now().await;
        }
    };
    let recalled = tokio::time::timeout(Duration::from_secs(20), recalled);
    recalled.await.is_ok()
}
