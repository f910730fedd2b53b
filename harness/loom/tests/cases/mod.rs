//! The scenes as data, so that they can run with the sound machine and with each mutant.

#![allow(dead_code)] // Each test file uses only some of these items.

#[path = "../../../../impl/locks/tests/support/mod.rs"]
mod support;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::sync::atomic::{AtomicU64, Ordering as Plain};
use support::{Rig, poll, session};
use tenure_locks::{Guard, Locks, Session};

/// A small scene, and the bounds of its exploration.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// loom's bound on preemptions: switches that a thread did not request.
    pub(crate) preemptions: usize,
    /// The minimum number of interleavings.
    pub(crate) interleavings: u64,
    run: fn(),
}

macro_rules! cases {
    ($($name:ident, $preemptions:literal preemptions, $interleavings:literal interleavings;)+) => {
        pub(crate) const CASES: &[Case] = &[
            $(Case {
                name: stringify!($name),
                preemptions: $preemptions,
                interleavings: $interleavings,
                run: $name,
            },)+
        ];
    };
}

cases! {
    lock_and_unlock, 6 preemptions, 2_550 interleavings;
    lock_and_unlock_three, 3 preemptions, 158_000 interleavings;
    handoff, 6 preemptions, 366 interleavings;
    several_attributes, 6 preemptions, 140_000 interleavings;
    recall_while_inside, 3 preemptions, 12_300 interleavings;
    recall_against_a_new_thread, 4 preemptions, 12_000 interleavings;
    handoff_against_recall, 3 preemptions, 7_600 interleavings;
    handoff_against_deadline, 6 preemptions, 7_900 interleavings;
    handoff_against_revoke, 3 preemptions, 15_000 interleavings;
    handoff_against_look, 6 preemptions, 50_000 interleavings;
    limit_against_a_new_thread, 6 preemptions, 14_500 interleavings;
    handoff_against_cycle, 3 preemptions, 6_700 interleavings;
    cancel_against_grant, 6 preemptions, 4_760 interleavings;
    drop_against_wake_up, 6 preemptions, 4_570 interleavings;
    revoke_while_inside, 4 preemptions, 7_100 interleavings;
    revoke_against_a_new_thread, 3 preemptions, 11_100 interleavings;
    lease_against_a_cached_lock, 3 preemptions, 130 interleavings;
    two_handles_at_once, 2 preemptions, 4_320 interleavings;
    panic_inside, 6 preemptions, 3_380 interleavings;
    sweep_against_a_lock_by_id, 4 preemptions, 16_200 interleavings;
    sweep_against_a_handoff_by_id, 3 preemptions, 40_000 interleavings;
    sweep_after_a_handoff_by_id, 3 preemptions, 1_560 interleavings;
    recall_against_a_lock_by_id, 4 preemptions, 13_900 interleavings;
    retire_against_a_lock_by_id, 4 preemptions, 17_100 interleavings;
}

/// The message of a scene that was cut short.
pub(crate) const TOO_FEW: &str = "too few interleavings were explored";

/// Explores every interleaving of a scene within its bound, and prints their number.
pub(crate) fn explore(case: &Case) {
    let seen = std::sync::Arc::new(AtomicU64::new(0));
    let counts = std::sync::Arc::clone(&seen);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(case.preemptions);
    builder.max_branches = 100_000;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.checkpoint_file = None;
    let run = case.run;
    builder.check(move || {
        counts.fetch_add(1, Plain::Relaxed);
        run();
    });
    let seen = seen.load(Plain::Relaxed);
    println!(
        "{}: {seen} interleavings with at most {} preemptions",
        case.name, case.preemptions
    );
    assert!(
        seen >= case.interleavings,
        "{}: {TOO_FEW}: {seen}, of at least {}",
        case.name,
        case.interleavings
    );
}

/// Returns a rig as [`warm`] does, without a handle, for locks by id. The attribute "a" was changed in place once, to
/// "1".
fn warm_by_id() -> Rig {
    let (rig, s) = warm();
    drop(s);
    count_by_id(&rig.locks, "a");
    rig
}

