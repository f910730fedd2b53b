//! Fields: which key each has, and how its value is written and read.
//!
//! A key means the same in every kind, and in the records within lists. Fixed pairs and triples are arrays and never grow;
//! what a later version adds, it adds as a key.

use crate::cbor::{Reader, Result, Writer};
use crate::error::Problem;
use crate::item::FaultCode;
use bytes::Bytes;
use tenure_protocol::attributes::{Change, State};
use tenure_protocol::id::NameLength;
use tenure_protocol::message::{
    Hold, Limited, Notice, Patience, Reason, Refusal, Revocation, Wish,
};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, ProcessId, Request, SessionId, Stamp, Ticket, Time, Token,
    Version,
};

/// Keys, named as the fields are.
#[allow(non_upper_case_globals)] // so that one name serves for the field and its key
pub(crate) mod key {
    pub(crate) const session: u64 = 0;
    pub(crate) const token: u64 = 1;
    pub(crate) const request: u64 = 2;
    pub(crate) const version: u64 = 3;
    pub(crate) const base: u64 = 4;
    pub(crate) const delta: u64 = 5;
    pub(crate) const state: u64 = 6;
    pub(crate) const known: u64 = 7;
    pub(crate) const patience: u64 = 8;
    pub(crate) const ticket: u64 = 9;
    pub(crate) const recall: u64 = 10;
    pub(crate) const give_back: u64 = 11;
    pub(crate) const requeue: u64 = 12;
    pub(crate) const idle_ms: u64 = 13;
    pub(crate) const sent: u64 = 14;
    pub(crate) const lease_ms: u64 = 15;
    pub(crate) const inside: u64 = 16;
    pub(crate) const blocked_on: u64 = 17;
    pub(crate) const to: u64 = 18;
    pub(crate) const refusal: u64 = 19;
    pub(crate) const revocation: u64 = 20;
    pub(crate) const renamed: u64 = 21;
    pub(crate) const process: u64 = 22;
    pub(crate) const incarnation: u64 = 23;
    pub(crate) const number: u64 = 24;
    pub(crate) const minor_max: u64 = 25;
    pub(crate) const holds: u64 = 26;
    pub(crate) const waits: u64 = 27;
    pub(crate) const gone: u64 = 28;
    pub(crate) const recalls: u64 = 29;
    pub(crate) const code: u64 = 30;
    pub(crate) const text: u64 = 31;
}

/// Writes a map of those of these fields that are not absent. In ascending order of keys, please.
macro_rules! write_fields {
    ($writer:expr; $($name:ident),*) => {{
        let count = 0 $(+ u64::from(!$name.is_absent()))*;
        $writer.map(count);
        $(if !$name.is_absent() {
            $writer.uint($crate::field::key::$name);
            $name.put($writer);
        })*
    }};
}

/// Reads a map of these fields, each into a variable of its name.
macro_rules! read_fields {
    ($reader:expr; $($name:ident),*) => {
        $(let mut $name = None;)*
        let start = $reader.offset();
        $reader.fields(|_reader, key| {
            match key {
                $($crate::field::key::$name => $name = Some($crate::field::Get::get(_reader)?),)*
                _ => return Ok(false),
            }
            #[allow(unreachable_code)] // of a body without fields
            Ok(true)
        })?;
        $(let Some($name) = $name.or_else($crate::field::Get::absent) else {
            return Err($crate::error::Problem::KeyMissing(stringify!($name)).at(start));
        };)*
        let _ = start;
    };
}

pub(crate) use {read_fields, write_fields};

/// What can be written as the value of a key or an element.
pub(crate) trait Put {
    /// Whether its key is left out.
    fn is_absent(&self) -> bool {
        false
    }
    fn put(&self, writer: &mut Writer<'_>);
}

/// What can be read.
pub(crate) trait Get: Sized {
    /// What it is when its key is left out; `None` when it must not be.
    fn absent() -> Option<Self> {
        None
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self>;
}

/// An element of a list.
pub(crate) trait Element: Put + Get {
    /// The fewest bytes that one takes.
    const BYTES_MIN: usize;
    /// The most bytes that this one takes.
    fn bytes_max(&self) -> usize;
}

macro_rules! names {
    ($($name:ident)*) => {$(
        impl Put for $name {
            fn put(&self, writer: &mut Writer<'_>) {
                writer.bytes(self.as_bytes());
            }
        }

        impl Get for $name {
            fn get(reader: &mut Reader<'_>) -> Result<Self> {
                let start = reader.offset();
                Self::new(reader.bytes()?)
                    .map_err(|NameLength { length }| Problem::NameLength(length).at(start))
            }
        }
    )*};
}

names!(SessionId ProcessId AttributeName);

macro_rules! numbers {
    ($($name:ident)*) => {$(
        impl Put for $name {
            fn put(&self, writer: &mut Writer<'_>) {
                self.0.put(writer);
            }
        }

        impl Get for $name {
            fn get(reader: &mut Reader<'_>) -> Result<Self> {
                Get::get(reader).map(Self)
            }
        }
    )*};
}

numbers!(Token Version Ticket Incarnation Request Time);

macro_rules! integers {
    ($($name:ident)*) => {$(
        impl Put for $name {
            fn put(&self, writer: &mut Writer<'_>) {
                writer.uint(u64::from(*self));
            }
        }

        impl Get for $name {
            fn get(reader: &mut Reader<'_>) -> Result<Self> {
                #[allow(clippy::cast_possible_truncation)] // it is at most the maximum
                reader.uint_max(u64::from(Self::MAX)).map(|number| number as Self)
            }
        }
    )*};
}

integers!(u64 u32 u8);

impl Put for bool {
    fn is_absent(&self) -> bool {
        !self
    }
    fn put(&self, writer: &mut Writer<'_>) {
        writer.bool(*self);
    }
}

impl Get for bool {
    fn absent() -> Option<Self> {
        Some(false)
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        reader.bool()
    }
}

impl<T: Put> Put for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
    fn put(&self, writer: &mut Writer<'_>) {
        match self {
            Some(value) => value.put(writer),
            None => writer.null(),
        }
    }
}

impl<T: Get> Get for Option<T> {
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        if reader.null()? {
            Ok(None)
        } else {
            T::get(reader).map(Some)
        }
    }
}

