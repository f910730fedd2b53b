//! Remembers what a part becomes.
//!
//! A step of a machine depends on that machine and its input alone, not on the other parts of the state. A universe of
//! millions of states has some thousand different machines, so nearly every step has been taken before. Keys are compared
//! whole, not by hash: what is remembered is exact.

use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Mutex;

const SHARDS: usize = 32;
/// Beyond so many entries a shard starts anew, so that memory stays bounded.
const ENTRIES_MAX: usize = 1 << 15;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Memo<K, V> {
    shards: Vec<Mutex<HashMap<K, V, FixedState>>>,
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(HashMap::default()))
                .collect(),
        }
    }
}

impl<K: Hash + Eq, V: Clone> Memo<K, V> {
    /// What `key` becomes: remembered, or made now.
    pub(super) fn get(&self, key: K, make: impl FnOnce(&K) -> V) -> V {
        let hash = FixedState::with_seed(7).hash_one(&key);
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        if let Some(value) = shard.lock().expect("no panic while it is locked").get(&key) {
            return value.clone();
        }
        let value = make(&key);
        let mut shard = shard.lock().expect("no panic while it is locked");
        if shard.len() >= ENTRIES_MAX {
            shard.clear();
        }
        shard.insert(key, value.clone());
        value
    }
}
