//! One attribute that a session has handed out: locked, read and written without the session, in two atomic operations.
//!
//! A cell is *open* while the attribute is handed out. Then its word says whether a thread is inside, and going in or out is
//! one compare-and-exchange. To take the attribute back its session *closes* the cell: whoever comes finds it closed, and so
//! does whoever is inside when it leaves; both go by way of the session, behind the session's lock.
//!
//! There are two places for the value. The word says which one is current; the thread inside reads that one in place and
//! writes to the other, so that leaving makes its writes visible, or not, in the same atomic operation that lets the next
//! thread in. Because the current value stays untouched until then, the session may read it although a thread is inside.
//!
//! A change in place needs a copy of the value in the other place. By a handle the copy is what is changed, and the two places
//! take turns. By id ([`Held::edit_itself`]) it is the value: the copy, in memory of the thread ([`spare`](crate::spare)), becomes
//! the current one for as long as the thread is inside, and what is left over at the end goes along with it. That is one atomic
//! operation more and half of the memory, which by id is in no cache.
//!
//! # Why there is `unsafe` here
//!
//! A lock and unlock may cost at most three times what a mutex costs, and two threads that use two attributes of a session
//! may not get in each other's way. Without `unsafe` the value needs a mutex beside the word, which alone spends that budget
//! (docs/src/decisions/0010-detaching.md has the figures). Most `unsafe` of this crate is here and in `handoff`; the rest is in
//! [`cells`](crate::cells), which finds a cell without a lock, in `entry`, which holds the session's lock or goes where the
//! attribute was handed off, in `table` and `home`, which find a cell by an id, and in `hint`, which accesses nothing; every access
//! goes through loom's `UnsafeCell` in `harness/loom`. It rests on this:
//!
//! - *Open*: only the thread inside ([`Held`]) touches the other place; the current one is only read.
//! - *Closed*: only what holds the session's lock changes the word; places are touched by the thread inside, or under
//!   the session's lock when there is none.
//! - *Vacant*: what was in the other place has been moved out by the thread that left last, and is not dropped there.
#![allow(unsafe_code)]

mod handoff;

pub(crate) use handoff::HandedOver;

use crate::cells::{Key, Link};
use crate::content::Content;
use crate::hint::{Hint, LineOffset};
use crate::mutant::{self, LockMutant};
use crate::spare;
use crate::sync::{AtomicPtr, AtomicU64, Ordering, UnsafeCell, panicking};
use crate::wait::Waiter;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicI32 as PlainI32, AtomicPtr as PlainPtr, AtomicU64 as PlainU64};
use tenure_protocol::attributes::Value;
use tenure_protocol::{AttributeName, ThreadId, Time, Token};

/// The attribute is not handed out.
const CLOSED: u64 = 1;
/// A thread is inside: the one in the upper bits.
const HELD: u64 = 2;
/// The second place is the current one.
const SECOND: u64 = 4;
/// The value has changed since the cell was opened.
const CHANGED: u64 = 8;
/// In a [`Held`] only: something was written to the other place.
const WRITTEN: u64 = 16;
/// In a [`Held`] only: the thread was unwinding when it went in, so that says nothing about what it does inside.
const UNWINDING: u64 = 32;
/// The place that is not the current one was moved out of: nothing there is to be dropped.
const VACANT: u64 = 64;
/// In a [`Held`] only: there is something in the other place, although it was vacant.
const FILLED: u64 = 128;
/// The cell is closed, and who is inside leaves it to the one who waits in `next_user`.
const PLANNED: u64 = 256;
/// What only a [`Held`] knows.
const OWN: u64 = WRITTEN | UNWINDING | FILLED;
/// The bits below the thread.
const THREAD: u32 = 9;

/// A thread by as many bits of its number as a cell has room for. The manager's own numbers are smaller.
pub(crate) fn known(thread: ThreadId) -> ThreadId {
    ThreadId(thread.0 & (u64::MAX >> THREAD))
}

/// Under what the thread inside is inside.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))] // Beside a length, in a cache line that has no byte to spare.
pub(crate) struct Terms {
    pub(crate) token: Token,
    /// To how many bytes the value may grow.
    pub(crate) bytes_max: u32,
}

/// What a thread does to go in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance {
    pub(crate) thread: ThreadId,
    /// Where in the program.
    pub(crate) place: &'static Location<'static>,
    pub(crate) now: Time,
}

