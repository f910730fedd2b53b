//! The value of an attribute that is handed out.

use crate::hint::Hint;
use std::fmt;
use tenure_protocol::attributes::Value;

/// A value of an attribute in a form that can be changed in place. Small: two of them share a cache line with the word.
#[derive(Default)]
pub(crate) enum Content {
    /// The attribute does not exist.
    #[default]
    Absent,
    /// Shared with others: the frame that it came in, a message that carries it.
    Shared(Box<Value>),
    /// Nobody else's.
    Own(Vec<u8>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes() {
            Some(bytes) => write!(f, "{} bytes", bytes.len()), // What they are, nobody's log needs to know.
            None => f.write_str("absent"),
        }
    }
}

impl Content {
    #[inline(always)]
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Own(bytes) => Some(bytes),
            Self::Absent => None,
            Self::Shared(bytes) => Some(bytes),
        }
    }

    /// Where its bytes are, if they are its own.
    #[inline(always)]
    pub(crate) fn own(&self) -> Hint {
        match self {
            Self::Own(bytes) => Hint::of(bytes.as_ptr()),
            _ => Hint::default(),
        }
    }

    /// Becomes a copy of `bytes`, in the memory that it has if it has some.
    #[inline(always)]
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> &mut Vec<u8> {
        if !matches!(self, Self::Own(_)) {
            *self = Self::Own(Vec::with_capacity(bytes.len()));
        }
        let Self::Own(own) = self else {
            unreachable!("just made")
        };
        own.clear();
        own.extend_from_slice(bytes);
        own
    }

    /// The value, for who may not change this: shared if it is, a copy if not.
    pub(crate) fn value(&self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::Shared(value) => Some(Value::clone(value)),
            Self::Own(bytes) => Some(Value::copy_from_slice(bytes)),
        }
    }

    pub(crate) fn into_value(self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::Shared(value) => Some(*value),
            Self::Own(bytes) => Some(Value::from(bytes)),
        }
    }
}

impl From<Option<Value>> for Content {
    fn from(value: Option<Value>) -> Self {
        value.map_or(Self::Absent, |value| Self::Shared(Box::new(value)))
    }
}
