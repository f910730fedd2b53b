//! The encoding of field values other than numbers and names: records, deltas and choices.

use crate::cbor::{Reader, Result, Writer};
use crate::error::Problem;
use crate::field::{Element, Get, Put, read_fields, write_fields};
use crate::item::FaultCode;
use bytes::Bytes;
use tenure_protocol::attributes::{Change, State};
use tenure_protocol::message::{
    AcquireRequest, GrantRef, Limited, Reason, RecallInfo, Refusal, Revocation, WaitMode,
};
use tenure_protocol::{Delta, SessionId, StoreLimits};

impl Put for GrantRef {
    fn put(&self, writer: &mut Writer<'_>) {
        writer.array(2);
        self.session.put(writer);
        self.token.put(writer);
    }
}

impl Get for GrantRef {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        reader.tuple("a grant", 2)?;
        Ok(Self {
            session: Get::get(reader)?,
            token: Get::get(reader)?,
        })
    }
}

impl Put for RecallInfo {
    fn put(&self, writer: &mut Writer<'_>) {
        writer.array(2);
        self.reason.put(writer);
        writer.uint(self.deadline_ms);
    }
}

impl Get for RecallInfo {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        reader.tuple("a recall", 2)?;
        Ok(Self {
            reason: Get::get(reader)?,
            deadline_ms: reader.uint()?,
        })
    }
}

impl Put for AcquireRequest {
    fn put(&self, writer: &mut Writer<'_>) {
        let Self {
            session,
            request,
            known,
            wait_mode,
            ticket,
            // Only an `Acquire` has it: a hello is written before the process knows whether the store supports it.
            existing: _,
        } = self;
        write_fields!(writer; session, request, known, wait_mode, ticket);
    }
}

impl Get for AcquireRequest {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        read_fields!(reader; session, request, known, wait_mode, ticket);
        Ok(Self {
            session,
            request,
            known,
            wait_mode,
            ticket,
            existing: false,
        })
    }
}

impl Put for StoreLimits {
    fn put(&self, writer: &mut Writer<'_>) {
        let Self {
            grants_max,
            waiters_max,
            attributes_max,
            attribute_bytes_max,
            session_bytes_max,
        } = self;
        write_fields!(writer; grants_max, waiters_max, attributes_max, attribute_bytes_max, session_bytes_max);
    }
}

impl Get for StoreLimits {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        read_fields!(reader; grants_max, waiters_max, attributes_max, attribute_bytes_max, session_bytes_max);
        Ok(Self {
            grants_max,
            waiters_max,
            attributes_max,
            attribute_bytes_max,
            session_bytes_max,
        })
    }
}

/// The most bytes of an encoded number or stamp.
const UINT: usize = 9;
const STAMP: usize = 1 + 2 * UINT;

impl Element for SessionId {
    const BYTES_MIN: usize = 2;
    fn bytes_max(&self) -> usize {
        2 + self.as_bytes().len()
    }
}

impl Element for GrantRef {
    const BYTES_MIN: usize = 1 + 2 + 3;
    fn bytes_max(&self) -> usize {
        1 + self.session.bytes_max() + STAMP
    }
}

impl Element for AcquireRequest {
    const BYTES_MIN: usize = 1 + (1 + 2) + 2 + 2;
    fn bytes_max(&self) -> usize {
        1 + 5 + self.session.bytes_max() + UINT + STAMP + 1 + STAMP
    }
}

impl Element for (GrantRef, Option<GrantRef>) {
    const BYTES_MIN: usize = 1 + GrantRef::BYTES_MIN + 1;
    fn bytes_max(&self) -> usize {
        1 + self.0.bytes_max() + self.1.as_ref().map_or(1, Element::bytes_max)
    }
}

impl Element for (GrantRef, RecallInfo) {
    const BYTES_MIN: usize = 1 + GrantRef::BYTES_MIN + 3;
    fn bytes_max(&self) -> usize {
        1 + self.0.bytes_max() + 2 + UINT
    }
}

/// The least number of bytes of a change: an attribute's name and its value, or `null` for its removal.
const CHANGE_BYTES_MIN: usize = 1 + 2 + 1;

impl Put for Delta {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
    fn put(&self, writer: &mut Writer<'_>) {
        writer.array(self.changes().len());
        for Change { name, value } in self.changes() {
            writer.array(2);
            name.put(writer);
            match value {
                Some(value) => writer.value(value),
                None => writer.null(),
            }
        }
    }
}

impl Get for Delta {
    fn absent() -> Option<Self> {
        Some(Self::default())
    }
    /// Changes may come in any order, because names are ordered by a hash that a peer need not know.
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        let max = reader.limits().changes_max;
        let count = reader.list("changes", max, CHANGE_BYTES_MIN)?;
        let mut delta = Self::default();
        for at in 0..count {
            reader.tuple("a change", 2)?;
            let start = reader.offset();
            let name = Get::get(reader)?;
            let value: Option<Bytes> = if reader.null()? {
                None
            } else {
                Some(reader.bytes()?)
            };
            // r[wire.lenient]
            delta.set(name, value);
            // r[wire.name-twice]
            if delta.changes().len() == at {
                return Err(Problem::AttributeDuplicate.at(start));
            }
        }
        Ok(delta)
    }
}

