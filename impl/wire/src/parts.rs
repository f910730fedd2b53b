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
    /// Whether something was left for the next part.
    left: bool,
}

impl Room {
    /// As many elements as there is room for, off the front of `list`.
    pub(crate) fn take<'a, T: Element>(&mut self, list: &mut &'a [T]) -> &'a [T] {
        let mut count = 0;
        // What follows in another list waits for what is left of this one: parts are joined list by list, in any case, but a
        // reader of a trace sees them in order.
        while !self.left && count < list.len() {
            let bytes = list[count].bytes_max();
            if bytes > self.bytes {
                self.left = true;
            } else {
                self.bytes -= bytes;
                count += 1;
            }
        }
        self.left |= count < list.len();
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
            left: false,
        };
        let write = part(&mut room);
        if room.left && !room.used {
            let length = FIXED_BYTES * 2;
            return Err(EncodeError::TooLarge { length, max });
        }
        let flags = header.flags | if room.left { MORE } else { 0 };
        out.frame(Header { flags, ..header }, limits, write)?;
        if !room.left {
            return Ok(());
        }
    }
}

/// Moves a part's list to the end of the whole one.
pub(crate) fn append<T>(whole: &mut Vec<T>, part: &mut Vec<T>) {
    if whole.is_empty() {
        *whole = std::mem::take(part);
    } else {
        whole.append(part);
    }
}
