//! Tests with many connections, long queues and many messages at once.

use crate::support::{Player, Running, config, id};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tenure_protocol::message::{GrantRef, Limited, Refusal};
use tenure_protocol::{Delta, ToProcess};
use tenure_store::{Config, Stop};
use tenure_wire::FaultCode;
use tokio::io::AsyncWriteExt;

async fn store(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = config(std::path::Path::new("unused"));
    change(&mut config);
    Running::with_engine(config, Box::new(tenure_engine::Memory::new())).await
}

/// Raises the limit on open files. Returns `false` if the system does not allow that.
fn may_open(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= files);
    if is_enough(limit.current) {
        return true;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    is_enough(limit.maximum) && setrlimit(Resource::Nofile, raised).is_ok()
}

const ADDRESS: &str = "TENURE_TEST_ADDRESS";
const IDLE: u64 = 10_000;

/// The other end of 10,000 connections, in a separate OS process, because both ends together need twice as many open
/// files.
#[test]
#[ignore = "the other half of ten_thousand_idle_connections_delay_no_other_process, which starts it"]
fn idle_processes() {
    let Ok(address) = std::env::var(ADDRESS) else {
        return;
    };
    assert!(
        may_open(IDLE + 100),
        "the store's process could raise the same limit"
    );
    let address: SocketAddr = address.parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut open = Vec::new();
    for at in 0..IDLE {
        let hello = runtime.block_on(async {
            let player = Player::silent(address, &format!("idle-{at}"), 1, 1).await;
            let bytes = player.hello_bytes(vec![], vec![]);
            (player.stream.into_std().expect("open"), bytes)
        });
        let (mut stream, bytes): (TcpStream, _) = hello;
        stream.set_nonblocking(false).expect("open");
        stream.write_all(&bytes).expect("it reads");
        stream.read_exact(&mut [0; 16]).expect("a welcome");
        open.push(stream);
    }
    println!("\nopen");
    // Wait until the other half has finished.
    let _ = std::io::stdin().read(&mut [0]);
}

