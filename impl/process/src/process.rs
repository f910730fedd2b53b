//! The handles of the application: [`Process`] and [`Session`].

use crate::error::{ConnectError, ShutdownError};
use crate::shared::{Phase, Shared, State, block_on};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tenure_locks::{Busy, Discard, Error, LockRequest, LockSetRequest, OwnedLockRequest};
use tenure_protocol::SessionId;

/// A process as the store sees it: this application with its lease and its cached sessions. Clones share one process.
///
/// Dropping the last handle, sessions included, releases everything in the background, as [`Process::shutdown`] does.
#[derive(Clone, Debug)]
pub struct Process {
    handle: Arc<Handle>,
}

/// The shared part of all handles: its drop is the drop of the last handle.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.locks.is_forked() {
            return; // The process belongs to the parent of the fork, which goes on.
        }
        let limit = self.0.shutdown_timeout;
        let locks = &self.0.locks;
        // This call panics if the locks are poisoned, and that panic may be why the handle is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| locks.shutdown()));
        self.0.order(|orders| {
            let by = || Instant::now() + limit;
            orders.shutdown_by = Some(orders.shutdown_by.unwrap_or_else(by));
            orders.is_dropped = true;
        });
    }
}

impl Process {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            handle: Arc::new(Handle(shared)),
        }
    }

    pub(crate) async fn welcomed(&self) -> Result<(), ConnectError> {
        let is_decided =
            |state: &State| state.connections > 0 || state.failure.is_some() || state.has_ended;
        let state = self.shared().when(is_decided).await;
        match state.failure {
            Some(failure) => Err(failure),
            None if state.connections == 0 => Err(ConnectError::Driver {
                why: "the driver's thread ended before it connected; its panic message on stderr says why".to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Returns a handle to the session with this id of 1..=128 bytes. Sends no message. The session need not exist: the
    /// first write creates it.
    ///
    /// # Errors
    /// [`Error::Name`] when the id is empty or too long. [`Error::Forked`] in a child of a `fork`.
    pub fn session(&self, id: impl AsRef<[u8]>) -> Result<Session, Error> {
        let id = SessionId::new(id.as_ref().to_vec())?;
        self.refuse_forked()?;
        Ok(Session {
            locks: self.shared().locks.session(&id),
            process: self.clone(),
        })
    }

    /// Requests the lock of one attribute by session id. Cheaper than `session(id)?.lock(name)` for a single lock.
    #[track_caller]
    #[inline]
    pub fn lock<'p, N: AsRef<[u8]> + ?Sized>(
        &'p self,
        session: &'p SessionId,
        name: &'p N,
    ) -> LockRequest<'p> {
        self.shared().locks.lock(session, name)
    }

    /// Gives a session and its writes back to the store, unless a thread holds a lock in it. Sends one message.
    ///
    /// # Errors
    /// [`Error::Name`] when the id is empty or too long. [`Error::Forked`] in a child of a `fork`.
    pub fn release(&self, id: impl AsRef<[u8]>) -> Result<(), Error> {
        let id = SessionId::new(id.as_ref().to_vec())?;
        self.refuse_forked()?;
        self.shared().locks.release(&id);
        Ok(())
    }

    /// Returns the sessions whose locks threads hold or wait for, with the source lines of the lock requests. Takes
    /// time in proportion to all sessions that the process knows.
    #[must_use]
    pub fn busy(&self) -> Vec<Busy> {
        self.shared().locks.busy()
    }

    /// Returns a snapshot of the current status.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::new(self.shared(), &self.shared().now())
    }

    /// Waits until `is_wanted` returns true for the status, and returns that status. The status is checked whenever the
    /// process gains or loses its connection, stops, or records an error.
    pub async fn when(&self, mut is_wanted: impl FnMut(&Status) -> bool) -> Status {
        let shared = self.shared();
        let is_wanted = |state: &State| is_wanted(&Status::new(shared, state));
        let state = shared.when(is_wanted).await;
        Status::new(shared, &state)
    }

    /// Stops the process: grants no more locks, gives each session back when its locks are released, and sends a
    /// goodbye. Waiting requests fail with [`Error::ShuttingDown`]. Waits at most for
    /// [`Builder::shutdown_timeout`](crate::Builder::shutdown_timeout).
    ///
    /// # Errors
    /// [`ShutdownError`] when grants are left at the time limit: threads still hold locks, or the store does not
    /// answer.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        self.shutdown_within(self.shared().shutdown_timeout).await
    }

    /// Stops the process as [`Process::shutdown`] does, with a time limit of this call.
    ///
    /// # Errors
    /// As [`Process::shutdown`].
    pub async fn shutdown_within(&self, limit: Duration) -> Result<(), ShutdownError> {
        let shared = self.shared();
        let by = Instant::now() + limit.min(Duration::from_secs(1 << 30));
        if !shared.locks.is_forked() {
            shared.shutdown(by);
        }
        let is_over = |state: &State| state.has_ended || state.late >= Some(by);
        let state = shared.when(is_over).await;
        if shared.locks.is_forked() {
            return Err(ShutdownError {
                waited: Duration::ZERO,
                busy: Vec::new(),
                held: 0,
                last_error: Some(Error::Forked.to_string()),
            });
        }
        if state.has_ended {
            return Ok(());
        }
        Err(ShutdownError {
            waited: limit,
            busy: shared.locks.busy(),
            held: shared.held(state.phase),
            last_error: match state.phase {
                Phase::Connected => None,
                _ => state.last_error.map(|why| why.to_string()),
            },
        })
    }

    /// Stops the process as [`Process::shutdown`] does, and blocks this OS thread until then.
    ///
    /// # Errors
    /// As [`Process::shutdown`].
    pub fn shutdown_blocking(&self) -> Result<(), ShutdownError> {
        block_on(self.shutdown())
    }

    fn refuse_forked(&self) -> Result<(), Error> {
        if self.shared().locks.is_forked() {
            return Err(Error::Forked);
        }
        Ok(())
    }

    fn shared(&self) -> &Shared {
        &self.handle.0
    }
}

