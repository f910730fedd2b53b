//! The state of a session behind its mutex: the detached session, and the threads in it that no cell shows.

use crate::cell::Entrance;
use crate::granted::Granted;
use crate::snapshot::Discard;
use crate::sync::Arc;
use crate::uses::Use;
use crate::waiter::{LockAnswer, Waiter};
use std::collections::{BTreeMap, btree_map};
use std::task::Waker;
use tenure_protocol::process::{Detached, Handoff, Names};
use tenure_protocol::{ThreadId, Time};

/// The state behind the entry's mutex.
#[derive(Debug)]
pub(crate) struct State {
    /// The detached session. `None` while the session is in the machine, or unknown.
    pub(crate) detached: Option<Detached>,
    /// The position of this session in the order of last use.
    pub(crate) last_use: Use,
    /// The state that most sessions do not need.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    /// The guards without a cell.
    inside: Vec<Inside>,
    /// The threads that wait for a lock. Each thread waits for at most one lock of this session.
    waiting: BTreeMap<ThreadId, Arc<Waiter>>,
    /// The last discarded write set.
    discard: Option<Discard>,
    /// The handoff that is planned in a cell, whether or not it has happened yet.
    handoff: Option<Handoff>,
}

impl State {
    /// Returns the state of a new session.
    pub(crate) fn new() -> Self {
        Self {
            detached: None,
            last_use: Use::new(),
            rare: None,
        }
    }

    /// Returns the guards without a cell.
    pub(crate) fn inside(&self) -> &[Inside] {
        self.rare.as_ref().map_or(&[], |rare| &rare.inside)
    }

    /// Adds a guard without a cell.
    #[inline(always)]
    pub(crate) fn note_inside(&mut self, inside: Inside) {
        self.rare.get_or_insert_default().inside.push(inside);
    }

    /// Removes a guard without a cell that has left.
    pub(crate) fn end_inside(&mut self, thread: ThreadId, names: &Names) -> Option<Inside> {
        let inside = &mut self.rare.as_mut()?.inside;
        let is_it = |own: &Inside| own.entrance.thread == thread && own.names == *names;
        let place = inside.iter().position(is_it)?;
        Some(inside.swap_remove(place))
    }

    /// Returns whether any thread waits for a lock.
    #[inline]
    pub(crate) fn has_waiting(&self) -> bool {
        let rare = self.rare.as_ref();
        rare.is_some_and(|rare| !rare.waiting.is_empty())
    }

    /// Returns the request of a thread that waits for a lock.
    pub(crate) fn waiting(&self, thread: ThreadId) -> Option<&Arc<Waiter>> {
        self.rare.as_ref()?.waiting.get(&thread)
    }

    /// Adds a thread that waits for a lock. Returns `false` if the thread already waits for one.
    #[must_use]
    pub(crate) fn note_waiting(&mut self, waiter: Arc<Waiter>) -> bool {
        let all = &mut self.rare.get_or_insert_default().waiting;
        match all.entry(waiter.entrance.thread) {
            btree_map::Entry::Vacant(place) => {
                place.insert(waiter);
                true
            }
            btree_map::Entry::Occupied(_) => false,
        }
    }

    /// Removes a thread that waits for a lock.
    #[inline(always)]
    pub(crate) fn end_waiting(&mut self, thread: ThreadId) -> Option<Arc<Waiter>> {
        self.rare.as_mut()?.waiting.remove(&thread)
    }

    /// Removes this wait of a thread. Returns whether the thread was still waiting for it.
    pub(crate) fn end_wait(&mut self, waiter: &Arc<Waiter>) -> bool {
        let thread = waiter.entrance.thread;
        let own = self.waiting(thread);
        let is_it = own.is_some_and(|own| Arc::ptr_eq(own, waiter));
        is_it && self.end_waiting(thread).is_some()
    }

    /// Grants a lock to a waiting thread. The thread is inside from now on, even before it takes its guard. Returns the
    /// waker to wake.
    #[inline(always)]
    pub(crate) fn let_in(&mut self, now: Time, waiter: &Waiter, granted: Granted) -> Option<Waker> {
        let names = waiter.names.clone();
        let entrance = Entrance {
            now,
            ..waiter.entrance
        };
        self.note_inside(Inside { names, entrance });
        waiter
            .wait
            .answer(Ok(LockAnswer::Granted(Box::new(granted))))
    }

    /// Returns the last discarded write set.
    pub(crate) fn discard(&self) -> Option<&Discard> {
        self.rare.as_ref()?.discard.as_ref()
    }

    /// Records a discarded write set.
    pub(crate) fn note_discard(&mut self, discard: Discard) {
        self.rare.get_or_insert_default().discard = Some(discard);
    }

    /// Records the handoff that is planned in a cell, if any.
    pub(crate) fn note_handoff(&mut self, handoff: Option<Handoff>) {
        self.rare.get_or_insert_default().handoff = handoff;
    }

    /// Takes the handoff that was planned in a cell.
    #[inline]
    pub(crate) fn take_handoff(&mut self) -> Option<Handoff> {
        self.rare.as_mut()?.handoff.take()
    }

    /// Frees memory that an unused session does not need.
    pub(crate) fn shrink(&mut self) {
        self.rare.take_if(|rare| {
            rare.inside.is_empty() && rare.waiting.is_empty() && rare.discard.is_none()
        });
        if let Some(detached) = &mut self.detached {
            detached.shrink();
        }
    }
}

/// A guard without a cell.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    pub(crate) names: Names,
    pub(crate) entrance: Entrance,
}
