//! The 16 bytes before every body, and what their numbers mean.
//!
//! | offset | bytes | field | |
//! |---|---|---|---|
//! | 0 | 4 | length | of the body, in bytes |
//! | 4 | 1 | version | major in the upper four bits, minor in the lower |
//! | 5 | 1 | kind | [`kind`] |
//! | 6 | 2 | flags | [`CRITICAL`], [`MORE`]; others are sent as 0 and ignored |
//! | 8 | 8 | request | of the kinds that have one; otherwise sent as 0 and ignored |
//!
//! All numbers are big-endian.

use bytes::{Buf, BufMut};
use serde::{Deserialize, Serialize};

/// The length of a header, in bytes.
pub const HEADER_BYTES: usize = 16;

/// The versions are those of the machines. A higher minor version adds keys, which a lower one skips, and kinds, which a lower
/// one skips or refuses by [`CRITICAL`].
pub use tenure_protocol::{MAJOR, MINOR};

/// The version byte of the frames that this crate writes.
pub const VERSION: u8 = MAJOR << 4 | MINOR;

/// Flag: who does not know the kind must refuse the frame. Without it, it skips the frame.
pub const CRITICAL: u16 = 1;

/// Flag: the message goes on in the next frame, which is of the same kind.
pub const MORE: u16 = 1 << 1;

/// The numbers of the kinds. Below 0x40 a process sends them, from there to 0x7f the store; [`kind::FAULT`] both may.
pub mod kind {
    macro_rules! kinds {
        ($($name:ident = $number:literal $label:literal,)+) => {
            $(#[doc = concat!("`", $label, "`.")] pub const $name: u8 = $number;)+

            /// The name of a kind; `None` for one that this version does not know.
            #[must_use]
            pub const fn name(kind: u8) -> Option<&'static str> {
                match kind {
                    $($name => Some($label),)+
                    _ => None,
                }
            }

            /// All kinds of this version, ascending.
            pub const ALL: &[u8] = &[$($name),+];
        };
    }

    kinds! {
        FAULT = 0x00 "Fault",
        HELLO = 0x01 "Hello",
        KEEP_ALIVE = 0x02 "KeepAlive",
        ACQUIRE = 0x03 "Acquire",
        CANCEL = 0x04 "Cancel",
        COMMIT = 0x05 "Commit",
        RELEASE = 0x06 "Release",
        BUSY = 0x07 "Busy",
        DESTROY = 0x08 "Destroy",
        RENAME = 0x09 "Rename",
        GOODBYE = 0x0a "Goodbye",
        WELCOME = 0x41 "Welcome",
        ALIVE = 0x42 "Alive",
        GRANTED = 0x43 "Granted",
        QUEUED = 0x44 "Queued",
        RECALL = 0x45 "Recall",
        COMMITTED = 0x46 "Committed",
        RELEASED = 0x47 "Released",
        REVOKED = 0x48 "Revoked",
        REFUSED = 0x49 "Refused",
        NOT_RENAMED = 0x4a "NotRenamed",
        GONE = 0x4b "Gone",
        LEASE_ENDED = 0x4c "LeaseEnded",
        SUPERSEDED = 0x4d "Superseded",
        FULL = 0x4e "Full",
    }

    /// Whether messages of this kind may go on in further frames: those with lists that have no small limit.
    #[must_use]
    pub const fn may_go_on(kind: u8) -> bool {
        matches!(kind, HELLO | WELCOME | ALIVE)
    }
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// The length of the body, in bytes.
    pub length: u32,
    /// Major version in the upper four bits, minor in the lower.
    pub version: u8,
    /// What the frame carries: one of [`kind`], or of a later version.
    pub kind: u8,
    /// [`CRITICAL`], [`MORE`], and bits that have no meaning yet.
    pub flags: u16,
    /// The protocol's request, for the kinds that have one; 0 for the others.
    pub request: u64,
}

impl Header {
    /// A header of this version, with a length that is not known yet.
    #[must_use]
    pub const fn new(kind: u8, request: u64) -> Self {
        Self {
            length: 0,
            version: VERSION,
            kind,
            // r[wire.writes-critical]
            flags: CRITICAL,
            request,
        }
    }

    /// Returns the header with another minor version. One beyond 15 is written as 15.
    #[must_use]
    pub(crate) const fn of_minor(self, minor: u8) -> Self {
        let minor = if minor > 15 { 15 } else { minor };
        Self {
            version: MAJOR << 4 | minor,
            ..self
        }
    }

    /// Returns the minor version in which the frame is written.
    #[must_use]
    pub const fn minor(&self) -> u8 {
        self.version & 15
    }

    /// Reads a header.
    #[must_use]
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let mut bytes = &bytes[..];
        Self {
            length: bytes.get_u32(),
            version: bytes.get_u8(),
            kind: bytes.get_u8(),
            flags: bytes.get_u16(),
            request: bytes.get_u64(),
        }
    }

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = &mut bytes[..];
        rest.put_u32(self.length);
        rest.put_u8(self.version);
        rest.put_u8(self.kind);
        rest.put_u16(self.flags);
        rest.put_u64(self.request);
        bytes
    }

    /// Whether the message goes on in the next frame.
    #[must_use]
    pub const fn more(&self) -> bool {
        // r[wire.reserved]
        self.flags & MORE != 0
    }

    /// Whether who does not know the kind must refuse the frame.
    #[must_use]
    pub const fn critical(&self) -> bool {
        // r[wire.reserved]
        self.flags & CRITICAL != 0
    }
}
