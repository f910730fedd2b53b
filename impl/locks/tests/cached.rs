//! The cache of unused sessions, and the cost of its upkeep. The tests count sessions and visits, and measure no time.

mod support;

use std::collections::BTreeSet;
use support::by_hand::{ByHand, FOLD_MS, IDLE_MS, id};
use tenure_locks::Cached;
use tenure_protocol::attributes::Value;
use tenure_protocol::{ProcessSettings, SessionId, Time};

fn rig() -> ByHand {
    ByHand::new(ProcessSettings::default(), Value::from_static(b"1"))
}

/// Does the regular upkeep of a driver. Returns the numbers of grants and of known sessions afterwards.
fn look_after(rig: &mut ByHand, now: u64, cached_max: usize) -> (usize, usize) {
    rig.look_after(now, cached_max);
    (rig.locks.held(), rig.locks.known())
}

#[test]
fn after_100000_sessions_no_more_than_the_limit_are_cached() {
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
            "{entries} sessions have an entry after {at}"
        );
    }
    // A session is visited when it is new, when it is the least recently used, when it is given back, and when it
    // is forgotten.
    let each = rig.locks.visits() / COUNT as u64;
    assert!(each <= 8, "each session was visited {each} times");
}

#[test]
fn idle_sessions_are_not_visited_again() {
    const COUNT: usize = 10_000;
    let mut rig = rig();
    (0..COUNT).for_each(|at| rig.use_once(at));
    look_after(&mut rig, 0, COUNT);
    let visits = rig.locks.visits();
    assert_eq!(visits, COUNT as u64, "each new session is visited once");
    for second in 1..60 {
        assert_eq!(look_after(&mut rig, second * 1_000, COUNT), (COUNT, COUNT));
        assert!(second % 20 != 0 || rig.locks.busy().is_empty());
    }
    assert_eq!(rig.locks.visits(), visits);
    look_after(&mut rig, FOLD_MS, COUNT);
    let visits = visits + COUNT as u64;
    assert_eq!(
        rig.locks.visits(),
        visits,
        "freeing the memory visits each session once more"
    );
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
fn a_copy_of_a_revoked_session_is_dropped_after_the_idle_time() {
    let mut rig = rig();
    rig.use_once(0);
    rig.locks.release(&id(0));
    rig.pump();
    assert_eq!(
        look_after(&mut rig, 1_000, 10),
        (0, 1),
        "the copy is kept as the base of a delta"
    );
    assert_eq!(look_after(&mut rig, IDLE_MS - 1, 10), (0, 1));
    assert_eq!(look_after(&mut rig, IDLE_MS, 10), (0, 0));
}

#[test]
fn least_recently_used_copies_are_dropped_before_grants_are_released() {
    let mut rig = rig();
    for at in 0..16 {
        rig.locks.set_time(Time(at as u64));
        rig.use_once(at);
    }
    look_after(&mut rig, 16, 16);
    // These sessions are used again in their cells, which the order of last use does not notice at once.
    for at in 0..4 {
        drop(rig.locks.lock(&id(at), "a").blocking().expect("free"));
    }
    rig.locks.release(&id(15));
    rig.pump();
    assert_eq!(
        look_after(&mut rig, 20, 15),
        (15, 15),
        "the copy is dropped"
    );
    assert_eq!(
        look_after(&mut rig, 21, 10),
        (10, 15),
        "the oldest grants are released"
    );
    assert_eq!(
        look_after(&mut rig, 22, 10),
        (10, 10),
        "the copies of released sessions are dropped"
    );
    let idle = rig.locks.idle(Cached::Grant, 0, usize::MAX);
    let idle: BTreeSet<SessionId> = idle.into_iter().map(|(_, id)| id).collect();
    let expected = (0..4).chain(9..15).map(id);
    assert_eq!(idle, expected.collect());
}

/// Sessions in use stay cached beyond the limit, and are not visited again and again.
#[test]
fn sessions_in_use_are_neither_released_nor_visited_repeatedly() {
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
    assert!(each <= 5, "each session was visited {each} times");
    drop(guards);
    assert!(look_after(&mut rig, 20, 10).0 <= 10);
}
