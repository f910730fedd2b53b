//! A cell: one attribute that threads lock, read and write without the session, in two atomic operations.
//!
//! A cell is *open* while the attribute is in it. The state word of an open cell contains whether a thread is inside,
//! and entering or leaving is one compare-exchange. To take the attribute back, the session *closes* the cell. A thread
//! that then tries to enter or to leave finds the cell closed. Both continue on the slow path, through the session and
//! its mutex. The table in `word` lists the flags of the state word, and the sides that may change them.
//!
//! A cell has two value slots, and the state word names the current one. The thread inside reads the current slot in
//! place and writes to the other one. So a single atomic operation lets the next thread in and makes the writes
//! visible, or discards them. Because the current slot is unchanged until then, the session may read it while a thread
//! is inside.
//!
//! A change in place needs a copy of the value in the other slot. Through a handle, the copy is changed, and the two
//! slots alternate. A lock by id exchanges the two first ([`Held::exchange`], [`by_id`](crate::by_id)).
//!
//! # Why there is `unsafe` here
//!
//! A lock and unlock may cost at most three times as much as a mutex. Two threads that use two attributes of a session
//! must not slow each other down. Without `unsafe`, the value needs a mutex beside the state word, which alone costs
//! that much (docs/src/decisions/0010-detaching.md has the figures).
//!
//! Most `unsafe` of this crate is here and in `handoff`. In `harness/loom`, every access goes through loom's
//! `UnsafeCell`. The other modules with `unsafe` are:
//!
//! - `cells` and `link`, which find a cell without a mutex;
//! - `entry`, which holds the session's mutex;
//! - `table`, `by_id` and `session_ref`, which find a cell by session id;
//! - `owned`, whose guards borrow a neighbour field;
//! - `hint`, which accesses no memory.
//!
//! The code relies on these rules:
//!
//! - *Open*: only the thread inside ([`Held`]) touches the other slot. The current slot is only read.
//! - *Closed*: only the owner of the session's mutex changes the state word, except for a planned handoff (`handoff`).
//!   Slots are touched by the thread inside, or under the session's mutex if there is none.
//! - *Vacant*: the last thread that left has moved the value out of the other slot, so that value is not dropped there.
#![allow(unsafe_code)]

pub(crate) mod handoff;
#[cfg(test)]
mod tests;
mod word;

use word::{
    CHANGED, CLOSED, FILLED, HELD, NUMBER, OWN, SECOND, THREAD, UNWINDING, VACANT, WRITTEN,
};

use crate::content::{Content, Write};
use crate::hint::{Hint, LineOffset};
use crate::key::Key;
use crate::link::Link;
use crate::mutant::{self, LockMutant};
use crate::sync::{Arc, AtomicPtr, AtomicU64, Ordering, UnsafeCell, panicking};
use crate::waiter::Waiter;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32 as PlainI32, AtomicPtr as PlainPtr, AtomicU64 as PlainU64};
use tenure_protocol::attributes::Value;
use tenure_protocol::{AttributeName, ThreadId, Time, Token};

/// Truncates a thread number to the bits that a cell has room for. The manager's own numbers are smaller.
pub(crate) fn known(thread: ThreadId) -> ThreadId {
    ThreadId(thread.0 & (u64::MAX >> THREAD))
}

/// The terms of the grant under which a thread is inside.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))] // Packed, since this cache line has no byte to spare.
pub(crate) struct Terms {
    pub(crate) token: Token,
    /// The number of bytes to which the value may grow without a check by the session.
    pub(crate) bytes_max: u32,
}

/// The data with which a thread enters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance {
    pub(crate) thread: ThreadId,
    /// The source line of the lock request.
    pub(crate) place: &'static Location<'static>,
    pub(crate) now: Time,
}

