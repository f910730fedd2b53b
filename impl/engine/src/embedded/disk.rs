//! File operations that distinguish the three outcomes of a disk write: done, no room, unknown.

use crate::EngineError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file together with its path for error messages.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl Named {
    /// Reads exactly `bytes` bytes at `offset`.
    pub(crate) fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, EngineError> {
        let mut read = vec![0; bytes];
        match self.file.read_exact_at(&mut read, offset) {
            Ok(()) => Ok(read),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(corrupt(
                &self.path,
                offset,
                "the file ends before the expected end of this record",
            )),
            Err(error) => Err(failed("read", &self.path, error)),
        }
    }

    /// Returns the current length of the file in bytes.
    pub(crate) fn bytes(&self) -> Result<u64, EngineError> {
        let metadata = self.file.metadata();
        Ok(metadata
            .map_err(|error| failed("look at", &self.path, error))?
            .len())
    }

    /// Writes all bytes at `offset`. After [`EngineError::Full`], any part of them may have been written.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), EngineError> {
        let write = || -> io::Result<()> {
            #[cfg(test)]
            let bytes = {
                let room = fault::room(bytes.len());
                if room < bytes.len() {
                    self.file.write_all_at(&bytes[..room], offset)?;
                    return Err(io::ErrorKind::StorageFull.into());
                }
                bytes
            };
            self.file.write_all_at(bytes, offset)
        };
        write().map_err(|error| refused("write to", &self.path, error))
    }

    /// Makes all written bytes durable. After an error their state is unknown: the system may have dropped the bytes,
    /// and a second sync would report success.
    pub(crate) fn sync(&self) -> Result<(), EngineError> {
        #[cfg(test)]
        if fault::sync_fails() {
            return Err(unknown(
                &self.path,
                io::Error::other("a sync failure that the test has injected"),
            ));
        }
        self.file
            .sync_data()
            .map_err(|error| unknown(&self.path, error))
    }
}

/// Makes the directory entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), EngineError> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|error| unknown(folder, error))
}

/// Converts an error of a write or of a file creation.
pub(crate) fn refused(doing: &'static str, file: &Path, source: io::Error) -> EngineError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match source.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => EngineError::Full {
            folder: file.parent().unwrap_or(file).to_owned(),
        },
        _ => failed(doing, file, source),
    }
}

pub(crate) fn failed(doing: &'static str, file: &Path, source: io::Error) -> EngineError {
    EngineError::Io {
        doing,
        file: file.to_owned(),
        source,
    }
}

pub(crate) fn unknown(file: &Path, source: io::Error) -> EngineError {
    EngineError::Unknown {
        file: file.to_owned(),
        source,
    }
}

pub(crate) fn corrupt(file: &Path, offset: u64, what: &'static str) -> EngineError {
    EngineError::Corrupt {
        file: file.to_owned(),
        offset,
        what,
    }
}

/// A simulated disk fault for the files of the test's own thread.
#[cfg(test)]
pub(crate) mod fault {
    use std::cell::Cell;

    thread_local! {
        static ROOM: Cell<Option<usize>> = const { Cell::new(None) };
        static SYNC_FAILS: Cell<bool> = const { Cell::new(false) };
    }

    /// Limits the number of bytes that can still be written. `None` removes the limit.
    pub(crate) fn set_room(bytes: Option<usize>) {
        ROOM.set(bytes);
    }

    /// Makes the next sync fail.
    pub(crate) fn fail_sync() {
        SYNC_FAILS.set(true);
    }

    pub(super) fn room(wanted: usize) -> usize {
        let room = ROOM.get().map_or(wanted, |room| room.min(wanted));
        ROOM.set(ROOM.get().map(|left| left - room));
        room
    }

    pub(super) fn sync_fails() -> bool {
        SYNC_FAILS.take()
    }
}
