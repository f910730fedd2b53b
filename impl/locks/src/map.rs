//! All sessions by their ids, in shards with a lock each.

use crate::entry::Entry;
use crate::fault::{self, Fault};
use crate::sync::{Arc, Mutex, lock};
use hashbrown::HashTable;
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
    shards: Box<[Mutex<HashTable<Arc<Entry>>>]>,
}

impl Map {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(HashTable::new())).collect(),
        }
    }

    /// Its upper bits, since the tables use the lower ones.
    #[inline]
    fn shard(&self, id: &SessionId) -> &Mutex<HashTable<Arc<Entry>>> {
        &self.shards[(id.frozen_hash() >> 40) as usize & (self.shards.len() - 1)]
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<Arc<Entry>> {
        let shard = lock(self.shard(id));
        shard
            .find(id.frozen_hash(), |entry| entry.id == *id)
            .cloned()
    }

    /// What is kept of a session, from now on if it was not before.
    #[inline]
    pub(crate) fn get_or_make(&self, id: &SessionId) -> Arc<Entry> {
        let mut shard = lock(self.shard(id));
        let is_it = |entry: &Arc<Entry>| {
            entry.prefetch();
            entry.id == *id
        };
        if let Some(entry) = shard.find(id.frozen_hash(), is_it) {
            return Arc::clone(entry);
        }
        if fault::is_made(Fault::TwoEntries) {
            drop(shard);
            shard = lock(self.shard(id));
        }
        let entry = Arc::new(Entry::new(id.clone()));
        shard.insert_unique(id.frozen_hash(), Arc::clone(&entry), |entry| {
            entry.id.frozen_hash()
        });
        entry
    }

    /// All, as they are while each shard is looked at.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| lock(shard).iter().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Visits all, one shard at a time; those that nobody else refers to can be changed, and go if `stays` says no.
    pub(crate) fn sweep(&self, mut stays: impl FnMut(&mut Arc<Entry>) -> bool) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.retain(&mut stays);
            let capacity = shard.capacity();
            if capacity > 64 && shard.len() < capacity / 4 {
                shard.shrink_to_fit(|entry| entry.id.frozen_hash());
            }
        }
    }
}
