//! What a store may be told: where it listens, where it keeps its data, times and limits.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use tenure_protocol::{Limits, StoreSettings};
use tenure_wire::{FRAME_BYTES_MAX, FrameLimits};

/// The port that a store listens on when it is not told otherwise.
pub const PORT: u16 = 7420;

/// The port of its admin listener.
pub const ADMIN_PORT: u16 = 7421;

/// How durable what is acknowledged is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing acknowledged is ever lost.
    #[default]
    Durable,
    /// What is acknowledged survives kill -9 of the store, not a loss of power.
    Buffered,
}

impl From<Durability> for tenure_engine::Level {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Durable => Self::Durable,
            Durability::Buffered => Self::Buffered,
        }
    }
}

/// How a stopping store treats the current grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStop {
    /// They stay: the next start knows their holders. For a restart.
    #[default]
    Keep,
    /// They are recalled, and waited for. For a stop for good.
    Drain,
}

/// Everything that can be set. What a file or a flag does not say is as in [`Config::default`]. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where processes connect. Loopback unless told otherwise: nothing here asks who they are.
    pub listen: SocketAddr,
    /// Where `tenure ctl` and metrics are answered. Only ever give it an address that outsiders cannot reach.
    pub admin: SocketAddr,
    /// Host names by which the admin listener is reached, separated by commas. Addresses and `localhost` always are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_hosts: Option<String>,
    /// The folder of the data. One store at a time has it.
    pub data: PathBuf,
    /// How durable what is acknowledged is.
    pub durability: Durability,
    /// How long the store waits for a process that is not heard of. Rule 10.
    pub lease_ms: u64,
    /// After how long an unanswered recall is repeated. Rule 11.
    pub remind_ms: u64,
    /// How long a recalled holder has before its grant is revoked. Rule 11.
    pub recall_ms: u64,
    /// The longest wait for a grant. Rule 17.
    pub wait_ms: u64,
    /// How long an unused session lives; none: for ever. Rule 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_live_ms: Option<u64>,
    /// After how many grants that each went to another process a grant says to give it back after use; 0: never. Rule 2.
    pub turns: u8,
    /// How long a new connection may take to say hello.
    pub hello_ms: u64,
    /// How a stopping store treats the current grants.
    pub stop: OnStop,
    /// How long a stopping store waits for recalled grants, and for a disk that does not answer.
    pub stop_ms: u64,
    /// After how long a commit that waits for the disk makes `/readyz` answer 503.
    pub stall_ms: u64,
    /// How long a free session stays in memory unused.
    pub evict_ms: u64,
    /// Limits.
    pub limits: LimitsConfig,
}

/// Past a limit comes a clear refusal, and nothing is lost. Rule 18.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Open connections. The operating system's limit of open files has to be larger.
    pub connections_max: usize,
    /// Processes that have a lease.
    pub processes_max: usize,
    /// Grants of one process.
    pub grants_max: usize,
    /// Processes that wait for one session.
    pub waiters_max: usize,
    /// Attributes of one session.
    pub attributes_max: usize,
    /// Bytes of one attribute's value.
    pub attribute_bytes_max: usize,
    /// Bytes of all names and values of one session.
    pub session_bytes_max: usize,
    /// Free sessions stay in memory as long as there are no more sessions than this there. Those that are held or waited for
    /// always do.
    pub memory_sessions_max: usize,
    /// Bytes that wait to be read by one process. Past it the connection is closed: the process did not read.
    pub outgoing_bytes_max: usize,
    /// Bytes that wait to become durable. Past it no more is read from any process.
    pub backlog_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        let StoreSettings {
            lease_ms,
            remind_ms,
            recall_ms,
            wait_ms,
            time_to_live_ms,
            turns,
            ..
        } = StoreSettings::default();
        Self {
            listen: ([127, 0, 0, 1], PORT).into(),
            admin: ([127, 0, 0, 1], ADMIN_PORT).into(),
            admin_hosts: None,
            data: PathBuf::from("tenure-data"),
            durability: Durability::Durable,
            lease_ms,
            remind_ms,
            recall_ms,
            wait_ms,
            time_to_live_ms,
            turns,
            hello_ms: 5_000,
            stop: OnStop::default(),
            stop_ms: 10_000,
            stall_ms: 5_000,
            evict_ms: 60_000,
            limits: LimitsConfig::default(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let Limits {
            processes_max,
            grants_max,
            waiters_max,
            attributes_max,
            attribute_bytes_max,
            session_bytes_max,
            ..
        } = Limits::default();
        Self {
            connections_max: 16_384,
            processes_max,
            grants_max,
            waiters_max,
            attributes_max,
            attribute_bytes_max,
            session_bytes_max,
            memory_sessions_max: 1_000_000,
            outgoing_bytes_max: 64 << 20,
            backlog_bytes_max: 64 << 20,
        }
    }
}

