//! The table of one shard of the map: open addressing, one place after the other.
//!
//! A look-up by id is mostly a wait for memory, so what counts is how many cache lines it reads, and how many of them one after
//! the other. Here the place of a session says at once where everything is that a lock by id reads: the bytes of its id, the
//! cell of its first attribute, and that one's value. All is fetched together, and the entry not at all. A table that keeps
//! the hashes apart from the places has to read one line more before it knows.
//!
//! The hash has no key, and ids may come from outside: whoever chooses them can have as many as it likes with one hash. So a search
//! looks at [`SEARCH_MAX`] places at most; those for whom there is none among these are kept in order.
//!
//! `unsafe` is for reading an id and a cell by their addresses. Both belong to the entry, which the place owns, and they move
//! only where the entry can be changed: in [`Table::update`], which notes them anew.
#![allow(unsafe_code)]

use crate::cell::{Cell, Entrance, Held};
use crate::cells::Key;
use crate::entry::Entry;
use crate::hint::{Hint, LineOffset};
use crate::sync::Arc;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Relaxed;
use std::{ptr, slice};
use tenure_protocol::SessionId;

/// The fewest places of a table that has any.
const PLACES_MIN: usize = 8;
/// The most places that are looked at. At this load chance alone hardly ever needs more.
const SEARCH_MAX: usize = 128;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// A power of two of them, or none. At least a quarter is free, so that a search ends soon.
    places: Vec<Option<Slot>>,
    /// Those who found no place near enough to where their search begins.
    crowded: BTreeMap<SessionId, Slot>,
    /// All, there and here.
    count: usize,
    /// Those that are new, or used again, since somebody asked.
    noted: Vec<SessionId>,
}

/// A session that is known. Half a cache line.
#[derive(Debug)]
#[repr(align(32))]
struct Slot {
    entry: Arc<Entry>,
    /// Where the bytes of its id are.
    id: AtomicPtr<u8>,
    /// Its first cell, if that was seen to be there.
    first: AtomicPtr<Cell>,
    hash: Hash,
    /// From there to the bytes of its value, when it was last looked up.
    bytes: LineOffset,
}

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
const _: () = assert!(size_of::<Option<Slot>>() == 32, "half a cache line");

/// The upper bits of an id's hash, of which the lower ones say where to begin the search, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash(u32);

impl Hash {
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // An id is short.
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

    /// Where the id is, and the first cell.
    fn note(&mut self) {
        *self.id.get_mut() = self.entry.id.as_bytes().as_ptr().cast_mut();
        let first = self.entry.first().map_or(ptr::null(), ptr::from_ref);
        *self.first.get_mut() = first.cast_mut();
    }

    #[inline(always)]
    fn id(&self) -> &[u8] {
        // SAFETY: it is the entry's, noted when it last moved.
        unsafe { slice::from_raw_parts(self.id.load(Relaxed), self.hash.length()) }
    }

    /// Has the first cell and its bytes fetched from memory.
    #[inline(always)]
    fn prefetch(&self) {
        let cell = Hint::of(self.first.load(Relaxed));
        for place in [cell, self.bytes.from(cell)] {
            place.prefetch();
            place.at(64).prefetch();
        }
    }

    /// The first cell; notes where it is, and its bytes.
    #[inline(always)]
    fn first(&mut self) -> Option<&Cell> {
        if self.first.get_mut().is_null() {
            self.note();
        }
        // SAFETY: it is the entry's, noted when it last moved.
        let first = unsafe { self.first.load(Relaxed).as_ref() }?;
        let bytes = first.bytes();
        if bytes != self.bytes {
            self.bytes = bytes;
        }
        Some(first)
    }
}

impl Table {
    /// Where the search for a hash begins.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // What is cut off is the upper half.
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

    /// What is kept of a session.
    #[inline(always)]
    pub(crate) fn get(&mut self, id: &SessionId) -> Option<&Arc<Entry>> {
        let known = self.find(id, |known| {
            known.entry.prefetch();
            known.prefetch();
        })?;
        known.first();
        Some(&known.entry)
    }

    /// Goes into an open cell of a session.
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

    /// Adds a session that is not in it.
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

    /// A session is to be looked at.
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

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let all = self.places.iter().flatten().chain(self.crowded.values());
        all.map(|known| &known.entry)
    }

    /// Looks at a session, and drops it if `stays` says no.
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

    /// Takes a session out, and gives back memory that is not needed for the others.
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

    /// Moves those behind a gap up whose search would end there.
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
        SessionId::new(format!("{at}")).expect("a short id")
    }

    fn ids(table: &Table) -> BTreeSet<SessionId> {
        table.iter().map(|entry| entry.id.clone()).collect()
    }

    #[test]
    fn it_finds_what_was_put_in_and_nothing_else() {
        let mut table = Table::default();
        assert!(table.get(&id(0)).is_none());
        for at in 0..1_000 {
            assert!(table.get(&id(at)).is_none());
            table.insert(Arc::new(Entry::new(id(at))));
        }
        for at in 0..1_000 {
            assert_eq!(table.get(&id(at)).expect("put in").id, id(at));
        }
        assert!(table.get(&id(1_000)).is_none());
        assert_eq!(ids(&table).len(), 1_000);
        assert!(table.places.len() <= 2_048);
    }

    #[test]
    fn ids_that_are_chosen_to_collide_are_found_as_soon_as_others() {
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
        assert!(table.get(&colliding.next().expect("more")).is_none());
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
    fn those_who_stay_are_found_when_others_have_gone() {
        let mut table = Table::default();
        (0..1_000).for_each(|at| table.insert(Arc::new(Entry::new(id(at)))));
        for at in 0..1_000 {
            table.update(&id(at), |entry| entry.id.as_bytes().ends_with(b"7"));
        }
        for at in 0..1_000 {
            assert_eq!(table.get(&id(at)).is_some(), at % 10 == 7);
        }
        assert_eq!(table.count, 100);
        assert!(table.places.len() <= 256, "memory is given back");
        (0..1_000).for_each(|at| table.update(&id(at), |_| false));
        assert_eq!(ids(&table), BTreeSet::new());
        assert!(table.places.len() <= 32);
    }
}
