//! The handle to one session.

use crate::entry::Entry;
use crate::hub::Hub;
use crate::snapshot::{Busy, Discard};
use crate::sync::Arc;
use tenure_protocol::SessionId;
use tenure_protocol::process::Input;

/// A handle to a session, from [`Locks::session`](crate::Locks::session). Threads and tasks can share it. Cheap to
/// clone. A lock through a handle skips the look-up of the session's id.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) hub: Arc<Hub>,
    pub(crate) entry: Arc<Entry>,
}

impl Session {
    /// Returns the id of the session.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.entry.id
    }

    /// Gives the grant back to the store, unless a thread holds a lock in this session. Rule 4.
    pub fn release(&self) {
        if self.hub.is_forked() {
            return;
        }
        let mut step = self.hub.step();
        step.run(Input::Release(self.entry.id.clone()));
        step.finish();
    }

    /// Returns whether both handles refer to the same session of the same manager.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entry, &other.entry)
    }

    /// Returns the threads that hold a lock in this session, and the threads that wait for one.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.hub.busy(&self.entry)
    }

    /// Returns the last write set of this session that a panic or a lost grant discarded. Returns `None` if none was
    /// discarded since the manager has an entry for the session.
    #[must_use]
    pub fn last_discard(&self) -> Option<Discard> {
        if self.hub.is_forked() {
            return None;
        }
        self.entry.lock().state.discard().cloned()
    }
}