/// A cell. See the [module](self). The first cache line is read by threads that look for an attribute, and changes
/// rarely. The second line is written by every use. So a thread that uses one attribute does not slow down a thread
/// that looks for another one.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Cell {
    prefix: u64,
    /// The next cell in its list.
    pub(crate) next: Link<Self>,
    aside: Box<Aside>,
    terms: UnsafeCell<Terms>,
    length: u32,
    /// The address of the value's bytes, for prefetching only.
    bytes: PlainI32,
    /// For the checkers: read by every access to the cell, and written when its memory is freed.
    lives: UnsafeCell<()>,
    /// The time at which a thread last entered or left, in milliseconds on the manager's clock. Written only when the
    /// clock has moved, a few times a second. Only shown to people, so the checkers need not explore this atomic.
    at: PlainU64,
    used: Used,
}

/// The data that a thread does not need to enter an open, free cell.
#[derive(Debug)]
struct Aside {
    name: AttributeName,
    /// The waiter that follows the thread inside, while a handoff is [planned](word::PLANNED).
    next_user: AtomicPtr<Waiter>,
}

/// The data that changes with every use.
#[derive(Debug)]
#[repr(C, align(64))]
struct Used {
    word: AtomicU64,
    values: [UnsafeCell<ManuallyDrop<Content>>; 2],
    /// The source line at which the thread inside locked. Not explored by the checkers, like `at`.
    place: PlainPtr<Location<'static>>,
}

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
const _: () = assert!(size_of::<Cell>() == 128, "two cache lines");

// SAFETY: the state word determines which thread may touch which slot, see the module.
unsafe impl Sync for Cell {}

/// The result of closing a cell, for its session.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) value: Option<Value>,
    pub(crate) is_changed: bool,
    /// The time at which a thread last entered or left.
    pub(crate) at: Time,
    /// The thread inside, which from now on is inside the session.
    pub(crate) user: Option<ThreadId>,
}

/// The result of a [`handoff`]: the waiting thread is inside this cell, and may enter it once.
#[derive(Debug)]
pub(crate) struct HandedOver(NonNull<Cell>);

// SAFETY: a cell may be used from any thread.
unsafe impl Send for HandedOver {}

/// The access of the thread inside a cell. Dropping it does not leave the cell.
#[derive(Debug)]
pub(crate) struct Held<'c> {
    cell: &'c Cell,
    /// The state word while the cell is open and this thread is inside, plus the flags that only this value has.
    word: u64,
}

impl Cell {
    /// Creates a closed cell.
    pub(crate) fn new(name: &AttributeName) -> Self {
        let key = Key::new(name.as_bytes());
        Self {
            prefix: key.prefix,
            next: Link::empty(),
            aside: Box::new(Aside {
                name: name.clone(),
                next_user: AtomicPtr::new(ptr::null_mut()),
            }),
            terms: UnsafeCell::new(Terms {
                token: Token::default(),
                bytes_max: 0,
            }),
            length: u32::try_from(key.name.len()).expect("an attribute name has at most 128 bytes"),
            bytes: PlainI32::new(0),
            lives: UnsafeCell::new(()),
            at: PlainU64::new(0),
            used: Used {
                word: AtomicU64::new(CLOSED),
                values: [(); 2].map(|()| UnsafeCell::new(ManuallyDrop::default())),
                place: PlainPtr::new(ptr::null_mut()),
            },
        }
    }

    /// Returns whether this is the cell of the attribute.
    #[inline(always)]
    pub(crate) fn is(&self, key: Key<'_>) -> bool {
        self.lives.with(|_| ());
        self.prefix == key.prefix
            && self.length as usize == key.name.len()
            && (key.name.len() <= 8 || self.aside.name.as_bytes() == key.name)
    }

