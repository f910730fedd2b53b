//! Threads and tasks of several processes increment counters in a few sessions, while connections are cut and the store
//! is restarted. Each acknowledged increment is counted exactly once.

use crate::support::{LEASE_MS, process, short};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tenure::testing::Store;
use tenure::{Process, Typed, ValueError, task};

const PROCESSES: usize = 3;
const SESSIONS: [&str; 2] = ["s", "t"];
/// The minimum number of acknowledged increments of each counter.
const COUNTS: u64 = 400;

/// The result for one session.
#[derive(Default)]
struct Tally {
    acknowledged: AtomicU64,
    /// Commits without an answer: each may or may not be counted.
    unknown: AtomicU64,
}

impl Tally {
    fn note(&self, committed: bool) {
        let of = if committed {
            &self.acknowledged
        } else {
            &self.unknown
        };
        of.fetch_add(1, Ordering::Relaxed);
    }
}

fn add(count: &mut u64) {
    *count += 1;
}

fn by_thread(process: &Process, at: usize, tallies: &[Tally], stops: &AtomicBool) {
    let session = process.session(SESSIONS[at]).expect("an id");
    while !stops.load(Ordering::Relaxed) {
        let count = || -> Result<bool, ValueError> {
            let mut guard = session.lock("count").blocking()?;
            guard.update(add)?;
            Ok(guard.commit().blocking().is_ok())
        };
        // A refused lock or a refused write changes nothing.
        if let Ok(committed) = count() {
            tallies[at].note(committed);
        }
    }
}

async fn by_task(process: &Process, at: usize, tallies: &[Tally], stops: &AtomicBool) {
    let session = process.session(SESSIONS[at]).expect("an id");
    while !stops.load(Ordering::Relaxed) {
        let count = async || -> Result<bool, ValueError> {
            let mut guard = session.lock("count").await?;
            guard.update(add)?;
            Ok(guard.commit().await.is_ok())
        };
        if let Ok(committed) = task(count()).await {
            tallies[at].note(committed);
        }
    }
}

/// Causes a fault every few milliseconds, until all counters have reached the minimum.
fn storm(store: &Store, tallies: &[Tally]) {
    let counted = |tally: &Tally| tally.acknowledged.load(Ordering::Relaxed);
    for round in 0_u32.. {
        if tallies.iter().all(|tally| counted(tally) >= COUNTS) && round > 40 {
            return;
        }
        match round % 8 {
            0 | 2 | 4 => store.cut(),
            1 | 5 => store.restart(),
            3 => store.recall(SESSIONS[0]),
            6 => store.stop(),
            _ => store.restart(),
        }
        if round == 20 {
            // Once in the test, all processes lose their leases.
            store.pause();
            std::thread::sleep(Duration::from_millis(LEASE_MS + 200));
            store.resume();
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

#[test]
fn under_cuts_and_restarts_each_acknowledged_increment_is_counted_once() {
    let store = short();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let processes = ["one", "two", "three"];
    let processes = processes.map(|name| runtime.block_on(process(&store, name)));
    assert_eq!(processes.len(), PROCESSES);
    let tallies = SESSIONS.map(|_| Tally::default());
    let stops = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (tallies, stops, runtime) = (&tallies, &stops, &runtime);
        for process in &processes {
            for at in 0..SESSIONS.len() {
                scope.spawn(move || by_thread(process, at, tallies, stops));
                scope.spawn(move || runtime.block_on(by_task(process, at, tallies, stops)));
            }
        }
        storm(&store, tallies);
        stops.store(true, Ordering::Relaxed);
    });
    for process in &processes {
        process.shutdown_blocking().expect("in time");
    }
    for (session, tally) in SESSIONS.iter().zip(&tallies) {
        let value = store.value(session, "count").expect("counted");
        let value: u64 = serde_json::from_slice(&value).expect("a number");
        let acknowledged = tally.acknowledged.load(Ordering::Relaxed);
        let unknown = tally.unknown.load(Ordering::Relaxed);
        println!("{session}: {value}, acknowledged {acknowledged}, unknown {unknown}");
        assert!(
            acknowledged <= value,
            "{value} < {acknowledged}: an acknowledged increment was lost"
        );
        assert!(
            value <= acknowledged + unknown,
            "{value} > {acknowledged} + {unknown}: an increment was counted twice"
        );
    }
}
