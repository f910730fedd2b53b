//! What a process may be told before it connects.

use crate::driver::Driver;
use crate::error::ConnectError;
use crate::process::Process;
use crate::shared::{Identity, block_on};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tenure_protocol::id::NAME_BYTES_MAX;
use tenure_protocol::{Incarnation, ProcessId, ProcessSettings};

/// How a process connects and behaves, from [`Process::builder`]. Times in milliseconds.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it connects"]
pub struct Builder {
    address: String,
    name: Option<String>,
    incarnation: Option<u64>,
    pub(crate) settings: ProcessSettings,
    pub(crate) cached_max: usize,
    pub(crate) idle_ms: u64,
    pub(crate) connect_ms: u64,
    pub(crate) shutdown_ms: u64,
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
            connect_ms: 5_000,
            shutdown_ms: 10_000,
            backoff_ms: (50, 2_000),
        }
    }

    /// The name of the process, 1..=128 bytes; the store and its operator know it by that. Two that run at a time need two
    /// names, or the later one takes over from the earlier.
    ///
    /// By default the name of the host, the number of the OS process and a random number, as in `web3-4711-5e0c92ab`. So two
    /// containers with one host name and one process number have two names. Give a name that stays the same over restarts if
    /// the next start is to take over from a process that died: the store then ends the grants of the earlier start at once,
    /// and does not wait for its lease to end.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Which start of this name it is. It must rise with each start of the name: the store takes the grants of a lower one away at
    /// once, and turns a lower one away. By default the milliseconds since the Unix epoch, which is enough as long as the clock of
    /// the host does not go back between two starts.
    pub fn incarnation(mut self, incarnation: u64) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// Times and limits of the protocol. `keep_alive_ms` and `margin_ms` together must be less than the store's lease, and no
    /// limit less than the store's: a session that the store has and this process may not is refused to its threads. Of what threads
    /// write, the smaller limit counts, the store's or this process's.
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

    /// Sets after how many milliseconds without use a session is released, and its copy forgotten; looked at once a second. By
    /// default 600,000 (ten minutes).
    pub fn idle_ms(mut self, idle_ms: u64) -> Self {
        self.idle_ms = idle_ms;
        self
    }

    /// How long [`Builder::connect`] tries to be welcomed by a store. Each try of a connection, later too, lasts at most as
    /// long. By default 5,000.
    pub fn connect_ms(mut self, connect_ms: u64) -> Self {
        self.connect_ms = connect_ms;
        self
    }

    /// How long [`Process::shutdown`] and the drop of the last handle wait for what is inside and for the store. By default
    /// 10,000.
    pub fn shutdown_ms(mut self, shutdown_ms: u64) -> Self {
        self.shutdown_ms = shutdown_ms;
        self
    }

    /// Sets how long the process waits before it connects again: `first_ms` milliseconds after it has lost a connection, and
    /// twice as long after each failure, up to `max_ms`. A connection that ends soon is a failure too: it has to last for
    /// `max_ms`, and for ten times the pause before it, so that the next pause is `first_ms` again. Each pause is a random part
    /// between a half and all of that; while the process has a lease, it is at most a quarter of what is left of the lease. By
    /// default 50 and 2,000.
    pub fn backoff_ms(mut self, first_ms: u64, max_ms: u64) -> Self {
        self.backoff_ms = (first_ms.max(1), max_ms.max(first_ms).max(1));
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
