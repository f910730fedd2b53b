//! The header of a frame: 16 bytes before every body.
//!
//! | offset | bytes | field | |
//! |---|---|---|---|
//! | 0 | 4 | length | the body's length in bytes |
//! | 4 | 1 | version | the major version in the upper four bits, the minor in the lower |
//! | 5 | 1 | kind | [`kind`] |
//! | 6 | 2 | flags | [`CRITICAL`], [`MORE`]; all others are sent as 0 and ignored |
//! | 8 | 8 | request | the request number, for kinds that have one; otherwise sent as 0 and ignored |
//!
//! All numbers are big-endian.

use bytes::{Buf, BufMut};
use serde::{Deserialize, Serialize};

/// The length of a header in bytes.
pub const HEADER_BYTES: usize = 16;

/// The protocol's major and minor version. A higher minor version adds keys, which an older reader skips. It also adds
/// kinds, which an older reader skips or refuses depending on [`CRITICAL`].
pub use tenure_protocol::{MAJOR, MINOR};

/// The version byte of the frames that this crate writes.
pub const VERSION: u8 = MAJOR << 4 | MINOR;

/// A flag: a reader that does not know the kind must refuse the frame. Without the flag, such a reader skips the frame.
pub const CRITICAL: u16 = 1;

/// A flag: the message continues in the next frame, which has the same kind.
pub const MORE: u16 = 1 << 1;

/// The numbers of the kinds. A process sends kinds below 0x40, and the store sends kinds from 0x40 to 0x7f. Both may
/// send [`kind::FAULT`].
pub mod kind {
    macro_rules! kinds {
        ($($name:ident = $number:literal $label:literal,)+) => {
            $(#[doc = concat!("`", $label, "`.")] pub const $name: u8 = $number;)+

            /// Returns the name of a kind, or `None` for a kind that this version does not know.
            #[must_use]
            pub const fn name(kind: u8) -> Option<&'static str> {
                match kind {
                    $($name => Some($label),)+
                    _ => None,
                }
            }

            /// All kinds of this version, in ascending order.
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

    /// Returns whether messages of this kind may continue in further frames, because they have lists without a small
    /// limit.
    #[must_use]
    pub const fn may_go_on(kind: u8) -> bool {
        matches!(kind, HELLO | WELCOME | ALIVE)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// The length of the body in bytes.
    pub length: u32,
    /// The major version in the upper four bits, the minor in the lower.
    pub version: u8,
    /// The kind of the frame: a number of [`kind`], or of a later version.
    pub kind: u8,
    /// The flags [`CRITICAL`] and [`MORE`], and bits without a meaning in this version.
    pub flags: u16,
    /// The protocol's request number for kinds that have one, otherwise 0.
    pub request: u64,
}

impl Header {
    /// Returns a header of this version whose length is not yet known.
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

    /// Returns this header with another minor version. A minor version above 15 is written as 15.
    #[must_use]
    pub(crate) const fn of_minor(self, minor: u8) -> Self {
        let minor = if minor > 15 { 15 } else { minor };
        Self {
            version: MAJOR << 4 | minor,
            ..self
        }
    }

    /// Returns the minor version of the frame.
    #[must_use]
    pub const fn minor(&self) -> u8 {
        self.version & 15
    }

    /// Decodes a header.
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

    /// Encodes the header.
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

    /// Returns whether the message continues in the next frame.
    #[must_use]
    pub const fn more(&self) -> bool {
        // r[wire.reserved]
        self.flags & MORE != 0
    }

    /// Returns whether a reader that does not know the kind must refuse the frame.
    #[must_use]
    pub const fn critical(&self) -> bool {
        // r[wire.reserved]
        self.flags & CRITICAL != 0
    }
}
