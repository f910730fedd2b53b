//! The map of all sessions by id, in shards with a mutex each.

use crate::entry::Entry;
use crate::mutant::{self, LockMutant};
use crate::sync::{Arc, Mutex, lock};
use crate::table::Table;
use tenure_protocol::SessionId;

/// The number of shards, a power of two.
const SHARDS: usize = if cfg!(any(feature = "loom", feature = "shuttle")) {
    1
} else {
    64
};

/// The map of all sessions by id. See the [module](self).
#[derive(Debug)]
pub(crate) struct Map {
    shards: [Mutex<Table>; SHARDS],
}

impl Map {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Table::default())),
        }
    }

    /// Returns the shard of an id, by middle bits of its hash. The tables use the lower bits, and for ids that differ
    /// only in their last bytes, both ends of the hash differ little.
    #[inline]
    pub(crate) fn shard(&self, id: &SessionId) -> &Mutex<Table> {
        &self.shards[(id.frozen_hash() >> 40) as usize & (SHARDS - 1)]
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<Arc<Entry>> {
        lock(self.shard(id)).get(id).cloned()
    }

    /// Returns the entry of a session, and creates it if there is none.
    #[inline]
    pub(crate) fn get_or_make(&self, id: &SessionId) -> Arc<Entry> {
        let mut shard = lock(self.shard(id));
        if let Some(entry) = shard.get(id) {
            return Arc::clone(entry);
        }
        if mutant::is(LockMutant::TwoEntries) {
            drop(shard);
            shard = lock(self.shard(id));
        }
        let entry = Arc::new(Entry::new(id.clone()));
        shard.insert(Arc::clone(&entry));
        entry
    }

    /// Returns all entries. Each shard is read at a different moment.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(lock(shard).iter().map(Arc::clone));
        }
        all
    }

    /// Visits an entry. If there is no other owner, `stays` may change the entry. If `stays` returns `false`, the entry
    /// is removed.
    pub(crate) fn update(&self, id: &SessionId, stays: impl FnOnce(&mut Arc<Entry>) -> bool) {
        lock(self.shard(id)).update(id, stays);
    }

    /// Notes a session for a visit.
    #[cold]
    pub(crate) fn note(&self, id: &SessionId) {
        lock(self.shard(id)).note(id);
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Takes the list of sessions that are new or noted.
    pub(crate) fn take_noted(&self) -> Vec<SessionId> {
        let shards = self.shards.iter();
        shards.flat_map(|shard| lock(shard).take_noted()).collect()
    }

    /// Returns the sessions that are new or noted.
    pub(crate) fn noted(&self) -> Vec<SessionId> {
        let mut noted = Vec::new();
        for shard in &self.shards {
            noted.extend_from_slice(lock(shard).noted());
        }
        noted
    }
}
