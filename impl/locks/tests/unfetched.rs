//! Locks that were granted and not taken: they go back at the deadline of their request.

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use support::{Rig, poll, session};
use tenure_locks::{Error, LockRequest, Session};
use tenure_protocol::ThreadId;

/// A waker that counts its wake-ups.
#[derive(Default)]
struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const LIMIT: Duration = Duration::from_secs(5);

fn ask(s: &Session, at: u64) -> Pin<Box<LockRequest<'_>>> {
    let thread = ThreadId((1 << 50) + at);
    Box::pin(s.lock("a").beside(thread).timeout(LIMIT))
}

fn is_late<T>(answer: &Poll<Result<T, Error>>) -> bool {
    matches!(answer, Poll::Ready(Err(Error::Deadline(_))))
}

#[test]
fn a_granted_lock_not_taken_by_its_deadline_goes_to_the_next_waiter() {
    // A single waiter receives the attribute in its cell. With two, the session grants the lock to the second.
    for waiters in [1, 2] {
        let mut rig = Rig::holding(&[session()]);
        let s = rig.locks.session(&session());
        let counts = Arc::new(Counts::default());
        let waker = Waker::from(Arc::clone(&counts));
        let mut context = Context::from_waker(&waker);
        let guard = s.lock("a").blocking().expect("cached");
        let mut requests: Vec<_> = (0..waiters).map(|at| ask(&s, at)).collect();
        for request in &mut requests {
            assert!(request.as_mut().poll(&mut context).is_pending());
        }
        rig.pass(1_000);
        let mut last = ask(&s, 9);
        assert!(last.as_mut().poll(&mut context).is_pending());
        drop(guard);
        assert_eq!(
            counts.0.load(Ordering::Relaxed),
            1,
            "the first waiter is granted the lock"
        );
        rig.pass(3_999);
        assert!(last.as_mut().poll(&mut context).is_pending());
        rig.pass(1);
        // The first request fails with its deadline. Those behind it were refused at the same deadline. The
        // last has a second left.
        let Poll::Ready(Ok(guard)) = last.as_mut().poll(&mut context) else {
            panic!("{waiters}: the lock goes to the last waiter");
        };
        for request in &mut requests {
            assert!(is_late(&request.as_mut().poll(&mut context)), "{waiters}");
        }
        assert_eq!(guard.bytes(), Some(&b"0"[..]));
        drop(guard);
        assert!(s.busy().holders.is_empty() && s.busy().waiters.is_empty());
    }
}

#[test]
fn a_granted_lock_set_not_taken_by_its_deadline_is_released_whole() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let guard = s.lock("a").blocking().expect("cached");
    let mut set = Box::pin(s.lock_many(["a", "b"]).timeout(LIMIT));
    assert!(poll(&mut set).is_none());
    drop(guard);
    assert_eq!(
        s.busy().holders.len(),
        1,
        "the granted request counts as a holder"
    );
    rig.pass(5_000);
    assert!(s.busy().holders.is_empty());
    drop(s.lock("b").blocking().expect("free again"));
    let fetched = poll(&mut set);
    assert!(
        matches!(fetched, Some(Err(Error::Deadline(_)))),
        "{fetched:?}"
    );
}

#[test]
fn a_recalled_session_is_released_if_its_lock_is_not_taken_by_the_deadline() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let guard = s.lock("a").blocking().expect("cached");
    let mut request = ask(&s, 0);
    assert!(poll(&mut request).is_none());
    drop(guard); // Dropped before the recall: otherwise, the request would queue behind the other process.
    rig.ask_elsewhere(&session());
    rig.pump();
    let held = |rig: &Rig| rig.held_elsewhere(&session()).is_some();
    assert!(!held(&rig), "the request that waited first holds the lock");
    rig.pass(5_000);
    rig.pump();
    assert!(held(&rig), "the session is given back to the store");
    assert!(matches!(poll(&mut request), Some(Err(Error::Deadline(_)))));
}

#[test]
fn a_grant_whose_lock_is_not_taken_is_cached_and_unlocked() {
    let mut rig = Rig::new();
    let s = rig.locks.session(&session());
    let mut request = ask(&s, 0);
    assert!(poll(&mut request).is_none());
    rig.pump();
    assert_eq!(s.busy().holders.len(), 1, "granted");
    rig.pass(5_000);
    assert!(s.busy().holders.is_empty());
    let messages = rig.messages;
    drop(s.lock("a").blocking().expect("cached"));
    assert_eq!(rig.messages, messages, "the next lock sends no message");
    rig.ask_elsewhere(&session());
    rig.pump();
    assert!(rig.held_elsewhere(&session()).is_some());
}

#[test]
fn a_task_polled_before_the_tick_after_its_deadline_gets_its_lock() {
    let mut rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let guard = s.lock("a").blocking().expect("cached");
    let mut request = ask(&s, 0);
    assert!(poll(&mut request).is_none());
    drop(guard);
    rig.pass(4_999);
    rig.pump(); // Carries the keep-alive.
    let guard = poll(&mut request).expect("let in").expect("in time");
    rig.pass(5_000);
    assert_eq!(guard.check(), Ok(()), "the deadline limits only the wait");
    assert_eq!(guard.unlock(), Ok(()));
}
