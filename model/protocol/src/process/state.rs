//! The client state of one session and the threads' locks on it: the attributes, their holders and waiters, and the
//! writes of the threads inside.
//!
//! A write set belongs to the claim of its thread. When the thread leaves, its write set is merged into the attributes;
//! when the claim is dropped, the write set is lost. The [`Session`](super::Session) around this state decides what the
//! store has to do with any of it.

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
    /// The name of the attribute.
    pub name: AttributeName,
    /// The value that the last unlocking thread left.
    pub value: Option<Value>,
    /// Whether the value has changed since it was last sent to the store.
    pub is_dirty: bool,
    /// The bytes reserved for the value while the attribute is handed out, see
    /// [`Detached::hand_out`](super::Detached::hand_out).
    pub(crate) out: Option<Reserved>,
}

/// The number of bytes to which a value may grow without a check, because these bytes are reserved for it. Stored plus
/// one, so that an `Option` of it takes no more space.
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

/// A set of attributes by their place among the slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// All attributes, present and future.
    All,
    /// One attribute.
    One(u32),
    /// Several attributes, sorted.
    Many(Vec<u32>),
}

impl Wanted {
    /// Returns whether the attribute at `slot` is in the set.
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

/// A write of a thread inside to one attribute, which is not unlocked yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// The attribute's place among the slots.
    pub slot: u32,
    /// The written value; `None` when the attribute is removed.
    pub value: Option<Value>,
}

/// The claim of a thread that holds attributes or waits for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThreadClaim {
    /// The thread.
    pub thread: ThreadId,
    /// The attributes.
    pub wanted: Wanted,
    /// Whether the thread waits for other threads, or only tries.
    pub wait_mode: WaitMode,
    /// Whether the thread wants the session only if it exists. Rule 16.
    pub existing: bool,
    /// Whether the thread asked before the process sent its present request, so that the answer *absent* concerns this
    /// thread. Set only for an `existing` claim.
    pub(crate) is_asked: bool,
    /// The time at which the wait ends.
    pub until: Time,
    /// The thread's writes under this claim, sorted by slot. Empty while the thread waits.
    pub written: Vec<Written>,
    /// The bytes reserved for the claim's one attribute, if the thread locked it while it was handed out. There, a
    /// write of the thread may still be accepted. Kept until the thread leaves.
    pub(crate) reserved: Option<Reserved>,
}

impl ThreadClaim {
    /// Creates the claim of a thread that has written nothing.
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

    /// Returns whether the answer *absent* to the present request concerns this thread: the thread wants the session
    /// only if it exists, and it asked before the request was sent.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Returns the write to the attribute at `slot` under this claim.
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

/// The client state with its locks; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LockedState {
    /// The attributes, sorted by name.
    pub(crate) slots: Vec<Slot>,
    pub(crate) lock: Lock<ThreadClaim>,
}

impl LockedState {
    fn find(&self, name: &AttributeName) -> Result<u32, usize> {
        self.slots
            .binary_search_by(|slot| slot.name.cmp(name))
            .map(place)
    }

    /// Returns the place of an attribute, after creating the attribute if there is none.
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

