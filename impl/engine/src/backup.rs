//! Copying a store's folder, running or not.
//!
//! Segments only grow, and go from the oldest on. So a copy of a running store needs no help from it: open all segments,
//! which keeps them readable, find how far the last one is good, and copy that. What was acknowledged before the copy
//! began is in it.

use crate::EngineError;
use crate::embedded::folder::{Folder, read_claim, write_claim};
use crate::embedded::recover::contiguous;
use crate::embedded::segment::{Segment, path, walk};
use crate::embedded::{Named, corrupt, refused};
use std::fs::{self, OpenOptions};
use std::path::Path;

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
    write_claim(target, read_claim(folder)?.saturating_add(BACKUP_EPOCHS))?;
    // Last: without it the folder is none of a store.
    Folder::write_format(target)?;
    Ok(copied)
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
