//! One cycle in the words of each store: lock a session, read its 2 KiB, write 2 KiB, unlock.

mod frames;
mod postgres;
mod redis;
mod tenure;

pub(crate) use frames::Frames;
pub(crate) use postgres::Postgres;
pub(crate) use redis::Redis;
pub(crate) use tenure::Tenure;

use crate::host;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// The size of a session.
pub(crate) const DATA: usize = 2_048;

/// The sessions of tasks are numbered from 0. This one is for two processes that take turns.
pub(crate) const TURNS: u64 = 1_000_000;
/// The session of two processes that run flat out.
pub(crate) const FLAT_OUT: u64 = 1_000_001;
/// The hot session of many tasks.
pub(crate) const HOT: u64 = 1_000_002;
/// The first of the sessions that fill a store.
pub(crate) const FILLED: u64 = 2_000_000;

/// A recipe for a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Recipe {
    /// The library: `lock`, `set`, unlock. The process keeps the session.
    TenureKeeps,
    /// The library: `lock`, `set`, unlock, `Session::release`, which is not awaited.
    TenureReleases,
    /// As `TenureReleases`, with `commit` awaited before the unlock.
    TenureCommits,
    /// Frames without the library: Acquire and Release, both awaited.
    TenureFrames,
    /// `SET NX PX` with `GET`; `SET` with compare-and-delete. A taken lock is tried again after 20 ms.
    RedisLock,
    /// The lock is a list with one element: `BLPOP` with `GET`; `SET` with `RPUSH`.
    RedisQueue,
    /// `BEGIN` with `SELECT .. FOR UPDATE`; `UPDATE` with `COMMIT`. `synchronous_commit` is on.
    PostgresSync,
    /// As `PostgresSync` with `synchronous_commit` off.
    PostgresAsync,
}

/// A store and the way to use it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) recipe: Recipe,
}

/// The evidence that a cycle has read the session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The mark of the last writer.
    pub(crate) mark: u64,
}

impl Seen {
    /// Checks the size of a value, and reads its mark.
    pub(crate) fn of(value: Option<&[u8]>) -> Result<Self> {
        let value = value.unwrap_or_default();
        ensure!(
            value.len() == DATA,
            "the session has {} bytes instead of {DATA}",
            value.len()
        );
        let mut mark = [0; 8];
        mark.copy_from_slice(&value[..8]);
        Ok(Self {
            mark: u64::from_le_bytes(mark),
        })
    }
}

/// Returns the value of a session: the mark of its writer, a time that makes it different from all others, and bytes
/// that do not compress.
pub(crate) fn value(mark: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(DATA);
    let now = host::now_ns();
    value.extend_from_slice(&mark.to_le_bytes());
    value.extend_from_slice(&now.to_le_bytes());
    let mut state = now | 1;
    while value.len() < DATA {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.to_le_bytes());
    }
    value
}

/// A connection to a store, and the recipe of one cycle.
pub(crate) trait Client: Sized + Send + Sync + 'static {
    /// The proof that a lock is held.
    type Held: Send;

    fn connect(target: &Target) -> impl Future<Output = Result<Self>> + Send;

    /// Returns another handle of the same connection. `None` if a connection carries one cycle at a time.
    fn share(&self) -> Option<Self>;

    /// Creates sessions, unlocked.
    fn create(&self, sessions: &[u64]) -> impl Future<Output = Result<()>> + Send;

    /// Locks a session and reads its value.
    fn acquire(&self, session: u64) -> impl Future<Output = Result<(Self::Held, Seen)>> + Send;

    /// Writes the value of a session and unlocks it.
    fn release(
        &self,
        session: u64,
        held: Self::Held,
        value: Vec<u8>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Ends the connection. No lock of it remains.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_carries_the_mark_of_its_writer_and_is_new_each_time() {
        let (one, other) = (value(7), value(7));
        assert_eq!(Seen::of(Some(&one)).expect("a value").mark, 7);
        assert_ne!(one, other);
        assert!(Seen::of(Some(&one[1..])).is_err());
        assert!(Seen::of(None).is_err());
    }
}
