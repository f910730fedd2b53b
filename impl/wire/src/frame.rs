//! One frame, and the items that frames carry.

use crate::cbor::Reader;
use crate::error::{DecodeError, EncodeError, Problem};
use crate::field::{Put, read_fields, write_fields};
use crate::header::{Header, kind};
use crate::item::{Fault, sent};
use crate::limits::FrameLimits;
use crate::outgoing::Outgoing;
use bytes::Bytes;

/// One frame as it came: a header, and as many bytes as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// The body: one CBOR map.
    pub body: Bytes,
}

/// Which way frames of a kind go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From who sends such items.
    Known,
    /// To who sends such items.
    Back,
    /// This version does not know the kind.
    Unknown,
}

/// What frames in one direction carry: [`FromProcess`](crate::FromProcess) or [`FromStore`](crate::FromStore).
///
/// [`Decoder`](crate::Decoder) and [`Outgoing`] are what a connection needs; this is for tools that look at single frames.
pub trait Item: Sized {
    /// Whether `kind` may carry such an item.
    fn way(kind: u8) -> Way;

    /// Appends the frames of this item. [`Outgoing::push`] also takes them back when one is too large.
    ///
    /// # Errors
    /// As [`Outgoing::push`].
    fn encode(&self, limits: &FrameLimits, out: &mut Outgoing) -> Result<(), EncodeError>;

    /// Reads one frame: a whole item, or a part of one. Takes the items of its lists off `items_left`.
    ///
    /// # Errors
    /// When the body is not what its kind's should be.
    fn decode(
        frame: &Frame,
        limits: &FrameLimits,
        items_left: &mut usize,
    ) -> Result<Self, DecodeError>;

    /// Joins the next part of the same item.
    ///
    /// # Errors
    /// [`Problem::PartsDiffer`] when they do not belong together.
    fn join(&mut self, part: Self) -> Result<(), Problem>;
}

impl Frame {
    /// Reads the body with `read`, after which nothing may follow.
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

/// That a kind does not belong here.
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
