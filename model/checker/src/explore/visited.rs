//! The set of visited states: 64-bit fingerprints with the numbers of the states, in slots of 12 bytes.
//!
//! The set uses open addressing with linear probing. The home slot is the high half of `fingerprint * slots`, so the
//! slots stay almost sorted by fingerprint. A growing table is therefore copied in order, and it grows by half instead
//! of doubling.
//!
//! The words are atomics because workers look up while the merge, the only writer, inserts. If a look-up misses a state
//! that is just being inserted, no harm is done: the merge looks again. Growing needs exclusive access to the table.
//!
//! A slot is three adjacent words, so a look-up, with the number, mostly costs one cache miss. These misses limit the
//! speed on small models, see [`Visited::warm`].

use std::hash::{BuildHasher, Hash};
use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};

/// The fixed seed, so that a run can be repeated. The fixed state of foldhash has no other input.
const SEED: u64 = 0x7465_6e75_7265_0001;

/// The number of words in a slot: the fingerprint's high half, its low half, and the number of the state.
const SLOT: usize = 3;

/// The high half of an empty slot. No fingerprint has this value.
const EMPTY: u32 = 0;

/// Returns the identity of a state: equal states have equal fingerprints, and unequal states have unequal ones except
/// with a probability of 2^-64.
///
/// foldhash does not mix the length of what it hashes, so `Hash` must be prefix-free, as every derived one is.
#[inline]
pub(crate) fn fingerprint<S: Hash>(state: &S) -> u64 {
    let hash = foldhash::quality::FixedState::with_seed(SEED).hash_one(state);
    if hash >> 32 == u64::from(EMPTY) {
        hash | 1 << 32
    } else {
        hash
    }
}

#[derive(Default)]
pub(super) struct Visited {
    words: Vec<AtomicU32>,
    slots: usize,
    len_max: usize,
}

impl Visited {
    /// Reserves room for `len` states in total, at a load of at most 4/5.
    pub(super) fn reserve(&mut self, len: usize) {
        if len <= self.len_max {
            return;
        }
        let len_max = len.max(self.len_max / 2 * 3).max(1024);
        let slots = len_max + len_max.div_ceil(4);
        let bigger = Self {
            words: (0..slots * SLOT).map(|_| AtomicU32::new(EMPTY)).collect(),
            slots,
            len_max,
        };
        for slot in self.words.chunks_exact_mut(SLOT) {
            let [high, low, id] = [0, 1, 2].map(|word| *slot[word].get_mut());
            if high != EMPTY {
                bigger.insert(u64::from(high) << 32 | u64::from(low), id);
            }
        }
        *self = bigger;
    }

    /// Returns the number of states that fit before the table must grow.
    pub(super) fn len_max(&self) -> usize {
        self.len_max
    }

    /// Loads the home slots of all these fingerprints for the following look-ups, so that their cache misses overlap.
    pub(super) fn warm(&self, fingerprints: impl Iterator<Item = u64>) {
        let load = |fingerprint| self.words[self.home(fingerprint) * SLOT].load(Ordering::Relaxed);
        hint::black_box(fingerprints.map(load).fold(0, u32::wrapping_add));
    }

    pub(super) fn find(&self, fingerprint: u64) -> Option<u32> {
        let slot = self.slot(fingerprint).ok()?;
        Some(self.words[slot * SLOT + 2].load(Ordering::Relaxed))
    }

    /// Returns the number of a known state. Inserts an unknown state with the number `id` and returns `None`.
    ///
    /// Only one thread inserts at a time, and only after room was reserved: the search in a full table would never end.
    pub(super) fn insert(&self, fingerprint: u64, id: u32) -> Option<u32> {
        match self.slot(fingerprint) {
            Ok(slot) => Some(self.words[slot * SLOT + 2].load(Ordering::Relaxed)),
            Err(slot) => {
                let words = &self.words[slot * SLOT..][..SLOT];
                words[1].store(fingerprint as u32, Ordering::Relaxed);
                words[2].store(id, Ordering::Relaxed);
                // The high half is stored last: a reader that sees it also sees the other words.
                words[0].store((fingerprint >> 32) as u32, Ordering::Release);
                None
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * 4
    }

    #[inline]
    fn home(&self, fingerprint: u64) -> usize {
        ((u128::from(fingerprint) * self.slots as u128) >> 64) as usize
    }

    /// Returns the slot with the fingerprint, or else the empty slot for it.
    #[inline]
    fn slot(&self, fingerprint: u64) -> Result<usize, usize> {
        let (high, low) = ((fingerprint >> 32) as u32, fingerprint as u32);
        let mut slot = self.home(fingerprint);
        loop {
            let words = &self.words[slot * SLOT..][..SLOT];
            match words[0].load(Ordering::Acquire) {
                EMPTY => return Err(slot),
                found if found == high && words[1].load(Ordering::Relaxed) == low => {
                    return Ok(slot);
                }
                _ => slot = if slot + 1 == self.slots { 0 } else { slot + 1 },
            }
        }
    }
}
