//! Outgoing bytes: small values are copied side by side, and large values are shared.

use crate::cbor::Writer;
use crate::error::EncodeError;
use crate::header::{HEADER_BYTES, Header};
use crate::limits::FrameLimits;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// The frames to be written to one connection. As a [`Buf`], this is the outgoing stream in order.
///
/// Values of [`SHARED_BYTES_MIN`](crate::SHARED_BYTES_MIN) bytes and more stay where they are. Write with
/// [`chunks_vectored`](Buf::chunks_vectored) to avoid any copy. Memory is reused once everything was written.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The chunks to write before `tail`.
    chunks: VecDeque<Bytes>,
    /// The newest frames, as long as no shared value follows.
    tail: BytesMut,
    /// The positions in `tail` of shared values; empty between frames.
    cuts: Vec<(usize, Bytes)>,
    /// The number of bytes in `chunks`.
    chunk_bytes: usize,
}

impl Outgoing {
    /// Returns an empty stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the end of what is complete, for [`Outgoing::cut_back`].
    pub(crate) fn end(&self) -> usize {
        self.tail.len()
    }

    /// Removes what was appended since `end`, in which a frame was refused.
    pub(crate) fn cut_back(&mut self, end: usize) {
        // Only the last frame may have cuts, and it was refused. All appended bytes are therefore still in the tail.
        self.tail.truncate(end);
        self.cuts.clear();
    }

    /// Returns the number of bytes to write.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len()
    }

    /// Returns whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends one frame. The length field is filled in after the body was written.
    pub(crate) fn frame(
        &mut self,
        header: Header,
        limits: &FrameLimits,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<(), EncodeError> {
        let start = self.tail.len();
        self.tail.extend_from_slice(&header.to_bytes());
        write(&mut Writer::new(&mut self.tail, &mut self.cuts));
        let shared: usize = self.cuts.iter().map(|(_, value)| value.len()).sum();
        let length = self.tail.len() - start - HEADER_BYTES + shared;
        let max = limits.frame_bytes_max;
        let length = match u32::try_from(length) {
            Ok(length_u32) if length <= max => length_u32,
            _ => return Err(EncodeError::TooLarge { length, max }),
        };
        self.tail[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.share();
        Ok(())
    }

    /// Moves the tail and the shared values in it to the chunks.
    fn share(&mut self) {
        if self.cuts.is_empty() {
            return;
        }
        let mut rest = self.tail.split().freeze();
        let mut taken = 0;
        for (cut, value) in self.cuts.drain(..) {
            let before = rest.split_to(cut - taken);
            taken = cut;
            self.chunk_bytes += before.len() + value.len();
            self.chunks.push_back(before);
            self.chunks.push_back(value);
        }
        if !rest.is_empty() {
            self.chunk_bytes += rest.len();
            self.chunks.push_back(rest);
        }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&self.tail, |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let chunks = self.chunks.iter().map(|chunk| &chunk[..]).chain(tail);
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(
            count <= self.len(),
            "the caller advances by at most the remaining bytes"
        );
        while let Some(front) = self.chunks.front_mut() {
            if count < front.len() {
                self.chunk_bytes -= count;
                front.advance(count);
                return;
            }
            count -= front.len();
            self.chunk_bytes -= front.len();
            self.chunks.pop_front();
        }
        if count == self.tail.len() {
            // Clearing keeps the memory, which `advance` would release.
            self.tail.clear();
        } else {
            self.tail.advance(count);
        }
    }
}
