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
//! # Why there is `unsafe` here
//!
//! A lock and unlock may cost at most three times what a mutex costs, and two threads that use two attributes of a session
//! may not get in each other's way. Without `unsafe` the value needs a mutex beside the word, which alone spends that budget
//! (docs/src/decisions/0010-lending.md has the figures). All `unsafe` of this crate is here and in `entry`, which holds the
//! session's lock; every access goes through loom's `UnsafeCell` in `harness/loom`. It rests on this:
//!
//! - *Open*: only the thread inside ([`Held`]) touches the other place; the current one is only read.
//! - *Closed*: only what holds the session's lock changes the word; places are touched by the thread inside, or under
//!   the session's lock when there is none.
#![allow(unsafe_code)]

use crate::fault::{self, Fault};
use crate::sync::{AtomicPtr, AtomicU64, Ordering, UnsafeCell, panicking};
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr as PlainPtr, AtomicU64 as PlainU64};
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
/// The bits below the thread.
const THREAD: u32 = 8;

/// A value of an attribute in a form that can be changed in place. Small: two of them share a cache line with the word.
#[derive(Debug, Default)]
enum Content {
    /// The attribute does not exist.
    #[default]
    Absent,
    /// Shared with others: the frame that it came in, a message that carries it.
    Shared(Box<Value>),
    /// Nobody else's.
    Own(Vec<u8>),
}

impl Content {
    #[inline(always)]
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Own(bytes) => Some(bytes),
            Self::Absent => None,
            Self::Shared(bytes) => Some(bytes),
        }
    }

    /// Becomes a copy of `bytes`, in the memory that it has if it has some.
    #[inline(always)]
    fn copy(&mut self, bytes: &[u8]) -> &mut Vec<u8> {
        if !matches!(self, Self::Own(_)) {
            *self = Self::Own(Vec::with_capacity(bytes.len()));
        }
        let Self::Own(own) = self else {
            unreachable!("just made")
        };
        own.clear();
        own.extend_from_slice(bytes);
        own
    }

    /// The value, for who may not change this: shared if it is, a copy if not.
    fn value(&self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::Shared(value) => Some(Value::clone(value)),
            Self::Own(bytes) => Some(Value::copy_from_slice(bytes)),
        }
    }

    fn into_value(self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::Shared(value) => Some(*value),
            Self::Own(bytes) => Some(Value::from(bytes)),
        }
    }
}

impl From<Option<Value>> for Content {
    fn from(value: Option<Value>) -> Self {
        value.map_or(Self::Absent, |value| Self::Shared(Box::new(value)))
    }
}

/// Under what the thread inside is inside.
#[derive(Clone, Copy, Debug)]
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

/// See the [module](self). On cache lines of its own: what a thread changes that uses the attribute, another that looks for
/// its neighbour does not read.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Cell {
    terms: UnsafeCell<Terms>,
    used: Used,
}

