//! The common part of both kinds of lock request: asks the machine for the lock, and waits for its answer.
//!
//! From the poll of a request to the machine, a thread passes three functions of the slow path: `poll_slowly` of the
//! request, [`Request::ask`], and [`Step::call`](crate::step::Step::call).

use crate::cell::Entrance;
use crate::entry::Entered;
use crate::error::Error;
use crate::event::Event;
use crate::session::Session;
use crate::session_ref::{GuardSession, Opened, SessionRef};
use crate::sync::Arc;
use crate::wait::{block_on, in_drop};
use crate::waiter::Waiter;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tenure_protocol::message::{Refusal, WaitMode};
use tenure_protocol::process::{Call, Names};
use tenure_protocol::{ThreadId, Time};

/// The default time limit of a lock request, in milliseconds. Rule 17: every wait has a deadline.
pub const WAIT_MS: u64 = 60_000;

/// The options of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) wait_mode: WaitMode,
    /// Lock only a session that exists.
    pub(crate) existing: bool,
    /// The deadline on the manager's clock. [`Time::ZERO`] means [`WAIT_MS`] after the wait begins.
    pub(crate) until: Time,
    /// The requesting thread. 0 means the thread that polls.
    pub(crate) thread: ThreadId,
    place: &'static Location<'static>,
}

/// A request that waits. Dropping it withdraws the request.
#[derive(Debug)]
pub(crate) struct Waiting<'s> {
    session: Opened<'s>,
    pub(crate) waiter: Arc<Waiter>,
    until: Time,
    is_answered: bool,
}

/// The result of a request.
pub(crate) type Answer<'s> = Result<(GuardSession<'s>, Entered<'s>), Error>;

/// The state of a request after its first attempt.
pub(crate) enum Made<'s, A> {
    Answered(A),
    Waits(Waiting<'s>),
}

impl<'s> Waiting<'s> {
    /// Returns the result. Must not be called again after `Ready`.
    #[inline(always)]
    fn poll(&mut self, context: &Context<'_>) -> Poll<Answer<'s>> {
        if let Err(forked) = self.session.hub.refuse_forked() {
            self.is_answered = true;
            return Poll::Ready(Err(forked));
        }
        let Poll::Ready(outcome) = self.waiter.wait.poll(context) else {
            return Poll::Pending;
        };
        self.is_answered = true;
        let entered = match outcome {
            Ok(answer) => self.session.take(answer, self.waiter.entrance),
            Err(error) => return Poll::Ready(Err(*error)),
        };
        let Session { hub, entry } = &*self.session;
        match hub.still_stands(entry, &self.waiter) {
            Ok(()) => Poll::Ready(Ok(entered)),
            Err(lost) => Poll::Ready(Err(self.leave_lost(entered, lost))),
        }
    }

    /// Leaves attributes whose grant was lost before the request was polled.
    #[cold]
    #[inline(never)]
    fn leave_lost(&self, (_, entered): (GuardSession<'s>, Entered<'s>), lost: Error) -> Error {
        let Session { hub, entry } = &*self.session;
        let Waiter {
            entrance, names, ..
        } = &*self.waiter;
        let held = match entered {
            Entered::Cell(held) => Some(held),
            Entered::Session(_) => None,
        };
        // The result would report the lost grant a second time.
        let _ = hub.leave(entry, entrance.thread, names, false, held);
        lost
    }

    /// Returns how long a waiting OS thread may sleep. After its deadline, the thread ends its own wait without a
    /// driver.
    fn left(&self) -> Duration {
        let Session { hub, entry } = &*self.session;
        let left = hub.clock.until(self.until);
        if left.is_zero() {
            hub.end_wait(entry, self.waiter.entrance.thread);
        }
        left
    }

    /// Blocks this OS thread until there is a result.
    #[inline(always)]
    pub(crate) fn block(&mut self) -> Answer<'s> {
        let Session { hub, entry } = &*self.session;
        hub.refuse_forked()?;
        hub.may_sleep(entry, &self.waiter)?;
        block_on(self, |own, context| own.poll(context), |own| own.left())
    }

    #[cold]
    #[inline(never)]
    fn abandon(&self) {
        let Session { hub, entry } = &*self.session;
        hub.abandon(entry, &self.waiter);
    }
}

