//! Syncs beside commits: a buffered segment becomes durable in parts while it grows. The sync at its end, for which all
//! commits wait, then has little left to do.

use super::Embedded;
use super::disk::Named;
use crate::EngineError;

/// The number of bytes after which a sync ahead is due.
const STEP_BYTES: usize = if cfg!(test) { 400 } else { 4 << 20 };

/// A sync of the commits up to now, which runs without the engine. See
/// [`Engine::sync_ahead`](crate::Engine::sync_ahead).
#[derive(Debug)]
pub struct SyncAhead {
    named: Named,
    segment: u32,
    end: usize,
}

/// The result of a [`SyncAhead`], for [`Engine::synced_ahead`](crate::Engine::synced_ahead).
#[derive(Debug)]
pub struct SyncedAhead {
    segment: u32,
    end: usize,
    result: Result<(), EngineError>,
}

impl SyncAhead {
    /// Waits for the disk.
    #[must_use = "the engine must know the result, above all an error"]
    pub fn run(self) -> SyncedAhead {
        SyncedAhead {
            segment: self.segment,
            end: self.end,
            result: self.named.sync(),
        }
    }
}

impl Embedded {
    /// Returns the sync that is due. Without a further file descriptor there is none, and the sync at the end of the
    /// segment takes longer.
    pub(super) fn due_sync(&mut self) -> Option<SyncAhead> {
        let end = self.extent.end;
        if self.readable().is_err() || end < self.extent.synced.max(self.ahead) + STEP_BYTES {
            return None;
        }
        let (&segment, last) = self.segments.last_key_value()?;
        let file = last.named.file.try_clone().ok()?;
        let path = last.named.path.clone();
        self.ahead = end;
        Some(SyncAhead {
            named: Named { file, path },
            segment,
            end,
        })
    }

    /// Notes how a sync ahead has ended.
    pub(super) fn note_sync(&mut self, synced: SyncedAhead) -> Result<(), EngineError> {
        synced.result?;
        // A later segment began with a sync of this one.
        if self.segments.last_key_value().map(|(last, _)| *last) == Some(synced.segment) {
            self.extent.synced = self.extent.synced.max(synced.end);
        }
        Ok(())
    }
}