/// What changes with every use. The word and both values are on one line.
#[derive(Debug)]
#[repr(C, align(64))]
struct Used {
    word: AtomicU64,
    values: [UnsafeCell<Content>; 2],
    /// Where the thread inside has gone in. For people: nothing follows from it, so the checkers need not see it.
    place: PlainPtr<Location<'static>>,
    /// When a thread has last gone in or out, in milliseconds on the manager's clock. As `place`.
    at: PlainU64,
}

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
    pub(crate) fn new() -> Self {
        Self {
            terms: UnsafeCell::new(Terms {
                token: Token::default(),
                bytes_max: 0,
            }),
            used: Used {
                word: AtomicU64::new(CLOSED),
                values: [
                    UnsafeCell::new(Content::Absent),
                    UnsafeCell::new(Content::Absent),
                ],
                place: PlainPtr::new(ptr::null_mut()),
                at: PlainU64::new(0),
            },
        }
    }

    /// Goes in, if the cell is open and nobody is inside.
    #[inline(always)]
    pub(crate) fn enter(&self, entrance: Entrance) -> Option<Held<'_>> {
        let free = self.used.word.load(Ordering::Relaxed);
        if free & (CLOSED | HELD) != 0 {
            return None;
        }
        let order = if fault::is_made(Fault::EntersRelaxed) {
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
        let place = ptr::from_ref(entrance.place).cast_mut();
        self.used.place.store(place, Ordering::Relaxed);
        self.touch(entrance.now);
        Held {
            cell: self,
            word: word | if panicking() { UNWINDING } else { 0 },
        }
    }

    #[inline(always)]
    fn touch(&self, now: Time) {
        self.used.at.store(now.0, Ordering::Relaxed);
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
        Time(self.used.at.load(Ordering::Relaxed))
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
            let value = current.with_mut(|value| unsafe { std::mem::take(&mut *value) });
            self.empty();
            value.into_value()
        } else {
            // SAFETY: the thread inside only reads the current place; to leave it needs the session's lock.
            current.with(|value| unsafe { (*value).value() })
        };
        Some(Closed {
            value,
            is_changed: word & CHANGED != 0,
            at: self.at(),
            user: (!is_free && !fault::is_made(Fault::ForgetsUser))
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
        self.used.values[0].with_mut(|place| unsafe { *place = Content::from(value) });
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

    /// Forgets both values; the cell is closed and empty.
    fn empty(&self) {
        for value in &self.used.values {
            // SAFETY: only called when the cell is closed, by its last user or when there is none, under the session's lock.
            value.with_mut(|value| unsafe { *value = Content::Absent });
        }
        self.used.word.store(CLOSED, Ordering::Release);
    }
}

impl<'c> Held<'c> {
    #[inline(always)]
    fn place(&self, is_other: bool) -> &'c UnsafeCell<Content> {
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
    pub(crate) fn written(&self) -> Option<Option<Value>> {
        self.is_written().then(|| {
            // SAFETY: nobody else touches the other place.
            self.place(true)
                .with(|content| unsafe { (*content).value() })
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

    /// Writes.
    pub(crate) fn set(&mut self, value: Option<Value>) {
        // SAFETY: nobody else touches the other place.
        self.place(true)
            .with_mut(|content| unsafe { *content = Content::from(value) });
        self.word |= WRITTEN;
    }

    /// Forgets what was written.
    pub(crate) fn undo(&mut self) {
        self.word &= !WRITTEN;
    }

    /// Lets `change` change the value in place: a copy of it the first time, since what is discarded must leave no trace.
    #[inline(always)]
    pub(crate) fn edit<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let (current, other) = (self.place(false), self.place(true));
        let is_written = self.is_written();
        self.word |= WRITTEN;
        // SAFETY: nobody writes to the current place while a thread is inside.
        let current = current.with(|content| unsafe { &*content });
        other.with_mut(|content| {
            // SAFETY: nobody else touches the other place.
            let content = unsafe { &mut *content };
            let bytes = match content {
                Content::Own(bytes) if is_written => bytes,
                Content::Shared(bytes) if is_written => {
                    let bytes = Value::clone(bytes);
                    content.copy(&bytes)
                }
                Content::Absent if is_written => content.copy(&[]),
                content => content.copy(current.bytes().unwrap_or_default()),
            };
            change(bytes)
        })
    }

    #[inline(always)]
    pub(crate) fn terms(&self) -> Terms {
        // SAFETY: they are written only before a thread goes in.
        self.cell.terms.with(|terms| unsafe { *terms })
    }

    pub(crate) fn thread(&self) -> ThreadId {
        ThreadId(self.word >> THREAD)
    }

    /// Whether it is that cell.
    pub(crate) fn is_in(&self, cell: &Cell) -> bool {
        ptr::eq(self.cell, cell)
    }

    /// Whether the attribute was taken back since this thread went in.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.cell.used.word.load(Ordering::Relaxed) & CLOSED != 0
    }

    pub(crate) fn inside(&self) -> Option<Entrance> {
        self.cell.inside()
    }

    /// Goes out, and lets the next thread see what was written if it `keeps` that; this is not used any more then. Answers
    /// `false` when the cell is closed: then the session has to let it out, and afterwards [`Held::let_go`] the cell.
    #[inline(always)]
    #[must_use = "it is still inside when the cell was closed"]
    pub(crate) fn leave(&self, keeps: bool, now: Time) -> bool {
        let held = self.word & !(WRITTEN | UNWINDING);
        let mut free = held & !(HELD | u64::MAX << THREAD);
        if self.is_written() && keeps {
            // Once something has changed, what is written is current without a look: it may as well be the same.
            if free & CHANGED != 0 || self.differs() {
                free = (free ^ SECOND) | CHANGED;
            }
        }
        let order = if fault::is_made(Fault::LeavesRelaxed) {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        self.cell.touch(now);
        let word = &self.cell.used.word;
        if fault::is_made(Fault::LeavesBlindly) {
            word.store(free, order);
            return true;
        }
        word.compare_exchange(held, free, order, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether what was written is another value.
    fn differs(&self) -> bool {
        self.place(false).with(|current| {
            // SAFETY: nobody writes to the current place while a thread is inside, and nobody else touches the other.
            self.place(true)
                .with(|other| unsafe { (*current).bytes() != (*other).bytes() })
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
                .with_mut(|content| unsafe { std::mem::take(&mut *content) });
            // SAFETY: as above.
            self.place(false)
                .with_mut(|content| unsafe { *content = written });
            self.word &= !WRITTEN;
        }
    }

    /// Leaves a closed cell: its values are forgotten.
    ///
    /// # Safety
    /// The caller holds the session's lock, and the cell is closed.
    pub(crate) unsafe fn let_go(self) {
        debug_assert!(self.is_closed());
        self.cell.empty();
    }
}

/// The name of an attribute as it is looked for: the first eight bytes decide most comparisons, and are computed where the
/// name is written if it is written in the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'n> {
    name: &'n [u8],
    prefix: u64,
}

impl<'n> Key<'n> {
    #[inline(always)]
    pub(crate) fn new(name: &'n [u8]) -> Self {
        let mut prefix = [0; 8];
        for (to, from) in prefix.iter_mut().zip(name) {
            *to = *from;
        }
        let prefix = u64::from_le_bytes(prefix);
        Self { name, prefix }
    }

    pub(crate) fn name(self) -> &'n [u8] {
        self.name
    }

    /// Which of the lists it is in.
    #[inline(always)]
    fn list(self) -> usize {
        let mixed = (self.prefix ^ self.name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 60) as usize
    }
}

/// The cells of a session by their attributes' names: lists that only grow, read without a lock.
#[derive(Debug)]
pub(crate) struct Cells {
    /// The first that was made; many sessions need no more.
    first: Link<Node>,
    /// Lists of those whose names have something in common, so that walks are short.
    table: Link<[Link<Node>; 16]>,
}

#[derive(Debug)]
#[repr(C)]
struct Node {
    prefix: u64,
    length: u32,
    next: Link<Self>,
    name: Box<AttributeName>,
    cell: Cell,
}

impl Node {
    #[inline(always)]
    fn is(&self, key: Key<'_>) -> bool {
        self.prefix == key.prefix
            && self.length as usize == key.name.len()
            && (key.name.len() <= 8 || self.name.as_bytes() == key.name)
    }
}

/// A place for a box that is filled once.
#[derive(Debug)]
struct Link<T>(AtomicPtr<T>);

impl<T> Link<T> {
    fn empty() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline(always)]
    fn get(&self) -> Option<&T> {
        // SAFETY: it is null or comes from a box that was published by `fill` and is freed only with `self`.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Fills the place, which is empty.
    ///
    /// # Safety
    /// Nobody else fills it at the same time.
    unsafe fn fill(&self, value: T) -> &T {
        debug_assert!(self.get().is_none());
        let new = Box::into_raw(Box::new(value));
        self.0.store(new, Ordering::Release);
        // SAFETY: just made, and freed only with `self`.
        unsafe { &*new }
    }
}

impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        let own = self.0.load(Ordering::Acquire);
        if !own.is_null() {
            // SAFETY: it comes from a box, and nobody can reach it any more.
            drop(unsafe { Box::from_raw(own) });
        }
    }
}

impl Cells {
    pub(crate) fn new() -> Self {
        Self {
            first: Link::empty(),
            table: Link::empty(),
        }
    }

    /// The cell of an attribute.
    #[inline(always)]
    pub(crate) fn get(&self, key: Key<'_>) -> Option<&Cell> {
        let first = self.first.get()?;
        if first.is(key) {
            return Some(&first.cell);
        }
        let mut next = &self.table.get()?[key.list()];
        while let Some(node) = next.get() {
            if node.is(key) {
                return Some(&node.cell);
            }
            next = &node.next;
        }
        None
    }

    /// The cell of an attribute, which is made when there is none.
    ///
    /// # Safety
    /// The caller holds the session's lock.
    pub(crate) unsafe fn get_or_make(&self, name: &AttributeName) -> &Cell {
        let key = Key::new(name.as_bytes());
        if let Some(cell) = self.get(key) {
            return cell;
        }
        let mut place = &self.first;
        if place.get().is_some() {
            let table = self.table.get();
            // SAFETY: only under the session's lock.
            let table = table.unwrap_or_else(|| unsafe {
                self.table.fill(std::array::from_fn(|_| Link::empty()))
            });
            place = &table[key.list()];
        }
        while let Some(node) = place.get() {
            place = &node.next;
        }
        let node = Node {
            prefix: key.prefix,
            length: u32::try_from(key.name.len()).expect("a name is short"),
            next: Link::empty(),
            name: Box::new(name.clone()),
            cell: Cell::new(),
        };
        // SAFETY: as above.
        unsafe { &place.fill(node).cell }
    }

    /// All, with their attributes' names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AttributeName, &Cell)> {
        let lists = self.table.get().into_iter().flatten();
        std::iter::once(&self.first)
            .chain(lists)
            .flat_map(|list| std::iter::successors(list.get(), |node| node.next.get()))
            .map(|node| (&*node.name, &node.cell))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }
}
