//! What a store over TCP does in a second, and what a handoff takes: `cargo bench -p tenure-benches --bench store`.
//!
//! Store and players are in one OS process, on loopback, beside an echo of the same bytes by the same runtime: the
//! ratio is what locking adds to talking. Medians of several runs; the players keep one request each under way.

use bytes::{Buf, BytesMut};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tenure_engine::{Engine, Memory};
use tenure_protocol::message::{AcquireRequest, Granted, Release, WaitMode};
use tenure_protocol::{
    Delta, Incarnation, Link, ProcessId, Request, SessionId, Time, ToProcess, ToStore, Token,
    Version,
};
use tenure_store::{Config, Server, Stop};
use tenure_wire::{Decoder, FrameLimits, FromProcess, FromStore, Opening, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long each run is.
const RUN: Duration = Duration::from_millis(1_500);

/// Runs of each case.
const RUNS: usize = 5;

/// A process that is played by hand.
struct Player {
    stream: TcpStream,
    decoder: Decoder<FromStore>,
    bytes: BytesMut,
    out: Outgoing,
    limits: FrameLimits,
    requests: u64,
}

impl Player {
    async fn connect(address: SocketAddr, at: usize) -> Self {
        let limits = FrameLimits::default();
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let mut own = Self {
            stream,
            decoder: Decoder::new(limits.clone()),
            bytes: BytesMut::new(),
            out: Outgoing::new(),
            limits,
            requests: 0,
        };
        let hello = FromProcess::Hello(Opening {
            process: ProcessId::new(format!("player-{at}")).expect("short"),
            link: Link {
                incarnation: Incarnation(1),
                number: 1,
            },
            minor_max: 0,
            sent: Time(1),
            holds: Vec::new(),
            waits: Vec::new(),
        });
        own.send(&hello).await;
        assert!(matches!(own.next().await, ToProcess::Welcome { .. }));
        own
    }

    async fn send(&mut self, item: &FromProcess) {
        self.out.push(item, &self.limits).expect("a small frame");
        while self.out.has_remaining() {
            self.stream
                .write_buf(&mut self.out)
                .await
                .expect("it reads");
        }
    }

    async fn next(&mut self) -> ToProcess {
        loop {
            match self.decoder.decode(&mut self.bytes).expect("frames") {
                Some(FromStore::Message(message)) => return message,
                Some(FromStore::Fault(fault)) => panic!("{fault}"),
                None => {
                    let read = self.stream.read_buf(&mut self.bytes).await;
                    assert!(read.expect("connected") > 0, "closed");
                }
            }
        }
    }

    async fn acquire(&mut self, session: &SessionId) -> (Token, Version) {
        self.requests += 1;
        let acquire = AcquireRequest {
            session: session.clone(),
            request: Request(self.requests),
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: None,
            existing: false,
        };
        self.send(&FromProcess::Message(ToStore::Acquire(acquire)))
            .await;
        loop {
            if let ToProcess::Granted(Granted { token, version, .. }) = self.next().await {
                return (token, version);
            }
        }
    }

    async fn release(&mut self, session: &SessionId, (token, base): (Token, Version)) {
        let release = ToStore::Release(Release {
            session: session.clone(),
            token,
            base,
            delta: Delta::default(),
            requeue: None,
            idle_ms: 0,
        });
        self.send(&FromProcess::Message(release)).await;
        loop {
            if matches!(self.next().await, ToProcess::Released { .. }) {
                return;
            }
        }
    }
}

fn session(at: usize) -> SessionId {
    SessionId::new(format!("session-{at:016}")).expect("short")
}

/// How many acquire and release, of a session of its own each, `players` do in a second.
async fn cycles(address: SocketAddr, first: usize, players: usize) -> f64 {
    let mut all = JoinSet::new();
    let until = Instant::now() + RUN;
    for at in first..first + players {
        all.spawn(async move {
            let mut player = Player::connect(address, at).await;
            let own = session(at);
            let mut count = 0_u64;
            while Instant::now() < until {
                let grant = player.acquire(&own).await;
                player.release(&own, grant).await;
                count += 1;
            }
            count
        });
    }
    let counts = all.join_all().await;
    counts.into_iter().sum::<u64>() as f64 / RUN.as_secs_f64()
}

/// The same traffic without a store: two round trips of 64 bytes.
async fn echoes(players: usize) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 64];
                while stream.read_exact(&mut bytes).await.is_ok() {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let mut all = JoinSet::new();
    let until = Instant::now() + RUN;
    for _ in 0..players {
        all.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.set_nodelay(true).expect("a socket");
            let mut bytes = [0; 64];
            let mut count = 0_u64;
            while Instant::now() < until {
                for _ in 0..2 {
                    stream.write_all(&bytes).await.expect("it reads");
                    stream.read_exact(&mut bytes).await.expect("it answers");
                }
                count += 1;
            }
            count
        });
    }
    let counts = all.join_all().await;
    server.abort();
    counts.into_iter().sum::<u64>() as f64 / RUN.as_secs_f64()
}

/// A store on a free port, whose data are where `engine` has them.
async fn start(
    engine: Option<Box<dyn Engine>>,
    folder: &std::path::Path,
) -> (
    SocketAddr,
    tenure_store::Stopper,
    tokio::task::JoinHandle<()>,
) {
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        admin: ([127, 0, 0, 1], 0).into(),
        data: folder.to_owned(),
        turns: 0,
        ..Config::default()
    };
    let server = match engine {
        Some(engine) => Server::with_engine(config, engine).await,
        None => Server::start(config).await,
    };
    let server = server.expect("it starts");
    let address = server.address().expect("bound");
    let stopper = server.stopper();
    let task = tokio::spawn(async move { server.run().await.expect("no failure") });
    (address, stopper, task)
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

#[tokio::main]
async fn main() {
    println!("acquire and release in a second, of a session each; medians of {RUNS} runs");
    println!("| connections | echo | store, in memory | store, durable |");
    println!("|---|---|---|---|");
    let folder = tempfile::tempdir().expect("a folder");
    let memory = start(Some(Box::new(Memory::new())), folder.path()).await;
    let durable = start(None, &folder.path().join("data")).await;
    let mut first = 0;
    for players in [1, 16, 64, 256] {
        let (mut echo, mut volatile, mut lasting) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            echo.push(echoes(players).await);
            volatile.push(cycles(memory.0, first, players).await);
            lasting.push(cycles(durable.0, first, players).await);
            first += players;
        }
        let [echo, volatile, lasting] = [echo, volatile, lasting].map(median);
        println!("| {players} | {echo:.0} | {volatile:.0} | {lasting:.0} |");
    }
    for (_, stopper, task) in [memory, durable] {
        stopper.stop(Stop::Fast);
        task.await.expect("no panic");
    }
}
