//! The store's clock. No other part of the store reads a system clock.
//!
//! The store's time is a separate time line, in milliseconds. The time line advances with the system's boot-time clock
//! (`CLOCK_BOOTTIME`), which also counts while the machine sleeps. A change of the wall clock therefore has no effect
//! on a running store. Times to live continue over a restart, so each start continues the time line from the [`Mark`]
//! of the last start.
//!
//! - If the machine has not rebooted since the mark, the boot-time clock gives the exact elapsed time.
//! - If the machine has rebooted, the wall clock gives the elapsed time and may be wrong. The time line never goes
//!   back, and advances by [`DOWNTIME_MAX_MS`] at most.
//! - If there is no mark, the time line begins at the wall clock's time. The folder is then new or comes from an
//!   earlier version.

use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tenure_protocol::Time;
use tokio::time::Instant;

/// The most time between two starts that counts when only the wall clock measures it, in milliseconds.
pub const DOWNTIME_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

/// The longest sleep of the timer task. A runtime timer stops while the machine sleeps, so the task checks the clock at
/// this interval.
const LOOK_MS: u64 = 1_000;

/// A source of the clock values that a store reads.
pub trait TimeSource: Debug + Send + Sync {
    /// Returns the wall clock's time in milliseconds since the Unix epoch, or 0 before it.
    fn wall_ms(&self) -> u64;
    /// Returns the milliseconds since boot, including the time in which the machine slept. The value never decreases.
    fn boot_ms(&self) -> u64;
    /// Returns an identifier of this boot, unique over all machines, or `None` if the system has none.
    fn boot(&self) -> Option<String>;
}

/// The system clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTimeSource;

impl TimeSource for SystemTimeSource {
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        millis(since.unwrap_or_default())
    }

    fn boot_ms(&self) -> u64 {
        boot_ms()
    }

    fn boot(&self) -> Option<String> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(boot.trim().to_owned()).filter(|boot| !boot.is_empty())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_ms() -> u64 {
    // Call the C library, as `std` does, so that a preloaded clock replacement takes effect here too.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000)
        .saturating_add(nanoseconds / 1_000_000)
}

/// Returns the milliseconds since the first call. Other systems have no boot identifier, so a mark's value is never
/// compared across starts.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot_ms() -> u64 {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    millis(FIRST.get_or_init(std::time::Instant::now).elapsed())
}

/// The clock mark: the store's time and its longest promises, stored beside the sessions for the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The store's time, in milliseconds, when the clock mark was made.
    pub(crate) time: u64,
    /// The wall clock's time when the mark was made.
    pub(crate) wall: u64,
    /// The milliseconds since boot when the mark was made.
    pub(crate) since_boot: u64,
    /// The boot in which the mark was made.
    pub(crate) boot: Option<String>,
    /// The longest lease time that may still be promised to a process, in milliseconds.
    pub(crate) lease_ms: u64,
    /// The longest recall deadline that may still be promised to a process, in milliseconds.
    pub(crate) recall_ms: u64,
}

/// The way in which a clock continued from the mark. The log reports deviations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// No mark exists, so the time line begins at the wall clock's time.
    New,
    /// The whole elapsed time counts.
    On,
    /// The wall clock is this many milliseconds behind the mark. No elapsed time counts.
    Behind(u64),
    /// The wall clock is this many milliseconds ahead of the mark. Only [`DOWNTIME_MAX_MS`] count.
    Ahead(u64),
}

/// The store's clock. See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    source: Arc<dyn TimeSource>,
    /// The boot-time clock's value at the start, in milliseconds.
    origin: u64,
    /// The store's time at the start, in milliseconds.
    start: u64,
}

impl Clock {
    /// Starts a clock that continues from the mark of the last start.
    pub(crate) fn start(source: Arc<dyn TimeSource>, mark: Option<&Mark>) -> (Self, Started) {
        let (origin, wall) = (source.boot_ms(), source.wall_ms());
        let (start, started) = match mark {
            None => (wall, Started::New),
            Some(mark) => {
                let boot = source.boot();
                let is_same = boot.is_some() && boot == mark.boot && origin >= mark.since_boot;
                let (passed, started) = if is_same {
                    (origin - mark.since_boot, Started::On)
                } else if wall < mark.wall {
                    (0, Started::Behind(mark.wall - wall))
                } else if wall - mark.wall > DOWNTIME_MAX_MS {
                    (DOWNTIME_MAX_MS, Started::Ahead(wall - mark.wall))
                } else {
                    (wall - mark.wall, Started::On)
                };
                (mark.time.saturating_add(passed), started)
            }
        };
        let clock = Self {
            source,
            origin,
            start,
        };
        (clock, started)
    }

