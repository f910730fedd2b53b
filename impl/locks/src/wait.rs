//! Waiting for an answer of the machine, for tasks and OS threads alike. An OS thread waits as a task whose waker
//! unparks the thread. So both stand in one queue and are woken in one way.

use crate::error::Error;
use crate::mutant::{self, LockMutant};
use crate::sync::{self, Mutex, lock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The result of a wait for a `T`.
pub(crate) type Outcome<T> = Result<T, Box<Error>>;

/// One wait for a `T`, which is answered once.
#[derive(Debug)]
pub(crate) struct Wait<T>(Mutex<Waiting<T>>);

#[derive(Debug)]
struct Waiting<T> {
    outcome: Option<Outcome<T>>,
    waker: Option<Waker>,
    stage: Stage,
}

/// The stage of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The lock was taken back after the deadline. Further answers are ignored.
    Expired,
    /// The answer was taken, or will never be taken.
    Over,
}

impl<T> Default for Wait<T> {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            outcome: None,
            waker: None,
            stage: Stage::Open,
        }))
    }
}

impl<T> Wait<T> {
    /// Stores the answer. Returns the waker to wake after all mutexes are released.
    #[inline(always)]
    pub(crate) fn answer(&self, outcome: Outcome<T>) -> Option<Waker> {
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
    pub(crate) fn answer_early(&self, outcome: Outcome<T>) {
        let mut waiting = lock(&self.0);
        if waiting.stage == Stage::Open {
            waiting.outcome = Some(outcome);
        }
    }

    /// Takes back a lock that was granted and not taken in time, and fails the wait with `error`. Returns the lock and
    /// the waker to wake.
    pub(crate) fn expire(&self, error: Error) -> Option<(T, Option<Waker>)> {
        let mut waiting = lock(&self.0);
        let granted = waiting.outcome.take_if(|outcome| outcome.is_ok())?.ok()?;
        waiting.stage = Stage::Expired;
        waiting.outcome = Some(Err(Box::new(error)));
        Some((granted, waiting.waker.take()))
    }

    /// Ends a wait whose answer will not be taken. Returns the answer if there is one, and the waker. The caller drops
    /// the waker without a mutex: the last waker of a task may drop the task's guards.
    pub(crate) fn close(&self) -> (Option<Outcome<T>>, Option<Waker>) {
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
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Outcome<T>> {
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

    /// Returns a copy of the answer, if there is one that is no error.
    pub(crate) fn peek(&self) -> Option<T>
    where
        T: Clone,
    {
        lock(&self.0).outcome.as_ref()?.as_ref().ok().cloned()
    }

    /// Takes the answer, if there is one.
    pub(crate) fn take(&self) -> Option<Outcome<T>> {
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
