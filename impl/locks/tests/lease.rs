//! The end of the lease, noticed by a thread before the driver's tick, as after a stop of the whole OS process.

mod support;

use std::task::{Context, Poll, Waker};
use support::{Rig, poll, session};
use tenure_locks::{Error, Event, Guard, Locks, Session};
use tenure_protocol::{ThreadId, Time};

/// A time after the lease of the rig's store.
const LATER: Time = Time(20_000);

/// The name of a lock path, and a function that returns whether it granted a guard.
type Asks = fn(&Locks, &Session) -> bool;

/// Every way to lock without the machine.
const WAYS: &[(&str, Asks)] = &[
    ("handle", |_, s| is_granted(poll(&mut s.lock("a")))),
    ("handle, try", |_, s| {
        is_granted(poll(&mut s.lock("a").try_lock()))
    }),
    ("handle, closed cell", |_, s| {
        is_granted(poll(&mut s.lock("b")))
    }),
    ("id", |locks, _| {
        is_granted(poll(&mut locks.lock(&session(), "a")))
    }),
    ("id, try", |locks, _| {
        is_granted(poll(&mut locks.lock(&session(), "a").try_lock()))
    }),
    ("several", |_, s| {
        matches!(poll(&mut s.lock_many(["a", "b"])), Some(Ok(_)))
    }),
    ("all", |_, s| matches!(poll(&mut s.lock_all()), Some(Ok(_)))),
    ("handle, blocking", |locks, s| {
        blocks(locks, || s.lock("a").blocking().is_ok())
    }),
    ("id, blocking", |locks, _| {
        blocks(locks, || locks.lock(&session(), "a").blocking().is_ok())
    }),
    ("several, blocking", |locks, s| {
        blocks(locks, || s.lock_many(["a", "b"]).blocking().is_ok())
    }),
];

fn is_granted(answer: Option<Result<Guard<'_>, Error>>) -> bool {
    matches!(answer, Some(Ok(_)))
}

/// Runs a blocking request until it has a guard or waits. If it waits, the shutdown of the manager refuses it.
fn blocks(locks: &Locks, asks: impl Fn() -> bool + Sync) -> bool {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let is_granted = asks();
            locks.shutdown(); // The shutdown wakes the other thread in any case.
            is_granted
        });
        while !locks.has_left() && !asking.is_finished() {
            if let Some(Event::Until(_)) = locks.wait_event(std::time::Duration::from_millis(20)) {
                locks.shutdown();
            }
        }
        asking.join().expect("no panic")
    })
}

/// Returns a cached session whose attribute "a" has an open cell.
fn cached() -> (Rig, Session) {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    drop(s.lock("a").blocking().expect("cached"));
    (rig, s)
}

#[test]
fn after_the_lease_ends_every_lock_path_refuses_even_before_a_tick() {
    for (way, asks) in WAYS {
        let (rig, s) = cached();
        assert!(asks(&rig.locks, &s), "{way}: cached");
        let (rig, s) = cached();
        rig.locks.set_time(LATER);
        assert!(
            !asks(&rig.locks, &s),
            "{way}: no guard may be granted after the end of the lease"
        );
        assert_eq!(
            rig.locks.lease(),
            None,
            "{way}: the request has ended the lease in the machine"
        );
    }
}

#[test]
fn at_the_last_millisecond_of_the_lease_a_lock_is_granted_from_the_cache() {
    let (rig, s) = cached();
    let end = rig.locks.lease().expect("a lease");
    rig.locks.set_time(end);
    assert!(is_granted(poll(&mut s.lock("a"))));
    rig.locks.set_time(end.after(1));
    assert!(!is_granted(poll(&mut s.lock("a"))));
}

#[test]
fn a_guard_from_before_the_end_of_the_lease_reports_the_loss_in_every_check() {
    let (rig, s) = cached();
    let mut guard = s.lock("a").blocking().expect("cached");
    guard.set("1").expect("set");
    assert!(!guard.recalled());
    rig.locks.set_time(LATER);
    assert_eq!(guard.bytes(), Some(&b"1"[..]), "reads check no clock");
    assert_eq!(guard.set("2"), Ok(()), "writes check no clock");
    assert!(guard.recalled());
    let unlocked = guard.unlock();
    assert!(matches!(unlocked, Err(Error::LeaseLost(_))), "{unlocked:?}");
    let discard = s.last_discard().expect("reported");
    assert_eq!(discard.session, session());

    let (rig, s) = cached();
    let mut set = s.lock_many(["a", "b"]).blocking().expect("cached");
    assert!(!set.recalled());
    rig.locks.set_time(LATER);
    assert!(set.recalled());
    let written = set.set("a", "1");
    assert!(matches!(written, Err(Error::LeaseLost(_))), "{written:?}");
    let unlocked = set.unlock();
    assert!(matches!(unlocked, Err(Error::LeaseLost(_))), "{unlocked:?}");
}

#[test]
fn writes_of_a_guard_dropped_after_the_end_of_the_lease_are_discarded() {
    let (mut rig, s) = cached();
    let mut guard = s.lock("a").blocking().expect("cached");
    guard.set("lost").expect("set");
    rig.locks.set_time(LATER);
    drop(guard);
    let mut again = s.lock("a");
    assert!(rig.poll(&mut again).is_none());
    rig.locks.connected();
    let guard = rig.complete(&mut again).expect("granted again");
    assert_eq!(guard.bytes(), None);
}

/// A waiting thread is granted its lock, and the lease ends before the thread takes its guard.
#[test]
fn a_granted_lock_taken_after_the_end_of_the_lease_fails() {
    let mut context = Context::from_waker(Waker::noop());
    // A single waiter receives the attribute in its cell, and two receive it through the session. The tick has run,
    // or not.
    for (waiters, ticks) in [(1, false), (1, true), (2, false), (2, true)] {
        let (rig, s) = cached();
        let other = rig.locks.session(&session());
        let guard = s.lock("a").blocking().expect("cached");
        let mut requests: Vec<_> = (0..waiters)
            .map(|at| Box::pin(other.lock("a").beside(ThreadId(u64::MAX >> (10 - at)))))
            .collect();
        for request in &mut requests {
            assert!(request.as_mut().poll(&mut context).is_pending());
        }
        drop(guard);
        rig.locks.set_time(LATER);
        if ticks {
            rig.locks.tick();
        }
        let fetched = requests[0].as_mut().poll(&mut context);
        assert!(
            matches!(fetched, Poll::Ready(Err(Error::LeaseLost(_)))),
            "{waiters} {ticks}: {fetched:?}"
        );
        drop(fetched);
        assert!(s.busy().holders.is_empty(), "{waiters} {ticks}");
    }
}

#[test]
fn a_granted_lock_set_taken_after_the_end_of_the_lease_fails() {
    let (rig, s) = cached();
    let guard = s.lock("a").blocking().expect("cached");
    let mut request = Box::pin(s.lock_many(["a", "b"]));
    assert!(poll(&mut request).is_none());
    drop(guard);
    rig.locks.set_time(LATER);
    let fetched = poll(&mut request);
    assert!(
        matches!(fetched, Some(Err(Error::LeaseLost(_)))),
        "{fetched:?}"
    );
    drop(fetched);
    assert!(s.busy().holders.is_empty());
}
