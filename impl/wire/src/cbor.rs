//! The part of CBOR (RFC 8949) that bodies need.
//!
//! Written by hand, in 300 lines: a body's values must be slices of it, an error must say at which byte, what is skipped must
//! not nest too deep, and values must leave without a copy. The tests compare it with an independent implementation.
//!
//! What is written is deterministic: shortest heads, definite lengths, ascending keys. What is read may have longer heads and
//! any order of keys. Indefinite lengths are accepted in what is skipped, and nowhere else: a byte string in chunks is no slice.

use crate::error::{DecodeError, Problem};
use crate::header::HEADER_BYTES;
use crate::limits::{DEPTH_MAX, FrameLimits};
use crate::outgoing::SHARED_BYTES_MIN;
use bytes::{BufMut, Bytes, BytesMut};

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const BREAK: u8 = 0xff;
const INDEFINITE: u8 = 31;

/// Appends a body to what goes out.
pub(crate) struct Writer<'a> {
    tail: &'a mut BytesMut,
    cuts: &'a mut Vec<(usize, Bytes)>,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(tail: &'a mut BytesMut, cuts: &'a mut Vec<(usize, Bytes)>) -> Self {
        Self { tail, cuts }
    }

    fn head(&mut self, major: u8, value: u64) {
        let major = major << 5;
        // r[wire.writes-plainly]
        if value < 24 {
            self.tail.put_u8(major | value as u8);
        } else if let Ok(value) = u8::try_from(value) {
            self.tail.put_slice(&[major | 24, value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.tail.put_u8(major | 25);
            self.tail.put_u16(value);
        } else if let Ok(value) = u32::try_from(value) {
            self.tail.put_u8(major | 26);
            self.tail.put_u32(value);
        } else {
            self.tail.put_u8(major | 27);
            self.tail.put_u64(value);
        }
    }

    pub(crate) fn uint(&mut self, value: u64) {
        self.head(UINT, value);
    }

    pub(crate) fn array(&mut self, count: usize) {
        self.head(ARRAY, count as u64);
    }

    pub(crate) fn map(&mut self, count: u64) {
        self.head(MAP, count);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.tail.put_u8(if value { TRUE } else { FALSE });
    }

    pub(crate) fn null(&mut self) {
        self.tail.put_u8(NULL);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.tail.put_slice(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(BYTES, bytes.len() as u64);
        self.tail.put_slice(bytes);
    }

    /// A value that is shared when it is large.
    pub(crate) fn value(&mut self, value: &Bytes) {
        if value.len() < SHARED_BYTES_MIN {
            self.bytes(value);
        } else {
            self.head(BYTES, value.len() as u64);
            self.cuts.push((self.tail.len(), value.clone()));
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, DecodeError>;

/// Reads a body from the front.
pub(crate) struct Reader<'a> {
    body: &'a Bytes,
    at: usize,
    limits: &'a FrameLimits,
    /// How many more items the lists of this message may have.
    items_left: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(body: &'a Bytes, limits: &'a FrameLimits, items_left: usize) -> Self {
        Self {
            body,
            at: 0,
            limits,
            items_left,
        }
    }

    pub(crate) const fn limits(&self) -> &'a FrameLimits {
        self.limits
    }

    pub(crate) const fn items_left(&self) -> usize {
        self.items_left
    }

    /// Where the next byte is, in the frame.
    pub(crate) const fn offset(&self) -> usize {
        HEADER_BYTES + self.at
    }

    /// That something is wrong here.
    pub(crate) const fn wrong(&self, problem: Problem) -> DecodeError {
        problem.at(self.offset())
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<()> {
        if self.at == self.body.len() {
            Ok(())
        } else {
            Err(self.wrong(Problem::Trailing))
        }
    }

    fn peek(&self) -> Result<u8> {
        self.body
            .get(self.at)
            .copied()
            .ok_or_else(|| Problem::Truncated.at(HEADER_BYTES + self.body.len()))
    }

    /// The next `count` bytes, when there are so many.
    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let rest = &self.body[self.at..];
        match usize::try_from(count) {
            Ok(count) if count <= rest.len() => {
                self.at += count;
                Ok(&rest[..count])
            }
            _ => Err(Problem::Truncated.at(HEADER_BYTES + self.body.len())),
        }
    }

    /// A head: its first byte, and its number; `None` for an indefinite length or a break.
    fn head(&mut self) -> Result<(u8, Option<u64>)> {
        let first = self.peek()?;
        let info = first & 31;
        let width = match info {
            0..=23 => 0,
            // r[wire.lenient]
            24..=27 => 1 << (info - 24),
            INDEFINITE if !matches!(first >> 5, UINT | 1 | TAG) => {
                self.at += 1;
                return Ok((first, None));
            }
            // r[wire.ill-formed]
            _ => return Err(self.wrong(Problem::IllFormed(first))),
        };
        self.at += 1;
        let number = self.take(width)?;
        let number = number
            .iter()
            .fold(0, |number, &byte| number << 8 | u64::from(byte));
        Ok((
            first,
            Some(if width == 0 { u64::from(info) } else { number }),
        ))
    }

    /// The number of a head of this major type.
    fn expect(&mut self, major: u8, expected: &'static str) -> Result<u64> {
        let start = self.offset();
        let found = self.peek()?;
        // r[wire.wrong-type]
        if found >> 5 != major {
            return Err(Problem::Type { expected, found }.at(start));
        }
        let (_, number) = self.head()?;
        // r[wire.ill-formed]
        number.ok_or_else(|| Problem::Indefinite.at(start))
    }

    pub(crate) fn uint(&mut self) -> Result<u64> {
        self.expect(UINT, "a number")
    }

    /// A number of at most `max`.
    pub(crate) fn uint_max(&mut self, max: u64) -> Result<u64> {
        let start = self.offset();
        match self.uint()? {
            // r[wire.wrong-type]
            found if found <= max => Ok(found),
            found => Err(Problem::Number { found, max }.at(start)),
        }
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        let found = self.peek()?;
        let value = match found {
            FALSE => false,
            TRUE => true,
            found => {
                return Err(self.wrong(Problem::Type {
                    expected: "true or false",
                    found,
                }));
            }
        };
        self.at += 1;
        Ok(value)
    }

    /// Whether there is a null, which is then read.
    pub(crate) fn null(&mut self) -> Result<bool> {
        let null = self.peek()? == NULL;
        self.at += usize::from(null);
        Ok(null)
    }

    /// A byte string, as a slice of the body.
    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let length = self.expect(BYTES, "a byte string")?;
        self.take(length).map(|bytes| self.body.slice_ref(bytes))
    }

    /// Text of at most `max` bytes.
    pub(crate) fn text(&mut self, max: usize) -> Result<&'a str> {
        let start = self.offset();
        let found = self.expect(TEXT, "text")?;
        if found > max as u64 {
            let max = max as u64;
            return Err(Problem::Number { found, max }.at(start));
        }
        let bytes = self.take(found)?;
        std::str::from_utf8(bytes).map_err(|_| Problem::NotUtf8.at(start))
    }

    /// An array of exactly `count` elements.
    pub(crate) fn tuple(&mut self, what: &'static str, count: u64) -> Result<()> {
        let start = self.offset();
        match self.expect(ARRAY, what)? {
            // r[wire.wrong-type]
            found if found == count => Ok(()),
            found => Err(Problem::Elements { what, found }.at(start)),
        }
    }

    /// An array, whose elements are at least one byte each.
    pub(crate) fn array(&mut self) -> Result<u64> {
        self.expect(ARRAY, "an array")
    }

    /// The length of an array whose elements are at least `bytes_min` bytes each; it is safe to make room for so many.
    pub(crate) fn list(
        &mut self,
        what: &'static str,
        max: usize,
        bytes_min: usize,
    ) -> Result<usize> {
        let start = self.offset();
        let count = self.array()?;
        let room = (self.body.len() - self.at) / bytes_min;
        match usize::try_from(count) {
            // r[wire.too-many]
            Ok(count) if count > max => Err(Problem::TooMany { what, max }.at(start)),
            Ok(count) if count <= room => Ok(count),
            _ => Err(Problem::Truncated.at(start)),
        }
    }

    /// The length of a list that counts against the items of the message.
    pub(crate) fn items(&mut self, bytes_min: usize) -> Result<usize> {
        let start = self.offset();
        let count = self
            .list("items", self.items_left, bytes_min)
            .map_err(|error| match error.problem {
                Problem::TooMany { what, .. } => Problem::TooMany {
                    what,
                    max: self.limits.items_max,
                }
                .at(start),
                _ => error,
            })?;
        // r[wire.too-many]
        self.items_left -= count;
        Ok(count)
    }

    /// A map. `field` reads the value of a key, or says that it does not know the key; then the value is skipped.
    pub(crate) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, u64) -> Result<bool>,
    ) -> Result<()> {
        // r[wire.ill-formed]
        let count = self.expect(MAP, "a map")?;
        let mut seen = 0_u64;
        for _ in 0..count {
            let start = self.offset();
            let key = self.uint()?;
            // r[wire.key-range]
            if key > 63 {
                return Err(Problem::Key(key).at(start));
            }
            // r[wire.duplicate-key]
            if seen & 1 << key != 0 {
                return Err(Problem::KeyDuplicate(key).at(start));
            }
            seen |= 1 << key;
            // r[wire.unknown-key]
            if !field(self, key)? {
                self.skip(DEPTH_MAX)?;
            }
        }
        Ok(())
    }

    /// Skips one well-formed value.
    fn skip(&mut self, depth: usize) -> Result<()> {
        let start = self.offset();
        let (first, number) = self.head()?;
        let major = first >> 5;
        // r[wire.nested-too-deep]
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Problem::TooDeep.at(start));
        };
        match (major, number) {
            (BYTES | TEXT, Some(length)) => self.take(length).map(drop),
            (BYTES | TEXT, None) => self.skip_chunks(major),
            (ARRAY, Some(count)) => (0..count).try_for_each(|_| self.skip(depth)),
            (MAP, Some(count)) => (0..count).try_for_each(|_| {
                self.skip(depth)?;
                self.skip(depth)
            }),
            (ARRAY | MAP, None) => {
                while !self.broke()? {
                    self.skip(depth)?;
                    if major == MAP {
                        self.skip(depth)?;
                    }
                }
                Ok(())
            }
            (TAG, _) => self.skip(depth),
            // A break outside, and a simple value in two bytes that has one.
            (SIMPLE, None) => Err(Problem::IllFormed(first).at(start)),
            (SIMPLE, Some(0..32)) if first & 31 == 24 => Err(Problem::IllFormed(first).at(start)),
            _ => Ok(()),
        }
    }

    /// The chunks of a string of indefinite length: each is of its type and of definite length.
    fn skip_chunks(&mut self, major: u8) -> Result<()> {
        while !self.broke()? {
            let length = self.expect(major, "a chunk of a string")?;
            self.take(length)?;
        }
        Ok(())
    }

    fn broke(&mut self) -> Result<bool> {
        let broke = self.peek()? == BREAK;
        self.at += usize::from(broke);
        Ok(broke)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reader that the golden vectors are checked with does not know these.
    #[test]
    fn simple_values_are_skipped_when_they_are_well_formed() {
        let limits = FrameLimits::default();
        let skip = |body: &'static [u8]| {
            let body = Bytes::from_static(body);
            let mut reader = Reader::new(&body, &limits, 0);
            reader.skip(DEPTH_MAX).and_then(|()| reader.end())
        };
        for well_formed in [&[0xe0_u8][..], &[0xf3], &[0xf8, 32], &[0xf8, 255]] {
            assert_eq!(skip(well_formed), Ok(()), "{well_formed:?}");
        }
        for ill_formed in [
            &[0xf8_u8, 0][..],
            &[0xf8, 31],
            &[0xfc],
            &[0xfd],
            &[0xfe],
            &[0xff],
        ] {
            assert!(skip(ill_formed).is_err(), "{ill_formed:?}");
        }
    }
}
