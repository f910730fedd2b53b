//! The guarantees of the lock manager, one per test and deterministic. Interleavings are tested in harness/loom and
//! harness/shuttle, and random histories in harness/properties.

mod support;

use std::time::Duration;
use support::{Driver, Rig, block_on, session};
use tenure_locks::{Cached, Discarded, Error, Event, task};
use tenure_protocol::message::Limited;
use tenure_protocol::{Limits, SessionId, ThreadId};

#[test]
fn a_cached_session_is_locked_without_a_message() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    for turn in 0..3_u8 {
        let mut guard = s.lock("a").blocking().expect("free");
        assert_eq!(guard.bytes(), Some(&[b'0' + turn][..]));
        guard
            .edit(|bytes| bytes[0] += 1)
            .expect("the new value is as long as the old one");
        guard.unlock().expect("in time");
    }
    let mut set = s.lock_many(["a", "b"]).blocking().expect("free");
    assert_eq!(set.bytes("a"), Ok(Some(&b"3"[..])));
    set.set("b", "new").expect("the value is within the limits");
    drop(set);
    let guard = s.lock("b").blocking().expect("free");
    assert_eq!(guard.bytes(), Some(&b"new"[..]));
    drop(guard);
    rig.pump();
    assert_eq!(rig.messages, 0);
    rig.ask_elsewhere(&session());
    rig.pump();
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"3"[..]));
    assert_eq!(rig.stored(&session(), "b").as_deref(), Some(&b"new"[..]));
    assert!(rig.held_elsewhere(&session()).is_some());
}

#[test]
fn a_recall_waits_for_the_threads_inside_and_saves_their_writes() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut guard = s.lock("a").blocking().expect("free");
    guard.set("1").expect("set");
    assert!(!guard.recalled());
    rig.ask_elsewhere(&session());
    rig.pump();
    assert!(guard.recalled());
    assert!(rig.held_elsewhere(&session()).is_none());
    // A new thread must now queue behind the other process.
    let mut late = s.lock("b");
    assert!(rig.poll(&mut late).is_none());
    // A thread that already holds a lock in the session may take more.
    let more = s.lock("c").blocking().expect("inside already");
    drop(more);
    guard.unlock().expect("in time");
    rig.pump();
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"1"[..]));
    assert!(rig.held_elsewhere(&session()).is_some());
    rig.release_elsewhere(&session());
    rig.pump();
    let guard = rig.complete(&mut late).expect("granted again");
    assert_eq!(guard.bytes(), None);
}

#[test]
fn blocking_threads_and_tasks_are_served_in_order_of_arrival() {
    let rig = Rig::holding(&[session()]);
    let driver = Driver::start(rig);
    let s = driver.locks.session(&session());
    let order = std::sync::Mutex::new(Vec::new());
    let first = s.lock("a").blocking().expect("free");
    std::thread::scope(|scope| {
        for turn in 0..6 {
            let (s, order) = (&s, &order);
            scope.spawn(move || {
                let guard = if turn % 2 == 0 {
                    s.lock("a").blocking()
                } else {
                    block_on(s.lock("a"))
                };
                order.lock().unwrap().push(turn);
                drop(guard.expect("granted"));
            });
            while s.busy().waiters.len() <= turn {
                std::thread::yield_now();
            }
        }
        drop(first);
    });
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    driver.stop();
}

#[test]
fn locking_twice_fails_with_the_source_line_of_the_first_lock() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let first = s.lock("a").blocking().expect("free");
    let line = line!() - 1;
    let Err(Error::AlreadyLocked(again)) = s.lock("a").blocking() else {
        panic!("locking an attribute twice must fail with AlreadyLocked")
    };
    assert_eq!(again.place.map(std::panic::Location::line), Some(line));
    let Err(Error::AlreadyLocked(all)) = s.lock_all().blocking() else {
        panic!("locking a whole session twice must fail with AlreadyLocked")
    };
    assert_eq!(all.place.map(std::panic::Location::line), Some(line));
    assert_eq!(all.session, session());
    assert!(Error::AlreadyLocked(all).to_string().contains("manager.rs"));
    drop(first);
    drop(s.lock("a").blocking().expect("free again"));
}

