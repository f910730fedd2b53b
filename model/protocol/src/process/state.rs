//! The client state of one session and the threads' locks on it: which attributes there are, who holds and who waits for
//! which of them, and what those inside have written.
//!
//! A write set belongs to the claim of the thread that wrote it, and goes with it: merged into the attributes when the
//! thread leaves, gone without a trace when the claim is dropped. What the store has to do with any of this is the
//! business of the [`Session`](super::Session) around it.

use super::Names;
use crate::attributes::{Change, Delta, Value};
use crate::config::Limits;
use crate::id::{AttributeName, ThreadId, Time};
use crate::lock::{Claim, Gate, Lock, Parts};
use crate::message::{Limited, WaitMode};
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// One attribute of the client state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Its name.
    pub name: AttributeName,
    /// Its value, as the last thread that unlocked it left it.
    pub value: Option<Value>,
    /// Whether the value has changed since it was last sent to the store.
    pub is_dirty: bool,
    /// Whether the value is outside, see [`Detached::hand_out`](super::Detached::hand_out), and what is kept for it.
    pub(crate) out: Option<Reserved>,
}

/// To how many bytes a value may grow without a question, since nobody else gets them. One more is kept, so that an option of it
/// takes no more space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reserved(NonZeroU32);

impl Reserved {
    fn new(bytes: usize) -> Option<Self> {
        let bytes = u32::try_from(bytes).ok()?;
        Some(Self(NonZeroU32::MIN.checked_add(bytes)?))
    }

    pub(crate) fn bytes(self) -> u32 {
        self.0.get() - 1
    }
}

/// Attributes by their place among the slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// All, present and future.
    All,
    /// One.
    One(u32),
    /// Several, sorted.
    Many(Vec<u32>),
}

impl Wanted {
    /// Whether the attribute at `slot` is among them.
    #[must_use]
    pub fn has(&self, slot: u32) -> bool {
        self.parts().has(slot)
    }

    pub(crate) fn shares(&self, other: &Self) -> bool {
        self.parts().shares(other.parts())
    }

    #[inline]
    fn parts(&self) -> Parts<'_> {
        match self {
            Self::All => Parts::All,
            Self::One(own) => Parts::One(*own),
            Self::Many(own) => Parts::Many(own),
        }
    }

    fn make_room(&mut self, at: u32) {
        let shift = |slot: &mut u32| *slot += u32::from(*slot >= at);
        match self {
            Self::All => {}
            Self::One(slot) => shift(slot),
            Self::Many(slots) => slots.iter_mut().for_each(shift),
        }
    }
}

/// What a thread inside has written to one attribute and not unlocked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// The attribute's place among the slots.
    pub slot: u32,
    /// Its value; `None` when it is removed.
    pub value: Option<Value>,
}

/// A thread that holds attributes or waits for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThreadClaim {
    /// Which thread.
    pub thread: ThreadId,
    /// Which attributes.
    pub wanted: Wanted,
    /// Whether it waits for other threads.
    pub wait_mode: WaitMode,
    /// Whether it wants the session only if that exists. Rule 16.
    pub existing: bool,
    /// Whether the request that the process has at the store was said after this thread asked, so that it may be told that
    /// the session is absent. Only of one that is `existing`.
    pub(crate) is_asked: bool,
    /// When its wait ends.
    pub until: Time,
    /// Its part of the write set, sorted by slot. Empty while it waits.
    pub written: Vec<Written>,
    /// What is kept for its one attribute, when it went in while that was handed out: where it went in it may still be told
    /// that a write is accepted. Until it is out.
    pub(crate) reserved: Option<Reserved>,
}

impl ThreadClaim {
    /// Of a thread that has written nothing.
    pub(crate) fn new(
        thread: ThreadId,
        wanted: Wanted,
        (wait_mode, until): (WaitMode, Time),
    ) -> Self {
        Self {
            thread,
            wanted,
            wait_mode,
            existing: false,
            is_asked: false,
            until,
            written: Vec::new(),
            reserved: None,
        }
    }

