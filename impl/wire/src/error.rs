//! What is wrong with bytes that came, or with a message that shall go.

use crate::item::FaultCode;
use tenure_protocol::id::NAME_BYTES_MAX;
use thiserror::Error;

/// Bytes that are not a frame, or not one for us. The connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}, at byte {offset} of the frame")]
pub struct DecodeError {
    /// What is wrong.
    pub problem: Problem,
    /// Where, in bytes from the start of the frame's header.
    pub offset: usize,
}

impl DecodeError {
    /// What to tell the peer before the connection is closed.
    #[must_use]
    pub const fn code(&self) -> FaultCode {
        self.problem.code()
    }
}

/// What is wrong with bytes that came.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// Another major version.
    #[error("version {}.{} is not spoken here", .0 >> 4, .0 & 15)]
    Version(u8),
    /// The body is longer than allowed.
    #[error("a body of {length} bytes, more than {max}")]
    FrameTooLarge {
        /// What the header says.
        length: u32,
        /// What is allowed.
        max: usize,
    },
    /// A list, or the lists of all parts together, is longer than allowed.
    #[error("more than {max} {what}")]
    TooMany {
        /// What the list holds.
        what: &'static str,
        /// What is allowed.
        max: usize,
    },
    /// An unknown kind that must not be skipped.
    #[error("kind {0:#04x} is not known, and critical")]
    KindUnknown(u8),
    /// A kind that this side sends and does not receive.
    #[error("kind {0:#04x} goes the other way")]
    KindUnexpected(u8),
    /// A message that goes on, of a kind that never does.
    #[error("kind {0:#04x} does not go on in further frames")]
    MoreUnexpected(u8),
    /// Another frame where the next part of a message was due.
    #[error("kind {found:#04x} instead of the next part of {due:#04x}")]
    PartMissing {
        /// The kind of the message that is not whole yet.
        due: u8,
        /// The kind that came.
        found: u8,
    },
    /// The parts of a message differ in more than their lists.
    #[error("the parts of a message contradict each other")]
    PartsDiffer,
    /// The body ends within a value.
    #[error("the body ends too early")]
    Truncated,
    /// The body goes on behind its map.
    #[error("bytes behind the body's map")]
    Trailing,
    /// A value of another type.
    #[error("{expected} expected, but found a value that begins with {found:#04x}")]
    Type {
        /// What should be there.
        expected: &'static str,
        /// The first byte of what is there.
        found: u8,
    },
    /// Not CBOR.
    #[error("{0:#04x} does not begin a value")]
    IllFormed(u8),
    /// A known key's value is of indefinite length.
    #[error("a value of indefinite length")]
    Indefinite,
    /// A value that would be skipped is nested too deep.
    #[error("nested too deep")]
    TooDeep,
    /// A key that is not 0..=63.
    #[error("key {0} is not 0..=63")]
    Key(u64),
    /// A key comes twice in one map.
    #[error("key {0} comes twice")]
    KeyDuplicate(u64),
    /// A key that the kind needs is not there.
    #[error("no `{0}`")]
    KeyMissing(&'static str),
    /// An array that does not have as many elements as it must.
    #[error("{what} has {found} elements")]
    Elements {
        /// What the array is.
        what: &'static str,
        /// How many it has.
        found: u64,
    },
    /// A name that is empty or too long.
    #[error("a name of {0} bytes, not 1..={NAME_BYTES_MAX}")]
    NameLength(usize),
    /// An attribute comes twice in one delta.
    #[error("an attribute comes twice")]
    AttributeDuplicate,
    /// A number that is larger than its field.
    #[error("number {found} is more than {max}")]
    Number {
        /// The number.
        found: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A choice that this version does not know.
    #[error("{what} {found} is not known")]
    Choice {
        /// Which choice.
        what: &'static str,
        /// Its number.
        found: u64,
    },
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
}

impl Problem {
    /// What to tell the peer before the connection is closed.
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

/// A message that cannot be sent. Nothing of it was appended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// It does not fit into a frame.
    #[error("a body of {length} bytes, more than {max}")]
    TooLarge {
        /// The length of the body.
        length: usize,
        /// What is allowed.
        max: usize,
    },
    /// A bare `Hello`: an [`Opening`](crate::Opening) also says which process this is.
    #[error("a hello without its process")]
    Unopened,
}
