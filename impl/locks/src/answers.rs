//! The threads that wait for an answer of the machine to a call other than a lock. Waiting lock requests are stored in
//! the session's entry.

use crate::sync::Arc;
use crate::wait::Wait;
use std::collections::BTreeMap;
use tenure_protocol::message::GrantRef;
use tenure_protocol::{SessionId, ThreadId};

/// The key of a wait: a thread waits for at most one answer of each kind in a session.
pub(crate) type Key = (ThreadId, SessionId);

/// The answer to a call that has destroyed the session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destroyed;

/// The pending end or rename of a session.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    Destroy(Arc<Wait<Destroyed>>),
    Rename(Arc<Wait<GrantRef>>),
}

impl Ending {
    /// Returns the wait for a rename.
    pub(crate) fn rename(&self) -> Option<&Arc<Wait<GrantRef>>> {
        match self {
            Self::Destroy(_) => None,
            Self::Rename(wait) => Some(wait),
        }
    }
}

/// The threads that wait for a `T`.
#[derive(Debug)]
pub(crate) struct Answers<T>(BTreeMap<Key, Waiting<T>>);

#[derive(Debug)]
struct Waiting<T> {
    wait: Arc<Wait<T>>,
    /// The number of answers that come first: to earlier calls of the thread that it no longer waits for.
    earlier: usize,
}

impl<T> Answers<T> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// Registers a wait for the answer after `earlier` other ones.
    pub(crate) fn register(&mut self, key: Key, wait: Arc<Wait<T>>, earlier: usize) {
        self.0.insert(key, Waiting { wait, earlier });
    }

    /// Removes and returns the wait to which the next answer belongs.
    pub(crate) fn next(&mut self, key: &Key) -> Option<Arc<Wait<T>>> {
        let waiting = self.0.get_mut(key)?;
        if waiting.earlier > 0 {
            waiting.earlier -= 1;
            return None;
        }
        self.remove(key)
    }

    /// Removes and returns the wait, whichever answer it is for.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Wait<T>>> {
        Some(self.0.remove(key)?.wait)
    }

    /// Moves the wait of a thread to the new id of its session.
    pub(crate) fn rename(&mut self, from: &Key, to: SessionId) {
        if let Some(waiting) = self.0.remove(from) {
            self.0.insert((from.0, to), waiting);
        }
    }

    /// Removes the registration of a wait.
    pub(crate) fn forget(&mut self, key: &Key, wait: &Arc<Wait<T>>) {
        let is_it = |waiting: &Waiting<T>| Arc::ptr_eq(&waiting.wait, wait);
        if self.0.get(key).is_some_and(is_it) {
            self.0.remove(key);
            return;
        }
        // The wait was answered, or has moved along with a rename. Renames are rare, so a search is acceptable.
        let mut all = self
            .0
            .extract_if(.., |own, waiting| own.0 == key.0 && is_it(waiting));
        drop(all.next());
    }
}