    /// Returns whether the thread wants the session only if it exists, and the store's answer to that is an answer to it: it asked
    /// before the request was said.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// What was written to the attribute at `slot` under this claim.
    #[must_use]
    pub fn written(&self, slot: u32) -> Option<&Option<Value>> {
        let place = self
            .written
            .binary_search_by_key(&slot, |written| written.slot);
        place.ok().map(|place| &self.written[place].value)
    }

    pub(crate) fn write(&mut self, slot: u32, value: Option<Value>) {
        let place = self
            .written
            .binary_search_by_key(&slot, |written| written.slot);
        match place {
            Ok(place) => self.written[place].value = value,
            Err(place) => self.written.insert(place, Written { slot, value }),
        }
    }
}

impl Claim for ThreadClaim {
    type Owner = ThreadId;

    #[inline]
    fn owner(&self) -> &ThreadId {
        &self.thread
    }

    #[inline]
    fn parts(&self) -> Parts<'_> {
        self.wanted.parts()
    }

    fn until(&self) -> Time {
        self.until
    }

    fn is_try(&self) -> bool {
        self.wait_mode == WaitMode::Try
    }
}

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LockedState {
    /// Sorted by name.
    pub(crate) slots: Vec<Slot>,
    pub(crate) lock: Lock<ThreadClaim>,
}

impl LockedState {
    fn find(&self, name: &AttributeName) -> Result<u32, usize> {
        self.slots
            .binary_search_by(|slot| slot.name.cmp(name))
            .map(place)
    }

    /// The place of an attribute, which is made when there is none.
    pub(crate) fn slot(&mut self, name: &AttributeName) -> u32 {
        self.find(name)
            .unwrap_or_else(|place| self.make_slot(place, name))
    }

    #[cold]
    fn make_slot(&mut self, at: usize, name: &AttributeName) -> u32 {
        self.slots.insert(
            at,
            Slot {
                name: name.clone(),
                value: None,
                is_dirty: false,
                out: None,
            },
        );
        let at = place(at);
        self.lock.make_room(at, |claim| {
            claim.wanted.make_room(at);
            for written in &mut claim.written {
                written.slot += u32::from(written.slot >= at);
            }
        });
        at
    }

    /// The attributes of `names`, by place.
    pub(crate) fn wanted(&mut self, names: &Names) -> Wanted {
        match names {
            Names::All => Wanted::All,
            Names::One(name) => Wanted::One(self.slot(name)),
            Names::Many(names) => {
                // First all, since making one moves the others.
                for name in names {
                    self.slot(name);
                }
                let mut slots: Vec<u32> = names.iter().map(|name| self.slot(name)).collect();
                slots.sort_unstable();
                slots.dedup();
                if let [slot] = slots[..] {
                    Wanted::One(slot)
                } else {
                    Wanted::Many(slots)
                }
            }
        }
    }

    /// The names of `wanted`.
    pub(crate) fn names(&self, wanted: &Wanted) -> Names {
        let name = |slot: &u32| self.slots[*slot as usize].name.clone();
        match wanted {
            Wanted::All => Names::All,
            Wanted::One(slot) => Names::One(name(slot)),
            Wanted::Many(slots) => Names::Many(slots.iter().map(name).collect()),
        }
    }

    /// Whether an attribute is among those that `claim` wants.
    pub(crate) fn claims(&self, claim: &ThreadClaim, name: &AttributeName) -> bool {
        match self.find(name) {
            Ok(slot) => claim.wanted.has(slot),
            Err(_) => claim.wanted == Wanted::All,
        }
    }

    /// The claim under which `thread` has locked an attribute.
    pub(crate) fn claim_of(&self, thread: ThreadId, name: &AttributeName) -> Option<&ThreadClaim> {
        let mut own = self.claims_of(thread);
        own.find(|claim| self.claims(claim, name))
    }

