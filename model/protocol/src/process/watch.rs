//! Which recalled sessions a step concerns, of those about which the store was told what blocks their threads.
//!
//! What blocks them was found by a search over threads and the sessions in which these wait. It can change only when one of
//! those sessions takes a step, or one of those threads begins to wait. It follows from the rest of a process's state.

use crate::id::{SessionId, ThreadId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What a search has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) threads: Vec<ThreadId>,
    pub(crate) sessions: Vec<SessionId>,
}

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    of: BTreeMap<SessionId, Reach>,
    by_thread: BTreeMap<ThreadId, BTreeSet<SessionId>>,
    by_session: BTreeMap<SessionId, BTreeSet<SessionId>>,
    /// Whether something could not be said: then all are looked at again.
    pub(crate) is_stale: bool,
}

impl Watch {
    /// The last search for `id` has come to this.
    pub(crate) fn set(&mut self, id: &SessionId, reach: Reach) {
        self.forget(id);
        for thread in &reach.threads {
            add(&mut self.by_thread, thread, id);
        }
        for session in &reach.sessions {
            add(&mut self.by_session, session, id);
        }
        self.of.insert(id.clone(), reach);
    }

    /// Nothing is said of `id` any more.
    pub(crate) fn forget(&mut self, id: &SessionId) {
        let Some(reach) = self.of.remove(id) else {
            return;
        };
        for thread in &reach.threads {
            remove(&mut self.by_thread, thread, id);
        }
        for session in &reach.sessions {
            remove(&mut self.by_session, session, id);
        }
    }

    /// Those for which the search came to a session.
    pub(crate) fn of_session(&self, id: &SessionId) -> impl Iterator<Item = &SessionId> {
        self.by_session.get(id).into_iter().flatten()
    }

    /// Those for which the search came to a thread.
    pub(crate) fn of_thread(&self, thread: ThreadId) -> impl Iterator<Item = &SessionId> {
        self.by_thread.get(&thread).into_iter().flatten()
    }
}

type Sets<K> = BTreeMap<K, BTreeSet<SessionId>>;

fn add<K: Ord + Clone>(sets: &mut Sets<K>, key: &K, id: &SessionId) {
    sets.entry(key.clone()).or_default().insert(id.clone());
}

fn remove<K: Ord>(sets: &mut Sets<K>, key: &K, id: &SessionId) {
    if let Some(own) = sets.get_mut(key) {
        own.remove(id);
        if own.is_empty() {
            sets.remove(key);
        }
    }
}
