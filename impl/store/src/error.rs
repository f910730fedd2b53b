//! The errors with which a store fails to start or ends, and whether a retry may succeed.

use crate::config::ConfigError;
use crate::shard::Failure;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tenure_engine::EngineError;

/// The reason why a store did not start, or ended with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A setting has an invalid value, or contradicts another setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The storage engine reported an error. At start: its folder is in use, unreadable, damaged or of a newer version.
    /// While the store runs: a read or write has failed.
    #[error("{0}")]
    Engine(Arc<EngineError>),
    /// The operating system refused to listen on an address.
    #[error(
        "cannot listen on {address}: {source}; check whether another store uses this address, or choose another one \
        (--listen, --admin)"
    )]
    Bind {
        /// The address to listen on.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A thread or task of the store has panicked: a bug in Tenure or in a storage engine. Every acknowledged commit is
    /// durable.
    #[error(
        "a thread of the store has panicked, which is a bug in Tenure: see the panic message in the log above"
    )]
    Panicked,
    /// The operating system refused to start a thread.
    #[error("cannot start the store's writer thread: {0}; check the limits on threads and memory")]
    Thread(io::Error),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Engine(error) => Self::Engine(error),
            Failure::Panic => Self::Panicked,
        }
    }
}

impl From<EngineError> for StoreError {
    fn from(error: EngineError) -> Self {
        Self::Engine(Arc::new(error))
    }
}

impl StoreError {
    /// Returns whether the same start may succeed later without a change of settings or data. Examples are a full disk,
    /// an address or folder in use by another program, or a lack of memory, threads or open files.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Engine(error) => match &**error {
                EngineError::Full { .. } | EngineError::Locked { .. } => true,
                EngineError::Unknown { source, .. } | EngineError::Io { source, .. } => {
                    is_passing(source)
                }
                _ => false,
            },
            Self::Bind { source, .. } | Self::Thread(source) => is_passing(source),
            Self::Config(_) | Self::Panicked => false,
        }
    }
}

/// Returns whether an error of the operating system may pass by itself: see [`StoreError::is_passing`].
#[must_use]
pub fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    use rustix::io::Errno;
    let scarce = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS];
    let scarce = scarce.map(|errno| Some(errno.raw_os_error()));
    scarce.contains(&error.raw_os_error())
        || matches!(
            error.kind(),
            Kind::StorageFull
                | Kind::QuotaExceeded
                | Kind::AddrInUse
                // A network interface may come up later.
                | Kind::AddrNotAvailable
                | Kind::OutOfMemory
                // Thread creation fails with this kind (`EAGAIN`) when threads are scarce.
                | Kind::WouldBlock
                | Kind::ResourceBusy
                | Kind::Interrupted
                | Kind::TimedOut
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn system(kind: io::ErrorKind) -> io::Error {
        kind.into()
    }

    #[test]
    fn errors_are_passing_exactly_if_the_same_start_may_succeed_later() {
        let folder = || PathBuf::from("data");
        let engine = |error: EngineError| StoreError::from(error);
        let cannot = |source| {
            engine(EngineError::Io {
                doing: "open",
                file: folder(),
                source,
            })
        };
        let bind = |source| StoreError::Bind {
            address: ([127, 0, 0, 1], 1).into(),
            source,
        };
        let passing = [
            engine(EngineError::Full { folder: folder() }),
            engine(EngineError::Locked { folder: folder() }),
            cannot(system(io::ErrorKind::OutOfMemory)),
            cannot(rustix::io::Errno::MFILE.into()),
            cannot(rustix::io::Errno::NFILE.into()),
            bind(system(io::ErrorKind::AddrInUse)),
            bind(system(io::ErrorKind::AddrNotAvailable)),
            bind(rustix::io::Errno::MFILE.into()),
            StoreError::Thread(rustix::io::Errno::AGAIN.into()),
        ];
        for error in passing {
            assert!(error.is_passing(), "{error}");
        }
        let lasting = [
            engine(EngineError::Newer {
                folder: folder(),
                found: 99,
                known: 1,
            }),
            engine(EngineError::Foreign {
                folder: folder(),
                what: "a test says so",
            }),
            engine(EngineError::Corrupt {
                file: folder(),
                offset: 0,
                what: "a test says so",
            }),
            engine(EngineError::Fenced {
                claimed: 1,
                current: 2,
            }),
            cannot(system(io::ErrorKind::PermissionDenied)),
            cannot(system(io::ErrorKind::ReadOnlyFilesystem)),
            cannot(rustix::io::Errno::IO.into()),
            bind(system(io::ErrorKind::PermissionDenied)),
            StoreError::Panicked,
        ];
        for error in lasting {
            assert!(!error.is_passing(), "{error}");
        }
    }
}
