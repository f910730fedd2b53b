//! The session of a lock: through a user's handle, or [by id](crate::by_id).
#![allow(unsafe_code)] // For `ById::unowned`, whose result only the thread inside uses.

use crate::by_id::{self, ById, Unowned};
use crate::cell::{Entrance, HandedOver, Held};
use crate::entry::{Entered, Entry};
use crate::granted::Granted;
use crate::hub::Hub;
use crate::key::Key;
use crate::mutant::{self, LockMutant};
use crate::session::Session;
use crate::sync::Arc;
use crate::waiter::LockAnswer;
use std::fmt;
use std::ops::Deref;
use tenure_protocol::AttributeName;

/// The session of a request, through a handle or by id.
#[derive(Clone, Copy)]
pub(crate) enum SessionRef<'s> {
    Handle(&'s Session),
    Id(ById<'s>),
}

/// A session with a counted owner of its entry.
#[derive(Debug)]
pub(crate) enum Opened<'s> {
    Handle(&'s Session),
    Own(ById<'s>, Session),
}

/// The session of a guard.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GuardSession<'s> {
    Handle(&'s Session),
    Unowned(Unowned<'s>),
}

impl fmt::Debug for SessionRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(session) => session.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl<'s> SessionRef<'s> {
    #[inline(always)]
    pub(crate) fn hub(self) -> &'s Arc<Hub> {
        match self {
            Self::Handle(session) => &session.hub,
            Self::Id(id) => id.hub(),
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
            Self::Id(id) => {
                let (unowned, held) = id.enter(key, entrance)?;
                Some((GuardSession::Unowned(unowned), held))
            }
        }
    }

    /// Returns the session with a counted owner of its entry.
    pub(crate) fn open(self) -> Opened<'s> {
        match self {
            Self::Handle(session) => Opened::Handle(session),
            Self::Id(id) => Opened::Own(id, id.open()),
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
            // SAFETY: guaranteed by the caller.
            Self::Own(id, own) => GuardSession::Unowned(unsafe { id.unowned(own) }),
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
            Self::Unowned(own) => own.hub(),
        }
    }

    #[inline(always)]
    pub(crate) fn entry(self) -> &'s Entry {
        match self {
            Self::Handle(session) => &session.entry,
            Self::Unowned(own) => own.entry(),
        }
    }

    /// Leaves the cell, see [`Held::leave`].
    #[inline(always)]
    #[must_use = "`false` means that the cell was closed and the thread is still inside"]
    pub(crate) fn leave(self, held: &Held<'_>, keeps: bool) -> bool {
        match self {
            Self::Handle(session) => held.leave(keeps, session.hub.clock.seen()),
            Self::Unowned(own) => own.leave(held, keeps),
        }
    }

    /// Changes the value in a cell in place, see [`Held::edit`].
    #[inline(always)]
    pub(crate) fn edit<R>(self, held: &mut Held<'_>, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        match self {
            Self::Handle(_) => held.edit(change),
            Self::Unowned(_) => by_id::edit(held, change),
        }
    }

    /// Calls `uses` with a handle, for slow paths.
    pub(crate) fn with<R>(self, uses: impl FnOnce(&Session) -> R) -> R {
        match self {
            Self::Handle(session) => uses(session),
            Self::Unowned(own) => uses(&own.handle()),
        }
    }

    /// Returns a counted owner that keeps the entry alive after the guard has left, if the user has no handle.
    pub(crate) fn owner(self) -> Option<Session> {
        match self {
            Self::Handle(_) => None,
            Self::Unowned(own) => own.owner(),
        }
    }

    pub(crate) fn handle(self) -> Session {
        match self {
            Self::Handle(session) => session.clone(),
            Self::Unowned(own) => own.handle(),
        }
    }
}
