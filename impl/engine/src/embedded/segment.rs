//! Segments: log files that are created atomically, grow by batches, are read at any position, and are deleted as a
//! whole.

use super::disk::{Named, corrupt, failed, refused, sync_folder};
use super::frame::{Batch, HEADER_BYTES, Header, next_magic};
use crate::EngineError;
use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".log";
const DRAFT_SUFFIX: &str = ".new";

/// A segment's file and its decoded header.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) named: Named,
    pub(crate) header: Header,
    /// The final length in bytes once a later segment exists, before that 0.
    pub(crate) bytes: u64,
}

/// Returns the path of a segment's file.
pub(crate) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:010}{SUFFIX}"))
}

/// Returns the segment number in a file name, or `None` for other files.
pub(crate) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (name == format!("{number:010}{SUFFIX}")).then_some(number)
}

/// Returns whether a file name is that of a segment whose creation was not completed.
pub(crate) fn is_draft(name: &str) -> bool {
    name.ends_with(DRAFT_SUFFIX)
}

/// Returns a random number. The standard library seeds hash maps with such numbers.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Segment {
    /// Creates a segment with its whole header, durably and atomically.
    ///
    /// Returns `Ok(None)` if another claimant has already created a segment with this number.
    pub(crate) fn begin(folder: &Path, mut header: Header) -> Result<Option<Self>, EngineError> {
        header.salt = random();
        let path = path(folder, header.number);
        let draft = folder.join(format!(
            "{:010}-{}{DRAFT_SUFFIX}",
            header.number, header.epoch
        ));
        let result = Self::write_draft(&draft, &header).and_then(|file| {
            // Use a hard link, because a rename would replace another claimant's segment.
            match fs::hard_link(&draft, &path) {
                Ok(()) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(refused("make", &path, error)),
            }
        });
        // If this fails, the next claim removes the file.
        let _ = fs::remove_file(&draft);
        let Some(file) = result? else {
            return Ok(None);
        };
        sync_folder(folder)?;
        let named = Named { file, path };
        Ok(Some(Self {
            named,
            header,
            bytes: 0,
        }))
    }

    fn write_draft(draft: &Path, header: &Header) -> Result<File, EngineError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(draft)
            .map_err(|error| refused("make", draft, error))?;
        let named = Named {
            file,
            path: draft.to_owned(),
        };
        named.write(&header.encode(), 0)?;
        named.sync()?;
        Ok(named.file)
    }

    /// Opens a segment and reads its header.
    pub(crate) fn open(folder: &Path, number: u32, is_writable: bool) -> Result<Self, EngineError> {
        let path = path(folder, number);
        let file = OpenOptions::new()
            .read(true)
            .write(is_writable)
            .open(&path)
            .map_err(|error| failed("open", &path, error))?;
        let named = Named { file, path };
        let header = Header::decode(&named.read(0, HEADER_BYTES)?)
            .filter(|header| header.number == number)
            .ok_or_else(|| corrupt(&named.path, 0, "no valid header of this segment"))?;
        Ok(Self {
            named,
            header,
            bytes: 0,
        })
    }
}

/// The valid extent of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The position of the first byte behind the last whole batch.
    pub(crate) end: usize,
    /// The position before which all bytes are known to be durable.
    pub(crate) synced: usize,
}

/// Visits the batches in a segment's content. Only the last segment may end with a torn batch. Every other segment ends
/// where its successor's header states.
///
/// # Errors
/// The error that `corrupt` returns for the offset of the damage.
pub(crate) fn walk<'a>(
    content: &'a [u8],
    salt: u64,
    is_last: bool,
    mut visit: impl FnMut(Batch<'a>) -> Result<(), EngineError>,
    corrupt: impl Fn(usize) -> EngineError,
) -> Result<Extent, EngineError> {
    let mut extent = Extent {
        end: HEADER_BYTES,
        synced: HEADER_BYTES,
    };
    while let Some(batch) = Batch::decode(content, extent.end, salt) {
        visit(batch)?;
        extent = Extent {
            end: batch.end,
            synced: extent.synced.max(batch.synced),
        };
    }
    let is_good =
        extent.end == content.len() || is_last && !is_confirmed(content, extent.end, salt);
    is_good.then_some(extent).ok_or_else(|| corrupt(extent.end))
}

/// Returns whether a later batch states that the bytes at `bad` were durable. Those bytes were then acknowledged, so
/// the damage is not a torn end.
fn is_confirmed(content: &[u8], bad: usize, salt: u64) -> bool {
    let mut at = bad;
    while let Some(next) = next_magic(content, at + 1) {
        if Batch::decode(content, next, salt).is_some_and(|batch| batch.synced > bad) {
            return true;
        }
        at = next;
    }
    false
}
