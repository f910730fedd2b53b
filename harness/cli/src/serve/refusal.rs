//! Why a store did not start or go on, and what to do next.

use std::io;
use std::io::ErrorKind;
use tenure_engine::EngineError;
use tenure_store::{Config, StoreError, is_passing};

/// Why a store ended that was not told to: the text, and the exit code of the process.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Ends with what to do next.
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl Refusal {
    /// The store ran, or met a bug: a restart finds out what is durable.
    pub(crate) const FAILED: u8 = 1;
    /// A restart meets the same: a person has to change something.
    pub(crate) const LASTS: u8 = 2;
    /// The condition passes by itself: try again later. `EX_TEMPFAIL` of `sysexits.h`.
    pub(crate) const PASSES: u8 = 75;
}

/// What the system refused around the store: a file, a thread, a signal handler.
impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        let mut causes = error.chain();
        let passes = causes.any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_passing));
        Self {
            text: format!("{error:#}"),
            code: if passes { Self::PASSES } else { Self::LASTS },
        }
    }
}

/// Why the store did not start, in words that end with what to do.
pub(crate) fn refusal(error: &StoreError, config: &Config) -> Refusal {
    let code = match error {
        StoreError::Panicked => Refusal::FAILED,
        error if error.is_passing() => Refusal::PASSES,
        _ => Refusal::LASTS,
    };
    let text = format!("{error}{}", advice(error, config));
    Refusal { text, code }
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
        EngineError::Overlaps { .. } => {
            ". Nothing was copied. Name a folder elsewhere, on another disk if there is one"
                .to_owned()
        }
        EngineError::Foreign { .. } => ". Name the folder of a store, or an empty one".to_owned(),
        EngineError::Full { .. } => {
            ". Make room on that disk: under systemd the store then starts again by itself"
                .to_owned()
        }
        EngineError::Fenced { .. } => format!(
            ". Only one store may use {data}: see that no other does, and that nobody deletes files in it, then start again"
        ),
        EngineError::Unknown { source, .. } | EngineError::Io { source, .. }
            if is_passing(source) =>
        {
            ". Try again later, or raise what is short (open files: ulimit -n, LimitNOFILE=)"
                .to_owned()
        }
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
