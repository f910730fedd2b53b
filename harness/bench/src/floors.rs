//! The floors: the least that mutexes, sockets and a disk take on this machine, without any store.

use crate::contest::{Contestant, Found, Measure, Plan, hold};
use crate::document::{Missing, Row};
use crate::host::{self, Place};
use crate::statistics::Latencies;
use anyhow::{Context, Result};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The size of a session.
const DATA: usize = 2_048;
/// Long enough for another thread to fall asleep.
const ASLEEP: Duration = Duration::from_micros(300);
/// The preallocated part of the file. No run writes more.
const FILE_BYTES: u64 = 64 << 20;

/// All rows, each with its meaning.
pub(crate) const ROWS: [(&str, &str); 5] = [
    (
        "mutex",
        "lock and unlock a mutex that no other thread wants",
    ),
    (
        "handover",
        "from the unlock in one thread to the lock in a sleeping one, p50",
    ),
    ("round-trip", "2 KiB to a tokio task over TCP and back, p50"),
    (
        "relay",
        "2 KiB from a thread over a relaying thread to a sleeping one, TCP, p50",
    ),
    (
        "fdatasync",
        "write 2 KiB at the end of a file and sync it, p50",
    ),
];

pub(crate) fn measure(plan: &mut Plan<'_>) -> Result<Found> {
    let mut found = Found::default();
    let length = plan.size(Duration::from_millis(250), Duration::from_secs(1));
    if plan.wants("mutex") {
        let measure = [Measure::less("mutex", "ns")];
        found.rows.extend(hold(plan, "", &measure, mutexes()));
    }
    let places = host::places();
    for place in &places {
        found.rows.extend(in_place(plan, *place, length));
    }
    if places.len() < 2 {
        found.missing.push(Missing {
            name: "cross".to_owned(),
            why: "needs two cores and Linux, which lets a thread choose its core".to_owned(),
        });
    }
    if plan.wants("fdatasync") {
        let measure = [Measure::less("fdatasync", "us")];
        let sync = |name, is_allocated| contestant(name, move || appends(is_allocated, length));
        let sides = vec![sync("preallocated", true), sync("growing", false)];
        found.rows.extend(hold(plan, "", &measure, sides));
    }
    Ok(found)
}

fn in_place(plan: &mut Plan<'_>, place: Place, length: Duration) -> Vec<Row> {
    let rounds = plan.size(300, 2_000);
    let mut rows = Vec::new();
    if plan.wants("handover") {
        let sides = vec![
            contestant("std", move || {
                let mutex = std::sync::Mutex::new(());
                handovers(place, rounds, || mutex.lock().expect("no holder panics"))
            }),
            contestant("parking_lot", move || {
                let mutex = parking_lot::Mutex::new(());
                handovers(place, rounds, || mutex.lock())
            }),
        ];
        let measure = [Measure::less("handover", "us")];
        rows.extend(hold(plan, place.name, &measure, sides));
    }
    if plan.wants("round-trip") {
        let sides = vec![contestant("tokio", move || round_trips(place, length))];
        let measure = [Measure::less("round-trip", "us")];
        rows.extend(hold(plan, place.name, &measure, sides));
    }
    if plan.wants("relay") {
        let sides = vec![contestant("tokio", move || relays(place, rounds))];
        let measure = [Measure::less("relay", "us")];
        rows.extend(hold(plan, place.name, &measure, sides));
    }
    rows
}

fn contestant<'a>(name: &str, mut run: impl FnMut() -> Result<f64> + 'a) -> Contestant<'a> {
    Contestant {
        name: name.to_owned(),
        recipe: String::new(),
        source: String::new(),
        run: Box::new(move || run().map(|sample| vec![sample])),
    }
}

fn mutexes<'a>() -> Vec<Contestant<'a>> {
    const LOCKS: u32 = 500_000;
    fn each(mut lock: impl FnMut()) -> f64 {
        (0..LOCKS / 10).for_each(|_| lock());
        let start = Instant::now();
        (0..LOCKS).for_each(|_| lock());
        start.elapsed().as_nanos() as f64 / f64::from(LOCKS)
    }
    let standard = contestant("std", || {
        let mutex = std::sync::Mutex::new(0_u64);
        Ok(each(|| {
            *black_box(&mutex).lock().expect("no holder panics") += 1;
        }))
    });
    let parking_lot = contestant("parking_lot", || {
        let mutex = parking_lot::Mutex::new(0_u64);
        Ok(each(|| *black_box(&mutex).lock() += 1))
    });
    vec![standard, parking_lot]
}