fn open_idle(address: SocketAddr) -> Child {
    let own = std::env::current_exe().expect("this test");
    let mut other = Command::new(own);
    other.args([
        "crowd::idle_processes",
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    other.env(ADDRESS, address.to_string());
    other.stdin(Stdio::piped()).stdout(Stdio::piped());
    other.spawn().expect("it starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_delay_no_other_process() {
    if !may_open(IDLE + 500) {
        println!(
            "skipped: the system's hard limit on open files is below {}",
            IDLE + 500
        );
        return;
    }
    let store = store(|config| config.lease = Duration::from_millis(120_000)).await;
    let mut idle = open_idle(store.address);
    let out = BufReader::new(idle.stdout.take().expect("piped"));
    let opened = tokio::task::spawn_blocking(move || {
        let mut lines = out.lines().map_while(Result::ok);
        let are_open = lines.any(|line| line.trim() == "open");
        (are_open, lines)
    });
    // p is served while the connections are being opened, and when all are open.
    let mut p = Player::connect(store.address, "p").await;
    let mut request = 0;
    while !opened.is_finished() {
        request += 1;
        p.write(&id("s"), request, "1").await;
    }
    let (are_open, _lines) = opened.await.expect("no panic");
    assert!(are_open, "some of the idle connections could not connect");
    let (_, status) = store.ask("GET", "/status").await;
    assert!(status.contains(&format!("\"connections\":{},", IDLE + 1)));
    for at in 1..100 {
        p.write(&id("s"), request + at, "1").await;
    }
    drop(idle.stdin.take());
    idle.wait().expect("it ends");
    let is_alone = |_, text: &str| text.contains("\"connections\":1,");
    store.until("/status", is_alone).await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_connection_above_the_limit_is_closed_with_a_fault_and_works_after_another_closes() {
    let store = store(|config| config.limits.connections_max = 2).await;
    let mut p = Player::connect(store.address, "p").await;
    let q = Player::connect(store.address, "q").await;
    for _ in 0..10 {
        let mut third = Player::silent(store.address, "r", 1, 1).await;
        assert_eq!(third.fault().await.code, FaultCode::Busy);
    }
    assert!(p.lives().await.is_empty());
    drop(q);
    let is_alone = |_, text: &str| text.contains("\"connections\":1,");
    store.until("/status", is_alone).await;
    let mut r = Player::connect(store.address, "r").await;
    r.write(&id("s"), 1, "1").await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn thousands_of_short_connections_leave_nothing_behind() {
    let store = store(|_| {}).await;
    for at in 0..3_000_u64 {
        let mut player = Player::silent(store.address, "p", 1, at + 1).await;
        let hello = player.hello_bytes(vec![], vec![]);
        match at % 3 {
            0 => {}
            1 => player
                .stream
                .write_all(&hello[..9])
                .await
                .expect("it reads"),
            _ => {
                player.stream.write_all(&hello).await.expect("it reads");
                assert!(matches!(player.next().await, ToProcess::Welcome { .. }));
            }
        }
    }
    let is_empty = |_, text: &str| text.contains("\"connections\":0,");
    store.until("/status", is_empty).await;
    let mut p = Player::silent(store.address, "p", 1, 9_999).await;
    p.hello(vec![], vec![]).await;
    assert!(matches!(p.next().await, ToProcess::Welcome { .. }));
    p.write(&id("s"), 1, "1").await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_thousand_waiters_are_granted_in_order_and_one_more_is_refused() {
    const WAITERS: usize = 1_000;
    if !may_open(3_000) {
        println!("skipped: the system's hard limit on open files is below 3000");
        return;
    }
    let store = store(|config| {
        config.limits.waiters_max = WAITERS;
        // No player sends a keep-alive, and on a loaded machine the test takes longer than the default lease.
        config.lease = Duration::from_millis(3_600_000);
    })
    .await;
    let s = id("s");
    let mut holder = Player::connect(store.address, "holder").await;
    let grant = holder.acquire(&s, 1).await;
    let mut waiters = Vec::new();
    for at in 0..WAITERS {
        let mut waiter = Player::connect(store.address, &format!("w{at}")).await;
        waiter.ask_for(&s, 1).await;
        assert!(matches!(waiter.next().await, ToProcess::Queued { .. }));
        waiters.push(waiter);
    }
    let mut more = Player::connect(store.address, "more").await;
    more.ask_for(&s, 1).await;
    match more.next().await {
        ToProcess::Refused { why, .. } => assert_eq!(why, Refusal::Limit(Limited::Waiters)),
        other => panic!("{other:?}"),
    }
    holder
        .release(&s, grant.token, grant.version, Delta::default())
        .await;
    let mut last = grant.token;
    for waiter in &mut waiters {
        let grant = waiter.granted(&s).await;
        assert!(grant.token > last);
        last = grant.token;
        waiter
            .release(&s, grant.token, grant.version, Delta::default())
            .await;
    }
    more.write(&s, 2, "1").await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_hellos_with_forged_grants_is_answered_and_delays_no_other_process() {
    const HOLDS: u64 = 100_000;
    let store = store(|_| {}).await;
    let forged = |at: u64| GrantRef {
        session: id(&format!("forged-{at}")),
        token: Default::default(),
    };
    let mut floods = Vec::new();
    for at in 0..10 {
        let address = store.address;
        floods.push(tokio::spawn(async move {
            let mut player = Player::silent(address, &format!("f{at}"), 1, 1).await;
            player.hello((0..HOLDS).map(forged).collect(), vec![]).await;
            match player.next().await {
                ToProcess::Welcome { holds, gone, .. } => (holds.len(), gone.len()),
                other => panic!("{other:?}"),
            }
        }));
    }
    let mut p = Player::connect(store.address, "p").await;
    let mut request = 0;
    while !floods.iter().all(|flood| flood.is_finished()) {
        request += 1;
        p.write(&id("s"), request, "1").await;
    }
    for flood in floods {
        assert_eq!(flood.await.expect("welcome"), (0, HOLDS as usize));
    }
    store.stop(Stop::Fast).await.expect("no failure");
}