/// Returns a session that the process holds and whose attribute "a" has an open cell.
fn warm() -> (Rig, Session) {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    drop(s.lock("a").blocking().expect("free"));
    (rig, s)
}

/// Adds one to the digit in an attribute.
fn count(s: &Session, name: &str) {
    add(s.lock(name).blocking().expect("granted"));
}

/// Adds one to the digit in an attribute, with a lock by session id.
fn count_by_id(locks: &Locks, name: &str) {
    add(locks.lock(&session(), name).blocking().expect("granted"));
}

fn add(mut guard: Guard<'_>) {
    guard
        .edit(|bytes| match bytes.first_mut() {
            Some(digit) => *digit += 1,
            None => bytes.push(b'1'),
        })
        .expect("small");
}

fn value(s: &Session, name: &str) -> Option<u8> {
    let guard = s.lock(name).blocking().expect("granted");
    guard.bytes().map(|bytes| bytes[0])
}

fn spawn<R: 'static>(work: impl FnOnce() -> R + 'static) -> loom::thread::JoinHandle<R> {
    loom::thread::spawn(work)
}

/// Carries messages on another thread until the manager has left, after a first action.
fn drive(mut rig: Rig, first: impl FnOnce(&mut Rig) + 'static) -> loom::thread::JoinHandle<Rig> {
    loom::thread::spawn(move || {
        first(&mut rig);
        rig.drive();
        rig
    })
}

/// Two threads increment a counter: no increment is lost, and no thread waits for ever.
fn lock_and_unlock() {
    let (_rig, s) = warm();
    let two = s.clone();
    let thread = spawn(move || count(&two, "a"));
    count(&s, "a");
    thread.join().expect("no panic");
    assert_eq!(value(&s, "a"), Some(b'2'));
}

fn lock_and_unlock_three() {
    let (_rig, s) = warm();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let s = s.clone();
            spawn(move || count(&s, "a"))
        })
        .collect();
    count(&s, "a");
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(value(&s, "a"), Some(b'3'));
}

/// A thread that sleeps for a lock is woken with the lock.
fn handoff() {
    let (_rig, s) = warm();
    let guard = s.lock("a").blocking().expect("free");
    let two = s.clone();
    let thread = spawn(move || {
        let guard = two.lock("a").blocking().expect("handed off");
        assert_eq!(guard.bytes(), Some(&b"1"[..]));
    });
    let mut guard = guard;
    guard.set("1").expect("small");
    guard.unlock().expect("in time");
    thread.join().expect("no panic");
}

/// One thread locks several attributes at once, and another thread locks each of them in the opposite order.
fn several_attributes() {
    let (_rig, s) = warm();
    let two = s.clone();
    let thread = spawn(move || {
        let mut set = two.lock_many(["b", "a"]).blocking().expect("granted");
        for name in ["a", "b"] {
            set.edit(name, |bytes| match bytes.first_mut() {
                Some(digit) => *digit += 1,
                None => bytes.push(b'1'),
            })
            .expect("small");
        }
    });
    count(&s, "a");
    count(&s, "b");
    thread.join().expect("no panic");
    assert_eq!((value(&s, "a"), value(&s, "b")), (Some(b'2'), Some(b'2')));
}

/// A recall waits for the thread inside, and the writes of that thread go back with the session.
fn recall_while_inside() {
    let (mut rig, s) = warm();
    let mut guard = s.lock("a").blocking().expect("free");
    rig.passes_on = true;
    let thread = {
        let s = s.clone();
        spawn(move || count(&s, "b"))
    };
    let locks = rig.locks.clone();
    let driver = drive(rig, |rig| rig.ask_elsewhere(&session()));
    guard.set("1").expect("small");
    guard.unlock().expect("the recall waits for it");
    thread.join().expect("no panic");
    locks.shutdown();
    let rig = driver.join().expect("no panic");
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"1"[..]));
    assert_eq!(rig.stored(&session(), "b").as_deref(), Some(&b"1"[..]));
}

