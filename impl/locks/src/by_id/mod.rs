//! A lock by session id, without a handle: [`Locks::lock`](crate::Locks::lock).
//!
//! A handle is a counted owner of the session's entry. For a lock by id, creating and dropping such an owner would cost
//! four atomic operations, half of all, and one more cache line. So a lock by id counts no owner. Instead,
//! [`ById::enter`] enters the attribute's cell while it holds the mutex of the session's shard. From then on, the
//! thread inside keeps the entry alive:
//!
//! - Only [`Map::update`](crate::map::Map::update) frees an entry or its cells, and it holds the shard's mutex. So no
//!   thread can enter by id at the same time.
//! - `Map::update` frees neither while any thread is inside. Threads inside are visible in the state word of the cell,
//!   or in the session's list of guards without a cell.
//! - A thread that has left, or that did not get in, accesses neither again.
//!
//! If the cell is held or closed, the fast path cannot enter it. The request then takes a counted owner
//! ([`ById::open`]), and keeps it while it waits.
//!
//! A change in place needs a copy of the value, in case that the change is discarded. Through a handle, the copy is
//! changed. By id, the value itself is changed, and the copy is in memory of the thread ([`spare`]). The copy is the
//! current value while the thread is inside, and the thread takes the unused memory along when it leaves. This costs
//! one more atomic operation, but touches only half of the memory. By id, that memory is usually in no cache.
//!
//! # What is lost without it
//!
//! Only time. [`Locks::lock`](crate::Locks::lock) would open a handle for each lock, which takes 1.3 times as long
//! (docs/src/locks.md). No rule needs this folder. To remove it, replace
//! [`SessionRef`](crate::session_ref::SessionRef), `Opened` and `GuardSession` by a handle, and the slots of
//! [`table`](crate::table) by those of any hash table. The functions `exchange` and `leave_taking` of a cell and its
//! flag `VACANT` go with them.
//!
//! # Why there is `unsafe` here
//!
//! A reference outlives the guard of the shard's mutex, for the reasons above, which no borrow can express. The
//! checkers verify that no memory is freed too early (field `lives` of [`Cell`](crate::cell::Cell)).
#![allow(unsafe_code)]

mod spare;

use crate::cell::{Entrance, Held};
use crate::entry::Entry;
use crate::hub::Hub;
use crate::key::Key;
use crate::mutant::{self, LockMutant};
use crate::session::Session;
use crate::sync::{Arc, lock};
use std::fmt;
use tenure_protocol::SessionId;
use tenure_protocol::id::ShortId;

/// The session of a request by id.
#[derive(Clone, Copy)]
pub(crate) struct ById<'s> {
    hub: &'s Arc<Hub>,
    id: &'s SessionId,
}

/// The session of a guard without a handle. Must not be accessed after the guard has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unowned<'s> {
    hub: &'s Arc<Hub>,
    entry: &'s Entry,
}

impl fmt::Debug for ById<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShortId(self.id).fmt(f)
    }
}

impl<'s> ById<'s> {
    #[inline(always)]
    pub(crate) fn new(hub: &'s Arc<Hub>, id: &'s SessionId) -> Self {
        Self { hub, id }
    }

    #[inline(always)]
    pub(crate) fn hub(self) -> &'s Arc<Hub> {
        self.hub
    }

    /// Enters an open cell of the session while holding the mutex of its shard. Counts no owner.
    #[inline(always)]
    pub(crate) fn enter(self, key: Key<'_>, entrance: Entrance) -> Option<(Unowned<'s>, Held<'s>)> {
        let Self { hub, id } = self;
        let mut shard = lock(hub.map.shard(id));
        if mutant::is(LockMutant::EntersLate) {
            let entry = shard.get(id).map(Arc::as_ptr)?;
            drop(shard);
            // SAFETY: none; this mutant is a seeded bug.
            let entry = unsafe { &*entry };
            return Some((Unowned { hub, entry }, entry.enter_cell(key, entrance)?));
        }
        let (entry, held) = shard.enter(id, key, entrance)?;
        // SAFETY: the thread inside keeps both alive, see the module.
        let (entry, held) = unsafe { (&*entry, held.outlive()) };
        Some((Unowned { hub, entry }, held))
    }

    /// Returns a counted owner of the session's entry.
    pub(crate) fn open(self) -> Session {
        Session {
            entry: self.hub.entry(self.id),
            hub: Arc::clone(self.hub),
        }
    }

    /// Returns the session of a guard, for an attribute that was not entered by id.
    ///
    /// # Safety
    /// `session` is from [`ById::open`]. After it is dropped, the result may be accessed only while the thread that it
    /// belongs to is inside.
    pub(crate) unsafe fn unowned(self, session: &Session) -> Unowned<'s> {
        Unowned {
            hub: self.hub,
            // SAFETY: the entry is kept alive by `session`, and then by the thread inside, see the module.
            entry: unsafe { &*Arc::as_ptr(&session.entry) },
        }
    }
}

impl<'s> Unowned<'s> {
    #[inline(always)]
    pub(crate) fn hub(self) -> &'s Arc<Hub> {
        self.hub
    }

    #[inline(always)]
    pub(crate) fn entry(self) -> &'s Entry {
        self.entry
    }

    /// Leaves the cell as [`Held::leave`] does, and takes the memory of the other slot along for the thread's next
    /// copy.
    #[inline(always)]
    #[must_use = "`false` means that the cell was closed and the thread is still inside"]
    pub(crate) fn leave(self, held: &Held<'_>, keeps: bool) -> bool {
        held.leave_taking(keeps, self.hub.clock.seen(), spare::keep)
    }

    /// Returns a counted owner that keeps the entry alive after the guard has left.
    pub(crate) fn owner(self) -> Option<Session> {
        (!mutant::is(LockMutant::HandsOffUnowned)).then(|| self.handle())
    }

    /// Returns a handle to the session.
    pub(crate) fn handle(self) -> Session {
        let Self { hub, entry } = self;
        Session {
            hub: Arc::clone(hub),
            entry: if hub.is_forked() {
                hub.entry(&entry.id)
            } else {
                hub.map
                    .get(&entry.id)
                    .expect("the guard is inside, so `Map::update` has not removed its entry")
            },
        }
    }
}

/// Changes the value in place as [`Held::edit`] does. The copy keeps the old value, and the value itself is changed. So
/// the copy is in memory that this thread has just used, and the value stays at its address.
#[inline(always)]
pub(crate) fn edit<R>(held: &mut Held<'_>, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    if let Some(copy) = held.unwritten().map(spare::copy) {
        spare::keep(held.exchange(copy));
    }
    held.edit(change)
}
