//! The waiters of a [`Lock`](super::Lock) in order of arrival, with an index for long queues.
//!
//! A queue of at most [`FEW`] waiters is scanned. A longer queue keeps the waiters by number, with an index by owner,
//! by part and by the end of the wait. This module contains no rules of admission: it only finds waiters for
//! [`Lock`](super::Lock).
//!
//! A *candidate* is a waiter that may be admissible. Every admissible waiter is a candidate; some candidates are not
//! admissible. When a holder or waiter changes, the waiters at the heads of its parts become candidates. A candidate
//! that turns out not to be admissible is removed from the set.

use super::{Claim, Parts, Spot};
use crate::id::Time;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque, btree_map, vec_deque};
use alloc::vec::Vec;

/// The longest queue that is scanned. At about this length the scan is as fast as the index, and it needs no memory.
const FEW: usize = 16;
/// The distance between the numbers of two arrivals, so that a waiter can be inserted between them.
const GAP: u64 = 1 << 20;
/// The number of the first arrival.
const FIRST: u64 = 1 << 62;

#[derive(Clone)]
pub(super) enum WaitQueue<C: Claim> {
    Few(VecDeque<C>),
    Many(Box<Index<C>>),
}

#[derive(Clone)]
pub(super) struct Index<C: Claim> {
    claims: BTreeMap<u64, C>,
    owners: BTreeSet<(C::Owner, u64)>,
    /// The waiters that claim single parts, by part.
    parts: BTreeMap<u32, BTreeSet<u64>>,
    /// The waiters that claim all parts.
    whole: BTreeSet<u64>,
    /// The waiters that claim several parts or all parts.
    wide: BTreeSet<u64>,
    ends: BTreeSet<(Time, u64)>,
    tries: BTreeSet<u64>,
    /// The waiters whose owner holds something.
    insiders: BTreeSet<u64>,
    candidates: BTreeSet<u64>,
    #[cfg(debug_assertions)]
    visits: Visits,
}

/// A counter of visits, which is no part of any identity.
#[cfg(debug_assertions)]
#[derive(Default)]
struct Visits(core::sync::atomic::AtomicUsize);

#[cfg(debug_assertions)]
impl Clone for Visits {
    fn clone(&self) -> Self {
        Self(self.0.load(core::sync::atomic::Ordering::Relaxed).into())
    }
}

#[cfg(debug_assertions)]
impl Visits {
    fn get(&self) -> u64 {
        self.0.load(core::sync::atomic::Ordering::Relaxed) as u64
    }

    fn add(&self) {
        self.0.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    }
}

/// The waiters of a lock, in order of arrival.
pub struct Waiters<'a, C: Claim>(Iter<'a, C>);

enum Iter<'a, C: Claim> {
    Few(vec_deque::Iter<'a, C>),
    Many(btree_map::Values<'a, u64, C>, &'a Index<C>),
}

impl<'a, C: Claim> Iterator for Waiters<'a, C> {
    type Item = &'a C;

    fn next(&mut self) -> Option<&'a C> {
        match &mut self.0 {
            Iter::Few(own) => own.next(),
            Iter::Many(own, index) => own.next().inspect(|_| index.visit()),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Iter::Few(own) => own.size_hint(),
            Iter::Many(own, _) => own.size_hint(),
        }
    }
}

impl<C: Claim> DoubleEndedIterator for Waiters<'_, C> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Iter::Few(own) => own.next_back(),
            Iter::Many(own, index) => own.next_back().inspect(|_| index.visit()),
        }
    }
}

impl<C: Claim> ExactSizeIterator for Waiters<'_, C> {}

fn is_inside<C: Claim>(holders: &[C], claim: &C) -> bool {
    holders.iter().any(|holder| holder.owner() == claim.owner())
}

/// Converts an index in a short queue to a place.
fn short(at: usize) -> Spot {
    Spot(at as u64)
}

/// Converts a place to an index. A short queue has few places, so the cast loses nothing.
#[allow(clippy::cast_possible_truncation)]
fn at(spot: Spot) -> usize {
    spot.0 as usize
}

