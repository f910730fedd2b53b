//! A number of a state and what it counts, in one word.

/// A number and its kind in one word: kind, owner, higher part, lower part. Within one kind, the order of the words is
/// the order of the numbers. Canonical numbers are small, and one step draws few, so the parts have enough room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(u64);

pub(super) const STAMP: u64 = 0;
pub(super) const INCARNATION: u64 = 1 << 60;
pub(super) const LINK: u64 = 2 << 60;
pub(super) const REQUEST: u64 = 3 << 60;
const KIND: u64 = 0xf << 60;
/// The mask of the kind and the owner.
const ROW: u64 = 0xff << 56;

/// The kind of a number. Numbers are ranked within their run: the stamps of an epoch, the incarnations of a process,
/// the connections of an incarnation, the requests of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Stamp,
    Incarnation,
    Link,
    Request,
}

impl Number {
    pub(super) fn new(row: u64, high: u64, low: u64) -> Self {
        assert!(
            high < 1 << 24 && low < 1 << 32,
            "numbers fit, because each step starts from small canonical numbers"
        );
        Self(row | high << 32 | low)
    }

    pub(super) fn kind(self) -> Run {
        match self.0 & KIND {
            STAMP => Run::Stamp,
            INCARNATION => Run::Incarnation,
            LINK => Run::Link,
            _ => Run::Request,
        }
    }

    /// Returns the index of the process that owns the number.
    pub(super) fn owner(self) -> usize {
        (self.0 >> 56 & 0xf) as usize
    }

    pub(super) fn row(self) -> u64 {
        self.0 & ROW
    }

    pub(super) fn high(self) -> u64 {
        self.0 >> 32 & 0xff_ffff
    }

    /// Returns the kind, the owner and the higher part.
    pub(super) fn run(self) -> u64 {
        self.0 >> 32
    }

    pub(super) fn low(self) -> u64 {
        self.0 & 0xffff_ffff
    }
}
