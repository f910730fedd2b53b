//! The rows whose figures move with whatever else the machine does: each variant has its turn, many times, so that what
//! one of them suffers the others suffer as well. Printed are the medians of the turns, and the median of their ratios.
//!
//! **By session id**: 100,000 sessions in an order that no cache foresees, in two ways. *Independent*: a processor that
//! waits for memory goes on with the next ones. *One known after the other*: which session is next is known only when
//! the last one is done, as for requests that come from elsewhere. And in turns of two lengths: in a *short* one, half
//! of the sessions are used once, and those of all variants were used since each was used last, as where an application
//! has other memory to look at; in a *long* one all are used five times, so that a variant that is small enough stays
//! in a cache from one time to the next. Four variants:
//!
//! - *one value*: a `dashmap` of `Arc<Mutex<Vec<u8>>>`. It does less than what it stands for: the session is its one
//!   value.
//! - *four attributes*: a `dashmap` of `Arc<Mutex<HashMap<String, Vec<u8>>>>`, of which the one is found by its name.
//!   This is what a user would have instead. It still does less: nothing that a panic leaves half done is undone, and
//!   two threads cannot use two attributes.
//! - *tenure, a handle opened for each*: `locks.session(id)`, then a lock by the handle, and both dropped.
//! - *tenure*: `locks.lock(id, name)`.
//!
//! All look up the same ids in the same order and write a byte of a value of the same length.
//!
//! **Handoff**: the time from before an unlock until a thread that sleeps for the lock has it, one at a time.

use crate::{BYTES, holding, one, value};
use dashmap::DashMap;
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tenure_benches::shuffled;
use tenure_locks::Locks;
use tenure_protocol::SessionId;

const SESSIONS: usize = 100_000;

/// All of it, unless the arguments name something else.
pub(crate) fn print() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if !wanted.iter().any(|arg| arg == "--bench") {
        return; // Only being tested, or listed.
    }
    let is_wanted = |name: &str| {
        let mut named = wanted.iter().filter(|arg| !arg.starts_with('-')).peekable();
        named.peek().is_none() || named.any(|arg| name.contains(arg.as_str()))
    };
    if is_wanted("by id") {
        by_id();
    }
    if is_wanted("handoff") {
        handoffs();
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Lets each variant have its turn, over and over. A turn answers nanoseconds for one round of its work.
fn take_turns(title: &str, turns: usize, variants: &mut [(&str, &mut dyn FnMut() -> f64)]) {
    let mut took = vec![Vec::with_capacity(turns); variants.len()];
    for _ in 0..turns {
        for (at, (_, turn)) in variants.iter_mut().enumerate() {
            took[at].push(turn());
        }
    }
    let own = took.last().expect("one at least").clone();
    println!("{title}, medians of {turns} turns:");
    for ((name, _), took) in variants.iter().zip(&mut took) {
        let mut ratios: Vec<f64> = own
            .iter()
            .zip(&*took)
            .map(|(own, took)| own / took)
            .collect();
        let ratio = median(&mut ratios);
        println!(
            "  {name:<40} {:>8.1} ns   tenure is {ratio:.2} times that",
            median(took)
        );
    }
}

/// How the sessions come one after the other.
#[derive(Clone, Copy)]
enum Coming {
    Independent,
    OneAfterTheOther,
}

/// Uses as many sessions as make up a turn; `uses` writes a byte and answers it.
fn visit(
    order: &[Key],
    at: &mut usize,
    (coming, rounds): (Coming, u32),
    mut uses: impl FnMut(&Key) -> u8,
) -> f64 {
    // 0, but not for who compiles this.
    let nothing = match coming {
        Coming::Independent => 0,
        Coming::OneAfterTheOther => black_box(0),
    };
    let start = Instant::now();
    for _ in 0..rounds {
        let byte = uses(&order[*at]);
        *at += 1 + usize::from(byte & nothing);
        if *at >= SESSIONS {
            *at = 0;
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
}

fn write(bytes: &mut [u8]) -> u8 {
    bytes[0] = bytes[0].wrapping_add(1);
    bytes[0]
}

/// An id as the other maps have it: what they hash is the hash that it brings, which is less than any user's key gives
/// them to do.
#[derive(Clone, PartialEq, Eq)]
struct Key(SessionId);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.frozen_hash());
    }
}

type Map<T> = DashMap<Key, Arc<parking_lot::Mutex<T>>, FixedState>;

fn one_value(ids: &[SessionId]) -> Map<Vec<u8>> {
    let own = |id: &SessionId| (Key(id.clone()), Arc::new(parking_lot::Mutex::new(value())));
    ids.iter().map(own).collect()
}

type Attributes = HashMap<String, Vec<u8>, FixedState>;