impl<C: Claim> WaitQueue<C> {
    pub(super) fn iter(&self) -> Waiters<'_, C> {
        Waiters(match self {
            Self::Few(few) => Iter::Few(few.iter()),
            Self::Many(index) => Iter::Many(index.claims.values(), index),
        })
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(index) => index.claims.len(),
        }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, spot: Spot) -> Option<&C> {
        match self {
            Self::Few(few) => few.get(at(spot)),
            Self::Many(index) => index.get(spot.0),
        }
    }

    pub(super) fn at(&self, spot: Spot) -> &C {
        self.get(spot)
            .expect("the caller passes the place of a waiter that is still in the queue")
    }

    /// Returns the place of the waiter with index `place` in order of arrival.
    pub(super) fn nth(&self, place: usize) -> Option<Spot> {
        match self {
            Self::Few(few) => (place < few.len()).then(|| short(place)),
            Self::Many(index) => index.claims.keys().nth(place).copied().map(Spot),
        }
    }

    pub(super) fn after(&self, spot: Spot) -> Option<Spot> {
        match self {
            Self::Few(few) => (at(spot) + 1 < few.len()).then(|| short(at(spot) + 1)),
            Self::Many(index) => {
                let mut later = index.claims.range(spot.0 + 1..);
                later.next().map(|(number, _)| Spot(*number))
            }
        }
    }

    pub(super) fn find(&self, owner: &C::Owner) -> Option<Spot> {
        match self {
            Self::Few(few) => few.iter().position(|own| own.owner() == owner).map(short),
            Self::Many(index) => index.find(owner).map(Spot),
        }
    }

    pub(super) fn next_end(&self) -> Option<Time> {
        match self {
            Self::Few(few) => few.iter().map(Claim::until).min(),
            Self::Many(index) => index.ends.first().map(|(end, _)| *end),
        }
    }

    pub(super) fn ended(&self, now: Time) -> Vec<&C> {
        match self {
            Self::Few(few) => {
                let ended = few.iter().filter(|claim| claim.until() <= now);
                let mut ended: Vec<&C> = ended.collect();
                ended.sort_by_key(|claim| claim.until());
                ended
            }
            Self::Many(index) => {
                let ended = index.ends.range(..=(now, u64::MAX));
                ended.filter_map(|(_, number)| index.get(*number)).collect()
            }
        }
    }

    pub(super) fn has_patient(&self) -> bool {
        match self {
            Self::Few(few) => few.iter().any(|claim| !claim.is_try()),
            Self::Many(index) => index.tries.len() < index.claims.len(),
        }
    }

    /// Returns the places of the waiters whose owner is among the holders, in order of arrival.
    #[inline]
    pub(super) fn insiders(&self, holders: &[C]) -> Vec<Spot> {
        match self {
            Self::Few(few) => {
                let all = few.iter().enumerate();
                let all = all.filter(|(_, own)| is_inside(holders, *own));
                all.map(|(at, _)| short(at)).collect()
            }
            Self::Many(index) => index.insiders.iter().copied().map(Spot).collect(),
        }
    }

    /// Returns whether a waiter before `place` conflicts with `claim`. Without a place, all waiters count.
    pub(super) fn is_claimed_before(&self, claim: &C, place: Option<Spot>) -> bool {
        match self {
            Self::Few(few) => {
                let earlier = place.map_or(few.len(), at);
                few.iter().take(earlier).any(|own| own.conflicts(claim))
            }
            Self::Many(index) => {
                let earlier = place.map_or(u64::MAX, |place| place.0);
                index.is_claimed_before(claim.parts(), earlier)
            }
        }
    }

    /// Returns the places of the waiters that claim more than one part and go before `spot`, the last of them first.
    pub(super) fn wide_before(&self, spot: Spot, holders: &[C]) -> Vec<Spot> {
        let is_inside = |spot: Spot| is_inside(holders, self.at(spot));
        let wide: Vec<Spot> = match self {
            Self::Few(few) => {
                let all = few.iter().enumerate();
                let wide = all.filter(|(_, own)| !matches!(own.parts(), Parts::One(_)));
                wide.map(|(at, _)| short(at)).collect()
            }
            Self::Many(index) => index.wide.iter().copied().map(Spot).collect(),
        };
        if wide.is_empty() {
            return wide;
        }
        let own = (!is_inside(spot), spot);
        let ranked = wide.into_iter().map(|wide| (!is_inside(wide), wide));
        let mut before: Vec<_> = ranked.filter(|other| *other < own).collect();
        before.sort_unstable();
        before.into_iter().rev().map(|(_, spot)| spot).collect()
    }

    /// Returns the first candidate after `after`.
    pub(super) fn candidate(&self, after: Option<Spot>) -> Option<Spot> {
        match self {
            Self::Few(few) => {
                let next = after.map_or(0, |after| at(after) + 1);
                (next < few.len()).then(|| short(next))
            }
            Self::Many(index) => index.candidates.first().copied().map(Spot),
        }
    }

    /// Removes a waiter from the candidates, because it cannot be admitted now.
    pub(super) fn turn_down(&mut self, spot: Spot) {
        if let Self::Many(index) = self {
            index.candidates.remove(&spot.0);
        }
    }

    pub(super) fn push(&mut self, claim: C, holders: &[C]) {
        if let Self::Few(few) = self {
            if few.len() < FEW {
                return few.push_back(claim);
            }
            self.make_index(holders);
        }
        if let Self::Many(index) = self {
            index.push(claim, holders);
        }
    }

    pub(super) fn insert_before(
        &mut self,
        claim: C,
        holders: &[C],
        is_later: impl FnMut(&C) -> bool,
    ) {
        let place = self.iter().position(is_later).unwrap_or(self.len());
        match self {
            Self::Few(few) if few.len() < FEW => few.insert(place, claim),
            _ if place == self.len() => self.push(claim, holders),
            _ => {
                self.make_index(holders);
                self.insert_at(place, claim, holders);
            }
        }
    }

    /// Inserts `claim` into a long queue, before the waiter with index `place`.
    fn insert_at(&mut self, place: usize, claim: C, holders: &[C]) {
        let Self::Many(index) = self else {
            return;
        };
        let number = |at: usize| index.claims.keys().nth(at).copied();
        let before = place.checked_sub(1).and_then(number);
        let after = number(place)
            .expect("the caller inserts before a waiter of the queue, never at its end");
        let between = before.map_or(after - GAP, |before| before + (after - before) / 2);
        if before == Some(between) {
            index.spread();
            return self.insert_at(place, claim, holders);
        }
        let is_inside = is_inside(holders, &claim);
        index.insert(between, claim, is_inside);
    }

    /// Puts a waiter back at its former place.
    pub(super) fn put_back(&mut self, spot: Spot, claim: C, is_inside: bool) {
        match self {
            Self::Few(few) => few.insert(at(spot), claim),
            Self::Many(index) => index.insert(spot.0, claim, is_inside),
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, spot: Spot) -> C {
        let claim = match self {
            Self::Few(few) => few.remove(at(spot)),
            Self::Many(index) => index.remove(spot.0),
        };
        claim.expect("the caller passes the place of a waiter that is still in the queue")
    }

    pub(super) fn remove_tries(&mut self) -> Vec<C> {
        match self {
            Self::Few(_) => self.remove_if(Claim::is_try),
            Self::Many(index) => {
                let tries = core::mem::take(&mut index.tries);
                tries
                    .iter()
                    .filter_map(|spot| index.remove(*spot))
                    .collect()
            }
        }
    }

    pub(super) fn remove_if(&mut self, mut is_it: impl FnMut(&C) -> bool) -> Vec<C> {
        let mut removed = Vec::new();
        match self {
            Self::Few(few) => {
                let mut place = 0;
                while let Some(claim) = few.get(place) {
                    if is_it(claim) {
                        removed.extend(few.remove(place));
                    } else {
                        place += 1;
                    }
                }
            }
            Self::Many(index) => {
                let meant = index.claims.iter().filter(|(_, claim)| is_it(claim));
                let meant: Vec<u64> = meant.map(|(number, _)| *number).collect();
                removed.extend(meant.iter().filter_map(|number| index.remove(*number)));
            }
        }
        removed
    }

    /// Notes that `owner` holds something from now on.
    #[inline(always)]
    pub(super) fn note_holder(&mut self, owner: &C::Owner) {
        if let Self::Many(index) = self
            && let Some(number) = index.find(owner)
        {
            index.insiders.insert(number);
        }
    }

    /// Notes that a holder has left. `is_out` says that its owner holds nothing any more.
    pub(super) fn note_left(&mut self, left: &C, is_out: bool) {
        let Self::Many(index) = self else {
            return;
        };
        index.free(left.parts());
        if let Some(number) = index.find(left.owner())
            && is_out
            && index.insiders.remove(&number)
        {
            index.candidates.insert(number);
            let others = index.heads_beside(number);
            index.candidates.extend(others);
        }
    }

    pub(super) fn update(&mut self, holders: &[C], mut change: impl FnMut(&mut C)) {
        match self {
            Self::Few(few) => few.iter_mut().for_each(change),
            Self::Many(index) => {
                let claims = core::mem::take(&mut index.claims);
                let mut fresh = Index::default();
                for (number, mut claim) in claims {
                    change(&mut claim);
                    let is_inside = is_inside(holders, &claim);
                    fresh.insert(number, claim, is_inside);
                    fresh.candidates.insert(number);
                }
                **index = fresh;
            }
        }
    }

    pub(super) fn make_room(&mut self, at: u32, mut change: impl FnMut(&mut C)) {
        match self {
            Self::Few(few) => few.iter_mut().for_each(change),
            Self::Many(index) => {
                for claim in index.claims.values_mut() {
                    change(claim);
                }
                let later = index.parts.split_off(&at);
                let later = later.into_iter().map(|(part, own)| (part + 1, own));
                index.parts.extend(later);
            }
        }
    }

    pub(super) fn shrink(&mut self) {
        match self {
            Self::Few(few) => few.shrink_to_fit(),
            Self::Many(index) if index.claims.is_empty() => *self = Self::Few(VecDeque::new()),
            Self::Many(_) => {}
        }
    }

    #[cold]
    fn make_index(&mut self, holders: &[C]) {
        if let Self::Few(few) = self {
            let mut index = Box::<Index<C>>::default();
            for claim in core::mem::take(few) {
                index.push(claim, holders);
            }
            *self = Self::Many(index);
        }
    }

    /// Returns the count of [`Lock::visits`](super::Lock::visits).
    #[cfg(debug_assertions)]
    pub(super) fn visits(&self) -> u64 {
        match self {
            Self::Few(_) => 0,
            Self::Many(index) => index.visits.get(),
        }
    }
}

