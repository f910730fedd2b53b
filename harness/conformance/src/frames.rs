//! Received frames and their decoded items, for scripted processes and scripted stores alike.

use crate::end::{CaseEnd, Play};
use bytes::{Buf, Bytes, BytesMut};
use tenure_wire::{DecodeError, Decoder, FrameLimits, HEADER_BYTES, Item, Outgoing};

/// The bytes received on a connection.
#[derive(Debug)]
pub(crate) struct Frames<T> {
    /// The buffer to which received bytes are appended.
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

    /// Removes and returns the next frame with the item that it completes, if any. If a frame is too large, the bytes
    /// received so far are returned. Returns `None` if no frame is complete.
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

/// Returns the frames of an item.
pub(crate) fn encode(item: &impl Item) -> Play<Bytes> {
    let mut out = Outgoing::new();
    out.push(item, &FrameLimits::default())
        .map_err(CaseEnd::fault)?;
    Ok(out.copy_to_bytes(out.remaining()))
}