/// A recall races with a new thread: the thread enters before the recall, or waits until the session comes back.
fn recall_against_a_new_thread() {
    let (mut rig, s) = warm();
    rig.passes_on = true;
    let locks = rig.locks.clone();
    let driver = drive(rig, |rig| rig.ask_elsewhere(&session()));
    count(&s, "a");
    locks.shutdown();
    let rig = driver.join().expect("no panic");
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"1"[..]));
}

/// A handoff races with a recall: the receiver gets the lock under this grant or under the next one.
fn handoff_against_recall() {
    let (mut rig, s) = warm();
    let guard = s.lock("a").blocking().expect("free");
    let mut waits = s
        .lock("a")
        .beside(tenure_protocol::ThreadId(u64::MAX >> 10));
    assert!(rig.poll(&mut waits).is_none());
    rig.passes_on = true;
    let locks = rig.locks.clone();
    let driver = drive(rig, |rig| rig.ask_elsewhere(&session()));
    let mut guard = guard;
    guard.set("1").expect("small");
    guard
        .unlock()
        .expect("the recall waits until this guard is released");
    let mut guard = waits.blocking().expect("granted");
    assert_eq!(guard.bytes(), Some(&b"1"[..]));
    guard.set("2").expect("small");
    guard
        .unlock()
        .expect("the recall waits until this guard is released");
    locks.shutdown();
    let rig = driver.join().expect("no panic");
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"2"[..]));
}

/// A handoff races with the deadline of the receiver: the receiver gets the lock or not, and no request or lock is left
/// behind.
fn handoff_against_deadline() {
    let (mut rig, s) = warm();
    let owner = s.clone();
    let thread = spawn(move || {
        drop(
            owner
                .lock("a")
                .blocking()
                .expect("the lock is free or is handed off"),
        );
    });
    let mut waits = s.lock("a").timeout(std::time::Duration::from_millis(10));
    let polled = rig.poll(&mut waits);
    rig.pass(20);
    let polled = polled.or_else(|| rig.poll(&mut waits));
    match polled.expect("the request has been answered") {
        Ok(guard) => drop(guard),
        Err(error) => assert!(matches!(error, tenure_locks::Error::Deadline(_)), "{error}"),
    }
    thread.join().expect("no panic");
    assert_eq!(value(&s, "a"), Some(b'0'));
    assert!(s.busy().waiters.is_empty() && s.busy().holders.is_empty());
}

/// A handoff races with the end of the lease: a thread that has lost the grant gets an error, and its writes are
/// discarded.
fn handoff_against_revoke() {
    let (mut rig, s) = warm();
    let guard = s.lock("a").blocking().expect("free");
    let mut waits = s
        .lock("a")
        .beside(tenure_protocol::ThreadId(u64::MAX >> 10));
    assert!(rig.poll(&mut waits).is_none());
    let locks = rig.locks.clone();
    let driver = drive(rig, |rig| {
        rig.pass(20_000);
        rig.locks.connected();
    });
    let mut guard = guard;
    // The write fails at once, or the guard fails later when it leaves: both are correct.
    let _ = guard.set("1");
    let first = guard.unlock();
    let mut kept = None;
    let second = waits.blocking().and_then(|mut guard| {
        let before = guard.bytes().map(<[u8]>::to_vec);
        guard.set("2")?;
        guard.unlock()?;
        kept = Some(before);
        Ok(())
    });
    for result in [&first, &second] {
        let is_lost = matches!(result, Err(error) if error.is_lost());
        assert!(result.is_ok() || is_lost, "{result:?}");
    }
    if let Some(before) = &kept {
        let is_under_the_same = before.as_deref() == Some(b"1");
        assert!(
            is_under_the_same || before.is_none(),
            "no write of the lost grant remains: {before:?}"
        );
        assert!(!is_under_the_same || first.is_ok(), "{first:?}");
    }
    assert!(s.busy().waiters.is_empty() && s.busy().holders.is_empty());
    locks.shutdown();
    let rig = driver.join().expect("no panic");
    let stored = rig.stored(&session(), "a");
    assert!(
        stored.as_deref() != Some(&b"1"[..]),
        "the write of a valid grant was overwritten or lost"
    );
}

