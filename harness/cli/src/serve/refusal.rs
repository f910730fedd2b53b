//! The reason why a store did not start or did not continue, and what to do next.

use std::io;
use std::io::ErrorKind;
use tenure_engine::EngineError;
use tenure_store::{Config, StoreError, is_passing};

/// The end of a store that was not requested: the text, and the exit code of the program.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The reason, followed by what to do next.
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl Refusal {
    /// The store failed while it ran, or met a bug. A restart recovers what is durable.
    pub(crate) const FAILED: u8 = 1;
    /// A restart would fail in the same way: a person must change something.
    pub(crate) const LASTS: u8 = 2;
    /// The condition is temporary: try again later. `EX_TEMPFAIL` of `sysexits.h`.
    pub(crate) const PASSES: u8 = 75;
}

/// Converts an error of the OS outside of the store: about a file, a thread or a signal handler.
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

/// Returns the text and the exit code of a failed start.
pub(crate) fn refusal(error: &StoreError, config: &Config) -> Refusal {
    let code = match error {
        StoreError::Panicked => Refusal::FAILED,
        error if error.is_passing() => Refusal::PASSES,
        _ => Refusal::LASTS,
    };
    let text = format!("{error}{}", advice(error, config));
    Refusal { text, code }
}

/// Returns what to do next, as a sentence to append to the error.
pub(crate) fn advice(error: &StoreError, config: &Config) -> String {
    match error {
        StoreError::Engine(error) => of_engine(error, &config.data.display().to_string()),
        StoreError::Bind { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            ". Ports below 1024 need the capability CAP_NET_BIND_SERVICE: grant it, or choose a higher port".to_owned()
        }
        StoreError::Bind { source, .. } if source.kind() == ErrorKind::AddrNotAvailable => {
            ". Choose an address of this machine".to_owned()
        }
        StoreError::Panicked => {
            ". All acknowledged writes are durable: start the store again, and report the bug with the log"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// Returns what to do next after an error of the engine over the folder `data`.
pub(crate) fn of_engine(error: &EngineError, data: &str) -> String {
    match error {
        EngineError::Locked { .. } => {
            ". Stop that store first, or choose another folder for this one with --data".to_owned()
        }
        EngineError::Newer { .. } => {
            ". Run the version that wrote the folder, or restore a backup that this version can read"
                .to_owned()
        }
        EngineError::Corrupt { .. } => format!(
            ". The folder is unchanged. Move {data} away and keep it, then restore the last backup: tenure backup \
             BACKUP {data}"
        ),
        EngineError::Overlaps { .. } => {
            ". Nothing was copied. Name a folder elsewhere, on another disk if possible"
                .to_owned()
        }
        EngineError::Foreign { .. } => ". Name the folder of a store, or an empty folder".to_owned(),
        EngineError::Full { .. } => {
            ". Make room on that disk; systemd then starts the store again by itself"
                .to_owned()
        }
        EngineError::Fenced { .. } => format!(
            ". Only one store may use {data}: stop all others, make sure that no program deletes files in it, then \
             start again"
        ),
        EngineError::Unknown { source, .. } | EngineError::Io { source, .. }
            if is_passing(source) =>
        {
            ". Try again later, or raise the exhausted limit (open files: ulimit -n, LimitNOFILE=)"
                .to_owned()
        }
        EngineError::Unknown { .. } | EngineError::Broken => format!(
            ". All acknowledged writes are durable. Check the disk of {data} (dmesg), then start again: the store \
             recovers its data"
        ),
        EngineError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            format!(". Make {data} and all files in it belong to the user that runs the store")
        }
        EngineError::Io { .. } => format!(". Check the disk of {data} (dmesg), then start again"),
        _ => String::new(),
    }
}
