//! What a frame and a message may at most be.

use tenure_protocol::Limits;
use tenure_protocol::id::NAME_BYTES_MAX;

/// How large a part of a message that goes on is: small enough that other messages of a connection do not wait long.
pub(crate) const PART_BYTES: usize = 64 << 10;

/// How deep values may be nested that are skipped since nobody here knows their key.
pub(crate) const DEPTH_MAX: usize = 16;

/// The most bytes of a fault's text.
pub const FAULT_TEXT_BYTES_MAX: usize = 256;

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

impl Default for FrameLimits {
    fn default() -> Self {
        Self::for_machines(&Limits::default())
    }
}
