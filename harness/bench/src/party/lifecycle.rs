//! The life of a store: its sessions are created, it restarts, and connections come.

use super::{RING, Report};
use crate::client::{Client, FILLED, FLAT_OUT, HOT, Recipe, TURNS, Target, value};
use crate::host;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The time limit for a store that restarts.
const PATIENCE: Duration = Duration::from_secs(60);
/// The number of sessions that are read after a restart.
const SPREAD: u64 = 1_000;

/// Connects to a store that may still be starting.
async fn patient<C: Client>(target: &Target) -> Result<C> {
    let until = Instant::now() + PATIENCE;
    loop {
        match C::connect(target).await {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

pub(super) async fn create<C: Client>(target: &Target, tasks: u64) -> Result<Report> {
    let client = patient::<C>(target).await?;
    let own = 0..tasks * RING;
    let all: Vec<u64> = own.chain([TURNS, FLAT_OUT, HOT]).collect();
    client.create(&all).await?;
    client.close().await?;
    Ok(Report::default())
}

pub(super) async fn fill<C: Client>(
    target: &Target,
    sessions: u64,
    connections: u64,
) -> Result<Report> {
    let mut tasks = Vec::new();
    for number in 0..connections {
        let client = patient::<C>(target).await?;
        tasks.push(tokio::spawn(async move {
            let own = (number..sessions).step_by(usize::try_from(connections)?);
            let own: Vec<u64> = own.map(|session| FILLED + session).collect();
            client.create(&own).await?;
            client.close().await
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(Report::default())
}

pub(super) async fn restart<C: Client>(
    target: &Target,
    sessions: u64,
    start_ns: u64,
) -> Result<Report> {
    let since = || (host::now_ns() - start_ns) as f64 / 1e6;
    let client: C = patient(target).await?;
    let middle = FILLED + sessions / 2;
    let (held, _) = client.acquire(middle).await?;
    let first = since();
    client.release(middle, held, value(0)).await?;
    let tasks = SPREAD.min(64);
    let mut own: Vec<C> = (1..tasks).filter_map(|_| client.share()).collect();
    own.push(client);
    let workers = own.len() as u64;
    let mut running: Vec<JoinHandle<Result<C>>> = Vec::new();
    for (number, client) in own.into_iter().enumerate() {
        running.push(tokio::spawn(async move {
            for index in (number as u64..SPREAD).step_by(usize::try_from(workers)?) {
                let session = FILLED + index * sessions / SPREAD;
                let (held, _) = client.acquire(session).await?;
                client.release(session, held, value(0)).await?;
            }
            Ok(client)
        }));
    }
    let mut clients = Vec::new();
    for task in running {
        clients.push(task.await??);
    }
    let spread = since();
    for client in clients {
        client.close().await?;
    }
    Ok(Report::of([("first_ms", first), ("spread_ms", spread)]))
}

/// Opens an idle connection: of Tenure after the hello, of Redis after a ping. A drop closes it.
async fn idle<C: Client>(target: &Target) -> Result<Box<dyn Send>> {
    if target.recipe != Recipe::RedisLock {
        return Ok(Box::new(C::connect(target).await?));
    }
    let mut stream = TcpStream::connect(&target.address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(b"PING\r\n").await?;
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).await?;
    ensure!(&pong == b"+PONG\r\n", "Redis answers a ping with {pong:?}");
    Ok(Box::new(stream))
}

pub(super) async fn hold<C: Client>(target: &Target, connections: u64) -> Result<Report> {
    host::raise_open_files();
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(idle::<C>(target).await?);
    }
    println!();
    std::future::pending::<()>().await;
    drop(open);
    Ok(Report::default())
}

pub(super) async fn connect<C: Client>(target: &Target, count: u64, pid: u32) -> Result<Report> {
    let files = host::raise_open_files();
    ensure!(
        count + 100 < files,
        "{count} connections need more than the {files} open files that this system allows"
    );
    // The first connections make the server allocate what it needs once.
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(idle::<C>(target).await?);
    }
    let before = host::resident_bytes(pid)?;
    let start = Instant::now();
    for _ in 0..count {
        open.push(idle::<C>(target).await?);
    }
    let seconds = start.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let grown = host::resident_bytes(pid)?.saturating_sub(before);
    Ok(Report::of([
        ("connects_per_s", count as f64 / seconds),
        ("connection_bytes", grown as f64 / count as f64),
    ]))
}
