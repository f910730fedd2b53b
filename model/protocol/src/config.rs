//! Settings of the two machines: times, limits and choices. Settings do not change while a machine runs, and they are
//! no part of its identity. Two machines in equal states with equal settings behave alike.

use crate::id::Time;
use alloc::sync::Arc;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use serde::{Deserialize, Serialize};

/// Shared settings of a machine, which do not count when two states are compared.
#[derive(Debug)]
pub struct Settings<T>(Arc<T>);

impl<T> Settings<T> {
    /// Creates shared settings.
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

/// The limits of a store. Past a limit the store refuses, and nothing is lost. Rule 18.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// The number of processes that the store knows at a time.
    pub processes_max: usize,
    /// The number of grants that one process has at a time.
    pub grants_max: usize,
    /// The number of processes that wait for one session at a time.
    pub waiters_max: usize,
    /// The number of attributes of one session.
    pub attributes_max: usize,
    /// The bytes of one attribute's value.
    pub attribute_bytes_max: usize,
    /// The bytes of all names and values of one session.
    pub session_bytes_max: usize,
    /// The number of threads of one process that wait for one session at a time.
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

/// The promises of earlier starts of a store, on the store's clock. Their settings may have differed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promised {
    /// The latest end of any lease that an earlier start granted.
    pub lease: Time,
    /// The latest deadline of any recall that an earlier start sent.
    pub recall: Time,
}

/// The limits that a store states in `Welcome`, since 1.1. Rule 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreLimits {
    /// The number of grants and waits that one process has at a time.
    pub grants_max: u64,
    /// The number of processes that wait for one session at a time.
    pub waiters_max: u64,
    /// The number of attributes of one session.
    pub attributes_max: u64,
    /// The bytes of one attribute's value.
    pub attribute_bytes_max: u64,
    /// The bytes of all names and values of one session.
    pub session_bytes_max: u64,
}

impl Limits {
    /// Returns the limits in the form that `Welcome` carries.
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

    /// Returns the limits on the writes of a process: the smaller of the process's own limits (`self`) and the store's.
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

/// The settings of a store. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreSettings {
    /// The length of a lease: the time for which the store waits for a silent process. Rule 10.
    pub lease_ms: u64,
    /// The time after which an unanswered recall is repeated. Rule 11.
    pub remind_ms: u64,
    /// The time that a recalled holder has before its grant is revoked. Rule 11.
    pub recall_ms: u64,
    /// The longest wait for a grant: every wait has a deadline. Rule 17.
    pub wait_ms: u64,
    /// The time for which an unused session lives; `None`: for ever. Rule 16.
    pub time_to_live_ms: Option<u64>,
    /// After this many grants in a row that changed the holder, a grant asks the holder to give it back after use; 0:
    /// never. Rule 2.
    pub turns: u8,
    /// The promises of earlier starts to the holders in the records.
    #[serde(default)]
    pub promised: Promised,
    /// The limits of the store. Rule 18.
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

/// The settings of a process. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessSettings {
    /// The time by which the process ends its lease earlier than the store. The margin must exceed the drift between
    /// the two clocks within one lease plus the lateness of the process's timer. Rule 10.
    pub margin_ms: u64,
    /// The interval at which the process renews its lease. Rule 10.
    pub keep_alive_ms: u64,
    /// The time after which an unanswered message is sent again on the same connection. Rule 14.
    pub resend_ms: u64,
    /// The time by which the process gives up a recalled grant before the store's deadline, while a thread is late.
    /// Rule 11.
    pub recall_margin_ms: u64,
    /// Whether the process keeps the client state of a released session as a base for deltas. Rule 7.
    pub keeps_base: bool,
    /// The limits that the process checks before it sends. Where the store states a smaller limit, the smaller one
    /// applies. The process does not accept a session that is larger than these limits. Rule 18.
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
