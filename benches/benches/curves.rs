//! How costs grow, printed as curves and as the ratios that must stay small: `cargo bench -p tenure-benches --bench curves`.
//!
//! - **Local waiters**: one task holds an attribute, N others ask for it, every second one is cancelled, the holder leaves, and
//!   the others have the attribute in turn.
//! - **Sessions that pass through**: a process locks N sessions once each, with 2 KiB of state, under a limit of what it keeps.
//! - **A tick beside idle sessions**: what a driver does at each tick, in a process that caches N sessions that nobody uses.
//!
//! The store is played by hand: it grants and takes back at once, and keeps nothing. Each figure is the best of a few turns.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tenure_locks::{Event, Locks};
use tenure_protocol::attributes::State;
use tenure_protocol::{
    Delta, Incarnation, Limits, ProcessSettings, SessionId, Stamp, Time, ToProcess, ToStore, Token,
    Version,
};

/// The limit of what is kept while sessions pass through.
const KEPT_MAX: usize = 20_000;
/// Bytes of each session's state.
const BYTES: usize = 2_048;

/// Locks, and a store that is played by hand.
struct Rig {
    locks: Locks,
    stamps: u64,
}

impl Rig {
    fn new() -> Self {
        let settings = ProcessSettings {
            limits: Limits {
                threads_max: usize::MAX,
                ..Limits::default()
            },
            ..ProcessSettings::default()
        };
        let locks = Locks::with_manual_clock(settings, Incarnation(1));
        locks.connected();
        let mut rig = Self { locks, stamps: 0 };
        rig.pump();
        rig
    }

    fn stamp(&mut self) -> Stamp {
        self.stamps += 1;
        Stamp {
            epoch: 1,
            sequence: self.stamps,
        }
    }

    fn answer(&mut self, message: ToStore) -> Option<ToProcess> {
        Some(match message {
            ToStore::Hello { sent, .. } => ToProcess::Welcome {
                sent,
                lease_ms: 1 << 40,
                holds: Vec::new(),
                gone: Vec::new(),
            },
            ToStore::Acquire(wish) => ToProcess::Granted {
                session: wish.session,
                request: wish.request,
                token: Token(self.stamp()),
                version: Version::NONE,
                state: State::Full(Delta::default()),
                recall: None,
                give_back: false,
            },
            ToStore::Release { session, token, .. } => ToProcess::Released {
                session,
                token,
                version: Some(Version(self.stamp())),
            },
            _ => return None,
        })
    }

    fn pump(&mut self) {
        while let Some(event) = self.locks.try_event() {
            if let Event::Send { link, message } = event
                && let Some(answer) = self.answer(message)
            {
                self.locks.message(link, answer);
            }
        }
    }

    /// Locks a session that is not held, writes its state and leaves.
    fn use_once(&mut self, id: &SessionId) {
        let locks = self.locks.clone();
        let mut request = locks.lock(id, "state");
        assert!(poll(Pin::new(&mut request)).is_none(), "it is not held");
        self.pump();
        let guard = poll(Pin::new(&mut request)).expect("granted");
        guard
            .expect("granted")
            .set(vec![b'0'; BYTES])
            .expect("small");
    }

    /// What a driver does from time to time.
    fn look_after(&mut self, now: u64, kept_max: usize) {
        self.locks.set_time(Time(now));
        self.locks.tick();
        self.locks.sweep(60_000);
        self.locks.trim(kept_max, 600_000);
        self.pump();
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn id(at: usize) -> SessionId {
    SessionId::new(format!("{at:032}")).expect("a short id")
}

fn best(turns: usize, mut turn: impl FnMut() -> Duration) -> Duration {
    (0..turns).map(|_| turn()).min().expect("one at least")
}

fn waiters(count: usize) -> Duration {
    let mut rig = Rig::new();
    let id = id(0);
    rig.use_once(&id);
    let session = rig.locks.session(&id);
    let start = Instant::now();
    let guard = session.lock("state").wait().expect("free");
    let mut waiting: VecDeque<_> = VecDeque::with_capacity(count);
    for _ in 0..count {
        let mut request = Box::pin(session.lock("state"));
        assert!(poll(request.as_mut()).is_none(), "it is held");
        waiting.push_back(request);
    }
    let mut place = 0;
    waiting.retain(|_| {
        place += 1;
        place % 2 == 0
    });
    drop(guard);
    for mut request in waiting {
        drop(poll(request.as_mut()).expect("its turn").expect("locked"));
    }
    start.elapsed()
}

fn pass_through(count: usize) -> Duration {
    let mut rig = Rig::new();
    let start = Instant::now();
    for at in 0..count {
        rig.use_once(&id(at));
        if at % 100 == 0 {
            rig.look_after(at as u64 / 100, KEPT_MAX);
        }
    }
    let took = start.elapsed();
    let known = rig.locks.known();
    assert!(known <= KEPT_MAX + 200, "{known} sessions are kept");
    took
}

/// What a tick costs beside so many idle sessions.
fn tick_beside(count: usize) -> Duration {
    const TICKS: u32 = 1_000;
    let mut rig = Rig::new();
    for at in 0..count {
        rig.use_once(&id(at));
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
        "  the rate over 1,000,000 is {:.2} of that over 100,000; over 100,000 {:.2} of that over 10,000, of which none goes back",
        rate(1_000_000) / rate(100_000),
        rate(100_000) / rate(10_000)
    );
    let all = curve("a tick beside idle sessions", &counts, tick_beside);
    println!(
        "  beside 1,000,000 it takes {:.1} times as long as beside 1,000",
        of(&all, 1_000_000) / of(&all, 1_000)
    );
}
