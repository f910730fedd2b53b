//! Starts a store and worker processes as OS processes, kills them at random, and judges the result.
//!
//! No event has a fixed time: after each kill, the workers must acknowledge further increments from the restarted store
//! before the next kill. If they do not do so within [`PATIENCE`], a process is stuck.

use crate::judge::{Numbers, Verdict, judge};
use crate::program::{PATIENCE, Program, Served, wait};
use crate::random::Random;
use crate::worker::{Done, Orders, number};
use crate::{journal, worker};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use tenure_engine::{Embedded, Engine, Settings};

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The program that starts a store.
    pub store: Program,
    /// The program that starts a worker. Its [`Orders`] are appended as JSON.
    pub worker: Program,
    /// The number of worker processes.
    pub processes: u64,
    /// The number of OS threads per process.
    pub threads: u64,
    /// The number of async tasks per process.
    pub tasks: u64,
    /// The number of sessions that all processes share.
    pub sessions: u64,
    /// The number of times the store is killed.
    pub store_kills: u64,
    /// The number of times a worker is killed.
    pub process_kills: u64,
    /// The number of acknowledged increments between two kills, and after the last.
    pub between: u64,
    /// The seed that selects the processes to kill.
    pub seed: u64,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The judgement of the journals.
    pub verdict: Verdict,
    /// The number of times the store was killed and restarted.
    pub store_kills: u64,
    /// The number of times a worker was killed.
    pub process_kills: u64,
    /// The number of leaked grants: those that remained after all processes had sent Goodbye.
    pub leaked: u64,
    /// Whether the disk differs from the last state that the store returned.
    pub differs_on_disk: bool,
}

impl Outcome {
    /// Returns whether at least one increment was acknowledged, and there is no finding.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict.acknowledged > 0
            && self.verdict.findings.is_empty()
            && self.leaked == 0
            && !self.differs_on_disk
    }
}

/// A running worker.
struct Running {
    child: Child,
    /// The worker's standard input, whose end stops the worker.
    input: Option<ChildStdin>,
    orders: Orders,
}

/// All running processes.
struct Director<'s> {
    scenario: &'s Scenario,
    folder: PathBuf,
    store: Served,
    workers: Vec<Running>,
    said: Receiver<()>,
    say: Sender<()>,
}