    /// Converts `names` to places.
    pub(crate) fn wanted(&mut self, names: &Names) -> Wanted {
        match names {
            Names::All => Wanted::All,
            Names::One(name) => Wanted::One(self.slot(name)),
            Names::Many(names) => {
                // All slots are created before any place is read, because a new slot moves the others.
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

    /// Converts places to names.
    pub(crate) fn names(&self, wanted: &Wanted) -> Names {
        let name = |slot: &u32| self.slots[*slot as usize].name.clone();
        match wanted {
            Wanted::All => Names::All,
            Wanted::One(slot) => Names::One(name(slot)),
            Wanted::Many(slots) => Names::Many(slots.iter().map(name).collect()),
        }
    }

    /// Returns whether `claim` covers the attribute `name`.
    pub(crate) fn claims(&self, claim: &ThreadClaim, name: &AttributeName) -> bool {
        match self.find(name) {
            Ok(slot) => claim.wanted.has(slot),
            Err(_) => claim.wanted == Wanted::All,
        }
    }

    /// Returns the claim under which `thread` has locked an attribute.
    pub(crate) fn claim_of(&self, thread: ThreadId, name: &AttributeName) -> Option<&ThreadClaim> {
        let mut own = self.claims_of(thread);
        own.find(|claim| self.claims(claim, name))
    }

    /// Returns the claims under which `thread` is inside.
    pub(crate) fn claims_of(&self, thread: ThreadId) -> impl Iterator<Item = &ThreadClaim> {
        let holders = self.lock.holders().iter();
        holders.filter(move |claim| claim.thread == thread)
    }

    /// Returns whether `thread` holds any attribute.
    #[inline(always)]
    pub(crate) fn is_inside(&self, thread: ThreadId) -> bool {
        self.lock.is_inside(&thread)
    }

    /// Returns whether `thread` waits for any attribute.
    pub(crate) fn is_waiting(&self, thread: ThreadId) -> bool {
        self.lock.place_of(&thread).is_some()
    }

    /// Admits the next admissible waiter, if there is one, and returns its thread.
    #[inline(always)]
    pub(crate) fn admit(&mut self, gate: Gate) -> Option<ThreadId> {
        let spot = self.lock.next(gate)?;
        Some(self.lock.admit(spot).thread)
    }

    /// Returns the holder that blocks the first waiter, and this waiter, if leaving would admit this waiter alone. The
    /// holder must claim exactly the same attributes as the waiter, and `is_meant` must accept it.
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

    /// Returns the value of an attribute as `thread` sees it: its own write, if it has locked the attribute, or the
    /// client state.
    pub(crate) fn value(&self, thread: ThreadId, name: &AttributeName) -> Option<&Value> {
        let slot = self.find(name).ok()?;
        let own = self.claim_of(thread, name);
        own.and_then(|claim| claim.written(slot))
            .unwrap_or(&self.slots[slot as usize].value)
            .as_ref()
    }

    /// Puts a write of `thread` into its write set. Returns whether the thread has locked the attribute.
    ///
    /// # Errors
    /// The limit that the session would exceed. Rule 18.
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

    /// Returns the claim under which `thread` has locked the attribute at `slot`.
    pub(crate) fn holder_mut(&mut self, thread: ThreadId, slot: u32) -> Option<&mut ThreadClaim> {
        let mut holders = self.lock.holders_mut();
        holders.find(|claim| claim.thread == thread && claim.wanted.has(slot))
    }

    /// Removes the claim of `thread` to exactly these attributes.
    #[inline(always)]
    pub(crate) fn leave(&mut self, thread: ThreadId, names: &Names) -> Option<ThreadClaim> {
        if let Names::One(name) = names {
            // The claim itself names the attribute, so no search by name is needed.
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

    /// Removes the claim to these attributes, whichever thread holds them. For a seeded bug.
    pub(crate) fn remove_any(&mut self, names: &Names) -> Option<ThreadClaim> {
        let wanted = self.wanted(names);
        self.lock.remove_holder(|claim| claim.wanted == wanted)
    }

    /// Returns the limit that a write under the claim `own` would exceed, if any. Rule 18.
    fn limit_of(
        &self,
        own: &ThreadClaim,
        name: &AttributeName,
        value: Option<&Value>,
        limits: &Limits,
    ) -> Option<Limited> {
        let length = value?.len();
        if own.reserved.is_some() && Some(length) <= self.kept(name) {
            return None; // The handed-out attribute may have accepted it.
        }
        let before = self
            .find(name)
            .ok()
            .and_then(|place| self.slots[place as usize].value.as_ref());
        if before.is_some_and(|before| length <= before.len()) {
            return None; // The value does not grow; the limits may have fallen.
        }
        if length > limits.attribute_bytes_max {
            return Some(Limited::AttributeBytes);
        }
        match self.room(name, |slot| own.wanted.has(slot), limits) {
            Ok(room) => (length > room).then_some(Limited::SessionBytes),
            Err(limited) => Some(limited),
        }
    }

    /// Returns the limit that the attributes exceed, as they came from the store, if any. Rule 18.
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

    /// Returns the bytes to reserve for the unlocked attribute in `slot`, to which it may grow regardless of the other
    /// attributes. Reserves at most twice the present size and a little more. Returns `None` when the limits forbid
    /// even the present value, or one more attribute if the slot has no value.
    pub(crate) fn growth(&self, slot: &Slot, limits: &Limits) -> Option<Reserved> {
        let length = slot.value.as_ref().map_or(0, Value::len);
        let room = self.room(&slot.name, |_| false, limits).ok()?;
        let left = room.min(limits.attribute_bytes_max);
        if length > left {
            return None;
        }
        let enough = length.saturating_mul(2).saturating_add(64);
        // One half of the free bytes stays available to other attributes.
        let wished = enough.min(left / 2);
        Reserved::new(wished.max(length))
    }

    /// Returns the number of bytes that an attribute may have beside the others.
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

    /// Returns an upper bound of the number of other attributes with a value, and of the bytes of their names and
    /// values. Attributes locked together (`is_own`) are unlocked or discarded together. A write of another thread may
    /// be unlocked or discarded, so the larger of both values counts.
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

    /// Returns the most bytes that the value of an attribute can take, whether its writer unlocks or discards; `None`
    /// when it will have no value.
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

    /// Returns the write of a thread inside to the attribute at `place`, if any.
    pub(crate) fn written(&self, place: u32) -> Option<&Option<Value>> {
        let mut holders = self.lock.holders().iter();
        holders.find_map(|claim| claim.written(place))
    }

    /// Returns the bytes reserved for the thread inside that holds the attribute at `place`, if any.
    fn reserved(&self, place: u32) -> Option<Reserved> {
        let mut holders = self.lock.holders().iter();
        holders.find_map(|claim| claim.reserved.filter(|_| claim.wanted.has(place)))
    }

    /// Merges a write set into the client state.
    pub(crate) fn merge(&mut self, written: Vec<Written>) {
        for Written { slot, value } in written {
            let slot = &mut self.slots[slot as usize];
            // r[release.really-changed]
            slot.is_dirty |= value != slot.value;
            // r[thread.sees-state]
            slot.value = value;
        }
    }

    /// Merges the writes of the threads inside that `is_meant` accepts. The threads stay inside.
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

    /// Returns whether any attribute has changed since it was last sent to the store.
    pub(crate) fn is_dirty(&self) -> bool {
        self.slots.iter().any(|slot| slot.is_dirty)
    }

    /// Returns the changes since the last send, and marks them as sent.
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

    /// Applies changes that came from the store.
    pub(crate) fn apply(&mut self, delta: &Delta) {
        for change in delta.changes() {
            let slot = self.slot(&change.name) as usize;
            // r[thread.sees-state]
            self.slots[slot].value = change.value.clone();
            self.slots[slot].is_dirty = false;
        }
    }

    /// Removes all values. The holders and waiters stay.
    pub(crate) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.value = None;
            slot.is_dirty = false;
        }
        self.tidy();
    }

    /// Removes attributes without a value, when no thread holds or wants any attribute.
    pub(crate) fn tidy(&mut self) {
        if self.lock.is_free() {
            self.slots
                .retain(|slot| slot.value.is_some() || slot.is_dirty || slot.out.is_some());
        }
    }

    /// Frees memory that the state does not need at present.
    pub(crate) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
        for value in self.slots.iter_mut().filter_map(|slot| slot.value.as_mut()) {
            if value.is_unique() {
                // Nothing is copied: only the reference count of the value is freed.
                *value = Value::from(Vec::from(core::mem::take(value)));
            }
        }
        self.lock.shrink();
    }
}

fn place(place: usize) -> u32 {
    u32::try_from(place).expect("a session in memory has far fewer than 2^32 attributes")
}