impl<C: Claim> Default for Index<C> {
    fn default() -> Self {
        Self {
            claims: BTreeMap::new(),
            owners: BTreeSet::new(),
            parts: BTreeMap::new(),
            whole: BTreeSet::new(),
            wide: BTreeSet::new(),
            ends: BTreeSet::new(),
            tries: BTreeSet::new(),
            insiders: BTreeSet::new(),
            candidates: BTreeSet::new(),
            #[cfg(debug_assertions)]
            visits: Visits::default(),
        }
    }
}

impl<C: Claim> Index<C> {
    fn visit(&self) {
        #[cfg(debug_assertions)]
        self.visits.add();
    }

    fn get(&self, number: u64) -> Option<&C> {
        self.visit();
        self.claims.get(&number)
    }

    fn find(&self, owner: &C::Owner) -> Option<u64> {
        let mut own = self.owners.range((owner.clone(), 0)..);
        let (found, number) = own.next()?;
        (found == owner).then_some(*number)
    }

    fn push(&mut self, claim: C, holders: &[C]) {
        let last = self.claims.last_key_value();
        let number = last.map_or(FIRST, |(last, _)| last + GAP);
        let is_inside = is_inside(holders, &claim);
        self.insert(number, claim, is_inside);
    }

    fn insert(&mut self, number: u64, claim: C, is_inside: bool) {
        self.visit();
        self.owners.insert((claim.owner().clone(), number));
        self.ends.insert((claim.until(), number));
        if claim.is_try() {
            self.tries.insert(number);
        }
        if is_inside {
            self.insiders.insert(number);
        }
        for part in claim.parts().iter() {
            self.parts.entry(part).or_default().insert(number);
        }
        match claim.parts() {
            Parts::All => {
                self.whole.insert(number);
                self.wide.insert(number);
            }
            Parts::Many(_) => drop(self.wide.insert(number)),
            Parts::One(_) => {}
        }
        if !self.is_claimed_before(claim.parts(), number) {
            self.candidates.insert(number);
        }
        self.claims.insert(number, claim);
    }

