//! How many sessions the process keeps when nobody uses them, and for how long.

use tenure_locks::Locks;

/// See the [module](self).
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

    /// Whether one more session is one too many.
    pub(crate) fn is_full(&self, locks: &Locks) -> bool {
        locks.known() >= self.cached_max
    }

    /// Gives back memory, grants and copies that nobody will miss.
    pub(crate) fn trim(&self, locks: &Locks) {
        /// Memory that only sessions in use need is given back after so long.
        const FOLD_MS: u64 = 60_000;
        locks.sweep(self.idle_ms.min(FOLD_MS));
        locks.trim(self.cached_max, self.idle_ms);
    }
}
