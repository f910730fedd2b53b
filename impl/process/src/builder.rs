//! What a process may be told before it connects.

use crate::driver::Driver;
use crate::error::ConnectError;
use crate::process::Process;
use crate::shared::{Identity, block_on};
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
    pub(crate) kept_max: usize,
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
            kept_max: 65_536,
            idle_ms: 600_000,
            connect_ms: 5_000,
            shutdown_ms: 10_000,
            backoff_ms: (50, 2_000),
        }
    }

    /// The name of the process, 1..=128 bytes; the store and its operator know it by that. Two that run at a time need two
    /// names, or the later one takes over from the earlier.
    ///
    /// By default the name of the host and the number of the OS process, as in `web3-4711`; the second one in the same OS process is
    /// `web3-4711-2`, and so on.
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
    /// limit less than the store's: a session that the store has and this process may not would never arrive.
    pub fn settings(mut self, settings: ProcessSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets how many sessions the process keeps after use, grants and copies together. A copy is left when a grant is given back; the
    /// next grant then brings only what has changed. Beyond the limit the longest unused go: copies are forgotten first, then
    /// grants are released. The limit is looked at some 20 times a second, so there may be more for a moment, and sessions in
    /// use stay. By default 65,536.
    pub fn kept_max(mut self, kept_max: usize) -> Self {
        self.kept_max = kept_max;
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

    /// How long to wait before connecting again: `first_ms` after a connection was lost, twice that after each failure, up to
    /// `max_ms`. Of each, a random part between a half and all; and while the process has a lease, at most a quarter of what is
    /// left of it. By default 50 and 2,000.
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

/// The host's name, the OS process's number, and how many were named before it in this OS process.
fn default_name() -> String {
    static NAMED: AtomicU64 = AtomicU64::new(0);
    let pid = std::process::id();
    let suffix = match NAMED.fetch_add(1, Ordering::Relaxed) {
        0 => format!("-{pid}"),
        earlier => format!("-{pid}-{}", earlier + 1),
    };
    let host = gethostname::gethostname();
    let host = host.to_string_lossy();
    let end = host.floor_char_boundary(NAME_BYTES_MAX - suffix.len());
    format!("{}{suffix}", &host[..end])
}

/// Milliseconds since the Unix epoch, and more than any before in this OS process.
fn default_incarnation() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(now.max(last + 1))
    });
    last.map_or(now, |last| now.max(last + 1))
}