    /// The claims under which `thread` is inside.
    pub(crate) fn claims_of(&self, thread: ThreadId) -> impl Iterator<Item = &ThreadClaim> {
        let holders = self.lock.holders().iter();
        holders.filter(move |claim| claim.thread == thread)
    }

    /// Whether `thread` holds any attribute.
    #[inline(always)]
    pub(crate) fn is_inside(&self, thread: ThreadId) -> bool {
        self.lock.is_inside(&thread)
    }

    /// Whether `thread` waits for any attribute.
    pub(crate) fn is_waiting(&self, thread: ThreadId) -> bool {
        self.lock.place_of(&thread).is_some()
    }

    /// Lets the next one in who may go in, if there is one.
    #[inline(always)]
    pub(crate) fn admit(&mut self, gate: Gate) -> Option<ThreadId> {
        let spot = self.lock.next(gate)?;
        Some(self.lock.admit(spot).thread)
    }

    /// The holder of what the first waiter waits for, if it holds just that and `is_meant`, and who is let in when it leaves, if that
    /// is this waiter alone.
    pub(crate) fn successor(
        &mut self,
        is_meant: impl Fn(&ThreadClaim) -> bool,
    ) -> Option<(&ThreadClaim, &ThreadClaim)> {
        let first = self.lock.waiters().next()?;
        let holders = self.lock.holders().iter();
        let is_it = |claim: &ThreadClaim| claim.wanted == first.wanted && is_meant(claim);
        let leaving = holders.enumerate().find(|(_, claim)| is_it(claim));
        let (leaving, first) = (leaving?.0, first.thread);
        let next = self.lock.successor(leaving, Gate::Open)?.thread;
        let (holders, mut waiters) = (self.lock.holders(), self.lock.waiters());
        let next = (next == first).then(|| waiters.next())??;
        Some((&holders[leaving], next))
    }

    /// What `thread`, which has locked it, or anybody else sees in an attribute.
    pub(crate) fn value(&self, thread: ThreadId, name: &AttributeName) -> Option<&Value> {
        let slot = self.find(name).ok()?;
        let own = self.claim_of(thread, name);
        own.and_then(|claim| claim.written(slot))
            .unwrap_or(&self.slots[slot as usize].value)
            .as_ref()
    }

    /// Takes a write of `thread` into its write set. Answers whether it has locked the attribute.
    ///
    /// # Errors
    /// The limit that the session would pass. Rule 18.
    pub(crate) fn write(
        &mut self,
        thread: ThreadId,
        name: &AttributeName,
        value: Option<&Value>,
        limits: &Limits,
    ) -> Result<bool, Limited> {
        let Some(own) = self.claim_of(thread, name) else {
            return Ok(false);
        };
        // r[limit.checks] r[limit.of-store]
        if let Some(limited) = self.limit_of(own, name, value, limits) {
            return Err(limited);
        }
        let slot = self.slot(name);
        if let Some(own) = self.holder_mut(thread, slot) {
            own.write(slot, value.cloned());
        }
        Ok(true)
    }

    /// The claim under which `thread` has locked the attribute at `slot`.
    pub(crate) fn holder_mut(&mut self, thread: ThreadId, slot: u32) -> Option<&mut ThreadClaim> {
        let mut holders = self.lock.holders_mut();
        holders.find(|claim| claim.thread == thread && claim.wanted.has(slot))
    }

    /// Takes out the claim of `thread` to just these attributes.
    #[inline(always)]
    pub(crate) fn leave(&mut self, thread: ThreadId, names: &Names) -> Option<ThreadClaim> {
        if let Names::One(name) = names {
            // The claim says which attribute it is: there is nothing to look for.
            let Self { slots, lock } = self;
            let is_it = |own: &Wanted| match own {
                Wanted::One(slot) => slots[*slot as usize].name == *name,
                Wanted::All | Wanted::Many(_) => false,
            };
            return lock.remove_holder(|claim| claim.thread == thread && is_it(&claim.wanted));
        }
        let wanted = self.wanted(names);
        self.lock
            .remove_holder(|claim| claim.thread == thread && claim.wanted == wanted)
    }