    /// Returns the last known distance to the value's bytes.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> LineOffset {
        LineOffset(self.bytes.load(Ordering::Relaxed))
    }

    /// Records the address of the value's bytes.
    #[cold]
    #[inline(never)]
    fn note_bytes(&self, value: &Content) {
        let near = LineOffset::new(Hint::of(self), value.own());
        if near != self.bytes() {
            self.bytes.store(near.0, Ordering::Relaxed);
        }
    }

    /// Returns the attribute's name.
    pub(crate) fn name(&self) -> &AttributeName {
        &self.aside.name
    }

    /// Enters the cell, if it is open and no thread is inside. The fast path of every lock.
    #[inline(always)]
    pub(crate) fn enter(&self, entrance: Entrance) -> Option<Held<'_>> {
        let free = self.used.word.load(Ordering::Relaxed);
        if free & (CLOSED | HELD) != 0 {
            return None;
        }
        let order = if mutant::is(LockMutant::EntersRelaxed) {
            Ordering::Relaxed
        } else {
            Ordering::Acquire
        };
        let word = free | HELD | entrance.thread.0 << THREAD;
        self.used
            .word
            .compare_exchange(free, word, order, Ordering::Relaxed)
            .ok()?;
        Some(self.go_in(word, entrance))
    }

    #[inline(always)]
    fn go_in(&self, word: u64, entrance: Entrance) -> Held<'_> {
        self.touch(entrance.now);
        self.be_inside(word, entrance)
    }

    #[inline(always)]
    fn be_inside(&self, word: u64, entrance: Entrance) -> Held<'_> {
        self.note_place(entrance);
        Held {
            cell: self,
            word: word | if panicking() { UNWINDING } else { 0 },
        }
    }

    #[inline(always)]
    fn note_place(&self, entrance: Entrance) {
        let place = ptr::from_ref(entrance.place).cast_mut();
        self.used.place.store(place, Ordering::Relaxed);
    }

    #[inline(always)]
    fn touch(&self, now: Time) {
        if self.at.load(Ordering::Relaxed) < now.0 {
            self.at.store(now.0, Ordering::Relaxed);
        }
    }

    /// Returns whether the cell is open.
    pub(crate) fn is_open(&self) -> bool {
        self.used.word.load(Ordering::Relaxed) & CLOSED == 0
    }

    /// Returns the thread inside, with the time and the source line of its lock. The parts may belong to different
    /// moments if threads enter and leave at the same time.
    pub(crate) fn inside(&self) -> Option<Entrance> {
        let word = self.used.word.load(Ordering::Relaxed);
        if word & HELD == 0 {
            return None;
        }
        let place = self.used.place.load(Ordering::Relaxed);
        let now = self.at();
        // SAFETY: the pointer is null or comes from a `'static` reference.
        let place = unsafe { place.as_ref() }?;
        Some(Entrance {
            thread: ThreadId(word >> THREAD),
            place,
            now,
        })
    }

    /// Returns the time at which a thread last entered or left.
    pub(crate) fn at(&self) -> Time {
        Time(self.at.load(Ordering::Relaxed))
    }

    /// Closes the cell and returns the attribute to the session. Returns `None` if the cell is already closed.
    ///
    /// # Safety
    /// The caller holds the session's mutex.
    pub(crate) unsafe fn close(&self) -> Option<Closed> {
        let word = self.used.word.fetch_or(CLOSED, Ordering::Acquire);
        if word & CLOSED != 0 {
            return None;
        }
        let is_free = word & HELD == 0;
        let current = &self.used.values[usize::from(word & SECOND != 0)];
        let value = if is_free {
            // SAFETY: the cell is closed and no thread is inside, so any other access waits for the
            // session's mutex.
            let value = current.with_mut(|value| unsafe { std::mem::take(&mut **value) });
            drop(self.empty(word));
            value.into_value()
        } else {
            // SAFETY: the thread inside only reads the current slot, and to leave it needs the session's
            // mutex.
            current.with(|value| unsafe { (**value).value() })
        };
        Some(Closed {
            value,
            is_changed: word & CHANGED != 0,
            at: self.at(),
            user: (!is_free && !mutant::is(LockMutant::ForgetsUser))
                .then_some(ThreadId(word >> THREAD)),
        })
    }

    /// Opens the cell with a thread inside.
    ///
    /// # Safety
    /// The caller holds the session's mutex, and the cell [is idle](Cell::is_idle).
    pub(crate) unsafe fn open(
        &self,
        value: Option<Value>,
        terms: Terms,
        entrance: Entrance,
    ) -> Held<'_> {
        debug_assert_eq!(self.used.word.load(Ordering::Relaxed), CLOSED);
        // SAFETY: no thread is inside, and none can enter while the cell is closed and the session's mutex is
        // held.
        self.used.values[0].with_mut(|place| unsafe { **place = Content::from(value) });
        // SAFETY: as above.
        self.terms.with_mut(|place| unsafe { *place = terms });
        let word = HELD | entrance.thread.0 << THREAD;
        let held = self.go_in(word, entrance);
        self.used.word.store(word, Ordering::Release);
        held
    }

    /// Returns whether the cell is closed and no thread is inside, so that [`Cell::open`] may be called under the
    /// session's mutex.
    pub(crate) fn is_idle(&self) -> bool {
        self.used.word.load(Ordering::Relaxed) & (CLOSED | HELD) == CLOSED
    }

    /// Takes both values out, and leaves the cell closed and empty. `word` determines which slot is vacant.
    fn empty(&self, word: u64) -> [Content; 2] {
        let other = usize::from(word & SECOND == 0);
        if word & VACANT != 0 {
            // SAFETY: as below, and the value in this slot was moved out before.
            self.used.values[other]
                .with_mut(|value| unsafe { value.write(ManuallyDrop::default()) });
        }
        let values = self.used.values.each_ref().map(|value| {
            // SAFETY: called only for a closed cell, under the session's mutex, by the last thread inside
            // or if there is none.
            value.with_mut(|value| unsafe { std::mem::take(&mut **value) })
        });
        self.used.word.store(CLOSED, Ordering::Release);
        values
    }
}

