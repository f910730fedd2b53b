//! The wire format between processes and the store: frames and their codec.
//!
//! A frame consists of a header of 16 bytes and one CBOR map with small integer keys. [`Outgoing`] encodes items to
//! frames, and [`Decoder`] decodes frames to items. Neither does I/O. Items are the protocol's messages and two
//! additions of a connection. An [`Opening`] identifies the process and its connection. A [`Fault`] gives the reason
//! for closing a connection.
//!
//! ```
//! use bytes::{Buf, BytesMut};
//! use tenure_protocol::{Time, ToStore};
//! use tenure_wire::{Decoder, FrameLimits, FromProcess, Outgoing};
//!
//! let limits = FrameLimits::default();
//! let sent = FromProcess::Message(ToStore::KeepAlive { sent: Time(7) });
//! let mut outgoing = Outgoing::new();
//! outgoing.push(&sent, &limits)?;
//!
//! let mut decoder = Decoder::<FromProcess>::new(limits);
//! let mut stream = BytesMut::new();
//! while outgoing.has_remaining() {
//!     assert_eq!(decoder.decode(&mut stream)?, None); // half a frame decodes to nothing
//!     stream.extend_from_slice(&[outgoing.get_u8()]);
//! }
//! assert_eq!(decoder.decode(&mut stream)?, Some(sent));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - Decoding arbitrary bytes never panics. It recurses at most 16 levels deep. It allocates by the number of bytes
//!   received, not by the length that a header states.
//! - Values are not copied. Received values are slices of the read buffer, so a cached value keeps its whole buffer in
//!   memory. Sent values of [`SHARED_BYTES_MIN`] bytes or more are written from where they are.
//! - If one frame of a message is too large, the message is refused before any byte of it is sent. Messages whose lists
//!   have no small limit continue in further frames.
//! - This crate contains no protocol rules. The machines decide whether a message is allowed.
//!
//! The items derive serde traits, so that a connection can be dumped as JSON and read back. Names and values then are
//! arrays of numbers, as the `bytes` crate serializes them.
//!
//! The format is described in the book, page *The wire*, and in `docs/src/protocol/tenure.cddl`. Test vectors for other
//! implementations are in `tests/vectors/`.

mod cbor;
mod decoder;
mod error;
mod field;
mod frame;
mod header;
mod item;
mod limits;
mod outgoing;
mod parts;
mod process;
mod record;
mod store;

pub use decoder::Decoder;
pub use error::{DecodeError, EncodeError, Problem};
pub use frame::{Frame, Item, Way};
pub use header::{CRITICAL, HEADER_BYTES, Header, MAJOR, MINOR, MORE, VERSION, kind};
pub use item::{Fault, FaultCode, FromProcess, FromStore, Opening};
pub use limits::{
    FAULT_TEXT_BYTES_MAX, FRAME_BYTES_MAX, FrameLimits, ITEMS_LEAST, SHARED_BYTES_MIN,
};
pub use outgoing::Outgoing;
