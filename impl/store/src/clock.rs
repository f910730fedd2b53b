//! The store's clock, and the only place where the store reads a clock of the system.
//!
//! The store's time is a line of its own, in milliseconds. It runs by the system's clock that counts since the boot, and that
//! counts the time in which the machine sleeps (`CLOCK_BOOTTIME`). So a wall clock that is set while the store runs changes
//! nothing. Times to live go on over a restart, so the line goes on too: it begins with the [`Mark`] that the last start left.
//!
//! - If the machine was not started anew since the mark, the same clock says exactly how much time has passed.
//! - Otherwise the wall clock says it, and may be wrong. The line never goes back, and goes ahead by [`DOWNTIME_MAX_MS`] at most.
//! - Without a mark, the line begins with the wall clock: the folder is new, or of an earlier version.

use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tenure_protocol::Time;
use tokio::time::Instant;

/// How much time between two starts counts at most, when only the wall clock says how much it was.
pub const DOWNTIME_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

/// How long the store sleeps at most: a timer of the runtime stands still while the machine sleeps, so the store looks again.
const LOOK_MS: u64 = 1_000;

/// The clocks of a system, as a store reads them.
pub trait TimeSource: Debug + Send + Sync {
    /// Returns the wall clock's time, in milliseconds since the Unix epoch; 0 before that.
    fn wall_ms(&self) -> u64;
    /// Returns the milliseconds since the boot, those among them in which the machine slept. Never goes back.
    fn boot_ms(&self) -> u64;
    /// Returns a name of this boot, which no other boot of any machine has; `None` where there is none.
    fn boot(&self) -> Option<String>;
}

/// The clocks of this system.
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
    // By the C library, as `std` does, so that a preloaded clock is read here too.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000)
        .saturating_add(nanoseconds / 1_000_000)
}

/// Elsewhere the clock begins with the first look: such a system has no name of a boot either.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot_ms() -> u64 {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    millis(FIRST.get_or_init(std::time::Instant::now).elapsed())
}

/// What a start leaves to the next, durable beside the sessions: where the store's time is, and what it has promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The store's time.
    pub(crate) time: u64,
    /// The wall clock's time then.
    pub(crate) wall: u64,
    /// The milliseconds since the boot then.
    pub(crate) since_boot: u64,
    /// Which boot.
    pub(crate) boot: Option<String>,
    /// The longest lease that may still be promised.
    pub(crate) lease_ms: u64,
    /// The longest deadline of a recall that may still be promised.
    pub(crate) recall_ms: u64,
}

/// How a clock was started: what is to be said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// There is no mark.
    New,
    /// As much time has passed as the system says.
    On,
    /// The wall clock is so much behind the mark. No time counts.
    Behind(u64),
    /// The wall clock is so much ahead of the mark. Only a part counts.
    Ahead(u64),
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    source: Arc<dyn TimeSource>,
    /// The milliseconds since the boot at the start.
    origin: u64,
    /// The store's time at the start.
    start: u64,
}

impl Clock {
    /// Starts a clock, behind the mark that the last start left.
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

    /// When to look whether `time` has come: then, or a little before when that is far away.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let left = time.since(self.now()).min(LOOK_MS);
        Instant::now() + Duration::from_millis(left)
    }

    /// What the next start is to know, with the longest promises that may still stand.
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clocks that stand.
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

    /// Starts with these clocks behind a mark of time 5,000, wall 100 days, 700 ms since boot `a`.
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
    fn on_the_same_boot_the_wall_clock_means_nothing() {
        for wall in [0, 100 * DAY, u64::MAX] {
            assert_eq!(start(wall, 950, Some("a")), (5_250, Started::On));
        }
    }

    #[test]
    fn after_another_boot_the_wall_clock_counts_within_bounds() {
        let boot = Some("b");
        assert_eq!(start(100 * DAY + 40, 3, boot), (5_040, Started::On));
        assert_eq!(start(100 * DAY - 40, 3, boot), (5_000, Started::Behind(40)));
        assert_eq!(start(0, 3, boot), (5_000, Started::Behind(100 * DAY)));
        let ahead = Started::Ahead(DAY + 1);
        assert_eq!(start(101 * DAY + 1, 3, boot), (5_000 + DAY, ahead));
        // Without a name of the boot, or with a clock that went back, it may be another one.
        assert_eq!(start(100 * DAY + 40, 950, None), (5_040, Started::On));
        assert_eq!(start(100 * DAY + 40, 3, Some("a")), (5_040, Started::On));
    }

    #[test]
    fn without_a_mark_the_wall_clock_is_the_time() {
        let source = Stands {
            wall: 77,
            since_boot: 3,
            boot: None,
        };
        let (clock, started) = Clock::start(Arc::new(source), None);
        assert_eq!((clock.now(), started), (Time(77), Started::New));
    }

    #[test]
    fn a_mark_is_where_the_clock_is() {
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
    fn the_systems_clocks_are_there() {
        let source = SystemTimeSource;
        assert!(source.wall_ms() > 0 && source.boot_ms() > 0);
        assert_eq!(source.boot(), source.boot());
    }
}