/// Something that cannot be as it was set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct ConfigError {
    /// Which setting.
    pub key: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Config {
    /// Checks what one setting means for another.
    ///
    /// # Errors
    /// The first setting that cannot be so, and why.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let positive: [(&'static str, u64); 16] = [
            ("lease_ms", self.lease_ms),
            ("remind_ms", self.remind_ms),
            ("recall_ms", self.recall_ms),
            ("wait_ms", self.wait_ms),
            ("time_to_live_ms", self.time_to_live_ms.unwrap_or(1)),
            ("hello_ms", self.hello_ms),
            ("stall_ms", self.stall_ms),
            ("limits.connections_max", limits.connections_max as u64),
            ("limits.processes_max", limits.processes_max as u64),
            ("limits.grants_max", limits.grants_max as u64),
            ("limits.waiters_max", limits.waiters_max as u64),
            ("limits.attributes_max", limits.attributes_max as u64),
            (
                "limits.attribute_bytes_max",
                limits.attribute_bytes_max as u64,
            ),
            ("limits.session_bytes_max", limits.session_bytes_max as u64),
            (
                "limits.outgoing_bytes_max",
                limits.outgoing_bytes_max as u64,
            ),
            ("limits.backlog_bytes_max", limits.backlog_bytes_max as u64),
        ];
        let refuse = |key, why: String| Err(ConfigError { key, why });
        for (key, value) in positive {
            if value == 0 {
                return refuse(key, "must be at least 1".to_owned());
            }
        }
        let is_name = |name: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !name.is_empty() && name.chars().all(is_part)
        };
        if let Some(wrong) = self.admin_names().find(|name| !is_name(name)) {
            let why =
                format!("{wrong:?} is no host name; names are separated by commas, without ports");
            return refuse("admin_hosts", why);
        }
        if limits.attribute_bytes_max > limits.session_bytes_max {
            let why = format!(
                "{} is more than a whole session may have ({})",
                limits.attribute_bytes_max, limits.session_bytes_max
            );
            return refuse("limits.attribute_bytes_max", why);
        }
        let frame = FrameLimits::for_machines(&self.settings().limits).frame_bytes_max;
        if frame > FRAME_BYTES_MAX {
            let why = format!(
                "a session of this size, with so many attributes, needs a frame of {frame} bytes, and {FRAME_BYTES_MAX} is the most"
            );
            return refuse("limits.session_bytes_max", why);
        }
        if limits.outgoing_bytes_max < limits.session_bytes_max {
            let why = "less than one session, which could never be sent".to_owned();
            return refuse("limits.outgoing_bytes_max", why);
        }
        if self.listen == self.admin && self.listen.port() != 0 {
            return refuse(
                "admin",
                format!("is the same address as listen, {}", self.listen),
            );
        }
        Ok(())
    }

    /// The names in [`Config::admin_hosts`].
    pub(crate) fn admin_names(&self) -> impl Iterator<Item = &str> {
        let names = self.admin_hosts.iter().flat_map(|names| names.split(','));
        names.map(str::trim)
    }

    /// What the machine is told.
    #[must_use]
    pub fn settings(&self) -> StoreSettings {
        let limits = &self.limits;
        StoreSettings {
            lease_ms: self.lease_ms,
            remind_ms: self.remind_ms,
            recall_ms: self.recall_ms,
            wait_ms: self.wait_ms,
            time_to_live_ms: self.time_to_live_ms,
            turns: self.turns,
            promised: tenure_protocol::Promised::default(),
            limits: Limits {
                processes_max: limits.processes_max,
                grants_max: limits.grants_max,
                waiters_max: limits.waiters_max,
                attributes_max: limits.attributes_max,
                attribute_bytes_max: limits.attribute_bytes_max,
                session_bytes_max: limits.session_bytes_max,
                ..Limits::default()
            },
        }
    }
}
