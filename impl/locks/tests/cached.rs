//! What a process keeps of sessions that nobody uses, and what looking after them costs: sessions are counted, never time.

mod support;

use std::collections::BTreeSet;
use support::by_hand::{ByHand, FOLD_MS, IDLE_MS, id};
use tenure_locks::Cached;
use tenure_protocol::attributes::Value;
use tenure_protocol::{ProcessSettings, SessionId, Time};

fn rig() -> ByHand {
    ByHand::new(ProcessSettings::default(), Value::from_static(b"1"))
}

/// Does what a driver does from time to time. Returns how many grants and how many sessions there are then.
fn look_after(rig: &mut ByHand, now: u64, cached_max: usize) -> (usize, usize) {
    rig.look_after(now, cached_max);
    (rig.locks.held(), rig.locks.known())
}

#[test]
fn a_hundred_thousand_sessions_leave_no_more_than_the_limit() {
    const COUNT: usize = 100_000;
    const CACHED_MAX: usize = 2_000;
    let mut rig = rig();
    for at in 0..COUNT {
        rig.use_once(at);
        if at.is_multiple_of(100) {
            look_after(&mut rig, at as u64 / 100, CACHED_MAX);
        }
        let known = rig.locks.known();
        assert!(
            known <= CACHED_MAX + 300,
            "{known} sessions are known after {at}"
        );
        let entries = rig.locks.entries();
        assert!(
            entries <= CACHED_MAX + 600,
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
    let mut rig = rig();
    (0..COUNT).for_each(|at| rig.use_once(at));
    look_after(&mut rig, 0, COUNT);
    let visits = rig.locks.visits();
    assert_eq!(visits, COUNT as u64, "each is new");
    for second in 1..60 {
        assert_eq!(look_after(&mut rig, second * 1_000, COUNT), (COUNT, COUNT));
        assert!(second % 20 != 0 || rig.locks.busy().is_empty());
    }
    assert_eq!(rig.locks.visits(), visits);
    look_after(&mut rig, FOLD_MS, COUNT);
    let visits = visits + COUNT as u64;
    assert_eq!(rig.locks.visits(), visits, "memory is given back, once");
    for minute in 2..10 {
        look_after(&mut rig, minute * 60_000, COUNT);
    }
    assert_eq!(rig.locks.visits(), visits);
    look_after(&mut rig, IDLE_MS, COUNT);
    look_after(&mut rig, IDLE_MS + 1_000, COUNT);
    look_after(&mut rig, IDLE_MS + 2_000, COUNT);
    assert_eq!((rig.locks.known(), rig.locks.entries()), (0, 0));
}

#[test]
fn a_copy_goes_after_the_idle_time_also_when_the_store_has_taken_the_grant() {
    let mut rig = rig();
    rig.use_once(0);
    rig.locks.release(&id(0));
    rig.pump();
    assert_eq!(
        look_after(&mut rig, 1_000, 10),
        (0, 1),
        "it is a base for deltas"
    );
    assert_eq!(look_after(&mut rig, IDLE_MS - 1, 10), (0, 1));
    assert_eq!(look_after(&mut rig, IDLE_MS, 10), (0, 0));
}

#[test]
fn the_longest_unused_go_first_and_copies_before_grants() {
    let mut rig = rig();
    for at in 0..16 {
        rig.locks.set_time(Time(at as u64));
        rig.use_once(at);
    }
    look_after(&mut rig, 16, 16);
    // Used again in their cells, which the order of use does not see at once.
    for at in 0..4 {
        drop(rig.locks.lock(&id(at), "a").blocking().expect("free"));
    }
    rig.locks.release(&id(15));
    rig.pump();
    assert_eq!(
        look_after(&mut rig, 20, 15),
        (15, 15),
        "the copy is forgotten"
    );
    assert_eq!(
        look_after(&mut rig, 21, 10),
        (10, 15),
        "grants are released"
    );
    assert_eq!(
        look_after(&mut rig, 22, 10),
        (10, 10),
        "and their copies forgotten"
    );
    let idle = rig.locks.idle(Cached::Grant, 0, usize::MAX);
    let idle: BTreeSet<SessionId> = idle.into_iter().map(|(_, id)| id).collect();
    let expected = (0..4).chain(9..15).map(id);
    assert_eq!(idle, expected.collect());
}

/// Sessions in use stay, however many, and are not looked at over and over.
#[test]
fn sessions_in_use_stay() {
    const COUNT: usize = 1_000;
    let mut rig = rig();
    (0..COUNT).for_each(|at| rig.use_once(at));
    let locks = rig.locks.clone();
    let ids: Vec<SessionId> = (0..COUNT).map(id).collect();
    let guards = ids
        .iter()
        .map(|id| locks.lock(id, "a").blocking().expect("free"));
    let guards: Vec<_> = guards.collect();
    rig.locks.sweep(FOLD_MS);
    for tick in 1..10 {
        assert_eq!(look_after(&mut rig, tick, COUNT - 8), (COUNT, COUNT));
    }
    let each = rig.locks.visits() / COUNT as u64;
    assert!(each <= 5, "each session was looked at {each} times");
    drop(guards);
    assert!(look_after(&mut rig, 20, 10).0 <= 10);
}