    fn remove(&mut self, number: u64) -> Option<C> {
        self.visit();
        let claim = self.claims.remove(&number)?;
        self.owners.remove(&(claim.owner().clone(), number));
        self.ends.remove(&(claim.until(), number));
        self.candidates.remove(&number);
        self.insiders.remove(&number);
        self.tries.remove(&number);
        self.whole.remove(&number);
        self.wide.remove(&number);
        for part in claim.parts().iter() {
            if let btree_map::Entry::Occupied(mut own) = self.parts.entry(part) {
                own.get_mut().remove(&number);
                if own.get().is_empty() {
                    own.remove();
                }
            }
        }
        self.free(claim.parts());
        Some(claim)
    }

    fn is_claimed_before(&self, parts: Parts<'_>, number: u64) -> bool {
        let first = |own: &BTreeSet<u64>| own.first().is_some_and(|first| *first < number);
        let mut own = parts.iter();
        match parts {
            Parts::All => self
                .claims
                .first_key_value()
                .is_some_and(|(first, _)| *first < number),
            _ => first(&self.whole) || own.any(|part| self.parts.get(&part).is_some_and(first)),
        }
    }

    /// Notes that a claim has left these parts: the waiters at the heads of the parts become candidates.
    fn free(&mut self, parts: Parts<'_>) {
        let head = |part: u32| self.parts.get(&part)?.first().copied();
        match parts {
            Parts::All => {
                let heads = self.parts.values().filter_map(BTreeSet::first);
                self.candidates.extend(heads.copied());
            }
            _ => self.candidates.extend(parts.iter().filter_map(head)),
        }
        self.candidates.extend(self.whole.first().copied());
    }

