//! A handle to one session.

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

/// A session, by its id; from [`Locks::session`](crate::Locks::session). Cheap to clone, for threads and tasks to share: going
/// through it skips the look-up.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) hub: Arc<Hub>,
    pub(crate) entry: Arc<Entry>,
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.entry.id
    }

    /// Asks for one attribute, which need not exist.
    #[track_caller]
    #[inline(always)]
    pub fn lock<'s, N: AsRef<[u8]> + ?Sized>(&'s self, name: &'s N) -> LockRequest<'s> {
        LockRequest::new(SessionRef::Handle(self), name.as_ref(), Location::caller())
    }

    /// Requests the lock of one attribute, as [`Session::lock`], for a guard that borrows nothing: it is `Send` and `'static`, so a task
    /// that was spawned can return it and a struct can store it. Costs one allocation more than [`Session::lock`].
    #[track_caller]
    pub fn lock_owned(&self, name: impl AsRef<[u8]>) -> OwnedLockRequest {
        OwnedLockRequest::new(self.clone(), name.as_ref(), None, Location::caller())
    }

    /// As [`Session::lock_owned`]; `keeps` is dropped after the request and its guard.
    #[doc(hidden)]
    #[track_caller]
    pub fn lock_owned_keeping(
        &self,
        name: impl AsRef<[u8]>,
        keeps: StdArc<dyn Any + Send + Sync>,
    ) -> OwnedLockRequest {
        OwnedLockRequest::new(self.clone(), name.as_ref(), Some(keeps), Location::caller())
    }

    /// Asks for several attributes, all of them or none: nobody waits while it holds a part.
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

    /// Asks for the whole session: all attributes that exist, or might come to exist.
    #[track_caller]
    pub fn lock_all(&self) -> LockSetRequest<'_> {
        LockSetRequest::new(self, Ok(Names::All), Location::caller())
    }

    /// Gives the grant back if no thread is inside. Rule 4.
    pub fn release(&self) {
        if self.hub.is_forked() {
            return;
        }
        let mut step = self.hub.step();
        step.run(Input::Release(self.entry.id.clone()));
        step.finish();
    }

    /// Whether both are handles to the same session of the same manager.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entry, &other.entry)
    }

    /// Who is inside and who waits.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.hub.busy(&self.entry)
    }

    /// The last write set of this session that a panic or a lost grant discarded, if any since the session is known here.
    #[must_use]
    pub fn last_discard(&self) -> Option<Discard> {
        if self.hub.is_forked() {
            return None;
        }
        self.entry.lock().state.discard().cloned()
    }
}
