//! Waiting for an answer of the process: the same for tasks and for OS threads, which wait as a task with a waker that
//! unparks them. So both stand in one queue and are woken in one way.

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

/// How a wait ended. Small: it goes through the memory of both threads.
#[derive(Debug)]
pub(crate) enum Outcome {
    Locked(Box<Granted>),
    /// Locked, in its cell.
    Entered(HandedOver),
    Committed(Version),
    Destroyed,
    Renamed(Box<GrantRef>),
    Failed(Box<Error>),
}

const _: () = assert!(size_of::<Outcome>() <= 24);

/// Who waits for a lock, as the session knows it and as it knows itself. Whoever lets go of it last drops the names too: after a
/// handoff in a cell that is the session, which is in no hurry.
#[derive(Debug)]
#[repr(C)] // What both threads of a handoff read is together.
pub(crate) struct Waiter {
    pub(crate) wait: Wait,
    pub(crate) entrance: Entrance,
    pub(crate) names: Names,
    /// [`Hub::losses`](crate::hub::Hub::losses) when the wait began.
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

/// One wait. Answered once.
#[derive(Debug, Default)]
pub(crate) struct Wait(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    stage: Stage,
}

/// Whether a wait still counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// Its lock was taken back: what else it is answered comes too late.
    Expired,
    /// Its answer was fetched, or nobody will.
    Over,
}

impl Wait {
    /// Answers; gives back whom to wake, once nothing is locked any more.
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

    /// Answers; whoever else is about to do the same wakes.
    pub(crate) fn answer_early(&self, outcome: Outcome) {
        let mut waiting = lock(&self.0);
        if waiting.stage == Stage::Open {
            waiting.outcome = Some(outcome);
        }
    }

    /// Takes a lock back that was granted and not fetched, and fails the wait with `error`. Answers whom to wake.
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

    /// Nobody will fetch the answer. Gives it back if it is there, and the waker, which is to be dropped with nothing locked: the
    /// last waker of a task may drop its guards.
    pub(crate) fn close(&self) -> (Option<Outcome>, Option<Waker>) {
        let mut waiting = lock(&self.0);
        waiting.stage = Stage::Over;
        (waiting.outcome.take(), waiting.waker.take())
    }

    /// Whether the answer was fetched, or nobody will.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.0).stage == Stage::Over
    }

    /// The answer, or later a wake-up.
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
        // With nothing locked: the last waker of a task may drop its guards.
        drop(waiting);
        drop(earlier);
        Poll::Pending
    }

    /// Nobody polls any more, so nobody is to be woken; the answer is still kept.
    pub(crate) fn sleep(&self) {
        let waker = lock(&self.0).waker.take();
        drop(waker); // With nothing locked, as above.
    }

    /// What a session is since it was renamed, if that is the answer.
    pub(crate) fn renamed(&self) -> Option<GrantRef> {
        match &lock(&self.0).outcome {
            Some(Outcome::Renamed(to)) => Some(GrantRef::clone(to)),
            _ => None,
        }
    }

    /// The answer, if it is there.
    pub(crate) fn take(&self) -> Option<Outcome> {
        lock(&self.0).outcome.take()
    }
}

/// Wakes them all, also when a waker panics, and gives back the first panic. Nothing may be locked.
#[must_use = "a panic is to go on"]
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) -> std::thread::Result<()> {
    let mut result = Ok(());
    for waker in wakers {
        let woken = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        result = result.and(woken);
    }
    result
}

/// Does what a destructor has to do. While the thread unwinds, another panic that came out of a destructor would end the program.
pub(crate) fn in_drop(work: impl FnOnce()) {
    if std::thread::panicking() {
        let _ = catch_unwind(AssertUnwindSafe(work));
    } else {
        work();
    }
}

/// Polls `own` from this OS thread until there is an answer. `left` says how long to sleep at most before polling again.
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
