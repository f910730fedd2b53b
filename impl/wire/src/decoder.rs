//! The decoder: reads items from a stream of bytes that arrives in arbitrary pieces.

use crate::error::{DecodeError, Problem};
use crate::frame::{Frame, Item, Way};
use crate::header::{HEADER_BYTES, Header, MAJOR, kind};
use crate::limits::FrameLimits;
use bytes::{Buf, Bytes, BytesMut};

/// Bodies up to this many bytes are copied out of the stream. A copy costs less than a block of memory for each read:
/// the stream keeps its block, and a value that is kept does not keep the bytes around it.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// The least number of bytes for which space is reserved while a frame is incomplete.
const READ_BYTES: usize = 4 << 10;

/// A decoder for the items of one connection.
#[derive(Debug)]
pub struct Decoder<T> {
    limits: FrameLimits,
    /// A message that continues in further frames, with its kind and the number of list items that it may still have.
    begun: Option<(u8, T, usize)>,
    /// The first error, after which the stream cannot continue.
    failed: Option<DecodeError>,
}

impl<T: Item> Decoder<T> {
    /// Returns a decoder for a new connection.
    #[must_use]
    pub const fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            begun: None,
            failed: None,
        }
    }

    /// Sets the limits for all frames from now on.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// Removes and returns the next item from the front of `stream`, or `None` if the item is incomplete. In that case,
    /// append more bytes and call again. Space for some of them has been reserved.
    ///
    /// For a body above 16 KiB, values and names are slices of `stream`'s block. Smaller bodies are copied first.
    ///
    /// # Errors
    /// The first error in the stream. Every further call returns the same error.
    pub fn decode(&mut self, stream: &mut BytesMut) -> Result<Option<T>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let item = self.next(stream);
        if let Err(error) = &item {
            self.failed = Some(error.clone());
            self.begun = None;
        }
        item
    }

    /// Returns whether the stream may end here, which is not within a frame or within a message of several frames.
    #[must_use]
    pub fn may_end(&self, stream: &BytesMut) -> bool {
        stream.is_empty() && self.begun.is_none()
    }

    fn next(&mut self, stream: &mut BytesMut) -> Result<Option<T>, DecodeError> {
        while let Some(frame) = self.frame(stream)? {
            // r[wire.unknown-skipped]
            if T::way(frame.header.kind) == Way::Unknown {
                continue;
            }
            if let Some(item) = self.take(&frame)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// Removes and returns the next frame if it is complete.
    fn frame(&self, stream: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let Some(header) = stream.first_chunk::<HEADER_BYTES>() else {
            if stream.len() == stream.capacity() {
                stream.reserve(READ_BYTES);
            }
            return Ok(None);
        };
        let header = Header::read(header);
        let length = self.check(&header)?;
        let missing = (HEADER_BYTES + length).saturating_sub(stream.len());
        // r[wire.truncated]
        if missing > 0 {
            // Reserve space only by the bytes that have arrived: a peer that sends only a header must not make this
            // side allocate a whole frame.
            stream.reserve(missing.min(stream.len().max(READ_BYTES)));
            return Ok(None);
        }
        stream.advance(HEADER_BYTES);
        let body = if length <= COPIED_BYTES_MAX {
            let body = Bytes::copy_from_slice(&stream[..length]);
            stream.advance(length);
            body
        } else {
            stream.split_to(length).freeze()
        };
        Ok(Some(Frame { header, body }))
    }

    /// Checks everything that a header alone shows. Returns the length of the body.
    fn check(&self, header: &Header) -> Result<usize, DecodeError> {
        let &Header {
            length,
            version,
            kind,
            ..
        } = header;
        // r[wire.version] r[wire.minor]
        if version >> 4 != MAJOR {
            return Err(Problem::Version(version).at(4));
        }
        let max = self.limits.frame_bytes_max;
        // r[wire.too-large]
        let length = match usize::try_from(length) {
            Ok(bytes) if bytes <= max => bytes,
            _ => return Err(Problem::FrameTooLarge { length, max }.at(0)),
        };
        match T::way(kind) {
            // r[wire.more-unexpected]
            Way::Known if header.more() && !kind::may_go_on(kind) => {
                Err(Problem::MoreUnexpected(kind).at(6))
            }
            Way::Known => match self.begun {
                // r[wire.part-missing]
                Some((due, ..)) if kind != due && kind != kind::FAULT => {
                    Err(Problem::PartMissing { due, found: kind }.at(5))
                }
                _ => Ok(length),
            },
            // r[wire.wrong-side]
            Way::Back => Err(Problem::KindUnexpected(kind).at(5)),
            // r[wire.unknown-critical]
            Way::Unknown if header.critical() => Err(Problem::KindUnknown(kind).at(5)),
            // r[wire.unknown-skipped]
            Way::Unknown => Ok(length),
        }
    }

    /// Joins a frame to the earlier parts of its message. Returns the item if it is complete.
    fn take(&mut self, frame: &Frame) -> Result<Option<T>, DecodeError> {
        let kind = frame.header.kind;
        let (begun, mut items_left) = match self.begun.take() {
            Some((_, begun, items_left)) if kind != kind::FAULT => (Some(begun), items_left),
            _ => (None, self.limits.items_max),
        };
        let part = T::decode(frame, &self.limits, &mut items_left)?;
        let item = match begun {
            Some(mut item) => {
                // r[wire.parts-joined]
                item.join(part)
                    .map_err(|problem| problem.at(HEADER_BYTES))?;
                item
            }
            None => part,
        };
        // r[wire.parts-joined] r[wire.truncated]
        if frame.header.more() {
            self.begun = Some((kind, item, items_left));
            return Ok(None);
        }
        Ok(Some(item))
    }
}
