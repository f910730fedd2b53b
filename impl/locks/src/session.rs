//! The handle to one session.

use crate::entry::Entry;
use crate::hub::Hub;
use crate::owned::OwnedLockRequest;
use crate::request::{LockRequest, LockSetRequest};
use crate::session_ref::SessionRef;
use crate::snapshot::{Busy, Discard};
use crate::sync::Arc;
use std::any::Any;
use std::panic::Location;
use std::sync::Arc as StdArc;
use tenure_protocol::process::{Input, Names};
use tenure_protocol::{AttributeName, SessionId};

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

    /// Requests the lock of one attribute. The attribute need not exist.
    #[track_caller]
    #[inline(always)]
    pub fn lock<'s, N: AsRef<[u8]> + ?Sized>(&'s self, name: &'s N) -> LockRequest<'s> {
        LockRequest::new(SessionRef::Handle(self), name.as_ref(), Location::caller())
    }

    /// Requests the lock of one attribute, for a guard without a borrow. The guard is `Send` and `'static`, so a
    /// spawned task can return it and a struct can store it. Costs one allocation more than [`Session::lock`].
    #[track_caller]
    pub fn lock_owned(&self, name: impl AsRef<[u8]>) -> OwnedLockRequest {
        OwnedLockRequest::new(self.clone(), name.as_ref(), None, Location::caller())
    }

    /// Requests a lock as [`Session::lock_owned`] does. `keeps` is dropped after the request and its guard.
    #[doc(hidden)]
    #[track_caller]
    pub fn lock_owned_keeping(
        &self,
        name: impl AsRef<[u8]>,
        keeps: StdArc<dyn Any + Send + Sync>,
    ) -> OwnedLockRequest {
        OwnedLockRequest::new(self.clone(), name.as_ref(), Some(keeps), Location::caller())
    }

    /// Requests the locks of several attributes, all or none. A thread never waits while it holds some of these locks.
    #[track_caller]
    pub fn lock_many<N: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> LockSetRequest<'_> {
        let names: Result<Vec<AttributeName>, _> = names
            .into_iter()
            .map(|name| self.hub.name(name.as_ref()))
            .collect();
        let names = names.map(|mut names| {
            names.sort_unstable();
            names.dedup();
            Names::Many(names)
        });
        LockSetRequest::new(self, names, Location::caller())
    }

    /// Requests the lock of the whole session: of all attributes that exist or that another thread could create.
    #[track_caller]
    pub fn lock_all(&self) -> LockSetRequest<'_> {
        LockSetRequest::new(self, Ok(Names::All), Location::caller())
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