impl Drop for Director<'_> {
    fn drop(&mut self) {
        // Kill the workers after a failure. After a success they have already ended.
        for worker in &mut self.workers {
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

/// Plays a scenario in an empty folder. `step` receives the number of the current kill, and the total.
///
/// # Errors
/// An error if a process cannot be started, no increment was acknowledged for too long, or a process ended
/// unexpectedly.
pub fn play(scenario: &Scenario, folder: &Path, mut step: impl FnMut(u64, u64)) -> Result<Outcome> {
    let (say, said) = channel();
    let store = scenario.store.serve(folder)?;
    let mut director = Director {
        scenario,
        folder: folder.to_owned(),
        store,
        workers: Vec::new(),
        said,
        say,
    };
    for at in 0..scenario.processes {
        let worker = director.start_worker(at, 1)?;
        director.workers.push(worker);
    }
    director.await_progress()?;
    let mut random = Random::new(scenario.seed);
    let (mut stores, mut processes) = (scenario.store_kills, scenario.process_kills);
    let kills = stores + processes;
    while stores + processes > 0 {
        if random.below(stores + processes) < stores {
            stores -= 1;
            director.store.kill()?;
        } else {
            processes -= 1;
            director.kill_worker(random.below(scenario.processes))?;
        }
        director.await_progress()?;
        step(kills - stores - processes, kills);
    }
    director.end()
}

impl Director<'_> {
    fn journal(&self, at: u64) -> PathBuf {
        self.folder.join(format!("worker-{at}.journal"))
    }

    fn start_worker(&self, at: u64, incarnation: u64) -> Result<Running> {
        let scenario = self.scenario;
        let orders = Orders {
            address: self.store.address().to_string(),
            name: format!("worker-{at}"),
            incarnation,
            sessions: scenario.sessions,
            threads: scenario.threads,
            tasks: scenario.tasks,
            journal: self.journal(at),
            seed: scenario.seed ^ at << 48,
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("workers.log"))?;
        let mut command = scenario.worker.command();
        command
            .arg(serde_json::to_string(&orders)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().context("cannot start a worker")?;
        let input = child.stdin.take();
        let output = child
            .stdout
            .take()
            .context("the worker has no standard output")?;
        let say = self.say.clone();
        std::thread::spawn(move || {
            for _ in BufReader::new(output).lines().map_while(Result::ok) {
                if say.send(()).is_err() {
                    return;
                }
            }
        });
        Ok(Running {
            child,
            input,
            orders,
        })
    }

    /// Waits until the scenario's number of increments was acknowledged from now on.
    fn await_progress(&mut self) -> Result<()> {
        // Discard reports from before the last kill.
        while self.said.try_recv().is_ok() {}
        let lines = self.scenario.between.div_ceil(worker::SAYS_EVERY);
        let until = Instant::now() + PATIENCE;
        for _ in 0..lines {
            let left = until.saturating_duration_since(Instant::now());
            if self.said.recv_timeout(left).is_err() {
                self.check_alive()?;
                bail!(
                    "stuck: no increment was acknowledged for {} s; see the logs in {}",
                    PATIENCE.as_secs(),
                    self.folder.display()
                );
            }
        }
        self.check_alive()
    }

    /// Checks that no process has ended unexpectedly.
    fn check_alive(&mut self) -> Result<()> {
        let folder = self.folder.display();
        if let Some(status) = self.store.ended()? {
            bail!("the store has ended unexpectedly ({status}); see its log in {folder}");
        }
        for worker in &mut self.workers {
            if let Some(status) = worker.child.try_wait()? {
                bail!(
                    "{} has ended unexpectedly ({status}); see its log in {folder}",
                    worker.orders.name
                );
            }
        }
        Ok(())
    }

    fn kill_worker(&mut self, at: u64) -> Result<()> {
        let index = usize::try_from(at)?;
        let worker = &mut self.workers[index];
        worker.child.kill()?;
        worker.child.wait()?;
        let incarnation = worker.orders.incarnation + 1;
        self.workers[index] = self.start_worker(at, incarnation)?;
        Ok(())
    }

    /// Ends the workers, reads the sessions, stops the store, and compares both with the journals.
    fn end(mut self) -> Result<Outcome> {
        for worker in &mut self.workers {
            worker.input.take();
        }
        for worker in &mut self.workers {
            let status = wait(&mut worker.child, "a worker")?;
            ensure!(
                status.success(),
                "{} has ended with an error ({status}); see its log in {}",
                worker.orders.name,
                self.folder.display()
            );
        }
        let sessions = self.read()?;
        self.store.stop()?;
        let (on_disk, leaked) = read_disk(&self.folder.join("data"))?;
        let journals = (0..self.scenario.processes).map(|at| journal::read(&self.journal(at)));
        let journals = journals.collect::<Result<Vec<_>>>()?;
        Ok(Outcome {
            verdict: judge(journals.iter().map(|lines| &lines[..]), &sessions),
            store_kills: self.scenario.store_kills,
            process_kills: self.scenario.process_kills,
            leaked,
            differs_on_disk: on_disk != sessions,
        })
    }

    /// Reads the sessions as a new process.
    fn read(&self) -> Result<BTreeMap<String, Numbers>> {
        let process = tenure::Process::builder(self.store.address().to_string())
            .name("judge")
            .connect_blocking()?;
        let mut sessions = BTreeMap::new();
        for at in 0..self.scenario.sessions {
            let id = format!("shared-{at:04}");
            let session = process.session(&id)?;
            let guard = session.lock_all().timeout(PATIENCE).blocking()?;
            let numbers = numbers(
                guard
                    .attributes()
                    .map(|(name, value)| (name.as_bytes(), value)),
            );
            guard.unlock()?;
            if !numbers.is_empty() {
                sessions.insert(id, numbers);
            }
        }
        process.shutdown_blocking()?;
        Ok(sessions)
    }
}

fn numbers<'a>(attributes: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Numbers {
    let names = attributes.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value));
    let counts = names.filter(|(name, _)| name != "last");
    counts
        .map(|(name, value)| (name, number(Some(value))))
        .collect()
}

/// Reads the sessions on disk after the store has stopped, and the number of remaining grants.
fn read_disk(folder: &Path) -> Result<(BTreeMap<String, Numbers>, u64)> {
    let mut engine = Embedded::open(folder, Settings::default())?;
    let mut sessions = BTreeMap::new();
    let (mut last, mut leaked) = (None, 0);
    loop {
        let page = engine.page(last.as_ref(), 1_000)?;
        let Some((id, _)) = page.last() else {
            return Ok((sessions, leaked));
        };
        last = Some(id.clone());
        for (id, record) in page {
            leaked += u64::from(record.head.holder.is_some());
            let values = record.attributes().iter();
            let values =
                values.filter_map(|own| Some((own.name.as_bytes(), &own.value.as_ref()?[..])));
            let numbers = numbers(values);
            if !numbers.is_empty() {
                sessions.insert(id.to_string(), numbers);
            }
        }
    }
}

/// Runs a worker with the orders of a director. The last line of its output is its result as JSON.
///
/// # Errors
/// As [`worker::run`], or if the orders cannot be parsed.
pub fn obey(orders: &str) -> Result<Done> {
    let orders = serde_json::from_str(orders)
        .context("the argument is not the orders of a director in JSON")?;
    let done = worker::run(orders)?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&done)?)?;
    Ok(done)
}
