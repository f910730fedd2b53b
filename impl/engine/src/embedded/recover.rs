//! Recovery: reads all segments in order and builds the index.

use super::disk::corrupt;
use super::entry;
use super::folder::Folder;
use super::frame::Batch;
use super::index::{Index, Place};
use super::segment::{Extent, Segment, path, walk};
use crate::EngineError;
use std::collections::BTreeMap;
use std::path::Path;

/// The recovered contents of a folder.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) segments: BTreeMap<u32, Segment>,
    /// The valid extent of the last segment.
    pub(crate) extent: Extent,
    /// The length of all needed segments, in bytes.
    pub(crate) log_bytes: u64,
}

/// Returns the newest segments without a gap in their numbers. Segments before a gap are being deleted, or a segment is
/// missing. The log itself records the oldest segment that is needed.
pub(crate) fn contiguous(numbers: &[u32]) -> &[u32] {
    let gap = numbers
        .windows(2)
        .rposition(|two| two[0].checked_add(1) != Some(two[1]));
    &numbers[gap.map_or(0, |gap| gap + 1)..]
}

/// Reads the log without changing it.
pub(crate) fn recover(folder: &Path, deltas_max: usize) -> Result<Recovered, EngineError> {
    let numbers = Folder::segments(folder)?;
    let mut segments = BTreeMap::new();
    for number in contiguous(&numbers) {
        segments.insert(*number, Segment::open(folder, *number, true)?);
    }
    let mut recovered = Recovered {
        index: Index::new(deltas_max),
        segments: BTreeMap::new(),
        extent: Extent { end: 0, synced: 0 },
        log_bytes: 0,
    };
    let mut limits: Vec<Option<u32>> = segments
        .values()
        .skip(1)
        .map(|segment: &Segment| Some(segment.header.previous_bytes))
        .collect();
    limits.push(None);
    for (segment, limit) in segments.values_mut().zip(limits) {
        let file_bytes = segment.named.bytes()?;
        let bytes = limit.map_or(file_bytes, u64::from);
        let content = segment
            .named
            .read(0, usize::try_from(bytes).unwrap_or(usize::MAX))
            .map_err(|error| match error {
                EngineError::Corrupt { file, .. } => corrupt(
                    &file,
                    file_bytes,
                    "the file is shorter than the next segment's header states",
                ),
                error => error,
            })?;
        let header = segment.header;
        let index = &mut recovered.index;
        index.oldest = index.oldest.max(header.oldest);
        let corrupt = |offset: usize| {
            corrupt(
                &segment.named.path,
                offset as u64,
                "no valid batch here, although later data depends on one",
            )
        };
        recovered.extent = walk(
            &content,
            header.salt,
            limit.is_none(),
            |batch| apply(index, header.number, batch, corrupt),
            corrupt,
        )?;
        segment.bytes = recovered.extent.end as u64;
        recovered.log_bytes += segment.bytes;
    }
    if let Some(first) = segments.keys().next()
        && *first > recovered.index.oldest
    {
        let missing = path(folder, first - 1);
        return Err(corrupt(
            &missing,
            0,
            "this segment is missing, although the log still needs it",
        ));
    }
    recovered.segments = segments;
    Ok(recovered)
}

/// Applies a batch to the index.
pub(crate) fn apply(
    index: &mut Index,
    segment: u32,
    batch: Batch<'_>,
    corrupt: impl Fn(usize) -> EngineError,
) -> Result<(), EngineError> {
    let mut end = 0;
    for entry in batch.entries() {
        // If the checksum is right but the bytes are no entry, the program that wrote them had a bug.
        let (offset, payload) = entry.ok_or_else(|| corrupt(end))?;
        let step = entry::step(payload).ok_or_else(|| corrupt(offset))?;
        end = offset + payload.len();
        let place = Place {
            segment,
            offset: u32::try_from(offset).map_err(|_| corrupt(offset))?,
            bytes: u32::try_from(payload.len()).map_err(|_| corrupt(offset))?,
        };
        index.apply(step, place);
    }
    Ok(())
}
