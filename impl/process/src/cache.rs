//! The limits of the cache: the maximum number of unused sessions, and the maximum idle time.

use tenure_locks::Locks;

/// The limits of the cache. See the [module](self).
#[derive(Debug)]
pub(crate) struct Cache {
    cached_max: usize,
    idle_ms: u64,
}

impl Cache {
    pub(crate) fn new(cached_max: usize, idle_ms: u64) -> Self {
        Self {
            cached_max,
            idle_ms,
        }
    }

    /// Returns whether the cache has reached its maximum number of sessions.
    pub(crate) fn is_full(&self, locks: &Locks) -> bool {
        locks.known() >= self.cached_max
    }

    /// Releases idle grants, drops idle copies, and frees memory that only sessions in use need.
    pub(crate) fn trim(&self, locks: &Locks) {
        /// The idle time after which a session's memory for use is freed.
        const FOLD_MS: u64 = 60_000;
        locks.sweep(self.idle_ms.min(FOLD_MS));
        locks.trim(self.cached_max, self.idle_ms);
    }
}
