//! The embedded engine: a log of checksummed batches in one folder, with an index in memory.
//!
//! A commit appends one batch and waits once for the disk. Opening reads the log from its beginning and so rebuilds the
//! index, which says for each session where its record stands. Why a log of our own: decision 11 of the book.
//!
//! | module | what it holds |
//! |---|---|
//! | `disk` | files, with the three answers of a disk: done, no room, unknown |
//! | `folder` | whose the folder is: format, lock, claim |
//! | `frame` | how bytes stand in a segment, and their checksums |
//! | `entry` | what an entry of a batch says |
//! | `segment` | the files of the log, and how far one is good |
//! | `index` | where each session's record stands |
//! | `recover` | reading the log at the start |
//! | `upkeep` | what keeps the log short |
//!
//! Deliberately absent: threads, a cache of records (the system has the pages), any meaning of an update beyond
//! [`Records`](tenure_protocol::Records)'.

mod disk;
mod entry;
pub(crate) mod folder;
mod frame;
mod index;
pub(crate) mod recover;
pub(crate) mod segment;
mod settings;
mod upkeep;

pub use frame::FORMAT;
pub use settings::{Level, Settings};

#[cfg(test)]
pub(crate) use disk::fault;
/// For the test that pins it.
#[cfg(test)]
pub(crate) mod format {
    pub(crate) use super::entry::{write_oldest, write_update, write_whole};
    pub(crate) use super::frame::{Draft, Header};
}
pub(crate) use disk::{Named, corrupt, failed, refused};
pub(crate) use frame::HEADER_BYTES;

use crate::{Engine, EngineError};
use folder::Folder;
use frame::{Draft, ENTRY_HEADER_BYTES, Header, payload};
use index::Index;
use segment::{Extent, Segment};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tenure_protocol::attributes::Head;
use tenure_protocol::{Record, SessionId, Update};

/// An engine over one folder of the local disk, which only one store has open at a time.
///
/// Memory: about 250 bytes for each session, its id included; not its attributes. Files: one for each
/// [`Settings::segment_bytes`], all open.
#[derive(Debug)]
pub struct Embedded {
    folder: Folder,
    settings: Settings,
    index: Index,
    segments: BTreeMap<u32, Segment>,
    /// Of the last segment.
    extent: Extent,
    /// How long the last segment's file is, in bytes: longer than what is in it, see [`AHEAD_BYTES`].
    file_bytes: u64,
    /// The length of all segments, in bytes.
    log_bytes: u64,
    state: State,
    /// Whether another store's end may have left something in the last segment that the disk does not have.
    is_tail_doubtful: bool,
    draft: Draft,
    /// How long the last batch was, without what was written beside it, in bytes.
    batch_bytes: u64,
    /// Why the log is no longer kept short.
    damage: Option<String>,
}

/// By how much a file grows at a time, in bytes. Only its length, which costs no room; but a commit that leaves the length
/// as it is waits for the data alone, and not for the file system's journal as well. What is behind the last batch reads as
/// zeros, as a torn batch may.
const AHEAD_BYTES: u64 = if cfg!(test) { 150 } else { 1 << 20 };

#[derive(Clone, Copy, Debug)]
enum State {
    Unclaimed,
    Claimed(u64),
    Fenced { claimed: u64, current: u64 },
    Broken,
}

/// How much an [`Embedded`] engine holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Sessions with a record.
    pub sessions: usize,
    /// What their records take in the log, in bytes.
    pub live_bytes: u64,
    /// What the log takes, in bytes.
    pub log_bytes: u64,
    /// How many segments the log has: as many files are open.
    pub segments: usize,
    /// Why the log is no longer kept short: a record in it cannot be read. Names the file and the offset. Commits go on;
    /// restore a backup, or destroy the session.
    pub damage: Option<String>,
}

