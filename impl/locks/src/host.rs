//! The services that the manager takes from the OS process around it: the time, and whether that process is a copy of another one.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tenure_protocol::Time;

/// The services that the manager takes from the OS process around it, for [`Locks::with_host`](crate::Locks::with_host).
///
/// Both times are in milliseconds and begin at the same moment.
pub trait Host: fmt::Debug + Send + Sync {
    /// Returns the exact time, which never goes back. Read by every step that is not on the fast path.
    fn now(&self) -> Time;

    /// Returns the time as of the last update of a cheap clock. Read by every lock, so it should cost a few nanoseconds.
    ///
    /// A lock that is cached gives out no guard once this time is past the end of the lease. A clock that another thread must
    /// update does not suffice: after a stop of the whole OS process, that thread may run last.
    fn coarse(&self) -> Time;

    /// Returns a counter that the child of each `fork` finds changed, and its parent does not; `None` where nothing counts forks.
    ///
    /// In a child every call of the manager ends with [`Error::Forked`](crate::Error::Forked): its threads are gone, its locks
    /// may have been in use, and its grants belong to the parent.
    fn forks(&self) -> Option<&'static AtomicU64> {
        None
    }

    /// Says whether this OS thread may sleep until the lock is granted that it asks for at `place`. `is_local` looks whether another
    /// thread or task of this process has the lock or comes first; otherwise only the store is waited for.
    ///
    /// A host that knows of a runtime returns `false` where the sleep might keep that other task from running. The request then
    /// ends with [`Error::BlocksRuntime`](crate::Error::BlocksRuntime).
    fn may_sleep(&self, is_local: &dyn Fn() -> bool, place: &'static Location<'static>) -> bool {
        let _ = (is_local, place);
        true
    }
}

/// The clock of `std`. Its coarse time is that of the last exact look, in whatever thread that was.
#[derive(Debug)]
pub(crate) struct Std {
    origin: Instant,
    looked: AtomicU64,
}

impl Std {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            looked: AtomicU64::new(0),
        }
    }
}

impl Host for Std {
    fn now(&self) -> Time {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.looked.store(now, Ordering::Relaxed);
        Time(now)
    }

    fn coarse(&self) -> Time {
        Time(self.looked.load(Ordering::Relaxed))
    }
}
