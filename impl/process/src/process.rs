//! The handles: a process, and its sessions.

use crate::builder::Builder;
use crate::error::{ConnectError, ShutdownError};
use crate::shared::{Phase, Shared, State, block_on};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tenure_locks::{Busy, Discard, Error, LockRequest, LockSetRequest, OwnedLockRequest};
use tenure_protocol::SessionId;

/// This application as the store knows it: one process with its lease, and the sessions that it keeps. Clones are the same.
///
/// Dropping the last handle, sessions included, releases everything in the background, as [`Process::shutdown`] does.
#[derive(Clone, Debug)]
pub struct Process {
    handle: Arc<Handle>,
}

/// What all handles hold, so that the last one is noticed.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.locks.is_forked() {
            return; // The parent's, which goes on.
        }
        let limit = self.0.shutdown_timeout;
        let locks = &self.0.locks;
        // It panics where the locks are broken; perhaps that is why this is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| locks.shutdown()));
        self.0.orders.send_modify(|orders| {
            let by = || Instant::now() + limit;
            orders.shutdown_by = Some(orders.shutdown_by.unwrap_or_else(by));
            orders.is_dropped = true;
        });
    }
}

impl Process {
    /// Connects to the store at `address` (`host:port`) with everything else as usual, and waits until it has welcomed this
    /// process. Needs no runtime of any kind.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(address: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder(address).connect().await
    }

    /// As [`Process::connect`]; blocks this OS thread.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect_blocking(address: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder(address).connect_blocking()
    }

    /// For a name, times and limits of one's own.
    pub fn builder(address: impl Into<String>) -> Builder {
        Builder::new(address.into())
    }

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
                why: "it ended early; its panic says why".to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// A session, by its id of 1..=128 bytes, whether or not there is one: it begins with the first write. Sends nothing.
    ///
    /// # Errors
    /// [`Error::Name`] when the id is empty or longer.
    pub fn session(&self, id: impl AsRef<[u8]>) -> Result<Session, Error> {
        let id = SessionId::new(id.as_ref().to_vec())?;
        self.refuse_forked()?;
        Ok(Session {
            locks: self.shared().locks.session(&id),
            process: self.clone(),
        })
    }

    /// Requests the lock of one attribute by session id. Cheaper than `session(id)?.lock(name)` when a single lock is needed.
    #[track_caller]
    #[inline]
    pub fn lock<'p, N: AsRef<[u8]> + ?Sized>(
        &'p self,
        session: &'p SessionId,
        name: &'p N,
    ) -> LockRequest<'p> {
        self.shared().locks.lock(session, name)
    }

    /// Gives a session back to the store if no thread is inside; what was written to it goes along. Sends one message.
    ///
    /// # Errors
    /// [`Error::Name`] when the id is empty or too long.
    pub fn release(&self, id: impl AsRef<[u8]>) -> Result<(), Error> {
        let id = SessionId::new(id.as_ref().to_vec())?;
        self.refuse_forked()?;
        self.shared().locks.release(&id);
        Ok(())
    }

    /// The sessions that threads use or wait for, with the lines of the program where they were locked. Looks at all that are
    /// known.
    #[must_use]
    pub fn busy(&self) -> Vec<Busy> {
        self.shared().locks.busy()
    }

    /// How it is, now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::new(self.shared(), &self.shared().now())
    }

    /// Waits until it is as `is_wanted`: looked at whenever it gains or loses its connection, stops, or meets an error.
    pub async fn when(&self, mut is_wanted: impl FnMut(&Status) -> bool) -> Status {
        let shared = self.shared();
        let is_wanted = |state: &State| is_wanted(&Status::new(shared, state));
        let state = shared.when(is_wanted).await;
        Status::new(shared, &state)
    }

    /// Stops: lets no thread in any more, gives each session back when the threads inside have left, says goodbye. Whoever
    /// waits for a lock gets [`Error::ShuttingDown`]. Waits as long as [`Builder::shutdown_timeout`] says.
    ///
    /// # Errors
    /// [`ShutdownError`] when not all was given back in time: threads are inside, or the store does not answer.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        self.shutdown_within(self.shared().shutdown_timeout).await
    }

    /// As [`Process::shutdown`], with a limit of its own.
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

    /// As [`Process::shutdown`]; blocks this OS thread.
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

/// How a process is, from [`Process::status`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What it is about.
    pub phase: Phase,
    /// Its name.
    pub name: String,
    /// Which start of the name it is.
    pub incarnation: u64,
    /// The address of its store.
    pub address: String,
    /// How much longer it may use what it holds if nothing is heard from the store; `None` without a lease.
    pub lease_left: Option<Duration>,
    /// How many sessions it holds, in use or cached.
    pub held: usize,
    /// How often a store has welcomed it.
    pub connections: u64,
    /// What went wrong last with the connection, in words, even if all is well again.
    pub last_error: Option<String>,
    /// How many log events of this process were dropped: the `tracing` subscriber was too slow, blocked, or panicked.
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

/// A session of a [`Process`], for threads and tasks to share. Cheap to clone; a lock through it skips the look-up of the session's id.
/// The process does not stop as long as it has a session.
#[derive(Clone, Debug)]
pub struct Session {
    locks: tenure_locks::Session,
    process: Process,
}

impl Session {
    /// Returns the process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        self.locks.id()
    }

    /// Requests the lock of one attribute, which need not exist. Nothing happens until the request is awaited or
    /// [`blocking`](LockRequest::blocking).
    #[track_caller]
    #[inline(always)]
    pub fn lock<'s, N: AsRef<[u8]> + ?Sized>(&'s self, name: &'s N) -> LockRequest<'s> {
        self.locks.lock(name)
    }

    /// Requests the lock of one attribute, for a guard that borrows nothing: it is `Send` and `'static`, so a spawned task can return it
    /// and a struct can store it. Costs one allocation more than [`Session::lock`]. The guard keeps the process from stopping.
    #[track_caller]
    pub fn lock_owned(&self, name: impl AsRef<[u8]>) -> OwnedLockRequest {
        let process = Arc::clone(&self.process.handle);
        self.locks.lock_owned_keeping(name, process)
    }

    /// Requests the locks of several attributes, all of them or none: a thread never waits while it holds a part of them.
    #[track_caller]
    pub fn lock_many<N: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> LockSetRequest<'_> {
        self.locks.lock_many(names)
    }

    /// Requests the lock of the whole session: all attributes that exist, or might come to exist.
    #[track_caller]
    pub fn lock_all(&self) -> LockSetRequest<'_> {
        self.locks.lock_all()
    }

    /// Gives the session back to the store if no thread is inside; what was written to it goes along.
    pub fn release(&self) {
        self.locks.release();
    }

    /// Returns whether both are handles to the same session of the same process.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.locks.is_same(&other.locks)
    }

    /// Returns which threads are inside, and which wait.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.locks.busy()
    }

    /// Returns the last write set of this session that a panic or a lost grant discarded; `None` if there was none since the process
    /// knows the session.
    #[must_use]
    pub fn last_discard(&self) -> Option<Discard> {
        self.locks.last_discard()
    }
}
