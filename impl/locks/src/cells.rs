//! The cells of a session by attribute name: lists that only grow, and are read without a mutex.
//!
//! `unsafe` is for a pointer that is set once and read by any thread ([`Link`]). `std`'s `OnceLock` stores a state
//! beside the pointer and has a cold path that costs the fast path code size, and loom has no `OnceLock`.
#![allow(unsafe_code)]

use crate::cell::Cell;
use crate::sync::{AtomicPtr, Ordering};
use std::ptr;
use tenure_protocol::AttributeName;

/// The maximum length of a list. A longer walk would take more time than the slow path through the session. The limit
/// also bounds the memory for names from outside that are locked once each.
const LIST_MAX: usize = 64;

/// An attribute name with its first eight bytes as a number, which decide most comparisons. For a name that is a
/// literal in the program, the compiler computes that number.
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

    /// Returns the index of the list for this name.
    #[inline(always)]
    fn list(self) -> usize {
        let mixed = (self.prefix ^ self.name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 60) as usize
    }
}

/// The cells of a session by attribute name: lists that only grow up to a limit, and are read without a mutex.
#[derive(Debug)]
pub(crate) struct Cells {
    /// The cell that was created first. Many sessions need only this one.
    first: Link<Cell>,
    /// The lists of further cells, grouped by a hash of their names, so that walks are short.
    table: Link<[Link<Cell>; 16]>,
}

/// A pointer to a box that is set once.
#[derive(Debug)]
pub(crate) struct Link<T>(AtomicPtr<T>);

impl<T> Link<T> {
    pub(crate) fn empty() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline(always)]
    fn get(&self) -> Option<&T> {
        // SAFETY: the pointer is null, or comes from a box that `fill` has published and that is freed only
        // with `self`.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Sets the pointer, which must be null.
    ///
    /// # Safety
    /// No other thread sets the pointer at the same time.
    unsafe fn fill(&self, value: T) -> &T {
        debug_assert!(self.get().is_none());
        let new = Box::into_raw(Box::new(value));
        self.0.store(new, Ordering::Release);
        // SAFETY: the box was just created, and is freed only with `self`.
        unsafe { &*new }
    }
}

impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        let own = self.0.load(Ordering::Acquire);
        if !own.is_null() {
            // SAFETY: the pointer comes from a box, and no other thread can reach it any more.
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

    /// Returns the cell of an attribute.
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

    /// Returns the cell of an attribute, and creates it if there is none. Returns `None` if its list is full.
    ///
    /// # Safety
    /// The caller holds the session's mutex.
    pub(crate) unsafe fn get_or_make(&self, name: &AttributeName) -> Option<&Cell> {
        let key = Key::new(name.as_bytes());
        if let Some(cell) = self.get(key) {
            return Some(cell);
        }
        let mut place = &self.first;
        if place.get().is_some() {
            let table = self.table.get();
            // SAFETY: the pointer is set only under the session's mutex.
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

    /// Returns all cells.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cell> {
        let lists = self.table.get().into_iter().flatten();
        std::iter::once(&self.first)
            .chain(lists)
            .flat_map(|list| std::iter::successors(list.get(), |cell| cell.next.get()))
    }

    /// Returns the cell that was created first.
    #[inline(always)]
    pub(crate) fn first(&self) -> Option<&Cell> {
        self.first.get()
    }

    /// Returns whether there are no cells.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }
}