impl<T: Element> Put for [T] {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
    fn put(&self, writer: &mut Writer<'_>) {
        writer.array(self.len());
        for element in self {
            element.put(writer);
        }
    }
}

impl<T: Element> Get for Vec<T> {
    fn absent() -> Option<Self> {
        Some(Self::new())
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        let count = reader.items(T::BYTES_MIN)?;
        let mut list = Self::with_capacity(count);
        for _ in 0..count {
            list.push(T::get(reader)?);
        }
        Ok(list)
    }
}

impl Put for Stamp {
    fn put(&self, writer: &mut Writer<'_>) {
        writer.array(2);
        writer.uint(self.epoch);
        writer.uint(self.sequence);
    }
}

impl Get for Stamp {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        reader.tuple("a stamp", 2)?;
        Ok(Self {
            epoch: reader.uint()?,
            sequence: reader.uint()?,
        })
    }
}

impl Put for Hold {
    fn put(&self, writer: &mut Writer<'_>) {
        writer.array(2);
        self.session.put(writer);
        self.token.put(writer);
    }
}

impl Get for Hold {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        reader.tuple("a grant", 2)?;
        Ok(Self {
            session: Get::get(reader)?,
            token: Get::get(reader)?,
        })
    }
}

impl Put for Notice {
    fn put(&self, writer: &mut Writer<'_>) {
        writer.array(2);
        self.reason.put(writer);
        writer.uint(self.deadline_ms);
    }
}

impl Get for Notice {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        reader.tuple("a recall", 2)?;
        Ok(Self {
            reason: Get::get(reader)?,
            deadline_ms: reader.uint()?,
        })
    }
}

impl<A: Put, B: Put> Put for (A, B) {
    fn put(&self, writer: &mut Writer<'_>) {
        writer.array(2);
        self.0.put(writer);
        self.1.put(writer);
    }
}

impl<A: Get, B: Get> Get for (A, B) {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        reader.tuple("a pair", 2)?;
        Ok((A::get(reader)?, B::get(reader)?))
    }
}

impl Put for Wish {
    fn put(&self, writer: &mut Writer<'_>) {
        let Self {
            session,
            request,
            known,
            patience,
            ticket,
        } = self;
        write_fields!(writer; session, request, known, patience, ticket);
    }
}

impl Get for Wish {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        read_fields!(reader; session, request, known, patience, ticket);
        Ok(Self {
            session,
            request,
            known,
            patience,
            ticket,
        })
    }
}

/// The most bytes of a number, and of a stamp.
const UINT: usize = 9;
const STAMP: usize = 1 + 2 * UINT;

impl Element for SessionId {
    const BYTES_MIN: usize = 2;
    fn bytes_max(&self) -> usize {
        2 + self.as_bytes().len()
    }
}

impl Element for Hold {
    const BYTES_MIN: usize = 1 + 2 + 3;
    fn bytes_max(&self) -> usize {
        1 + self.session.bytes_max() + STAMP
    }
}

impl Element for Wish {
    const BYTES_MIN: usize = 1 + (1 + 2) + 2 + 2;
    fn bytes_max(&self) -> usize {
        1 + 5 + self.session.bytes_max() + UINT + STAMP + 1 + STAMP
    }
}

impl Element for (Hold, Option<Hold>) {
    const BYTES_MIN: usize = 1 + Hold::BYTES_MIN + 1;
    fn bytes_max(&self) -> usize {
        1 + self.0.bytes_max() + self.1.as_ref().map_or(1, Element::bytes_max)
    }
}

impl Element for (Hold, Notice) {
    const BYTES_MIN: usize = 1 + Hold::BYTES_MIN + 3;
    fn bytes_max(&self) -> usize {
        1 + self.0.bytes_max() + 2 + UINT
    }
}

/// An attribute's name and its value, `null` for its removal: at least so many bytes.
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
    /// In any order: the order of names is by a hash that a peer need not know.
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
            delta.set(name, value);
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
                _ => return Ok(None),
            }))
        })
    }
}

/// An array that begins with a choice's number. `read` reads what else it holds, and says how many elements that makes.
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
        None => Err(Problem::Choice {
            what,
            found: number,
        }
        .at(at_number)),
    }
}

/// Choices without anything else: each one's number is its place.
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
                    found => Err(Problem::Choice { what: $what, found }.at(start)),
                }
            }
        }
    )+};
}

choices! {
    Patience "a patience": Try = 0, Wait = 1;
    Reason "a reason": Expiry = 0, Try = 1, Wait = 2, Operator = 3;
    Revocation "a revocation": RecallDeadline = 0, Fenced = 1;
    Limited "a limit": Processes = 0, Grants = 1, Waiters = 2, Attributes = 3, AttributeBytes = 4, SessionBytes = 5,
        Threads = 6;
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
