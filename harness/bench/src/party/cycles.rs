//! Cycles of tasks, alone or many at once.

use super::{Cycles, Report};
use crate::client::{Client, FILLED, Target, value};
use crate::statistics::Latencies;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The number of sessions that each task of [`Work::Cycles`](super::Work::Cycles) goes around.
pub(crate) const RING: u64 = 8;
/// The part of a run that is not counted.
pub(super) const WARM_UP: f64 = 0.25;
/// Returns one client for each task. Tasks share a connection if `is_shared` and the recipe allows it.
pub(super) async fn clients<C: Client>(
    target: &Target,
    tasks: u64,
    is_shared: bool,
) -> Result<Vec<C>> {
    let mut clients: Vec<C> = Vec::new();
    for _ in 0..tasks {
        let shared = clients.first().filter(|_| is_shared).and_then(C::share);
        clients.push(match shared {
            Some(client) => client,
            None => C::connect(target).await?,
        });
    }
    Ok(clients)
}

/// The latencies of the cycles of one task.
pub(super) struct Counted {
    pub(super) acquire: Latencies,
    pub(super) cycle: Latencies,
    pub(super) switches: u64,
}

impl Counted {
    pub(super) fn new() -> Self {
        Self {
            acquire: Latencies::new(),
            cycle: Latencies::new(),
            switches: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        self.acquire.add(&other.acquire);
        self.cycle.add(&other.cycle);
        self.switches += other.switches;
    }
}

/// One cycle, counted unless the run still warms up.
pub(super) async fn once<C: Client>(
    client: &C,
    session: u64,
    mark: u64,
    counted: Option<&mut Counted>,
) -> Result<()> {
    let value = value(mark);
    let start = Instant::now();
    let (held, seen) = client.acquire(session).await?;
    let acquired = start.elapsed();
    client.release(session, held, value).await?;
    if let Some(counted) = counted {
        counted.acquire.record(acquired);
        counted.cycle.record(start.elapsed());
        counted.switches += u64::from(seen.mark != mark);
    }
    Ok(())
}

/// What a task counted, and its clients.
type Ended<C> = (Counted, Vec<C>);

/// Joins the tasks of a run.
pub(super) async fn joined<C: Client>(tasks: Vec<JoinHandle<Result<Ended<C>>>>) -> Result<Counted> {
    let mut all = Counted::new();
    let mut clients = Vec::new();
    for task in tasks {
        let (counted, own) = task.await??;
        all.add(&counted);
        clients.extend(own);
    }
    for client in clients {
        client.close().await?;
    }
    ensure!(all.cycle.len() > 0, "no cycle ended within the run");
    Ok(all)
}

pub(super) async fn run<C: Client>(target: &Target, cycles: &Cycles) -> Result<Report> {
    let each = cycles.connections.max(1);
    let all = clients::<C>(target, cycles.tasks * each, cycles.connections == 0).await?;
    let mut all = all.into_iter();
    let start = Instant::now();
    let end = Duration::from_secs_f64(cycles.seconds);
    let warm = end.mul_f64(WARM_UP);
    let (filled, mut tasks) = (cycles.filled, Vec::new());
    for task in cycles.first..cycles.first + cycles.tasks {
        let own: Vec<C> = all.by_ref().take(usize::try_from(each)?).collect();
        tasks.push(tokio::spawn(async move {
            let (mut counted, mut number) = (Counted::new(), 0);
            while start.elapsed() < end {
                let turn = number % each;
                // With two connections, each finds a session that the other one has written long before.
                let step = (number / each + turn * RING / each) % RING;
                let session = match filled {
                    0 => task * RING + step,
                    _ => FILLED + scattered(task, number) % filled,
                };
                let is_warm = start.elapsed() >= warm;
                let counts = is_warm.then_some(&mut counted);
                once(&own[usize::try_from(turn)?], session, turn, counts).await?;
                number += 1;
            }
            Ok((counted, own))
        }));
    }
    let counted = joined(tasks).await?;
    let seconds = (end - warm).as_secs_f64();
    Ok(Report::of([
        ("cycles_per_s", counted.cycle.len() as f64 / seconds),
        ("acquire_p50_us", counted.acquire.quantile_us(0.5)),
        ("cycle_p50_us", counted.cycle.quantile_us(0.5)),
        ("cycle_p999_us", counted.cycle.quantile_us(0.999)),
    ]))
}

/// Returns a number that looks random.
pub(super) fn scattered(task: u64, number: u64) -> u64 {
    let mixed = (task + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number;
    (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20
}