/// Lets one thread unlock while another one sleeps in `lock`.
fn handovers<G>(place: Place, rounds: u32, lock: impl Fn() -> G + Sync) -> Result<f64> {
    let (barrier, unlocked) = (Barrier::new(2), AtomicU64::new(0));
    thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let pinned = host::pin(place.store);
            for _ in 0..rounds {
                let guard = lock();
                barrier.wait();
                thread::sleep(ASLEEP);
                unlocked.store(host::now_ns(), Ordering::Release);
                drop(guard);
                barrier.wait();
            }
            pinned
        });
        let waiter = scope.spawn(|| {
            let pinned = host::pin(place.clients);
            let mut latencies = Latencies::new();
            for _ in 0..rounds {
                barrier.wait();
                let guard = lock();
                let taken = host::now_ns();
                latencies.record_ns(taken.saturating_sub(unlocked.load(Ordering::Acquire)));
                drop(guard);
                barrier.wait();
            }
            pinned.map(|()| latencies.quantile_us(0.5))
        });
        holder.join().expect("the holder does not panic")?;
        waiter.join().expect("the waiter does not panic")
    })
}

fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    runtime.context("cannot start a runtime")
}

/// Sends 2 KiB to an echoing task on the other thread, again and again.
fn round_trips(place: Place, length: Duration) -> Result<f64> {
    let (address, listening) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            host::pin(place.store)?;
            runtime()?.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                address.send(listener.local_addr()?)?;
                let (mut stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let mut frame = [0; DATA];
                while stream.read_exact(&mut frame).await.is_ok() {
                    stream.write_all(&frame).await?;
                }
                anyhow::Ok(())
            })
        });
        let client = scope.spawn(move || {
            host::pin(place.clients)?;
            runtime()?.block_on(async move {
                let mut stream = TcpStream::connect(listening.recv()?).await?;
                stream.set_nodelay(true)?;
                let (mut latencies, mut frame) = (Latencies::new(), [7; DATA]);
                let start = Instant::now();
                while start.elapsed() < length {
                    let sent = Instant::now();
                    stream.write_all(&frame).await?;
                    stream.read_exact(&mut frame).await?;
                    latencies.record(sent.elapsed());
                }
                anyhow::Ok(latencies.quantile_us(0.5))
            })
        });
        let sample = client.join().expect("the client does not panic");
        server.join().expect("the server does not panic")?;
        sample
    })
}

/// Sends 2 KiB over a relaying thread to a thread that sleeps until they come.
fn relays(place: Place, rounds: u32) -> Result<f64> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let relay = scope.spawn(move || {
            host::pin(place.store)?;
            listener.set_nonblocking(true)?;
            runtime()?.block_on(async move {
                let listener = TcpListener::from_std(listener)?;
                let mut ends = [listener.accept().await?.0, listener.accept().await?.0];
                // Each end begins with one byte: 0 sends, 1 receives.
                if ends[0].read_u8().await? == 1 {
                    ends.swap(0, 1);
                }
                let [mut from, mut to] = ends;
                to.set_nodelay(true)?;
                let mut frame = [0; DATA];
                while from.read_exact(&mut frame).await.is_ok() {
                    to.write_all(&frame).await?;
                }
                anyhow::Ok(())
            })
        });
        let sender = scope.spawn(move || {
            host::pin(place.clients)?;
            runtime()?.block_on(async move {
                let mut stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                stream.write_u8(0).await?;
                let mut frame = [7; DATA];
                for _ in 0..rounds {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    frame[..8].copy_from_slice(&host::now_ns().to_le_bytes());
                    stream.write_all(&frame).await?;
                }
                anyhow::Ok(())
            })
        });
        let receiver = scope.spawn(move || {
            host::pin(place.clients)?;
            runtime()?.block_on(async move {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_u8(1).await?;
                let (mut latencies, mut frame) = (Latencies::new(), [0; DATA]);
                for _ in 0..rounds {
                    stream.read_exact(&mut frame).await?;
                    let mut sent = [0; 8];
                    sent.copy_from_slice(&frame[..8]);
                    latencies.record_ns(host::now_ns() - u64::from_le_bytes(sent));
                }
                anyhow::Ok(latencies.quantile_us(0.5))
            })
        });
        sender.join().expect("the sender does not panic")?;
        let sample = receiver.join().expect("the receiver does not panic");
        relay.join().expect("the relay does not panic")?;
        sample
    })
}

/// Appends 2 KiB and syncs, again and again, into space that is written already or that grows.
fn appends(is_allocated: bool, length: Duration) -> Result<f64> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let file = File::create(folder.path().join("log")).context("cannot create a file")?;
    if is_allocated {
        let zeroes = vec![0; 1 << 20];
        for offset in (0..FILE_BYTES).step_by(zeroes.len()) {
            file.write_all_at(&zeroes, offset)?;
        }
        file.sync_all()?;
    }
    let (mut latencies, data) = (Latencies::new(), [7; DATA]);
    let start = Instant::now();
    for offset in (0..FILE_BYTES).step_by(DATA) {
        if start.elapsed() >= length {
            break;
        }
        let sent = Instant::now();
        file.write_all_at(&data, offset)?;
        file.sync_data()?;
        latencies.record(sent.elapsed());
    }
    Ok(latencies.quantile_us(0.5))
}
