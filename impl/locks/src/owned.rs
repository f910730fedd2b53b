//! Guards without a lifetime, for spawned tasks and stored values.
//!
//! A [`Guard`] borrows the handle of its session, so a cached lock counts no references. An [`OwnedGuard`] owns a
//! handle on the heap, and a guard that borrows that handle. Each owned lock therefore costs one allocation.
//!
//! # Why there is `unsafe` here
//!
//! A field borrows its neighbour field, and no lifetime can express that. The borrow is sound for two reasons. First,
//! the borrowed [`Owner`] is behind an [`Arc`]: it never moves, and no code has mutable access to it. Second, fields
//! are dropped in declaration order, so the borrowing field is dropped before the owner. A [`Commit`] names the same
//! lifetime, but it borrows the guard and exposes nothing of the owner.
#![allow(unsafe_code)]

use crate::error::Error;
use crate::guard::{Commit, Guard};
use crate::request::LockRequest;
use crate::session::Session;
use crate::session_ref::SessionRef;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tenure_protocol::attributes::Value;
use tenure_protocol::{AttributeName, SessionId, ThreadId, Token};

/// The data that an owned request and its guard borrow.
struct Owner {
    session: Session,
    name: Box<[u8]>,
    /// A value that must live as long as the lock. Never read.
    _keeps: Option<Arc<dyn Any + Send + Sync>>,
}

/// A request for the lock of one attribute, from [`Session::lock_owned`]. Like [`LockRequest`], without a borrow of the
/// session.
#[must_use = "a request locks nothing until it is awaited or `blocking` is called"]
pub struct OwnedLockRequest {
    request: LockRequest<'static>,
    owner: Arc<Owner>,
}

/// A lock on one attribute. Like [`Guard`], without a borrow of the session. The guard can be stored, and sent to
/// another task or thread.
#[must_use = "dropping a guard unlocks its attribute at once"]
pub struct OwnedGuard {
    guard: Guard<'static>,
    owner: Arc<Owner>,
}

impl Session {
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
        keeps: Arc<dyn Any + Send + Sync>,
    ) -> OwnedLockRequest {
        OwnedLockRequest::new(self.clone(), name.as_ref(), Some(keeps), Location::caller())
    }
}

impl OwnedLockRequest {
    pub(crate) fn new(
        session: Session,
        name: &[u8],
        keeps: Option<Arc<dyn Any + Send + Sync>>,
        place: &'static Location<'static>,
    ) -> Self {
        let owner = Arc::new(Owner {
            session,
            name: name.into(),
            _keeps: keeps,
        });
        // SAFETY: the owner lives until the request and its guard have been dropped, see the module.
        let borrowed: &'static Owner = unsafe { &*Arc::as_ptr(&owner) };
        let of = SessionRef::Handle(&borrowed.session);
        Self {
            request: LockRequest::new(of, &borrowed.name, place),
            owner,
        }
    }

    fn with(self, change: impl FnOnce(LockRequest<'static>) -> LockRequest<'static>) -> Self {
        let Self { request, owner } = self;
        Self {
            request: change(request),
            owner,
        }
    }

    /// Sets the time limit of the wait, see [`LockRequest::timeout`].
    pub fn timeout(self, limit: Duration) -> Self {
        self.with(|request| request.timeout(limit))
    }

    /// Makes the request a try that waits for no thread, see [`LockRequest::try_lock`].
    pub fn try_lock(self) -> Self {
        self.with(LockRequest::try_lock)
    }

    /// Restricts the request to a session that exists, see [`LockRequest::existing`].
    pub fn existing(self) -> Self {
        self.with(LockRequest::existing)
    }

    /// Makes the request on behalf of the thread that holds another guard, see [`LockRequest::beside`].
    pub fn beside(self, thread: ThreadId) -> Self {
        self.with(|request| request.beside(thread))
    }

    /// Blocks this OS thread until the attribute is locked, see [`LockRequest::blocking`].
    ///
    /// # Errors
    /// As [`LockRequest::blocking`].
    pub fn blocking(self) -> Result<OwnedGuard, Error> {
        let Self { request, owner } = self;
        let guard = request.blocking()?;
        Ok(OwnedGuard { guard, owner })
    }
}

impl Future for OwnedLockRequest {
    type Output = Result<OwnedGuard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = Pin::new(&mut self.request).poll(context);
        result.map(|result| {
            let guard = result?;
            let owner = Arc::clone(&self.owner);
            Ok(OwnedGuard { guard, owner })
        })
    }
}

impl fmt::Debug for OwnedLockRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("OwnedLockRequest");
        shown
            .field("session", &self.owner.session.entry)
            .finish_non_exhaustive()
    }
}

impl OwnedGuard {
    /// Returns the id of the session.
    #[must_use]
    pub fn session_id(&self) -> &SessionId {
        self.guard.session_id()
    }

    /// Returns the thread that owns the lock, see [`Guard::thread`].
    #[must_use]
    pub fn thread(&self) -> ThreadId {
        self.guard.thread()
    }

    /// Returns the attribute's name.
    #[must_use]
    pub fn name(&self) -> &AttributeName {
        self.guard.name()
    }

    /// Returns the attribute's value without a copy, or `None` if the attribute does not exist.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.guard.bytes()
    }

    /// Replaces the attribute's value without copying it.
    ///
    /// # Errors
    /// As [`Guard::set`].
    pub fn set(&mut self, value: impl Into<Value>) -> Result<(), Error> {
        self.guard.set(value)
    }

    /// Removes the attribute.
    ///
    /// # Errors
    /// As [`Guard::remove`].
    pub fn remove(&mut self) -> Result<(), Error> {
        self.guard.remove()
    }

    /// Changes the attribute's value in place, see [`Guard::edit`].
    ///
    /// # Errors
    /// As [`Guard::edit`].
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, Error> {
        self.guard.edit(change)
    }

    /// Returns the fencing token of the grant, for other resources.
    #[must_use]
    pub fn token(&self) -> Token {
        self.guard.token()
    }

    /// Returns whether the store has recalled the session, see [`Guard::recalled`].
    #[must_use]
    pub fn recalled(&self) -> bool {
        self.guard.recalled()
    }

    /// Checks by the exact clock that the grant is still valid, see [`Guard::check`].
    ///
    /// # Errors
    /// As [`Guard::check`].
    pub fn check(&self) -> Result<(), Error> {
        self.guard.check()
    }

    /// Makes the writes under this guard durable, and keeps the lock, see [`Guard::commit`].
    pub fn commit(&mut self) -> Commit<'_, 'static> {
        self.guard.commit()
    }

    /// Unlocks the attribute, and returns whether the grant was still valid.
    ///
    /// # Errors
    /// As [`Guard::unlock`].
    pub fn unlock(self) -> Result<(), Error> {
        let Self { guard, owner } = self;
        let result = guard.unlock();
        drop(owner);
        result
    }

    /// Discards the writes under this guard, and unlocks the attribute.
    pub fn discard(self) {
        let Self { guard, owner } = self;
        guard.discard();
        drop(owner);
    }
}

impl fmt::Debug for OwnedGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("OwnedGuard");
        shown
            .field("session", &self.owner.session.entry)
            .finish_non_exhaustive() // Never the value: it may be secret.
    }
}
