//! The universes: small bounded systems, each explored exhaustively.
//!
//! One table lists, for each universe, its contents, its faults, the faults that it leaves out, and its number of
//! states. The command line and the book show the same table. A universe stays in the table only if it alone kills some
//! mutant, or if the book's list gives another reason.

mod table;

pub use table::{UNIVERSES, find};

use crate::system::app::Do;
use crate::system::timer::{ProcessTimer, StoreTimer};
use tenure_protocol::{ProcessSettings, StoreSettings, Time};

/// The clocks of a universe that has clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The most by which a process's clock is ahead of the store's.
    pub skew_max: u8,
    /// The age beyond which the model does not distinguish past times.
    pub past: u64,
    /// Whether time passes only while no message is under way and every process has a connection.
    pub is_prompt: bool,
}

/// The present time of a universe with clocks: far enough from 0 to have a past.
pub(crate) const NOW: Time = Time(100);

/// A named bounded system with its faults.
#[derive(Clone, Debug)]
pub struct Universe {
    /// The name on the command line and in the book.
    pub name: &'static str,
    /// The purpose of the universe.
    pub summary: &'static str,
    /// The numbers of processes, threads, sessions and attributes.
    pub bounds: &'static str,
    /// The faults that may happen.
    pub faults: &'static str,
    /// The faults that are not combined with these.
    pub without: &'static str,
    /// The number of distinct canonical states. Pinned: a change needs a reason.
    pub unique_states: u64,
    /// Whether `tenure verify` and `tenure check` without `--all` explore the universe.
    pub is_quick: bool,
    /// The program that each thread of each process repeats for ever.
    pub programs: &'static [&'static [&'static [Do]]],
    /// Whether progress is checked beside safety.
    pub judges_progress: bool,
    /// The number of sessions.
    pub sessions: u8,
    /// The number of attributes of each session.
    pub attributes: u8,
    /// The number of values that the threads write in turn.
    pub values: u8,
    /// The settings of the store.
    pub store: fn() -> StoreSettings,
    /// The settings of the processes.
    pub process: fn() -> ProcessSettings,
    /// The number of faulty processes, which come first: their connections fail, their clocks drift, and their threads
    /// give up.
    pub faulty: u8,
    /// Whether connections are cut, so that a suffix of the messages in both directions is lost.
    pub cuts: bool,
    /// Whether connections go silent without being closed, and the least remaining lease at which they may.
    pub silences: Option<u64>,
    /// Whether processes crash and start again.
    pub crashes: bool,
    /// Whether processes shut down and start again.
    pub stops: bool,
    /// Whether the store crashes and starts again.
    pub restarts: bool,
    /// Whether the store stops in good order, for a restart or after a drain, and starts again.
    pub closes: bool,
    /// Whether the store's disk is full for a time.
    pub fills: bool,
    /// The most messages under way between a process and the store, in a network that loses, repeats and reorders
    /// messages. A message beyond this number is lost.
    pub channel_max: Option<usize>,
    /// Whether waiting threads give up.
    pub abandons: bool,
    /// Whether processes give idle sessions back voluntarily.
    pub gives_back: bool,
    /// Whether the leases of living processes end at any time, at either end.
    pub ends_leases: bool,
    /// Whether threads may stay inside for ever.
    pub lingers: bool,
    /// The clocks by which timers fire; `None` when timers fire at any time.
    pub clocks: Option<Clocks>,
    /// The store's timers that fire.
    pub store_timers: fn(StoreTimer) -> bool,
    /// The processes' timers that fire.
    pub process_timers: fn(ProcessTimer) -> bool,
    /// Whether sessions end, so that the model watches that they do not come back.
    pub watches_destroyed: bool,
    /// Whether the store is of 1.0, which does not know requests that want a session only if it exists.
    pub is_older: bool,
    /// Whether the processes are of 1.0, which do not read the limits in a welcome.
    pub is_deaf: bool,
}

impl Universe {
    /// Returns whether the store has a disk.
    #[must_use]
    pub fn has_disk(&self) -> bool {
        self.restarts || self.closes || self.fills
    }

    /// Returns whether updates become durable late.
    #[must_use]
    pub fn lags(&self) -> bool {
        self.restarts || self.fills
    }

    /// Returns the present time on the clocks of the store and of the processes.
    pub(crate) fn now(&self) -> (Time, Time) {
        let now = if self.clocks.is_some() {
            NOW
        } else {
            Time::ZERO
        };
        (now, now)
    }

    /// Returns whether some thread wants a session only if it exists.
    #[must_use]
    pub fn asks_existing(&self) -> bool {
        let mut threads = self.programs.iter().flat_map(|threads| threads.iter());
        threads.any(|program| program.iter().any(|step| step.locks_existing().is_some()))
    }

    /// Returns whether any timer fires.
    #[must_use]
    pub fn has_timers(&self) -> bool {
        self.faults != "none"
    }
}
