//! What an entry says: an update, a whole record, or which segments are no longer needed.
//!
//! The first byte says which, the rest is postcard: parts one after the other, so that a reader who only wants the id and
//! the head stops there. `tests/format.rs` pins the bytes.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tenure_protocol::attributes::{Attribute, Head};
use tenure_protocol::{Delta, Record, SessionId, Update};

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const RENAME: u8 = 3;
const WHOLE: u8 = 4;
const OLDEST: u8 = 5;

/// What an entry changes in the index. Values of attributes stay on the disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// [`Update::Put`].
    Put {
        session: SessionId,
        head: Box<[u8]>,
        /// Whether the delta is empty.
        is_head_only: bool,
    },
    /// [`Update::Remove`].
    Remove { session: SessionId },
    /// [`Update::Rename`].
    Rename {
        from: SessionId,
        to: SessionId,
        head: Box<[u8]>,
    },
    /// The session's record, unchanged, in one piece.
    Whole { session: SessionId, head: Box<[u8]> },
    /// Segments with a smaller number are no longer needed.
    Oldest(u32),
}

fn put<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    let taken = std::mem::take(bytes);
    *bytes = postcard::to_extend(value, taken).expect("memory takes it, and lengths are known");
}

/// One value from the front of `bytes`, which then begin behind it.
fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    *bytes = rest;
    Some(value)
}

pub(crate) fn write_update(bytes: &mut Vec<u8>, update: &Update) {
    match update {
        Update::Put {
            session,
            head,
            delta,
        } => {
            bytes.push(PUT);
            put(bytes, session);
            put(bytes, head);
            put(bytes, delta);
        }
        Update::Remove { session } => {
            bytes.push(REMOVE);
            put(bytes, session);
        }
        Update::Rename { from, to, head } => {
            bytes.push(RENAME);
            put(bytes, from);
            put(bytes, to);
            put(bytes, head);
        }
    }
}

pub(crate) fn write_whole(bytes: &mut Vec<u8>, session: &SessionId, record: &Record) {
    bytes.push(WHOLE);
    put(bytes, session);
    put(bytes, &record.head);
    put(bytes, record.attributes());
}

pub(crate) fn write_oldest(bytes: &mut Vec<u8>, oldest: u32) {
    bytes.push(OLDEST);
    put(bytes, &oldest);
}

/// A head as it stands in an entry: the index keeps it so, in a tenth of the memory.
fn take_head(bytes: &mut &[u8]) -> Option<Box<[u8]>> {
    let before = *bytes;
    take::<Head>(bytes)?;
    Some(before[..before.len() - bytes.len()].into())
}

pub(crate) fn head(mut bytes: &[u8]) -> Option<Head> {
    take(&mut bytes)
}

/// What an entry changes in the index; `None` when it is none of this format.
pub(crate) fn step(payload: &[u8]) -> Option<Step> {
    let (kind, mut rest) = payload.split_first()?;
    let rest = &mut rest;
    Some(match *kind {
        PUT => Step::Put {
            session: take(rest)?,
            head: take_head(rest)?,
            is_head_only: *rest == [0],
        },
        REMOVE => Step::Remove {
            session: take(rest)?,
        },
        RENAME => Step::Rename {
            from: take(rest)?,
            to: take(rest)?,
            head: take_head(rest)?,
        },
        WHOLE => Step::Whole {
            session: take(rest)?,
            head: take_head(rest)?,
        },
        OLDEST => Step::Oldest(take(rest)?),
        _ => return None,
    })
}

/// Applies to a record what an entry says of attributes; `None` when it says nothing of them. The head is not that of the
/// result: the index has it.
pub(crate) fn fold(record: &mut Record, payload: &[u8]) -> Option<()> {
    let (kind, mut rest) = payload.split_first()?;
    let rest = &mut rest;
    take::<Bytes>(rest)?;
    let head: Head = take(rest)?;
    match *kind {
        PUT => {
            let delta: Delta = take(rest)?;
            if !delta.is_empty() {
                record.apply(&delta, head.version);
            }
        }
        WHOLE => {
            let attributes: Vec<Attribute> = take(rest)?;
            *record = Record::from_parts(head, attributes).ok()?;
        }
        _ => return None,
    }
    Some(())
}
