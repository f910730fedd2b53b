//! Prefetching: addresses of memory that will probably be read soon.
//!
//! A session that was not used for a while is in no cache. Its entry, the cell of its attribute and the value's bytes
//! are at three addresses, each of which is stored at the one before. A look-up by id would wait for memory three
//! times, one wait after the other. So the map remembers all three addresses, and a look-up prefetches them together. A
//! remembered address may be out of date: it affects only speed, and is never dereferenced.
//!
//! `unsafe` is for the prefetch instruction, which `std` offers as an unsafe function although it accepts any address.
#![allow(unsafe_code)]

/// An address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint(usize);

/// The number of address bits within a cache line.
const LINE: u32 = 6;

impl Hint {
    #[inline(always)]
    pub(crate) fn of<T>(place: *const T) -> Self {
        Self(place.addr())
    }

    /// Returns the address at this distance in bytes.
    #[inline(always)]
    pub(crate) fn at(self, bytes: isize) -> Self {
        Self(self.0.wrapping_add_signed(bytes))
    }

    /// Starts to fetch the cache line at this address, without waiting for it.
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

/// A distance in cache lines, in half the size of an address. 0 means that the distance is too large or unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineOffset(pub(crate) i32);

impl LineOffset {
    #[inline(always)]
    pub(crate) fn new(from: Hint, to: Hint) -> Self {
        let lines = (to.0 >> LINE).wrapping_sub(from.0 >> LINE).cast_signed();
        Self(i32::try_from(lines).unwrap_or_default())
    }

    /// Returns the address of the cache line at this distance.
    #[inline(always)]
    pub(crate) fn from(self, from: Hint) -> Hint {
        Hint((from.0 >> LINE).wrapping_add_signed(self.0 as isize) << LINE)
    }
}

#[cfg(test)]
mod tests {
    use super::{Hint, LineOffset};

    #[test]
    fn a_line_offset_leads_to_the_cache_line_of_the_target() {
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
