//! The embedded engine: a log of checksummed batches in one folder, with an index in memory.
//!
//! A commit appends one batch and needs one disk sync. Opening the engine reads the whole log and rebuilds the index,
//! which maps each session to the position of its record. Decision 11 in the book explains why Tenure has its own log.
//!
//! | module | contents |
//! |---|---|
//! | `disk` | file operations with the three outcomes done, no room, unknown |
//! | `folder` | the data folder: format, lock, claim |
//! | `frame` | the framing of a segment, and its checksums |
//! | `entry` | the encoding of log entries |
//! | `segment` | the files of the log, and their valid length |
//! | `index` | the position of each session's record |
//! | `recover` | reads the log at the start |
//! | `upkeep` | log compaction |
//! | `ahead` | syncs beside commits |
//!
//! Deliberately absent are threads, a record cache (the operating system caches pages), and any meaning of an update
//! beyond that of [`Records`](tenure_protocol::Records).

mod ahead;
mod disk;
mod entry;
pub(crate) mod folder;
mod frame;
mod index;
pub(crate) mod recover;
pub(crate) mod segment;
mod settings;
mod upkeep;

pub use ahead::{SyncAhead, SyncedAhead};
pub use frame::FORMAT;
pub use settings::{Level, Settings};

#[cfg(test)]
pub(crate) use disk::fault;
/// The parts of the format that a test pins.
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

/// A storage engine over one folder of the local disk. Only one store at a time has the folder open.
///
/// Memory: about 250 bytes per session, including its id but not its attributes. Open files: one per segment of
/// [`Settings::segment_bytes`].
#[derive(Debug)]
pub struct Embedded {
    folder: Folder,
    settings: Settings,
    index: Index,
    segments: BTreeMap<u32, Segment>,
    /// The valid extent of the last segment.
    extent: Extent,
    /// The end of the last [`SyncAhead`] in the last segment.
    ahead: usize,
    /// The length of the last segment's file, in bytes. The file is longer than its contents, see [`AHEAD_BYTES`].
    file_bytes: u64,
    /// The length of all segments, in bytes.
    log_bytes: u64,
    state: State,
    /// Whether the last segment may contain bytes of an earlier store that are not durable.
    is_tail_doubtful: bool,
    draft: Draft,
    /// The length of the last batch without its compaction entries, in bytes.
    batch_bytes: u64,
    /// The reason why log compaction has stopped.
    damage: Option<String>,
}

/// The step by which a segment file grows, in bytes. Only the file's length grows, which takes no disk space. A commit
/// that leaves the length unchanged waits for the data only, not for the file system's journal. Bytes behind the last
/// batch read as zeros, as they may after a torn batch.
const AHEAD_BYTES: u64 = if cfg!(test) { 150 } else { 1 << 20 };

#[derive(Clone, Copy, Debug)]
enum State {
    Unclaimed,
    Claimed(u64),
    Fenced { claimed: u64, current: u64 },
    Broken,
}

/// The size of the data in an [`Embedded`] engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The number of sessions with a record.
    pub sessions: usize,
    /// The length of their live records in the log, in bytes.
    pub live_bytes: u64,
    /// The length of the log, in bytes.
    pub log_bytes: u64,
    /// The number of segments, which is also the number of open files.
    pub segments: usize,
    /// The reason why log compaction has stopped: a record in the log cannot be read. The text names the file and the
    /// offset. Commits continue. Restore a backup, or destroy the session.
    pub damage: Option<String>,
}

impl Embedded {
    /// Opens the folder, creates it if absent, and reads its log. The recovered records can be read at once. To commit,
    /// call [`Engine::claim`]; the log does not change before.
    ///
    /// A torn batch at the end of the log is ignored. It is left by a crash during a commit that was never
    /// acknowledged.
    ///
    /// # Errors
    /// [`EngineError::Locked`] if another store has the folder open. [`EngineError::Newer`] or [`EngineError::Foreign`]
    /// if this version cannot read the folder. [`EngineError::Corrupt`] if the log is damaged before its end.
    /// [`EngineError::Full`] if there is no room for a new folder. [`EngineError::Io`] for other errors.
    pub fn open(folder: &Path, settings: Settings) -> Result<Self, EngineError> {
        let settings = settings.bounded();
        let folder = Folder::open(folder)?;
        let recovered = recover::recover(&folder.path, settings.deltas_max)?;
        if recovered.segments.is_empty() && folder.epoch()? > 0 {
            let first = segment::path(&folder.path, 1);
            return Err(corrupt(
                &first,
                0,
                "the folder was claimed, but its segments are missing",
            ));
        }
        Ok(Self {
            folder,
            settings,
            index: recovered.index,
            segments: recovered.segments,
            extent: recovered.extent,
            ahead: 0,
            file_bytes: 0,
            log_bytes: recovered.log_bytes,
            state: State::Unclaimed,
            is_tail_doubtful: true,
            draft: Draft::default(),
            batch_bytes: 0,
            damage: None,
        })
    }

    /// Returns the current size of the engine's data.
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