#[test]
fn a_task_is_identified_by_task_and_by_its_guard() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut twice = Box::pin(task(async {
        let _first = s.lock("a").await.expect("free");
        s.lock("a").await.err()
    }));
    let error = rig.poll(&mut twice).expect("at once");
    assert!(matches!(error, Some(Error::AlreadyLocked(_))), "{error:?}");
    let mut beside = Box::pin(async {
        let first = s.lock("a").await.expect("free");
        s.lock("a").beside(first.thread()).await.err()
    });
    let error = rig.poll(&mut beside).expect("at once");
    assert!(matches!(error, Some(Error::AlreadyLocked(_))), "{error:?}");
}

#[test]
fn a_dropped_request_is_withdrawn_completely() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let first = s.lock("a").blocking().expect("free");
    let mut one = s.lock("a");
    let mut two = s.lock("a");
    assert!(rig.poll(&mut one).is_none() && rig.poll(&mut two).is_none());
    assert_eq!(s.busy().waiters.len(), 2);
    drop(one);
    assert_eq!(s.busy().waiters.len(), 1);
    drop(first);
    drop(rig.poll(&mut two).expect("its turn").expect("granted"));
    // The same is true for a request whose lock was granted but never taken.
    let first = s.lock("a").blocking().expect("free");
    let mut three = s.lock("a");
    assert!(rig.poll(&mut three).is_none());
    drop(first);
    drop(three);
    drop(s.lock("a").blocking().expect("free"));
    assert!(s.busy().holders.is_empty());
}

#[test]
fn a_thread_with_any_number_can_leave_an_attribute_handed_off_to_it() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    for bits in [54, 55, 56, 63] {
        let first = s.lock("a").blocking().expect("free");
        let mut next = s.lock("a").beside(ThreadId(u64::MAX >> (63 - bits)));
        assert!(rig.poll(&mut next).is_none());
        drop(first);
        let next = rig.poll(&mut next).expect("its turn").expect("granted");
        next.unlock().expect("in time");
        assert!(s.busy().holders.is_empty(), "{bits} bits");
    }
}

/// A waker of a broken executor: it panics.
struct Broken;

impl std::task::Wake for Broken {
    fn wake(self: std::sync::Arc<Self>) {
        panic!("woken");
    }
}

#[test]
fn a_guard_is_released_although_the_waker_of_the_next_waiter_panics() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let waker = std::sync::Arc::new(Broken).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut guard = s.lock("a").blocking().expect("free");
    guard.set("1").expect("small");
    let mut next = std::pin::pin!(s.lock("a"));
    assert!(next.as_mut().poll(&mut context).is_pending());
    let unlocks = std::panic::AssertUnwindSafe(|| guard.unlock());
    let panicked =
        std::panic::catch_unwind(unlocks).expect_err("the panic of the waker reaches the caller");
    assert_eq!(panicked.downcast_ref(), Some(&"woken"));
    let std::task::Poll::Ready(Ok(next)) = next.poll(&mut context) else {
        panic!("the lock was handed off to this waiter")
    };
    assert_eq!(next.bytes(), Some(&b"1"[..]));
    let s = &s;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| s.lock("a").try_lock().blocking().map(drop));
        let refused = other.join().expect("no panic");
        assert!(matches!(refused, Err(Error::WouldBlock(_))), "{refused:?}");
    });
    drop(next);
    assert!(s.busy().holders.is_empty());
}

/// A waker that records its use.
struct Flag(std::sync::atomic::AtomicBool);

impl std::task::Wake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Release);
    }
}

