//! Why a store did not start or go on, and what to do next.

use anyhow::{Error, anyhow};
use std::io::ErrorKind;
use tenure_engine::EngineError;
use tenure_store::{Config, StoreError};

/// Why the store did not start, in words that end with what to do.
pub(crate) fn refusal(error: StoreError, config: &Config) -> Error {
    let advice = advice(&error, config);
    anyhow!("{error}{advice}")
}

/// What to do next, as what stands behind the error.
pub(crate) fn advice(error: &StoreError, config: &Config) -> String {
    match error {
        StoreError::Engine(error) => of_engine(error, &config.data.display().to_string()),
        StoreError::Bind { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            ". Ports below 1024 need a permission (CAP_NET_BIND_SERVICE)".to_owned()
        }
        StoreError::Bind { source, .. } if source.kind() == ErrorKind::AddrNotAvailable => {
            ". The address must be one of this machine's".to_owned()
        }
        StoreError::Panicked => {
            ". What was acknowledged is durable: start again, and report the bug with the log"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// The same for an engine over `data`.
pub(crate) fn of_engine(error: &EngineError, data: &str) -> String {
    match error {
        EngineError::Locked { .. } => {
            ". Stop that store first, or give this one a folder of its own: --data".to_owned()
        }
        EngineError::Newer { .. } => {
            ". Run the version that wrote it, or restore a backup that this version can read"
                .to_owned()
        }
        EngineError::Corrupt { .. } => format!(
            ". Nothing was changed. Move {data} away and keep it, then restore the last backup: tenure backup BACKUP {data}"
        ),
        EngineError::Foreign { .. } => ". Name the folder of a store, or an empty one".to_owned(),
        EngineError::Full { .. } => ". Make room on that disk, then start again".to_owned(),
        EngineError::Fenced { .. } => format!(
            ". Only one store may use {data}: see that no other does, and that nobody deletes files in it, then start again"
        ),
        EngineError::Unknown { .. } | EngineError::Broken => format!(
            ". What was acknowledged is durable. See to the disk of {data} (dmesg), then start again: the store finds out what is there"
        ),
        EngineError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            format!(". {data} and all in it must belong to the user that the store runs as")
        }
        EngineError::Io { .. } => format!(". See to the disk of {data} (dmesg), then start again"),
        _ => String::new(),
    }
}
