//! One application process: threads and tasks that count in shared sessions.

use crate::journal::{Event, Journal, Line};
use crate::judge::{COUNT, COUNTER};
use crate::random::Random;
use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tenure::{Error, GuardSet, Process, ProcessSettings, Session};

/// The longest time that a thread waits for a lock.
const WITHIN: Duration = Duration::from_secs(20);

/// The number of acknowledged increments after which a worker reports its progress.
pub(crate) const SAYS_EVERY: u64 = 10;

/// The attribute with the token of the last writing grant.
const LAST: &str = "last";

/// The orders of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// The address of the store.
    pub address: String,
    /// The name of this process.
    pub name: String,
    /// The incarnation of this start.
    pub incarnation: u64,
    /// The number of sessions.
    pub sessions: u64,
    /// The number of OS threads.
    pub threads: u64,
    /// The number of async tasks.
    pub tasks: u64,
    /// The path of the journal.
    pub journal: PathBuf,
    /// The seed of all random choices.
    pub seed: u64,
}

/// The result of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The number of acknowledged increments.
    pub acknowledged: u64,
    /// The number of increments that were refused, or whose result is unknown.
    pub failed: u64,
}

/// The state that the threads of a worker share.
struct Work {
    process: Process,
    orders: Orders,
    journal: Journal,
    stops: AtomicBool,
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

/// Counts until standard input ends, then releases all grants. Prints the number of increments acknowledged so far, one
/// JSON number per line.
///
/// # Errors
/// An error if there is no store, the journal cannot be written, or not all grants could be released.
pub fn run(orders: Orders) -> Result<Done> {
    let settings = ProcessSettings {
        keep_alive_ms: 500,
        resend_ms: 1_000,
        ..ProcessSettings::default()
    };
    let process = Process::builder(&orders.address)
        .name(&orders.name)
        .incarnation(orders.incarnation)
        .settings(settings)
        .connect_timeout(Duration::from_millis(30_000))
        .backoff(Duration::from_millis(10), Duration::from_millis(200))
        .connect_blocking()?;
    let work = Work {
        process,
        journal: Journal::append(&orders.journal)?,
        orders,
        stops: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        let threads = (0..work.orders.threads).map(|at| {
            let work = &work;
            scope.spawn(move || work.count_in_thread(at))
        });
        let mut running: Vec<_> = threads.collect();
        let work = &work;
        running.push(scope.spawn(move || work.count_in_tasks()));
        wait_for_the_end();
        work.stops.store(true, Ordering::Relaxed);
        running
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    work.process
        .shutdown_blocking()
        .context("not all grants could be released")?;
    Ok(Done {
        acknowledged: work.acknowledged.into_inner(),
        failed: work.failed.into_inner(),
    })
}

/// Waits until the parent process closes this process's standard input, or has died.
fn wait_for_the_end() {
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
}

/// The parameters of one increment.
struct Turn {
    session: Session,
    id: String,
    counter: String,
    /// Whether to commit before the lock is released.
    commits: bool,
    /// Whether to lock all attributes and compare their sum.
    adds_up: bool,
}

impl Work {
    fn turn(&self, random: &mut Random, who: &str) -> Result<Turn> {
        let id = format!("shared-{:04}", random.below(self.orders.sessions));
        Ok(Turn {
            session: self.process.session(&id)?,
            id,
            counter: format!("{COUNTER}{}.{who}", self.orders.name),
            commits: random.below(3) > 0,
            adds_up: random.below(8) == 0,
        })
    }

    fn count_in_thread(&self, at: u64) -> Result<()> {
        let who = format!("thread-{at}");
        let mut random = self.random(at);
        while !self.stops.load(Ordering::Relaxed) {
            let turn = self.turn(&mut random, &who)?;
            let result = turn.lock().blocking().and_then(|mut guard| {
                let value = turn.write(&mut guard, &self.journal)?;
                if turn.commits {
                    guard.commit().blocking()?;
                }
                guard.unlock()?;
                Ok(value)
            });
            self.note(&turn, result)?;
        }
        Ok(())
    }

    fn count_in_tasks(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let tasks = (0..self.orders.tasks).map(|at| self.count_in_task(at));
            futures_util::future::try_join_all(tasks).await.map(drop)
        })
    }

    async fn count_in_task(&self, at: u64) -> Result<()> {
        let who = format!("task-{at}");
        let mut random = self.random(1_000 + at);
        while !self.stops.load(Ordering::Relaxed) {
            let turn = self.turn(&mut random, &who)?;
            let result = async {
                let mut guard = turn.lock().await?;
                let value = turn.write(&mut guard, &self.journal)?;
                if turn.commits {
                    guard.commit().await?;
                }
                guard.unlock()?;
                Ok(value)
            };
            self.note(&turn, result.await)?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn random(&self, at: u64) -> Random {
        let Orders {
            seed, incarnation, ..
        } = self.orders;
        Random::new(seed ^ incarnation << 32 ^ at << 16)
    }

    /// Records the result of an increment.
    fn note(&self, turn: &Turn, result: Result<u64, Error>) -> Result<()> {
        match result {
            Ok(value) if turn.commits => {
                self.journal.note(&turn.line(Event::Did(value)))?;
                let acknowledged = self.acknowledged.fetch_add(1, Ordering::Relaxed) + 1;
                if acknowledged.is_multiple_of(SAYS_EVERY) {
                    writeln!(std::io::stdout(), "{acknowledged}")?;
                }
            }
            Ok(_) => {}
            Err(Error::ShuttingDown(..)) => self.stops.store(true, Ordering::Relaxed),
            Err(_) => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
        }
        Ok(())
    }
}

impl Turn {
    fn lock(&self) -> tenure::LockSetRequest<'_> {
        let lock = if self.adds_up {
            self.session.lock_all()
        } else {
            self.session.lock_many([COUNT, &self.counter, LAST])
        };
        lock.timeout(WITHIN)
    }

    fn line(&self, event: Event) -> Line {
        Line {
            session: self.id.clone(),
            counter: self.counter.clone(),
            event,
        }
    }

    /// Increments the counter and the count. Returns the counter.
    fn write(&self, guard: &mut GuardSet, journal: &Journal) -> Result<u64, Error> {
        let own = number(guard.bytes(&self.counter)?);
        let count = number(guard.bytes(COUNT)?);
        // A failure to write the journal means that the disk of the test itself is full.
        let note = |event| {
            journal
                .note(&self.line(event))
                .expect("the test's own disk has room for the journal")
        };
        note(Event::Saw(own));
        if self.adds_up {
            let counters = guard
                .attributes()
                .filter(|(name, _)| name.as_bytes().starts_with(COUNTER.as_bytes()));
            let sum = counters.map(|(_, value)| number(Some(value))).sum();
            if sum != count {
                note(Event::Differs(sum, count));
            }
        }
        let token = guard.token().0;
        let token = format!("{:020}.{:020}", token.epoch, token.sequence);
        if guard
            .bytes(LAST)?
            .is_some_and(|last| last > token.as_bytes())
        {
            note(Event::OldToken);
        }
        guard.set(&self.counter, (own + 1).to_string())?;
        guard.set(COUNT, (count + 1).to_string())?;
        guard.set(LAST, token)?;
        Ok(own + 1)
    }
}

/// Returns the number in an attribute, or 0 if the attribute is absent.
pub(crate) fn number(bytes: Option<&[u8]>) -> u64 {
    let text = std::str::from_utf8(bytes.unwrap_or(b"0"));
    text.ok()
        .and_then(|text| text.parse().ok())
        .expect("the workers write only numbers to these attributes")
}
