//! Decoding and encoding errors.

use crate::item::FaultCode;
use tenure_protocol::id::NAME_BYTES_MAX;
use thiserror::Error;

/// An error in received bytes: they are not a frame, or not a frame that this side accepts. The connection cannot
/// continue.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}, at byte {offset} of the frame")]
pub struct DecodeError {
    /// The kind of error.
    pub problem: Problem,
    /// The position of the error, in bytes from the start of the frame's header.
    pub offset: usize,
}

impl DecodeError {
    /// Returns the fault code to send before the connection is closed.
    #[must_use]
    pub const fn code(&self) -> FaultCode {
        self.problem.code()
    }
}

/// A kind of decoding error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The frame has another major version.
    #[error("protocol version {}.{} is not supported here", .0 >> 4, .0 & 15)]
    Version(u8),
    /// The body is longer than the limit.
    #[error("the frame's body has {length} bytes, more than the limit of {max}")]
    FrameTooLarge {
        /// The body's length according to the header.
        length: u32,
        /// The largest allowed length.
        max: usize,
    },
    /// A list, or the same list over all parts of a message, is longer than the limit.
    #[error("the message has more {what} than the limit of {max}")]
    TooMany {
        /// The elements of the list.
        what: &'static str,
        /// The most allowed elements.
        max: usize,
    },
    /// The kind is unknown, and its frame must not be skipped.
    #[error("frame kind {0:#04x} is unknown and marked as critical")]
    KindUnknown(u8),
    /// The kind is one that this side sends and does not receive.
    #[error("frame kind {0:#04x} is only sent in the opposite direction")]
    KindUnexpected(u8),
    /// The frame announces a further part, but its kind never has one.
    #[error("frame kind {0:#04x} must not continue in further frames")]
    MoreUnexpected(u8),
    /// A frame of another kind came in place of the next part of a message.
    #[error("a frame of kind {found:#04x} came in place of the next part of kind {due:#04x}")]
    PartMissing {
        /// The kind of the incomplete message.
        due: u8,
        /// The kind of the received frame.
        found: u8,
    },
    /// The parts of a message differ in fields that are not lists.
    #[error("the parts of a message differ in fields other than lists")]
    PartsDiffer,
    /// The body ends within a value.
    #[error("the body ends within a value")]
    Truncated,
    /// Bytes follow the body's map.
    #[error("further bytes follow the body's map")]
    Trailing,
    /// A value has another type than expected.
    #[error("expected {expected}, but found a value that begins with {found:#04x}")]
    Type {
        /// The expected type.
        expected: &'static str,
        /// The first byte of the found value.
        found: u8,
    },
    /// A byte does not begin a CBOR value.
    #[error("the byte {0:#04x} does not begin a CBOR value")]
    IllFormed(u8),
    /// The value of a known key has an indefinite length.
    #[error("the value of a known key has an indefinite length")]
    Indefinite,
    /// A skipped value is nested too deeply.
    #[error("a value is nested too deeply")]
    TooDeep,
    /// A key is outside 0..=63.
    #[error("key {0} is outside 0..=63")]
    Key(u64),
    /// A key appears twice in one map.
    #[error("key {0} appears twice in one map")]
    KeyDuplicate(u64),
    /// A key that the kind requires is missing.
    #[error("no `{0}`")]
    KeyMissing(&'static str),
    /// An array has a wrong number of elements.
    #[error("{what} has {found} elements, which is a wrong number")]
    Elements {
        /// The meaning of the array.
        what: &'static str,
        /// The number of elements found.
        found: u64,
    },
    /// A name is empty or too long.
    #[error("a name has {0} bytes, outside 1..={NAME_BYTES_MAX}")]
    NameLength(usize),
    /// An attribute appears twice in one delta.
    #[error("an attribute appears twice in one delta")]
    AttributeDuplicate,
    /// A number exceeds the maximum of its field.
    #[error("the number {found} exceeds its maximum {max}")]
    Number {
        /// The number found.
        found: u64,
        /// The largest allowed number.
        max: u64,
    },
    /// The number of a choice is unknown to this version.
    #[error("{what} {found} is unknown to this version")]
    Choice {
        /// The name of the choice.
        what: &'static str,
        /// The number found.
        found: u64,
    },
    /// A text is not valid UTF-8.
    #[error("a text is not valid UTF-8")]
    NotUtf8,
}

impl Problem {
    /// Returns the fault code to send before the connection is closed.
    #[must_use]
    pub const fn code(&self) -> FaultCode {
        match self {
            Self::Version(_) => FaultCode::Version,
            Self::FrameTooLarge { .. } | Self::TooMany { .. } => FaultCode::TooLarge,
            Self::KindUnknown(_) => FaultCode::Unknown,
            Self::KindUnexpected(_) | Self::PartMissing { .. } => FaultCode::Unexpected,
            _ => FaultCode::Malformed,
        }
    }

    pub(crate) const fn at(self, offset: usize) -> DecodeError {
        DecodeError {
            problem: self,
            offset,
        }
    }
}

/// An error in a message to send. No byte of the message was appended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The message does not fit into a frame.
    #[error("the message needs a body of {length} bytes, more than the limit of {max}")]
    TooLarge {
        /// The length of the body in bytes.
        length: usize,
        /// The largest allowed length in bytes.
        max: usize,
    },
    /// The message is a bare `Hello` without its process. Send an [`Opening`](crate::Opening) instead.
    #[error("a bare hello does not name its process: send an opening instead")]
    Unopened,
}
