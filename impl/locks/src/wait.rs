//! Waiting for an answer of the machine, for tasks and OS threads alike. An OS thread waits as a task whose waker
//! unparks the thread. So both stand in one queue and are woken in one way.

use crate::cell::{Entrance, HandedOver};
use crate::entry::Granted;
use crate::error::Error;
use crate::mutant::{self, LockMutant};
use crate::sync::{self, Mutex, lock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tenure_protocol::Version;
use tenure_protocol::message::GrantRef;
use tenure_protocol::process::Names;

/// The result of a wait. Small, since it passes through the memory of both threads.
#[derive(Debug)]
pub(crate) enum Outcome {
    Locked(Box<Granted>),
    /// The lock was handed off in its cell.
    Entered(HandedOver),
    Committed(Version),
    Destroyed,
    Renamed(Box<GrantRef>),
    Failed(Box<Error>),
}

const _: () = assert!(size_of::<Outcome>() <= 24);

/// A waiting lock request, shared by the session and the request. The last of the two owners frees the names. After a
/// handoff in a cell, that is the session, which is not in a hurry.
#[derive(Debug)]
#[repr(C)] // The fields that both threads of a handoff read come first, together.
pub(crate) struct Waiter {
    pub(crate) wait: Wait,
    pub(crate) entrance: Entrance,
    pub(crate) names: Names,
    /// The value of [`Hub::losses`](crate::hub::Hub::losses) when the wait began.
    pub(crate) losses: u64,
}

impl Waiter {
    pub(crate) fn new(entrance: Entrance, names: Names, losses: u64) -> Self {
        Self {
            wait: Wait::default(),
            entrance,
            names,
            losses,
        }
    }
}

/// One wait, which is answered once.
#[derive(Debug, Default)]
pub(crate) struct Wait(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    stage: Stage,
}

/// The stage of a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// The lock was taken back after the deadline. Further answers are ignored.
    Expired,
    /// The answer was taken, or will never be taken.
    Over,
}

impl Wait {
    /// Stores the answer. Returns the waker to wake after all mutexes are released.
    #[inline(always)]
    pub(crate) fn answer(&self, outcome: Outcome) -> Option<Waker> {
        let mut waiting = lock(&self.0);
        if waiting.stage == Stage::Open {
            waiting.outcome = Some(outcome);
        }
        waiting
            .waker
            .take()
            .filter(|_| !mutant::is(LockMutant::LostWakeup))
    }

    /// Stores the answer without a wake-up, for a caller after which another thread answers and wakes.
    pub(crate) fn answer_early(&self, outcome: Outcome) {
        let mut waiting = lock(&self.0);
        if waiting.stage == Stage::Open {
            waiting.outcome = Some(outcome);
        }
    }

    /// Takes back a lock that was granted and not taken in time, and fails the wait with `error`. Returns the lock and
    /// the waker to wake.
    pub(crate) fn expire(&self, error: Error) -> Option<(Outcome, Option<Waker>)> {
        let mut waiting = lock(&self.0);
        if !matches!(
            waiting.outcome,
            Some(Outcome::Locked(_) | Outcome::Entered(_))
        ) {
            return None;
        }
        waiting.stage = Stage::Expired;
        let failed = Outcome::Failed(Box::new(error));
        let granted = waiting.outcome.replace(failed)?;
        Some((granted, waiting.waker.take()))
    }

    /// Ends a wait whose answer will not be taken. Returns the answer if there is one, and the waker. The caller drops
    /// the waker without a mutex: the last waker of a task may drop the task's guards.
    pub(crate) fn close(&self) -> (Option<Outcome>, Option<Waker>) {
        let mut waiting = lock(&self.0);
        waiting.stage = Stage::Over;
        (waiting.outcome.take(), waiting.waker.take())
    }

    /// Returns whether the answer was taken, or will never be taken.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.0).stage == Stage::Over
    }

    /// Returns the answer, or registers the waker of the task.
    #[inline(always)]
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Outcome> {
        let mut waiting = lock(&self.0);
        if let Some(outcome) = waiting.outcome.take() {
            waiting.stage = Stage::Over;
            return Poll::Ready(outcome);
        }
        if mutant::is(LockMutant::WakerAfterLook) {
            drop(waiting);
            waiting = lock(&self.0);
        }
        let own = context.waker();
        let earlier = match &mut waiting.waker {
            Some(waker) if waker.will_wake(own) => None,
            waker => waker.replace(own.clone()),
        };
        // Dropped without a mutex: the last waker of a task may drop the task's guards.
        drop(waiting);
        drop(earlier);
        Poll::Pending
    }

    /// Removes the waker of a task that no longer polls. The answer can still be stored.
    pub(crate) fn sleep(&self) {
        let waker = lock(&self.0).waker.take();
        drop(waker); // Without a mutex, as above.
    }

    /// Returns the new id and grant, if the answer is a rename.
    pub(crate) fn renamed(&self) -> Option<GrantRef> {
        match &lock(&self.0).outcome {
            Some(Outcome::Renamed(to)) => Some(GrantRef::clone(to)),
            _ => None,
        }
    }

    /// Takes the answer, if there is one.
    pub(crate) fn take(&self) -> Option<Outcome> {
        lock(&self.0).outcome.take()
    }
}

/// Wakes all, even if a waker panics, and returns the first panic. The caller must hold no mutex.
#[must_use = "the caller must resume a panic of a waker"]
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) -> std::thread::Result<()> {
    let mut result = Ok(());
    for waker in wakers {
        let woken = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        result = result.and(woken);
    }
    result
}

/// Runs the work of a destructor. While the thread unwinds, a second panic out of a destructor would abort the program,
/// so it is caught.
pub(crate) fn in_drop(work: impl FnOnce()) {
    if std::thread::panicking() {
        let _ = catch_unwind(AssertUnwindSafe(work));
    } else {
        work();
    }
}

/// Polls `own` on this OS thread until it is ready. `left` returns the maximum time to sleep before the next poll.
#[inline]
pub(crate) fn block_on<S, R>(
    mut own: S,
    poll: impl Fn(&mut S, &Context<'_>) -> Poll<R>,
    left: impl Fn(&S) -> Duration,
) -> R {
    sync::with_thread_waker(|waker| {
        let context = Context::from_waker(waker);
        loop {
            if let Poll::Ready(result) = poll(&mut own, &context) {
                return result;
            }
            sync::park(left(&own));
        }
    })
}
