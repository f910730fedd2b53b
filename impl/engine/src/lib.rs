//! Durable storage of session records: the trait [`Engine`], the log-structured engine [`Embedded`], and the in-memory
//! engine [`Memory`] for tests.
//!
//! A store's machine emits [`Update`]s in the order of its outputs. A driver passes them to an engine in batches. When
//! [`Engine::commit`] returns, the messages that depend on the batch may be sent (rule 8).
//! [`Records`](tenure_protocol::Records) defines the meaning of an update: an engine returns exactly the records that
//! [`Records`](tenure_protocol::Records) would contain.
//!
//! All calls block. A store calls them on a separate thread, which gathers the next batch while the current one is
//! being committed. One disk sync thereby serves many updates (group commit). The exception is a commit that waits for
//! no disk, see [`Engine::commits_at_once`].
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tenure_engine::{Embedded, Engine, Settings};
//! use tenure_protocol::{Delta, SessionId, Update, attributes::Head};
//!
//! # let scratch = tempfile::tempdir()?;
//! # let folder = scratch.path().join("store");
//! let mut engine = Embedded::open(&folder, Settings::default())?;
//! let epoch = engine.claim()?;
//! assert_eq!(epoch, 1);
//! let session = SessionId::from_static("s1");
//! let (head, delta) = (Head::default(), Delta::default());
//! engine.commit(&[Update::Put { session: session.clone(), head, delta, is_whole: false }])?;
//! drop(engine);
//!
//! let mut engine = Embedded::open(&folder, Settings::default())?;
//! assert!(engine.load(&session)?.is_some());
//! assert_eq!(engine.claim()?, 2);
//! # Ok(())
//! # }
//! ```
pub use backup::{BACKUP_EPOCHS, Copied, backup};
pub use embedded::{Embedded, FORMAT, Level, Settings, SyncAhead, SyncedAhead, Usage};
pub use error::{EngineError, Outcome};
pub use memory::{Health, Memory};

use tenure_protocol::attributes::Head;
use tenure_protocol::{Record, SessionId, Update};

mod backup;
mod embedded;
mod error;
mod memory;

/// A storage engine for the records of sessions. One store at a time uses it.
///
/// Pages are in the order of [`SessionId`]'s `Ord`, so iteration can continue after any id, whatever was committed
/// between two pages. A record that is committed between two pages may or may not appear in a later page. A record that
/// does not change appears exactly once.
pub trait Engine: Send {
    /// Claims the engine for this store and returns a durable epoch, larger than every earlier one. The store's stamps
    /// begin with the epoch (rule 9). From now on, every commit of an earlier claimant fails. Epochs may have gaps.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::Broken`], [`EngineError::Unknown`] or [`EngineError::Io`]. On an error,
    /// nothing was claimed.
    fn claim(&mut self) -> Result<u64, EngineError>;

    /// Returns the whole record of one session, or `None` if it has no record. A store calls this for a session that
    /// has left its memory.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] if the stored bytes differ from the written bytes, [`EngineError::Broken`], and
    /// [`EngineError::Io`].
    fn load(&mut self, session: &SessionId) -> Result<Option<Record>, EngineError>;

    /// Returns the next records after `after`, or from the first one on. A page has at most `sessions_max` records (0
    /// counts as 1), possibly fewer. It is empty only at the end.
    ///
    /// # Errors
    /// As [`Engine::load`].
    fn page(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Record)>, EngineError>;

    /// Returns the next records as [`Engine::page`] does, but without attributes. A store with many sessions starts
    /// from these.
    ///
    /// # Errors
    /// As [`Engine::load`].
    fn heads(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Head)>, EngineError> {
        let page = self.page(after, sessions_max)?;
        let heads = page
            .into_iter()
            .map(|(session, record)| (session, record.head));
        Ok(heads.collect())
    }

    /// Applies the updates in order, all or none, if this claim is still the latest. On return, the updates have the
    /// durability of the engine's level. An empty batch only checks whether the claim is still the latest.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::TooLarge`] or [`EngineError::Unclaimed`]: no update of the batch was or
    /// will be applied, and the engine continues to work.
    ///
    /// [`EngineError::Fenced`]: another store has claimed the engine, so this one must stop.
    ///
    /// [`EngineError::Unknown`], followed by [`EngineError::Broken`] for all later calls: reopen the engine. See
    /// [`EngineError::outcome`].
    fn commit(&mut self, batch: &[Update]) -> Result<(), EngineError>;

    /// Returns whether the next commit, of a batch of any size that the engine accepts, only copies bytes to the
    /// operating system, and neither reads from the disk nor waits for it. A store may call such a commit where waiting
    /// is not allowed. The default is `false`.
    fn commits_at_once(&self) -> bool {
        false
    }

    /// Returns a sync of all commits up to now, if one is due. Its [`SyncAhead::run`] waits for the disk without the
    /// engine, so that commits go on meanwhile. A store calls this after a commit, at most one such sync runs at a
    /// time, and [`Engine::synced_ahead`] receives its result. The default is `None`.
    fn sync_ahead(&mut self) -> Option<SyncAhead> {
        None
    }

    /// Notes the result of a sync ahead.
    ///
    /// # Errors
    /// [`EngineError::Unknown`], followed by [`EngineError::Broken`] for all later calls: the sync has failed.
    fn synced_ahead(&mut self, synced: SyncedAhead) -> Result<(), EngineError> {
        let _ = synced;
        Ok(())
    }

    /// Returns the bytes of the last [`Engine::mark`] by any claimant, or `None` if there was none. The default
    /// implementation stores no mark and returns `None`.
    ///
    /// # Errors
    /// As [`Engine::load`].
    fn marked(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(None)
    }

    /// Stores a few bytes beside the records for the next start of the store, in place of the previous bytes. On return
    /// they are durable, at every level. On an error the previous bytes remain, and the engine continues to work.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::Unclaimed`], [`EngineError::Fenced`], [`EngineError::Unknown`] or
    /// [`EngineError::Io`].
    fn mark(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let _ = bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