#[test]
fn a_panicking_waker_does_not_prevent_other_wake_ups() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let guards = s.lock_many(["a", "b"]).blocking().expect("free");
    let broken = std::sync::Arc::new(Broken).into();
    let flag = std::sync::Arc::new(Flag(false.into()));
    let waker = std::sync::Arc::clone(&flag).into();
    let mut one = std::pin::pin!(s.lock("a"));
    let mut two = std::pin::pin!(s.lock("b"));
    let mut context = std::task::Context::from_waker(&broken);
    assert!(one.as_mut().poll(&mut context).is_pending());
    let mut context = std::task::Context::from_waker(&waker);
    assert!(two.as_mut().poll(&mut context).is_pending());
    let unlocks = std::panic::AssertUnwindSafe(|| guards.unlock());
    let panicked =
        std::panic::catch_unwind(unlocks).expect_err("the panic of the waker reaches the caller");
    assert_eq!(panicked.downcast_ref(), Some(&"woken"));
    assert!(flag.0.load(std::sync::atomic::Ordering::Acquire));
    assert!(two.poll(&mut context).is_ready());
    assert!(one.poll(&mut context).is_ready());
}

/// Gives the manager a driver whose waker panics.
fn break_driver(rig: &Rig) {
    let broken = std::sync::Arc::new(Broken).into();
    let context = std::task::Context::from_waker(&broken);
    while rig.locks.poll_event(&context).is_ready() {}
}

/// A request that begins to wait wakes the driver with its deadline. If that waker panics, the request is withdrawn.
#[test]
fn a_request_is_withdrawn_when_the_drivers_waker_panics() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let panics = |lock: tenure_locks::LockRequest<'_>| {
        break_driver(&rig);
        let mut lock = std::pin::pin!(lock);
        let mut waits = std::task::Context::from_waker(std::task::Waker::noop());
        let polls = std::panic::AssertUnwindSafe(|| lock.as_mut().poll(&mut waits).is_ready());
        std::panic::catch_unwind(polls).is_err()
    };
    let guard = s.lock("a").blocking().expect("free");
    assert!(
        panics(s.lock("a")),
        "the driver's waker must have been called"
    );
    assert_eq!(s.busy().waiters, []);
    drop(guard);
    assert!(s.busy().holders.is_empty());
    assert!(s.lock("a").try_lock().blocking().is_ok());
}

/// A second panic out of a destructor during unwinding would abort this program.
#[test]
fn dropping_a_guard_while_unwinding_survives_a_panicking_waker() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    break_driver(&rig);
    let unwinds = std::panic::AssertUnwindSafe(|| {
        let mut guard = s.lock("a").blocking().expect("free");
        guard.set("half done").expect("set");
        panic!("a panic of the application");
    });
    assert!(std::panic::catch_unwind(unwinds).is_err());
    let guard = s
        .lock("a")
        .try_lock()
        .blocking()
        .expect("the unwinding guard has released the lock");
    assert_ne!(guard.bytes(), Some(&b"half done"[..]));
}

/// A value whose destructor locks while its thread unwinds.
#[test]
fn a_handoff_while_unwinding_survives_a_panicking_waker() {
    struct HandsOff<'d, 's>(
        &'s tenure_locks::Session,
        &'d mut tenure_locks::LockRequest<'s>,
    );
    impl Drop for HandsOff<'_, '_> {
        fn drop(&mut self) {
            let mut guard = self.0.lock("a").blocking().expect("free");
            guard.set("whole").expect("small");
            let waker = std::sync::Arc::new(Broken).into();
            let mut context = std::task::Context::from_waker(&waker);
            assert!(std::pin::pin!(&mut *self.1).poll(&mut context).is_pending());
        }
    }
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    drop(s.lock("a").blocking().expect("free"));
    let mut next = s.lock("a");
    let unwinds = std::panic::AssertUnwindSafe(|| {
        let _hands_off = HandsOff(&s, &mut next);
        panic!("a panic of the application");
    });
    assert!(std::panic::catch_unwind(unwinds).is_err());
    let next = rig
        .poll(&mut next)
        .expect("the lock was handed off to this waiter")
        .expect("the handoff succeeds");
    assert_eq!(next.bytes(), Some(&b"whole"[..]));
}