/// See the [module](self). The first cache line is what those read who look for an attribute, and changes rarely; the second is
/// written by every use. So a thread that uses an attribute does not disturb another that looks for its neighbour.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Cell {
    prefix: u64,
    /// The next one in its list.
    pub(crate) next: Link<Self>,
    aside: Box<Aside>,
    terms: UnsafeCell<Terms>,
    length: u32,
    /// Where the value's bytes are, for who has them fetched: nothing but speed follows from it.
    bytes: PlainI32,
    /// For the checkers: seen by all who use the cell, changed when its memory is given back.
    lives: UnsafeCell<()>,
    /// When a thread has last gone in or out, in milliseconds on the manager's clock, which is seen to move a few times a
    /// second: written only when it has. For people: nothing follows from it, so the checkers need not see it.
    at: PlainU64,
    used: Used,
}

/// What those do not need who find a cell open and free.
#[derive(Debug)]
struct Aside {
    name: AttributeName,
    /// Who waits for the thread inside to leave, while that is [planned](PLANNED).
    next_user: AtomicPtr<Waiter>,
}

/// What changes with every use.
#[derive(Debug)]
#[repr(C, align(64))]
struct Used {
    word: AtomicU64,
    values: [UnsafeCell<ManuallyDrop<Content>>; 2],
    /// Where the thread inside has gone in. As `at`.
    place: PlainPtr<Location<'static>>,
}

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
const _: () = assert!(size_of::<Cell>() == 128, "two cache lines");

// SAFETY: the word says who may touch what, see the module.
unsafe impl Sync for Cell {}

/// What a session gets back from a cell that it closes.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) value: Option<Value>,
    pub(crate) is_changed: bool,
    /// When a thread last went in or out.
    pub(crate) at: Time,
    /// Who is inside, and from now on inside the session.
    pub(crate) user: Option<ThreadId>,
}

/// Being inside a cell. Dropping it does not leave.
#[derive(Debug)]
pub(crate) struct Held<'c> {
    cell: &'c Cell,
    /// The word while the cell is open and this is inside, and what only this one knows.
    word: u64,
}

impl Cell {
    /// A closed one.
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
            length: u32::try_from(key.name.len()).expect("a name is short"),
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

    /// Whether it is that of the attribute.
    #[inline(always)]
    pub(crate) fn is(&self, key: Key<'_>) -> bool {
        self.lives.with(|_| ());
        self.prefix == key.prefix
            && self.length as usize == key.name.len()
            && (key.name.len() <= 8 || self.aside.name.as_bytes() == key.name)
    }

