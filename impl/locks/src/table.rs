//! The hash table of one shard of the map: open addressing with linear probing.
//!
//! A look-up by id is mostly a wait for memory. So its cost is the number of cache lines that it reads, above all one
//! after the other. In this table, the slot of a session contains the address of everything that a lock by id reads:
//! the bytes of the id, the cell of the first attribute, and the value of that cell. All are fetched together, and the
//! entry itself is not read. A table that stores hashes apart from slots would read one more line first.
//!
//! The hash has no key, and ids may come from outside. So an attacker can choose any number of ids with the same hash.
//! To bound the cost, a search visits at most [`SEARCH_MAX`] slots. Sessions that find no slot there are stored in an
//! ordered map.
//!
//! `unsafe` is for reading an id and a cell by address. Both belong to the entry, which the slot owns. They move only
//! when the entry is changed, in [`Table::update`], which updates the addresses.
#![allow(unsafe_code)]

use crate::cell::{Cell, Entrance, Held};
use crate::entry::Entry;
use crate::hint::{Hint, LineOffset};
use crate::key::Key;
use crate::sync::Arc;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Relaxed;
use std::{ptr, slice};
use tenure_protocol::SessionId;

/// The minimum number of slots of a table that is not empty.
const PLACES_MIN: usize = 8;
/// The maximum number of slots that a search visits. At this load, a random distribution hardly ever needs more.
const SEARCH_MAX: usize = 128;

/// The hash table of one shard. See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The slots: none, or a power of two. At least a quarter is free, so that a search ends soon.
    places: Vec<Option<Slot>>,
    /// The sessions without a free slot near the start of their search.
    crowded: BTreeMap<SessionId, Slot>,
    /// The number of sessions in both.
    count: usize,
    /// The sessions that are new or used again since the list was last taken.
    noted: Vec<SessionId>,
}

/// A slot with a known session. Half a cache line.
#[derive(Debug)]
#[repr(align(32))]
struct Slot {
    entry: Arc<Entry>,
    /// The address of the id's bytes.
    id: AtomicPtr<u8>,
    /// The address of the first cell, if it was found to exist.
    first: AtomicPtr<Cell>,
    hash: Hash,
    /// The distance from the first cell to the bytes of its value, as of the last look-up.
    bytes: LineOffset,
}

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
const _: () = assert!(size_of::<Option<Slot>>() == 32, "half a cache line");

/// The upper bits of an id's hash, and the length of the id. The lower bits of the hash determine the start of the
/// search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash(u32);

impl Hash {
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // An id has at most 128 bytes.
    fn of(id: &SessionId) -> Self {
        Self((id.frozen_hash() >> 32) as u32 & !0xff | id.as_bytes().len() as u32)
    }

    #[inline(always)]
    fn length(self) -> usize {
        (self.0 & 0xff) as usize
    }
}

impl Slot {
    fn new(entry: Arc<Entry>) -> Self {
        let mut new = Self {
            id: AtomicPtr::default(),
            first: AtomicPtr::default(),
            hash: Hash::of(&entry.id),
            bytes: LineOffset::default(),
            entry,
        };
        new.note();
        new
    }

    /// Updates the addresses of the id and of the first cell.
    fn note(&mut self) {
        *self.id.get_mut() = self.entry.id.as_bytes().as_ptr().cast_mut();
        let first = self.entry.first().map_or(ptr::null(), ptr::from_ref);
        *self.first.get_mut() = first.cast_mut();
    }

    #[inline(always)]
    fn id(&self) -> &[u8] {
        // SAFETY: the bytes belong to the entry, and the address was updated when they last moved.
        unsafe { slice::from_raw_parts(self.id.load(Relaxed), self.hash.length()) }
    }

    /// Prefetches the first cell and the bytes of its value.
    #[inline(always)]
    fn prefetch(&self) {
        let cell = Hint::of(self.first.load(Relaxed));
        for place in [cell, self.bytes.from(cell)] {
            place.prefetch();
            place.at(64).prefetch();
        }
    }

    /// Returns the first cell, and updates its address and that of its bytes.
    #[inline(always)]
    fn first(&mut self) -> Option<&Cell> {
        if self.first.get_mut().is_null() {
            self.note();
        }
        // SAFETY: the cell belongs to the entry, and the address was updated when it last moved.
        let first = unsafe { self.first.load(Relaxed).as_ref() }?;
        let bytes = first.bytes();
        if bytes != self.bytes {
            self.bytes = bytes;
        }
        Some(first)
    }
}

