//! The part of CBOR (RFC 8949) that message bodies use.
//!
//! This codec is hand-written, in 300 lines, for four reasons. Values must be slices of the body. Errors must name the
//! byte. Skipped values must not nest too deeply. Values must be written without a copy. The tests compare the codec
//! with an independent implementation.
//!
//! The output is deterministic: shortest heads, definite lengths, ascending keys. The input may have longer heads and
//! any order of keys. Indefinite lengths are accepted only in skipped values, because a byte string in chunks cannot be
//! a slice.

use crate::error::{DecodeError, Problem};
use crate::header::HEADER_BYTES;
use crate::limits::{DEPTH_MAX, FrameLimits, SHARED_BYTES_MIN};
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

/// A writer that appends a body to the outgoing bytes.
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

    /// Writes a value, which is shared instead of copied if it is large.
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

/// A reader that decodes a body from the front.
pub(crate) struct Reader<'a> {
    body: &'a Bytes,
    at: usize,
    limits: &'a FrameLimits,
    /// The number of items that the lists of this message may still have.
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

    /// Returns the position of the next byte in the frame.
    pub(crate) const fn offset(&self) -> usize {
        HEADER_BYTES + self.at
    }

    /// Returns an error with the current position.
    pub(crate) const fn wrong(&self, problem: Problem) -> DecodeError {
        problem.at(self.offset())
    }

    /// Checks that the body has no further bytes.
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

    /// Removes and returns the next `count` bytes, if the body has that many.
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

    /// Reads the head of a value: its first byte and its number, or `None` for an indefinite length or a break.
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

    /// Reads a head of this major type and returns its number.
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

    /// Reads a number of at most `max`.
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

    /// Returns whether the next value is null. If so, it is consumed.
    pub(crate) fn null(&mut self) -> Result<bool> {
        let null = self.peek()? == NULL;
        self.at += usize::from(null);
        Ok(null)
    }

    /// Reads a byte string as a slice of the body.
    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let length = self.expect(BYTES, "a byte string")?;
        self.take(length).map(|bytes| self.body.slice_ref(bytes))
    }

    /// Reads a text of at most `max` bytes.
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

    /// Reads the head of an array of exactly `count` elements.
    pub(crate) fn tuple(&mut self, what: &'static str, count: u64) -> Result<()> {
        let start = self.offset();
        match self.expect(ARRAY, what)? {
            // r[wire.wrong-type]
            found if found == count => Ok(()),
            found => Err(Problem::Elements { what, found }.at(start)),
        }
    }

    /// Reads the head of an array whose elements take at least one byte each.
    pub(crate) fn array(&mut self) -> Result<u64> {
        self.expect(ARRAY, "an array")
    }

    /// Reads the head of an array whose elements take at least `bytes_min` bytes each. The returned length is safe for
    /// an allocation.
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

    /// Reads the length of a list whose elements count against the message's item limit.
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

    /// Reads a map. `field` reads the value of a key, or returns that the key is unknown, in which case the value is
    /// skipped.
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
            // A break outside an indefinite-length value, or a two-byte simple value below 32.
            (SIMPLE, None) => Err(Problem::IllFormed(first).at(start)),
            (SIMPLE, Some(0..32)) if first & 31 == 24 => Err(Problem::IllFormed(first).at(start)),
            _ => Ok(()),
        }
    }

    /// Skips the chunks of a string of indefinite length. Each chunk has the string's type and a definite length.
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

    /// The independent CBOR reader of the golden vectors does not support these values.
    #[test]
    fn well_formed_simple_values_are_skipped_and_ill_formed_ones_refused() {
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
