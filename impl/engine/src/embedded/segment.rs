//! Segments: files that are begun whole, grow by batches, are read at any place, and go away whole.

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

/// A segment's file and what its header says.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) named: Named,
    pub(crate) header: Header,
    /// How long it is, in bytes, once another has followed it; 0 before.
    pub(crate) bytes: u64,
}

/// The file of a segment.
pub(crate) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:010}{SUFFIX}"))
}

/// The number of the segment that a file's name says.
pub(crate) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (name == format!("{number:010}{SUFFIX}")).then_some(number)
}

/// Whether a file is a segment that was never finished being begun.
pub(crate) fn is_draft(name: &str) -> bool {
    name.ends_with(DRAFT_SUFFIX)
}

/// A number that nobody can foresee: hash maps are seeded with such.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Segment {
    /// Begins a segment. It is there with its whole header, durably, or not at all.
    ///
    /// `Ok(None)` when there is one with this number: another claimant's.
    pub(crate) fn begin(folder: &Path, mut header: Header) -> Result<Option<Self>, EngineError> {
        header.salt = random();
        let path = path(folder, header.number);
        let draft = folder.join(format!(
            "{:010}-{}{DRAFT_SUFFIX}",
            header.number, header.epoch
        ));
        let result = Self::write_draft(&draft, &header).and_then(|file| {
            // A link, not a renaming: that would replace what another claimant has begun.
            match fs::hard_link(&draft, &path) {
                Ok(()) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(refused("make", &path, error)),
            }
        });
        // When this fails, the next claim does it.
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
            .ok_or_else(|| corrupt(&named.path, 0, "not the header of this segment"))?;
        Ok(Self {
            named,
            header,
            bytes: 0,
        })
    }
}

/// How far a segment is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The first byte behind the last whole batch.
    pub(crate) end: usize,
    /// Everything before this is known to be durable.
    pub(crate) synced: usize,
}

/// Walks through the batches of a segment's content. The last segment may end in a torn batch; one that is followed by
/// another ends where that one says.
///
/// # Errors
/// The offset of what is corrupt.
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

/// Whether a later batch says that what stands at `bad` was durable: so it was acknowledged, and is not a torn end.
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
