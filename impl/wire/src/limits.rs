//! What a frame and a message may at most be.

use tenure_protocol::id::NAME_BYTES_MAX;
use tenure_protocol::{Limits, StoreLimits};

/// How large a part of a message that goes on is: small enough that other messages of a connection do not wait long.
pub(crate) const PART_BYTES: usize = 64 << 10;

/// How deep values may be nested that are skipped since nobody here knows their key.
pub(crate) const DEPTH_MAX: usize = 16;

/// The most bytes of a fault's text.
pub const FAULT_TEXT_BYTES_MAX: usize = 256;

/// The most bytes of a frame's body that any settings may need: 128 MiB. What comes in one frame has to be made durable in one
/// batch. A store refuses settings that need more, and a process reads no more, whatever its store says of its limits.
pub const FRAME_BYTES_MAX: usize = 128 << 20;

/// So many items in all lists of one message every reader takes: the grants that a process with the default cache keeps, and as
/// many requests.
pub const ITEMS_LEAST: usize = 2 * 65_536;

/// What one side accepts from the other, and keeps to itself. Rule 18.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of a frame's body.
    pub frame_bytes_max: usize,
    /// Changes in one delta.
    pub changes_max: usize,
    /// Items in all lists of one message, other than changes, in all its frames.
    pub items_max: usize,
}

impl FrameLimits {
    /// Limits under which every message fits that two machines with these limits have for each other.
    #[must_use]
    pub const fn for_machines(limits: &Limits) -> Self {
        // A delta may replace all attributes by others: as many values as removals. A head takes up to 5 bytes.
        let changes_max = limits.attributes_max.saturating_mul(2);
        let names = changes_max.saturating_mul(NAME_BYTES_MAX + 16);
        Self {
            frame_bytes_max: limits
                .session_bytes_max
                .saturating_add(names)
                .saturating_add(4 << 10),
            changes_max,
            // Each grant may be held, and recalled or gone; as many requests may wait.
            items_max: limits.grants_max.saturating_mul(2),
        }
    }
}

impl FrameLimits {
    /// Limits under which a reader takes whatever a peer with the default limits, or with these, has for it, and at least
    /// [`ITEMS_LEAST`] items. A peer need not know
    /// these limits, and one frame that is refused ends the whole connection: what a frame says of one session is refused
    /// for that session alone, by the machine.
    #[must_use]
    pub fn generous(limits: &Limits) -> Self {
        let (own, least) = (Self::for_machines(limits), Self::default());
        Self {
            frame_bytes_max: own.frame_bytes_max.max(least.frame_bytes_max),
            changes_max: own.changes_max.max(least.changes_max),
            items_max: own.items_max.max(ITEMS_LEAST),
        }
    }

    /// Returns these limits, or more where a store that says its limits may send more: up to [`FRAME_BYTES_MAX`] for a frame, 262,144
    /// attributes and 4,194,304 grants. What a store says must not let it fill the memory of its processes.
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
    fn a_store_that_says_endless_limits_gets_no_endless_memory() {
        let own = FrameLimits::default();
        let read = own.and_of(&store(u64::MAX));
        assert_eq!(read.frame_bytes_max, FRAME_BYTES_MAX);
        assert_eq!((read.changes_max, read.items_max), (512 << 10, 8 << 20));
    }

    #[test]
    fn a_store_that_says_small_limits_takes_nothing_away() {
        let own = FrameLimits::default();
        assert_eq!(own.and_of(&store(0)), own);
    }
}