    pub(crate) fn now(&self) -> Time {
        // r[time.no-wall-clock]
        let passed = self.source.boot_ms().saturating_sub(self.origin);
        Time(self.start.saturating_add(passed))
    }

    /// Returns when to check whether `time` has come: at `time`, or after [`LOOK_MS`] if that is sooner.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let left = time.since(self.now()).min(LOOK_MS);
        Instant::now() + Duration::from_millis(left)
    }

    /// Returns a mark for the next start, with the longest promises that may still be valid.
    pub(crate) fn mark(&self, lease_ms: u64, recall_ms: u64) -> Mark {
        Mark {
            time: self.now().0,
            wall: self.source.wall_ms(),
            since_boot: self.source.boot_ms(),
            boot: self.source.boot(),
            lease_ms,
            recall_ms,
        }
    }
}

/// Returns the whole milliseconds of a duration.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time source whose clocks stand still.
    #[derive(Clone, Debug)]
    struct Stands {
        wall: u64,
        since_boot: u64,
        boot: Option<&'static str>,
    }

    impl TimeSource for Stands {
        fn wall_ms(&self) -> u64 {
            self.wall
        }
        fn boot_ms(&self) -> u64 {
            self.since_boot
        }
        fn boot(&self) -> Option<String> {
            self.boot.map(str::to_owned)
        }
    }

    const DAY: u64 = DOWNTIME_MAX_MS;

    /// Starts with these clock values from a mark of store time 5,000 ms, wall time 100 days, 700 ms since boot `a`.
    /// Returns the store's time.
    fn start(wall: u64, since_boot: u64, boot: Option<&'static str>) -> (u64, Started) {
        let mark = Mark {
            time: 5_000,
            wall: 100 * DAY,
            since_boot: 700,
            boot: Some("a".to_owned()),
            lease_ms: 1,
            recall_ms: 1,
        };
        let source = Stands {
            wall,
            since_boot,
            boot,
        };
        let (clock, started) = Clock::start(Arc::new(source), Some(&mark));
        (clock.now().0, started)
    }

    #[test]
    fn on_the_same_boot_the_wall_clock_has_no_effect() {
        for wall in [0, 100 * DAY, u64::MAX] {
            assert_eq!(start(wall, 950, Some("a")), (5_250, Started::On));
        }
    }

    #[test]
    fn after_a_reboot_the_wall_clock_counts_up_to_the_maximum_downtime() {
        let boot = Some("b");
        assert_eq!(start(100 * DAY + 40, 3, boot), (5_040, Started::On));
        assert_eq!(start(100 * DAY - 40, 3, boot), (5_000, Started::Behind(40)));
        assert_eq!(start(0, 3, boot), (5_000, Started::Behind(100 * DAY)));
        let ahead = Started::Ahead(DAY + 1);
        assert_eq!(start(101 * DAY + 1, 3, boot), (5_000 + DAY, ahead));
        // Without a boot identifier, or when the boot-time clock went back, a reboot is assumed.
        assert_eq!(start(100 * DAY + 40, 950, None), (5_040, Started::On));
        assert_eq!(start(100 * DAY + 40, 3, Some("a")), (5_040, Started::On));
    }

    #[test]
    fn without_a_mark_the_time_starts_at_the_wall_clock() {
        let source = Stands {
            wall: 77,
            since_boot: 3,
            boot: None,
        };
        let (clock, started) = Clock::start(Arc::new(source), None);
        assert_eq!((clock.now(), started), (Time(77), Started::New));
    }

    #[test]
    fn a_new_mark_holds_the_current_time_of_the_clock() {
        let source = Arc::new(Stands {
            wall: 1_000,
            since_boot: 50,
            boot: Some("a"),
        });
        let (clock, _) = Clock::start(Arc::clone(&source) as _, None);
        let mark = clock.mark(10, 20);
        let (next, started) = Clock::start(source, Some(&mark));
        assert_eq!((next.now(), started), (clock.now(), Started::On));
    }

    #[test]
    fn the_system_clocks_are_readable_and_the_boot_identifier_is_stable() {
        let source = SystemTimeSource;
        assert!(source.wall_ms() > 0 && source.boot_ms() > 0);
        assert_eq!(source.boot(), source.boot());
    }
}
