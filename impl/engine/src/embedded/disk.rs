//! Files, with the three answers of a disk that matter: done, no room, unknown.

use crate::EngineError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file and its name, for errors.
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
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(corrupt(&self.path, offset, "the file ends here"))
            }
            Err(error) => Err(failed("read", &self.path, error)),
        }
    }

    /// The file's length now, in bytes.
    pub(crate) fn bytes(&self) -> Result<u64, EngineError> {
        let metadata = self.file.metadata();
        Ok(metadata
            .map_err(|error| failed("look at", &self.path, error))?
            .len())
    }

    /// Writes all of it at `offset`. After [`EngineError::Full`] any part may be there.
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

    /// Makes what was written durable. An error says that nobody knows: the system may have dropped what it could not
    /// write, and would call it durable when asked again.
    pub(crate) fn sync(&self) -> Result<(), EngineError> {
        #[cfg(test)]
        if fault::sync_fails() {
            return Err(unknown(&self.path, io::Error::other("a failing disk")));
        }
        self.file
            .sync_data()
            .map_err(|error| unknown(&self.path, error))
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), EngineError> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|error| unknown(folder, error))
}

/// An error of a write, or of making a file.
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

/// A disk that fails when a test says so, for the files of the test's own thread.
#[cfg(test)]
pub(crate) mod fault {
    use std::cell::Cell;

    thread_local! {
        static ROOM: Cell<Option<usize>> = const { Cell::new(None) };
        static SYNC_FAILS: Cell<bool> = const { Cell::new(false) };
    }

    /// From now on only this many bytes more can be written; `None` for any number.
    pub(crate) fn set_room(bytes: Option<usize>) {
        ROOM.set(bytes);
    }

    /// The next sync fails.
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
