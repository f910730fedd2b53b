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

/// By hash. Of two keys with the same hash the later is remembered.
type Shard<K, V> = HashMap<u64, (K, V), FixedState>;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Memo<K, V> {
    shards: Vec<Mutex<Shard<K, V>>>,
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

impl<K, V: Clone> Memo<K, V> {
    /// What a key becomes: remembered, or made now. The key is told by what hashes like it, and is only made to be kept.
    pub(super) fn get(
        &self,
        hashed: impl Hash,
        is_it: impl Fn(&K) -> bool,
        make: impl FnOnce() -> (K, V),
    ) -> V {
        let hash = FixedState::with_seed(7).hash_one(hashed);
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        if let Some((key, value)) = shard
            .lock()
            .expect("no panic while it is locked")
            .get(&hash)
            && is_it(key)
        {
            return value.clone();
        }
        let made = make();
        let value = made.1.clone();
        let mut shard = shard.lock().expect("no panic while it is locked");
        if shard.len() >= ENTRIES_MAX {
            shard.clear();
        }
        shard.insert(hash, made);
        value
    }
}
