//! Where a lock is: in a session that its user has a handle to, or in one that it has named by its id.
//!
//! A handle counts as an owner of what is kept of its session. To take one by id, only to drop it after the lock, costs four
//! atomic operations, half of all, and a cache line that nothing else needs. So a lock by id counts nothing. [`Map::enter`] goes
//! into the attribute's cell while it has the lock of the session's shard; from then on it is *being inside* that keeps the
//! session:
//!
//! - only [`Map::update`] lets an entry or its cells go, under the shard's lock; so nobody goes in by id meanwhile;
//! - it lets neither go while anybody is inside, which the cell's word says, or the session's list of those in no cell;
//! - whoever has left, or has not come in, looks at neither again.
//!
//! A session that cannot be entered that way, since its attribute is taken or not handed out, gets an owner as before, and keeps
//! it while it waits.
//!
//! `unsafe` is for a reference that lives longer than the shard's lock, for these reasons, which no borrow can say. That memory
//! is not given back too early is seen by the checkers ([`Cell`](crate::cell::Cell)'s `lives`).
#![allow(unsafe_code)]

use crate::cell::{Entrance, HandedOver, Held};
use crate::cells::Key;
use crate::entry::{Entered, Entry, Granted};
use crate::hub::Hub;
use crate::map::Map;
use crate::mutant::{self, LockMutant};
use crate::session::Session;
use crate::sync::{Arc, lock};
use std::fmt;
use std::ops::Deref;
use tenure_protocol::id::ShortId;
use tenure_protocol::{AttributeName, SessionId};

/// Which session a request is for.
#[derive(Clone, Copy)]
pub(crate) enum SessionRef<'s> {
    Handle(&'s Session),
    Id(&'s Arc<Hub>, &'s SessionId),
}

/// A session with an owner.
#[derive(Debug)]
pub(crate) enum Opened<'s> {
    Handle(&'s Session),
    Own(SessionRef<'s>, Session),
}

/// The session that a guard is inside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GuardSession<'s> {
    Handle(&'s Session),
    /// Not to be looked at once the guard has left.
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

    /// Goes into an open cell, unless the lease has ended by the coarse clock that `entrance` was read from.
    ///
    /// The clock is read before the cell is entered: a thread that is stopped in between is stopped inside its call.
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

    /// With an owner of what is kept of the session.
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
    /// Lets a thread into one attribute without the process, if it can.
    pub(crate) fn enter_one(
        &self,
        name: &AttributeName,
        entrance: Entrance,
        existing: bool,
    ) -> Option<(GuardSession<'s>, Entered<'s>)> {
        // SAFETY: given out only when somebody has gone in.
        let home = unsafe { self.home() };
        let entered = self.hub.enter_one(home.entry(), name, entrance, existing)?;
        Some((home, entered))
    }

    /// Where the guard is of who was granted attributes of this session.
    pub(crate) fn enter(&self, granted: Granted) -> (GuardSession<'s>, Entered<'s>) {
        // SAFETY: who was granted it is inside.
        let home = unsafe { self.home() };
        (home, Entered::Session(granted))
    }

    /// Goes into an attribute that was handed off.
    pub(crate) fn follow(
        &self,
        handed_off: HandedOver,
        entrance: Entrance,
    ) -> (GuardSession<'s>, Entered<'s>) {
        // SAFETY: to whom it was handed off is inside.
        let home = unsafe { self.home() };
        let held = home.entry().follow(handed_off, entrance);
        (home, Entered::Cell(held))
    }

    /// # Safety
    /// Not to be looked at when `self` has gone, unless a thread is inside for whom it is.
    unsafe fn home(&self) -> GuardSession<'s> {
        match self {
            Self::Handle(session) => GuardSession::Handle(session),
            Self::Own(of, own) => {
                // SAFETY: kept by `self`, and then by who is inside, see the module.
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

    /// Goes out, see [`Held::leave`].
    #[inline(always)]
    #[must_use = "it is still inside when the cell was closed"]
    pub(crate) fn leave(self, held: &Held<'_>, keeps: bool) -> bool {
        let now = self.hub().clock.seen();
        match self {
            Self::Handle(_) => held.leave(keeps, now),
            Self::Inside(..) => held.leave_nothing(keeps, now),
        }
    }

    /// With a handle, for all that takes longer anyway.
    pub(crate) fn with<R>(self, uses: impl FnOnce(&Session) -> R) -> R {
        match self {
            Self::Handle(session) => uses(session),
            Self::Inside(..) => uses(&self.handle()),
        }
    }

    /// What keeps the session when the guard has left, if its user does not.
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
                    hub.map.get(&entry.id).expect("kept by who is inside")
                },
            },
        }
    }
}

impl Map {
    /// Goes into an open cell of a session while its shard is locked; counts no owner.
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
            // SAFETY: none.
            let entry = unsafe { &*entry };
            return Some((entry, entry.enter_cell(key, entrance)?));
        }
        let (entry, held) = shard.enter(id, key, entrance)?;
        // SAFETY: who is inside keeps both, see the module.
        Some(unsafe { (&*entry, held.outlive()) })
    }
}