/// The commit was already sent. A second commit of the same thread must not be refused as a duplicate.
#[test]
fn a_commit_leaves_no_registered_wait_when_a_waker_panics() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut all = s.lock_all().blocking().expect("free");
    all.set("a", "1").expect("set");
    break_driver(&rig);
    let polls = std::panic::AssertUnwindSafe(|| {
        let mut waits = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(all.commit()).poll(&mut waits).is_ready()
    });
    assert!(
        std::panic::catch_unwind(polls).is_err(),
        "the driver's waker must have been called"
    );
    all.set("a", "2").expect("set");
    let mut commit = Box::pin(all.commit());
    rig.complete(&mut commit).expect("the second");
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"2"[..]));
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let first = s.lock("a").blocking().expect("free");
    let mut late = s.lock("a").timeout(Duration::from_millis(50));
    assert!(rig.poll(&mut late).is_none());
    rig.pass(49);
    assert!(rig.poll(&mut late).is_none());
    rig.pass(1);
    assert!(matches!(rig.poll(&mut late), Some(Err(Error::Deadline(_)))));
    drop(first);
    assert!(s.lock("a").try_lock().blocking().is_ok());
}

#[test]
fn a_blocked_os_thread_ends_its_wait_at_the_deadline_without_a_driver() {
    let rig = Rig::holding_by_the_clock(&[session()]);
    let s = rig.locks.session(&session());
    let first = s.lock("a").blocking().expect("free");
    let late = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                s.lock("a")
                    .timeout(Duration::from_millis(20))
                    .blocking()
                    .err()
            })
            .join()
            .expect("no panic")
    });
    assert!(matches!(late, Some(Error::Deadline(_))), "{late:?}");
    drop(first);
}

#[test]
fn a_try_waits_for_no_thread() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let first = s.lock("a").blocking().expect("free");
    let strange = std::thread::scope(|scope| {
        scope
            .spawn(|| s.lock("a").try_lock().blocking().err())
            .join()
            .expect("no panic")
    });
    assert!(matches!(strange, Some(Error::WouldBlock(_))), "{strange:?}");
    drop(first);
}

#[test]
fn a_panic_discards_the_writes_and_reports_it() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    for by_set in [false, true] {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if by_set {
                let mut set = s.lock_all().blocking().expect("free");
                set.set("a", "half").expect("set");
                drop(set.commit()); // A commit that is not polled sends nothing.
                panic!("on purpose");
            }
            let mut guard = s.lock("a").blocking().expect("free");
            guard.set("half").expect("set");
            drop(guard.commit());
            panic!("on purpose");
        }));
        assert!(result.is_err());
        let guard = s.lock("a").blocking().expect("free");
        assert_eq!(guard.bytes(), Some(&b"0"[..]));
        drop(guard);
        let discard = s
            .last_discard()
            .expect("the session records the discarded writes");
        assert_eq!(discard.why, Discarded::Panic);
        assert!(discard.place.is_some());
        rig.pump();
        let event = rig.events.pop();
        assert!(matches!(event, Some(Event::Discarded(_))), "{event:?}");
    }
}

#[test]
fn a_lost_lease_poisons_guards_and_the_session_can_be_locked_again() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut guard = s.lock("a").blocking().expect("free");
    let mut commit = guard.commit();
    rig.complete(&mut commit).expect("durable");
    drop(commit);
    let set = s.lock_many(["b", "c"]).blocking().expect("free");
    guard.set("lost").expect("set");
    assert_eq!(guard.check(), Ok(()));
    rig.pass(20_000);
    let lost = |result| matches!(result, Err(Error::LeaseLost(_)));
    assert!(lost(guard.check()));
    assert!(lost(guard.commit().blocking().map(|_| ())));
    assert_eq!(
        guard.bytes(),
        Some(&b"lost"[..]),
        "a poisoned guard still returns its own writes"
    );
    let mut again = s.lock("a");
    assert!(matches!(
        rig.poll(&mut again),
        None | Some(Err(Error::LeaseLost(_)))
    ));
    drop(again);
    assert!(lost(guard.unlock()));
    assert!(lost(set.unlock()));
    rig.locks.connected();
    rig.pump();
    let mut again = s.lock("a");
    let guard = rig.complete(&mut again).expect("granted again");
    assert_eq!(
        guard.bytes(),
        Some(&b"0"[..]),
        "the store has the write of the first grant"
    );
}

