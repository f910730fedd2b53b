//! The sessions ordered by last use, so that idle sessions are found without a visit to all others.
//!
//! A lock in a cell records the time only in the cell. So the order here is by the last *known* use, which is never
//! later than the last use. To find idle sessions, the first session is visited. If it was used since, it moves to its
//! new position. If not, no other session has been idle for longer. Each use costs at most one such move.
//!
//! A session is *noted* for a visit when it is new, and when a step of the machine has changed its state.

use std::collections::BTreeSet;
use tenure_protocol::{SessionId, Time};

/// The kind of state that the manager has for a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Class {
    /// The session has not been visited yet.
    #[default]
    New,
    /// A grant that may be in use.
    Warm,
    /// A cached grant whose memory for use was freed. The next use notes the session first.
    Cold,
    /// A grant that was idle for long, while a user still has a handle and may use the session without a note.
    Owned,
    /// A copy without a grant, as the base of a delta with the next grant.
    Copy,
    /// Any other state: a request, a grant that is being given back, or a handle to an unknown session.
    Other,
}

/// The position of a session in the order of last use. Stored with the session.
#[derive(Debug)]
pub(crate) struct Use {
    pub(crate) class: Class,
    /// The last use as known in the order.
    known: Time,
    /// Whether the session is noted for a visit.
    is_noted: bool,
}

impl Use {
    /// Returns the position of a new session, which the map has noted for its first visit.
    pub(crate) fn new() -> Self {
        Self {
            class: Class::New,
            known: Time::ZERO,
            is_noted: true,
        }
    }

    /// Records a use of the session. Returns whether the session must be noted for a visit.
    #[inline]
    pub(crate) fn wakes(&mut self) -> bool {
        self.class == Class::Cold && !std::mem::replace(&mut self.is_noted, true)
    }

    /// Records a visit.
    pub(crate) fn visited(&mut self) {
        self.is_noted = false;
    }
}

/// The state that the manager caches of an unused session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// The grant of the session.
    Grant,
    /// A copy of the session's state, as the base of a delta with the next grant. Rule 7.
    Copy,
}

type Order = BTreeSet<(Time, SessionId)>;

/// The sessions ordered by last known use. See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Uses {
    warm: Order,
    cold: Order,
    owned: Order,
    copies: Order,
    others: Order,
    /// The sessions to visit, each once.
    noted: Vec<SessionId>,
    /// The number of visits, for tests.
    pub(crate) visits: u64,
}

impl Uses {
    fn order(&mut self, class: Class) -> Option<&mut Order> {
        match class {
            Class::New => None,
            Class::Warm => Some(&mut self.warm),
            Class::Cold => Some(&mut self.cold),
            Class::Owned => Some(&mut self.owned),
            Class::Copy => Some(&mut self.copies),
            Class::Other => Some(&mut self.others),
        }
    }

    /// Notes a session for a visit, unless its state is unchanged.
    #[inline]
    pub(crate) fn note(&mut self, id: &SessionId, own: &mut Use, is_detached: bool) {
        let is_as_before = own.class == Class::Warm && is_detached;
        if !is_as_before && !std::mem::replace(&mut own.is_noted, true) {
            self.noted.push(id.clone());
        }
    }

    pub(crate) fn take_noted(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.noted)
    }

    /// Moves a session to its new class and position.
    pub(crate) fn put(&mut self, id: &SessionId, own: &mut Use, class: Class, used: Time) {
        if (own.class, own.known) == (class, used) {
            return;
        }
        let mut key = (own.known, id.clone());
        if let Some(order) = self.order(own.class) {
            order.remove(&key);
        }
        key.0 = used;
        if let Some(order) = self.order(class) {
            order.insert(key);
        }
        (own.class, own.known) = (class, used);
    }

    /// Returns the sessions that may be idle since `since` and either hold memory for use or must be visited from time
    /// to time.
    pub(crate) fn stale(&self, since: Time) -> Vec<SessionId> {
        let orders = [&self.warm, &self.others].into_iter();
        let stale = orders.flat_map(|order| order.iter().take_while(|(known, _)| *known <= since));
        stale.map(|(_, id)| id.clone()).collect()
    }

    /// Returns the first of the cached sessions after `after`, in the order of last known use.
    pub(crate) fn first(
        &self,
        cached: Cached,
        after: Option<&(Time, SessionId)>,
    ) -> Option<(Time, SessionId)> {
        let first = |order: &Order| match after {
            None => order.first().cloned(),
            Some(after) => {
                let bounds = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
                order.range::<(Time, SessionId), _>(bounds).next().cloned()
            }
        };
        match cached {
            Cached::Grant => {
                let grants = [&self.warm, &self.cold, &self.owned];
                grants.into_iter().filter_map(first).min()
            }
            Cached::Copy => first(&self.copies),
        }
    }

    /// Returns whether a cached session still has this last known use.
    pub(crate) fn has(&self, cached: Cached, use_of: &(Time, SessionId)) -> bool {
        match cached {
            Cached::Grant => {
                let mut grants = [&self.warm, &self.cold, &self.owned].into_iter();
                grants.any(|order| order.contains(use_of))
            }
            Cached::Copy => self.copies.contains(use_of),
        }
    }

    /// Returns the sessions that threads may be inside of or wait for.
    pub(crate) fn awake(&self) -> impl Iterator<Item = &SessionId> {
        let orders = [&self.warm, &self.owned, &self.others].into_iter();
        let known = orders.flatten().map(|(_, id)| id);
        known.chain(&self.noted)
    }
}
