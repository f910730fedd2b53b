//! The cells of a session by their attributes' names: lists that only grow, read without a lock.
//!
//! `unsafe` is for a pointer that is filled once and read by anybody ([`Link`]): `std`'s `OnceLock` does that with a state beside
//! the pointer and a pass through its cold path that the fast path pays for in code; and loom has none.
#![allow(unsafe_code)]

use crate::cell::Cell;
use crate::sync::{AtomicPtr, Ordering};
use std::ptr;
use tenure_protocol::AttributeName;

/// Cells of one list. To walk further takes longer than to ask the session; and names that come from outside, each locked once, take
/// no more memory than this.
const LIST_MAX: usize = 64;

/// The name of an attribute as it is looked for: the first eight bytes decide most comparisons, and are computed where the
/// name is written if it is written in the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'n> {
    pub(crate) name: &'n [u8],
    pub(crate) prefix: u64,
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

/// The cells of a session by their attributes' names: lists that only grow, up to a limit, read without a lock.
#[derive(Debug)]
pub(crate) struct Cells {
    /// The first that was made; many sessions need no more.
    first: Link<Cell>,
    /// Lists of those whose names have something in common, so that walks are short.
    table: Link<[Link<Cell>; 16]>,
}

/// A place for a box that is filled once.
#[derive(Debug)]
pub(crate) struct Link<T>(AtomicPtr<T>);

impl<T> Link<T> {
    pub(crate) fn empty() -> Self {
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
            return Some(first);
        }
        let mut next = &self.table.get()?[key.list()];
        while let Some(cell) = next.get() {
            if cell.is(key) {
                return Some(cell);
            }
            next = &cell.next;
        }
        None
    }

    /// The cell of an attribute, which is made when there is none, or `None` when its list is full.
    ///
    /// # Safety
    /// The caller holds the session's lock.
    pub(crate) unsafe fn get_or_make(&self, name: &AttributeName) -> Option<&Cell> {
        let key = Key::new(name.as_bytes());
        if let Some(cell) = self.get(key) {
            return Some(cell);
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
        let mut length = 0;
        while let Some(cell) = place.get() {
            place = &cell.next;
            length += 1;
        }
        // SAFETY: as above.
        (length < LIST_MAX).then(|| unsafe { place.fill(Cell::new(name)) })
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cell> {
        let lists = self.table.get().into_iter().flatten();
        std::iter::once(&self.first)
            .chain(lists)
            .flat_map(|list| std::iter::successors(list.get(), |cell| cell.next.get()))
    }

    /// The first one.
    #[inline(always)]
    pub(crate) fn first(&self) -> Option<&Cell> {
        self.first.get()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }
}