impl Table {
    /// Returns the index at which the search for a hash starts.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // Only the upper half is cut off, on 32-bit targets.
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.places.len().wrapping_sub(1)
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    #[inline(always)]
    fn find(&mut self, id: &SessionId, fetches: impl Fn(&Slot)) -> Option<&mut Slot> {
        let hash = Hash::of(id);
        let mut at = self.home(id.frozen_hash());
        for _ in 0..SEARCH_MAX {
            let Some(known) = self.places.get(at)?.as_ref() else {
                break;
            };
            if known.hash == hash {
                fetches(known);
                if known.id() == id.as_bytes() {
                    return self.places[at].as_mut();
                }
            }
            at = self.after(at);
        }
        self.find_crowded(id)
    }

    #[cold]
    fn find_crowded(&mut self, id: &SessionId) -> Option<&mut Slot> {
        self.crowded.get_mut(id)
    }

    /// Returns the entry of a session.
    #[inline(always)]
    pub(crate) fn get(&mut self, id: &SessionId) -> Option<&Arc<Entry>> {
        let known = self.find(id, |known| {
            known.entry.prefetch();
            known.prefetch();
        })?;
        known.first();
        Some(&known.entry)
    }

    /// Enters an open cell of a session.
    #[inline(always)]
    pub(crate) fn enter(
        &mut self,
        id: &SessionId,
        key: Key<'_>,
        entrance: Entrance,
    ) -> Option<(*const Entry, Held<'_>)> {
        let known = self.find(id, Slot::prefetch)?;
        let entry = Arc::as_ptr(&known.entry);
        if !known.first()?.is(key) {
            return Some((entry, known.entry.enter_cell(key, entrance)?));
        }
        Some((entry, known.first()?.enter(entrance)?))
    }

    /// Adds a session that is not in the table.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) {
        if (self.count + 1) * 4 > self.places.len() * 3 {
            let places = (self.places.len() * 2).max(PLACES_MIN);
            self.rebuild(places);
        }
        self.count += 1;
        self.noted.push(entry.id.clone());
        self.put(Slot::new(entry));
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Notes a session for a visit.
    pub(crate) fn note(&mut self, id: &SessionId) {
        self.noted.push(id.clone());
    }

    pub(crate) fn noted(&self) -> &[SessionId] {
        &self.noted
    }

