//! An index that saves a step a walk over all sessions: the due time of each session, the number of held sessions, and
//! the number of unsettled ones. It is derived from the sessions, so it is no part of a process's identity.

use super::{Phase, Session};
use crate::id::{SessionId, Time};
use alloc::collections::BTreeSet;
use core::hash::{Hash, Hasher};
use core::ops::{Deref, DerefMut};

/// A value that is derived from the rest of a state. All such values are equal, and none is hashed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Derived<T>(T);

impl<T> PartialEq for Derived<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Derived<T> {}

impl<T> Hash for Derived<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<T> Deref for Derived<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Derived<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// The entries of one session in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The time at which an unanswered message is sent again, if there is a connection.
    resend: Option<Time>,
    /// The time at which the first wait of a thread ends, or the grant is given up.
    end: Option<Time>,
    is_held: bool,
    is_releasing: bool,
    is_unsettled: bool,
}

impl Noted {
    fn of(session: &Session, resend_ms: u64) -> Self {
        let is_waiting = session.is_waiting_for_store();
        let ends = [session.late_due(), session.state.lock.next_end()];
        Self {
            resend: is_waiting.then(|| session.sent.after(resend_ms)),
            end: ends.into_iter().flatten().min(),
            is_held: matches!(session.phase, Phase::Held(_)),
            is_releasing: matches!(session.phase, Phase::Releasing { .. }),
            is_unsettled: !session.is_settled(),
        }
    }
}

/// The index; see the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) resends: BTreeSet<(Time, SessionId)>,
    pub(crate) ends: BTreeSet<(Time, SessionId)>,
    /// The detached sessions with waiting threads, each with the time at which its first wait ends, or an earlier time.
    pub(crate) waited: BTreeSet<(Time, SessionId)>,
    pub(crate) held: usize,
    pub(crate) releasing: usize,
    pub(crate) unsettled: usize,
    /// The number of detached sessions.
    pub(crate) detached: usize,
}

impl Index {
    /// Updates the entries of a session that has changed or is new.
    #[inline]
    pub(crate) fn note(&mut self, id: &SessionId, session: &mut Session, resend_ms: u64) {
        let now = Noted::of(session, resend_ms);
        if now != *session.noted {
            let before = core::mem::replace(&mut *session.noted, now.clone());
            self.replace(id, &before, &now);
        }
    }

    /// Removes the entries of a session that no longer exists.
    pub(crate) fn forget(&mut self, id: &SessionId, session: &mut Session) {
        let before = core::mem::take(&mut *session.noted);
        self.replace(id, &before, &Noted::default());
    }

    fn replace(&mut self, id: &SessionId, before: &Noted, now: &Noted) {
        replace(&mut self.resends, id, before.resend, now.resend);
        replace(&mut self.ends, id, before.end, now.end);
        let count = |count: &mut usize, before: bool, now: bool| {
            *count = *count + usize::from(now) - usize::from(before);
        };
        count(&mut self.held, before.is_held, now.is_held);
        count(&mut self.releasing, before.is_releasing, now.is_releasing);
        count(&mut self.unsettled, before.is_unsettled, now.is_unsettled);
    }

    /// Returns whether the entries of a session are correct.
    #[cfg(debug_assertions)]
    pub(crate) fn is_right(&self, id: &SessionId, session: &Session, resend_ms: u64) -> bool {
        let noted = Noted::of(session, resend_ms);
        let has = |set: &BTreeSet<_>, time: Option<Time>| {
            time.is_none_or(|time| set.contains(&(time, id.clone())))
        };
        noted == *session.noted && has(&self.resends, noted.resend) && has(&self.ends, noted.end)
    }
}

pub(crate) fn replace(
    set: &mut BTreeSet<(Time, SessionId)>,
    id: &SessionId,
    before: Option<Time>,
    now: Option<Time>,
) {
    if before == now {
        return;
    }
    if let Some(before) = before {
        set.remove(&(before, id.clone()));
    }
    if let Some(now) = now {
        set.insert((now, id.clone()));
    }
}

/// Returns the sessions in `set` that are due.
pub(crate) fn due(
    set: &BTreeSet<(Time, SessionId)>,
    now: Time,
) -> impl Iterator<Item = &(Time, SessionId)> {
    set.iter().take_while(move |(due, _)| *due <= now)
}
