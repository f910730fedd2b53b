//! Handing an attribute off to the thread that waits for it, without the session.
//!
//! Who begins to wait has the session take the attribute back around its user, who then has to leave by way of the session. That
//! is a thousand instructions, and none of them is near the processor when the user has slept meanwhile. But what the session
//! will do is known before ([`Detached::plan`](tenure_protocol::process::Detached::plan)): so when its lock is let go the handoff is
//! *published* in the cell, and leaving is one atomic operation and a wake-up. Whoever takes the session's lock next has the session
//! note it before anything else ([`Entry::lock`](crate::entry::Entry::lock)).
//!
//! It rests on this:
//!
//! - The word says that it is planned. Under the session's lock that is said, and taken back. Without it there is one thing that
//!   happens to a closed cell: its user takes it away, and is out.
//! - `next_user` is filled before the word says so, and emptied by who takes that away; it is not filled while it is not empty.
//! - [`HandedOver`] says where the cell is. Until it is followed the request owns the session; from then on being inside keeps it.
//!   One that nobody follows is not looked at, since both who hands off and the session that notes it may answer.
#![allow(unsafe_code)]

use super::{CHANGED, CLOSED, Cell, Entrance, HELD, Held, PLANNED, SECOND, THREAD, VACANT};
use crate::mutant::{self, LockMutant};
use crate::sync::{Arc, Ordering};
use crate::wait::{Outcome, Waiter};
use std::ptr::{self, NonNull};
use tenure_protocol::attributes::Value;
use tenure_protocol::{ThreadId, Time};

/// An attribute was handed off, in this cell: who waited for it is inside, and may [follow](HandedOver::follow), once.
#[derive(Debug)]
pub(crate) struct HandedOver(NonNull<Cell>);

// SAFETY: a cell may be used by any thread.
unsafe impl Send for HandedOver {}

impl Cell {
    /// Has `from`, who is inside, leave the closed cell to `waiter`. Answers `false` when that cannot be.
    ///
    /// # Safety
    /// The caller holds the session's lock.
    pub(crate) unsafe fn publish(&self, from: ThreadId, waiter: &Arc<Waiter>) -> bool {
        let word = self.used.word.load(Ordering::Relaxed);
        let is_inside = word & (CLOSED | HELD) == CLOSED | HELD && word >> THREAD == from.0;
        // Filled: whoever was handed the attribute last is not told yet.
        if !is_inside || !self.aside.next_user.load(Ordering::Acquire).is_null() {
            return false;
        }
        let waiter = Arc::into_raw(Arc::clone(waiter)).cast_mut();
        self.aside.next_user.store(waiter, Ordering::Relaxed);
        self.used.word.fetch_or(PLANNED, Ordering::Release);
        true
    }

    /// Takes back what was planned. Answers `false` when it has happened: then [`Cell::settle_user`] is due.
    ///
    /// # Safety
    /// The caller holds the session's lock.
    pub(crate) unsafe fn withdraw(&self) -> bool {
        let word = self.used.word.fetch_and(!PLANNED, Ordering::Acquire);
        let is_withdrawn = word & PLANNED != 0;
        if is_withdrawn {
            drop(self.take_next_user());
        }
        is_withdrawn
    }

    /// What the thread before has left in the closed cell, if it has changed the value.
    ///
    /// # Safety
    /// The caller holds the session's lock, and the attribute was handed off.
    pub(crate) unsafe fn handed_off(&self) -> Option<Option<Value>> {
        let word = self.used.word.load(Ordering::Relaxed);
        (word & CHANGED != 0).then(|| {
            let current = &self.used.values[usize::from(word & SECOND != 0)];
            // SAFETY: the thread inside only reads the current place; to leave it needs the session's lock.
            current.with(|value| unsafe { (**value).value() })
        })
    }

    /// Notes who is inside, to whom the attribute was handed off.
    ///
    /// # Safety
    /// As [`Cell::handed_off`].
    pub(crate) unsafe fn settle_user(&self, entrance: Entrance) -> HandedOver {
        self.note_place(entrance);
        let word = self.used.word.load(Ordering::Relaxed);
        let word = word & !(u64::MAX << THREAD) | entrance.thread.0 << THREAD;
        self.used.word.store(word, Ordering::Release);
        HandedOver(NonNull::from(self))
    }

    pub(super) fn take_next_user(&self) -> Option<Arc<Waiter>> {
        let waiter = self.aside.next_user.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: it comes from an `Arc`, and whoever takes it out is the only one.
        (!waiter.is_null()).then(|| unsafe { Arc::from_raw(waiter) })
    }
}

impl HandedOver {
    /// Goes in.
    ///
    /// # Safety
    /// The cell stays where it is as long as the thread is inside.
    pub(crate) unsafe fn follow<'c>(self, entrance: Entrance) -> Held<'c> {
        // SAFETY: the caller says so.
        let cell: &'c Cell = unsafe { self.0.as_ref() };
        cell.lives.with(|_| ());
        let word = cell.used.word.load(Ordering::Acquire) & (SECOND | CHANGED | VACANT);
        cell.be_inside(word | HELD | entrance.thread.0 << THREAD, entrance)
    }
}

impl Held<'_> {
    /// Whether this thread leaves to another one.
    #[inline]
    pub(crate) fn is_planned(&self) -> bool {
        self.cell.used.word.load(Ordering::Relaxed) & PLANNED != 0
    }

    /// Leaves to who waits, and wakes it, if that is [published](Cell::publish); what was written stays. This is not used any more
    /// then. The cell has to stay where it is meanwhile, although nobody is inside any more.
    #[must_use = "it is still inside when that was not planned"]
    pub(crate) fn handoff(&self, now: Time) -> bool {
        if self.is_written() && self.length() > self.terms().bytes_max as usize {
            return false; // The session has been asked, and may have to be again.
        }
        let held = self.own_word() | CLOSED | PLANNED;
        let mut handed = self.after(false) & !CHANGED | HELD | CLOSED;
        if self.is_written() {
            // Also when it is the same as before: the session may have another value, of which it was asked.
            handed = (handed ^ SECOND) | CHANGED;
        }
        let order = if mutant::is(LockMutant::HandsOffRelaxed) {
            Ordering::Acquire
        } else {
            Ordering::AcqRel
        };
        self.cell.touch(now);
        let word = &self.cell.used.word;
        if mutant::is(LockMutant::HandsOffBlindly) {
            word.swap(handed, order);
        } else {
            let failure = Ordering::Relaxed;
            if word.compare_exchange(held, handed, order, failure).is_err() {
                return false;
            }
        }
        let waiter = self.cell.take_next_user();
        let waiter = waiter.expect("filled before it was planned");
        self.cell.lives.with(|_| ());
        let handed_off = HandedOver(NonNull::from(self.cell));
        if let Some(waker) = waiter.wait.answer(Outcome::Entered(handed_off)) {
            waker.wake();
        }
        true
    }

    fn length(&self) -> usize {
        self.bytes().map_or(0, <[u8]>::len)
    }
}