impl Embedded {
    /// Opens the folder, which is made when it is not there, and reads the log in it. What was recovered can be read;
    /// [`Engine::claim`] it to commit. Nothing in a log changes before that.
    ///
    /// A torn batch at the end of the log is what a crash leaves of one that was never acknowledged: it does not count.
    ///
    /// # Errors
    /// [`EngineError::Locked`] when another store has it open; [`EngineError::Newer`] or [`EngineError::Foreign`] when it
    /// is not a folder that this version can read; [`EngineError::Corrupt`] when the log is damaged before its end;
    /// [`EngineError::Full`] when a new folder does not fit; [`EngineError::Io`].
    pub fn open(folder: &Path, settings: Settings) -> Result<Self, EngineError> {
        let settings = settings.bounded();
        let folder = Folder::open(folder)?;
        let recovered = recover::recover(&folder.path, settings.deltas_max)?;
        if recovered.segments.is_empty() && folder.epoch()? > 0 {
            let first = segment::path(&folder.path, 1);
            return Err(corrupt(
                &first,
                0,
                "the folder was claimed, but has no segments",
            ));
        }
        Ok(Self {
            folder,
            settings,
            index: recovered.index,
            segments: recovered.segments,
            extent: recovered.extent,
            file_bytes: 0,
            log_bytes: recovered.log_bytes,
            state: State::Unclaimed,
            is_tail_doubtful: true,
            draft: Draft::default(),
            batch_bytes: 0,
            damage: None,
        })
    }

