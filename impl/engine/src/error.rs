//! What can go wrong, in which file, and what a store may think about the batch.

use std::io;
use std::path::PathBuf;

/// Why an engine did not do something. Names files and offsets, never a session or its data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no room for the batch. Nothing of it is kept, all that was committed before is, and the same engine works
    /// again when there is room.
    #[error("no room on the disk of {}: the batch was refused, nothing is lost", folder.display())]
    Full {
        /// The engine's folder.
        folder: PathBuf,
    },
    /// A batch is larger than an engine takes at once. Nothing of it is kept.
    #[error("a batch of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// What it would take, in bytes.
        bytes: usize,
        /// What it may take, in bytes.
        bytes_max: usize,
    },
    /// Nothing can be committed before the engine was claimed.
    #[error("the engine was not claimed")]
    Unclaimed,
    /// A later claimant has taken over: this one can commit nothing any more.
    #[error("another store has taken over with epoch {current}: that of this one is {claimed}")]
    Fenced {
        /// The epoch of this claimant.
        claimed: u64,
        /// A later epoch that was seen; 0 when the folder's claim was deleted or replaced.
        current: u64,
    },
    /// The system could not say that the batch is durable. It may be or not; reopen the engine to know.
    #[error("{}: whether the last batch is durable is unknown; reopen the engine ({source})", file.display())]
    Unknown {
        /// What was to be made durable.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier batch ended as [`EngineError::Unknown`]: nothing is done before the engine is reopened.
    #[error("an earlier batch may not be durable: reopen the engine")]
    Broken,
    /// A file does not say what was written to it, and this is not the torn end of a last batch. Restore a backup.
    #[error("{}: corrupt at byte {offset}: {what}", file.display())]
    Corrupt {
        /// Which file.
        file: PathBuf,
        /// Where, in bytes from its beginning.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Another store has the folder open.
    #[error("{}: another store has this folder open", folder.display())]
    Locked {
        /// Which folder.
        folder: PathBuf,
    },
    /// The folder was written by a newer version.
    #[error("{}: written in format {found}, this version knows formats up to {known}", folder.display())]
    Newer {
        /// Which folder.
        folder: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// This is not a folder of this engine.
    #[error("{}: not a folder of a store: {what}", folder.display())]
    Foreign {
        /// Which folder.
        folder: PathBuf,
        /// Why not.
        what: &'static str,
    },
    /// A backup was to be made of a folder into itself, into a part of it, or around it.
    #[error("{}: a backup cannot be the folder that it copies, {}, nor be inside it or around it", target.display(), folder.display())]
    Overlaps {
        /// The folder that was to be copied.
        folder: PathBuf,
        /// The folder to which it was to be copied.
        target: PathBuf,
    },
    /// The system refused something else.
    #[error("{}: cannot {doing}: {source}", file.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What became of a batch whose commit failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not committed and never will be. The same batch may be tried again with the same engine.
    Refused,
    /// It may have been committed or not. Only whoever claims the engine next knows.
    Unknown,
}

impl EngineError {
    /// What became of the batch, when [`Engine::commit`](crate::Engine::commit) answered this.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Full { .. } | Self::TooLarge { .. } | Self::Unclaimed => Outcome::Refused,
            _ => Outcome::Unknown,
        }
    }
}