/// A snapshot of the state of a process, from [`Process::status`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The phase of the connection.
    pub phase: Phase,
    /// The name of the process.
    pub name: String,
    /// The incarnation: a number that rises with each start of a process of this name.
    pub incarnation: u64,
    /// The address of the store.
    pub address: String,
    /// The time that is left of the lease if no message arrives from the store. `None` without a lease.
    pub lease_left: Option<Duration>,
    /// The number of sessions granted to this process, in use or cached.
    pub held: usize,
    /// The number of times that a store has accepted this process.
    pub connections: u64,
    /// The last error of the connection, in words. Stays set after a reconnect.
    pub last_error: Option<String>,
    /// The number of dropped log events: the `tracing` subscriber was too slow, blocked, or panicked.
    pub events_dropped: u64,
}

impl Status {
    fn new(shared: &Shared, state: &State) -> Self {
        let locks = &shared.locks;
        let now = locks.now();
        let lease = locks.lease().filter(|end| *end >= now);
        let lease = lease.map(|end| end.since(now));
        Self {
            phase: state.phase,
            name: shared.identity.name.to_string(),
            incarnation: shared.identity.incarnation.0,
            address: shared.identity.address.clone(),
            lease_left: lease.map(Duration::from_millis),
            held: lease.map_or(0, |_| shared.held(state.phase)),
            connections: state.connections,
            last_error: state.last_error.as_ref().map(ToString::to_string),
            events_dropped: shared.events_dropped.load(Ordering::Relaxed),
        }
    }
}

/// A session of a [`Process`], which threads and tasks can share. Cheap to clone. A lock through this handle skips the
/// look-up of the session's id. The process does not stop while a `Session` of it exists.
#[derive(Clone, Debug)]
pub struct Session {
    locks: tenure_locks::Session,
    process: Process,
}

impl Session {
    /// Returns the process of this session.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the id of this session.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        self.locks.id()
    }

    /// Requests the lock of one attribute. The attribute need not exist. The request starts when it is awaited or made
    /// [`blocking`](LockRequest::blocking).
    #[track_caller]
    #[inline(always)]
    pub fn lock<'s, N: AsRef<[u8]> + ?Sized>(&'s self, name: &'s N) -> LockRequest<'s> {
        self.locks.lock(name)
    }

    /// Requests the lock of one attribute, for a guard without a borrow. The guard is `Send` and `'static`, so a
    /// spawned task can return it and a struct can store it. Costs one allocation more than [`Session::lock`]. The
    /// process does not stop while the guard exists.
    #[track_caller]
    pub fn lock_owned(&self, name: impl AsRef<[u8]>) -> OwnedLockRequest {
        let process = Arc::clone(&self.process.handle);
        self.locks.lock_owned_keeping(name, process)
    }

    /// Requests the locks of several attributes, all or none. A thread never waits while it holds some of these locks.
    #[track_caller]
    pub fn lock_many<N: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> LockSetRequest<'_> {
        self.locks.lock_many(names)
    }

    /// Requests the lock of the whole session: of all attributes that exist or that another thread could create.
    #[track_caller]
    pub fn lock_all(&self) -> LockSetRequest<'_> {
        self.locks.lock_all()
    }

    /// Gives the session and its writes back to the store, unless a thread holds a lock in it.
    pub fn release(&self) {
        self.locks.release();
    }

    /// Returns whether both handles refer to the same session of the same process.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.locks.is_same(&other.locks)
    }

    /// Returns the threads that hold a lock in this session, and the threads that wait for one.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.locks.busy()
    }

    /// Returns the last write set of this session that a panic or a lost grant discarded. Returns `None` if none was
    /// discarded since the process loaded the session.
    #[must_use]
    pub fn last_discard(&self) -> Option<Discard> {
        self.locks.last_discard()
    }
}
