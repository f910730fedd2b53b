//! Where something probably is in memory, to have it fetched before it is known to be wanted.
//!
//! A session that was not used for a while is in no cache. Its entry, the cell of its attribute and the bytes of that lie in
//! different places, each of which says where the next one is: a look-up by id would wait for memory three times, one wait
//! after the other. So the map remembers beside each entry where the rest was ([`Trail`]), and a look-up asks for all of it at
//! once. Nothing but speed follows from that: what is remembered may be out of date, and is not read.
//!
//! `unsafe` is for the instruction itself, which `std` has as an unsafe function although it accepts any address.
#![allow(unsafe_code)]

/// An address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint(usize);

/// The lines are counted by the upper bits of an address.
const LINE: u32 = 6;

impl Hint {
    #[inline(always)]
    pub(crate) fn of<T>(place: *const T) -> Self {
        Self(place.addr())
    }

    /// The place so many bytes from this one.
    #[inline(always)]
    pub(crate) fn at(self, bytes: isize) -> Self {
        Self(self.0.wrapping_add_signed(bytes))
    }

    /// Has the cache line there fetched, and goes on meanwhile.
    #[inline(always)]
    pub(crate) fn prefetch(self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let place = std::ptr::without_provenance::<i8>(self.0);
            // SAFETY: it is a hint: no memory is read, whatever the pointer is.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(place) };
        }
    }
}

/// How many cache lines one thing is from another; 0 when it is too far away, or not known. Half as large as an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Near(i32);

impl Near {
    #[inline(always)]
    pub(crate) fn new(from: Hint, to: Hint) -> Self {
        let lines = (to.0 >> LINE).wrapping_sub(from.0 >> LINE).cast_signed();
        Self(i32::try_from(lines).unwrap_or_default())
    }

    /// The beginning of the line.
    #[inline(always)]
    pub(crate) fn from(self, from: Hint) -> Hint {
        Hint((from.0 >> LINE).wrapping_add_signed(self.0 as isize) << LINE)
    }
}

/// From a cell to the bytes of its two values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair(pub(crate) Near, pub(crate) Near);

impl Pair {
    /// As one number, which an atomic can hold.
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.0.0.cast_unsigned()) << 32 | u64::from(self.1.0.cast_unsigned())
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // Each half is one.
    pub(crate) fn unpack(both: u64) -> Self {
        let near = |half: u64| Near((half as u32).cast_signed());
        Self(near(both >> 32), near(both))
    }
}

/// From an entry to its first cell, and from there to the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trail {
    pub(crate) cell: Near,
    pub(crate) bytes: Pair,
}

impl Trail {
    /// Has all of it fetched, two lines of each.
    #[inline(always)]
    pub(crate) fn prefetch(self, entry: Hint) {
        let cell = self.cell.from(entry);
        let Pair(one, other) = self.bytes;
        for place in [cell, one.from(cell), other.from(cell)] {
            place.prefetch();
            place.at(64).prefetch();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hint, Near, Pair};

    #[test]
    fn a_pair_is_what_it_was_before_it_was_packed() {
        let near = |line: usize| Near::new(Hint(1 << 20), Hint(line << 6));
        for (one, other) in [(0, 1 << 14), (1 << 20, 3), (7, 0)] {
            let pair = Pair(near(one), near(other));
            assert_eq!(Pair::unpack(pair.pack()), pair);
        }
    }

    #[test]
    fn it_leads_to_the_line() {
        for (from, to) in [
            (4_096, 64),
            (64, 8_192),
            (70, 1 << 30),
            (100, 100),
            (127, 128),
        ] {
            let led = Near::new(Hint(from), Hint(to)).from(Hint(from));
            assert_eq!(led.0, to & !63, "{from} {to}");
        }
        let far = Near::new(Hint(64), Hint(1 << 60));
        assert_eq!(far, Near::default());
    }
}
