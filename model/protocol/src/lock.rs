//! The queue discipline of both levels: the holders, the waiters, and the order in which waiters are admitted.
//!
//! At the store the claims are processes that want a session, and any two of them conflict. Inside a process the claims
//! are threads that want attributes, and two of them conflict when they share an attribute. A claim for several
//! attributes is granted all of them or none. No thread therefore waits while it holds a part of one request.
//!
//! A waiter is admitted when it conflicts with no holder and with no waiter before it. A waiter whose owner already
//! holds something in the same lock is an *insider*. Insiders come before all other waiters (rule 12); within each
//! class the order is the order of arrival. The [`Gate`] decides which classes are admitted. A class that is not
//! admitted blocks no other class.
//!
//! The cost of a step depends on what it changes. A short queue is scanned. A longer queue keeps an index (`line`),
//! which is derived from the queue and is no part of the lock's identity. The holders are always scanned: there are at
//! most as many holders as attributes locked through the session at the same time.

mod wait_queue;

use crate::id::Time;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use wait_queue::WaitQueue;
pub use wait_queue::Waiters;

/// Something that can hold or wait in a [`Lock`].
pub trait Claim {
    /// The type of a claim's owner: the process or thread that makes the claim.
    type Owner: Clone + Ord;

    /// Returns the owner of this claim. An owner waits at most once in a lock.
    fn owner(&self) -> &Self::Owner;

    /// Returns the parts that the claim wants.
    fn parts(&self) -> Parts<'_>;

    /// Returns the time at which the wait ends.
    fn until(&self) -> Time;

    /// Returns whether the owner waits only for grants of other processes, and not for threads. Rule 13.
    fn is_try(&self) -> bool;

    /// Returns whether the two claims cannot hold at the same time. Symmetric; a claim conflicts with itself.
    fn conflicts(&self, other: &Self) -> bool {
        self.parts().shares(other.parts())
    }
}

/// A set of the parts of a locked object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts<'a> {
    /// All parts, present and future.
    All,
    /// One part.
    One(u32),
    /// Several parts, sorted.
    Many(&'a [u32]),
}

impl Parts<'_> {
    /// Returns whether some part is in both sets.
    #[must_use]
    #[inline]
    pub fn shares(self, other: Parts<'_>) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Parts::All) => true,
            (Self::One(own), other) => other.has(own),
            (Self::Many(own), other) => own.iter().any(|part| other.has(*part)),
        }
    }

    /// Returns whether `part` is in the set.
    #[must_use]
    #[inline]
    pub fn has(self, part: u32) -> bool {
        match self {
            Self::All => true,
            Self::One(own) => own == part,
            Self::Many(own) => own.binary_search(&part).is_ok(),
        }
    }
}

/// The classes of waiters that may be admitted. Rule 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// All waiters.
    Open,
    /// Only waiters whose owner already holds something in the lock.
    Insiders,
    /// No waiters.
    Closed,
}

/// An end of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end at which waiters are admitted.
    Front,
    /// The end at which waiters arrive.
    Back,
}

/// The place of a waiter in the queue. Valid until the queue changes; a later place is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot(u64);

/// A lock with holders and an ordered queue of waiters.
pub struct Lock<C: Claim> {
    holders: Vec<C>,
    line: WaitQueue<C>,
}

impl<C: Claim> Default for Lock<C> {
    fn default() -> Self {
        Self {
            holders: Vec::new(),
            line: WaitQueue::Few(VecDeque::new()),
        }
    }
}

impl<C: Claim + Clone> Clone for Lock<C> {
    fn clone(&self) -> Self {
        Self {
            holders: self.holders.clone(),
            line: self.line.clone(),
        }
    }
}

impl<C: Claim + fmt::Debug> fmt::Debug for Lock<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct List<'a, C: Claim>(&'a Lock<C>);
        impl<C: Claim + fmt::Debug> fmt::Debug for List<'_, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.0.waiters()).finish()
            }
        }
        f.debug_struct("Lock")
            .field("holders", &self.holders)
            .field("waiters", &List(self))
            .finish()
    }
}

// Two locks with the same queue are equal: the index is derived from the queue, and its form depends only on the past.
impl<C: Claim + PartialEq> PartialEq for Lock<C> {
    fn eq(&self, other: &Self) -> bool {
        self.holders == other.holders && self.waiters().eq(other.waiters())
    }
}