    /// Returns the waiters at the heads of the parts that the waiter `number` claims.
    fn heads_beside(&self, number: u64) -> Vec<u64> {
        let Some(claim) = self.get(number) else {
            return Vec::new();
        };
        let heads = |part: u32| self.parts.get(&part).and_then(BTreeSet::first);
        let all = self.parts.values().filter_map(BTreeSet::first);
        let whole = self.whole.first().into_iter();
        let own: Vec<u64> = match claim.parts() {
            Parts::All => all.copied().collect(),
            parts => parts.iter().filter_map(heads).copied().collect(),
        };
        own.into_iter().chain(whole.copied()).collect()
    }

    /// Numbers all waiters anew, with gaps between. Called in the rare case that no number is left between two waiters.
    #[cold]
    fn spread(&mut self) {
        let insiders = core::mem::take(&mut self.insiders);
        let claims = core::mem::take(&mut self.claims);
        let mut fresh = Self::default();
        for ((number, claim), place) in claims.into_iter().zip(0..) {
            fresh.insert(FIRST + place * GAP, claim, insiders.contains(&number));
        }
        fresh
            .candidates
            .extend(fresh.claims.keys().copied().collect::<Vec<_>>());
        *self = fresh;
    }
}

impl<'a> Parts<'a> {
    /// Returns the single parts; empty for [`Parts::All`].
    fn iter(self) -> impl Iterator<Item = u32> + 'a {
        let (one, many) = match self {
            Self::All => (None, &[][..]),
            Self::One(part) => (Some(part), &[][..]),
            Self::Many(parts) => (None, parts),
        };
        one.into_iter().chain(many.iter().copied())
    }
}
