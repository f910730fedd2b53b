//! The builder: the settings of a process, and the calls that connect the process to a store.

use crate::driver::{Driver, Options};
use crate::error::ConnectError;
use crate::os;
use crate::process::Process;
use crate::shared::{Identity, block_on};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tenure_protocol::id::NAME_BYTES_MAX;
use tenure_protocol::{Incarnation, Limits, ProcessId, ProcessSettings};
use tokio::runtime::Handle;

/// The settings of a process before the process connects, from [`Process::builder`]. Durations are rounded down to
/// whole milliseconds.
#[derive(Clone, Debug)]
#[must_use = "a Builder does nothing until its `connect` or `connect_blocking` is called"]
pub struct Builder {
    address: String,
    name: Option<String>,
    incarnation: Option<u64>,
    options: Options,
}

impl Process {
    /// Connects to the store at `address` (`host:port`) with default settings, and waits until the store accepts this
    /// process. Works under any runtime, and under none.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(address: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder(address).connect().await
    }

    /// Connects as [`Process::connect`] does, and blocks this OS thread until then.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect_blocking(address: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder(address).connect_blocking()
    }

    /// Returns a builder for a process with another name, other durations or other limits.
    pub fn builder(address: impl Into<String>) -> Builder {
        Builder {
            address: address.into(),
            name: None,
            incarnation: None,
            options: Options {
                settings: ProcessSettings::default(),
                cached_max: 65_536,
                idle_ms: 600_000,
                connect_timeout: Duration::from_secs(5),
                shutdown_timeout: Duration::from_secs(10),
                backoff_ms: (50, 2_000),
                runtime: None,
            },
        }
    }
}