    /// Which limit a write under the claim `own` would pass. Rule 18.
    fn limit_of(
        &self,
        own: &ThreadClaim,
        name: &AttributeName,
        value: Option<&Value>,
        limits: &Limits,
    ) -> Option<Limited> {
        let length = value?.len();
        if own.reserved.is_some() && Some(length) <= self.kept(name) {
            return None; // It may have been accepted before, where the attribute was handed out.
        }
        let before = self
            .find(name)
            .ok()
            .and_then(|place| self.slots[place as usize].value.as_ref());
        if before.is_some_and(|before| length <= before.len()) {
            return None; // It makes nothing larger: the store's limits may be lower than they were.
        }
        if length > limits.attribute_bytes_max {
            return Some(Limited::AttributeBytes);
        }
        match self.room(name, |slot| own.wanted.has(slot), limits) {
            Ok(room) => (length > room).then_some(Limited::SessionBytes),
            Err(limited) => Some(limited),
        }
    }

    /// Which limit the attributes pass, as they came from the store. Rule 18.
    pub(crate) fn over(&self, limits: &Limits) -> Option<Limited> {
        let values = self
            .slots
            .iter()
            .filter_map(|slot| Some((&slot.name, slot.value.as_ref()?)));
        let (mut count, mut bytes) = (0, 0_usize);
        for (name, value) in values {
            if value.len() > limits.attribute_bytes_max {
                return Some(Limited::AttributeBytes);
            }
            count += 1;
            bytes = bytes.saturating_add(name.as_bytes().len() + value.len());
        }
        if count > limits.attributes_max {
            return Some(Limited::Attributes);
        }
        (bytes > limits.session_bytes_max).then_some(Limited::SessionBytes)
    }

    /// To how many bytes the attribute in `slot`, which nobody has locked, may grow whatever happens to the others; twice
    /// its size and a little more is enough. `None` when it may not even be written again as it is, or, when it has no value,
    /// there may not be one more.
    pub(crate) fn growth(&self, slot: &Slot, limits: &Limits) -> Option<Reserved> {
        let length = slot.value.as_ref().map_or(0, Value::len);
        let room = self.room(&slot.name, |_| false, limits).ok()?;
        let left = room.min(limits.attribute_bytes_max);
        if length > left {
            return None;
        }
        let enough = length.saturating_mul(2).saturating_add(64);
        // Of what is left, a part stays for others.
        let wished = enough.min(left / 2);
        Reserved::new(wished.max(length))
    }

    /// How many bytes an attribute may have beside the others.
    fn room(
        &self,
        name: &AttributeName,
        is_own: impl Fn(u32) -> bool,
        limits: &Limits,
    ) -> Result<usize, Limited> {
        let (count, bytes) = self.size_of_others(name, is_own);
        if count >= limits.attributes_max {
            return Err(Limited::Attributes);
        }
        let used = bytes + name.as_bytes().len();
        let left = limits.session_bytes_max.checked_sub(used);
        left.ok_or(Limited::SessionBytes)
    }

