//! What a process keeps of sessions that nobody uses, and what looking after them costs: sessions are counted, never time.
//!
//! The store is played by hand: it grants and takes back at once, and keeps nothing.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tenure_locks::{Event, Kept, Locks};
use tenure_protocol::attributes::State;
use tenure_protocol::{
    Delta, Incarnation, ProcessSettings, SessionId, Stamp, Time, ToProcess, ToStore, Token, Version,
};

/// Memory that only use needs is given back after so long, in milliseconds.
const FOLD_MS: u64 = 60_000;
/// A session that is unused for so long is given back.
const IDLE_MS: u64 = 600_000;

struct Rig {
    locks: Locks,
    stamps: u64,
}

fn id(at: usize) -> SessionId {
    SessionId::new(format!("{at:032}")).expect("a short id")
}

impl Rig {
    fn new() -> Self {
        let locks = Locks::with_manual_clock(ProcessSettings::default(), Incarnation(1));
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

    /// Locks a session that is not held, and leaves.
    fn use_once(&mut self, at: usize) {
        let (locks, id) = (self.locks.clone(), id(at));
        let mut request = locks.lock(&id, "a");
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut request).poll(&mut context).is_pending());
        self.pump();
        let Poll::Ready(guard) = Pin::new(&mut request).poll(&mut context) else {
            panic!("it was granted");
        };
        guard.expect("granted").set("1").expect("small");
    }

    /// What a driver does from time to time. Returns how many grants and how many sessions there are then.
    fn look_after(&mut self, now: u64, kept_max: usize) -> (usize, usize) {
        self.locks.set_time(Time(now));
        self.locks.tick();
        self.locks.sweep(FOLD_MS);
        self.locks.trim(kept_max, IDLE_MS);
        self.pump();
        (self.locks.held(), self.locks.known())
    }
}

#[test]
fn a_hundred_thousand_sessions_leave_no_more_than_the_limit() {
    const COUNT: usize = 100_000;
    const KEPT_MAX: usize = 2_000;
    let mut rig = Rig::new();
    for at in 0..COUNT {
        rig.use_once(at);
        if at.is_multiple_of(100) {
            rig.look_after(at as u64 / 100, KEPT_MAX);
        }
        let known = rig.locks.known();
        assert!(
            known <= KEPT_MAX + 300,
            "{known} sessions are known after {at}"
        );
        let entries = rig.locks.entries();
        assert!(
            entries <= KEPT_MAX + 600,
            "{entries} sessions are kept after {at}"
        );
    }
    // Each is looked at when it is new, when it is the longest unused, when it is given back, and when it is forgotten.
    let each = rig.locks.visits() / COUNT as u64;
    assert!(each <= 8, "each session was looked at {each} times");
}

#[test]
fn idle_sessions_are_not_looked_at() {
    const COUNT: usize = 10_000;
    let mut rig = Rig::new();
    (0..COUNT).for_each(|at| rig.use_once(at));
    rig.look_after(0, COUNT);
    let visits = rig.locks.visits();
    assert_eq!(visits, COUNT as u64, "each is new");
    for second in 1..60 {
        assert_eq!(rig.look_after(second * 1_000, COUNT), (COUNT, COUNT));
        assert!(second % 20 != 0 || rig.locks.busy().is_empty());
    }
    assert_eq!(rig.locks.visits(), visits);
    rig.look_after(FOLD_MS, COUNT);
    let visits = visits + COUNT as u64;
    assert_eq!(rig.locks.visits(), visits, "memory is given back, once");
    for minute in 2..10 {
        rig.look_after(minute * 60_000, COUNT);
    }
    assert_eq!(rig.locks.visits(), visits);
    rig.look_after(IDLE_MS, COUNT);
    rig.look_after(IDLE_MS + 1_000, COUNT);
    rig.look_after(IDLE_MS + 2_000, COUNT);
    assert_eq!((rig.locks.known(), rig.locks.entries()), (0, 0));
}

#[test]
fn a_copy_goes_after_the_idle_time_also_when_the_store_has_taken_the_grant() {
    let mut rig = Rig::new();
    rig.use_once(0);
    rig.locks.release(&id(0));
    rig.pump();
    assert_eq!(rig.look_after(1_000, 10), (0, 1), "it is a base for deltas");
    assert_eq!(rig.look_after(IDLE_MS - 1, 10), (0, 1));
    assert_eq!(rig.look_after(IDLE_MS, 10), (0, 0));
}

#[test]
fn the_longest_unused_go_first_and_copies_before_grants() {
    let mut rig = Rig::new();
    for at in 0..16 {
        rig.locks.set_time(Time(at as u64));
        rig.use_once(at);
    }
    rig.look_after(16, 16);
    // Used again, in their cells, of which nobody is told.
    for at in 0..4 {
        drop(rig.locks.lock(&id(at), "a").wait().expect("free"));
    }
    rig.locks.release(&id(15));
    rig.pump();
    assert_eq!(rig.look_after(20, 15), (15, 15), "the copy is forgotten");
    assert_eq!(rig.look_after(21, 10), (10, 15), "grants are released");
    assert_eq!(
        rig.look_after(22, 10),
        (10, 10),
        "and their copies forgotten"
    );
    let idle = rig.locks.idle(Kept::Grant, 0, usize::MAX);
    let idle: BTreeSet<SessionId> = idle.into_iter().map(|(_, id)| id).collect();
    let expected = (0..4).chain(9..15).map(id);
    assert_eq!(idle, expected.collect());
}

/// Sessions in use stay, however many, and are not looked at over and over.
#[test]
fn sessions_in_use_stay() {
    const COUNT: usize = 1_000;
    let mut rig = Rig::new();
    (0..COUNT).for_each(|at| rig.use_once(at));
    let locks = rig.locks.clone();
    let ids: Vec<SessionId> = (0..COUNT).map(id).collect();
    let guards = ids
        .iter()
        .map(|id| locks.lock(id, "a").wait().expect("free"));
    let guards: Vec<_> = guards.collect();
    rig.locks.sweep(FOLD_MS);
    for tick in 1..10 {
        assert_eq!(rig.look_after(tick, COUNT - 8), (COUNT, COUNT));
    }
    let each = rig.locks.visits() / COUNT as u64;
    assert!(each <= 5, "each session was looked at {each} times");
    drop(guards);
    assert!(rig.look_after(20, 10).0 <= 10);
}
