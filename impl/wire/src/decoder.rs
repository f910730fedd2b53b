//! Items out of a stream of bytes that comes in any pieces.

use crate::error::{DecodeError, Problem};
use crate::frame::{Frame, Item, Way};
use crate::header::{HEADER_BYTES, Header, MAJOR, kind};
use crate::limits::FrameLimits;
use bytes::{Buf, Bytes, BytesMut};

/// Bodies up to so many bytes are copied out of the stream, so that a name which is kept does not keep a whole block of it.
const COPIED_BYTES_MAX: usize = 512;

/// The least that is asked for while a frame is not whole.
const READ_BYTES: usize = 4 << 10;

/// Reads items from one connection.
#[derive(Debug)]
pub struct Decoder<T> {
    limits: FrameLimits,
    /// A message that goes on, its kind, and how many more items its lists may have.
    begun: Option<(u8, T, usize)>,
    /// What was wrong: a stream does not go on after that.
    failed: Option<DecodeError>,
}

impl<T: Item> Decoder<T> {
    /// A decoder for a new connection.
    #[must_use]
    pub const fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            begun: None,
            failed: None,
        }
    }

    /// Takes frames within these limits from now on.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// Takes the next item off the front of `stream`; `None` when it is not there yet. Then append what comes next, and
    /// call again: there is room for some of it.
    ///
    /// Bytes and names of a body of more than 512 bytes are slices of `stream`'s block; smaller bodies are copied first.
    ///
    /// # Errors
    /// What is wrong with the stream. It stays wrong: every further call answers the same.
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

    /// Whether the stream may end here: not within a frame, nor within a message that goes on.
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

    /// The next frame, when all of it is there.
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
            // Not all of it: who sends a header only must not make us hold a frame's worth of memory.
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

    /// What can be told from a header alone. Answers the length of the body.
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

    /// Joins a frame to what came before; answers the item when it is whole.
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
