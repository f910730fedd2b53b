//! One client process of a measurement. It receives its orders as JSON, and prints its report as JSON.

mod cycles;
mod lifecycle;
mod pair;

pub(crate) use cycles::RING;
pub(crate) use pair::handoffs;

use crate::client::{Client, Frames, Postgres, Recipe, Redis, Target, Tenure};
use crate::host;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

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

impl Cycles {
    /// Returns the parameters for tasks that go around their own sessions, the first of them number 0.
    pub(crate) fn of(tasks: u64, connections: u64, seconds: f64) -> Self {
        Self {
            first: 0,
            tasks,
            connections,
            filled: 0,
            seconds,
        }
    }
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
        Work::Create { tasks } => lifecycle::create::<C>(target, *tasks).await,
        Work::Cycles(parameters) => cycles::run::<C>(target, parameters).await,
        &Work::Turns {
            role,
            rounds,
            start_ns,
        } => pair::take_turns::<C>(target, role, rounds, start_ns).await,
        &Work::FlatOut {
            role,
            tasks,
            start_ns,
            seconds,
        } => pair::flat_out::<C>(target, (role, tasks), (start_ns, seconds)).await,
        &Work::Fill {
            sessions,
            connections,
        } => lifecycle::fill::<C>(target, sessions, connections).await,
        &Work::Restart { sessions, start_ns } => {
            lifecycle::restart::<C>(target, sessions, start_ns).await
        }
        &Work::Connect { count, pid } => lifecycle::connect::<C>(target, count, pid).await,
        &Work::Hold { connections } => lifecycle::hold::<C>(target, connections).await,
    }
}
