//! The reach of each search for the sessions that block a recalled session.
//!
//! The process reports to the store which sessions block the threads inside a recalled session. It finds them by a
//! search over threads and the sessions in which these threads wait. The result can change only when one of these
//! sessions takes a step, or one of these threads begins to wait. All of this is derived from the rest of the process's
//! state.

use crate::id::{SessionId, ThreadId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// The threads and sessions that a search has visited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) threads: Vec<ThreadId>,
    pub(crate) sessions: Vec<SessionId>,
}

/// The reach of each recalled session; see the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    of: BTreeMap<SessionId, Reach>,
    by_thread: BTreeMap<ThreadId, BTreeSet<SessionId>>,
    by_session: BTreeMap<SessionId, BTreeSet<SessionId>>,
    /// Whether a report could not be sent. Then every recalled session is searched again.
    pub(crate) is_stale: bool,
}

impl Watch {
    /// Sets the reach of the last search for `id`.
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

    /// Forgets the reach of `id`, which is not reported any more.
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

    /// Returns the recalled sessions whose search has visited the session `id`.
    pub(crate) fn of_session(&self, id: &SessionId) -> impl Iterator<Item = &SessionId> {
        self.by_session.get(id).into_iter().flatten()
    }

    /// Returns the recalled sessions whose search has visited `thread`.
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
