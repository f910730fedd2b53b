//! Log compaction: each commit does a small part of it. There is no background thread and no pause.
//!
//! Compaction does two things. First, a session whose chain of deltas is too long is written whole. Second, while the
//! log is too long, the sessions that need its oldest segment are written whole at its end. Once no session needs the
//! oldest segment, a log entry says so, and the segment is deleted when that entry is durable. Segments are therefore
//! deleted in order, and a removal entry never outlives the record that it removes.

use super::entry;
use super::frame::Draft;
use super::{Embedded, EngineError};
use std::collections::BTreeSet;
use tenure_protocol::SessionId;

/// The least number of bytes that compaction may add to a commit.
const BYTES_MIN: u64 = if cfg!(test) { 256 } else { 64 << 10 };
/// The number of segments allowed in addition to those that the log's length explains, because each claim begins a
/// segment.
const SEGMENTS_SPARE: u64 = 64;

impl Embedded {
    /// Adds the compaction entries to the draft. `batch_bytes` is the expected length of the batch itself.
    pub(super) fn add_upkeep(&mut self, draft: &mut Draft, batch_bytes: u64) {
        if self.damage.is_some() {
            return;
        }
        if let Err(error) = self.try_upkeep(draft, batch_bytes) {
            // A record that cannot be read stays where it is, and so does its segment. Commits continue.
            self.damage = Some(error.to_string());
        }
    }

    /// Returns whether the next commit has compaction work.
    pub(super) fn has_upkeep(&self) -> bool {
        self.damage.is_none() && (!self.index.long.is_empty() || self.is_too_long())
    }

    fn try_upkeep(&mut self, draft: &mut Draft, batch_bytes: u64) -> Result<(), EngineError> {
        let budget = BYTES_MIN.max(batch_bytes.saturating_mul(2));
        let mut written = BTreeSet::new();
        while (draft.len() as u64) < budget
            && let Some(session) = self.index.long.pop_first()
        {
            self.write_whole(draft, &session)?;
            written.insert(session);
        }
        if !self.is_too_long() {
            return Ok(());
        }
        let oldest = self.index.oldest;
        // Take at most as many sessions as would fill the budget with the smallest entries.
        let at_most = usize::try_from(budget / 16).unwrap_or(usize::MAX);
        let sessions: Vec<_> = self
            .index
            .rooted_in(oldest)
            .take(at_most)
            .cloned()
            .collect();
        let is_all = sessions.len() < at_most;
        for session in sessions {
            if draft.len() as u64 >= budget {
                return Ok(());
            }
            if written.insert(session.clone()) {
                self.write_whole(draft, &session)?;
            }
        }
        if is_all {
            draft.entry(|bytes| entry::write_oldest(bytes, oldest + 1));
        }
        Ok(())
    }

    fn write_whole(&self, draft: &mut Draft, session: &SessionId) -> Result<(), EngineError> {
        if let Some(record) = self.read(session)? {
            draft.entry(|bytes| entry::write_whole(bytes, session, &record));
        }
        Ok(())
    }

    fn is_too_long(&self) -> bool {
        let settings = &self.settings;
        let slack = 2 * settings.segment_bytes;
        let bytes_max = self.index.live_bytes() * settings.log_percent_max / 100 + slack;
        let segments = self.segments.len() as u64;
        let segments_max = self.log_bytes / settings.segment_bytes.max(1) + SEGMENTS_SPARE;
        segments > 1 && (self.log_bytes > bytes_max || segments > segments_max)
    }
}