    /// Makes all commits durable, also at [`Level::Buffered`]. A store calls this when it stops.
    ///
    /// # Errors
    /// [`EngineError::Unknown`], and [`EngineError::Broken`] for all later calls.
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

    /// Records an error after which the engine must not continue.
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

    /// Reads and reassembles a session's record.
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
                    corrupt(
                        &named.path,
                        offset,
                        "the record here differs from the record that was written",
                    )
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
                "a head in memory that was decoded before no longer decodes",
            )
        })
    }

    fn last(&self) -> &Segment {
        let last = self.segments.last_key_value();
        last.expect("an engine writes only after a claim, and a claim begins a segment")
            .1
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        if self.extent.synced < self.extent.end {
            self.last().named.sync()?;
            self.extent.synced = self.extent.end;
        }
        Ok(())
    }

    /// Begins the next segment. The previous segment is durable from then on and does not change any more.
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
            // Shorten the file for tidiness only: the new segment records the length of this one.
            let _ = last.named.file.set_len(last.bytes);
        }
        self.file_bytes = HEADER_BYTES as u64;
        self.index.oldest = header.oldest;
        self.segments.insert(number, segment);
        self.extent = Extent {
            end: HEADER_BYTES,
            synced: HEADER_BYTES,
        };
        self.ahead = HEADER_BYTES;
        self.log_bytes += HEADER_BYTES as u64;
        Ok(())
    }

    fn try_claim(&mut self) -> Result<u64, EngineError> {
        self.readable()?;
        let newest = self.segments.values().map(|segment| segment.header.epoch);
        let epoch = self.folder.epoch()?.max(newest.max().unwrap_or(0)) + 1;
        if self.segments.is_empty() {
            // Begin the segment first: a claim without segments would look as if they had been deleted.
            self.folder.remove_drafts()?;
            self.begin_segment(epoch)?;
            self.folder.claim(epoch)?;
        } else {
            // Write the claim first: from now on no commit of an earlier claimant succeeds.
            self.folder.claim(epoch)?;
            self.folder.remove_drafts()?;
            self.confirm_tail()?;
            self.begin_segment(epoch)?;
            self.remove_segments()?;
        }
        self.state = State::Claimed(epoch);
        Ok(epoch)
    }

    /// Makes the end of the last segment durable, because its writer may have ended before a sync. The bytes are
    /// written again, because the operating system may treat a page that it failed to write as clean.
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

    /// Deletes the segments that are no longer needed according to a durable log entry.
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
        if batch.is_empty() {
            return self.folder.check(epoch);
        }
        self.folder.check_before(epoch)?;
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
            .expect("a commit requires a claim, and a claim begins a segment");
        let (number, path) = (*last.0, &last.1.named.path);
        let read = draft.batch(self.extent.end);
        // Apply the batch as a reader decodes it, so that memory and log cannot diverge.
        recover::apply(&mut self.index, number, read, |offset| {
            corrupt(
                path,
                offset as u64,
                "this entry does not decode, although it has just been written",
            )
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

    /// Extends the last segment's file for a batch, with spare length. If that fails, writing the batch extends the
    /// file.
    fn grow(&mut self, batch_bytes: usize) {
        let end = (self.extent.end + batch_bytes) as u64;
        if end > self.file_bytes && self.last().named.file.set_len(end + AHEAD_BYTES).is_ok() {
            self.file_bytes = end + AHEAD_BYTES;
        }
    }

    /// Writes a batch behind the last one, with the durability of the engine's level.
    fn append(&mut self, draft: &mut Draft) -> Result<(), EngineError> {
        let Segment { named, header, .. } = self.last();
        let Extent { end, synced } = self.extent;
        draft.seal(header.salt, u32_of(end), u32_of(synced));
        let written = named.write(draft.bytes(), end as u64);
        if matches!(written, Err(EngineError::Full { .. })) {
            // Release the space again. If this fails, the next batch overwrites the remains.
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
    u32::try_from(bytes).expect("the settings bound a segment to 1 GiB plus one batch of 1 GiB")
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // An error cannot be reported here. `flush` reports errors.
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

    fn commits_at_once(&self) -> bool {
        // The first commit of a segment syncs the previous one, and compaction reads records, which may be on the disk
        // only.
        matches!(self.settings.level, Level::Buffered)
            && (self.extent.end as u64) < self.settings.segment_bytes
            && !self.has_upkeep()
    }

    fn sync_ahead(&mut self) -> Option<SyncAhead> {
        matches!(self.settings.level, Level::Buffered)
            .then(|| self.due_sync())
            .flatten()
    }

    fn synced_ahead(&mut self, synced: SyncedAhead) -> Result<(), EngineError> {
        let noted = self.note_sync(synced);
        self.seen(noted)
    }

    fn commit(&mut self, batch: &[Update]) -> Result<(), EngineError> {
        let mut draft = std::mem::take(&mut self.draft);
        let committed = self.try_commit(batch, &mut draft);
        self.draft = draft;
        self.seen(committed)
    }
}
