//! One client process of a measurement. It receives its orders as JSON, and prints its report as JSON.

use crate::client::{
    Client, FILLED, FLAT_OUT, Frames, HOT, Postgres, Recipe, Redis, TURNS, Target, Tenure, value,
};
use crate::host;
use crate::statistics::Latencies;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The number of sessions that each task of [`Work::Cycles`] goes around.
pub(crate) const RING: u64 = 8;
/// The part of a run that is not counted.
const WARM_UP: f64 = 0.25;
/// The length of a turn in [`Work::Turns`].
const TURN_NS: u64 = 8_000_000;
/// The time limit for a store that restarts.
const PATIENCE: Duration = Duration::from_secs(60);
/// The number of sessions that are read after a restart.
const SPREAD: u64 = 1_000;

/// The orders of a client process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) core: usize,
    pub(crate) target: Target,
    pub(crate) work: Work,
}

/// The work of a client process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Creates sessions: those of tasks, and the shared ones.
    Create { tasks: u64 },
    /// Tasks that go around their own sessions.
    Cycles(Cycles),
    /// One of two processes that take turns. The other one sleeps in `acquire`.
    Turns {
        role: u64,
        rounds: u64,
        start_ns: u64,
    },
    /// Tasks of one of two processes that all want one session.
    FlatOut {
        role: u64,
        tasks: u64,
        start_ns: u64,
        seconds: f64,
    },
    /// Fills a store over several connections.
    Fill { sessions: u64, connections: u64 },
    /// Reads one session, then others, of a store that restarts.
    Restart { sessions: u64, start_ns: u64 },
    /// Opens idle connections to the server with this process id.
    Connect { count: u64, pid: u32 },
    /// Opens idle connections, and keeps them until this process is killed.
    Hold { connections: u64 },
}

/// The parameters of [`Work::Cycles`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cycles {
    /// The number of the first task, so that several processes have sessions of their own.
    pub(crate) first: u64,
    pub(crate) tasks: u64,
    /// The number of connections of each task, used in turns. 0: all tasks share one, if the recipe allows it.
    pub(crate) connections: u64,
    /// The number of filled sessions to choose from at random. 0: each task goes around its own.
    pub(crate) filled: u64,
    pub(crate) seconds: f64,
}

/// The results of a client process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) values: BTreeMap<String, f64>,
    /// For each turn, the time of the request or of the grant, or the time of the release.
    pub(crate) turns: Vec<Turn>,
}

/// One round of [`Work::Turns`], as one process saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Turn {
    /// This process held the lock and released it.
    Released { round: u64, at_ns: u64 },
    /// This process waited for the lock.
    Acquired {
        round: u64,
        asked_ns: u64,
        at_ns: u64,
    },
}

impl Report {
    /// Returns a value that the work must have measured.
    pub(crate) fn value(&self, name: &str) -> Result<f64> {
        let value = self.values.get(name).copied();
        value.with_context(|| format!("the client process reports no {name}"))
    }

    fn of<const N: usize>(values: [(&str, f64); N]) -> Self {
        let values = values.map(|(name, value)| (name.to_owned(), value));
        Self {
            values: BTreeMap::from(values),
            turns: Vec::new(),
        }
    }
}

/// A running client process.
pub(crate) struct Party(Child);

impl Orders {
    /// Starts a client process.
    pub(crate) fn start(&self) -> Result<Party> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "party", &serde_json::to_string(self)?]);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Party(
            command.spawn().context("cannot start a client process")?,
        ))
    }

    /// Runs a client process to its end.
    pub(crate) fn run(&self) -> Result<Report> {
        self.start()?.report()
    }
}

impl Party {
    /// Waits until the process of [`Work::Hold`] has all its connections.
    pub(crate) fn ready(mut self) -> Result<Self> {
        let mut line = [0];
        let out = self.0.stdout.as_mut().context("the output is a pipe")?;
        match std::io::Read::read_exact(out, &mut line) {
            Ok(()) => Ok(self),
            Err(_) => self.report().and_then(|_| bail!("it has not waited")),
        }
    }

