//! The fields of messages: their keys, and how their values are written and read.
//!
//! A key has the same meaning in every kind of message, and in the records within lists. Fixed pairs and triples are
//! arrays and never grow. Later versions add data only as new keys.

use crate::cbor::{Reader, Result, Writer};
use crate::error::Problem;
use crate::limits::FAULT_TEXT_BYTES_MAX;
use tenure_protocol::id::NameLength;
use tenure_protocol::{
    AttributeName, Incarnation, ProcessId, Request, SessionId, Stamp, Ticket, Time, Token, Version,
};

/// The keys, with the names of the fields.
#[allow(non_upper_case_globals)] // one name serves for the field and its key
pub(crate) mod key {
    pub(crate) const session: u64 = 0;
    pub(crate) const token: u64 = 1;
    pub(crate) const request: u64 = 2;
    pub(crate) const version: u64 = 3;
    pub(crate) const base: u64 = 4;
    pub(crate) const delta: u64 = 5;
    pub(crate) const state: u64 = 6;
    pub(crate) const known: u64 = 7;
    pub(crate) const wait_mode: u64 = 8;
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
    // Since 1.1.
    pub(crate) const store_limits: u64 = 32;
    pub(crate) const limit: u64 = 33;
    pub(crate) const grants_max: u64 = 34;
    pub(crate) const waiters_max: u64 = 35;
    pub(crate) const attributes_max: u64 = 36;
    pub(crate) const attribute_bytes_max: u64 = 37;
    pub(crate) const session_bytes_max: u64 = 38;
    pub(crate) const existing: u64 = 39;
}

/// Writes a map of the given fields, without those that are absent. The caller lists the fields in ascending order of
/// keys.
macro_rules! write_fields {
    ($writer:expr; $($name:ident),*) => {{
        let count = 0 $(+ u64::from(!$name.is_absent()))*;
        $writer.map(count);
        // r[wire.writes-plainly]
        $(if !$name.is_absent() {
            $writer.uint($crate::field::key::$name);
            $name.put($writer);
        })*
    }};
}

/// Reads a map of the given fields, each into a variable of the same name.
macro_rules! read_fields {
    ($reader:expr; $($name:ident),*) => {
        $(let mut $name = None;)*
        let start = $reader.offset();
        $reader.fields(|_reader, key| {
            match key {
                $($crate::field::key::$name => $name = Some($crate::field::Get::get(_reader)?),)*
                _ => return Ok(false),
            }
            #[allow(unreachable_code)] // unreachable for a body without fields
            Ok(true)
        })?;
        // r[wire.missing-key]
        $(let Some($name) = $name.or_else($crate::field::Get::absent) else {
            return Err($crate::error::Problem::KeyMissing(stringify!($name)).at(start));
        };)*
        let _ = start;
    };
}

pub(crate) use {read_fields, write_fields};

/// A value that can be written after a key or as an element.
pub(crate) trait Put {
    /// Returns whether the value's key is left out.
    fn is_absent(&self) -> bool {
        false
    }
    fn put(&self, writer: &mut Writer<'_>);
}

/// A value that can be read.
pub(crate) trait Get: Sized {
    /// Returns the value of a missing key, or `None` if the key is required.
    fn absent() -> Option<Self> {
        None
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self>;
}

/// An element of a list.
pub(crate) trait Element: Put + Get {
    /// The least number of bytes of an encoded element.
    const BYTES_MIN: usize;
    /// Returns an upper bound on the encoded size of this element.
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
                // r[wire.name-length]
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
                #[allow(clippy::cast_possible_truncation)] // uint_max bounds the number by the type's maximum
                reader.uint_max(u64::from(Self::MAX)).map(|number| number as Self)
            }
        }
    )*};
}

integers!(u64 u32 u8);

impl Put for str {
    fn put(&self, writer: &mut Writer<'_>) {
        writer.text(self);
    }
}

/// The only text field is that of a fault.
impl Get for String {
    fn get(reader: &mut Reader<'_>) -> Result<Self> {
        reader.text(FAULT_TEXT_BYTES_MAX).map(Self::from)
    }
}

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
        // r[wire.lenient]
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
