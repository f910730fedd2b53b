//! The clocks and the fork counter of this OS process, for the lock manager.

use crate::place::Place;
use crate::{blocking, os};
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tenure_locks::Host;
use tenure_protocol::Time;

/// How far the coarse clock may lag before the driver assumes a suspend of the machine, in milliseconds. The resolution
/// of the coarse clock is 10 ms at most.
const SLEPT_MS: u64 = 50;

/// The two clocks of the lock manager: an exact one and a coarse, cheap one.
///
/// The exact clock counts the time of a suspend, and the coarse clock does not. The next exact reading after a suspend
/// corrects the coarse clock. The driver takes that reading with its next tick. Until then, a lock may be granted from
/// the cache although the lease has ended.
#[derive(Debug)]
pub(crate) struct OsHost {
    clocks: Clocks,
    /// The exact time at which this value was created.
    origin: u64,
    /// The correction that is added, wrapping, to the coarse clock.
    offset: AtomicU64,
    forks: &'static AtomicU64,
    /// The place of the driver, which must leave a runtime that blocks. `None` in tests of the clocks.
    place: Option<Arc<Place>>,
}

/// The sources of the times. Tests replace them.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    /// The time since the boot, including suspends.
    boot_ms: fn() -> u64,
    coarse_awake_ms: fn() -> u64,
}

impl OsHost {
    /// # Errors
    /// The kernel lacks one of the clocks, or the C library has no memory.
    pub(crate) fn new(place: Arc<Place>) -> io::Result<Self> {
        let clocks = Clocks {
            boot_ms: os::boot_ms,
            coarse_awake_ms: os::coarse_awake_ms,
        };
        let host = Self::with(clocks, os::awake_ms(), os::forks()?).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel has no CLOCK_BOOTTIME or no CLOCK_MONOTONIC_COARSE; Tenure needs both",
            )
        })?;
        Ok(Self {
            place: Some(place),
            ..host
        })
    }

    /// Returns `None` if one of the clocks is missing.
    fn with(clocks: Clocks, awake_ms: u64, forks: &'static AtomicU64) -> Option<Self> {
        let origin = (clocks.boot_ms)();
        let is_missing = [origin, awake_ms, (clocks.coarse_awake_ms)()].contains(&0);
        (!is_missing).then(|| Self {
            clocks,
            origin,
            offset: AtomicU64::new(awake_ms.wrapping_neg()),
            forks,
            place: None,
        })
    }

    #[inline(always)]
    fn coarse_ms(&self, raw: u64) -> u64 {
        let time = raw.wrapping_add(self.offset.load(Ordering::Relaxed));
        // Just after the start, the coarse clock still lags behind the origin.
        if time.cast_signed() < 0 { 0 } else { time }
    }
}

impl Host for OsHost {
    fn now(&self) -> Time {
        // r[time.monotonic]
        let now = (self.clocks.boot_ms)().saturating_sub(self.origin);
        let raw = (self.clocks.coarse_awake_ms)();
        if self.coarse_ms(raw) + SLEPT_MS < now {
            self.offset.store(now.wrapping_sub(raw), Ordering::Relaxed);
        }
        Time(now)
    }

    #[inline]
    fn coarse(&self) -> Time {
        // A direct call, since this function is on the fast path of every lock.
        #[cfg(not(test))]
        let raw = os::coarse_awake_ms();
        #[cfg(test)]
        let raw = (self.clocks.coarse_awake_ms)();
        Time(self.coarse_ms(raw))
    }

    fn forks(&self) -> Option<&'static AtomicU64> {
        Some(self.forks)
    }

    fn may_sleep(&self, is_local: &dyn Fn() -> bool, place: &'static Location<'static>) -> bool {
        blocking::may_sleep(is_local, place, &|| {
            if let Some(place) = &self.place {
                place.note_blocking();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static BOOT: Cell<u64> = const { Cell::new(0) };
        static AWAKE: Cell<u64> = const { Cell::new(0) };
    }

    fn host() -> OsHost {
        pass(1_000, 500);
        let clocks = Clocks {
            boot_ms: || BOOT.get(),
            coarse_awake_ms: || AWAKE.get() / 4 * 4,
        };
        static FORKS: AtomicU64 = AtomicU64::new(0);
        OsHost::with(clocks, AWAKE.get(), &FORKS).expect("the test's clocks are never 0")
    }

    fn pass(awake_ms: u64, asleep_ms: u64) {
        AWAKE.set(AWAKE.get() + awake_ms);
        BOOT.set(BOOT.get() + awake_ms + asleep_ms);
    }

    #[test]
    fn the_coarse_clock_is_never_ahead_and_lags_by_less_than_one_tick() {
        pass(2, 0);
        let host = host();
        assert_eq!((host.now(), host.coarse()), (Time(0), Time(0)));
        for _ in 0..100 {
            pass(3, 0);
            let (now, coarse) = (host.now(), host.coarse());
            assert!(coarse <= now && now.since(coarse) < 4, "{now} {coarse}");
        }
    }

    #[test]
    fn the_first_exact_reading_after_a_suspend_corrects_the_coarse_clock() {
        let host = host();
        pass(1_000, 0);
        assert_eq!(host.coarse(), Time(1_000));
        pass(0, 60_000);
        assert_eq!(
            host.coarse(),
            Time(1_000),
            "the coarse clock does not count a suspend"
        );
        assert_eq!(host.now(), Time(61_000));
        assert_eq!(host.coarse(), Time(61_000));
        pass(500, 0);
        assert_eq!((host.now(), host.coarse()), (Time(61_500), Time(61_500)));
    }
}