#[test]
fn a_commit_is_durable_when_it_returns_and_keeps_the_lock() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut guard = s.lock("a").blocking().expect("free");
    guard
        .edit(|bytes| bytes[0] = b'1')
        .expect("the new value is as long as the old one");
    let mut commit = guard.commit();
    assert!(rig.poll(&mut commit).is_none());
    rig.pump();
    rig.poll(&mut commit).expect("answered").expect("durable");
    drop(commit);
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"1"[..]));
    assert_eq!(guard.bytes(), Some(&b"1"[..]));
    guard.set("2").expect("set");
    guard.discard();
    let guard = s.lock("a").blocking().expect("free");
    assert_eq!(guard.bytes(), Some(&b"1"[..]), "committed writes stay");
}

#[test]
fn a_write_beyond_a_limit_fails_and_loses_no_earlier_write() {
    let limits = Limits {
        attribute_bytes_max: 200,
        session_bytes_max: 300,
        attributes_max: 2,
        ..Limits::default()
    };
    let mut rig = Rig::with_limits(limits);
    rig.hold(&session(), &[("a", b"0"), ("b", b"0")]);
    let s = rig.locks.session(&session());
    let refused = |result: Result<(), Error>, by: Limited| {
        assert!(
            matches!(&result, Err(Error::Limit(own)) if own.limit == by),
            "{result:?}"
        );
    };
    let mut a = s.lock("a").blocking().expect("free");
    refused(a.set(vec![1; 201]), Limited::AttributeBytes);
    a.set(vec![1; 150]).expect("within");
    assert_eq!(a.bytes().map(<[u8]>::len), Some(150));
    let grown = a.edit(|bytes| bytes.resize(250, 2));
    refused(grown, Limited::AttributeBytes);
    assert_eq!(a.bytes(), Some(&[1; 150][..]));
    let mut b = s.lock("b").blocking().expect("free");
    refused(b.set(vec![1; 160]), Limited::SessionBytes);
    b.set(vec![1; 100]).expect("within");
    drop((a, b));
    let mut c = s.lock("c").blocking().expect("free");
    refused(c.set("one more"), Limited::Attributes);
    drop(c);
    let set = s.lock_all().blocking().expect("free");
    let sizes: Vec<usize> = set.attributes().map(|(_, value)| value.len()).collect();
    assert_eq!(sizes, [150, 100]);
}

#[test]
fn busy_shows_how_long_a_lock_is_held() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    rig.pass(40);
    let one = s.lock("a").blocking().expect("free");
    let line = line!() - 1;
    let many = s.lock_many(["b", "c"]).blocking().expect("free");
    let mut waits = s.lock("b");
    assert!(rig.poll(&mut waits).is_none());
    rig.pass(500);
    let busy = rig.locks.busy();
    assert_eq!(busy.len(), 1);
    let mut holders = busy[0].holders.clone();
    holders.sort_by_key(|holder| holder.place.line());
    assert_eq!(holders.len(), 2);
    assert_eq!(holders[0].place.line(), line);
    assert_eq!(holders[0].held_for, Duration::from_millis(500));
    assert!(holders[1].place.line() > line);
    assert_eq!(busy[0].waiters.len(), 1);
    drop((one, many, waits));
    assert!(rig.locks.busy().is_empty());
}