/// A write beyond a limit is refused while another thread begins to wait, without a recall. The writing thread then
/// sees the value from before the write.
fn limit_against_a_new_thread() {
    let limits = tenure_protocol::config::Limits {
        attribute_bytes_max: 1,
        ..Default::default()
    };
    let mut rig = Rig::with_limits(limits);
    rig.hold(&session(), &[("a", b"0")]);
    let s = rig.locks.session(&session());
    let mut guard = s.lock("a").blocking().expect("free");
    let thread = {
        let s = s.clone();
        spawn(move || assert_eq!(value(&s, "a"), Some(b'0')))
    };
    let refused = guard.edit(|bytes| bytes.push(b'1'));
    assert!(matches!(refused, Err(tenure_locks::Error::Limit(..))));
    assert_eq!(guard.bytes(), Some(&b"0"[..]));
    assert!(!guard.recalled());
    drop(guard);
    thread.join().expect("no panic");
}

/// A handoff races with a third thread that looks at the session and then locks it: at most one thread is inside at any
/// time.
fn handoff_against_look() {
    let (mut rig, s) = warm();
    let mut guard = s.lock("a").blocking().expect("free");
    let first = guard.thread();
    let next = tenure_protocol::ThreadId(u64::MAX >> 10);
    let mut waits = s.lock("a").beside(next);
    assert!(rig.poll(&mut waits).is_none());
    let thread = {
        let s = s.clone();
        spawn(move || {
            let busy = s.busy();
            let inside: Vec<_> = busy.holders.iter().map(|holder| holder.thread).collect();
            match &inside[..] {
                [own] if *own == first => assert_eq!(busy.waiters, [next]),
                [own] if *own == next => assert_eq!(busy.waiters, []),
                others => assert_eq!((others, &busy.waiters[..]), (&[][..], &[][..])),
            }
            count(&s, "b");
        })
    };
    guard.set("1").expect("small");
    guard.unlock().expect("in time");
    add(waits.blocking().expect("handed off"));
    thread.join().expect("no panic");
    assert_eq!((value(&s, "a"), value(&s, "b")), (Some(b'2'), Some(b'1')));
}

/// Two threads lock two sessions in opposite order, one of them twice, so that a wait ends without the machine in
/// between. The thread that closes the cycle gets an error, and no thread waits for ever.
fn handoff_against_cycle() {
    let two = tenure_protocol::SessionId::from_static("t");
    let rig = Rig::holding(&[session(), two.clone()]);
    let (s, t) = (rig.locks.session(&session()), rig.locks.session(&two));
    let first = s.lock("a").blocking().expect("free");
    let thread = {
        let (s, t) = (s.clone(), t.clone());
        spawn(move || {
            let own = s.lock("a").blocking().expect("handed off");
            drop(t.lock("a").blocking());
            drop(own);
        })
    };
    drop(first);
    let own = t
        .lock("a")
        .blocking()
        .expect("the other thread locks this attribute last");
    drop(s.lock("a").blocking());
    drop(own);
    thread.join().expect("no panic");
    assert!(s.busy().waiters.is_empty() && s.busy().holders.is_empty());
    assert!(t.busy().waiters.is_empty() && t.busy().holders.is_empty());
}

/// A request is withdrawn while its lock is granted.
fn cancel_against_grant() {
    let (mut rig, s) = warm();
    let guard = s.lock("a").blocking().expect("free");
    let mut waits = s
        .lock("a")
        .beside(tenure_protocol::ThreadId(u64::MAX >> 10));
    assert!(rig.poll(&mut waits).is_none());
    let thread = {
        let s = s.clone();
        spawn(move || {
            drop(s.lock("b").blocking());
        })
    };
    drop(guard);
    drop(waits);
    thread.join().expect("no panic");
    assert_eq!(value(&s, "a"), Some(b'0'));
    assert!(s.busy().waiters.is_empty() && s.busy().holders.is_empty());
}

