//! The encoding of log entries: an update, a whole record, or the oldest segment that is still needed.
//!
//! The first byte is the entry's kind, and the rest is postcard. The parts follow each other, so that a reader which
//! needs only the id and the head can stop after them. `tests/format.rs` pins the bytes.

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

/// The change that an entry makes to the index. Attribute values stay on disk.
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
    /// The session's whole record in one entry: a compacted copy, or an [`Update::Put`] that contains every attribute.
    Whole { session: SessionId, head: Box<[u8]> },
    /// All segments with a smaller number are no longer needed.
    Oldest(u32),
}

fn put<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    let taken = std::mem::take(bytes);
    *bytes = postcard::to_extend(value, taken).expect(
        "appending to a Vec never fails, and all sequences have a known \
    length",
    );
}

/// Decodes one value from the front of `bytes` and advances `bytes` behind it.
fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    *bytes = rest;
    Some(value)
}

pub(crate) fn write_update(bytes: &mut Vec<u8>, update: &Update) {
    match update {
        // The new chain begins here: earlier changes of the session need not be read again.
        Update::Put {
            session,
            head,
            delta,
            is_whole: true,
        } => {
            let mut record = Record::default();
            record.apply(delta, head.version);
            record.head = head.clone();
            write_whole(bytes, session, &record);
        }
        Update::Put {
            session,
            head,
            delta,
            is_whole: false,
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

/// Returns the encoded head from the front of `bytes`. The index stores heads in this form, which needs a tenth of the
/// memory.
fn take_head(bytes: &mut &[u8]) -> Option<Box<[u8]>> {
    let before = *bytes;
    take::<Head>(bytes)?;
    Some(before[..before.len() - bytes.len()].into())
}

pub(crate) fn head(mut bytes: &[u8]) -> Option<Head> {
    take(&mut bytes)
}

/// Decodes the change that an entry makes to the index. Returns `None` if the payload is not an entry of this format.
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

/// Applies an entry's attribute changes to a record, or returns `None` if the entry has none. The record's head is not
/// valid afterwards: the index holds the current head.
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
