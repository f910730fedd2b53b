//! What a connection carries, one way and the other.

use crate::limits::FAULT_TEXT_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;
use tenure_protocol::message::{AcquireRequest, GrantRef};
use tenure_protocol::{Incarnation, Link, ProcessId, Time, ToProcess, ToStore};

/// From a process to the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromProcess {
    /// First on every connection.
    Hello(Opening),
    /// Any message but `Hello`.
    Message(ToStore),
    /// Last on a connection that the process closes over something that the store did.
    Fault(Fault),
}

/// From the store to a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromStore {
    /// Any message.
    Message(ToProcess),
    /// Last on a connection that the store closes over something that the process did, or that it cannot serve.
    Fault(Fault),
}

/// A `Hello`, with what the store must know of the connection that it opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Which process this is.
    pub process: ProcessId,
    /// Which connection of the process this is. Rule 15.
    pub link: Link,
    /// The highest minor version that the process speaks: the store sends nothing that is newer.
    pub minor_max: u8,
    /// When it was sent, on the process's clock. Rule 10.
    pub sent: Time,
    /// The grants that the process has, or has released without an answer yet.
    pub holds: Vec<GrantRef>,
    /// The requests that it waits for.
    pub waits: Vec<AcquireRequest>,
}

impl FromProcess {
    /// `message` of `process` for its connection `link`: a `Hello` becomes an [`Opening`].
    #[must_use]
    pub fn new(process: &ProcessId, link: Link, message: ToStore) -> Self {
        match message {
            ToStore::Hello {
                incarnation,
                minor,
                sent,
                holds,
                waits,
            } => Self::Hello(Opening {
                process: process.clone(),
                link: Link {
                    incarnation,
                    ..link
                },
                minor_max: minor,
                sent,
                holds,
                waits,
            }),
            message => Self::Message(message),
        }
    }
}

impl Opening {
    /// Which start of the process this is.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.link.incarnation
    }

    /// Who it is, on which connection, and what the store's machine is to be told.
    #[must_use]
    pub fn into_parts(self) -> (ProcessId, Link, ToStore) {
        let message = ToStore::Hello {
            incarnation: self.link.incarnation,
            minor: self.minor_max,
            sent: self.sent,
            holds: self.holds,
            waits: self.waits,
        };
        (self.process, self.link, message)
    }
}

/// Why a connection is closed. For people and their logs: nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// What kind of reason.
    pub code: FaultCode,
    /// In words, without session data. Only the first [`FAULT_TEXT_BYTES_MAX`] bytes are sent.
    pub text: String,
}

impl Fault {
    /// A fault with the first [`FAULT_TEXT_BYTES_MAX`] bytes of `text`.
    #[must_use]
    pub fn new(code: FaultCode, text: &str) -> Self {
        Self {
            code,
            text: sent(text).to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.text)
    }
}

impl From<&crate::DecodeError> for Fault {
    fn from(error: &crate::DecodeError) -> Self {
        Self::new(error.code(), &error.to_string())
    }
}

/// As much of a fault's text as is sent.
pub(crate) fn sent(text: &str) -> &str {
    &text[..text.floor_char_boundary(FAULT_TEXT_BYTES_MAX)]
}

/// What kind of reason a connection is closed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FaultCode {
    /// Bytes that are not a frame.
    Malformed,
    /// A frame or a list beyond the limit.
    TooLarge,
    /// Another major version.
    Version,
    /// An unknown kind that must not be skipped.
    Unknown,
    /// A frame that has no place here: before `Hello`, between parts, from the wrong side, or against the protocol.
    Unexpected,
    /// Too many connections.
    Busy,
    /// The sender is shutting down.
    ShuttingDown,
    /// Nothing came for too long.
    Silent,
    /// What was sent is not read fast enough.
    Slow,
    /// The process may not connect.
    Forbidden,
    /// The sender cannot go on; its log says why.
    Internal,
    /// A code of a later version.
    Other(u64),
}

impl FaultCode {
    /// The codes of this version; each one's number is its place.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::TooLarge,
        Self::Version,
        Self::Unknown,
        Self::Unexpected,
        Self::Busy,
        Self::ShuttingDown,
        Self::Silent,
        Self::Slow,
        Self::Forbidden,
        Self::Internal,
    ];

    /// Its number in a frame.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Other(number) => number,
            known => Self::ALL
                .iter()
                .position(|&code| code == known)
                .map_or(u64::MAX, |place| place as u64),
        }
    }
}

impl From<u64> for FaultCode {
    fn from(number: u64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|place| Self::ALL.get(place).copied())
            // r[wire.lenient]
            .unwrap_or(Self::Other(number))
    }
}
