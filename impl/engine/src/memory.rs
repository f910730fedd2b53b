//! An engine in memory, for tests of stores and of the layers above them.

use crate::{Engine, EngineError};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenure_protocol::attributes::Head;
use tenure_protocol::{Record, Records, SessionId, Update};

/// The simulated condition of a [`Memory`] engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// The engine works: it has room and a good disk.
    #[default]
    Well,
    /// Commits fail with [`EngineError::Full`].
    Full,
    /// The next commit is applied but returns [`EngineError::Unknown`]. All later calls fail until the engine is
    /// reopened.
    Failing,
    /// The next commit is not applied and returns [`EngineError::Unknown`]. All later calls fail until the engine is
    /// reopened.
    Losing,
}

#[derive(Debug, Default)]
struct Shared {
    records: Records,
    epoch: u64,
    health: Health,
    commits: u64,
    mark: Option<Vec<u8>>,
}

/// A [`Records`] value as an engine. Clones share one state, like stores that open the same folder one after the other.
/// Each clone has a separate claim, and a later claim fences the earlier ones.
#[derive(Debug, Default)]
pub struct Memory {
    shared: Arc<Mutex<Shared>>,
    claimed: Option<u64>,
    is_broken: bool,
}

impl Clone for Memory {
    /// Returns another engine over the same state, which must be claimed first: a test restarts a store so.
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            claimed: None,
            is_broken: false,
        }
    }
}

impl Memory {
    /// Returns an engine without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the condition of all clones from now on.
    pub fn set_health(&self, health: Health) {
        self.shared().health = health;
    }

    /// Returns the records that are durable now.
    #[must_use]
    pub fn records(&self) -> Records {
        self.shared().records.clone()
    }

    /// Returns the number of committed batches.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared().commits
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // A test that panicked while holding this mutex left a consistent state.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Result<MutexGuard<'_, Shared>, EngineError> {
        if self.is_broken {
            return Err(EngineError::Broken);
        }
        Ok(self.shared())
    }

    fn after<'a>(
        records: &'a Records,
        after: Option<&SessionId>,
    ) -> impl Iterator<Item = (&'a SessionId, &'a Record)> {
        records
            .iter()
            .skip_while(move |(session, _)| after.is_some_and(|after| *session <= after))
    }
}

impl Engine for Memory {
    fn claim(&mut self) -> Result<u64, EngineError> {
        let mut shared = self.usable()?;
        shared.epoch += 1;
        let epoch = shared.epoch;
        drop(shared);
        self.claimed = Some(epoch);
        Ok(epoch)
    }

    fn load(&mut self, session: &SessionId) -> Result<Option<Record>, EngineError> {
        Ok(self.usable()?.records.get(session).cloned())
    }

    fn page(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Record)>, EngineError> {
        let shared = self.usable()?;
        let page = Self::after(&shared.records, after).take(sessions_max.max(1));
        Ok(page
            .map(|(session, record)| (session.clone(), record.clone()))
            .collect())
    }

    fn heads(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Head)>, EngineError> {
        let shared = self.usable()?;
        let page = Self::after(&shared.records, after).take(sessions_max.max(1));
        Ok(page
            .map(|(session, record)| (session.clone(), record.head.clone()))
            .collect())
    }

    fn commit(&mut self, batch: &[Update]) -> Result<(), EngineError> {
        let mut shared = self.usable()?;
        let claimed = self.claimed.ok_or(EngineError::Unclaimed)?;
        let current = shared.epoch;
        if claimed != current {
            return Err(EngineError::Fenced { claimed, current });
        }
        let folder = PathBuf::from("memory");
        if shared.health == Health::Full {
            return Err(EngineError::Full { folder });
        }
        let health = std::mem::take(&mut shared.health);
        if health != Health::Losing {
            for update in batch {
                shared.records.apply(update);
            }
            shared.commits += 1;
        }
        drop(shared);
        if health == Health::Well {
            return Ok(());
        }
        self.is_broken = true;
        Err(EngineError::Unknown {
            file: folder,
            source: io::Error::other("a failure that the test has injected"),
        })
    }

    fn marked(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.usable()?.mark.clone())
    }

    fn mark(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let mut shared = self.usable()?;
        if self.claimed != Some(shared.epoch) {
            return Err(EngineError::Unclaimed);
        }
        shared.mark = Some(bytes.to_vec());
        Ok(())
    }
}
