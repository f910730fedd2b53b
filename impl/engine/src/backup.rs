//! Copies a store's data folder, whether or not the store is running.
//!
//! Segments only grow, and are deleted from the oldest on. A copy of a running store therefore needs no help from the
//! store. The copy opens all segments, which keeps them readable, finds the valid length of the last one, and copies
//! that. The copy contains everything that was acknowledged before it began.

use crate::EngineError;
use crate::embedded::folder::{Folder, read_claim, read_mark, write_claim, write_mark};
use crate::embedded::recover::contiguous;
use crate::embedded::segment::{Segment, path, walk};
use crate::embedded::{Named, corrupt, failed, refused};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The number by which a copy's epoch exceeds the original's. Tokens of a store that starts from the copy are then
/// larger than tokens that the original drew after the copy. This holds unless the original was claimed more often than
/// this number.
pub const BACKUP_EPOCHS: u64 = 1_000_000;

/// The amount of data that a [`backup`] has copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The number of segments.
    pub segments: usize,
    /// The length of all segments, in bytes.
    pub bytes: u64,
}

/// Copies the store in `folder` to `target`. The store may be running, and `target` must be empty or absent. The copy
/// is consistent, and durable on return. To restore it, start a store on it.
///
/// # Errors
/// [`EngineError::Overlaps`] if the folders are the same or one contains the other. Nothing was created then.
///
/// [`EngineError::Corrupt`] if the data to copy is damaged. [`EngineError::Foreign`] if `target` is not empty or
/// `folder` is not a store's data folder.
///
/// [`EngineError::Newer`], [`EngineError::Full`], [`EngineError::Unknown`] or [`EngineError::Io`].
pub fn backup(folder: &Path, target: &Path) -> Result<Copied, EngineError> {
    if Folder::look(folder)? {
        return Err(EngineError::Foreign {
            folder: folder.to_owned(),
            what: "the folder is empty",
        });
    }
    refuse_overlap(folder, target)?;
    fs::create_dir_all(target).map_err(|error| refused("make", target, error))?;
    let is_empty = fs::read_dir(target).map_err(|error| refused("list", target, error))?;
    if is_empty.count() > 0 {
        return Err(EngineError::Foreign {
            folder: target.to_owned(),
            what: "the target of a backup must be an empty folder",
        });
    }
    let segments = open_all(folder)?;
    let mut copied = Copied {
        segments: segments.len(),
        bytes: 0,
    };
    let next = segments.iter().skip(1).map(Some).chain([None]);
    for (segment, next) in segments.iter().zip(next) {
        let content = match next {
            Some(next) => sealed(segment, next.header.previous_bytes)?,
            None => good(segment)?,
        };
        write(&path(target, segment.header.number), &content)?;
        copied.bytes += content.len() as u64;
    }
    if let Some(mark) = read_mark(folder)? {
        write_mark(target, &mark)?;
    }
    write_claim(target, read_claim(folder)?.saturating_add(BACKUP_EPOCHS))?;
    // Write the format file last: until then the folder does not count as a store's data folder.
    Folder::write_format(target)?;
    Ok(copied)
}

/// Refuses a target that is the same as `folder`, lies inside it, or contains it. Folders are compared by device and
/// inode, so that symbolic links and bind mounts cannot hide an overlap.
fn refuse_overlap(folder: &Path, target: &Path) -> Result<(), EngineError> {
    let own = identity(folder)?;
    let overlaps = || EngineError::Overlaps {
        folder: folder.to_owned(),
        target: target.to_owned(),
    };
    let resolve = |path: &Path| fs::canonicalize(path).map_err(|error| failed("find", path, error));
    let absolute = std::path::absolute(target).map_err(|error| failed("find", target, error))?;
    // Resolve the path in the way in which `create_dir_all` creates it. `place` is the existing part, and `new_below`
    // is the number of new folders below it. Created folders remain even if the path leaves them again, as in
    // `D/new/../../elsewhere`.
    let mut place = PathBuf::new();
    let mut new_below = 0_usize;
    for part in absolute.components() {
        match part {
            Component::ParentDir if new_below > 0 => new_below -= 1,
            Component::ParentDir => drop(place.pop()),
            part if new_below == 0 && place.join(part).exists() => {
                place = resolve(&place.join(part))?;
            }
            _ => new_below += 1,
        }
        if new_below > 0 && is_at_or_below(&place, own)? {
            return Err(overlaps());
        }
    }
    let is_around = new_below == 0 && is_at_or_below(&resolve(folder)?, identity(&place)?)?;
    if is_around || is_at_or_below(&place, own)? {
        return Err(overlaps());
    }
    Ok(())
}

/// Returns the device and inode of a folder.
fn identity(folder: &Path) -> Result<(u64, u64), EngineError> {
    let metadata = fs::metadata(folder).map_err(|error| failed("look at", folder, error))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Returns whether a folder, given by its canonical path, is `own` or lies inside it.
fn is_at_or_below(place: &Path, own: (u64, u64)) -> Result<bool, EngineError> {
    for ancestor in place.ancestors() {
        if identity(ancestor)? == own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens all segments. A running store may delete or begin segments meanwhile, so the attempt is repeated.
fn open_all(folder: &Path) -> Result<Vec<Segment>, EngineError> {
    const TRIES: usize = 100;
    let mut tries = 0;
    loop {
        let numbers = Folder::segments(folder)?;
        let opened: Result<Vec<_>, _> = contiguous(&numbers)
            .iter()
            .map(|number| Segment::open(folder, *number, false))
            .collect();
        tries += 1;
        if opened.is_ok() || tries == TRIES {
            return opened;
        }
    }
}

fn content(segment: &Segment, bytes: u64) -> Result<Vec<u8>, EngineError> {
    segment
        .named
        .read(0, usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn bad(segment: &Segment) -> impl Fn(usize) -> EngineError {
    |offset| {
        corrupt(
            &segment.named.path,
            offset as u64,
            "no valid batch here, although later data depends on one",
        )
    }
}

fn sealed(segment: &Segment, bytes: u32) -> Result<Vec<u8>, EngineError> {
    let content = content(segment, u64::from(bytes))?;
    walk(
        &content,
        segment.header.salt,
        false,
        |_| Ok(()),
        bad(segment),
    )?;
    Ok(content)
}

/// Reads the valid part of the last segment, to which a running store may be writing.
fn good(segment: &Segment) -> Result<Vec<u8>, EngineError> {
    const TRIES: usize = 10;
    let mut tries = 0;
    loop {
        let good = try_good(segment);
        tries += 1;
        // The read may have raced with a write and mixed old and new bytes, so try again.
        if good.is_ok() || tries == TRIES {
            return good;
        }
    }
}

fn try_good(segment: &Segment) -> Result<Vec<u8>, EngineError> {
    let mut content = content(segment, segment.named.bytes()?)?;
    let salt = segment.header.salt;
    let extent = walk(&content, salt, true, |_| Ok(()), bad(segment))?;
    content.truncate(extent.end);
    Ok(content)
}

fn write(path: &Path, content: &[u8]) -> Result<(), EngineError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| refused("make", path, error))?;
    let path = path.to_owned();
    let named = Named { file, path };
    named.write(content, 0)?;
    named.sync()
}
