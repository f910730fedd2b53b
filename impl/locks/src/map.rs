//! All sessions by their ids, in shards with a lock each.

use crate::entry::Entry;
use crate::fault::{self, Fault};
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
        if fault::is_made(Fault::TwoEntries) {
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

    /// Visits all, one shard at a time; those that nobody else refers to can be changed, and go if `stays` says no.
    pub(crate) fn sweep(&self, mut stays: impl FnMut(&mut Arc<Entry>) -> bool) {
        for shard in &self.shards {
            lock(shard).retain(&mut stays);
        }
    }
}
