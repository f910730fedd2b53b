//! A reference to the session of a lock: through a user's handle, or by session id.
//!
//! A handle is a counted owner of the session's entry. For a lock by id, creating and dropping such an owner would cost
//! four atomic operations, half of all, and one more cache line. So a lock by id counts no owner. Instead,
//! [`Map::enter`] enters the attribute's cell while it holds the mutex of the session's shard. From then on, the thread
//! inside keeps the entry alive:
//!
//! - Only [`Map::update`] frees an entry or its cells, and it holds the shard's mutex. So no thread can enter by id at
//!   the same time.
//! - [`Map::update`] frees neither while any thread is inside. Threads inside are visible in the state word of the
//!   cell, or in the session's list of guards without a cell.
//! - A thread that has left, or that did not get in, accesses neither again.
//!
//! If the cell is held or closed, the fast path cannot enter it. The request then takes a counted owner, and keeps it
//! while it waits.
//!
//! # Why there is `unsafe` here
//!
//! A reference outlives the guard of the shard's mutex, for the reasons above, which no borrow can express. The
//! checkers verify that no memory is freed too early (field `lives` of [`Cell`](crate::cell::Cell)).
#![allow(unsafe_code)]

use crate::cell::{Entrance, HandedOver, Held};
use crate::entry::{Entered, Entry};
use crate::granted::Granted;
use crate::hub::Hub;
use crate::key::Key;
use crate::map::Map;
use crate::mutant::{self, LockMutant};
use crate::session::Session;
use crate::sync::{Arc, lock};
use crate::waiter::LockAnswer;
use std::fmt;
use std::ops::Deref;
use tenure_protocol::id::ShortId;
use tenure_protocol::{AttributeName, SessionId};

/// The session of a request, through a handle or by id.
#[derive(Clone, Copy)]
pub(crate) enum SessionRef<'s> {
    Handle(&'s Session),
    Id(&'s Arc<Hub>, &'s SessionId),
}

/// A session with a counted owner of its entry.
#[derive(Debug)]
pub(crate) enum Opened<'s> {
    Handle(&'s Session),
    Own(SessionRef<'s>, Session),
}

/// The session of a guard.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GuardSession<'s> {
    Handle(&'s Session),
    /// A session by id. Must not be accessed after the guard has left.
    Inside(&'s Arc<Hub>, &'s Entry),
}

impl fmt::Debug for SessionRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(session) => session.fmt(f),
            Self::Id(_, id) => ShortId(id).fmt(f),
        }
    }
}

impl<'s> SessionRef<'s> {
    #[inline(always)]
    pub(crate) fn hub(self) -> &'s Arc<Hub> {
        match self {
            Self::Handle(session) => &session.hub,
            Self::Id(hub, _) => hub,
        }
    }

    /// Enters an open cell, unless the lease has ended by the coarse clock reading in `entrance`.
    ///
    /// The clock is read before the cell is entered. If the thread is stopped in between, it is stopped inside of this
    /// call.
    #[inline(always)]
    pub(crate) fn enter_cell(
        self,
        key: Key<'_>,
        entrance: Entrance,
    ) -> Option<(GuardSession<'s>, Held<'s>)> {
        if self.hub().clock.is_past_lease(entrance.now) && !mutant::is(LockMutant::OutlivesLease) {
            return None;
        }
        match self {
            Self::Handle(session) => {
                let held = session.entry.enter_cell(key, entrance)?;
                Some((GuardSession::Handle(session), held))
            }
            Self::Id(hub, id) => {
                let (entry, held) = hub.map.enter(id, key, entrance)?;
                Some((GuardSession::Inside(hub, entry), held))
            }
        }
    }

    /// Returns the session with a counted owner of its entry.
    pub(crate) fn open(self) -> Opened<'s> {
        match self {
            Self::Handle(session) => Opened::Handle(session),
            Self::Id(hub, id) => {
                let entry = hub.entry(id);
                let hub = Arc::clone(hub);
                Opened::Own(self, Session { hub, entry })
            }
        }
    }
}

impl<'s> Opened<'s> {
    /// Enters one attribute without the machine, if possible.
    pub(crate) fn enter_one(
        &self,
        name: &AttributeName,
        entrance: Entrance,
        existing: bool,
    ) -> Option<(GuardSession<'s>, Entered<'s>)> {
        // SAFETY: the reference is returned only if this thread is inside, which keeps the entry alive.
        let home = unsafe { self.home() };
        let entered = self.hub.enter_one(home.entry(), name, entrance, existing)?;
        Some((home, entered))
    }

