//! What cannot be seen: when somebody took what is under way to it, and which of its timers passed meanwhile.
//!
//! Everything that explains what came so far is kept as its own hypothesis. The hypotheses that take what comes next are those
//! from which as few timers as will do lead to it. What was seen on the way, and may be taken at any time, costs nothing: all
//! orders in which that can have been taken are tried, also when nothing need have been. Hypotheses of one hash are kept once: they
//! explain the same from now on.

use crate::store::oracle::likeness::{each_once, hash};
use std::collections::HashSet;
use std::hash::Hash;

/// How many timers may have passed in a row unseen.
const HIDDEN_MAX: usize = 2;

/// How widely explanations are looked for. A trace that is found to be wrong is looked at again more widely: that the right
/// explanation was given up too early is no fault of who is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breadth {
    /// How many explanations are kept.
    cached_max: usize,
    /// How many are looked at while one is looked for.
    looked_at_max: usize,
    /// By how many timers more than the shortest an explanation may be longer.
    longer: usize,
}

impl Breadth {
    /// From the quickest to the widest.
    pub(super) const ALL: [Self; 3] = [
        Self::new(48, 1_500, 0),
        Self::new(400, 6_000, 0),
        Self::new(400, 6_000, 1),
    ];

    /// Only what is shortest: where somebody may do something at any time, more would explain everything.
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

/// One explanation of what came so far.
pub(super) trait Hypothesis<A>: Clone + Hash {
    /// Every way in which something may have been taken that is under way.
    fn taken(&self, around: &A) -> Vec<Self>;
    /// Every way in which a timer may have passed.
    fn passed(&self, around: &A) -> Vec<Self>;
}

impl Breadth {
    /// The hypotheses that take it.
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

    /// These and all that they become when what is under way is taken.
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

    /// Not too many.
    pub(super) fn few<W: Hash>(self, hypotheses: impl IntoIterator<Item = W>) -> Vec<W> {
        each_once(hypotheses, self.cached_max)
    }
}
