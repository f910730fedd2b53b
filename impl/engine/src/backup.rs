//! Copying a store's folder, running or not.
//!
//! Segments only grow, and go from the oldest on. So a copy of a running store needs no help from it: open all segments,
//! which keeps them readable, find how far the last one is good, and copy that. What was acknowledged before the copy
//! began is in it.

use crate::EngineError;
use crate::embedded::folder::{Folder, read_claim, read_mark, write_claim, write_mark};
use crate::embedded::recover::contiguous;
use crate::embedded::segment::{Segment, path, walk};
use crate::embedded::{Named, corrupt, failed, refused};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// How many epochs a copy is ahead of what it copies: a store that starts from it draws tokens that are larger than those
/// that the original drew after the copy, unless that was claimed more often than this.
pub const BACKUP_EPOCHS: u64 = 1_000_000;

/// What a [`backup`] has copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many segments.
    pub segments: usize,
    /// Their length, in bytes.
    pub bytes: u64,
}

/// Copies the store in `folder`, which may be running, to `target`, which must be empty or not there. The copy is
/// consistent, and durable when this returns; to restore it, start a store on it.
///
/// # Errors
/// [`EngineError::Overlaps`] when one folder is the other or is inside it; nothing was made then.
/// [`EngineError::Corrupt`] when what would be copied is damaged; [`EngineError::Foreign`] when `target` is not empty or
/// `folder` is not a store's; [`EngineError::Newer`], [`EngineError::Full`], [`EngineError::Unknown`],
/// [`EngineError::Io`].
pub fn backup(folder: &Path, target: &Path) -> Result<Copied, EngineError> {
    if Folder::look(folder)? {
        return Err(EngineError::Foreign {
            folder: folder.to_owned(),
            what: "it is empty",
        });
    }
    refuse_overlap(folder, target)?;
    fs::create_dir_all(target).map_err(|error| refused("make", target, error))?;
    let is_empty = fs::read_dir(target).map_err(|error| refused("list", target, error))?;
    if is_empty.count() > 0 {
        return Err(EngineError::Foreign {
            folder: target.to_owned(),
            what: "a backup needs an empty folder",
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
    // Last: without it the folder is none of a store.
    Folder::write_format(target)?;
    Ok(copied)
}

/// Refuses a target that is `folder`, is inside it, or has it inside. Folders are compared by device and inode, so that
/// neither a symbolic link nor a bind mount hides that two names mean the same folder.
fn refuse_overlap(folder: &Path, target: &Path) -> Result<(), EngineError> {
    let own = identity(folder)?;
    let overlaps = || EngineError::Overlaps {
        folder: folder.to_owned(),
        target: target.to_owned(),
    };
    let resolve = |path: &Path| fs::canonicalize(path).map_err(|error| failed("find", path, error));
    let absolute = std::path::absolute(target).map_err(|error| failed("find", target, error))?;
    // The path is followed as the system does when it makes the folders: the part that exists so far, and how many
    // folders below it would be made. Those stay, even where the path leaves them again: `D/new/../../elsewhere`.
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

/// The device and inode of a folder.
fn identity(folder: &Path) -> Result<(u64, u64), EngineError> {
    let metadata = fs::metadata(folder).map_err(|error| failed("look at", folder, error))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Returns whether a folder, given by its canonical path, is `own` or is inside it.
fn is_at_or_below(place: &Path, own: (u64, u64)) -> Result<bool, EngineError> {
    for ancestor in place.ancestors() {
        if identity(ancestor)? == own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All segments, open. A running store may delete some, or begin one, while this looks.
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
            "not a batch, and what follows counts on it",
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

/// The good part of the last segment, to which a running store may be writing.
fn good(segment: &Segment) -> Result<Vec<u8>, EngineError> {
    const TRIES: usize = 10;
    let mut tries = 0;
    loop {
        let good = try_good(segment);
        tries += 1;
        // Read while it was written, perhaps: an old beginning and a new end. Then the next reading is better.
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
