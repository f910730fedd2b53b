//! How costs grow, printed as curves and as the ratios that must stay small.
//!
//! Run them with `cargo bench -p tenure-benches --bench curves`.
//!
//! - **Local waiters**: one task holds an attribute, N others ask for it, every second one is cancelled, the holder
//!   leaves, and the others have the attribute in turn.
//! - **Sessions that pass through**: a process locks N sessions once each, with 2 KiB of state, under a limit of what
//!   it keeps.
//! - **A tick beside idle sessions**: what a driver does at each tick, in a process that caches N sessions that nobody
//!   uses.
//!
//! The store is played by hand: it grants and takes back at once, and keeps nothing. Each figure is the best of a few
//! turns.

#[path = "../../impl/locks/tests/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::time::{Duration, Instant};
use support::by_hand::{ByHand, id};
use support::poll;
use tenure_protocol::attributes::Value;
use tenure_protocol::{Limits, ProcessSettings};

/// The limit of what is kept while sessions pass through.
const CACHED_MAX: usize = 20_000;
/// Bytes of each session's state.
const BYTES: usize = 2_048;

fn rig() -> ByHand {
    let settings = ProcessSettings {
        limits: Limits {
            threads_max: usize::MAX,
            ..Limits::default()
        },
        ..ProcessSettings::default()
    };
    ByHand::new(settings, Value::from(vec![b'0'; BYTES]))
}

fn best(turns: usize, mut turn: impl FnMut() -> Duration) -> Duration {
    (0..turns).map(|_| turn()).min().expect("one at least")
}

fn waiters(count: usize) -> Duration {
    let mut rig = rig();
    let id = id(0);
    rig.use_once(0);
    let session = rig.locks.session(&id);
    let start = Instant::now();
    let guard = session.lock("a").blocking().expect("free");
    let mut waiting: VecDeque<_> = VecDeque::with_capacity(count);
    for _ in 0..count {
        let mut request = Box::pin(session.lock("a"));
        assert!(poll(&mut request).is_none(), "it is held");
        waiting.push_back(request);
    }
    let mut place = 0;
    waiting.retain(|_| {
        place += 1;
        place % 2 == 0
    });
    drop(guard);
    for mut request in waiting {
        drop(poll(&mut request).expect("its turn").expect("locked"));
    }
    start.elapsed()
}

fn pass_through(count: usize) -> Duration {
    let mut rig = rig();
    let start = Instant::now();
    for at in 0..count {
        rig.use_once(at);
        if at % 100 == 0 {
            rig.look_after(at as u64 / 100, CACHED_MAX);
        }
    }
    let took = start.elapsed();
    let known = rig.locks.known();
    assert!(known <= CACHED_MAX + 200, "{known} sessions are kept");
    took
}

/// What a tick costs beside so many idle sessions.
fn tick_beside(count: usize) -> Duration {
    const TICKS: u32 = 1_000;
    let mut rig = rig();
    for at in 0..count {
        rig.use_once(at);
    }
    rig.look_after(0, usize::MAX);
    best(5, || {
        let start = Instant::now();
        for tick in 0..u64::from(TICKS) {
            rig.look_after(tick, usize::MAX);
        }
        start.elapsed() / TICKS
    })
}

fn curve(
    title: &str,
    counts: &[usize],
    measure: impl Fn(usize) -> Duration,
) -> Vec<(usize, Duration)> {
    println!("{title}:");
    let measured = counts.iter().map(|count| {
        let took = measure(*count);
        let each = took.as_secs_f64() * 1e9 / *count as f64;
        println!("  {count:>9}   {took:>12.3?}   {each:>10.0} ns each");
        (*count, took)
    });
    measured.collect()
}

fn of(measured: &[(usize, Duration)], count: usize) -> f64 {
    let own = measured.iter().find(|(own, _)| *own == count);
    own.expect("measured").1.as_secs_f64()
}

fn main() {
    if !std::env::args().any(|arg| arg == "--bench") {
        return; // Only being tested, or listed.
    }
    let counts = [10, 100, 1_000, 10_000];
    let all = curve("local waiters, half of them cancelled", &counts, |count| {
        best(if count > 1_000 { 5 } else { 15 }, || waiters(count))
    });
    println!(
        "  10,000 take {:.1} times as long as 1,000; at most 15",
        of(&all, 10_000) / of(&all, 1_000)
    );
    let counts = [1_000, 10_000, 100_000, 1_000_000];
    let title = "sessions that pass through, 20,000 of them kept";
    let all = curve(title, &counts, |count| {
        best(if count > 100_000 { 1 } else { 3 }, || pass_through(count))
    });
    let rate = |count: usize| count as f64 / of(&all, count);
    // Below the limit a session is not given back: that costs about as much again, and more.
    println!(
        "  the rate over 1,000,000 is {:.2} of that over 100,000; \
        over 100,000 {:.2} of that over 10,000, of which none goes back",
        rate(1_000_000) / rate(100_000),
        rate(100_000) / rate(10_000)
    );
    let all = curve("a tick beside idle sessions", &counts, tick_beside);
    println!(
        "  beside 1,000,000 it takes {:.1} times as long as beside 1,000",
        of(&all, 1_000_000) / of(&all, 1_000)
    );
}
