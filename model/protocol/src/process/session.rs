//! One session inside a process: its phase, the client state, and the claims of the threads.

use super::Names;
use super::Poison;
use crate::attributes::{Delta, Value};
use crate::id::{
    AttributeName, ProcessId, Request, SessionId, ThreadId, Ticket, Time, Token, Version,
};
use crate::lock::{Claim, Lock};
use crate::message::{Hold, Notice, Patience};
use crate::renumber::Numbers;
use alloc::vec::Vec;

/// What the process has, or has asked for, at the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing.
    #[default]
    Absent,
    /// A request that has not ended.
    Wanted {
        /// Its number.
        request: Request,
        /// Its place in the store's queue, when it has one.
        ticket: Option<Ticket>,
        /// Whether it waits for other processes' threads.
        patience: Patience,
    },
    /// A request that is cancelled and has not ended.
    Cancelling {
        /// Its number.
        request: Request,
    },
    /// A grant.
    Held(Grant),
    /// A grant that was given back, without an answer yet.
    Releasing {
        /// Its token.
        token: Token,
        /// The version that the changes are made to.
        base: Version,
        /// The changes, to be sent again if need be.
        delta: Delta,
        /// The new request that went with it.
        requeue: Option<Request>,
        /// How long the session had been unused, in milliseconds.
        idle_ms: u64,
    },
}

/// A grant that the process has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Its fencing token.
    pub token: Token,
    /// The recall, and by when the process gives the grant up by itself. Rule 11.
    pub recall: Option<(Notice, Time)>,
    /// Whether the gate is closed: no new thread enters under this grant. Rule 12.
    pub is_closed: bool,
    /// Whether it is to be given back when it is idle. Rule 2.
    pub give_back: bool,
    /// A thread that ends or renames the session, without an answer yet. Until it comes no thread enters, also when
    /// this one has left, and the grant is not given back.
    pub ending: Option<(ThreadId, Ending)>,
}

impl Grant {
    /// Whether a thread that is not inside may enter under this grant. Rules 12 and 16.
    pub(crate) fn lets_in(&self) -> bool {
        !self.is_closed && self.ending.is_none()
    }
}

/// What a thread does to the whole session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It ends it.
    Destroy,
    /// It gives it a new id.
    Rename(SessionId),
}

impl Ending {
    /// Whether `Gone` answers it.
    pub(crate) fn is_done_by(&self, renamed: Option<&Hold>) -> bool {
        match (self, renamed) {
            (Self::Destroy, None) => true,
            (Self::Rename(to), Some(renamed)) => renamed.session == *to,
            _ => false,
        }
    }
}

/// One attribute of the client state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Its name.
    pub name: AttributeName,
    /// Its value, as the last thread that unlocked it left it.
    pub value: Option<Value>,
    /// What the thread inside has written and not unlocked: its part of the write set.
    pub written: Option<Option<Value>>,
    /// Whether the value has changed since it was last sent to the store.
    pub is_dirty: bool,
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
        match self {
            Self::All => true,
            Self::One(own) => *own == slot,
            Self::Many(own) => own.binary_search(&slot).is_ok(),
        }
    }

    fn shares(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => true,
            (Self::One(own), other) => other.has(*own),
            (Self::Many(own), other) => own.iter().any(|slot| other.has(*slot)),
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

/// A thread that holds attributes or waits for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThreadClaim {
    /// Which thread.
    pub thread: ThreadId,
    /// Which attributes.
    pub wanted: Wanted,
    /// Whether it waits for other threads.
    pub patience: Patience,
    /// When its wait ends.
    pub until: Time,
}

impl Claim for ThreadClaim {
    fn conflicts(&self, other: &Self) -> bool {
        self.wanted.shares(&other.wanted)
    }
}

/// A commit without an answer yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outgoing {
    /// The version that the changes are made to.
    pub base: Version,
    /// The changes.
    pub delta: Delta,
    /// The threads that wait for the answer.
    pub threads: Vec<ThreadId>,
}

/// A grant that came unasked and is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Returning {
    pub(crate) token: Token,
    /// Whether the store has taken it back.
    pub(crate) is_answered: bool,
}

/// One session inside a process: what the top of this file describes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    pub(crate) phase: Phase,
    /// The version of the client state; `None` when there is none. Without a grant it is a base for deltas (rule 7).
    pub(crate) version: Option<Version>,
    /// Sorted by name.
    pub(crate) slots: Vec<Slot>,
    pub(crate) lock: Lock<ThreadClaim>,
    /// Threads that were inside when their grant was lost, until they leave.
    pub(crate) poisoned: Vec<(ThreadId, Poison)>,
    pub(crate) commit: Option<Outgoing>,
    /// Threads whose commit waits for the one that is out.
    pub(crate) next_commit: Vec<ThreadId>,
    /// A recall that came before its grant. Rule 14.
    pub(crate) early_recall: Option<(Token, Notice)>,
    /// A grant that came unasked and is given back. It may still be under way a second time, so it is remembered until a
    /// newer one comes.
    pub(crate) returning: Option<Returning>,
    /// Whether a recall has come that `Busy` has to answer; settled within the step.
    pub(crate) owes_busy: bool,
    /// When a thread last left. Rule 16.
    pub(crate) used: Time,
    /// When something was last sent to the store that waits for an answer.
    pub(crate) sent: Time,
}

impl Session {
    /// What the process has, or has asked for, at the store.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The version of the client state; `None` when there is none.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The attributes of the client state, sorted by name.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The threads that hold and wait for attributes.
    #[must_use]
    pub fn lock(&self) -> &Lock<ThreadClaim> {
        &self.lock
    }

