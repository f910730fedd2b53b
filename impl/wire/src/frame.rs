//! Single frames, and the trait of the items that frames carry.

use crate::cbor::Reader;
use crate::error::{DecodeError, EncodeError, Problem};
use crate::field::{Put, read_fields, write_fields};
use crate::header::{Header, kind};
use crate::item::{Fault, sent};
use crate::limits::FrameLimits;
use crate::outgoing::Outgoing;
use bytes::Bytes;

/// A received frame: a header, and a body of the length that the header states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// The body: one CBOR map.
    pub body: Bytes,
}

/// The direction in which frames of a kind are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The sender of these items sends this kind.
    Known,
    /// The receiver of these items sends this kind.
    Back,
    /// This version does not know the kind.
    Unknown,
}

/// The items that frames carry in one direction: [`FromProcess`](crate::FromProcess) or
/// [`FromStore`](crate::FromStore).
///
/// Connections use [`Decoder`](crate::Decoder) and [`Outgoing`]. These methods are for tools that examine single
/// frames.
pub trait Item: Sized {
    /// Returns the direction in which frames of this kind are sent.
    fn way(kind: u8) -> Way;

    /// Appends the frames of this item. [`Outgoing::push`] also removes them again if one is too large.
    ///
    /// # Errors
    /// As [`Outgoing::push`].
    fn encode(&self, limits: &FrameLimits, out: &mut Outgoing) -> Result<(), EncodeError>;

    /// Decodes one frame to an item or to a part of one, and deducts the items of its lists from `items_left`.
    ///
    /// # Errors
    /// [`DecodeError`] if the body does not match its kind.
    fn decode(
        frame: &Frame,
        limits: &FrameLimits,
        items_left: &mut usize,
    ) -> Result<Self, DecodeError>;

    /// Appends the next part of the same item.
    ///
    /// # Errors
    /// [`Problem::PartsDiffer`] if the parts do not belong together.
    fn join(&mut self, part: Self) -> Result<(), Problem>;
}

impl Frame {
    /// Decodes the body with `read` and checks that no further bytes follow.
    pub(crate) fn read<T>(
        &self,
        limits: &FrameLimits,
        items_left: &mut usize,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let mut reader = Reader::new(&self.body, limits, *items_left);
        let item = read(&mut reader)?;
        // r[wire.ill-formed]
        reader.end()?;
        *items_left = reader.items_left();
        Ok(item)
    }
}

/// Returns the error for a kind that is not allowed here.
pub(crate) const fn unexpected(kind: u8) -> DecodeError {
    Problem::KindUnexpected(kind).at(5)
}

pub(crate) fn encode_fault(
    fault: &Fault,
    limits: &FrameLimits,
    out: &mut Outgoing,
) -> Result<(), EncodeError> {
    out.frame(Header::new(kind::FAULT, 0), limits, |writer| {
        let Fault { code, text } = fault;
        let text = sent(text);
        write_fields!(writer; code, text);
    })
}

impl Fault {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_fields!(reader; code, text);
        Ok(Self { code, text })
    }
}

impl Outgoing {
    /// Appends the frames of `item`.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] if a frame would exceed `limits`, and [`EncodeError::Unopened`] if `item` is a bare
    /// `Hello`. In both cases nothing was appended.
    pub fn push<T: Item>(&mut self, item: &T, limits: &FrameLimits) -> Result<(), EncodeError> {
        let end = self.end();
        let result = item.encode(limits, self);
        if result.is_err() {
            self.cut_back(end);
        }
        result
    }
}
