//! The cell's side of a handoff: the thread inside leaves the closed cell to a waiting thread.
#![allow(unsafe_code)]

use crate::cell::word::{CHANGED, CLOSED, HELD, NUMBER, PLANNED, SECOND, THREAD, VACANT};
use crate::cell::{Cell, Entrance, HandedOver, Held};
use crate::content::Write;
use crate::mutant::{self, LockMutant};
use crate::sync::{Arc, Ordering};
use crate::waiter::{LockAnswer, Waiter};
use std::ptr::NonNull;
use tenure_protocol::{ThreadId, Time};

impl Cell {
    /// Plans that the thread `from`, which is inside the closed cell, leaves it to `waiter`. Returns `false` if that is
    /// not possible.
    ///
    /// # Safety
    /// The caller holds the session's mutex.
    pub(crate) unsafe fn publish(&self, from: ThreadId, waiter: &Arc<Waiter>) -> bool {
        let word = self.used.word.load(Ordering::Relaxed);
        let is_inside = word & (CLOSED | HELD) == CLOSED | HELD && word >> THREAD == from.0;
        // If filled, the receiver of the last handoff has not been woken yet.
        if !is_inside || !self.aside.next_user.load(Ordering::Acquire).is_null() {
            return false;
        }
        let waiter = Arc::into_raw(Arc::clone(waiter)).cast_mut();
        self.aside.next_user.store(waiter, Ordering::Relaxed);
        self.used.word.fetch_or(PLANNED, Ordering::Release);
        true
    }

    /// Withdraws a planned handoff. Returns `false` if the handoff has happened: the caller then calls
    /// [`Cell::settle_user`].
    ///
    /// # Safety
    /// The caller holds the session's mutex.
    pub(crate) unsafe fn withdraw(&self) -> bool {
        let word = self.used.word.fetch_and(!PLANNED, Ordering::Acquire);
        let is_withdrawn = word & PLANNED != 0;
        if is_withdrawn {
            drop(self.take_next_user());
        }
        is_withdrawn
    }

    /// Returns the write of the previous thread, whose value is in the closed cell.
    ///
    /// # Safety
    /// The caller holds the session's mutex, and the attribute was handed off.
    pub(crate) unsafe fn handed_off(&self) -> Write {
        let word = self.used.word.load(Ordering::Relaxed);
        if word & CHANGED == 0 {
            return Write::Unchanged;
        }
        let current = &self.used.values[usize::from(word & SECOND != 0)];
        // SAFETY: the thread inside only reads the current slot, and to leave it needs the session's mutex.
        let value = current.with(|value| unsafe { (**value).value() });
        Write::from(value)
    }

    /// Records the receiver of the handoff as the thread inside.
    ///
    /// # Safety
    /// As [`Cell::handed_off`].
    pub(crate) unsafe fn settle_user(&self, entrance: Entrance) -> HandedOver {
        self.note_place(entrance);
        let word = self.used.word.load(Ordering::Relaxed);
        let word = word & !NUMBER | entrance.thread.0 << THREAD;
        self.used.word.store(word, Ordering::Release);
        HandedOver(NonNull::from(self))
    }
}

impl HandedOver {
    /// Enters the cell as the receiver of the handoff.
    ///
    /// # Safety
    /// The cell stays at its address as long as the thread is inside.
    pub(crate) unsafe fn follow<'c>(self, entrance: Entrance) -> Held<'c> {
        // SAFETY: guaranteed by the caller.
        let cell: &'c Cell = unsafe { self.0.as_ref() };
        cell.lives.with(|_| ());
        let word = cell.used.word.load(Ordering::Acquire) & (SECOND | CHANGED | VACANT);
        cell.be_inside(word | HELD | entrance.thread.0 << THREAD, entrance)
    }
}

impl Held<'_> {
    /// Returns whether a handoff is planned for when this thread leaves.
    #[inline]
    pub(crate) fn is_planned(&self) -> bool {
        self.cell.used.word.load(Ordering::Relaxed) & PLANNED != 0
    }

    /// Leaves to the waiting thread with its writes applied, and wakes it, if a handoff is [published](Cell::publish).
    /// This access must not be used afterwards. The cell must stay at its address during the call, although this thread
    /// is no longer inside.
    #[must_use = "`false` means that no handoff was planned and the thread is still inside"]
    pub(crate) fn handoff(&self, now: Time) -> bool {
        if self.is_written() && self.length() > self.terms().bytes_max as usize {
            return false; // The session had to check this size, and may have to check it again.
        }
        let held = self.own_word() | CLOSED | PLANNED;
        let mut handed = self.after(false) & !CHANGED | HELD | CLOSED;
        if self.is_written() {
            // Applied even if the value is unchanged: the session may have another value, which it has
            // checked.
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
        let waiter = waiter.expect("`publish` fills `next_user` before it sets PLANNED");
        self.cell.lives.with(|_| ());
        let handed_off = HandedOver(NonNull::from(self.cell));
        let answer = LockAnswer::HandedOff(handed_off);
        if let Some(waker) = waiter.wait.answer(Ok(answer)) {
            waker.wake();
        }
        true
    }

    fn length(&self) -> usize {
        self.bytes().map_or(0, <[u8]>::len)
    }
}
