//! The value of an attribute in its cell.

use crate::hint::Hint;
use std::fmt;
use tenure_protocol::AttributeName;
use tenure_protocol::attributes::Value;
use tenure_protocol::process::Call;

/// A value that can be changed in place. Small: two of them share a cache line with the state word of the cell.
#[derive(Default)]
pub(crate) enum Content {
    /// The attribute does not exist.
    #[default]
    Absent,
    /// Bytes shared with other owners: the received frame, or a message that carries them.
    Shared(Box<Value>),
    /// Bytes with this single owner.
    Own(Vec<u8>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes() {
            Some(bytes) => write!(f, "{} bytes", bytes.len()), // Never the bytes: they may be secret.
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

    /// Returns the address of the bytes, if this value is their single owner.
    #[inline(always)]
    pub(crate) fn own(&self) -> Hint {
        match self {
            Self::Own(bytes) => Hint::of(bytes.as_ptr()),
            _ => Hint::default(),
        }
    }

    /// Replaces the value with a copy of `bytes`, and reuses its own memory if it has any.
    #[inline(always)]
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> &mut Vec<u8> {
        if !matches!(self, Self::Own(_)) {
            *self = Self::Own(Vec::with_capacity(bytes.len()));
        }
        let Self::Own(own) = self else {
            unreachable!("the lines above make this value `Own`")
        };
        own.clear();
        own.extend_from_slice(bytes);
        own
    }

    /// Returns the value for an owner that must not change this one: shared if possible, else a copy.
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

/// The change that a thread makes to the value of an attribute.
pub(crate) enum Write {
    Unchanged,
    Removed,
    Set(Value),
}

impl Write {
    /// Calls `apply` with the new value, or with `None` if the attribute is removed. Returns `None` without a call if
    /// the value is unchanged.
    #[inline]
    pub(crate) fn map<R>(self, apply: impl FnOnce(Option<Value>) -> R) -> Option<R> {
        match self {
            Self::Unchanged => None,
            Self::Removed => Some(apply(None)),
            Self::Set(value) => Some(apply(Some(value))),
        }
    }

    /// Returns the machine's call for this write.
    pub(crate) fn call(self, name: &AttributeName) -> Option<Call> {
        let name = name.clone();
        self.map(|value| Call::Write { name, value })
    }
}

impl From<Option<Value>> for Write {
    fn from(value: Option<Value>) -> Self {
        value.map_or(Self::Removed, Self::Set)
    }
}
