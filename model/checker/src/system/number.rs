//! A number of a state and what it counts, in one word.

/// A number and its kind in one word: kind, whose it is, the higher part, the lower part. Of one kind, the order is that
/// of the numbers. Canonical numbers are small, and one step draws a few, so the parts have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(u64);

pub(super) const STAMP: u64 = 0;
pub(super) const INCARNATION: u64 = 1 << 60;
pub(super) const LINK: u64 = 2 << 60;
pub(super) const REQUEST: u64 = 3 << 60;
const KIND: u64 = 0xf << 60;
/// Kind and owner.
const ROW: u64 = 0xff << 56;

/// What a number counts. Numbers are ranked within their run: stamps of an epoch, incarnations of a process, connections of an
/// incarnation, requests of a process.
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
            "canonical numbers are small"
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

    /// The index of the process whose number it is.
    pub(super) fn owner(self) -> usize {
        (self.0 >> 56 & 0xf) as usize
    }

    pub(super) fn row(self) -> u64 {
        self.0 & ROW
    }

    pub(super) fn high(self) -> u64 {
        self.0 >> 32 & 0xff_ffff
    }

    /// Kind, owner and higher part.
    pub(super) fn run(self) -> u64 {
        self.0 >> 32
    }

    pub(super) fn low(self) -> u64 {
        self.0 & 0xffff_ffff
    }
}
