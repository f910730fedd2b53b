//! Settings of the two machines: times, limits and choices. They do not change while a machine runs and are not part of
//! its identity: equal states behave alike under equal settings.

use crate::id::Time;
use alloc::sync::Arc;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use serde::{Deserialize, Serialize};

/// Settings that a machine shares and that do not count when two states are compared.
#[derive(Debug)]
pub struct Settings<T>(Arc<T>);

impl<T> Settings<T> {
    /// Shares `settings`.
    pub fn new(settings: T) -> Self {
        Self(Arc::new(settings))
    }
}

impl<T> Clone for Settings<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Settings<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> PartialEq for Settings<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Settings<T> {}

impl<T> Hash for Settings<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What a store accepts. Rule 18: past a limit comes a refusal, and nothing is lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Processes that the store knows at a time.
    pub processes_max: usize,
    /// Grants that one process has at a time.
    pub grants_max: usize,
    /// Processes that wait for one session at a time.
    pub waiters_max: usize,
    /// Attributes of one session.
    pub attributes_max: usize,
    /// Bytes of one attribute's value.
    pub attribute_bytes_max: usize,
    /// Bytes of all names and values of one session.
    pub session_bytes_max: usize,
    /// Threads of one process that wait for one session at a time.
    pub threads_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes_max: 16_384,
            grants_max: 1 << 20,
            waiters_max: 1_024,
            attributes_max: 1_024,
            attribute_bytes_max: 1 << 20,
            session_bytes_max: 4 << 20,
            threads_max: 16_384,
        }
    }
}

/// What earlier starts of a store have promised, on the store's clock. Their settings may have been others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promised {
    /// No lease that an earlier start gave goes on for longer.
    pub lease: Time,
    /// No deadline of a recall that an earlier start named is later.
    pub recall: Time,
}

/// What a store says of its limits in `Welcome`, since 1.1. Rule 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreLimits {
    /// Grants and waits that one process has at a time.
    pub grants_max: u64,
    /// Processes that wait for one session at a time.
    pub waiters_max: u64,
    /// Attributes of one session.
    pub attributes_max: u64,
    /// Bytes of one attribute's value.
    pub attribute_bytes_max: u64,
    /// Bytes of all names and values of one session.
    pub session_bytes_max: u64,
}

impl Limits {
    /// Returns what a store with these limits says of them.
    #[must_use]
    pub fn said(&self) -> StoreLimits {
        let number = |limit: usize| u64::try_from(limit).unwrap_or(u64::MAX);
        StoreLimits {
            grants_max: number(self.grants_max),
            waiters_max: number(self.waiters_max),
            attributes_max: number(self.attributes_max),
            attribute_bytes_max: number(self.attribute_bytes_max),
            session_bytes_max: number(self.session_bytes_max),
        }
    }

    /// Returns the limits on what a process may write: the smaller of these, which are its own, and the store's.
    #[must_use]
    pub fn within(&self, store: &StoreLimits) -> Self {
        let smaller =
            |own: usize, store: u64| usize::try_from(store).map_or(own, |store| own.min(store));
        Self {
            attributes_max: smaller(self.attributes_max, store.attributes_max),
            attribute_bytes_max: smaller(self.attribute_bytes_max, store.attribute_bytes_max),
            session_bytes_max: smaller(self.session_bytes_max, store.session_bytes_max),
            ..self.clone()
        }
    }
}

/// Settings of a store. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreSettings {
    /// How long the store waits for a process that is not heard of. Rule 10.
    pub lease_ms: u64,
    /// After how long an unanswered recall is repeated. Rule 11.
    pub remind_ms: u64,
    /// How long a recalled holder has before its grant is revoked. Rule 11.
    pub recall_ms: u64,
    /// The longest wait for a grant. Rule 17: every wait has a deadline.
    pub wait_ms: u64,
    /// How long an unused session lives; `None`: for ever. Rule 16.
    pub time_to_live_ms: Option<u64>,
    /// After how many grants that each went to another process than the one before a grant says that it should be given
    /// back after use; 0: never. Rule 2.
    pub turns: u8,
    /// What earlier starts have promised to the holders that are in the records.
    #[serde(default)]
    pub promised: Promised,
    /// Limits. Rule 18.
    pub limits: Limits,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            lease_ms: 10_000,
            remind_ms: 1_000,
            recall_ms: 30_000,
            wait_ms: 60_000,
            time_to_live_ms: None,
            turns: 3,
            promised: Promised::default(),
            limits: Limits::default(),
        }
    }
}

/// Settings of a process. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessSettings {
    /// How much earlier than the store the process ends its lease: more than the two clocks may drift apart within one
    /// lease and its timer may be late. Rule 10.
    pub margin_ms: u64,
    /// How often the process keeps its lease alive. Rule 10.
    pub keep_alive_ms: u64,
    /// After how long an unanswered message is sent again on the same connection. Rule 14.
    pub resend_ms: u64,
    /// How much earlier than the store the process gives a recalled grant up while a thread is late. Rule 11.
    pub recall_margin_ms: u64,
    /// Whether the process keeps the client state of a session that it has released, as a base for deltas. Rule 7.
    pub keeps_base: bool,
    /// Limits that the process checks before it sends, where those that the store says are not smaller. A session that is larger
    /// than these is not taken from the store. Rule 18.
    pub limits: Limits,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self {
            margin_ms: 500,
            keep_alive_ms: 3_000,
            resend_ms: 2_000,
            recall_margin_ms: 1_000,
            keeps_base: true,
            limits: Limits::default(),
        }
    }
}