    /// Waits for the report.
    pub(crate) fn report(mut self) -> Result<Report> {
        let mut said = String::new();
        let mut error = String::new();
        if let Some(mut out) = self.0.stdout.take() {
            std::io::Read::read_to_string(&mut out, &mut said)?;
        }
        if let Some(mut err) = self.0.stderr.take() {
            std::io::Read::read_to_string(&mut err, &mut error)?;
        }
        let status = self.0.wait()?;
        if !status.success() {
            let last: Vec<_> = error.lines().rev().take(2).collect();
            bail!("a client process ended with {status}: {}", last.join(" | "));
        }
        serde_json::from_str(&said).context("a client process printed no report")
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs the client process with these orders, written as JSON, and prints its report.
///
/// # Errors
/// An error if the orders are no valid JSON, or if the work fails.
pub fn run(orders: &str) -> Result<()> {
    let orders: Orders = serde_json::from_str(orders).context("the orders are no valid JSON")?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    host::pin(orders.core)?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    let report = runtime.block_on(async {
        match orders.target.recipe {
            Recipe::TenureKeeps | Recipe::TenureReleases | Recipe::TenureCommits => {
                work::<Tenure>(&orders).await
            }
            Recipe::TenureFrames => work::<Frames>(&orders).await,
            Recipe::RedisLock | Recipe::RedisQueue => work::<Redis>(&orders).await,
            Recipe::PostgresSync | Recipe::PostgresAsync => work::<Postgres>(&orders).await,
        }
    })?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn work<C: Client>(orders: &Orders) -> Result<Report> {
    let target = &orders.target;
    match &orders.work {
        Work::Create { tasks } => create::<C>(target, *tasks).await,
        Work::Cycles(cycles) => cycle::<C>(target, cycles).await,
        &Work::Turns {
            role,
            rounds,
            start_ns,
        } => take_turns::<C>(target, role, rounds, start_ns).await,
        &Work::FlatOut {
            role,
            tasks,
            start_ns,
            seconds,
        } => flat_out::<C>(target, (role, tasks), (start_ns, seconds)).await,
        &Work::Fill {
            sessions,
            connections,
        } => fill::<C>(target, sessions, connections).await,
        &Work::Restart { sessions, start_ns } => restart::<C>(target, sessions, start_ns).await,
        &Work::Connect { count, pid } => connect::<C>(target, count, pid).await,
        &Work::Hold { connections } => hold::<C>(target, connections).await,
    }
}

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

async fn create<C: Client>(target: &Target, tasks: u64) -> Result<Report> {
    let client = patient::<C>(target).await?;
    let own = 0..tasks * RING;
    let all: Vec<u64> = own.chain([TURNS, FLAT_OUT, HOT]).collect();
    client.create(&all).await?;
    client.close().await?;
    Ok(Report::default())
}

async fn fill<C: Client>(target: &Target, sessions: u64, connections: u64) -> Result<Report> {
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

/// Returns one client for each task. Tasks share a connection if `is_shared` and the recipe allows it.
async fn clients<C: Client>(target: &Target, tasks: u64, is_shared: bool) -> Result<Vec<C>> {
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
struct Counted {
    acquire: Latencies,
    cycle: Latencies,
    switches: u64,
}

impl Counted {
    fn new() -> Self {
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
async fn once<C: Client>(
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

/// Joins the tasks of a run.
async fn joined<C: Client>(tasks: Vec<JoinHandle<Result<(Counted, Vec<C>)>>>) -> Result<Counted> {
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

async fn cycle<C: Client>(target: &Target, cycles: &Cycles) -> Result<Report> {
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
fn scattered(task: u64, number: u64) -> u64 {
    let mixed = (task + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number;
    (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20
}

async fn until(at_ns: u64) {
    let left = at_ns.saturating_sub(host::now_ns());
    tokio::time::sleep(Duration::from_nanos(left)).await;
}

/// The two processes need no channel: a round has a fixed place in time. In its first quarter the waiting process asks,
/// and in its middle the holder releases. A late process makes a round late, and nothing else.
async fn take_turns<C: Client>(
    target: &Target,
    role: u64,
    rounds: u64,
    start_ns: u64,
) -> Result<Report> {
    let client = C::connect(target).await?;
    let mut held = None;
    if role == 0 {
        until(start_ns).await;
        held = Some(client.acquire(TURNS).await?);
    }
    let mut turns = Vec::new();
    for round in 0..rounds {
        let begin = start_ns + (round + 1) * TURN_NS;
        if round % 2 == role {
            let (lock, _) = held.take().context("this process holds the lock")?;
            let jitter = scattered(role, round) % (TURN_NS / 4);
            until(begin + TURN_NS / 2 + jitter).await;
            let value = value(role);
            let at_ns = host::now_ns();
            client.release(TURNS, lock, value).await?;
            turns.push(Turn::Released { round, at_ns });
        } else {
            until(begin + TURN_NS / 8).await;
            let asked_ns = host::now_ns();
            held = Some(client.acquire(TURNS).await?);
            let at_ns = host::now_ns();
            turns.push(Turn::Acquired {
                round,
                asked_ns,
                at_ns,
            });
        }
    }
    if let Some((lock, _)) = held {
        client.release(TURNS, lock, value(role)).await?;
    }
    client.close().await?;
    Ok(Report {
        values: BTreeMap::new(),
        turns,
    })
}

async fn flat_out<C: Client>(
    target: &Target,
    (role, tasks): (u64, u64),
    (start_ns, seconds): (u64, f64),
) -> Result<Report> {
    let session = if tasks == 1 { FLAT_OUT } else { HOT };
    let own = clients::<C>(target, tasks, true).await?;
    until(start_ns).await;
    let start = Instant::now();
    let end = Duration::from_secs_f64(seconds);
    let warm = end.mul_f64(WARM_UP);
    let mut running = Vec::new();
    for client in own {
        running.push(tokio::spawn(async move {
            let mut counted = Counted::new();
            while start.elapsed() < end {
                let is_warm = start.elapsed() >= warm;
                let counts = is_warm.then_some(&mut counted);
                once(&client, session, role, counts).await?;
            }
            Ok((counted, vec![client]))
        }));
    }
    let counted = joined(running).await?;
    let seconds = (end - warm).as_secs_f64();
    Ok(Report::of([
        ("cycles_per_s", counted.cycle.len() as f64 / seconds),
        ("switches_per_s", counted.switches as f64 / seconds),
        ("longest_ms", counted.acquire.longest_ms()),
    ]))
}

async fn restart<C: Client>(target: &Target, sessions: u64, start_ns: u64) -> Result<Report> {
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

async fn hold<C: Client>(target: &Target, connections: u64) -> Result<Report> {
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

async fn connect<C: Client>(target: &Target, count: u64, pid: u32) -> Result<Report> {
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

/// Combines what the two processes of [`Work::Turns`] saw: the time from a release to the grant that waited for it.
pub(crate) fn handoffs(one: &Report, other: &Report) -> Result<Latencies> {
    /// A waiter that asked this late may not have slept yet.
    const AWAKE_NS: u64 = 500_000;
    let mut released = BTreeMap::new();
    for turn in one.turns.iter().chain(&other.turns) {
        if let Turn::Released { round, at_ns } = *turn {
            released.insert(round, at_ns);
        }
    }
    let (mut latencies, mut rounds) = (Latencies::new(), 0);
    for turn in one.turns.iter().chain(&other.turns) {
        let Turn::Acquired {
            round,
            asked_ns,
            at_ns,
        } = *turn
        else {
            continue;
        };
        rounds += 1;
        let release = released.get(&round).copied();
        let release = release.with_context(|| format!("nobody released round {round}"))?;
        ensure!(
            at_ns >= release,
            "two processes held the lock in round {round}"
        );
        if asked_ns + AWAKE_NS <= release {
            latencies.record_ns(at_ns - release);
        }
    }
    ensure!(
        latencies.len() * 2 > rounds,
        "in most rounds the waiter came late: this machine has no core for the clients"
    );
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(turns: Vec<Turn>) -> Report {
        Report {
            values: BTreeMap::new(),
            turns,
        }
    }

    #[test]
    fn a_handoff_lasts_from_the_release_to_the_grant() {
        let ms = 1_000_000;
        let one = turns(vec![
            Turn::Released {
                round: 0,
                at_ns: 4 * ms,
            },
            Turn::Acquired {
                round: 1,
                asked_ns: 9 * ms,
                at_ns: 13 * ms,
            },
        ]);
        let other = turns(vec![
            Turn::Acquired {
                round: 0,
                asked_ns: ms,
                at_ns: 5 * ms,
            },
            Turn::Released {
                round: 1,
                at_ns: 12 * ms,
            },
        ]);
        let latencies = handoffs(&one, &other).expect("two handoffs");
        assert_eq!(latencies.len(), 2);
        let p50 = latencies.quantile_us(0.5);
        assert!((999.0..1_001.0).contains(&p50), "{p50}");
    }

    #[test]
    fn two_holders_and_late_waiters_are_errors() {
        let held = turns(vec![Turn::Released {
            round: 0,
            at_ns: 4_000_000,
        }]);
        let waited = |asked_ns, at_ns| {
            turns(vec![Turn::Acquired {
                round: 0,
                asked_ns,
                at_ns,
            }])
        };
        assert!(handoffs(&held, &waited(1_000_000, 3_999_999)).is_err());
        assert!(handoffs(&held, &waited(3_900_000, 5_000_000)).is_err());
        assert!(handoffs(&turns(vec![]), &waited(0, 1)).is_err());
        assert!(handoffs(&held, &waited(1_000_000, 5_000_000)).is_ok());
    }

    #[test]
    fn orders_survive_json() {
        let orders = Orders {
            core: 1,
            target: Target {
                address: "127.0.0.1:7".to_owned(),
                recipe: Recipe::RedisQueue,
            },
            work: Work::Connect { count: 3, pid: 7 },
        };
        let json = serde_json::to_string(&orders).expect("JSON");
        let read: Orders = serde_json::from_str(&json).expect("orders");
        assert_eq!(format!("{read:?}"), format!("{orders:?}"));
        assert!(run("{}").is_err());
    }
}
