//! Frames as they come, and what they say: the same for the processes and the stores that the suite plays.

use crate::end::{CaseEnd, Play};
use bytes::{Buf, Bytes, BytesMut};
use tenure_wire::{DecodeError, Decoder, FrameLimits, HEADER_BYTES, Item, Outgoing};

/// What was read of a connection.
#[derive(Debug)]
pub(crate) struct Frames<T> {
    /// Where what comes next is appended.
    pub(crate) raw: BytesMut,
    whole: BytesMut,
    decoder: Decoder<T>,
}

impl<T: Item> Frames<T> {
    pub(crate) fn new() -> Self {
        Self {
            raw: BytesMut::new(),
            whole: BytesMut::new(),
            decoder: Decoder::new(FrameLimits::default()),
        }
    }

    /// The next frame as it came, and the item that it ends, if any; of one that is too large, what is there. `None` when there
    /// is no whole one.
    pub(crate) fn next(&mut self) -> Option<(BytesMut, Result<Option<T>, DecodeError>)> {
        let header = self.raw.first_chunk::<HEADER_BYTES>()?;
        let length = u32::from_be_bytes(*header.first_chunk().expect("longer")) as usize;
        let max = FrameLimits::default().frame_bytes_max;
        if length <= max && self.raw.len() < HEADER_BYTES + length {
            return None;
        }
        let frame = self.raw.split_to(self.raw.len().min(HEADER_BYTES + length));
        self.whole.extend_from_slice(&frame);
        let item = self.decoder.decode(&mut self.whole);
        Some((frame, item))
    }
}

/// The frames of an item.
pub(crate) fn encode(item: &impl Item) -> Play<Bytes> {
    let mut out = Outgoing::new();
    out.push(item, &FrameLimits::default())
        .map_err(CaseEnd::fault)?;
    Ok(out.copy_to_bytes(out.remaining()))
}
