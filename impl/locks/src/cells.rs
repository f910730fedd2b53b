//! The cells of a session by attribute name: lists that only grow, and are read without a mutex.
//!
//! `unsafe` is for [`Link::fill`]: the session's mutex keeps a second thread from setting the same pointer.
#![allow(unsafe_code)]

use crate::cell::Cell;
use crate::key::Key;
use crate::link::Link;
use tenure_protocol::AttributeName;

/// The maximum length of a list. A longer walk would take more time than the slow path through the session. The limit
/// also bounds the memory for names from outside that are locked once each.
const LIST_MAX: usize = 64;

/// The cells of a session by attribute name: lists that only grow up to a limit, and are read without a mutex.
#[derive(Debug)]
pub(crate) struct Cells {
    /// The cell that was created first. Many sessions need only this one.
    first: Link<Cell>,
    /// The lists of further cells, grouped by a hash of their names, so that walks are short.
    table: Link<[Link<Cell>; 16]>,
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
