//! What processes and the store say to each other, as bytes: frames and their codec.
//!
//! A frame is a header of 16 bytes and one CBOR map with small integer keys. [`Outgoing`] makes frames of items,
//! [`Decoder`] makes items of frames; neither does I/O. The items are the protocol's messages, and what a connection adds:
//! an [`Opening`], which says whose connection it is, and a [`Fault`], which says why it closes.
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
//!     assert_eq!(decoder.decode(&mut stream)?, None); // half a frame is none
//!     stream.extend_from_slice(&[outgoing.get_u8()]);
//! }
//! assert_eq!(decoder.decode(&mut stream)?, Some(sent));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - Whatever bytes come, decoding does not panic. It recurses at most 16 deep, and allocates by what has come, not by what a
//!   header promises.
//! - Values are not copied: those that come are slices of what was read, those that go, from [`SHARED_BYTES_MIN`] bytes,
//!   are written from where they are. So what is kept keeps the block that it was read into.
//! - A message of which one frame is too large is refused before anything of it is sent. Lists without a small limit go on in
//!   further frames.
//! - No rule of the protocol stands here. Whether a message is allowed is for the machines.
//!
//! The items derive serde, so that what is said can be dumped as JSON and read back. Names and values are then arrays of
//! numbers, as `bytes` has it.
//!
//! The format itself is described in the book, page *The wire*, and in `docs/src/protocol/tenure.cddl`. Vectors for other
//! implementations stand in `tests/vectors/`.

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
pub use limits::{FAULT_TEXT_BYTES_MAX, FRAME_BYTES_MAX, FrameLimits, ITEMS_LEAST};
pub use outgoing::{Outgoing, SHARED_BYTES_MIN};
