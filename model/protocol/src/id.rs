//! Names and numbers, one type per idea.
//!
//! Names ([`SessionId`], [`ProcessId`], [`AttributeName`]) have 1..=128 bytes and are cheap to clone. Each carries a
//! frozen 64-bit hash that decides most comparisons. The same hash divides the sessions among shards.
//!
//! The numbers that the store draws ([`Token`], [`Version`], [`Ticket`]) are all [`Stamp`]s. One counter and one
//! durable epoch therefore make all of them strictly increasing for ever, across restarts and across a session's lives.

use alloc::string::String;
use bytes::Bytes;
use core::fmt;
use core::hash::{Hash, Hasher};
use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// The error for a name that is empty or longer than [`NAME_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameLength {
    /// The length of the rejected name, in bytes.
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

/// Returns the 64-bit FNV-1a hash of `bytes`. Frozen: shards and stored data depend on it.
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
            // This field comes first, so that derived comparisons rarely read the bytes.
            hash: u64,
            bytes: Bytes,
        }

        impl $name {
            /// Creates a name of 1..=128 bytes.
            ///
            /// # Errors
            /// [`NameLength`] when `bytes` is empty or longer.
            pub fn new(bytes: impl Into<Bytes>) -> Result<Self, NameLength> {
                let bytes = bytes.into();
                match bytes.len() {
                    1..=NAME_BYTES_MAX => Ok(Self { hash: frozen_hash(&bytes), bytes }),
                    length => Err(NameLength { length }),
                }
            }

            /// Creates a name from a constant.
            ///
            /// # Panics
            /// When `name` is empty or longer than 128 bytes.
            #[must_use]
            pub const fn from_static(name: &'static str) -> Self {
                assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX, "the caller gives a name of 1..=128 bytes");
                Self { hash: frozen_hash(name.as_bytes()), bytes: Bytes::from_static(name.as_bytes()) }
            }

            /// Returns the bytes of the name.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.bytes
            }

            /// Returns the frozen 64-bit hash of the bytes (FNV-1a).
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
                // Not the frozen hash: it has no key, so a client that chooses names could fill one bucket of any
                // table.
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
/// The short form of a session id for logs: `#` and the upper half of the [frozen hash](SessionId::frozen_hash), as
/// eight hexadecimal digits. The short form finds the session's lines in the logs of a store and its processes. A
/// reader of the logs cannot use it to access the session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShortId<'a>(pub &'a SessionId);

impl ShortId<'_> {
    /// Returns the upper 32 bits of the frozen hash, which the digits write.
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
    /// The name of a process: one application-server process, which is a client of the store.
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

/// A number that the store draws, strictly increasing for ever. The epoch rises durably with every start of the store,
/// the sequence with every draw. Rule 9.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The start of the store in which the number was drawn.
    pub epoch: u64,
    /// The number of draws since that start, this one included.
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
    /// The fencing token of a grant. A write with an old token is always refused. Rule 9.
    Token(Stamp)
}
number! {
    /// The version of a session's primary state; [`Version::NONE`] for a session that does not exist.
    Version(Stamp)
}
number! {
    /// A waiter's place in the queue. The waiter presents it again after a reconnect or a restart of the store. Rule 5.
    Ticket(Stamp)
}
number! {
    /// The number of a process's start; rises with every start. Rule 10.
    Incarnation(u64)
}
number! {
    /// The number that a process gives a request for a session; rises within an incarnation. Rule 14.
    Request(u64)
}
number! {
    /// The number that a process gives one of its threads: an OS thread or an async task.
    ThreadId(u64)
}
number! {
    /// A point on the machine's own monotonic clock, in milliseconds from an origin that the driver chooses.
    Time(u64)
}

/// The number of a process's connection; rises with every `Hello`. Rule 15.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Link {
    /// The incarnation that opened the connection.
    pub incarnation: Incarnation,
    /// The number of connections since that start, this one included.
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

    /// Returns the point `span_ms` milliseconds later. Saturates at the largest time.
    #[must_use]
    pub const fn after(self, span_ms: u64) -> Self {
        Self(self.0.saturating_add(span_ms))
    }

    /// Returns the point `span_ms` milliseconds earlier. Saturates at the origin.
    #[must_use]
    pub const fn before(self, span_ms: u64) -> Self {
        Self(self.0.saturating_sub(span_ms))
    }

    /// Returns the milliseconds from `earlier` to this point, or 0 when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
