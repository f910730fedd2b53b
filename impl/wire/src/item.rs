//! The items that a connection carries in each direction.

use crate::limits::FAULT_TEXT_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;
use tenure_protocol::message::{AcquireRequest, GrantRef, Hello};
use tenure_protocol::{Incarnation, Link, ProcessId, Time, ToProcess, ToStore};

/// An item from a process to the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromProcess {
    /// The first item on every connection.
    Hello(Opening),
    /// A message other than `Hello`.
    Message(ToStore),
    /// The last item, if the process closes the connection because the store violated the protocol or a limit.
    Fault(Fault),
}

/// An item from the store to a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromStore {
    /// A message.
    Message(ToProcess),
    /// The last item, if the store closes the connection because the process violated the protocol or a limit, or
    /// cannot be served.
    Fault(Fault),
}

/// A `Hello` with the identity of the process and its connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The name of the process.
    pub process: ProcessId,
    /// The link number of this connection of the process (rule 15).
    pub link: Link,
    /// The highest minor version that the process supports. The store sends nothing newer.
    pub minor_max: u8,
    /// The time of sending on the process's clock (rule 10).
    pub sent: Time,
    /// The grants that the process holds, or has released without a response yet.
    pub holds: Vec<GrantRef>,
    /// The requests that the process waits for.
    pub waits: Vec<AcquireRequest>,
}

impl FromProcess {
    /// Returns the item for `message` of `process` on its connection `link`. A `Hello` becomes an [`Opening`].
    #[must_use]
    pub fn new(process: &ProcessId, link: Link, message: ToStore) -> Self {
        match message {
            ToStore::Hello(Hello {
                incarnation,
                minor,
                sent,
                holds,
                waits,
            }) => Self::Hello(Opening {
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
    /// Returns the incarnation of the process, which each start of the process raises.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.link.incarnation
    }

    /// Returns the process, its connection, and the message for the store's machine.
    #[must_use]
    pub fn into_parts(self) -> (ProcessId, Link, ToStore) {
        let message = ToStore::Hello(Hello {
            incarnation: self.link.incarnation,
            minor: self.minor_max,
            sent: self.sent,
            holds: self.holds,
            waits: self.waits,
        });
        (self.process, self.link, message)
    }
}

/// The reason why a connection is closed. It is intended for people and logs, and no code depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// The category of the reason.
    pub code: FaultCode,
    /// The reason as text, without session data. Only the first [`FAULT_TEXT_BYTES_MAX`] bytes are sent.
    pub text: String,
}

impl Fault {
    /// Returns a fault with the first [`FAULT_TEXT_BYTES_MAX`] bytes of `text`.
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

/// Returns the part of a fault's text that is sent.
pub(crate) fn sent(text: &str) -> &str {
    &text[..text.floor_char_boundary(FAULT_TEXT_BYTES_MAX)]
}

/// The category of a reason for closing a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FaultCode {
    /// The received bytes are not a frame.
    Malformed,
    /// A frame or a list exceeds a limit.
    TooLarge,
    /// A frame has another major version.
    Version,
    /// The kind of a frame is unknown, and the frame must not be skipped.
    Unknown,
    /// A frame is not allowed here: before `Hello`, between parts, in the wrong direction, or against the protocol.
    Unexpected,
    /// There are too many connections.
    Busy,
    /// The sender is shutting down.
    ShuttingDown,
    /// Nothing was received for too long.
    Silent,
    /// The peer does not read fast enough.
    Slow,
    /// The process may not connect.
    Forbidden,
    /// The sender cannot continue. Its log gives the reason.
    Internal,
    /// A code of a later version.
    Other(u64),
}

impl FaultCode {
    /// All codes of this version. The number of a code is its position.
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

    /// Returns the number of this code in a frame.
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