impl Cell {
    /// Takes the waiter that follows the thread inside.
    fn take_next_user(&self) -> Option<Arc<Waiter>> {
        let waiter = self.aside.next_user.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: the pointer comes from an `Arc`, and `swap` returns it to only one caller.
        (!waiter.is_null()).then(|| unsafe { Arc::from_raw(waiter) })
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.lives.with_mut(|_| ());
        let word = self.used.word.load(Ordering::Relaxed);
        drop(self.empty(word));
        drop(self.take_next_user());
    }
}

impl<'c> Held<'c> {
    #[inline(always)]
    fn place(&self, is_other: bool) -> &'c UnsafeCell<ManuallyDrop<Content>> {
        &self.cell.used.values[usize::from((self.word & SECOND != 0) != is_other)]
    }

    /// Returns the value that this thread sees.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        // SAFETY: only the thread inside writes to the other slot, and no thread writes to the current one.
        let content = self
            .place(self.is_written())
            .with(|content| unsafe { &*content });
        content.bytes()
    }

    /// Returns the write of this thread.
    #[inline]
    pub(crate) fn written(&self) -> Write {
        if !self.is_written() {
            return Write::Unchanged;
        }
        // SAFETY: no other thread touches the other slot.
        let value = self
            .place(true)
            .with(|content| unsafe { (**content).value() });
        Write::from(value)
    }

    #[inline(always)]
    pub(crate) fn is_written(&self) -> bool {
        self.word & WRITTEN != 0
    }

    /// Returns whether the thread is unwinding because of its work inside.
    #[inline(always)]
    pub(crate) fn is_panicking(&self) -> bool {
        panicking() && self.word & UNWINDING == 0
    }

    /// Puts an empty value into a vacant other slot, so that the slot can be dropped and overwritten.
    #[inline(always)]
    fn fill(&mut self) {
        if self.word & (VACANT | FILLED) == VACANT {
            self.word |= FILLED;
            self.place(true)
                // SAFETY: no other thread touches the other slot, and its value was moved out.
                .with_mut(|content| unsafe { content.write(ManuallyDrop::default()) });
        }
    }

    /// Writes a value.
    pub(crate) fn set(&mut self, value: Option<Value>) {
        self.fill();
        // SAFETY: no other thread touches the other slot.
        self.place(true)
            .with_mut(|content| unsafe { **content = Content::from(value) });
        self.word |= WRITTEN;
    }

    /// Discards the written value.
    pub(crate) fn undo(&mut self) {
        self.word &= !WRITTEN;
    }

    /// Changes the value in place with `change`. The first change makes a copy, so that it can be discarded.
    #[inline(always)]
    pub(crate) fn edit<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.fill();
        let (current, other) = (self.place(false), self.place(true));
        let is_written = self.is_written();
        self.word |= WRITTEN;
        // SAFETY: no thread writes to the current slot while a thread is inside.
        let current = current.with(|content| unsafe { &**content });
        other.with_mut(|content| {
            // SAFETY: no other thread touches the other slot.
            let content = unsafe { &mut **content };
            let before = content.own();
            // Fetches both slots at once. Otherwise, the first write there would wait for the first read
            // here.
            before.prefetch();
            let bytes = match &mut *content {
                Content::Own(bytes) if is_written => bytes,
                Content::Shared(bytes) if is_written => {
                    let bytes = Value::clone(bytes);
                    content.copy(&bytes)
                }
                Content::Absent if is_written => content.copy(&[]),
                content => content.copy(current.bytes().unwrap_or_default()),
            };
            let result = change(bytes);
            if content.own() != before {
                self.cell.note_bytes(content);
            }
            result
        })
    }

    /// Returns the current value, if this thread has written none and the cell is the single owner of the bytes.
    #[inline(always)]
    pub(crate) fn unwritten(&self) -> Option<&[u8]> {
        // SAFETY: no thread writes to the current slot while a thread is inside.
        let current = self.place(false).with(|content| unsafe { &**content });
        match current {
            Content::Own(value) if !self.is_written() => Some(value),
            _ => None,
        }
    }

    /// Puts `copy`, a copy of the [unwritten](Held::unwritten) value, into the other slot, and makes it the current one
    /// if the cell is still open. The thread then changes the value itself. Returns the earlier content of the slot.
    #[inline(always)]
    pub(crate) fn exchange(&mut self, copy: Vec<u8>) -> Content {
        self.fill();
        // SAFETY: no other thread touches the other slot.
        let rest = self
            .place(true)
            .with_mut(|content| unsafe { std::mem::replace(&mut **content, Content::Own(copy)) });
        // Whether or not the exchange succeeds, the other slot now contains the value, for this thread alone.
        let held = self.own_word();
        let word = &self.cell.used.word;
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        let is_changed = word.compare_exchange(held, held ^ SECOND, success, failure);
        if is_changed.is_ok() || mutant::is(LockMutant::ChangesBlindly) {
            self.word ^= SECOND;
        }
        self.word |= WRITTEN;
        rest
    }

    #[inline(always)]
    pub(crate) fn terms(&self) -> Terms {
        // SAFETY: the terms are written only before a thread enters.
        self.cell.terms.with(|terms| unsafe { *terms })
    }

    /// Extends the lifetime of this access beyond the borrow of the cell.
    ///
    /// # Safety
    /// The cell stays at its address as long as the thread is inside.
    pub(crate) unsafe fn outlive<'d>(self) -> Held<'d> {
        let cell: *const Cell = self.cell;
        Held {
            // SAFETY: guaranteed by the caller.
            cell: unsafe { &*cell },
            word: self.word,
        }
    }

    pub(crate) fn thread(&self) -> ThreadId {
        ThreadId(self.word >> THREAD)
    }

    /// Returns the attribute's name.
    pub(crate) fn name(&self) -> &'c AttributeName {
        self.cell.name()
    }

    /// Returns whether the session has closed the cell since this thread entered.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.cell.used.word.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Returns this thread, with the time and the source line of its lock.
    pub(crate) fn inside(&self) -> Option<Entrance> {
        let thread = self.thread();
        Some(Entrance {
            thread,
            ..self.cell.inside()?
        })
    }

    /// Returns the state word of the open cell while this thread is inside.
    #[inline(always)]
    fn own_word(&self) -> u64 {
        self.word & !OWN
    }

    /// Returns the state word after this thread has left.
    #[inline(always)]
    fn after(&self, keeps: bool) -> u64 {
        let mut free = self.word & !(OWN | HELD | NUMBER);
        if self.word & FILLED != 0 {
            free &= !VACANT;
        }
        if self.is_written() && keeps {
            // After the first change, the written value becomes current without a comparison, even if it is
            // equal.
            if free & CHANGED != 0 || self.differs() {
                free = (free ^ SECOND) | CHANGED;
            }
        }
        free
    }

    /// Leaves the cell, and makes the writes visible to the next thread if `keeps` is true. This access must not be
    /// used afterwards.
    ///
    /// Returns `false` if the cell is closed. The thread is then still inside: the session must let the thread out, and
    /// the caller then calls [`Held::let_go`].
    #[inline(always)]
    #[must_use = "`false` means that the cell was closed and the thread is still inside"]
    pub(crate) fn leave(&self, keeps: bool, now: Time) -> bool {
        self.go_out(self.after(keeps), now)
    }

    #[inline(always)]
    fn go_out(&self, free: u64, now: Time) -> bool {
        let held = self.own_word();
        let order = if mutant::is(LockMutant::LeavesRelaxed) {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        self.cell.touch(now);
        self.cell.lives.with(|_| ());
        let word = &self.cell.used.word;
        if mutant::is(LockMutant::LeavesBlindly) {
            word.store(free, order);
            return true;
        }
        word.compare_exchange(held, free, order, Ordering::Relaxed)
            .is_ok()
    }

    /// Leaves the cell as [`Held::leave`] does, and passes the content of the other slot to `keep` if the thread has
    /// written.
    #[inline(always)]
    #[must_use = "`false` means that the cell was closed and the thread is still inside"]
    pub(crate) fn leave_taking(&self, keeps: bool, now: Time, keep: impl FnOnce(Content)) -> bool {
        let free = self.after(keeps);
        if !self.is_written() {
            return self.go_out(free, now);
        }
        let rest = &self.cell.used.values[usize::from(free & SECOND == 0)];
        // SAFETY: only this thread writes to either slot. A thread that closes the cell may read the slot until
        // this one has left. So until then these are plain bytes, and not a second owner of the value.
        let rest = rest.with(|rest| unsafe { rest.cast::<MaybeUninit<Content>>().read() });
        let has_left = self.go_out(free | VACANT, now);
        if has_left {
            // SAFETY: no thread reads that slot from now on, so this is the only owner of the value.
            keep(unsafe { rest.assume_init() });
        }
        has_left
    }

    /// Returns whether the written value differs from the current one.
    fn differs(&self) -> bool {
        self.place(false).with(|current| {
            // SAFETY: no thread writes to the current slot while a thread is inside, and no other thread
            // touches the other slot.
            self.place(true)
                .with(|other| unsafe { (**current).bytes() != (**other).bytes() })
        })
    }

    /// Makes the written value the current one, after the session has taken it over: the thread sees that value from
    /// now on.
    ///
    /// # Safety
    /// The caller holds the session's mutex, and the cell is closed.
    pub(crate) unsafe fn rebase(&mut self) {
        debug_assert!(self.is_closed());
        if self.is_written() {
            // SAFETY: the cell is closed, so only the thread inside touches either slot.
            let written = self
                .place(true)
                .with_mut(|content| unsafe { std::mem::take(&mut **content) });
            // SAFETY: as above.
            self.place(false)
                .with_mut(|content| unsafe { **content = written });
            self.word &= !WRITTEN;
        }
    }

    /// Leaves a closed cell, and returns the values in it.
    ///
    /// # Safety
    /// The caller holds the session's mutex, and the cell is closed.
    pub(crate) unsafe fn let_go(self) -> [Content; 2] {
        debug_assert!(self.is_closed());
        let is_filled = self.word & FILLED != 0;
        let word = if is_filled {
            self.word & !VACANT
        } else {
            self.word
        };
        self.cell.empty(word)
    }
}
