//! The manager's clock: monotonic, in milliseconds since the manager was made.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tenure_protocol::Time;

/// Where the time comes from.
#[derive(Debug)]
pub(crate) struct Clock {
    /// `None`: the time is what it was last set to.
    origin: Option<Instant>,
    /// As of the last tick, for those who cannot afford to look.
    coarse: AtomicU64,
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self {
            origin: Some(Instant::now()),
            coarse: AtomicU64::new(0),
        }
    }

    pub(crate) fn manual() -> Self {
        Self {
            origin: None,
            coarse: AtomicU64::new(0),
        }
    }

    /// The time, exactly.
    pub(crate) fn now(&self) -> Time {
        match self.origin {
            Some(origin) => {
                let now = u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.coarse.store(now, Ordering::Relaxed);
                Time(now)
            }
            None => self.coarse(),
        }
    }

    /// The time as of the last look.
    #[inline]
    pub(crate) fn coarse(&self) -> Time {
        Time(self.coarse.load(Ordering::Relaxed))
    }

    /// Sets a manual clock; it never goes back.
    pub(crate) fn set(&self, now: Time) {
        if self.origin.is_none() {
            self.coarse.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// How long it is until `then`; as long as a wait can be when the clock is set by hand.
    pub(crate) fn until(&self, then: Time) -> Duration {
        match self.origin {
            Some(origin) => {
                let then = origin + Duration::from_millis(then.0.min(1 << 40));
                then.saturating_duration_since(Instant::now())
            }
            None => Duration::MAX,
        }
    }
}
