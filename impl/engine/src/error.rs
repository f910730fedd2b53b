//! Errors of a storage engine: the failure, the file, and the outcome for the batch.

use std::io;
use std::path::PathBuf;

/// The reason why an engine call failed. Errors name files and offsets, never sessions or their data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The disk has no room for the batch. No update of the batch is applied, and all earlier commits remain. The same
    /// engine works again as soon as there is room.
    #[error("no room on the disk of {}: the batch was refused and nothing is lost", folder.display())]
    Full {
        /// The engine's folder.
        folder: PathBuf,
    },
    /// The batch is larger than the engine's limit. No update of the batch is applied.
    #[error(
        "the batch was refused because its {bytes} bytes exceed the limit of {bytes_max}; commit smaller batches"
    )]
    TooLarge {
        /// The size of the batch in bytes.
        bytes: usize,
        /// The largest allowed size in bytes.
        bytes_max: usize,
    },
    /// The engine was not claimed, so nothing can be committed.
    #[error("the engine was not claimed by this store: call claim before commit")]
    Unclaimed,
    /// A later claimant has taken over, so this claimant can commit nothing any more.
    #[error(
        "another store has claimed the data with epoch {current}, after this one with epoch {claimed}"
    )]
    Fenced {
        /// The epoch of this claimant.
        claimed: u64,
        /// The epoch of the later claimant, or 0 if the folder's claim file was deleted or replaced.
        current: u64,
    },
    /// The operating system failed to confirm that the batch is durable. The batch may or may not be durable. Reopening
    /// the engine shows which.
    #[error("{}: the last batch may or may not be durable, because the sync failed ({source}): reopen the \
    engine", file.display())]
    Unknown {
        /// The file that was to be made durable.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// An earlier batch ended with [`EngineError::Unknown`]. The engine does nothing more until it is reopened.
    #[error("the engine stopped because an earlier batch may not be durable: reopen the engine")]
    Broken,
    /// A file contains other bytes than were written, and the damage is not the torn end of the last batch. Restore a
    /// backup.
    #[error("{}: corrupt at byte {offset}: {what}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// The position of the damage, in bytes from the beginning of the file.
        offset: u64,
        /// A description of the damage.
        what: &'static str,
    },
    /// Another store has opened the folder.
    #[error("{}: another store has this folder open", folder.display())]
    Locked {
        /// The engine's folder.
        folder: PathBuf,
    },
    /// The folder was written by a newer version.
    #[error("{}: the folder has format {found}, but this version reads formats up to {known}", folder.display())]
    Newer {
        /// The engine's folder.
        folder: PathBuf,
        /// The folder's format number.
        found: u32,
        /// The newest format number that this version reads.
        known: u32,
    },
    /// The folder is not a data folder of a store.
    #[error("{}: not a data folder of a store: {what}", folder.display())]
    Foreign {
        /// The folder in question.
        folder: PathBuf,
        /// The reason why the folder is refused.
        what: &'static str,
    },
    /// The source and target of a backup are the same folder, or one contains the other.
    #[error("{}: the backup target and the copied folder {} must not be the same or contain each \
    other", target.display(), folder.display())]
    Overlaps {
        /// The folder to copy.
        folder: PathBuf,
        /// The target of the copy.
        target: PathBuf,
    },
    /// The operating system refused another operation.
    #[error("{}: cannot {doing}: {source}", file.display())]
    Io {
        /// The operation that failed.
        doing: &'static str,
        /// The file of the operation.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// The outcome of a batch whose commit failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The batch was not committed and never will be. The caller may retry the same batch with the same engine.
    Refused,
    /// The batch may or may not have been committed. Only the next claimant of the engine can find out.
    Unknown,
}

impl EngineError {
    /// Returns the outcome of a batch for which [`Engine::commit`](crate::Engine::commit) returned this error.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Full { .. } | Self::TooLarge { .. } | Self::Unclaimed => Outcome::Refused,
            _ => Outcome::Unknown,
        }
    }
}
