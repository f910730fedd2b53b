//! The data folder of a store: its format, its lock and its claim.
//!
//! | file | contents |
//! |---|---|
//! | `format` | marks a store's data folder and names its format |
//! | `claim` | the epoch of the last claim; locked by the store that has the folder open |
//! | `mark` | a few bytes that the store writes for its next start |
//! | `0000000001.log`, ... | the segments |

use super::disk::{Named, failed, refused, sync_folder};
use super::frame::FORMAT;
use super::segment;
use crate::EngineError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

const FORMAT_FILE: &str = "format";
const FORMAT_DRAFT: &str = "format.new";
const CLAIM_FILE: &str = "claim";
const FORMAT_TEXT: &str = "tenure-engine format ";

/// A data folder of a store.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    claim: Named,
}

impl Folder {
    /// Opens the folder, creates it if absent, and locks it until the returned value is dropped.
    pub(crate) fn open(path: &Path) -> Result<Self, EngineError> {
        fs::create_dir_all(path).map_err(|error| refused("make", path, error))?;
        let is_new = Self::look(path)?;
        let claim = Named {
            path: path.join(CLAIM_FILE),
            file: Self::lock(path)?,
        };
        if is_new {
            Self::write_format(path)?;
        }
        let path = path.to_owned();
        Ok(Self { path, claim })
    }

    /// Checks the format of a folder that may belong to a running store. Returns whether the folder is empty.
    pub(crate) fn look(folder: &Path) -> Result<bool, EngineError> {
        let path = folder.join(FORMAT_FILE);
        match fs::read(&path) {
            Ok(text) => Self::check_format(folder, &text).map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let names = names(folder)?;
                if names
                    .iter()
                    .all(|name| name == CLAIM_FILE || name == FORMAT_DRAFT)
                {
                    return Ok(true);
                }
                Err(foreign(folder, "it is not empty and has no file `format`"))
            }
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    fn check_format(folder: &Path, text: &[u8]) -> Result<(), EngineError> {
        let found = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.strip_prefix(FORMAT_TEXT)?.strip_suffix('\n'))
            .and_then(|number| number.parse::<u32>().ok())
            .ok_or_else(|| foreign(folder, "its file `format` was not written by a store"))?;
        match found {
            FORMAT => Ok(()),
            0 => Err(foreign(
                folder,
                "its file `format` names format 0, which does not exist",
            )),
            _ => Err(EngineError::Newer {
                folder: folder.to_owned(),
                found,
                known: FORMAT,
            }),
        }
    }

    /// Writes the format file, which marks the folder as a store's data folder.
    pub(crate) fn write_format(folder: &Path) -> Result<(), EngineError> {
        let draft = folder.join(FORMAT_DRAFT);
        let file = File::create(&draft).map_err(|error| refused("make", &draft, error))?;
        let named = Named { file, path: draft };
        named.write(format!("{FORMAT_TEXT}{FORMAT}\n").as_bytes(), 0)?;
        named.sync()?;
        let path = folder.join(FORMAT_FILE);
        fs::rename(&named.path, &path).map_err(|error| refused("make", &path, error))?;
        sync_folder(folder)
    }