/// A future is dropped on one thread while another thread wakes it.
fn drop_against_wake_up() {
    let (_rig, s) = warm();
    let owner = s.clone();
    let flag = Arc::new(AtomicUsize::new(0));
    let raised = Arc::clone(&flag);
    let thread = spawn(move || {
        let guard = owner
            .lock("a")
            .blocking()
            .expect("the lock is free or is handed off");
        raised.store(1, Ordering::Release);
        drop(guard);
    });
    {
        let mut request = s.lock("a");
        drop(poll(&mut request));
        drop(request);
    }
    thread.join().expect("no panic");
    assert_eq!(value(&s, "a"), Some(b'0'));
    assert!(s.busy().waiters.is_empty() && s.busy().holders.is_empty());
}

/// The lease ends while a thread is inside: the thread gets an error, and its writes are discarded.
fn revoke_while_inside() {
    let (rig, s) = warm();
    let locks = rig.locks.clone();
    let mut guard = s.lock("a").blocking().expect("free");
    let ended = Arc::new(AtomicUsize::new(0));
    let ends = Arc::clone(&ended);
    let driver = drive(rig, move |rig| {
        rig.pass(20_000);
        ends.store(1, Ordering::Release);
        rig.locks.connected();
    });
    // The write fails at once, or the guard fails later when it leaves: both are correct.
    let _ = guard.set("1");
    let has_ended = ended.load(Ordering::Acquire) == 1;
    let result = guard.unlock();
    let is_poisoned = matches!(&result, Err(error) if error.is_lost());
    assert!(result.is_ok() || is_poisoned, "{result:?}");
    assert!(
        is_poisoned || !has_ended,
        "the guard reported success although its grant was lost"
    );
    locks.shutdown();
    let rig = driver.join().expect("no panic");
    if is_poisoned {
        assert_eq!(
            rig.stored(&session(), "a"),
            None,
            "no write of the lost grant remains"
        );
    }
}

/// The lease ends while a thread enters: the thread loses the grant, or gets the next one.
fn revoke_against_a_new_thread() {
    let (mut rig, s) = warm();
    let locks = rig.locks.clone();
    let lost = Arc::new(AtomicUsize::new(0));
    let loses = Arc::clone(&lost);
    let thread = spawn(move || {
        let left = s.lock("a").blocking().and_then(|mut guard| {
            // The write fails at once, or the guard fails later when it leaves: both are correct.
            let _ = guard.set("1");
            guard.unlock()
        });
        if let Err(error) = left {
            assert!(error.is_lost(), "{error}");
            loses.store(1, Ordering::Relaxed);
        }
        assert!(s.busy().holders.is_empty());
        locks.shutdown();
    });
    rig.pass(20_000);
    rig.locks.connected();
    rig.drive();
    thread.join().expect("no panic");
    if lost.load(Ordering::Relaxed) == 1 {
        assert_eq!(
            rig.stored(&session(), "a"),
            None,
            "no write of the lost grant remains"
        );
    }
}

/// The lease ends by the clock, and the tick runs later, while a thread locks a cached attribute. The thread gets no
/// guard under the ended grant.
fn lease_against_a_cached_lock() {
    let (mut rig, s) = warm();
    let end = rig.locks.lease().expect("a lease");
    let token = s.lock("a").blocking().expect("free").token();
    let ended = Arc::new(AtomicUsize::new(0));
    let ends = Arc::clone(&ended);
    let thread = spawn(move || {
        let has_ended = ends.load(Ordering::Acquire) == 1;
        let mut request = s.lock("a");
        if let Some(Ok(guard)) = poll(&mut request) {
            assert!(
                !has_ended || guard.token() != token,
                "a guard was granted after the end of its lease"
            );
        }
    });
    rig.locks.set_time(end.after(1));
    ended.store(1, Ordering::Release);
    rig.pass(20_000);
    thread.join().expect("no panic");
}

