//! Messages that go on: lists without a small limit, in as many frames as they need.
//!
//! Each part is a whole body: it repeats what is not a list, and its lists continue those of the part before.

use crate::cbor::Writer;
use crate::error::EncodeError;
use crate::field::Element;
use crate::header::{Header, MORE};
use crate::limits::{FrameLimits, PART_BYTES};
use crate::outgoing::Outgoing;

/// More than a body takes without its lists: a name, and a few numbers and heads.
const FIXED_BYTES: usize = 256;

/// What room a part still has.
pub(crate) struct Room {
    bytes: usize,
    /// Whether anything was taken.
    used: bool,
    /// What the first element takes that was left for the next part.
    left: Option<usize>,
}

impl Room {
    /// As many elements as there is room for, off the front of `list`.
    pub(crate) fn take<'a, T: Element>(&mut self, list: &mut &'a [T]) -> &'a [T] {
        let mut count = 0;
        // When a list is left, so are those behind it: whoever reads the frames one by one sees the lists in order.
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

/// Writes frames until `part`, which takes what there is room for and answers how to write it, leaves nothing.
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

/// Moves a part's list to the end of the whole one.
pub(crate) fn append<T>(whole: &mut Vec<T>, part: &mut Vec<T>) {
    if whole.is_empty() {
        *whole = std::mem::take(part);
    } else {
        // r[wire.parts-joined]
        whole.append(part);
    }
}