impl Put for State {
    fn put(&self, writer: &mut Writer<'_>) {
        let (choice, delta) = match self {
            Self::Unchanged => (0, None),
            Self::Delta(delta) => (1, Some(delta)),
            Self::Full(delta) => (2, Some(delta)),
        };
        writer.array(1 + usize::from(delta.is_some()));
        writer.uint(choice);
        if let Some(delta) = delta {
            delta.put(writer);
        }
    }
}

impl Get for State {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        choice(reader, "a state", |reader, number| {
            Ok(match number {
                0 => Some((1, Self::Unchanged)),
                1 => Some((2, Self::Delta(Get::get(reader)?))),
                2 => Some((2, Self::Full(Get::get(reader)?))),
                _ => None,
            })
        })
    }
}

impl Put for Refusal {
    fn put(&self, writer: &mut Writer<'_>) {
        let number = match self {
            Self::WouldBlock => 0,
            Self::Cancelled => 1,
            Self::Deadline => 2,
            Self::Deadlock { .. } => 3,
            Self::Limit(_) => 4,
            Self::Gone => 5,
            Self::AlreadyLocked => 6,
            Self::NotHeld => 7,
            Self::IdTaken => 8,
            Self::ShuttingDown => 9,
            Self::Absent => 10,
            Self::Unsupported => 11,
        };
        writer.array(if matches!(number, 3 | 4) { 2 } else { 1 });
        writer.uint(number);
        match self {
            Self::Deadlock { cycle } => cycle.put(writer),
            Self::Limit(limited) => limited.put(writer),
            _ => {}
        }
    }
}

impl Get for Refusal {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        choice(reader, "a refusal", |reader, number| {
            Ok(Some(match number {
                0 => (1, Self::WouldBlock),
                1 => (1, Self::Cancelled),
                2 => (1, Self::Deadline),
                3 => (
                    2,
                    Self::Deadlock {
                        cycle: Get::get(reader)?,
                    },
                ),
                4 => (2, Self::Limit(Get::get(reader)?)),
                5 => (1, Self::Gone),
                6 => (1, Self::AlreadyLocked),
                7 => (1, Self::NotHeld),
                8 => (1, Self::IdTaken),
                9 => (1, Self::ShuttingDown),
                10 => (1, Self::Absent),
                11 => (1, Self::Unsupported),
                _ => return Ok(None),
            }))
        })
    }
}

/// Reads an array that begins with the number of a choice. `read` reads the other elements and returns the expected
/// number of elements.
fn choice<T>(
    reader: &mut Reader<'_>,
    what: &'static str,
    read: impl FnOnce(&mut Reader<'_>, u64) -> Result<Option<(u64, T)>>,
) -> Result<T> {
    let start = reader.offset();
    let elements = reader.array()?;
    let at_number = reader.offset();
    if elements == 0 {
        return Err(Problem::Elements { what, found: 0 }.at(start));
    }
    let number = reader.uint()?;
    match read(reader, number)? {
        Some((expected, value)) if expected == elements => Ok(value),
        Some(_) => Err(Problem::Elements {
            what,
            found: elements,
        }
        .at(start)),
        // r[wire.unknown-choice]
        None => Err(Problem::Choice {
            what,
            found: number,
        }
        .at(at_number)),
    }
}

/// Implements choices without further data. The number of a choice is its position.
macro_rules! choices {
    ($($name:ident $what:literal: $($choice:ident = $number:literal),+;)+) => {$(
        impl Put for $name {
            fn put(&self, writer: &mut Writer<'_>) {
                writer.uint(match self {
                    $(Self::$choice => $number,)+
                });
            }
        }

        impl Get for $name {
            fn get(reader: &mut Reader<'_>) -> Result<Self> {
                let start = reader.offset();
                match reader.uint()? {
                    $($number => Ok(Self::$choice),)+
                    // r[wire.unknown-choice]
                    found => Err(Problem::Choice { what: $what, found }.at(start)),
                }
            }
        }
    )+};
}

choices! {
    WaitMode "a wait mode": Try = 0, Wait = 1;
    Reason "a reason": Expiry = 0, Try = 1, Wait = 2, Operator = 3;
    Revocation "a revocation": RecallDeadline = 0, Fenced = 1;
    Limited "a limit": Processes = 0, Grants = 1, Waiters = 2, Attributes = 3, AttributeBytes = 4, SessionBytes = 5,
        Threads = 6, Storage = 7;
}

impl Put for FaultCode {
    fn put(&self, writer: &mut Writer<'_>) {
        writer.uint(self.number());
    }
}

impl Get for FaultCode {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        reader.uint().map(Self::from)
    }
}