/// A thread that receives a handoff holds the lock from the moment of the handoff.
#[test]
fn busy_counts_a_hold_from_its_handoff() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    drop(s.lock("a").blocking().expect("free")); // From now on, the cell of the attribute is open.
    let first = s.lock("a").blocking().expect("free");
    let mut next = s.lock("a");
    let line = line!() - 1;
    assert!(rig.poll(&mut next).is_none());
    rig.pass(500);
    first.unlock().expect("in time");
    rig.pass(20);
    let guard = rig.poll(&mut next).expect("handed off").expect("granted");
    let holders = s.busy().holders;
    assert_eq!(
        (holders.len(), holders[0].held_for),
        (1, Duration::from_millis(20))
    );
    assert_eq!(holders[0].place.line(), line);
    drop(guard);
    assert!(s.busy().holders.is_empty());
}

/// A task that is kept alive only by its last waker, with all its guards.
struct Task {
    _keeps: std::sync::Mutex<Box<dyn std::any::Any + Send>>,
}

impl std::task::Wake for Task {
    fn wake(self: std::sync::Arc<Self>) {}
}

#[test]
fn dropping_the_last_waker_of_a_task_may_drop_the_awaited_guard() {
    let rig = Rig::holding(&[session()]);
    let s: &'static tenure_locks::Session = Box::leak(Box::new(rig.locks.session(&session())));
    let guard = s.lock("a").blocking().expect("free");
    let task = std::sync::Arc::new(Task {
        _keeps: std::sync::Mutex::new(Box::new(guard)),
    });
    let mut next = s.lock("a");
    {
        let waker = task.into();
        let mut context = std::task::Context::from_waker(&waker);
        assert!(std::pin::pin!(&mut next).poll(&mut context).is_pending());
    }
    // Another task now waits with its own waker. So the first task is dropped, and its guard is released.
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    assert!(std::pin::pin!(&mut next).poll(&mut context).is_pending());
    assert!(std::pin::pin!(&mut next).poll(&mut context).is_ready());
}

#[test]
fn an_idle_session_is_listed_and_an_unknown_session_is_forgotten() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    drop(s.lock("a").blocking().expect("free"));
    rig.pass(1_000);
    let idle = |rig: &mut Rig| {
        rig.locks.sweep(1_000);
        rig.locks.idle(Cached::Grant, 1_000, usize::MAX).len()
    };
    assert_eq!(idle(&mut rig), 1);
    let guard = s.lock("a").blocking().expect("free");
    assert_eq!(idle(&mut rig), 0, "a thread holds a lock in the session");
    drop(guard);
    drop(s);
    assert_eq!(idle(&mut rig), 0, "just used");
    rig.pass(1_000);
    assert_eq!(
        idle(&mut rig),
        1,
        "the idle session is listed, and its cells are freed"
    );
    let s = rig.locks.session(&session());
    assert_eq!(
        s.lock("a").blocking().expect("free").bytes(),
        Some(&b"0"[..])
    );
    drop(s);
    rig.locks.release(&session());
    rig.pump();
    rig.locks.sweep(1_000);
    let copies = rig.locks.idle(Cached::Copy, 0, usize::MAX);
    assert_eq!(copies.len(), 1, "the copy is kept as the base of a delta");
    rig.locks.forget(&session());
    rig.locks.sweep(1_000);
    assert_eq!((rig.locks.known(), rig.locks.entries()), (0, 0));
}

/// One task holds an attribute and others request it. Every second request is dropped, the holder leaves, and the
/// remaining requests get the lock in turn.
#[cfg(debug_assertions)] // Only a debug build counts the visits.
#[test]
fn each_request_in_a_long_queue_visits_few_waiters() {
    for count in [100, 3_000] {
        let mut rig = Rig::holding(&[session()]);
        let locks = rig.locks.clone();
        let s = locks.session(&session());
        let guard = s.lock("a").blocking().expect("free");
        let mut waiting: Vec<_> = (0..count).map(|_| Box::pin(s.lock("a"))).collect();
        for request in &mut waiting {
            assert!(rig.poll(request).is_none(), "the attribute is locked");
        }
        let mut place = 0;
        waiting.retain(|_| {
            place += 1;
            place % 2 == 0
        });
        drop(guard);
        for mut request in waiting {
            drop(rig.poll(&mut request).expect("its turn").expect("locked"));
        }
        let each = locks.waiter_visits(&session()) / count;
        assert!(each <= 40, "{count}: each request visited {each} waiters");
    }
}

