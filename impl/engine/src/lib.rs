//! Where sessions become durable: [`trait Engine`](Engine), the [`Embedded`] engine, and [`Memory`] for tests.
//!
//! A store's machine says what is to be made durable, as [`Update`]s in the order of its outputs. A driver gathers them and
//! gives them to an engine in batches; when [`Engine::commit`] returns, what waited for them may leave (rule 8). What an
//! update means is said once, by [`Records`](tenure_protocol::Records): an engine gives back exactly the records that it
//! would have.
//!
//! Calls block. A store gives each engine a thread of its own, which gathers the next batch while one is being committed:
//! so one wait for the disk serves everyone who came meanwhile.
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
//! engine.commit(&[Update::Put { session: session.clone(), head: Head::default(), delta: Delta::default() }])?;
//! drop(engine);
//!
//! let mut engine = Embedded::open(&folder, Settings::default())?;
//! assert!(engine.load(&session)?.is_some());
//! assert_eq!(engine.claim()?, 2);
//! # Ok(())
//! # }
//! ```
pub use backup::{BACKUP_EPOCHS, Copied, backup};
pub use embedded::{Embedded, FORMAT, Level, Settings, Usage};
pub use error::{EngineError, Outcome};
pub use memory::{Health, Memory};

use tenure_protocol::attributes::Head;
use tenure_protocol::{Record, SessionId, Update};

mod backup;
mod embedded;
mod error;
mod memory;

/// Where the records of sessions are durable, for one store at a time.
///
/// Pages are in the order of [`SessionId`]'s `Ord`, so that any engine can go on behind any id, whatever was committed
/// between two pages. What is committed between them may be in a later page or not; a session that is not touched comes
/// exactly once.
pub trait Engine: Send {
    /// Takes over. Answers a durable epoch, larger than any before it: the store's stamps begin with it (rule 9). From now
    /// on no commit of an earlier claimant succeeds. The epoch may skip numbers.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::Broken`], [`EngineError::Unknown`] or [`EngineError::Io`]; then nothing was
    /// taken over.
    fn claim(&mut self) -> Result<u64, EngineError>;

    /// The record of one session, whole; `None` when it has none. For a session that has left the store's memory.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when what is stored is not what was written, [`EngineError::Broken`],
    /// [`EngineError::Io`].
    fn load(&mut self, session: &SessionId) -> Result<Option<Record>, EngineError>;

    /// The next records behind `after`, or from the first one on. At most `sessions_max` (0 counts as 1), possibly fewer;
    /// none only at the end.
    ///
    /// # Errors
    /// As [`Engine::load`].
    fn page(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Record)>, EngineError>;

    /// As [`Engine::page`], without the attributes: what a store with many sessions needs to start.
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

    /// Applies the updates in their order, all or none, under the fence. They are as durable as the engine's level says
    /// when this returns. An empty batch only asks whether the claim still stands.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::TooLarge`] and [`EngineError::Unclaimed`]: nothing of the batch was or will be
    /// applied; the engine works on. [`EngineError::Fenced`]: give up. [`EngineError::Unknown`] and what comes after it,
    /// [`EngineError::Broken`]: reopen. See [`EngineError::outcome`].
    fn commit(&mut self, batch: &[Update]) -> Result<(), EngineError>;

    /// Returns the bytes of the last [`Engine::mark`], of whatever claimant; `None` when there was none. An engine that keeps no
    /// mark returns none.
    ///
    /// # Errors
    /// As [`Engine::load`].
    fn marked(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(None)
    }

    /// Keeps a few bytes beside the records, in place of the last ones: what the next start of the store is to know. They are
    /// durable when this returns, at any level. An error leaves the last ones, and the engine works on.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::Unclaimed`], [`EngineError::Fenced`], [`EngineError::Unknown`],
    /// [`EngineError::Io`].
    fn mark(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let _ = bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