fn four_attributes(ids: &[SessionId]) -> Map<Attributes> {
    let attributes = || {
        let rest = [("user", "1"), ("seen", "2"), ("lang", "3")];
        let rest = rest.map(|(name, value)| (name.to_owned(), value.into()));
        let all = [("cart".to_owned(), value())].into_iter().chain(rest);
        Arc::new(parking_lot::Mutex::new(all.collect()))
    };
    ids.iter()
        .map(|id| (Key(id.clone()), attributes()))
        .collect()
}

fn by_id() {
    let ids: Vec<SessionId> = (0..SESSIONS).map(tenure_benches::session).collect();
    let order: Vec<Key> = shuffled(SESSIONS)
        .into_iter()
        .map(|at| Key(ids[at].clone()))
        .collect();
    let one_value = one_value(&ids);
    let four_attributes = four_attributes(&ids);
    let locks = [holding(&ids), holding(&ids)];
    // The cells of all sessions are made before the measurement.
    for (locks, id) in locks
        .iter()
        .flat_map(|locks| ids.iter().map(move |id| (locks, id)))
    {
        drop(locks.lock(id, "cart").blocking());
    }
    for (how, coming) in [
        ("independent", Coming::Independent),
        ("one known after the other", Coming::OneAfterTheOther),
    ] {
        for (length, rounds, turns) in [("short", 50_000, 41), ("long", 500_000, 9)] {
            let visits = (coming, rounds);
            let (mut first, mut second, mut third, mut fourth) = (0, 0, 0, 0);
            let mut one_value = || {
                visit(&order, &mut first, visits, |id| {
                    let lock = Arc::clone(&one_value.get(id).expect("there"));
                    write(&mut lock.lock())
                })
            };
            let mut four_attributes = || {
                visit(&order, &mut second, visits, |id| {
                    let lock = Arc::clone(&four_attributes.get(id).expect("there"));
                    write(lock.lock().get_mut("cart").expect("there"))
                })
            };
            let [opened, locks] = &locks;
            let mut opened = || visit(&order, &mut third, visits, |id| open_and_use(opened, &id.0));
            let mut tenure = || visit(&order, &mut fourth, visits, |id| use_by_id(locks, &id.0));
            take_turns(
                &format!("by id, 100,000 sessions, {BYTES} bytes, {how}, {length} turns"),
                turns,
                &mut [
                    ("dashmap and parking_lot, one value", &mut one_value),
                    ("the same, four attributes", &mut four_attributes),
                    ("tenure, a handle opened for each", &mut opened),
                    ("tenure", &mut tenure),
                ],
            );
        }
    }
}

fn use_by_id(locks: &Locks, id: &SessionId) -> u8 {
    let mut guard = locks.lock(id, "cart").blocking().expect("free");
    guard.edit(|bytes| write(bytes)).expect("as long as before")
}

fn open_and_use(locks: &Locks, id: &SessionId) -> u8 {
    let s = locks.session(id);
    let mut guard = s.lock("cart").blocking().expect("free");
    guard.edit(|bytes| write(bytes)).expect("as long as before")
}

/// Long enough to fall asleep.
const ASLEEP: Duration = Duration::from_micros(200);

/// Calls `measures` with a function that answers how many nanoseconds it takes from before an unlock until a thread
/// that sleeps for the lock has it. `lock` locks, calls what it is given, and unlocks.
fn handoff<R>(
    lock: impl Fn(&mut dyn FnMut()) + Sync,
    measures: impl FnOnce(&mut dyn FnMut() -> f64) -> R,
) -> R {
    let (start, begin) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel::<Instant>();
    std::thread::scope(|scope| {
        let lock = &lock;
        scope.spawn(move || {
            while begin.recv().is_ok() {
                lock(&mut || tell.send(Instant::now()).expect("listening"));
            }
        });
        let result = measures(&mut || {
            let mut unlocks = Instant::now();
            lock(&mut || {
                start.send(()).expect("listening");
                std::thread::sleep(ASLEEP);
                unlocks = Instant::now();
            });
            let locked = told.recv().expect("it gets it");
            locked.saturating_duration_since(unlocks).as_secs_f64() * 1e9
        });
        drop(start);
        result
    })
}

fn handoffs() {
    const TURNS: usize = 8_001;
    let fair = parking_lot::Mutex::new(());
    let fair = |inside: &mut dyn FnMut()| {
        let guard = fair.lock();
        inside();
        parking_lot::MutexGuard::unlock_fair(guard);
    };
    let s = one();
    let tenure = |inside: &mut dyn FnMut()| {
        let guard = s.lock("cart").blocking().expect("granted");
        inside();
        drop(guard);
    };
    handoff(fair, |fair| {
        handoff(tenure, |tenure| {
            take_turns(
                "handoff to a sleeping waiter",
                TURNS,
                &mut [("parking_lot, fair", fair), ("tenure", tenure)],
            );
        });
    });
}
