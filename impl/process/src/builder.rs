//! Settings of a process before it connects.

use crate::driver::Driver;
use crate::error::ConnectError;
use crate::process::Process;
use crate::shared::{Identity, block_on};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tenure_protocol::id::NAME_BYTES_MAX;
use tenure_protocol::{Incarnation, Limits, ProcessId, ProcessSettings};

/// Settings of a process before it connects, from [`Process::builder`]. A duration counts in whole milliseconds.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it connects"]
pub struct Builder {
    address: String,
    name: Option<String>,
    incarnation: Option<u64>,
    pub(crate) settings: ProcessSettings,
    pub(crate) cached_max: usize,
    pub(crate) idle_ms: u64,
    pub(crate) connect_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) backoff_ms: (u64, u64),
}

impl Builder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            name: None,
            incarnation: None,
            settings: ProcessSettings::default(),
            cached_max: 65_536,
            idle_ms: 600_000,
            connect_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(10),
            backoff_ms: (50, 2_000),
        }
    }

    /// Sets the name of the process, 1..=128 bytes, by which the store and its operator know the process. Two processes that run at a
    /// time need two names, or the later one takes over from the earlier.
    ///
    /// By default the name of the host, the number of the OS process and a random number, as in `web3-4711-5e0c92ab`. So two
    /// containers with one host name and one process number have two names. Give a name that stays the same over restarts if
    /// the next start is to take over from a process that died: the store then ends the grants of the earlier start at once,
    /// and does not wait for its lease to end.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the incarnation: which start of this name the process is. It must rise with each start of the name: the store takes the grants of a lower one away at
    /// once, and turns a lower one away. By default the milliseconds since the Unix epoch, which is enough as long as the clock of
    /// the host does not go back between two starts.
    pub fn incarnation(mut self, incarnation: u64) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// Sets how often the process tells the store that it lives. Together with [`Builder::margin`] this must be less than the store's
    /// lease. By default 3 s.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.settings.keep_alive_ms = millis(every);
        self
    }

    /// Sets how much earlier than the store the process ends its lease. The margin has to cover how far the two clocks drift apart
    /// within one lease. By default 500 ms.
    pub fn margin(mut self, margin: Duration) -> Self {
        self.settings.margin_ms = millis(margin);
        self
    }

    /// Sets after how long an unanswered message is sent again on the same connection. By default 2 s.
    pub fn resend(mut self, after: Duration) -> Self {
        self.settings.resend_ms = millis(after);
        self
    }

    /// Sets how much earlier than the store the process gives up a recalled grant whose threads are late. Their writes are discarded;
    /// what the other threads wrote is saved. By default 1 s.
    pub fn recall_margin(mut self, margin: Duration) -> Self {
        self.settings.recall_margin_ms = millis(margin);
        self
    }

    /// Sets whether the process keeps a copy of a session that it has given back, so that the next grant brings only what has changed.
    /// By default it does.
    pub fn keep_copies(mut self, keeps: bool) -> Self {
        self.settings.keeps_base = keeps;
        self
    }

    /// Sets the limits that the process checks before it sends. Of the store's limit and this one the smaller counts for what threads
    /// write. A session that is larger than these limits is refused to the threads that want it.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Replaces all settings of the machine, for harnesses.
    #[doc(hidden)]
    pub fn settings(mut self, settings: ProcessSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets how many sessions the process keeps after use, grants and copies together. A copy is left when a grant is given back; the
    /// next grant then brings only what has changed. Beyond the limit the longest unused go: copies are forgotten first, then
    /// grants are released. The limit is looked at some 20 times a second, so there may be more for a moment, and sessions in
    /// use stay. By default 65,536.
    pub fn cached_max(mut self, cached_max: usize) -> Self {
        self.cached_max = cached_max;
        self
    }

    /// Sets after how long without use a session is released, and its copy forgotten. The process looks once a second. By default ten
    /// minutes.
    pub fn idle(mut self, unused: Duration) -> Self {
        self.idle_ms = millis(unused);
        self
    }

    /// Sets how long [`Builder::connect`] tries to be welcomed by a store. Each attempt to connect, later too, lasts at most this long.
    /// By default 5 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets how long [`Process::shutdown`] and the drop of the last handle wait for threads that are inside and for the store. By
    /// default 10 s.
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.shutdown_timeout = limit;
        self
    }

    /// Sets how long the process waits before it connects again: `first` after it has lost a connection, and twice as long after each
    /// failure, up to `max`. A connection that ends soon is a failure too. It has to last for `max`, and for ten times the pause before
    /// it, so that the next pause is `first` again. Each pause is a random part between a half and all of that. While the process has a
    /// lease, a pause is at most a quarter of what is left of the lease. By default 50 ms and 2 s.
    pub fn backoff(mut self, first: Duration, max: Duration) -> Self {
        let first = millis(first).max(1);
        self.backoff_ms = (first, millis(max).max(first));
        self
    }

    /// Starts the process, and waits until a store has welcomed it. Needs no runtime of any kind: the connection has its own.
    ///
    /// # Errors
    /// See [`ConnectError`]: what is wrong with the address, the name or the settings, or why no store answered in time.
    pub async fn connect(self) -> Result<Process, ConnectError> {
        let name = self.name.clone().unwrap_or_else(default_name);
        let name = ProcessId::new(name).map_err(ConnectError::Name)?;
        let identity = Identity {
            name,
            incarnation: Incarnation(self.incarnation.unwrap_or_else(default_incarnation)),
            address: self.address.clone(),
        };
        let process = Process::new(Driver::start(identity, self)?);
        process.welcomed().await?;
        Ok(process)
    }

    /// As [`Builder::connect`]; blocks this OS thread.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub fn connect_blocking(self) -> Result<Process, ConnectError> {
        block_on(self.connect())
    }
}

/// Returns a duration in whole milliseconds, the unit of the protocol.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a name that no other process has: the host's name, the OS process's number, and a random number.
fn default_name() -> String {
    // The operating system's random numbers: each `RandomState` has keys of its own.
    let random = RandomState::new().hash_one(std::process::id());
    let host = gethostname::gethostname();
    named(&host.to_string_lossy(), std::process::id(), random)
}

/// Returns the default name from its parts. A long host name is cut.
fn named(host: &str, pid: u32, random: u64) -> String {
    let suffix = format!("-{pid}-{:08x}", random >> 32);
    let end = host.floor_char_boundary(NAME_BYTES_MAX - suffix.len());
    format!("{}{suffix}", &host[..end])
}

/// Milliseconds since the Unix epoch, and more than any before in this OS process.
fn default_incarnation() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    // r[connect.incarnation-rises]
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(now.max(last + 1))
    });
    last.map_or(now, |last| now.max(last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_with_one_host_name_and_one_number_have_two_names() {
        let names: std::collections::HashSet<String> = (0..100).map(|_| default_name()).collect();
        assert_eq!(names.len(), 100);
        assert_eq!(named("web3", 1, 0x5e0c_92ab_0000_0000), "web3-1-5e0c92ab");
    }

    #[test]
    fn a_long_host_name_is_cut() {
        for host in ["x".repeat(300), "é".repeat(300)] {
            let name = named(&host, u32::MAX, u64::MAX);
            assert!(name.len() <= NAME_BYTES_MAX, "{name}");
            assert!(name.ends_with("-4294967295-ffffffff"), "{name}");
            ProcessId::new(name).expect("a name");
        }
    }
}