    /// Threads that were inside when their grant was lost, until they leave.
    #[must_use]
    pub fn poisoned(&self) -> &[(ThreadId, Poison)] {
        &self.poisoned
    }

    /// How `thread`, which has not left since, lost the grant.
    #[must_use]
    pub fn poison_of(&self, thread: ThreadId) -> Option<Poison> {
        let mut poisoned = self.poisoned.iter();
        let (_, why) = poisoned.find(|(poisoned, _)| *poisoned == thread)?;
        Some(*why)
    }

    /// The commit without an answer.
    #[must_use]
    pub fn commit(&self) -> Option<&Outgoing> {
        self.commit.as_ref()
    }

    /// A recall that came before its grant.
    #[must_use]
    pub fn early_recall(&self) -> Option<(Token, Notice)> {
        self.early_recall
    }

    /// A grant that came unasked and is given back, without an answer yet.
    #[must_use]
    pub fn returning(&self) -> Option<Token> {
        self.returning
            .filter(|returning| !returning.is_answered)
            .map(|returning| returning.token)
    }

    /// The grant, while the process has it.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match &self.phase {
            Phase::Held(grant) => Some(grant),
            _ => None,
        }
    }

    /// What `thread`, which has locked it, or anybody else sees in an attribute.
    #[must_use]
    pub fn value(&self, thread: ThreadId, name: &AttributeName) -> Option<&Value> {
        let slot = self.slots.iter().position(|slot| slot.name == *name)?;
        let is_inside = self.lock.holders().iter().any(|claim| {
            claim.thread == thread
                && claim
                    .wanted
                    .has(u32::try_from(slot).expect("fewer than 2^32 slots"))
        });
        let slot = &self.slots[slot];
        slot.written
            .as_ref()
            .filter(|_| is_inside)
            .unwrap_or(&slot.value)
            .as_ref()
    }

    /// Whether `thread` holds any attribute.
    #[must_use]
    pub fn is_inside(&self, thread: ThreadId) -> bool {
        self.lock
            .holders()
            .iter()
            .any(|claim| claim.thread == thread)
    }

    /// How many threads hold attributes.
    #[must_use]
    pub fn inside(&self) -> u32 {
        let holders = self.lock.holders();
        let first = |(at, claim): &(usize, &ThreadClaim)| {
            !holders[..*at]
                .iter()
                .any(|earlier| earlier.thread == claim.thread)
        };
        u32::try_from(holders.iter().enumerate().filter(first).count()).unwrap_or(u32::MAX)
    }

    /// The place of an attribute, which is made when there is none.
    pub(crate) fn slot(&mut self, name: &AttributeName) -> u32 {
        let place = match self.slots.binary_search_by(|slot| slot.name.cmp(name)) {
            Ok(place) => place,
            Err(place) => {
                self.make_slot(place, name);
                place
            }
        };
        u32::try_from(place).expect("fewer than 2^32 slots")
    }

    #[cold]
    fn make_slot(&mut self, place: usize, name: &AttributeName) {
        self.slots.insert(
            place,
            Slot {
                name: name.clone(),
                value: None,
                written: None,
                is_dirty: false,
            },
        );
        let at = u32::try_from(place).expect("fewer than 2^32 slots");
        let (holders, waiters) = self.lock.parts_mut();
        holders
            .iter_mut()
            .chain(waiters)
            .for_each(|claim| claim.wanted.make_room(at));
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

    /// The client state is worth nothing any more.
    pub(crate) fn drop_base(&mut self) {
        self.version = None;
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
                .retain(|slot| slot.value.is_some() || slot.is_dirty);
        }
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_blank(&self) -> bool {
        self.phase == Phase::Absent
            && self.version.is_none()
            && self.lock.is_free()
            && self.poisoned.is_empty()
            && self.returning.is_none()
    }

    pub(crate) fn visit(&mut self, process: &ProcessId, numbers: &mut impl Numbers) {
        match &mut self.phase {
            Phase::Absent => {}
            Phase::Wanted {
                request, ticket, ..
            } => {
                numbers.request(process, request);
                if let Some(ticket) = ticket {
                    numbers.stamp(&mut ticket.0);
                }
            }
            Phase::Cancelling { request } => numbers.request(process, request),
            Phase::Held(grant) => {
                numbers.stamp(&mut grant.token.0);
                if let Some((_, late)) = &mut grant.recall {
                    numbers.process_time(process, late);
                }
            }
            Phase::Releasing {
                token,
                base,
                requeue,
                ..
            } => {
                numbers.stamp(&mut token.0);
                numbers.stamp(&mut base.0);
                if let Some(request) = requeue {
                    numbers.request(process, request);
                }
            }
        }
        if let Some(version) = &mut self.version {
            numbers.stamp(&mut version.0);
        }
        let (holders, waiters) = self.lock.parts_mut();
        for claim in holders.iter_mut().chain(waiters) {
            numbers.process_time(process, &mut claim.until);
        }
        if let Some(commit) = &mut self.commit {
            numbers.stamp(&mut commit.base.0);
        }
        if let Some((token, _)) = &mut self.early_recall {
            numbers.stamp(&mut token.0);
        }
        if let Some(returning) = &mut self.returning {
            numbers.stamp(&mut returning.token.0);
        }
        numbers.process_mark(process, &mut self.used);
        numbers.process_mark(process, &mut self.sent);
    }
}
