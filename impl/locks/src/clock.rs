//! The manager's clock and the end of the lease. They are together, since every lock compares both.

use crate::host::{Host, Std};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenure_protocol::Time;

/// The source of the time.
#[derive(Debug)]
enum Source {
    /// A manual clock: the time is set by the user.
    Manual,
    Host(Box<dyn Host>),
}

/// The clock and the end of the lease. See the [module](self). Nothing else that changes often shares its cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Clock {
    source: Source,
    /// The last exact reading, for times that are shown to people.
    seen: AtomicU64,
    /// The end of the lease. 0 means that there is no lease.
    lease: AtomicU64,
    /// The counter of forks. `born` is its value in the OS process that created the manager.
    forks: &'static AtomicU64,
    born: u64,
}

/// The counter for hosts that count no forks.
static NO_FORKS: AtomicU64 = AtomicU64::new(0);

impl Clock {
    fn new(source: Source) -> Self {
        let forks = match &source {
            Source::Host(host) => host.forks(),
            Source::Manual => None,
        };
        let forks = forks.unwrap_or(&NO_FORKS);
        Self {
            source,
            seen: AtomicU64::new(0),
            lease: AtomicU64::new(0),
            forks,
            born: forks.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn system() -> Self {
        Self::of(Box::new(Std::new()))
    }

    pub(crate) fn of(host: Box<dyn Host>) -> Self {
        Self::new(Source::Host(host))
    }

    pub(crate) fn manual() -> Self {
        Self::new(Source::Manual)
    }

    /// Returns the exact time.
    pub(crate) fn now(&self) -> Time {
        let Source::Host(host) = &self.source else {
            return self.seen();
        };
        let now = host.now();
        if now != self.seen() {
            self.seen.store(now.0, Ordering::Relaxed);
        }
        now
    }

    /// Returns the time as of the host's coarse clock.
    #[inline(always)]
    pub(crate) fn coarse(&self) -> Time {
        match &self.source {
            Source::Manual => self.seen(),
            Source::Host(host) => host.coarse(),
        }
    }

    /// Returns the last exact reading of the clock.
    #[inline(always)]
    pub(crate) fn seen(&self) -> Time {
        Time(self.seen.load(Ordering::Relaxed))
    }

    /// Moves a manual clock forward. The clock never goes back.
    pub(crate) fn set(&self, now: Time) {
        if matches!(self.source, Source::Manual) {
            self.seen.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// Returns whether this OS thread may sleep. See [`Host::may_sleep`].
    pub(crate) fn may_sleep(
        &self,
        is_local: &dyn Fn() -> bool,
        place: &'static Location<'static>,
    ) -> bool {
        match &self.source {
            Source::Manual => true,
            Source::Host(host) => host.may_sleep(is_local, place),
        }
    }

    /// Records the end of the lease.
    pub(crate) fn set_lease(&self, lease: Option<Time>) {
        let lease = lease.map_or(0, |end| end.0);
        if lease != self.lease.load(Ordering::Relaxed) {
            self.lease.store(lease, Ordering::Relaxed);
        }
    }

    /// Returns whether the lease has ended at `now`, or this OS process is a fork. Without a lease, returns true at any
    /// time except 0.
    #[inline(always)]
    pub(crate) fn is_past_lease(&self, now: Time) -> bool {
        now.0 > self.lease.load(Ordering::Relaxed) || self.is_forked()
    }

    /// Returns whether this OS process is a child, by `fork`, of the process that created the manager.
    #[inline(always)]
    pub(crate) fn is_forked(&self) -> bool {
        self.forks.load(Ordering::Relaxed) != self.born
    }

    /// Returns the time until `then`. With a manual clock, returns the maximum duration.
    pub(crate) fn until(&self, then: Time) -> Duration {
        match self.source {
            Source::Manual => Duration::MAX,
            Source::Host(_) => Duration::from_millis(then.since(self.now()).min(1 << 40)),
        }
    }
}