    pub(crate) fn take_noted(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.noted)
    }

    fn put(&mut self, known: Slot) {
        let mut at = self.home(known.entry.id.frozen_hash());
        for _ in 0..SEARCH_MAX {
            let place = &mut self.places[at];
            if place.is_none() {
                *place = Some(known);
                return;
            }
            at = self.after(at);
        }
        self.crowded.insert(known.entry.id.clone(), known);
    }

    fn rebuild(&mut self, places: usize) {
        let fresh = std::iter::repeat_with(|| None).take(places).collect();
        let before = std::mem::replace(&mut self.places, fresh);
        let crowded = std::mem::take(&mut self.crowded);
        let all = before.into_iter().flatten().chain(crowded.into_values());
        all.for_each(|known| self.put(known));
    }

    /// Returns all entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let all = self.places.iter().flatten().chain(self.crowded.values());
        all.map(|known| &known.entry)
    }

    /// Visits an entry, and removes it if `stays` returns `false`.
    pub(crate) fn update(&mut self, id: &SessionId, stays: impl FnOnce(&mut Arc<Entry>) -> bool) {
        let Some(known) = self.find(id, |_| {}) else {
            return;
        };
        if stays(&mut known.entry) {
            known.note();
        } else {
            drop(self.remove(id));
        }
    }

    /// Removes a session, and frees memory that the other sessions do not need.
    fn remove(&mut self, id: &SessionId) -> Option<Slot> {
        let mut gap = self.home(id.frozen_hash());
        let mut tries = 0..SEARCH_MAX;
        let is_it = |known: &Option<Slot>| known.as_ref().is_some_and(|own| own.entry.id == *id);
        while tries.next().is_some() && !is_it(&self.places[gap]) {
            gap = self.after(gap);
        }
        let removed = if is_it(&self.places[gap]) {
            self.places[gap].take()
        } else {
            self.crowded.remove(id)
        };
        self.count -= usize::from(removed.is_some());
        let needed = (self.count + self.count / 2 + 1).next_power_of_two();
        let needed = needed.max(PLACES_MIN);
        if needed < self.places.len() / 4 {
            self.rebuild(needed);
        } else if self.places[gap].is_none() {
            self.close(gap);
        }
        removed
    }

    /// Closes a gap: moves up the later sessions whose search would end at the gap.
    fn close(&mut self, mut gap: usize) {
        let mask = self.places.len() - 1;
        let distance = |from: usize, to: usize| to.wrapping_sub(from) & mask;
        let mut next = self.after(gap);
        while let Some(known) = &self.places[next] {
            let home = self.home(known.entry.id.frozen_hash());
            if distance(home, next) >= distance(gap, next) {
                self.places.swap(gap, next);
                gap = next;
            }
            next = self.after(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SEARCH_MAX, Table};
    use crate::entry::Entry;
    use crate::sync::Arc;
    use std::collections::BTreeSet;
    use tenure_protocol::SessionId;

    fn id(at: usize) -> SessionId {
        SessionId::new(format!("{at}")).expect("a number has at most 128 digits")
    }

    fn ids(table: &Table) -> BTreeSet<SessionId> {
        table.iter().map(|entry| entry.id.clone()).collect()
    }

    #[test]
    fn the_table_finds_exactly_the_inserted_sessions() {
        let mut table = Table::default();
        assert!(table.get(&id(0)).is_none());
        for at in 0..1_000 {
            assert!(table.get(&id(at)).is_none());
            table.insert(Arc::new(Entry::new(id(at))));
        }
        for at in 0..1_000 {
            assert_eq!(
                table.get(&id(at)).expect("this session was inserted").id,
                id(at)
            );
        }
        assert!(table.get(&id(1_000)).is_none());
        assert_eq!(ids(&table).len(), 1_000);
        assert!(table.places.len() <= 2_048);
    }

    #[test]
    fn colliding_ids_beyond_the_search_limit_are_found_in_the_ordered_map() {
        const COUNT: usize = 1_000;
        let collides = |id: &SessionId| id.frozen_hash() & 0xfff == 7;
        let mut colliding = (0..).map(id).filter(collides);
        let mut table = Table::default();
        let ids: Vec<_> = colliding.by_ref().take(COUNT).collect();
        for id in &ids {
            assert!(table.get(id).is_none());
            table.insert(Arc::new(Entry::new(id.clone())));
        }
        assert_eq!(table.crowded.len(), COUNT - SEARCH_MAX);
        assert!(
            table
                .get(
                    &colliding
                        .next()
                        .expect("the iterator of colliding ids is infinite")
                )
                .is_none()
        );
        assert_eq!(table.iter().count(), COUNT);
        let find = |table: &mut Table, id| table.get(id).map(|entry| entry.id.clone());
        for id in &ids {
            assert_eq!(find(&mut table, id).as_ref(), Some(id));
        }
        let remove = |table: &mut Table, id| table.update(id, |_| false);
        remove(&mut table, &ids[0]);
        remove(&mut table, &ids[COUNT - 1]);
        for id in &ids[1..COUNT - 1] {
            assert_eq!(find(&mut table, id).as_ref(), Some(id));
        }
        assert_eq!(find(&mut table, &ids[0]), None);
        assert_eq!(find(&mut table, &ids[COUNT - 1]), None);
        assert_eq!(table.crowded.len(), COUNT - 1 - SEARCH_MAX);
        ids.iter().for_each(|id| remove(&mut table, id));
        assert_eq!((table.count, table.crowded.len()), (0, 0));
    }

    #[test]
    fn remaining_sessions_are_found_after_others_are_removed() {
        let mut table = Table::default();
        (0..1_000).for_each(|at| table.insert(Arc::new(Entry::new(id(at)))));
        for at in 0..1_000 {
            table.update(&id(at), |entry| entry.id.as_bytes().ends_with(b"7"));
        }
        for at in 0..1_000 {
            assert_eq!(table.get(&id(at)).is_some(), at % 10 == 7);
        }
        assert_eq!(table.count, 100);
        assert!(
            table.places.len() <= 256,
            "the table shrinks after removals"
        );
        (0..1_000).for_each(|at| table.update(&id(at), |_| false));
        assert_eq!(ids(&table), BTreeSet::new());
        assert!(table.places.len() <= 32);
    }
}
