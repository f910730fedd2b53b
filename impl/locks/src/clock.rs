//! The manager's clock, and the end of the lease on it: together, since every lock compares both.

use crate::host::{Host, Std};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenure_protocol::Time;

/// Where the time comes from.
#[derive(Debug)]
enum Source {
    /// The time is what it was last set to.
    Manual,
    Host(Box<dyn Host>),
}

/// See the [module](self). Nothing else that changes often shares its cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Clock {
    source: Source,
    /// The time of the last look, for uses that show it to people.
    seen: AtomicU64,
    /// The end of the lease; zero when there is none.
    lease: AtomicU64,
    /// Counts forks; `born` is what it was in the OS process that made this.
    forks: &'static AtomicU64,
    born: u64,
}

/// Stands for a counter where nothing counts.
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

    /// Returns the time of the last exact look.
    #[inline(always)]
    pub(crate) fn seen(&self) -> Time {
        Time(self.seen.load(Ordering::Relaxed))
    }

    /// Sets a manual clock; it never goes back.
    pub(crate) fn set(&self, now: Time) {
        if matches!(self.source, Source::Manual) {
            self.seen.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// See [`Host::may_sleep`].
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

    /// Notes the end of the lease.
    pub(crate) fn set_lease(&self, lease: Option<Time>) {
        let lease = lease.map_or(0, |end| end.0);
        if lease != self.lease.load(Ordering::Relaxed) {
            self.lease.store(lease, Ordering::Relaxed);
        }
    }

    /// Whether the lease has ended at `now`, or this OS process has none. Without a lease it has, at any time but zero.
    #[inline(always)]
    pub(crate) fn is_past_lease(&self, now: Time) -> bool {
        now.0 > self.lease.load(Ordering::Relaxed) || self.is_forked()
    }

    /// Whether this OS process is a child, by `fork`, of the one that made this.
    #[inline(always)]
    pub(crate) fn is_forked(&self) -> bool {
        self.forks.load(Ordering::Relaxed) != self.born
    }

    /// Returns the time that is left until `then`; the longest possible one when the clock is set by hand.
    pub(crate) fn until(&self, then: Time) -> Duration {
        match self.source {
            Source::Manual => Duration::MAX,
            Source::Host(_) => Duration::from_millis(then.since(self.now()).min(1 << 40)),
        }
    }
}
