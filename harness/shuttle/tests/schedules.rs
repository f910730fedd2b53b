//! Random schedules with more threads than loom can explore: eight threads and three sessions, with recalls in between.
//!
//! There are two schedulers, since each has missed a bug that the other found: a uniformly random one, and PCT, which
//! runs threads by random priorities. A failure prints the schedule that reproduces it.

#[path = "../../../impl/locks/tests/support/mod.rs"]
mod support;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use support::Rig;
use tenure_locks::Locks;
use tenure_protocol::SessionId;

const SCHEDULES: usize = 5_000;
const THREADS: usize = 8;
const SESSIONS: usize = 3;
/// The number of increments of each thread.
const TURNS: usize = 2;

fn id(at: usize) -> SessionId {
    SessionId::new(format!("s{at}")).expect("a short id")
}

fn add(bytes: &mut Vec<u8>) {
    match bytes.first_mut() {
        Some(count) => *count += 1,
        None => bytes.push(1),
    }
}

/// Increments a counter in a session: in one attribute by handle or by id, in several attributes at once, or in all.
fn count(locks: &Locks, id: &SessionId, how: usize) {
    let s = || locks.session(id);
    match how % 4 {
        0 => {
            let s = s();
            let mut guard = s.lock("a").blocking().expect("granted");
            guard.edit(add).expect("small");
        }
        3 => {
            let mut guard = locks.lock(id, "a").blocking().expect("granted");
            guard.edit(add).expect("small");
        }
        1 => {
            let s = s();
            let mut set = s.lock_many(["a", "b"]).blocking().expect("granted");
            set.edit("a", add).expect("small");
            set.edit("b", add).expect("small");
        }
        _ => {
            let s = s();
            let mut set = s.lock_all().blocking().expect("granted");
            set.edit("a", add).expect("small");
        }
    }
}

fn scene() {
    let mut rig = Rig::new();
    rig.passes_on = true;
    let locks = rig.locks.clone();
    let driver = shuttle::thread::spawn(move || {
        for at in 0..SESSIONS {
            rig.ask_elsewhere(&id(at));
        }
        rig.drive();
        rig
    });
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let locks = locks.clone();
            shuttle::thread::spawn(move || {
                for turn in 0..TURNS {
                    let at = thread + turn;
                    count(&locks, &id(at % SESSIONS), at);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    assert!(locks.busy().is_empty());
    locks.shutdown();
    let rig = driver.join().expect("no panic");
    let counts = (0..SESSIONS).map(|at| {
        rig.stored(&id(at), "a")
            .map_or(0, |bytes| usize::from(bytes[0]))
    });
    assert_eq!(
        counts.sum::<usize>(),
        THREADS * TURNS,
        "an increment was lost"
    );
}

fn explore(scheduler: impl Scheduler + 'static) {
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 18;
    let schedules = shuttle::Runner::new(scheduler, config).run(scene);
    assert_eq!(schedules, SCHEDULES, "the exploration was cut short");
}

/// Returns the seed of this run: TENURE_SEED, which may be `random`, or a fixed default, so that a new failure means a
/// new bug.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let seed = match std::env::var("TENURE_SEED") {
        Ok(asked) if asked == "random" => RandomState::new().build_hasher().finish(),
        Ok(asked) => asked.parse().expect("TENURE_SEED is a number or `random`"),
        Err(_) => 1,
    };
    println!("{SCHEDULES} schedules; again: TENURE_SEED={seed} cargo test -p tenure-locks-shuttle");
    seed
}

#[test]
fn no_count_is_lost_in_random_schedules() {
    explore(RandomScheduler::new_from_seed(seed(), SCHEDULES));
}

#[test]
fn no_count_is_lost_in_schedules_by_random_priority() {
    explore(PctScheduler::new_from_seed(seed(), 3, SCHEDULES));
}
