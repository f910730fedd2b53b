//! One application process: threads and tasks that count in common sessions.

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

/// How long a thread waits for a lock.
const WITHIN: Duration = Duration::from_secs(20);

/// After how many acknowledged increments a worker says so.
pub(crate) const SAYS_EVERY: u64 = 10;

/// The attribute that has the token of the last grant that wrote.
const LAST: &str = "last";

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Where the store is.
    pub address: String,
    /// The name of this process.
    pub name: String,
    /// Which start of it.
    pub incarnation: u64,
    /// How many sessions there are.
    pub sessions: u64,
    /// OS threads.
    pub threads: u64,
    /// Tasks.
    pub tasks: u64,
    /// Where what happens is written down.
    pub journal: PathBuf,
    /// What decides who does what.
    pub seed: u64,
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Increments that the store acknowledged.
    pub acknowledged: u64,
    /// Increments whose end is unknown, or that were refused.
    pub failed: u64,
}

/// What the threads of a worker share.
struct Work {
    process: Process,
    orders: Orders,
    journal: Journal,
    stops: AtomicBool,
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

/// Counts until standard input ends; then gives everything back. Says on standard output, a JSON number a line, how much
/// was acknowledged so far.
///
/// # Errors
/// When there is no store, the journal cannot be written, or not everything could be given back.
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
        .context("not everything was given back")?;
    Ok(Done {
        acknowledged: work.acknowledged.into_inner(),
        failed: work.failed.into_inner(),
    })
}

/// Whoever has started this process closes its standard input, or has died.
fn wait_for_the_end() {
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
}

/// What one increment is about.
struct Turn {
    session: Session,
    id: String,
    counter: String,
    /// Whether the store is to acknowledge it before the lock is left.
    commits: bool,
    /// Whether all attributes are locked, and added up.
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

    /// Writes down how an increment ended.
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

    /// Raises the counter and the count; answers the counter.
    fn write(&self, guard: &mut GuardSet, journal: &Journal) -> Result<u64, Error> {
        let own = number(guard.bytes(&self.counter)?);
        let count = number(guard.bytes(COUNT)?);
        // A journal that cannot be written is a full disk under the test itself.
        let note = |event| {
            journal
                .note(&self.line(event))
                .expect("the journal can be written")
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

/// A number as the attributes have it; what is not there is 0.
pub(crate) fn number(bytes: Option<&[u8]>) -> u64 {
    let text = std::str::from_utf8(bytes.unwrap_or(b"0"));
    text.ok()
        .and_then(|text| text.parse().ok())
        .expect("only numbers are written")
}
