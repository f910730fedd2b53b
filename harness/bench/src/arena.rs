//! The contestants: which store each uses, by which recipe, with which promises; and the stores of a run.

use crate::client::{Recipe, Target};
use crate::contest::{Contestant, Found, Measure, Plan, hold};
use crate::document::{Guarantee, Missing, Row};
use crate::fleet::{self, Fleet, Store};
use crate::host::{self, Place};
use crate::party::{Cycles, Orders, Report, Work};
use anyhow::{Context, Result};
use std::cell::RefCell;

/// One contestant of an experiment.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) store: Store,
    pub(crate) recipe: Recipe,
}

const fn entry(name: &'static str, store: Store, recipe: Recipe) -> Entry {
    Entry {
        name,
        store,
        recipe,
    }
}

pub(crate) const TENURE: Entry = entry(
    "Tenure buffered",
    Store::TenureBuffered,
    Recipe::TenureReleases,
);
pub(crate) const FRAMES: Entry = entry(
    "Tenure buffered, frames",
    Store::TenureBuffered,
    Recipe::TenureFrames,
);
pub(crate) const KEEPS: Entry = entry(
    "Tenure buffered",
    Store::TenureBuffered,
    Recipe::TenureKeeps,
);
pub(crate) const DURABLE: Entry = entry(
    "Tenure durable",
    Store::TenureDurable,
    Recipe::TenureReleases,
);
pub(crate) const COMMITS: Entry = entry(
    "Tenure durable, commit awaited",
    Store::TenureDurable,
    Recipe::TenureCommits,
);
pub(crate) const REDIS: Entry = entry("Redis no", Store::Redis("no"), Recipe::RedisLock);
pub(crate) const REDIS_SECOND: Entry = entry(
    "Redis everysec",
    Store::Redis("everysec"),
    Recipe::RedisLock,
);
pub(crate) const REDIS_ALWAYS: Entry =
    entry("Redis always", Store::Redis("always"), Recipe::RedisLock);
pub(crate) const REDIS_QUEUE: Entry =
    entry("Redis no, BLPOP", Store::Redis("no"), Recipe::RedisQueue);
pub(crate) const REDIS_POLLS: Entry = entry(
    "Redis no, polling every 20 ms",
    Store::Redis("no"),
    Recipe::RedisLock,
);
pub(crate) const POSTGRES: Entry = entry("PostgreSQL off", Store::Postgres, Recipe::PostgresAsync);
pub(crate) const POSTGRES_SYNC: Entry =
    entry("PostgreSQL on", Store::Postgres, Recipe::PostgresSync);

impl Entry {
    fn is_redis(&self) -> bool {
        matches!(self.store, Store::Redis(_))
    }

    /// Returns the commands of one cycle, and the page that recommends them.
    fn recipe(&self) -> (&'static str, &'static str) {
        const TENURE: &str = "https://github.com/tenure-rs/tenure";
        const SET: &str = "https://redis.io/docs/latest/commands/set/";
        match self.recipe {
            Recipe::TenureKeeps => (
                "lock, read, set, unlock; the process keeps the session",
                TENURE,
            ),
            Recipe::TenureReleases => (
                "lock, read, set, unlock, release (not awaited); Builder::runtime",
                TENURE,
            ),
            Recipe::TenureCommits => ("lock, read, set, commit (awaited), unlock, release", TENURE),
            Recipe::TenureFrames => (
                "frames Acquire and Release without the library, both awaited",
                TENURE,
            ),
            Recipe::RedisLock => (
                "pipeline SET NX PX + GET; pipeline SET + compare-and-delete script; a taken lock is tried \
                 again after 20 ms",
                SET,
            ),
            Recipe::RedisQueue => (
                "pipeline BLPOP + GET; MULTI, SET, RPUSH, EXEC in one pipeline; no expiry",
                "https://redis.io/docs/latest/commands/blpop/",
            ),
            Recipe::PostgresSync | Recipe::PostgresAsync => (
                "pipeline BEGIN + SELECT .. FOR UPDATE; pipeline UPDATE + COMMIT; prepared; one connection a task",
                "https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS",
            ),
        }
    }

    pub(crate) fn contestant<'a>(
        &self,
        run: impl FnMut() -> Result<Vec<f64>> + 'a,
    ) -> Contestant<'a> {
        let (recipe, source) = self.recipe();
        Contestant {
            name: self.name.to_owned(),
            recipe: recipe.to_owned(),
            source: source.to_owned(),
            run: Box::new(run),
        }
    }
}

/// The stores of a run and the contestants that this machine has.
pub(crate) struct Arena {
    pub(crate) fleet: RefCell<Fleet>,
    has_redis: bool,
    has_postgres: bool,
}

