//! Messages in several frames: a message whose lists have no small limit takes as many frames (parts) as it needs.
//!
//! Each part is a complete body. It repeats all fields that are not lists, and its lists continue those of the previous
//! part.

use crate::cbor::Writer;
use crate::error::EncodeError;
use crate::field::Element;
use crate::header::{Header, MORE};
use crate::limits::{FrameLimits, PART_BYTES};
use crate::outgoing::Outgoing;

/// An upper bound on a body's size without its lists: a name, and a few numbers and heads.
const FIXED_BYTES: usize = 256;

/// The space that a part has left for list elements.
pub(crate) struct Room {
    bytes: usize,
    /// Whether the part contains an element.
    used: bool,
    /// The size of the first element that was left for the next part.
    left: Option<usize>,
}

impl Room {
    /// Takes as many elements from the front of `list` as fit.
    pub(crate) fn take<'a, T: Element>(&mut self, list: &mut &'a [T]) -> &'a [T] {
        let mut count = 0;
        // Once an element is left over, the following lists are left over too. A reader of single frames thereby sees
        // the lists in order.
        while self.left.is_none()
            && let Some(element) = list.get(count)
        {
            let bytes = element.bytes_max();
            if let Some(rest) = self.bytes.checked_sub(bytes) {
                self.bytes = rest;
                count += 1;
            } else {
                self.left = Some(bytes);
            }
        }
        self.used |= count > 0;
        let (taken, rest) = list.split_at(count);
        *list = rest;
        taken
    }
}

/// Writes frames until nothing is left. `part` takes the elements that fit into one frame and returns a function that
/// writes them.
pub(crate) fn encode<W: FnOnce(&mut Writer<'_>)>(
    header: Header,
    limits: &FrameLimits,
    out: &mut Outgoing,
    mut part: impl FnMut(&mut Room) -> W,
) -> Result<(), EncodeError> {
    loop {
        let max = limits.frame_bytes_max.min(PART_BYTES);
        let mut room = Room {
            bytes: max.saturating_sub(FIXED_BYTES),
            used: false,
            left: None,
        };
        let write = part(&mut room);
        if let (Some(element), false) = (room.left, room.used) {
            let length = FIXED_BYTES + element;
            return Err(EncodeError::TooLarge { length, max });
        }
        let more = room.left.is_some();
        let flags = header.flags | if more { MORE } else { 0 };
        out.frame(Header { flags, ..header }, limits, write)?;
        if !more {
            return Ok(());
        }
    }
}

/// Appends a part's list to the whole list.
pub(crate) fn append<T>(whole: &mut Vec<T>, part: &mut Vec<T>) {
    if whole.is_empty() {
        *whole = std::mem::take(part);
    } else {
        // r[wire.parts-joined]
        whole.append(part);
    }
}
