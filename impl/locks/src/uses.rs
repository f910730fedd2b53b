//! The sessions by when they were last used, so that those that nobody uses are found without a look at the others.
//!
//! A lock in a cell notes the time in the cell and nothing else. So the order here is by the last use that is *known*, which is
//! never later than the last use. The session that comes first is looked at: if it was used since, it moves to where it belongs;
//! if not, no other one is unused for longer. Each use costs one such move at most.
//!
//! A session is *noted* to be looked at when it is new, and when a step of the process has left it otherwise than it was.

use crate::entry::State;
use std::collections::BTreeSet;
use tenure_protocol::{SessionId, Time};

/// What is known of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Class {
    /// The session has not been looked at.
    #[default]
    New,
    /// A grant that may be in use.
    Warm,
    /// A cached grant whose memory for use was given back. The next use notes the session first.
    Cold,
    /// A grant that nobody has used for long, of which somebody has a handle and may use it unseen.
    Owned,
    /// A copy without a grant, as a base for what comes with the next one.
    Copy,
    /// Something else: a request, a grant that is on its way back, a handle to what is not known.
    Other,
}

/// What the manager keeps of a session that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// Its grant.
    Grant,
    /// A copy of its state, as a base for what comes with the next grant. Rule 7.
    Copy,
}

type Order = BTreeSet<(Time, SessionId)>;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Uses {
    warm: Order,
    cold: Order,
    owned: Order,
    copies: Order,
    others: Order,
    /// Those to be looked at, each once.
    noted: Vec<SessionId>,
    /// How many were looked at, for tests.
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

    /// A session is to be looked at, unless nothing about it has changed.
    #[inline]
    pub(crate) fn note(&mut self, id: &SessionId, state: &mut State) {
        let is_as_before = state.class == Class::Warm && state.detached.is_some();
        if !is_as_before && !std::mem::replace(&mut state.is_noted, true) {
            self.noted.push(id.clone());
        }
    }

    pub(crate) fn take_noted(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.noted)
    }

    /// A session is this now.
    pub(crate) fn put(&mut self, id: &SessionId, state: &mut State, class: Class, used: Time) {
        if (state.class, state.known) == (class, used) {
            return;
        }
        let mut key = (state.known, id.clone());
        if let Some(order) = self.order(state.class) {
            order.remove(&key);
        }
        key.0 = used;
        if let Some(order) = self.order(class) {
            order.insert(key);
        }
        (state.class, state.known) = (class, used);
    }

    /// Those that may be unused since `since`, and hold memory that only use needs or are to be looked at from time to time.
    pub(crate) fn stale(&self, since: Time) -> Vec<SessionId> {
        let orders = [&self.warm, &self.others].into_iter();
        let stale = orders.flat_map(|order| order.iter().take_while(|(known, _)| *known <= since));
        stale.map(|(_, id)| id.clone()).collect()
    }

    /// The first of these after `after`, by the last use that is known.
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

    /// Whether one of these has that last use.
    pub(crate) fn has(&self, cached: Cached, use_of: &(Time, SessionId)) -> bool {
        match cached {
            Cached::Grant => {
                let mut grants = [&self.warm, &self.cold, &self.owned].into_iter();
                grants.any(|order| order.contains(use_of))
            }
            Cached::Copy => self.copies.contains(use_of),
        }
    }

    /// Those that somebody may be inside of or wait for.
    pub(crate) fn awake(&self) -> impl Iterator<Item = &SessionId> {
        let orders = [&self.warm, &self.owned, &self.others].into_iter();
        let known = orders.flatten().map(|(_, id)| id);
        known.chain(&self.noted)
    }
}
