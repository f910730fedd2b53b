//! The services that the manager needs from the OS process: clocks, a counter of forks, and permission to sleep.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tenure_protocol::Time;

/// The services that the manager needs from the OS process, for [`Locks::with_host`](crate::Locks::with_host).
///
/// Both clocks count milliseconds from the same moment.
pub trait Host: fmt::Debug + Send + Sync {
    /// Returns the exact time, which never goes back. Read by every step outside of the fast path.
    fn now(&self) -> Time;

    /// Returns the time as of the last update of a cheap clock. Every lock reads this clock, so the call should take
    /// only a few nanoseconds.
    ///
    /// Once this time is past the end of the lease, no cached lock is granted. A clock that another thread must update
    /// is not sufficient: after a stop of the whole OS process, that thread may run last.
    fn coarse(&self) -> Time;

    /// Returns a counter that has changed in the child of each `fork`, but not in the parent. Returns `None` if forks
    /// are not counted.
    ///
    /// In a child, every call of the manager fails with [`Error::Forked`](crate::Error::Forked). The manager's threads
    /// do not exist there, its mutexes may have been held at the fork, and its grants belong to the parent.
    fn forks(&self) -> Option<&'static AtomicU64> {
        None
    }

    /// Returns whether this OS thread may sleep until the lock requested at `place` is granted. `is_local` returns
    /// whether another thread or task of this process holds the lock or comes first. If not, the wait is only for the
    /// store.
    ///
    /// A host that knows an async runtime returns `false` if the sleep could keep that other task from running. The
    /// request then fails with [`Error::BlocksRuntime`](crate::Error::BlocksRuntime).
    fn may_sleep(&self, is_local: &dyn Fn() -> bool, place: &'static Location<'static>) -> bool {
        let _ = (is_local, place);
        true
    }
}

/// The clock of `std`. The coarse time is the last exact reading of any thread.
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
