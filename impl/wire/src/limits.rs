//! The limits of frames and messages.

use tenure_protocol::id::NAME_BYTES_MAX;
use tenure_protocol::{Limits, StoreLimits};

/// Values of at least this many bytes are shared instead of copied.
pub const SHARED_BYTES_MIN: usize = 512;

/// The size of one part of a message in several frames, in bytes. It is small enough that other messages of the
/// connection wait only shortly.
pub(crate) const PART_BYTES: usize = 64 << 10;

/// The deepest nesting of a value that is skipped because its key is unknown.
pub(crate) const DEPTH_MAX: usize = 16;

/// The most bytes of a fault's text.
pub const FAULT_TEXT_BYTES_MAX: usize = 256;

/// The most bytes of a frame's body under any settings: 128 MiB. The data of one frame must become durable in one
/// batch. A store refuses settings that need larger frames. A process reads no larger frames, whatever limits its store
/// states.
pub const FRAME_BYTES_MAX: usize = 128 << 20;

/// The number of list items that every reader accepts in one message. It allows for all grants in the default cache of
/// a process, and as many requests.
pub const ITEMS_LEAST: usize = 2 * 65_536;

/// The limits on frames and messages that one side accepts and observes (rule 18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// The most bytes of a frame's body.
    pub frame_bytes_max: usize,
    /// The most changes in one delta.
    pub changes_max: usize,
    /// The most list items of one message in all its frames, not counting changes.
    pub items_max: usize,
}

impl FrameLimits {
    /// Returns limits under which every message fits that two machines with these limits send to each other.
    #[must_use]
    pub const fn for_machines(limits: &Limits) -> Self {
        // A delta may replace all attributes by others, with as many values as removals. A head takes up to 5 bytes.
        let changes_max = limits.attributes_max.saturating_mul(2);
        let names = changes_max.saturating_mul(NAME_BYTES_MAX + 16);
        Self {
            frame_bytes_max: limits
                .session_bytes_max
                .saturating_add(names)
                .saturating_add(4 << 10),
            changes_max,
            // Each grant may be held, and recalled or gone. As many requests may wait.
            items_max: limits.grants_max.saturating_mul(2),
        }
    }
}

impl FrameLimits {
    /// Returns limits under which a reader accepts every message of a peer with the default limits or with these. At
    /// least [`ITEMS_LEAST`] items are accepted. A peer need not know these limits, and one refused frame ends the
    /// whole connection. The machine instead refuses only the session in question.
    #[must_use]
    pub fn generous(limits: &Limits) -> Self {
        let (own, least) = (Self::for_machines(limits), Self::default());
        Self {
            frame_bytes_max: own.frame_bytes_max.max(least.frame_bytes_max),
            changes_max: own.changes_max.max(least.changes_max),
            items_max: own.items_max.max(ITEMS_LEAST),
        }
    }

    /// Returns the larger of these limits and those that the store states. The result is at most [`FRAME_BYTES_MAX`]
    /// for a frame, 262,144 attributes and 4,194,304 grants, so that a store cannot exhaust the memory of its
    /// processes.
    #[must_use]
    pub fn and_of(&self, store: &StoreLimits) -> Self {
        let at_most =
            |limit: u64, most: usize| usize::try_from(limit).map_or(most, |limit| limit.min(most));
        let store = Self::for_machines(&Limits {
            grants_max: at_most(store.grants_max, 4 << 20),
            attributes_max: at_most(store.attributes_max, 256 << 10),
            session_bytes_max: at_most(store.session_bytes_max, FRAME_BYTES_MAX),
            ..Limits::default()
        });
        Self {
            frame_bytes_max: self
                .frame_bytes_max
                .max(store.frame_bytes_max.min(FRAME_BYTES_MAX)),
            changes_max: self.changes_max.max(store.changes_max),
            items_max: self.items_max.max(store.items_max),
        }
    }
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self::for_machines(&Limits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(each: u64) -> StoreLimits {
        StoreLimits {
            grants_max: each,
            waiters_max: each,
            attributes_max: each,
            attribute_bytes_max: each,
            session_bytes_max: each,
        }
    }

    #[test]
    fn the_limits_that_a_store_states_are_capped() {
        let own = FrameLimits::default();
        let read = own.and_of(&store(u64::MAX));
        assert_eq!(read.frame_bytes_max, FRAME_BYTES_MAX);
        assert_eq!((read.changes_max, read.items_max), (512 << 10, 8 << 20));
    }

    #[test]
    fn a_store_that_states_small_limits_does_not_lower_the_readers_limits() {
        let own = FrameLimits::default();
        assert_eq!(own.and_of(&store(0)), own);
    }
}
