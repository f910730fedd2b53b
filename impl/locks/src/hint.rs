//! Where something probably is in memory, to have it fetched before it is known to be wanted.
//!
//! A session that was not used for a while is in no cache. Its entry, the cell of its attribute and the bytes of that lie in
//! different places, each of which says where the next one is: a look-up by id would wait for memory three times, one wait
//! after the other. So the map remembers beside each entry where the rest was, and a look-up asks for all of it at once. Nothing
//! but speed follows from that: what is remembered may be out of date, and is not read.
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
pub(crate) struct LineOffset(pub(crate) i32);

impl LineOffset {
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

#[cfg(test)]
mod tests {
    use super::{Hint, LineOffset};

    #[test]
    fn it_leads_to_the_line() {
        for (from, to) in [
            (4_096, 64),
            (64, 8_192),
            (70, 1 << 30),
            (100, 100),
            (127, 128),
        ] {
            let led = LineOffset::new(Hint(from), Hint(to)).from(Hint(from));
            assert_eq!(led.0, to & !63, "{from} {to}");
        }
        let far = LineOffset::new(Hint(64), Hint(1 << 60));
        assert_eq!(far, LineOffset::default());
    }
}