    fn lock(folder: &Path) -> Result<File, EngineError> {
        let path = folder.join(CLAIM_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| refused("open", &path, error))?;
        #[cfg(test)]
        if tests::IS_LOCK_IGNORED.get() {
            return Ok(file);
        }
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(EngineError::Locked {
                folder: folder.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path, error)),
        }
    }

    /// Returns the numbers of the existing segments in order.
    pub(crate) fn segments(folder: &Path) -> Result<Vec<u32>, EngineError> {
        let names = names(folder)?;
        let mut numbers: Vec<u32> = names
            .iter()
            .filter_map(|name| segment::number(name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Removes the draft segments of a claimant that crashed while it began a segment.
    pub(crate) fn remove_drafts(&self) -> Result<(), EngineError> {
        for name in names(&self.path)? {
            if segment::is_draft(&name) {
                let path = self.path.join(name);
                fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
            }
        }
        Ok(())
    }

    /// Returns the epoch of the last claim, or 0 if the file contains none. A later claimant writes the file in place,
    /// so that every earlier claimant sees the new epoch through its open file. Costs one system call.
    pub(crate) fn epoch(&self) -> Result<u64, EngineError> {
        let mut bytes = [0; CLAIM_BYTES];
        let read = self.claim.file.read_at(&mut bytes, 0);
        let read = read.map_err(|error| failed("read", &self.claim.path, error))?;
        let epoch: [u8; 8] = bytes[..8].try_into().expect("a claim begins with 8 bytes");
        let is_whole = read == CLAIM_BYTES && crc32fast::hash(&epoch).to_le_bytes() == bytes[8..];
        Ok(if is_whole {
            u64::from_le_bytes(epoch)
        } else {
            0
        })
    }

    /// Writes `epoch` as that of the last claim.
    pub(crate) fn claim(&self, epoch: u64) -> Result<(), EngineError> {
        self.claim.write(&claim_bytes(epoch), 0)?;
        self.claim.sync()
    }

    /// Checks, before a write, that no later claimant has written its epoch. One system call.
    pub(crate) fn check_before(&self, epoch: u64) -> Result<(), EngineError> {
        fenced_by(self.epoch()?, epoch)
    }

    /// Checks that no later claimant has written its epoch, and that the claim's file exists. A written batch is
    /// acknowledged only after this check. Two system calls.
    pub(crate) fn check(&self, epoch: u64) -> Result<(), EngineError> {
        let metadata = self.claim.file.metadata();
        let links = metadata
            .map_err(|error| failed("look at", &self.claim.path, error))?
            .nlink();
        // If the link count is 0, the file was deleted, and the lock with it.
        let current = if links == 0 { 0 } else { self.epoch()? };
        fenced_by(current, epoch)
    }
}

fn fenced_by(current: u64, claimed: u64) -> Result<(), EngineError> {
    if current == claimed {
        return Ok(());
    }
    Err(EngineError::Fenced { claimed, current })
}

const MARK_FILE: &str = "mark";
const MARK_DRAFT: &str = "mark.new";

/// Reads the mark in a folder that may be open elsewhere.
pub(crate) fn read_mark(folder: &Path) -> Result<Option<Vec<u8>>, EngineError> {
    let path = folder.join(MARK_FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path, error)),
    }
}

/// Replaces the mark atomically: after a crash, either the old or the new mark is there, whole.
pub(crate) fn write_mark(folder: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let draft = folder.join(MARK_DRAFT);
    let file = File::create(&draft).map_err(|error| refused("make", &draft, error))?;
    let named = Named { file, path: draft };
    named.write(bytes, 0)?;
    named.sync()?;
    let path = folder.join(MARK_FILE);
    fs::rename(&named.path, &path).map_err(|error| refused("make", &path, error))?;
    sync_folder(folder)
}

const CLAIM_BYTES: usize = 12;

fn claim_bytes(epoch: u64) -> Vec<u8> {
    let mut bytes = epoch.to_le_bytes().to_vec();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Writes the claim of a folder that no store has open.
pub(crate) fn write_claim(folder: &Path, epoch: u64) -> Result<(), EngineError> {
    let path = folder.join(CLAIM_FILE);
    let file = File::create(&path).map_err(|error| refused("make", &path, error))?;
    let named = Named { file, path };
    named.write(&claim_bytes(epoch), 0)?;
    named.sync()
}

/// Reads the epoch of the last claim in a folder that may be open elsewhere.
pub(crate) fn read_claim(folder: &Path) -> Result<u64, EngineError> {
    let path = folder.join(CLAIM_FILE);
    let file = File::open(&path).map_err(|error| failed("open", &path, error))?;
    let claim = Named { file, path };
    let path = folder.to_owned();
    Folder { path, claim }.epoch()
}

fn foreign(folder: &Path, what: &'static str) -> EngineError {
    EngineError::Foreign {
        folder: folder.to_owned(),
        what,
    }
}

fn names(folder: &Path) -> Result<Vec<String>, EngineError> {
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    read().map_err(|error| failed("list", folder, error))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    thread_local! {
        /// Simulates a file system that loses locks, against which the fence protects.
        pub(crate) static IS_LOCK_IGNORED: Cell<bool> = const { Cell::new(false) };
    }
}
