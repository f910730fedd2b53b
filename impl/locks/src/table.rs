//! The table of one shard of the map: open addressing, one place after the other.
//!
//! A look-up by id is mostly a wait for memory, so what counts is how many cache lines it reads one after the other. Here the
//! place of a session says at once where its entry and the rest are, and all is fetched together. A table that keeps the
//! hashes apart from the places has to read one line more before it knows.

use crate::entry::Entry;
use crate::hint::Trail;
use crate::sync::Arc;
use tenure_protocol::SessionId;

/// The fewest places of a table that has any.
const PLACES_MIN: usize = 8;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// A power of two of them, or none. At least a quarter is free, so that a search ends soon.
    places: Vec<Option<Known>>,
    count: usize,
}

/// A session that is known.
#[derive(Debug)]
struct Known {
    entry: Arc<Entry>,
    /// The upper half of the id's hash; the lower one says where to begin the search.
    hash: u32,
    /// Where the rest of it was when it was last looked up.
    trail: Trail,
}

#[inline(always)]
fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
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

    /// What is kept of a session.
    #[inline(always)]
    pub(crate) fn get(&mut self, id: &SessionId) -> Option<&Arc<Entry>> {
        let hash = id.frozen_hash();
        let mut at = self.home(hash);
        loop {
            let known = self.places.get(at)?.as_ref()?;
            if known.hash == upper(hash) {
                known.entry.prefetch(known.trail);
                if known.entry.id == *id {
                    break;
                }
            }
            at = self.after(at);
        }
        let known = self.places[at].as_mut()?;
        let trail = known.entry.trail();
        if known.trail != trail {
            known.trail = trail;
        }
        Some(&known.entry)
    }

    /// Adds a session that is not in it.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) {
        if (self.count + 1) * 4 > self.places.len() * 3 {
            let places = (self.places.len() * 2).max(PLACES_MIN);
            self.rebuild(places);
        }
        self.count += 1;
        self.put(Known {
            hash: upper(entry.id.frozen_hash()),
            entry,
            trail: Trail::default(),
        });
    }

    fn put(&mut self, known: Known) {
        let mut at = self.home(known.entry.id.frozen_hash());
        while self.places[at].is_some() {
            at = self.after(at);
        }
        self.places[at] = Some(known);
    }

    fn rebuild(&mut self, places: usize) {
        let fresh = std::iter::repeat_with(|| None).take(places).collect();
        let before = std::mem::replace(&mut self.places, fresh);
        before
            .into_iter()
            .flatten()
            .for_each(|known| self.put(known));
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.places.iter().flatten().map(|known| &known.entry)
    }

    /// Drops those for which `stays` says no, and memory that is not needed for the others.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&mut Arc<Entry>) -> bool) {
        let before = self.count;
        for place in &mut self.places {
            if place.as_mut().is_some_and(|known| !stays(&mut known.entry)) {
                *place = None;
                self.count -= 1;
            }
        }
        // Whoever went has left a gap, at which a search would end: all are put in anew.
        if self.count < before {
            let needed = (self.count + self.count / 2 + 1).next_power_of_two();
            let needed = needed.max(PLACES_MIN);
            let is_sparse = needed < self.places.len() / 2;
            self.rebuild(if is_sparse { needed } else { self.places.len() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
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
    fn those_who_stay_are_found_when_others_have_gone() {
        let mut table = Table::default();
        (0..1_000).for_each(|at| table.insert(Arc::new(Entry::new(id(at)))));
        table.retain(|entry| entry.id.as_bytes().ends_with(b"7"));
        for at in 0..1_000 {
            assert_eq!(table.get(&id(at)).is_some(), at % 10 == 7);
        }
        assert_eq!(table.count, 100);
        assert!(table.places.len() <= 256, "memory is given back");
        table.retain(|_| false);
        assert_eq!(ids(&table), BTreeSet::new());
        assert!(table.places.len() <= 8);
    }
}
