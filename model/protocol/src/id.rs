//! Names and numbers, one type per idea.
//!
//! Names ([`SessionId`], [`ProcessId`], [`AttributeName`]) are 1..=128 bytes, cheap to clone, and carry a frozen 64-bit
//! hash that decides most comparisons: the same hash later cuts the session space into shards. Numbers that the store
//! draws ([`Token`], [`Version`], [`Ticket`]) are one kind of thing, a [`Stamp`], so that one counter and one durable
//! epoch make all of them strictly increasing for ever, across restarts and across a session's lives.

use alloc::string::String;
use bytes::Bytes;
use core::fmt;
use core::hash::{Hash, Hasher};
use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// A name is empty or longer than [`NAME_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameLength {
    /// The length that was offered, in bytes.
    pub length: usize,
}

impl fmt::Display for NameLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a name has 1..={NAME_BYTES_MAX} bytes, not {}",
            self.length
        )
    }
}

impl core::error::Error for NameLength {}

/// FNV-1a, 64 bits. Frozen: shards and stored data depend on it.
const fn frozen_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "Bytes", into = "Bytes")]
        pub struct $name {
            // First, so that derived comparisons rarely read the bytes.
            hash: u64,
            bytes: Bytes,
        }

        impl $name {
            /// A name of 1..=128 bytes.
            ///
            /// # Errors
            /// [`NameLength`] when it is empty or longer.
            pub fn new(bytes: impl Into<Bytes>) -> Result<Self, NameLength> {
                let bytes = bytes.into();
                match bytes.len() {
                    1..=NAME_BYTES_MAX => Ok(Self { hash: frozen_hash(&bytes), bytes }),
                    length => Err(NameLength { length }),
                }
            }

            /// A name that is known when the program is written.
            ///
            /// # Panics
            /// When it is empty or longer than 128 bytes.
            #[must_use]
            pub const fn from_static(name: &'static str) -> Self {
                assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX, "a name has 1..=128 bytes");
                Self { hash: frozen_hash(name.as_bytes()), bytes: Bytes::from_static(name.as_bytes()) }
            }

            /// The bytes of the name.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.bytes
            }

            /// The frozen 64-bit hash of the bytes (FNV-1a).
            #[must_use]
            pub const fn frozen_hash(&self) -> u64 {
                self.hash
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }

        impl Hash for $name {
            fn hash<S: Hasher>(&self, state: &mut S) {
                // Not the frozen hash: it has no key, so that whoever chooses names could fill one bucket of any table.
                self.bytes.hash(state);
            }
        }

        impl TryFrom<Bytes> for $name {
            type Error = NameLength;
            fn try_from(bytes: Bytes) -> Result<Self, NameLength> {
                Self::new(bytes)
            }
        }

        impl From<$name> for Bytes {
            fn from(name: $name) -> Self {
                name.bytes
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&String::from_utf8_lossy(&self.bytes))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&String::from_utf8_lossy(&self.bytes))
            }
        }
    };
}

name! {
    /// The id of a session: the state of one client session.
    SessionId
}
/// A session in words: the upper half of its id's [frozen hash](SessionId::frozen_hash), as `#` and eight hexadecimal digits.
/// Enough to find its lines in the logs of a store and its processes, and no use to who reads them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShortId<'a>(pub &'a SessionId);

impl ShortId<'_> {
    /// Returns the number that its digits write.
    #[must_use]
    pub fn bits(self) -> u32 {
        (self.0.frozen_hash() >> 32) as u32
    }
}

impl fmt::Display for ShortId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:08x}", self.bits())
    }
}

impl fmt::Debug for ShortId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

name! {
    /// The name of a process: one application-server process, a client of the store.
    ProcessId
}
name! {
    /// The name of an attribute of a session.
    AttributeName
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

/// A number that the store draws, strictly increasing for ever: the epoch rises durably with every start of the store,
/// the sequence with every draw. Rule 9.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Which start of the store drew it.
    pub epoch: u64,
    /// How many were drawn before it since that start, plus one.
    pub sequence: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

number! {
    /// The fencing token of a grant. Rule 9: a write with an old token is refused, always.
    Token(Stamp)
}
number! {
    /// The version of a session's primary state; [`Version::NONE`] for a session that does not exist.
    Version(Stamp)
}
number! {
    /// A waiter's place in the queue. Rule 5: presented again after a reconnect or a restart of the store.
    Ticket(Stamp)
}
number! {
    /// Which start of a process this is; rises with every start. Rule 10.
    Incarnation(u64)
}
number! {
    /// A process's number for one request for a session; rises within an incarnation. Rule 14.
    Request(u64)
}
number! {
    /// A thread, OS thread or async task, as its process numbers them.
    ThreadId(u64)
}
number! {
    /// A point on the machine's own monotonic clock, in milliseconds from an origin that the driver chooses.
    Time(u64)
}

/// Which connection of a process this is; rises with every `Hello`. Rule 15.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Link {
    /// Which start of the process opened it.
    pub incarnation: Incarnation,
    /// How many were opened before it since that start, plus one.
    pub number: u64,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.incarnation, self.number)
    }
}

impl Version {
    /// The version of a session that does not exist.
    pub const NONE: Self = Self(Stamp {
        epoch: 0,
        sequence: 0,
    });
}

impl Time {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// This point plus `span_ms` milliseconds; saturates.
    #[must_use]
    pub const fn after(self, span_ms: u64) -> Self {
        Self(self.0.saturating_add(span_ms))
    }

    /// This point less `span_ms` milliseconds; saturates at the origin.
    #[must_use]
    pub const fn before(self, span_ms: u64) -> Self {
        Self(self.0.saturating_sub(span_ms))
    }

    /// Milliseconds from `earlier` to this point, 0 when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