impl Arena {
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        match entry.store {
            Store::Redis(_) => self.has_redis,
            Store::Postgres => self.has_postgres,
            Store::TenureBuffered | Store::TenureDurable => true,
        }
    }

    /// Returns the orders for one client process, and starts the store if it does not run.
    pub(crate) fn orders(&self, entry: &Entry, core: usize, work: Work) -> Result<Orders> {
        let orders = |address: String, recipe, work| Orders {
            core,
            target: Target { address, recipe },
            work,
        };
        let mut fleet = self.fleet.borrow_mut();
        let server = fleet.get(entry.store, |server| {
            // The queue's sessions are a superset of the lock's.
            let recipe = if entry.is_redis() {
                Recipe::RedisQueue
            } else {
                entry.recipe
            };
            let create = Work::Create { tasks: 64 };
            let created = orders(server.address.to_string(), recipe, create).run();
            created.map(drop).or_else(|error| {
                server.runs()?;
                Err(error)
            })
        })?;
        Ok(orders(server.address.to_string(), entry.recipe, work))
    }

    pub(crate) fn cycles(&self, entry: &Entry, place: Place, cycles: Cycles) -> Result<Report> {
        self.orders(entry, place.clients, Work::Cycles(cycles))?
            .run()
    }

    /// Runs two processes at once, which begin at the same time.
    pub(crate) fn pair(
        &self,
        entry: &Entry,
        place: Place,
        work: impl Fn(u64, u64) -> Work,
    ) -> Result<(Report, Report)> {
        /// Enough for both processes to start and to connect.
        const START_NS: u64 = 300_000_000;
        let start_ns = host::now_ns() + START_NS;
        let one = self
            .orders(entry, place.clients, work(0, start_ns))?
            .start()?;
        let other = self
            .orders(entry, place.clients, work(1, start_ns))?
            .start()?;
        Ok((one.report()?, other.report()?))
    }
}

/// Opens the arena, and finds out which peers this machine has.
pub(crate) fn arena(found: &mut Found) -> Result<(Arena, Vec<Place>)> {
    let places = host::places();
    let first = places.first().context(
        "this system does not let a process choose its core, so a comparison would measure the scheduler: run \
         it on Linux",
    )?;
    if places.len() < 2 {
        found.missing.push(Missing {
            name: "cross".to_owned(),
            why: "needs two cores".to_owned(),
        });
    }
    let (redis, postgres) = (fleet::redis_version(), fleet::postgres_version());
    let arena = Arena {
        fleet: RefCell::new(Fleet::new(first.store)?),
        has_redis: redis.is_ok(),
        has_postgres: postgres.is_ok(),
    };
    for (name, version) in [("Redis", redis), ("PostgreSQL", postgres)] {
        match version {
            Ok(version) => found.guarantees.push(guarantee(name, version)),
            Err(error) => found.missing.push(Missing {
                name: name.to_owned(),
                why: format!("{error:#}"),
            }),
        }
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    found.guarantees.insert(0, guarantee("Tenure", version));
    Ok((arena, places))
}

/// Runs an experiment with the contestants that this machine has.
pub(crate) fn held<'a>(
    plan: &mut Plan<'_>,
    arena: &'a Arena,
    place: Place,
    measures: &[Measure],
    entries: &[Entry],
    run: impl Fn(&Entry) -> Result<Vec<f64>> + Copy + 'a,
) -> Vec<Row> {
    if !plan.wants_any(measures) {
        return Vec::new();
    }
    let entries = entries.iter().copied().filter(|entry| arena.has(entry));
    let contestants = entries.map(|entry| entry.contestant(move || run(&entry)));
    hold(plan, place.name, measures, contestants.collect())
}

/// Returns the promises behind the figures of a contestant.
fn guarantee(name: &str, version: String) -> Guarantee {
    let [durability, fencing, order, exclusion] = match name {
        "Tenure" => [
            "buffered: a crash of the store loses nothing, a power loss the last writes; durable: a power loss \
             loses nothing acknowledged",
            "every grant has a token; the store refuses the write of an older grant",
            "first come, first served, in the store and in each process",
            "one holder per session while clocks keep their rates; a paused process ends its own lease first, \
             and its late writes are refused",
        ],
        "Redis" => [
            "no: the operating system decides when it writes; everysec: a power loss takes about a second; \
             always: an acknowledged write stays",
            "none: SET writes whether or not the lock has expired; the script guards only the delete",
            "lock: none, the next poll wins; BLPOP: first come, first served",
            "lock: two holders when a holder pauses longer than the expiry; BLPOP: no expiry, so a crashed \
             holder blocks the session for ever",
        ],
        _ => [
            "off: a crash or power loss takes the last transactions, at most about 600 ms with the default \
             wal_writer_delay; on: nothing acknowledged is lost",
            "the lock and the write are one transaction, so a late write is impossible",
            "row locks are granted roughly in the order of the requests",
            "one holder; a paused holder keeps the lock until its connection ends",
        ],
    };
    Guarantee {
        name: name.to_owned(),
        version,
        durability: durability.to_owned(),
        fencing: fencing.to_owned(),
        order: order.to_owned(),
        exclusion: exclusion.to_owned(),
    }
}