    /// How much the engine holds now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            sessions: self.index.len(),
            live_bytes: self.index.live_bytes(),
            log_bytes: self.log_bytes,
            segments: self.segments.len(),
            damage: self.damage.clone(),
        }
    }

    /// Makes everything that was committed durable, also at [`Level::Buffered`]. A store does so when it stops.
    ///
    /// # Errors
    /// [`EngineError::Unknown`], then [`EngineError::Broken`].
    pub fn flush(&mut self) -> Result<(), EngineError> {
        let flushed = self.readable().and_then(|()| self.sync());
        self.seen(flushed)
    }

    fn readable(&self) -> Result<(), EngineError> {
        match self.state {
            State::Unclaimed | State::Claimed(_) => Ok(()),
            State::Fenced { claimed, current } => Err(EngineError::Fenced { claimed, current }),
            State::Broken => Err(EngineError::Broken),
        }
    }

    /// Remembers an error that ends all work.
    fn seen<T>(&mut self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        match &result {
            Err(EngineError::Fenced { claimed, current }) => {
                self.state = State::Fenced {
                    claimed: *claimed,
                    current: *current,
                };
            }
            Err(EngineError::Unknown { .. } | EngineError::Io { .. }) => self.state = State::Broken,
            _ => {}
        }
        result
    }

    /// Reads a record.
    fn read(&self, session: &SessionId) -> Result<Option<Record>, EngineError> {
        let Some(entry) = self.index.get(session) else {
            return Ok(None);
        };
        let mut record = Record::default();
        for place in entry.chain() {
            let Segment { named, header, .. } = &self.segments[&place.segment];
            let offset = u64::from(place.offset);
            let bytes = named.read(
                offset - ENTRY_HEADER_BYTES as u64,
                place.bytes as usize + ENTRY_HEADER_BYTES,
            )?;
            payload(&bytes, header.salt)
                .and_then(|payload| entry::fold(&mut record, payload))
                .ok_or_else(|| {
                    corrupt(&named.path, offset, "not the record that was written here")
                })?;
        }
        record.head = self.head(session, entry)?;
        Ok(Some(record))
    }

    fn head(&self, _: &SessionId, entry: &index::Entry) -> Result<Head, EngineError> {
        let head = entry.head();
        head.ok_or_else(|| {
            corrupt(
                &self.folder.path,
                0,
                "a head that was understood before is not now",
            )
        })
    }

    fn last(&self) -> &Segment {
        let last = self.segments.last_key_value();
        last.expect("a claim begins a segment").1
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        if self.extent.synced < self.extent.end {
            self.last().named.sync()?;
            self.extent.synced = self.extent.end;
        }
        Ok(())
    }

    /// Begins the next segment. The one before it is durable from then on, and will not change.
    fn begin_segment(&mut self, epoch: u64) -> Result<(), EngineError> {
        self.sync()?;
        let number = self
            .segments
            .last_key_value()
            .map_or(1, |(last, _)| last + 1);
        let header = Header {
            number,
            epoch,
            salt: 0,
            oldest: self.index.oldest.max(1),
            previous_bytes: u32_of(self.extent.end),
        };
        let Some(segment) = Segment::begin(&self.folder.path, header)? else {
            let current = self.folder.epoch()?;
            return Err(EngineError::Fenced {
                claimed: epoch,
                current,
            });
        };
        if let Some(mut last) = self.segments.last_entry() {
            let last = last.get_mut();
            last.bytes = self.extent.end as u64;
            // Only for the eye: the new segment says how long this one is.
            let _ = last.named.file.set_len(last.bytes);
        }
        self.file_bytes = HEADER_BYTES as u64;
        self.index.oldest = header.oldest;
        self.segments.insert(number, segment);
        self.extent = Extent {
            end: HEADER_BYTES,
            synced: HEADER_BYTES,
        };
        self.log_bytes += HEADER_BYTES as u64;
        Ok(())
    }

    fn try_claim(&mut self) -> Result<u64, EngineError> {
        self.readable()?;
        let newest = self.segments.values().map(|segment| segment.header.epoch);
        let epoch = self.folder.epoch()?.max(newest.max().unwrap_or(0)) + 1;
        if self.segments.is_empty() {
            // First the segment: a claim without any would look as if they had been deleted.
            self.folder.remove_drafts()?;
            self.begin_segment(epoch)?;
            self.folder.claim(epoch)?;
        } else {
            // First the claim: from now on nobody else is told that a commit has succeeded.
            self.folder.claim(epoch)?;
            self.folder.remove_drafts()?;
            self.confirm_tail()?;
            self.begin_segment(epoch)?;
            self.remove_segments()?;
        }
        self.state = State::Claimed(epoch);
        Ok(epoch)
    }

    /// Makes the end of the last segment durable, which was perhaps only in the memory of the system when its store ended.
    /// Written again, not only synced: the system calls clean what it once failed to write.
    fn confirm_tail(&mut self) -> Result<(), EngineError> {
        let Extent { end, synced } = self.extent;
        if !self.is_tail_doubtful {
            return Ok(());
        }
        let named = &self.last().named;
        let tail = named.read(synced as u64, end - synced)?;
        named.write(&tail, synced as u64)?;
        named.sync()?;
        self.extent.synced = end;
        self.is_tail_doubtful = false;
        Ok(())
    }

    /// Deletes the segments that the log, durably, no longer needs.
    fn remove_segments(&mut self) -> Result<(), EngineError> {
        let oldest = self.index.oldest;
        let kept = self.segments.split_off(&oldest);
        for segment in std::mem::replace(&mut self.segments, kept).into_values() {
            self.log_bytes -= segment.bytes;
        }
        for number in Folder::segments(&self.folder.path)? {
            if number >= oldest {
                break;
            }
            let path = segment::path(&self.folder.path, number);
            fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
        }
        Ok(())
    }

    fn try_commit(&mut self, batch: &[Update], draft: &mut Draft) -> Result<(), EngineError> {
        self.readable()?;
        let State::Claimed(epoch) = self.state else {
            return Err(EngineError::Unclaimed);
        };
        self.folder.check(epoch)?;
        if batch.is_empty() {
            return Ok(());
        }
        if self.extent.end as u64 >= self.settings.segment_bytes {
            self.begin_segment(epoch)?;
        }
        draft.begin();
        self.add_upkeep(draft, self.batch_bytes);
        let upkeep_bytes = draft.len();
        for update in batch {
            draft.entry(|bytes| entry::write_update(bytes, update));
        }
        self.check_length(draft.len() - upkeep_bytes)?;
        self.grow(draft.len());
        self.append(draft)?;
        self.folder.check(epoch)?;

        self.batch_bytes = (draft.len() - upkeep_bytes) as u64;
        let oldest = self.index.oldest;
        let last = self
            .segments
            .last_key_value()
            .expect("a claim begins a segment");
        let (number, path) = (*last.0, &last.1.named.path);
        let read = draft.batch(self.extent.end);
        // What a reader will see of it, so that memory and log cannot say different things.
        recover::apply(&mut self.index, number, read, |offset| {
            corrupt(path, offset as u64, "not an entry, as it was written")
        })?;
        self.extent.end = read.end;
        if self.settings.level == Level::Durable {
            self.extent.synced = read.end;
        }
        self.log_bytes += draft.len() as u64;
        if self.index.oldest > oldest {
            self.remove_segments()?;
        }
        Ok(())
    }

    fn check_length(&self, bytes: usize) -> Result<(), EngineError> {
        let bytes_max = self.settings.batch_bytes_max;
        if bytes > bytes_max {
            return Err(EngineError::TooLarge { bytes, bytes_max });
        }
        Ok(())
    }

    /// Makes the last segment's file long enough for a batch, and more. When it cannot be, the batch makes it longer.
    fn grow(&mut self, batch_bytes: usize) {
        let end = (self.extent.end + batch_bytes) as u64;
        if end > self.file_bytes && self.last().named.file.set_len(end + AHEAD_BYTES).is_ok() {
            self.file_bytes = end + AHEAD_BYTES;
        }
    }

    /// Writes a batch behind the last one, as durably as the level says.
    fn append(&mut self, draft: &mut Draft) -> Result<(), EngineError> {
        let Segment { named, header, .. } = self.last();
        let Extent { end, synced } = self.extent;
        draft.seal(header.salt, u32_of(end), u32_of(synced));
        let written = named.write(draft.bytes(), end as u64);
        if matches!(written, Err(EngineError::Full { .. })) {
            // Gives the room back. Should this fail, the next batch is written over what is left.
            let _ = named.file.set_len(end as u64);
            self.file_bytes = end as u64;
        }
        written?;
        match self.settings.level {
            Level::Durable => self.last().named.sync(),
            Level::Buffered => Ok(()),
        }
    }
}

