//! The session's side of a handoff that is made in its cell (`cell/handoff`): when the lock is let go, what is sure to
//! come next is planned; when it is taken, what has happened since is noted, and what has not is taken back.
//!
//! `unsafe` as in [`entry`](super): the lock of the cell's session is held.
#![allow(unsafe_code)]

use super::Locked;
use crate::cells::Key;
use crate::mutant::{self, LockMutant};
use crate::wait::Outcome;
use tenure_protocol::process::{Handoff, Names};

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        let rare = self.state.rare.as_ref();
        if rare.is_some_and(|rare| !rare.waiting.is_empty()) {
            self.publish();
        }
    }
}

impl Locked<'_> {
    /// Publishes the handoff that is sure to come next, if there is one, until this is locked again.
    #[cold]
    fn publish(&mut self) -> Option<()> {
        let state = &mut *self.state;
        let handoff = state.detached.as_mut()?.plan()?;
        let Handoff { name, from, to } = &handoff;
        let rare = state.rare.as_mut()?;
        let waiter = rare.waiting.get(to)?;
        if !matches!(waiter.names, Names::One(_)) {
            return None; // It asked for several, and named one.
        }
        let cell = self.cells.get(Key::new(name.as_bytes()))?;
        // SAFETY: the lock of the cell's session is held.
        let is_planned = unsafe { cell.publish(*from, waiter) };
        rare.handoff = is_planned.then_some(handoff);
        Some(())
    }

    /// Has the session note a handoff that was planned and has happened.
    #[inline]
    pub(super) fn settle_planned(&mut self) {
        let rare = self.state.rare.as_mut();
        if let Some(handoff) = rare.and_then(|rare| rare.handoff.take()) {
            self.settle(&handoff);
        }
    }

    #[cold]
    fn settle(&mut self, handoff: &Handoff) {
        let cell = self.cells.get(Key::new(handoff.name.as_bytes()));
        let cell = cell.expect("it was planned there");
        // SAFETY: the lock of the cell's session is held.
        let is_withdrawn = unsafe { cell.withdraw() };
        if is_withdrawn || mutant::is(LockMutant::OverlooksHandoff) {
            return;
        }
        let state = &mut *self.state;
        let waiter = state.end_waiting(handoff.to);
        let waiter = waiter.expect("it waited when the session was last locked");
        let detached = state.detached.as_mut().expect("as before");
        // SAFETY: as above; the cell's user has left.
        let handed_off = unsafe {
            detached.settle_handoff(cell.at(), handoff, cell.handed_off());
            cell.settle_user(waiter.entrance)
        };
        // Whoever hands off may not have come to that.
        waiter.wait.answer_early(Outcome::Entered(handed_off));
    }
}
