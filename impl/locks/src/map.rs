//! All sessions by their ids, in shards with a lock each.

use crate::entry::Entry;
use crate::mutant::{self, LockMutant};
use crate::sync::{Arc, Mutex, lock};
use crate::table::Table;
use tenure_protocol::SessionId;

/// How many shards; a power of two.
const SHARDS: usize = if cfg!(any(feature = "loom", feature = "shuttle")) {
    1
} else {
    64
};

/// See the [module](self).
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

    /// By upper bits of the hash, since the tables use the lower ones. Those in the middle: ids that differ in their last bytes
    /// alone differ little at either end.
    #[inline]
    pub(crate) fn shard(&self, id: &SessionId) -> &Mutex<Table> {
        &self.shards[(id.frozen_hash() >> 40) as usize & (SHARDS - 1)]
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<Arc<Entry>> {
        lock(self.shard(id)).get(id).cloned()
    }

    /// What is kept of a session, from now on if it was not before.
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

    /// All, as they are while each shard is looked at.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(lock(shard).iter().map(Arc::clone));
        }
        all
    }

    /// Looks at a session; if nobody else refers to it, it can be changed, and goes if `stays` says no.
    pub(crate) fn update(&self, id: &SessionId, stays: impl FnOnce(&mut Arc<Entry>) -> bool) {
        lock(self.shard(id)).update(id, stays);
    }

    /// Notes that a session is to be looked at.
    #[cold]
    pub(crate) fn note(&self, id: &SessionId) {
        lock(self.shard(id)).note(id);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Those that are new, or noted, since this was last asked.
    pub(crate) fn take_noted(&self) -> Vec<SessionId> {
        let shards = self.shards.iter();
        shards.flat_map(|shard| lock(shard).take_noted()).collect()
    }

    /// Those that are new, or noted.
    pub(crate) fn noted(&self) -> Vec<SessionId> {
        let mut noted = Vec::new();
        for shard in &self.shards {
            noted.extend_from_slice(lock(shard).noted());
        }
        noted
    }
}
