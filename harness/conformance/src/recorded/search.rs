//! The search for invisible events: when each side processed the messages in flight, and which timers fired meanwhile.
//!
//! Every explanation of the trace so far is a separate hypothesis. A hypothesis survives an entry if it explains the
//! entry after the fewest possible timers. Processing a message in flight costs nothing, because that may happen at any
//! time. All orders of processing are tried, even where none is needed. Hypotheses with equal hashes are kept once,
//! because they explain the same later entries.

use crate::store::oracle::likeness::{each_once, hash};
use std::collections::HashSet;
use std::hash::Hash;

/// The most consecutive timers that may have fired unobserved.
const HIDDEN_MAX: usize = 2;

/// The breadth of the search. If a trace is judged wrong, it is judged again with a broader search, because the right
/// explanation may have been dropped too early.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breadth {
    /// The most hypotheses to keep.
    cached_max: usize,
    /// The most hypotheses to examine during one search.
    looked_at_max: usize,
    /// The number of timers by which an explanation may exceed the shortest one.
    longer: usize,
}

impl Breadth {
    /// All breadths, from the fastest to the broadest.
    pub(super) const ALL: [Self; 3] = [
        Self::new(48, 1_500, 0),
        Self::new(400, 6_000, 0),
        Self::new(400, 6_000, 1),
    ];

    /// Returns this breadth with shortest explanations only. If events may happen at any time, longer explanations
    /// would explain everything.
    pub(super) const fn shortest(self) -> Self {
        Self { longer: 0, ..self }
    }

    const fn new(cached_max: usize, looked_at_max: usize, longer: usize) -> Self {
        Self {
            cached_max,
            looked_at_max,
            longer,
        }
    }
}

/// One explanation of the trace so far.
pub(super) trait Hypothesis<A>: Clone + Hash {
    /// Returns the hypotheses after processing one message in flight.
    fn taken(&self, around: &A) -> Vec<Self>;
    /// Returns the hypotheses after one timer has fired.
    fn passed(&self, around: &A) -> Vec<Self>;
}

impl Breadth {
    /// Returns the hypotheses that explain the entry.
    pub(super) fn explain<A, W: Hypothesis<A>>(
        self,
        hypotheses: &[W],
        around: &A,
        mut take: impl FnMut(&mut W) -> bool,
    ) -> Vec<W> {
        let mut found = Vec::new();
        let mut from = hypotheses.to_vec();
        let mut most = HIDDEN_MAX;
        for hidden in 0..=HIDDEN_MAX {
            if hidden > most {
                break;
            }
            if hidden > 0 {
                let passed = from.iter().flat_map(|hypothesis| hypothesis.passed(around));
                from = each_once(passed, self.looked_at_max);
            }
            from = self.closure(from, around);
            let mut also = from.clone();
            also.retain_mut(&mut take);
            found.append(&mut also);
            if !found.is_empty() {
                most = most.min(hidden + self.longer);
            }
        }
        self.few(found)
    }

    /// Returns these hypotheses and all that follow from processing messages in flight.
    pub(super) fn closure<A, W: Hypothesis<A>>(self, hypotheses: Vec<W>, around: &A) -> Vec<W> {
        let mut all = each_once(hypotheses, self.looked_at_max);
        let mut seen = HashSet::new();
        let mut at = 0;
        while at < all.len() && all.len() < self.looked_at_max {
            for hypothesis in all[at].taken(around) {
                if seen.is_empty() {
                    seen.extend(all.iter().map(hash));
                }
                if seen.insert(hash(&hypothesis)) {
                    all.push(hypothesis);
                }
            }
            at += 1;
        }
        all
    }

    /// Removes duplicates and limits the number of hypotheses.
    pub(super) fn few<W: Hash>(self, hypotheses: impl IntoIterator<Item = W>) -> Vec<W> {
        each_once(hypotheses, self.cached_max)
    }
}
