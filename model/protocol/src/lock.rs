//! One queue discipline for both levels: who holds, who waits, and who may go next.
//!
//! At the store the claims are processes that want a session, and any two of them conflict. Inside a process they are
//! threads that want attributes, and two of them conflict when they share one. A claim that wants several attributes is
//! granted all of them or none, so nobody waits while holding a part of what it asked for in one request.
//!
//! A waiter may go when it conflicts with no holder and with no waiter before it. *Before* is: a better rank first, then
//! arrival. The rank is the caller's: the gate (rule 12) gives threads that are already inside the first rank and, once
//! closed, the others none; a claim without a rank cannot go and stands in nobody's way.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Something that can hold or wait in a [`Lock`].
pub trait Claim {
    /// Whether the two cannot hold at the same time. Symmetric; a claim conflicts with itself.
    fn conflicts(&self, other: &Self) -> bool;
}

/// An ordered lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lock<C> {
    holders: Vec<C>,
    waiters: VecDeque<C>,
}

impl<C> Default for Lock<C> {
    fn default() -> Self {
        Self {
            holders: Vec::new(),
            waiters: VecDeque::new(),
        }
    }
}

impl<C: Claim> Lock<C> {
    /// Those who hold, in no particular order.
    #[must_use]
    pub fn holders(&self) -> &[C] {
        &self.holders
    }

    /// Those who wait, in order of arrival.
    pub fn waiters(&self) -> impl DoubleEndedIterator<Item = &C> + ExactSizeIterator {
        self.waiters.iter()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody holds and nobody waits.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty()
    }

    /// Whether `claim` could hold beside those who hold now. Says nothing of those who wait.
    #[must_use]
    #[inline(always)]
    pub fn fits(&self, claim: &C) -> bool {
        !self.holders.iter().any(|holder| holder.conflicts(claim))
    }

    /// Lets `claim` hold at once. The caller has made sure that it may.
    pub fn hold(&mut self, claim: C) {
        self.holders.push(claim);
    }

    /// Puts `claim` behind all that wait.
    pub fn enqueue(&mut self, claim: C) {
        self.waiters.push_back(claim);
    }

    /// Puts `claim` before the first waiter that `is_later` says is later; used to restore an order (rule 5).
    pub fn enqueue_before(&mut self, claim: C, is_later: impl FnMut(&C) -> bool) {
        let place = self
            .waiters
            .iter()
            .position(is_later)
            .unwrap_or(self.waiters.len());
        self.waiters.insert(place, claim);
    }

    /// The place of the waiter that may hold now, if any: the one of the best rank, and of these the earliest.
    #[inline(always)]
    pub fn next(&self, rank: impl Fn(&C) -> Option<u8>) -> Option<usize> {
        if let (1, Some(only)) = (self.waiters.len(), self.waiters.front()) {
            return (self.fits(only) && rank(only).is_some()).then_some(0); // The common case, shortened.
        }
        let mut best: Option<(u8, usize)> = None;
        for (place, claim) in self.waiters.iter().enumerate() {
            let Some(own) = rank(claim) else { continue };
            if best.is_some_and(|(least, _)| least <= own) || !self.fits(claim) {
                continue;
            }
            let is_behind = self.waiters.iter().enumerate().any(|(other_place, other)| {
                rank(other).is_some_and(|theirs| (theirs, other_place) < (own, place))
                    && other.conflicts(claim)
            });
            if !is_behind {
                best = Some((own, place));
            }
        }
        best.map(|(_, place)| place)
    }

    /// Moves the waiter at `place` to the holders and answers it.
    ///
    /// # Panics
    /// When there is no such place.
    #[inline(always)]
    pub fn admit(&mut self, place: usize) -> &C {
        let claim = self.waiters.remove(place).expect("a place in the queue");
        self.holders.push(claim);
        &self.holders[self.holders.len() - 1]
    }

    /// The waiter that would hold if the holder at `leaving` left, if that is one alone. Found out by letting it leave; everything
    /// is as it was afterwards.
    ///
    /// # Panics
    /// When there is no such holder.
    pub(crate) fn successor(
        &mut self,
        leaving: usize,
        rank: impl Fn(&Self, &C) -> Option<u8>,
    ) -> Option<&C> {
        let next = |own: &Self| own.next(|claim| rank(own, claim));
        let left = self.holders.remove(leaving);
        let mut place = next(self);
        if let Some(first) = place {
            self.admit(first);
            if next(self).is_some() {
                place = None;
            }
            let claim = self.holders.pop().expect("just let in");
            self.waiters.insert(first, claim);
        }
        self.holders.insert(leaving, left);
        place.map(|place| &self.waiters[place])
    }

    /// Changes the waiters in place; their order stays.
    pub fn waiters_mut(&mut self) -> impl Iterator<Item = &mut C> {
        self.waiters.iter_mut()
    }

    /// Changes the holders in place.
    pub fn holders_mut(&mut self) -> impl Iterator<Item = &mut C> {
        self.holders.iter_mut()
    }

    /// Holders and waiters, to change in place.
    pub(crate) fn parts_mut(&mut self) -> (&mut Vec<C>, &mut VecDeque<C>) {
        (&mut self.holders, &mut self.waiters)
    }

    /// Takes out the first waiter that `is_it`.
    pub fn remove_waiter(&mut self, is_it: impl FnMut(&C) -> bool) -> Option<C> {
        let place = self.waiters.iter().position(is_it)?;
        self.waiters.remove(place)
    }

    /// Takes out the first holder that `is_it`.
    #[inline(always)]
    pub fn remove_holder(&mut self, is_it: impl FnMut(&C) -> bool) -> Option<C> {
        let place = self.holders.iter().position(is_it)?;
        Some(self.holders.remove(place))
    }

    /// Gives memory back that is not needed now.
    pub fn shrink(&mut self) {
        self.holders.shrink_to_fit();
        self.waiters.shrink_to_fit();
    }

    /// Takes out all holders.
    pub fn remove_holders(&mut self) -> Vec<C> {
        core::mem::take(&mut self.holders)
    }

    /// Takes out all waiters, in order.
    pub fn remove_waiters(&mut self) -> Vec<C> {
        self.waiters.drain(..).collect()
    }
}