impl Drop for Waiting<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_answered {
            in_drop(|| self.abandon());
        }
    }
}

/// The common part of both kinds of request.
#[derive(Debug)]
pub(crate) struct Request<'s> {
    pub(crate) of: SessionRef<'s>,
    pub(crate) manner: Manner,
    /// Boxed, so that a request without a wait is small.
    pub(crate) waiting: Option<Box<Waiting<'s>>>,
}

impl<'s> Request<'s> {
    #[inline(always)]
    pub(crate) fn new(of: SessionRef<'s>, place: &'static Location<'static>) -> Self {
        Self {
            of,
            manner: Manner {
                wait_mode: WaitMode::Wait,
                existing: false,
                until: Time::ZERO,
                thread: ThreadId(0),
                place,
            },
            waiting: None,
        }
    }

    #[inline(always)]
    pub(crate) fn entrance(&self, thread: impl FnOnce() -> ThreadId) -> Entrance {
        Entrance {
            thread: match self.manner.thread {
                ThreadId(0) => thread(),
                own => own,
            },
            place: self.manner.place,
            now: self.of.hub().clock.coarse(),
        }
    }

    /// Returns whether the request may enter an open cell directly. A request for an existing session may not: a cell
    /// does not know whether the session exists.
    #[inline(always)]
    pub(crate) fn may_enter_cell(&self) -> bool {
        self.waiting.is_none() && !self.manner.existing
    }

    /// Requests the lock from the machine.
    pub(crate) fn ask(
        &self,
        session: Opened<'s>,
        names: &Names,
        entrance: Entrance,
    ) -> Made<'s, Answer<'s>> {
        let Session { hub, entry } = &*session;
        if let Err(forked) = hub.refuse_forked() {
            return Made::Answered(Err(forked));
        }
        let until = match self.manner.until {
            Time::ZERO => hub.clock.now().after(WAIT_MS),
            until => until,
        };
        let mut step = hub.step();
        // From here on, only this step can grant the lock.
        step.reattach(entry);
        let losses = hub.losses.load(Ordering::Relaxed);
        let waiter = Arc::new(Waiter::new(entrance, names.clone(), losses));
        let is_noted = entry.lock().state.note_waiting(Arc::clone(&waiter));
        if !is_noted {
            step.finish();
            return Made::Answered(Err(hub.refused(&entry.id, Refusal::AlreadyLocked)));
        }
        let call = Call::Lock {
            names: names.clone(),
            wait_mode: self.manner.wait_mode,
            existing: self.manner.existing,
            until,
        };
        step.call(entry, entrance.thread, &call);
        let answer = waiter.wait.take();
        if answer.is_none() {
            step.machine.events.push_back(Event::Until(until));
            let (id, waiter) = (entry.id.clone(), Arc::clone(&waiter));
            step.machine.unfetched.note(until, id, waiter);
        }
        let finished = catch_unwind(AssertUnwindSafe(|| step.finish()));
        if let Err(panicked) = finished {
            // A waker has panicked, and only this call knows of the request.
            if let Some(answer) = answer {
                waiter.wait.answer_early(answer);
            }
            hub.abandon(entry, &waiter);
            resume_unwind(panicked);
        }
        match answer {
            Some(Ok(lock)) => Made::Answered(Ok(session.take(lock, entrance))),
            Some(Err(error)) => Made::Answered(Err(*error)),
            None => Made::Waits(Waiting {
                session,
                // Not moved: the counts of interleavings in `harness/loom` include this reference.
                waiter: Arc::clone(&waiter),
                until,
                is_answered: false,
            }),
        }
    }

    /// Returns the result and the wait that has ended with it.
    pub(crate) fn poll(&mut self, context: &Context<'_>) -> Poll<(Answer<'s>, Box<Waiting<'s>>)> {
        let waiting = self.waiting.take();
        let mut waiting = waiting
            .expect("the caller polls only a request that has begun to wait and has no result yet");
        match waiting.poll(context) {
            Poll::Ready(answer) => Poll::Ready((answer, waiting)),
            Poll::Pending => {
                self.waiting = Some(waiting);
                Poll::Pending
            }
        }
    }
}
