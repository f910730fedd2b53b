//! The store's clock: milliseconds since the Unix epoch, so that a time to live goes on over a restart, and never going back
//! while the store runs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tenure_protocol::Time;

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// What the system's clock said at the origin.
    start_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            origin: Instant::now(),
            start_ms: millis(since),
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time(self.start_ms.saturating_add(millis(self.origin.elapsed())))
    }

    /// The point in time that `time` is.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        // Far enough away to mean never, near enough to be added.
        const FAR_MS: u64 = 1 << 40;
        self.origin + Duration::from_millis(time.0.saturating_sub(self.start_ms).min(FAR_MS))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