#[test]
fn a_deadlock_fails_with_the_sessions_of_its_cycle() {
    let other = SessionId::from_static("r");
    let mut rig = Rig::holding(&[session(), other.clone()]);
    let (s, r) = (rig.locks.session(&session()), rig.locks.session(&other));
    let (mut s1, mut r2) = (s.lock("a"), r.lock("a"));
    let one = rig.poll(&mut s1).expect("free").expect("free");
    let two = rig.poll(&mut r2).expect("free").expect("free");
    let mut waits = r.lock("a").beside(one.thread());
    assert!(rig.poll(&mut waits).is_none());
    let refused = rig.poll(&mut s.lock("a").beside(two.thread()));
    let Some(Err(Error::Deadlock { cycle })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(cycle.len(), 2);
    drop(two);
    assert!(rig.poll(&mut waits).expect("its turn").is_ok());
}

#[test]
fn a_session_can_be_destroyed_or_renamed_by_its_lock_holder() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut all = s.lock_all().blocking().expect("free");
    let to = SessionId::from_static("to");
    let mut rename = Box::pin(all.rename(&to));
    rig.complete(&mut rename).expect("free");
    drop(rename);
    all.set("a", "renamed").expect("still locked");
    drop(all);
    let renamed = rig.locks.session(&to);
    let guard = renamed.lock("a").blocking().expect("free");
    assert_eq!(guard.bytes(), Some(&b"renamed"[..]));
    drop(guard);
    let all = renamed.lock_all().blocking().expect("free");
    let mut destroy = Box::pin(all.destroy());
    rig.complete(&mut destroy)
        .expect("the process holds the session");
    assert!(renamed.busy().holders.is_empty());
    let mut again = renamed.lock("a");
    let guard = rig
        .complete(&mut again)
        .expect("the session begins anew after its end");
    assert_eq!(guard.bytes(), None);
}

#[test]
fn a_commit_sent_after_the_answer_of_a_rename_uses_the_new_id() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut all = s.lock_all().blocking().expect("free");
    all.set("a", "renamed").expect("set");
    let to = SessionId::from_static("to");
    assert!(rig.poll(&mut Box::pin(all.rename(&to))).is_none());
    let twice = rig.poll(&mut Box::pin(all.rename(&to)));
    assert!(matches!(twice, Some(Err(_))), "{twice:?}");
    let mut commit = Box::pin(all.commit());
    rig.pump();
    rig.complete(&mut commit)
        .expect("the commit uses the new id");
    assert_eq!(rig.stored(&to, "a").as_deref(), Some(&b"renamed"[..]));
}

#[test]
fn a_shutdown_refuses_new_locks_and_gives_all_grants_back() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut guard = s.lock("a").blocking().expect("free");
    guard.set("last").expect("set");
    rig.locks.shutdown();
    let strange = std::thread::scope(|scope| {
        scope
            .spawn(|| s.lock("b").blocking().err())
            .join()
            .expect("no panic")
    });
    assert!(
        matches!(strange, Some(Error::ShuttingDown(_))),
        "{strange:?}"
    );
    drop(guard);
    rig.pump();
    assert!(rig.locks.has_left());
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"last"[..]));
}

#[test]
fn debug_output_contains_neither_values_nor_session_ids() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut guard = s.lock("a").blocking().expect("free");
    guard.set("secret").expect("the value is within the limits");
    let words = format!("{guard:?} {s:?} {:?}", rig.locks);
    drop(guard);
    let all = s.lock_all().blocking().expect("free");
    let words = format!("{words} {all:?}");
    assert!(
        words.contains("Guard") && !words.contains("secret"),
        "{words}"
    );
    // Debug output may show bytes as characters or as numbers.
    assert!(!words.contains("115, 101"), "{words}");
}