/// Two threads open a session at the same time, and get handles to the same entry.
fn two_handles_at_once() {
    let rig = Rig::new();
    let locks = rig.locks.clone();
    let other = locks.clone();
    let driver = drive(rig, |_| {});
    let thread = loom::thread::spawn(move || {
        let s = other.session(&session());
        count(&s, "a");
        s
    });
    let s = locks.session(&session());
    count(&s, "a");
    let again = thread.join().expect("no panic");
    assert!(
        s.is_same(&again),
        "two handles to one session are not the same"
    );
    locks.shutdown();
    let rig = driver.join().expect("no panic");
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"2"[..]));
}

/// A thread panics inside: its writes are discarded, and the next thread sees the value from before.
fn panic_inside() {
    let (_rig, s) = warm();
    let two = s.clone();
    let thread = spawn(move || {
        let mut guard = two.lock("a").blocking().expect("granted");
        guard.set("9").expect("small");
        tenure_locks::pretend_to_unwind(true);
        drop(guard);
    });
    count(&s, "a");
    thread.join().expect("no panic");
    assert_eq!(value(&s, "a"), Some(b'1'));
    assert!(s.last_discard().is_some());
}

/// The memory of an unused session is freed while a thread enters by session id.
fn sweep_against_a_lock_by_id() {
    let rig = warm_by_id();
    let locks = rig.locks.clone();
    let thread = spawn(move || count_by_id(&locks, "a"));
    rig.locks.sweep(0);
    count_by_id(&rig.locks, "a");
    thread.join().expect("no panic");
    assert_eq!(value(&rig.locks.session(&session()), "a"), Some(b'3'));
}

/// The memory is freed during a handoff by session id: the receiver owns the entry while it waits, and drops that owner
/// inside.
fn sweep_against_a_handoff_by_id() {
    let rig = warm_by_id();
    let id = session();
    let guard = rig.locks.lock(&id, "a").blocking().expect("free");
    let locks = rig.locks.clone();
    let thread = spawn(move || count_by_id(&locks, "a"));
    let locks = rig.locks.clone();
    let sweeper = spawn(move || locks.sweep(0));
    add(guard);
    thread.join().expect("no panic");
    sweeper.join().expect("no panic");
    assert_eq!(value(&rig.locks.session(&id), "a"), Some(b'3'));
}

/// The sender of a handoff by session id is slow: another thread settles the handoff, and the receiver leaves and frees
/// the memory before the sender is done.
fn sweep_after_a_handoff_by_id() {
    let rig = warm_by_id();
    let id = session();
    let guard = rig.locks.lock(&id, "a").blocking().expect("free");
    let locks = rig.locks.clone();
    let thread = spawn(move || {
        let id = session();
        let mut request = locks.lock(&id, "a");
        let mut polled = poll(&mut request);
        if polled.is_none() {
            drop(locks.session(&id).busy());
            polled = poll(&mut request);
        }
        let has_left = polled
            .map(|guard| add(guard.expect("the lock is free or is handed off")))
            .is_some();
        drop(request);
        locks.sweep(0);
        has_left
    });
    add(guard);
    let has_left = thread.join().expect("no panic");
    let digit = b'2' + u8::from(has_left);
    assert_eq!(value(&rig.locks.session(&id), "a"), Some(digit));
}

/// A recall races with a thread that enters by session id.
fn recall_against_a_lock_by_id() {
    let mut rig = warm_by_id();
    rig.passes_on = true;
    let locks = rig.locks.clone();
    let driver = drive(rig, |rig| rig.ask_elsewhere(&session()));
    count_by_id(&locks, "a");
    locks.shutdown();
    let rig = driver.join().expect("no panic");
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"2"[..]));
}

/// A session is given back and forgotten while a thread enters by session id: the thread enters before, or gets the
/// session again.
fn retire_against_a_lock_by_id() {
    let rig = warm_by_id();
    let locks = rig.locks.clone();
    let driver = drive(rig, |rig| {
        rig.locks.release(&session());
        rig.pump();
        rig.locks.forget(&session());
        rig.locks.sweep(0);
    });
    count_by_id(&locks, "a");
    locks.shutdown();
    let rig = driver.join().expect("no panic");
    assert_eq!(rig.stored(&session(), "a").as_deref(), Some(&b"2"[..]));
}