    /// Where the value's bytes were when they last moved.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> LineOffset {
        LineOffset(self.bytes.load(Ordering::Relaxed))
    }

    /// Notes where the value's bytes are.
    #[cold]
    #[inline(never)]
    fn note_bytes(&self, value: &Content) {
        let near = LineOffset::new(Hint::of(self), value.own());
        if near != self.bytes() {
            self.bytes.store(near.0, Ordering::Relaxed);
        }
    }

    /// The attribute's name.
    pub(crate) fn name(&self) -> &AttributeName {
        &self.aside.name
    }

    /// Goes in, if the cell is open and nobody is inside.
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

    /// Whether the attribute is handed out.
    pub(crate) fn is_open(&self) -> bool {
        self.used.word.load(Ordering::Relaxed) & CLOSED == 0
    }

    /// Who is inside, since when, and from which place. What is read is of one moment unless the threads are very quick.
    pub(crate) fn inside(&self) -> Option<Entrance> {
        let word = self.used.word.load(Ordering::Relaxed);
        if word & HELD == 0 {
            return None;
        }
        let place = self.used.place.load(Ordering::Relaxed);
        let now = self.at();
        // SAFETY: it is null or was made from a reference that lives for ever.
        let place = unsafe { place.as_ref() }?;
        Some(Entrance {
            thread: ThreadId(word >> THREAD),
            place,
            now,
        })
    }

    /// When a thread has last gone in or out.
    pub(crate) fn at(&self) -> Time {
        Time(self.at.load(Ordering::Relaxed))
    }

    /// Closes the cell and gives the attribute back; `None` when it was closed already.
    ///
    /// # Safety
    /// The caller holds the session's lock.
    pub(crate) unsafe fn close(&self) -> Option<Closed> {
        let word = self.used.word.fetch_or(CLOSED, Ordering::Acquire);
        if word & CLOSED != 0 {
            return None;
        }
        let is_free = word & HELD == 0;
        let current = &self.used.values[usize::from(word & SECOND != 0)];
        let value = if is_free {
            // SAFETY: the cell is closed and nobody is inside, so whoever wants in waits for the session's lock.
            let value = current.with_mut(|value| unsafe { std::mem::take(&mut **value) });
            drop(self.empty(word));
            value.into_value()
        } else {
            // SAFETY: the thread inside only reads the current place; to leave it needs the session's lock.
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

    /// Opens the cell with its user inside.
    ///
    /// # Safety
    /// The caller holds the session's lock, and the cell [is idle](Cell::is_idle).
    pub(crate) unsafe fn open(
        &self,
        value: Option<Value>,
        terms: Terms,
        entrance: Entrance,
    ) -> Held<'_> {
        debug_assert_eq!(self.used.word.load(Ordering::Relaxed), CLOSED);
        // SAFETY: nobody is inside, and nobody gets in while the cell is closed and the session locked.
        self.used.values[0].with_mut(|place| unsafe { **place = Content::from(value) });
        // SAFETY: as above.
        self.terms.with_mut(|place| unsafe { *place = terms });
        let word = HELD | entrance.thread.0 << THREAD;
        let held = self.go_in(word, entrance);
        self.used.word.store(word, Ordering::Release);
        held
    }

    /// Whether it is closed and nobody is inside: whether [`Cell::open`] may be called, under the session's lock.
    pub(crate) fn is_idle(&self) -> bool {
        self.used.word.load(Ordering::Relaxed) & (CLOSED | HELD) == CLOSED
    }

    /// Takes both values out; the cell is closed and empty. `word` says which place is vacant.
    fn empty(&self, word: u64) -> [Content; 2] {
        let other = usize::from(word & SECOND == 0);
        if word & VACANT != 0 {
            // SAFETY: as below; what was there was moved out.
            self.used.values[other]
                .with_mut(|value| unsafe { value.write(ManuallyDrop::default()) });
        }
        let values = self.used.values.each_ref().map(|value| {
            // SAFETY: only called when the cell is closed, by its last user or when there is none, under the session's lock.
            value.with_mut(|value| unsafe { std::mem::take(&mut **value) })
        });
        self.used.word.store(CLOSED, Ordering::Release);
        values
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

    /// What this thread sees.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        // SAFETY: the thread inside alone writes to the place that it has written to; nobody writes to the current one.
        let content = self
            .place(self.is_written())
            .with(|content| unsafe { &*content });
        content.bytes()
    }

    /// What it has written.
    #[inline]
    pub(crate) fn written(&self) -> Option<Option<Value>> {
        self.is_written().then(|| {
            // SAFETY: nobody else touches the other place.
            self.place(true)
                .with(|content| unsafe { (**content).value() })
        })
    }

    #[inline(always)]
    pub(crate) fn is_written(&self) -> bool {
        self.word & WRITTEN != 0
    }

    /// Whether the thread is unwinding because of what it did inside.
    #[inline(always)]
    pub(crate) fn is_panicking(&self) -> bool {
        panicking() && self.word & UNWINDING == 0
    }

    /// Has something in the other place that can be dropped.
    #[inline(always)]
    fn fill(&mut self) {
        if self.word & (VACANT | FILLED) == VACANT {
            self.word |= FILLED;
            self.place(true)
                // SAFETY: nobody else touches the other place, and what was there was moved out.
                .with_mut(|content| unsafe { content.write(ManuallyDrop::default()) });
        }
    }

    /// Writes.
    pub(crate) fn set(&mut self, value: Option<Value>) {
        self.fill();
        // SAFETY: nobody else touches the other place.
        self.place(true)
            .with_mut(|content| unsafe { **content = Content::from(value) });
        self.word |= WRITTEN;
    }

    /// Forgets what was written.
    pub(crate) fn undo(&mut self) {
        self.word &= !WRITTEN;
    }

    /// Lets `change` change the value in place: a copy of it the first time, since what is discarded must leave no trace.
    #[inline(always)]
    pub(crate) fn edit<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.fill();
        let (current, other) = (self.place(false), self.place(true));
        let is_written = self.is_written();
        self.word |= WRITTEN;
        // SAFETY: nobody writes to the current place while a thread is inside.
        let current = current.with(|content| unsafe { &**content });
        other.with_mut(|content| {
            // SAFETY: nobody else touches the other place.
            let content = unsafe { &mut **content };
            let before = content.own();
            // Both places at once: the first write there would otherwise wait for the first read here.
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

    /// As [`Held::edit`], for who comes by id: the copy is what stays and the value itself is changed, so that the one is in
    /// memory that was just used, and the other where it was.
    #[inline(always)]
    pub(crate) fn edit_itself<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        if !self.is_written() {
            self.save();
        }
        self.edit(change)
    }

    /// Puts a copy into the other place and has it be the current one, if that can be.
    #[inline(always)]
    fn save(&mut self) {
        // SAFETY: nobody writes to the current place while a thread is inside.
        let current = self.place(false).with(|content| unsafe { &**content });
        let Content::Own(value) = current else {
            return;
        };
        let copy = Content::Own(spare::copy(value));
        self.fill();
        // SAFETY: nobody else touches the other place.
        let rest = self
            .place(true)
            .with_mut(|content| unsafe { std::mem::replace(&mut **content, copy) });
        spare::keep(rest);
        // Whether or not this succeeds, what is in the other place now is the value, and only this thread's.
        let held = self.own_word();
        let word = &self.cell.used.word;
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        let is_changed = word.compare_exchange(held, held ^ SECOND, success, failure);
        if is_changed.is_ok() || mutant::is(LockMutant::ChangesBlindly) {
            self.word ^= SECOND;
        }
        self.word |= WRITTEN;
    }

    #[inline(always)]
    pub(crate) fn terms(&self) -> Terms {
        // SAFETY: they are written only before a thread goes in.
        self.cell.terms.with(|terms| unsafe { *terms })
    }

    /// The same, for longer than whoever made it could see.
    ///
    /// # Safety
    /// The cell stays where it is as long as the thread is inside.
    pub(crate) unsafe fn outlive<'d>(self) -> Held<'d> {
        let cell: *const Cell = self.cell;
        Held {
            // SAFETY: the caller says so.
            cell: unsafe { &*cell },
            word: self.word,
        }
    }

    pub(crate) fn thread(&self) -> ThreadId {
        ThreadId(self.word >> THREAD)
    }

    /// The attribute.
    pub(crate) fn name(&self) -> &'c AttributeName {
        self.cell.name()
    }

    /// Whether the attribute was taken back since this thread went in.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.cell.used.word.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Who this is, and where it has gone in.
    pub(crate) fn inside(&self) -> Option<Entrance> {
        let thread = self.thread();
        Some(Entrance {
            thread,
            ..self.cell.inside()?
        })
    }

    /// The word of the cell while it is open and this is inside.
    #[inline(always)]
    fn own_word(&self) -> u64 {
        self.word & !OWN
    }

    /// What the word is to be when this has gone out.
    #[inline(always)]
    fn after(&self, keeps: bool) -> u64 {
        let mut free = self.word & !(OWN | HELD | u64::MAX << THREAD);
        if self.word & FILLED != 0 {
            free &= !VACANT;
        }
        if self.is_written() && keeps {
            // Once something has changed, what is written is current without a look: it may as well be the same.
            if free & CHANGED != 0 || self.differs() {
                free = (free ^ SECOND) | CHANGED;
            }
        }
        free
    }

    /// Goes out, and lets the next thread see what was written if it `keeps` that; this is not used any more then. Answers
    /// `false` when the cell is closed: then the session has to let it out, and afterwards [`Held::let_go`] the cell.
    #[inline(always)]
    #[must_use = "it is still inside when the cell was closed"]
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

    /// As [`Held::leave`], and takes along what is not the value, for the next one to use.
    #[inline(always)]
    #[must_use = "it is still inside when the cell was closed"]
    pub(crate) fn leave_nothing(&self, keeps: bool, now: Time) -> bool {
        let free = self.after(keeps);
        if !self.is_written() {
            return self.go_out(free, now);
        }
        let rest = &self.cell.used.values[usize::from(free & SECOND == 0)];
        // SAFETY: only this thread writes to either place. Whoever takes the attribute back may look there until this is out,
        // so until then these are bytes and not yet a value, which would have to be the only one.
        let rest = rest.with(|rest| unsafe { rest.cast::<MaybeUninit<Content>>().read() });
        let has_left = self.go_out(free | VACANT, now);
        if has_left {
            // SAFETY: nobody looks there from now on: what was read is its own.
            spare::keep(unsafe { rest.assume_init() });
        }
        has_left
    }

    /// Whether what was written is another value.
    fn differs(&self) -> bool {
        self.place(false).with(|current| {
            // SAFETY: nobody writes to the current place while a thread is inside, and nobody else touches the other.
            self.place(true)
                .with(|other| unsafe { (**current).bytes() != (**other).bytes() })
        })
    }

    /// The cell is closed, and what was written is in the session now: it is what this thread sees from now on.
    ///
    /// # Safety
    /// The caller holds the session's lock, and the cell is closed.
    pub(crate) unsafe fn rebase(&mut self) {
        debug_assert!(self.is_closed());
        if self.is_written() {
            // SAFETY: the cell is closed: only the thread inside touches either place.
            let written = self
                .place(true)
                .with_mut(|content| unsafe { std::mem::take(&mut **content) });
            // SAFETY: as above.
            self.place(false)
                .with_mut(|content| unsafe { **content = written });
            self.word &= !WRITTEN;
        }
    }

    /// Leaves a closed cell, and takes what it has in it along.
    ///
    /// # Safety
    /// The caller holds the session's lock, and the cell is closed.
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