impl Builder {
    /// Sets the name of the process, of 1..=128 bytes. The store and its operator see the process under this name. Two
    /// processes that run at the same time need two names. Otherwise, the later process takes over from the earlier
    /// one.
    ///
    /// By default, the name consists of the host name, the OS process id and a random number, as in
    /// `web3-4711-5e0c92ab`. So two containers with the same host name and the same process id have two names.
    ///
    /// If a restarted process should take over from a process that died, set a name that stays the same over restarts.
    /// The store then ends the grants of the earlier start at once, and does not wait for the end of its lease.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the incarnation: a number that must rise with each start of a process of this name. When a process
    /// connects, the store ends the grants of lower incarnations of its name at once. The store refuses a process with
    /// a lower incarnation than it knows.
    ///
    /// By default, the incarnation is the number of milliseconds since the Unix epoch. That number rises as long as the
    /// clock of the host does not go back between two starts.
    pub fn incarnation(mut self, incarnation: u64) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// Sets the interval between two keep-alive messages to the store. The sum of this interval and [`Builder::margin`]
    /// must be less than the store's lease. The default is 3 s.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.options.settings.keep_alive_ms = millis(every);
        self
    }

    /// Sets how much earlier than the store the process ends its lease. The margin must cover the drift of the two
    /// clocks within one lease. The default is 500 ms.
    pub fn margin(mut self, margin: Duration) -> Self {
        self.options.settings.margin_ms = millis(margin);
        self
    }

    /// Sets the time after which an unanswered message is sent again on the same connection. The default is 2 s.
    pub fn resend(mut self, after: Duration) -> Self {
        self.options.settings.resend_ms = millis(after);
        self
    }

    /// Sets how much earlier than the store's deadline the process gives up a recalled grant that threads still use.
    /// The writes of these threads are discarded. The finished writes of other threads are saved. The default is 1 s.
    pub fn recall_margin(mut self, margin: Duration) -> Self {
        self.options.settings.recall_margin_ms = millis(margin);
        self
    }

    /// Sets whether the process keeps a copy of a session that it has given back. With a copy, the next grant transfers
    /// only the changes. The default is `true`.
    pub fn keep_copies(mut self, keeps: bool) -> Self {
        self.options.settings.keeps_base = keeps;
        self
    }

    /// Sets the limits that the process checks before it sends. For writes, the smaller of this limit and the store's
    /// limit applies. If a granted session exceeds these limits, its lock requests fail.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.settings.limits = limits;
        self
    }

    /// Replaces all settings of the protocol machine, for test harnesses.
    #[doc(hidden)]
    pub fn settings(mut self, settings: ProcessSettings) -> Self {
        self.options.settings = settings;
        self
    }

    /// Sets the maximum number of cached sessions, grants and copies together. A copy remains when a grant is given
    /// back. The next grant then transfers only the changes.
    ///
    /// Beyond the limit, the least recently used sessions go: copies are dropped first, then grants are released.
    /// Sessions in use stay. The limit is checked about 20 times a second, so the number may exceed the limit for a
    /// moment. The default is 65,536.
    pub fn cached_max(mut self, cached_max: usize) -> Self {
        self.options.cached_max = cached_max;
        self
    }

    /// Sets the idle time after which a session is released and its copy is dropped. The process checks once a second.
    /// The default is 10 minutes.
    pub fn idle(mut self, unused: Duration) -> Self {
        self.options.idle_ms = millis(unused);
        self
    }

    /// Sets how long [`Builder::connect`] tries until a store accepts the process. Each later attempt to connect also
    /// lasts at most this long. The default is 5 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.options.connect_timeout = limit;
        self
    }

    /// Sets how long [`Process::shutdown`] and the drop of the last handle wait for the release of locks and for the
    /// store. The default is 10 s.
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.options.shutdown_timeout = limit;
        self
    }

    /// Sets the pause before a reconnect: `first` after a lost connection, then twice as long after each failure, up to
    /// `max`. The actual pause is a random time between half of that value and all of it. While the process has a
    /// lease, a pause is at most a quarter of the time that is left of the lease.
    ///
    /// A connection that ends soon counts as a failure. The next pause is `first` again only after a connection has
    /// lasted longer than `max`, and longer than ten times the pause before it. The defaults are 50 ms and 2 s.
    pub fn backoff(mut self, first: Duration, max: Duration) -> Self {
        let first = millis(first).max(1);
        self.options.backoff_ms = (first, millis(max).max(first));
        self
    }

    /// Lets this tokio runtime serve the connection while tasks of it request sessions from the store. A grant then
    /// costs no switch between threads, and the messages of many tasks leave together. Use it in a service whose
    /// handlers do not block their runtime:
    ///
    /// ```no_run
    /// # async fn connected() -> Result<(), tenure::ConnectError> {
    /// let builder = tenure::Process::builder("127.0.0.1:7420");
    /// let process = builder.runtime(tokio::runtime::Handle::current()).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The process's own thread keeps the lease alive all the same. When the runtime is blocked or has ended, that
    /// thread takes the connection back within 50 ms, and keeps it for 10 s. By default, that thread always serves the
    /// connection.
    ///
    /// # Panics
    /// If the runtime was built without [`enable_io`](tokio::runtime::Builder::enable_io).
    pub fn runtime(mut self, runtime: Handle) -> Self {
        os::require_io(&runtime);
        self.options.runtime = Some(runtime);
        self
    }

    /// Starts the process and waits until a store accepts it. Works under any runtime and under none: the connection
    /// has its own.
    ///
    /// # Errors
    /// [`ConnectError`] names the wrong address, name or setting, or the reason why no store answered in time.
    pub async fn connect(self) -> Result<Process, ConnectError> {
        let name = self.name.unwrap_or_else(default_name);
        let name = ProcessId::new(name).map_err(ConnectError::Name)?;
        let identity = Identity {
            name,
            incarnation: Incarnation(self.incarnation.unwrap_or_else(default_incarnation)),
            address: self.address,
        };
        let process = Process::new(Driver::start(identity, self.options)?);
        process.welcomed().await?;
        Ok(process)
    }

    /// Connects as [`Builder::connect`] does, and blocks this OS thread until then.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub fn connect_blocking(self) -> Result<Process, ConnectError> {
        block_on(self.connect())
    }
}

/// Converts a duration to whole milliseconds, the unit of the protocol.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a unique process name: the host name, the OS process id, and a random number.
fn default_name() -> String {
    // Each `RandomState` has its own keys, from the operating system's random numbers.
    let random = RandomState::new().hash_one(std::process::id());
    let host = gethostname::gethostname();
    named(&host.to_string_lossy(), std::process::id(), random)
}

/// Returns the default name from its parts. Truncates a long host name.
fn named(host: &str, pid: u32, random: u64) -> String {
    let suffix = format!("-{pid}-{:08x}", random >> 32);
    let end = host.floor_char_boundary(NAME_BYTES_MAX - suffix.len());
    format!("{}{suffix}", &host[..end])
}

/// Returns the milliseconds since the Unix epoch, or a greater number if this OS process has already used that one.
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
    fn default_names_differ_for_equal_host_names_and_process_ids() {
        let names: std::collections::HashSet<String> = (0..100).map(|_| default_name()).collect();
        assert_eq!(names.len(), 100);
        assert_eq!(named("web3", 1, 0x5e0c_92ab_0000_0000), "web3-1-5e0c92ab");
    }

    #[test]
    fn a_long_host_name_is_truncated_and_the_suffix_stays() {
        for host in ["x".repeat(300), "é".repeat(300)] {
            let name = named(&host, u32::MAX, u64::MAX);
            assert!(name.len() <= NAME_BYTES_MAX, "{name}");
            assert!(name.ends_with("-4294967295-ffffffff"), "{name}");
            ProcessId::new(name)
                .expect("a truncated default name has at most NAME_BYTES_MAX bytes");
        }
    }
}
