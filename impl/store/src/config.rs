//! Settings of a store: addresses, the data folder, times and limits.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tenure_protocol::{Limits, StoreSettings};
use tenure_wire::{FRAME_BYTES_MAX, FrameLimits};

/// The default port for processes.
pub const PORT: u16 = 7420;

/// The default port of the admin listener.
pub const ADMIN_PORT: u16 = 7421;

/// Durations as whole milliseconds, for files.
pub(crate) mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(crate) use crate::clock::millis as of;

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(of(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }

    /// A duration that may be missing.
    pub(super) mod optional {
        use super::*;

        pub(in super::super) fn serialize<S: Serializer>(
            duration: &Option<Duration>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match duration {
                Some(duration) => to.serialize_some(&of(*duration)),
                None => to.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Duration>, D::Error> {
            Option::<u64>::deserialize(from).map(|millis| millis.map(Duration::from_millis))
        }
    }
}

/// Durability of acknowledged writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// An acknowledged write survives a loss of power.
    #[default]
    Durable,
    /// An acknowledged write survives `kill -9` of the store, but not a loss of power.
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

/// Treatment of current grants when the store stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStop {
    /// Grants stay: the next start knows their holders. For a restart.
    #[default]
    Keep,
    /// Grants are recalled, and the store waits for them. For a stop for good.
    Drain,
}

/// All settings of a store. A setting that neither a file nor a flag gives is as in [`Config::default`].
///
/// In TOML and in JSON a duration is a whole number of milliseconds, and its key ends in `_ms`: `lease_ms = 10000`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listen address for processes. Connections are not authenticated, so the default is on loopback.
    pub listen: SocketAddr,
    /// Listen address for `tenure ctl`, health checks and metrics. Outsiders must not reach it.
    pub admin: SocketAddr,
    /// Host names of the admin listener, separated by commas, which it accepts beside IP addresses and `localhost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_hosts: Option<String>,
    /// The data folder. One store at a time can open it.
    pub data: PathBuf,
    /// Durability of acknowledged writes.
    pub durability: Durability,
    /// How long a silent process keeps its grants. Rule 10.
    #[serde(rename = "lease_ms", with = "millis")]
    pub lease: Duration,
    /// The pause before an unanswered recall is repeated. Rule 11.
    #[serde(rename = "remind_ms", with = "millis")]
    pub remind: Duration,
    /// How long a recalled holder has before its grant is revoked. Rule 11.
    #[serde(rename = "recall_ms", with = "millis")]
    pub recall: Duration,
    /// The longest wait for a grant. Rule 17.
    #[serde(rename = "wait_ms", with = "millis")]
    pub wait: Duration,
    /// The time to live of an unused session; `None`: unlimited. Rule 16.
    #[serde(
        rename = "time_to_live_ms",
        with = "millis::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub time_to_live: Option<Duration>,
    /// After this many grants in a row that changed the holder, a grant asks its holder to release when idle; 0: never.
    /// Rule 2.
    pub turns: u8,
    /// The limit for the `Hello` of a new connection.
    #[serde(rename = "hello_ms", with = "millis")]
    pub hello: Duration,
    /// The treatment of current grants when the store stops.
    pub stop: OnStop,
    /// The longest wait of a stopping store, for recalled grants and for a disk that does not answer.
    #[serde(rename = "stop_ms", with = "millis")]
    pub stop_limit: Duration,
    /// The wait of a commit for the disk after which `/readyz` returns 503.
    #[serde(rename = "stall_ms", with = "millis")]
    pub stall: Duration,
    /// How long a free session stays in memory without use.
    #[serde(rename = "evict_ms", with = "millis")]
    pub evict: Duration,
    /// Limits on what processes can use.
    pub limits: LimitsConfig,
}

/// Limits of a store. A request past a limit is refused, and nothing is lost. Rule 18.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Open connections. The operating system's limit on open files has to be larger.
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
    /// Sessions in memory. Beyond this number free sessions leave memory early; sessions with a holder or a waiter
    /// always stay.
    pub memory_sessions_max: usize,
    /// Outgoing bytes of one connection that its process has not read. Past this limit the store closes the connection.
    pub outgoing_bytes_max: usize,
    /// Bytes that wait for the disk. Past this limit the store reads from no process.
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
            lease: Duration::from_millis(lease_ms),
            remind: Duration::from_millis(remind_ms),
            recall: Duration::from_millis(recall_ms),
            wait: Duration::from_millis(wait_ms),
            time_to_live: time_to_live_ms.map(Duration::from_millis),
            turns,
            hello: Duration::from_secs(5),
            stop: OnStop::default(),
            stop_limit: Duration::from_secs(10),
            stall: Duration::from_secs(5),
            evict: Duration::from_secs(60),
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

/// A setting with a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct ConfigError {
    /// The key of the setting.
    pub key: &'static str,
    /// The reason.
    pub why: String,
}

impl Config {
    /// Checks each setting by itself and against the others.
    ///
    /// # Errors
    /// [`ConfigError`] with the first setting that cannot be used, and the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let positive: [(&'static str, u64); 16] = [
            ("lease_ms", millis::of(self.lease)),
            ("remind_ms", millis::of(self.remind)),
            ("recall_ms", millis::of(self.recall)),
            ("wait_ms", millis::of(self.wait)),
            ("time_to_live_ms", self.time_to_live.map_or(1, millis::of)),
            ("hello_ms", millis::of(self.hello)),
            ("stall_ms", millis::of(self.stall)),
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
                "a session of this size, with so many attributes, needs a frame of {frame} bytes, and \
                {FRAME_BYTES_MAX} is the most"
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

    /// Returns the names in [`Config::admin_hosts`].
    pub(crate) fn admin_names(&self) -> impl Iterator<Item = &str> {
        let names = self.admin_hosts.iter().flat_map(|names| names.split(','));
        names.map(str::trim)
    }

    /// Returns the settings of the machine, whose times are in milliseconds.
    #[must_use]
    pub fn settings(&self) -> StoreSettings {
        let limits = &self.limits;
        StoreSettings {
            lease_ms: millis::of(self.lease),
            remind_ms: millis::of(self.remind),
            recall_ms: millis::of(self.recall),
            wait_ms: millis::of(self.wait),
            time_to_live_ms: self.time_to_live.map(millis::of),
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