fn u32_of(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a segment has at most 1 GiB and one batch")
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Nobody hears of an error here; `flush` tells.
        if matches!(self.state, State::Claimed(_)) {
            let _ = self.sync();
        }
    }
}

impl Engine for Embedded {
    fn claim(&mut self) -> Result<u64, EngineError> {
        let claimed = self.try_claim();
        self.seen(claimed)
    }

    fn load(&mut self, session: &SessionId) -> Result<Option<Record>, EngineError> {
        self.readable()?;
        self.read(session)
    }

    fn page(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Record)>, EngineError> {
        self.readable()?;
        let mut page = Vec::new();
        for (session, _) in self.index.after(after).take(sessions_max.max(1)) {
            if let Some(record) = self.read(session)? {
                page.push((session.clone(), record));
            }
        }
        Ok(page)
    }

    fn heads(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Head)>, EngineError> {
        self.readable()?;
        let entries = self.index.after(after).take(sessions_max.max(1));
        entries
            .map(|(session, entry)| Ok((session.clone(), self.head(session, entry)?)))
            .collect()
    }

    fn marked(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        self.readable()?;
        folder::read_mark(&self.folder.path)
    }

    fn mark(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.readable()?;
        let State::Claimed(epoch) = self.state else {
            return Err(EngineError::Unclaimed);
        };
        self.folder.check(epoch)?;
        folder::write_mark(&self.folder.path, bytes)
    }

    fn commit(&mut self, batch: &[Update]) -> Result<(), EngineError> {
        let mut draft = std::mem::take(&mut self.draft);
        let committed = self.try_commit(batch, &mut draft);
        self.draft = draft;
        self.seen(committed)
    }
}