    /// Returns the guard's session and access, for attributes that were granted through the session.
    pub(crate) fn enter(&self, granted: Granted) -> (GuardSession<'s>, Entered<'s>) {
        // SAFETY: the thread with this grant is inside, which keeps the entry alive.
        let home = unsafe { self.home() };
        (home, Entered::Session(granted))
    }

    /// Takes the lock of an answered request.
    #[inline(always)]
    pub(crate) fn take(
        &self,
        answer: LockAnswer,
        entrance: Entrance,
    ) -> (GuardSession<'s>, Entered<'s>) {
        match answer {
            LockAnswer::Granted(granted) => self.enter(*granted),
            LockAnswer::HandedOff(handed_off) => self.follow(handed_off, entrance),
        }
    }

    /// Enters an attribute that another thread has handed off to this one.
    fn follow(
        &self,
        handed_off: HandedOver,
        entrance: Entrance,
    ) -> (GuardSession<'s>, Entered<'s>) {
        // SAFETY: the receiver of a handoff is inside, which keeps the entry alive.
        let home = unsafe { self.home() };
        let held = home.entry().follow(handed_off, entrance);
        (home, Entered::Cell(held))
    }

    /// # Safety
    /// After `self` is dropped, the result may be accessed only while the thread that it belongs to is inside.
    unsafe fn home(&self) -> GuardSession<'s> {
        match self {
            Self::Handle(session) => GuardSession::Handle(session),
            Self::Own(of, own) => {
                // SAFETY: the entry is kept alive by `self`, and then by the thread inside, see the
                // module.
                GuardSession::Inside(of.hub(), unsafe { &*Arc::as_ptr(&own.entry) })
            }
        }
    }
}

impl Deref for Opened<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        match self {
            Self::Handle(session) => session,
            Self::Own(_, session) => session,
        }
    }
}

impl<'s> GuardSession<'s> {
    #[inline(always)]
    pub(crate) fn hub(self) -> &'s Arc<Hub> {
        match self {
            Self::Handle(session) => &session.hub,
            Self::Inside(hub, _) => hub,
        }
    }

    #[inline(always)]
    pub(crate) fn entry(self) -> &'s Entry {
        match self {
            Self::Handle(session) => &session.entry,
            Self::Inside(_, entry) => entry,
        }
    }

    /// Leaves the cell, see [`Held::leave`].
    #[inline(always)]
    #[must_use = "`false` means that the cell was closed and the thread is still inside"]
    pub(crate) fn leave(self, held: &Held<'_>, keeps: bool) -> bool {
        let now = self.hub().clock.seen();
        match self {
            Self::Handle(_) => held.leave(keeps, now),
            Self::Inside(..) => held.leave_nothing(keeps, now),
        }
    }

    /// Calls `uses` with a handle, for slow paths.
    pub(crate) fn with<R>(self, uses: impl FnOnce(&Session) -> R) -> R {
        match self {
            Self::Handle(session) => uses(session),
            Self::Inside(..) => uses(&self.handle()),
        }
    }

    /// Returns a counted owner that keeps the entry alive after the guard has left, if the user has no handle.
    pub(crate) fn owner(self) -> Option<Session> {
        match self {
            Self::Inside(..) if !mutant::is(LockMutant::HandsOffUnowned) => Some(self.handle()),
            _ => None,
        }
    }

    pub(crate) fn handle(self) -> Session {
        match self {
            Self::Handle(session) => session.clone(),
            Self::Inside(hub, entry) => Session {
                hub: Arc::clone(hub),
                entry: if hub.is_forked() {
                    hub.entry(&entry.id)
                } else {
                    hub.map
                        .get(&entry.id)
                        .expect("the guard is inside, so `Map::update` has not removed its entry")
                },
            },
        }
    }
}

impl Map {
    /// Enters an open cell of a session while holding the mutex of its shard. Counts no owner.
    #[inline(always)]
    pub(crate) fn enter(
        &self,
        id: &SessionId,
        key: Key<'_>,
        entrance: Entrance,
    ) -> Option<(&Entry, Held<'_>)> {
        let mut shard = lock(self.shard(id));
        if mutant::is(LockMutant::EntersLate) {
            let entry = shard.get(id).map(Arc::as_ptr)?;
            drop(shard);
            // SAFETY: none; this mutant is a seeded bug.
            let entry = unsafe { &*entry };
            return Some((entry, entry.enter_cell(key, entrance)?));
        }
        let (entry, held) = shard.enter(id, key, entrance)?;
        // SAFETY: the thread inside keeps both alive, see the module.
        Some(unsafe { (&*entry, held.outlive()) })
    }
}
