//! A memo of the results of steps.
//!
//! A step of a machine depends only on that machine and its input, not on the other parts of the state. A universe of
//! millions of states has some thousand different machines, so nearly every step has been taken before. Keys are
//! compared as a whole, not by hash, so a memoised result is exact.

use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Mutex;

const SHARDS: usize = 32;
/// The size at which a shard is cleared, so that memory stays bounded.
const ENTRIES_MAX: usize = 1 << 15;

/// A shard by hash. Of two keys with the same hash, the later one is kept.
type Shard<K, V> = HashMap<u64, (K, V), FixedState>;

/// A memo of results by key; see the [module](self).
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
    /// Returns the result of a key, from the memo or made now. `hashed` must hash like the key. The key itself is made
    /// only when it is stored.
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
            .expect("reading a shard cannot panic, so the lock is never poisoned")
            .get(&hash)
            && is_it(key)
        {
            return value.clone();
        }
        let made = make();
        let value = made.1.clone();
        let mut shard = shard.lock().expect("no code panics under this lock");
        if shard.len() >= ENTRIES_MAX {
            shard.clear();
        }
        shard.insert(hash, made);
        value
    }
}