    /// How many other attributes than `name` have a value, and the bytes of their names and values, at most: what is locked
    /// together (`is_own`) is unlocked or discarded together; of what others have written, each may come or not.
    fn size_of_others(&self, name: &AttributeName, is_own: impl Fn(u32) -> bool) -> (usize, usize) {
        let others = self.slots.iter().zip(0..);
        let others = others.filter(|(slot, _)| slot.name != *name);
        let sizes = others.filter_map(|(slot, place)| {
            let bytes = match self.written(place) {
                Some(written) if is_own(place) => written.as_ref().map(Value::len),
                _ => self.kept_at(place),
            }?;
            Some(slot.name.as_bytes().len() + bytes)
        });
        sizes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// How many bytes are kept for the value of an attribute, whoever leaves or discards; `None` when it will have none.
    fn kept(&self, name: &AttributeName) -> Option<usize> {
        self.kept_at(self.find(name).ok()?)
    }

    fn kept_at(&self, place: u32) -> Option<usize> {
        let slot = &self.slots[place as usize];
        let length = |value: &Option<Value>| value.as_ref().map(Value::len);
        let reserved = slot.out.or_else(|| self.reserved(place));
        length(&slot.value)
            .max(self.written(place).and_then(length))
            .max(reserved.map(|reserved| reserved.bytes() as usize))
    }

    /// What a thread inside has written to the attribute at `place`.
    pub(crate) fn written(&self, place: u32) -> Option<&Option<Value>> {
        let mut holders = self.lock.holders().iter();
        holders.find_map(|claim| claim.written(place))
    }

    /// What is kept of the attribute at `place` for the thread inside.
    fn reserved(&self, place: u32) -> Option<Reserved> {
        let mut holders = self.lock.holders().iter();
        holders.find_map(|claim| claim.reserved.filter(|_| claim.wanted.has(place)))
    }

    /// Takes a part of a write set into the client state.
    pub(crate) fn merge(&mut self, written: Vec<Written>) {
        for Written { slot, value } in written {
            let slot = &mut self.slots[slot as usize];
            // r[release.really-changed]
            slot.is_dirty |= value != slot.value;
            // r[thread.sees-state]
            slot.value = value;
        }
    }

    /// Takes what those inside for whom `is_meant` have written into the client state; they stay inside.
    pub(crate) fn merge_of(&mut self, is_meant: impl Fn(ThreadId) -> bool) {
        let meant = self
            .lock
            .holders_mut()
            .filter(|claim| is_meant(claim.thread));
        let written: Vec<Written> = meant
            .flat_map(|claim| core::mem::take(&mut claim.written))
            .collect();
        self.merge(written);
    }

    /// Whether something has changed since it was last sent to the store.
    pub(crate) fn is_dirty(&self) -> bool {
        self.slots.iter().any(|slot| slot.is_dirty)
    }

    /// The changes since they were last sent.
    pub(crate) fn take_dirty(&mut self) -> Delta {
        let dirty = self.slots.iter_mut().filter(|slot| slot.is_dirty);
        dirty
            .map(|slot| {
                slot.is_dirty = false;
                Change {
                    name: slot.name.clone(),
                    value: slot.value.clone(),
                }
            })
            .collect()
    }

    /// Takes over what came from the store.
    pub(crate) fn apply(&mut self, delta: &Delta) {
        for change in delta.changes() {
            let slot = self.slot(&change.name) as usize;
            // r[thread.sees-state]
            self.slots[slot].value = change.value.clone();
            self.slots[slot].is_dirty = false;
        }
    }

    /// Forgets all values; who holds and who waits stays.
    pub(crate) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.value = None;
            slot.is_dirty = false;
        }
        self.tidy();
    }

    /// Forgets attributes that have no value and that nobody wants.
    pub(crate) fn tidy(&mut self) {
        if self.lock.is_free() {
            self.slots
                .retain(|slot| slot.value.is_some() || slot.is_dirty || slot.out.is_some());
        }
    }

    /// Gives memory back that is not needed now.
    pub(crate) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
        for value in self.slots.iter_mut().filter_map(|slot| slot.value.as_mut()) {
            if value.is_unique() {
                // No copy: only what counted its owners goes.
                *value = Value::from(Vec::from(core::mem::take(value)));
            }
        }
        self.lock.shrink();
    }
}

fn place(place: usize) -> u32 {
    u32::try_from(place).expect("fewer than 2^32 slots")
}