#[test]
fn a_guard_by_id_keeps_its_session_alive() {
    let mut rig = Rig::holding(&[session()]);
    let locks = rig.locks.clone();
    let id = session();
    let lock = || locks.lock(&id, "a").blocking().expect("free");
    for digit in b"123" {
        lock().edit(|bytes| bytes[0] = *digit).expect("as long");
    }
    let mut guard = lock();
    rig.pass(1_000);
    locks.sweep(0);
    guard
        .edit(|bytes| bytes[0] = b'4')
        .expect("the new value is as long as the old one");
    assert_eq!(guard.bytes(), Some(&b"4"[..]));
    assert_eq!(guard.session_id(), &id);
    // No other thread sees the change, even if the cell is closed while the guard exists.
    let again = locks.lock(&id, "a").beside(guard.thread()).try_lock();
    let again = again.blocking();
    assert!(matches!(&again, Err(Error::AlreadyLocked(_))), "{again:?}");
    locks.sweep(0);
    guard.edit(|bytes| bytes.push(b'!')).expect("small");
    guard
        .edit(|bytes| bytes.extend([b'?'; 100]))
        .expect("small");
    guard.unlock().expect("in time");
    let guard = lock();
    assert_eq!(guard.bytes().map(<[u8]>::len), Some(102));
    drop(guard);
    lock().set("5").expect("small");
    let mut guard = lock();
    guard.edit(|bytes| bytes[0] = b'6').expect("as long");
    guard.discard();
    assert_eq!(lock().bytes(), Some(&b"5"[..]));
    let mut waits = Box::pin(locks.lock(&id, "b"));
    let set = locks.session(&id);
    let set = set.lock_all().blocking().expect("free");
    assert!(rig.poll(&mut waits).is_none());
    drop(set);
    locks.sweep(0);
    drop(rig.complete(&mut waits).expect("handed off"));
}

/// The common prefix puts all names into one list, which is too short for all of them.
#[test]
fn many_attributes_with_a_common_prefix_are_separate() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let names: Vec<String> = (0..300).map(|at| format!("product-{at:03}")).collect();
    for round in 0..3_u8 {
        for (at, name) in names.iter().enumerate() {
            let mut guard = s.lock(name).blocking().expect("free");
            let old = (round > 0).then(|| vec![round - 1, at as u8]);
            assert_eq!(guard.bytes(), old.as_deref());
            guard.set(vec![round, at as u8]).expect("small");
            let mut next = s.lock(name);
            assert!(rig.poll(&mut next).is_none());
            guard.unlock().expect("in time");
            drop(rig.poll(&mut next).expect("let in").expect("granted"));
        }
    }
    rig.locks.release(&session());
    rig.pump();
    for (at, name) in names.iter().enumerate() {
        let stored = rig.stored(&session(), name);
        assert_eq!(stored.as_deref(), Some(&[2, at as u8][..]));
    }
}

#[test]
fn a_panic_under_a_lock_by_id_discards_the_changes() {
    let rig = Rig::holding(&[session()]);
    let id = session();
    let lock = || rig.locks.lock(&id, "a").blocking().expect("free");
    lock().edit(|bytes| bytes[0] = b'1').expect("as long");
    for is_reattached in [false, true] {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut guard = lock();
            if is_reattached {
                let again = rig.locks.lock(&id, "a").beside(guard.thread());
                again.try_lock().blocking().expect_err("locked already");
            }
            let _ = guard.edit(|bytes| {
                bytes[0] = b'9';
                panic!("on purpose");
            });
        }));
        assert!(result.is_err());
        assert_eq!(lock().bytes(), Some(&b"1"[..]));
        let discard = rig.locks.session(&id).last_discard();
        assert_eq!(
            discard
                .expect("the session records the discarded writes")
                .why,
            Discarded::Panic
        );
    }
}