impl<C: Claim + Eq> Eq for Lock<C> {}

impl<C: Claim + Hash> Hash for Lock<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.holders.hash(state);
        state.write_usize(self.waiting());
        self.waiters().for_each(|claim| claim.hash(state));
    }
}

impl<C: Claim> Lock<C> {
    /// Returns the holders, in no particular order.
    #[must_use]
    pub fn holders(&self) -> &[C] {
        &self.holders
    }

    /// Returns the waiters, in order of arrival.
    #[must_use]
    pub fn waiters(&self) -> Waiters<'_, C> {
        self.line.iter()
    }

    /// Returns the number of waiters.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Returns whether there is no holder and no waiter.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.holders.is_empty() && self.line.is_empty()
    }

    /// Returns the claim under which `owner` waits.
    #[must_use]
    pub fn waiter(&self, owner: &C::Owner) -> Option<&C> {
        self.line.get(self.line.find(owner)?)
    }

    /// Returns the place at which `owner` waits.
    #[must_use]
    pub fn place_of(&self, owner: &C::Owner) -> Option<Spot> {
        self.line.find(owner)
    }

    /// Returns the waiter at `spot`.
    ///
    /// # Panics
    /// When the queue has no such place.
    #[must_use]
    pub fn at(&self, spot: Spot) -> &C {
        self.line.at(spot)
    }

    /// Returns the time at which the first wait ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Time> {
        self.line.next_end()
    }

    /// Returns the waiters whose wait has ended at `now`, with the earliest end first.
    pub fn ended(&self, now: Time) -> Vec<&C> {
        self.line.ended(now)
    }

    /// Returns whether any waiter is not a try.
    #[must_use]
    pub fn has_patient(&self) -> bool {
        self.line.has_patient()
    }

    /// Returns whether `claim` conflicts with no holder. The waiters are not considered.
    #[must_use]
    #[inline(always)]
    pub fn fits(&self, claim: &C) -> bool {
        !self.holders.iter().any(|holder| holder.conflicts(claim))
    }

    /// Returns whether `owner` holds anything.
    #[must_use]
    #[inline(always)]
    pub fn is_inside(&self, owner: &C::Owner) -> bool {
        self.holders.iter().any(|holder| holder.owner() == owner)
    }

    /// Returns whether a new claim may hold at once: the gate admits it, and it conflicts with no holder and with no
    /// waiter that goes before it. With `barges`, the waiters are not considered.
    #[must_use]
    pub fn may_enter(&self, claim: &C, gate: Gate, barges: bool) -> bool {
        let is_inside = self.is_inside(claim.owner());
        let passes = match gate {
            Gate::Open => true,
            Gate::Insiders => is_inside,
            Gate::Closed => false,
        };
        // r[thread.one-per-attribute]
        passes && self.fits(claim) && (barges || !self.has_before(claim, is_inside, None))
    }

    /// Returns whether a waiter that goes before `claim` conflicts with it. `place` is the place of `claim` in the
    /// queue; `None` stands for the end.
    fn has_before(&self, claim: &C, is_inside: bool, place: Option<Spot>) -> bool {
        if self.line.is_empty() {
            return false;
        }
        let is_earlier = |spot: Spot| place.is_none_or(|place| spot < place);
        let mut insiders = self.line.insiders(&self.holders).into_iter();
        let is_behind_insider = insiders.any(|spot| {
            (!is_inside || is_earlier(spot))
                && Some(spot) != place
                && self.line.at(spot).conflicts(claim)
        });
        is_behind_insider || (!is_inside && self.line.is_claimed_before(claim, place))
    }

    /// Makes `claim` a holder at once. The caller has checked that the claim may hold.
    pub fn hold(&mut self, claim: C) {
        self.line.note_holder(claim.owner());
        self.holders.push(claim);
    }

    /// Puts `claim` at an end of the queue.
    pub(crate) fn enqueue_at(&mut self, end: End, claim: C) {
        match end {
            End::Front => self.enqueue_before(claim, |_| true),
            End::Back => self.enqueue(claim),
        }
    }

    /// Puts `claim` at the end of the queue.
    pub fn enqueue(&mut self, claim: C) {
        self.line.push(claim, &self.holders);
    }

    /// Puts `claim` before the first waiter for which `is_later` returns true. Used to restore an order (rule 5).
    pub fn enqueue_before(&mut self, claim: C, is_later: impl FnMut(&C) -> bool) {
        self.line.insert_before(claim, &self.holders, is_later);
    }

    /// Returns the place of the waiter that may hold now, if any: insiders first, then the other waiters, each class in
    /// order of arrival.
    #[inline(always)]
    pub fn next(&mut self, gate: Gate) -> Option<Spot> {
        if self.line.is_empty() || gate == Gate::Closed {
            return None;
        }
        self.next_of(gate)
    }

    fn next_of(&mut self, gate: Gate) -> Option<Spot> {
        let may_go = |own: &Self, spot: Spot, is_inside: bool| {
            let claim = own.line.at(spot);
            // r[thread.one-per-attribute] r[gate.order]
            own.fits(claim) && !own.has_before(claim, is_inside, Some(spot))
        };
        let insiders = self.line.insiders(&self.holders);
        // r[gate.order]
        if let Some(spot) = insiders.iter().find(|spot| may_go(self, **spot, true)) {
            return Some(*spot);
        }
        if gate != Gate::Open {
            return None;
        }
        let mut after = None;
        while let Some(spot) = self.line.candidate(after) {
            if insiders.binary_search(&spot).is_err() && may_go(self, spot, false) {
                return Some(spot);
            }
            self.line.turn_down(spot);
            after = Some(spot);
        }
        None
    }

    /// Returns the place directly behind `spot`, if any.
    #[must_use]
    pub fn after(&self, spot: Spot) -> Option<Spot> {
        self.line.after(spot)
    }

    /// Moves the waiter at `spot` to the holders and returns it.
    ///
    /// # Panics
    /// When the queue has no such place.
    #[inline(always)]
    pub fn admit(&mut self, spot: Spot) -> &C {
        let claim = self.line.remove(spot);
        self.hold(claim);
        &self.holders[self.holders.len() - 1]
    }

    /// Returns the waiter that would hold if the holder at index `leaving` left, if exactly one waiter would. The
    /// method lets the holder leave, looks, and restores the lock.
    ///
    /// # Panics
    /// When there is no such holder.
    pub fn successor(&mut self, leaving: usize, gate: Gate) -> Option<&C> {
        let left = self.take_holder(leaving);
        let mut spot = self.next(gate);
        if let Some(first) = spot {
            self.admit(first);
            if self.next(gate).is_some() {
                spot = None;
            }
            let last = self.holders.len() - 1;
            let claim = self.take_holder(last);
            let is_inside = self.is_inside(claim.owner());
            self.line.put_back(first, claim, is_inside);
        }
        self.line.note_holder(left.owner());
        self.holders.insert(leaving, left);
        spot.map(|spot| self.line.at(spot))
    }

    /// Returns the holders that have to leave before the waiter at `spot` is admitted, if no waiter overtakes it. These
    /// holders conflict with the waiter itself, or with a waiter before it that blocks it directly or indirectly.
    pub fn in_the_way(&self, spot: Spot) -> impl Iterator<Item = &C> {
        let claim = self.line.at(spot);
        let mut wanted = Union::of(claim.parts());
        // A claim for a single part adds nothing to the parts behind it.
        for wide in self.line.wide_before(spot, &self.holders) {
            let parts = self.line.at(wide).parts();
            if wanted.parts().shares(parts) {
                wanted.add(parts);
            }
        }
        let holders = self.holders.iter();
        holders.filter(move |holder| holder.parts().shares(wanted.parts()))
    }

    /// Returns whether the waiter at `behind` cannot be admitted before the waiter at `spot`, directly or indirectly.
    #[must_use]
    pub fn is_behind(&self, behind: Spot, spot: Spot) -> bool {
        let is_inside = |spot: Spot| self.is_inside(self.line.at(spot).owner());
        let rank = |spot: Spot| (!is_inside(spot), spot);
        let claim = self.line.at(behind);
        let mut wanted = Union::of(claim.parts());
        for wide in self.line.wide_before(behind, &self.holders) {
            let parts = self.line.at(wide).parts();
            if rank(wide) > rank(spot) && wanted.parts().shares(parts) {
                wanted.add(parts);
            }
        }
        rank(spot) < rank(behind) && wanted.parts().shares(self.line.at(spot).parts())
    }

    /// Changes the claim under which `owner` waits. The place stays the same.
    pub fn change_waiter<R>(
        &mut self,
        owner: &C::Owner,
        change: impl FnOnce(&mut C) -> R,
    ) -> Option<R> {
        let spot = self.line.find(owner)?;
        let mut claim = self.line.remove(spot);
        let result = change(&mut claim);
        let is_inside = self.is_inside(claim.owner());
        self.line.put_back(spot, claim, is_inside);
        Some(result)
    }

    /// Changes all claims in place. Their order stays the same.
    pub fn update(&mut self, mut change: impl FnMut(&mut C)) {
        self.holders.iter_mut().for_each(&mut change);
        self.line.update(&self.holders, change);
    }

    /// Makes room for a new part at `at` in each claim: every part from `at` on moves up by one.
    pub(crate) fn make_room(&mut self, at: u32, mut change: impl FnMut(&mut C)) {
        self.holders.iter_mut().for_each(&mut change);
        self.line.make_room(at, change);
    }

    /// Returns the holders for changes in place. The caller must not change their owners and parts.
    pub fn holders_mut(&mut self) -> impl Iterator<Item = &mut C> {
        self.holders.iter_mut()
    }

    /// Removes the waiter of `owner` and returns it.
    pub fn remove_waiter_of(&mut self, owner: &C::Owner) -> Option<C> {
        let spot = self.line.find(owner)?;
        Some(self.line.remove(spot))
    }

    /// Removes the first waiter for which `is_it` returns true. Scans the waiters before it.
    pub fn remove_waiter(&mut self, is_it: impl FnMut(&C) -> bool) -> Option<C> {
        let place = self.line.iter().position(is_it)?;
        let spot = self.line.nth(place)?;
        Some(self.line.remove(spot))
    }

    /// Removes all waiters that are tries, and returns them in order of arrival.
    pub fn remove_tries(&mut self) -> Vec<C> {
        self.line.remove_tries()
    }

    /// Removes all waiters for which `is_it` returns true, and returns them in order of arrival. Scans the whole queue.
    pub fn remove_waiters_if(&mut self, is_it: impl FnMut(&C) -> bool) -> Vec<C> {
        self.line.remove_if(is_it)
    }

    /// Removes the first holder for which `is_it` returns true, and returns it.
    #[inline(always)]
    pub fn remove_holder(&mut self, is_it: impl FnMut(&C) -> bool) -> Option<C> {
        let place = self.holders.iter().position(is_it)?;
        Some(self.take_holder(place))
    }

    #[inline(always)]
    fn take_holder(&mut self, place: usize) -> C {
        let left = self.holders.remove(place);
        if !self.line.is_empty() {
            let is_out = !self.is_inside(left.owner());
            self.line.note_left(&left, is_out);
        }
        left
    }

    /// Frees memory that the lock does not need at present.
    pub fn shrink(&mut self) {
        self.holders.shrink_to_fit();
        self.line.shrink();
    }

    /// Removes all holders and returns them.
    pub fn remove_holders(&mut self) -> Vec<C> {
        let left = core::mem::take(&mut self.holders);
        if !self.line.is_empty() {
            left.iter()
                .for_each(|claim| self.line.note_left(claim, true));
        }
        left
    }

    /// Removes all waiters and returns them in order of arrival.
    pub fn remove_waiters(&mut self) -> Vec<C> {
        self.remove_waiters_if(|_| true)
    }

    /// Returns the number of waiters visited since the queue became long. For tests that bound costs; a short queue
    /// counts none.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.line.visits()
    }
}

/// The union of the parts of several claims.
enum Union {
    All,
    Some(Vec<u32>),
}

impl Union {
    fn of(parts: Parts<'_>) -> Self {
        let mut own = Self::Some(Vec::new());
        own.add(parts);
        own
    }

    fn parts(&self) -> Parts<'_> {
        match self {
            Self::All => Parts::All,
            Self::Some(own) => Parts::Many(own),
        }
    }

    fn add(&mut self, parts: Parts<'_>) {
        let one;
        let (own, parts) = match (&mut *self, parts) {
            (Self::All, _) => return,
            (_, Parts::All) => {
                *self = Self::All;
                return;
            }
            (Self::Some(own), Parts::One(part)) => {
                one = [part];
                (own, &one[..])
            }
            (Self::Some(own), Parts::Many(parts)) => (own, parts),
        };
        own.extend_from_slice(parts);
        own.sort_unstable();
        own.dedup();
    }
}
