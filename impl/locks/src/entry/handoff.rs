//! The session's side of a direct handoff in a cell (`cell/handoff`). When the session's mutex is unlocked, the next
//! handoff is planned and published. When the mutex is locked, a handoff that has happened is settled, and one that has
//! not is withdrawn.
//!
//! `unsafe` is used as in [`entry`](super): the mutex of the cell's session is held.
#![allow(unsafe_code)]

use super::Locked;
use crate::key::Key;
use crate::mutant::{self, LockMutant};
use crate::waiter::LockAnswer;
use std::convert::identity;
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
    /// Publishes the next handoff, if the session can predict it. The plan is valid until the mutex is locked again.
    #[cold]
    fn publish(&mut self) -> Option<()> {
        let state = &mut *self.state;
        let handoff = state.detached.as_mut()?.plan()?;
        let Handoff { name, from, to } = &handoff;
        let rare = state.rare.as_mut()?;
        let waiter = rare.waiting.get(to)?;
        if !matches!(waiter.names, Names::One(_)) {
            return None; // A request for several attributes, which happens to name only this one.
        }
        let cell = self.cells.get(Key::new(name.as_bytes()))?;
        // SAFETY: the mutex of the cell's session is held.
        let is_planned = unsafe { cell.publish(*from, waiter) };
        rare.handoff = is_planned.then_some(handoff);
        Some(())
    }

    /// Settles in the session a handoff that was planned and has happened.
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
        let cell = cell.expect(
            "`publish` has found this cell, and cells are never removed from a session in use",
        );
        // SAFETY: the mutex of the cell's session is held.
        let is_withdrawn = unsafe { cell.withdraw() };
        if is_withdrawn || mutant::is(LockMutant::OverlooksHandoff) {
            return;
        }
        let state = &mut *self.state;
        let waiter = state.end_waiting(handoff.to);
        let waiter = waiter.expect(
            "waiters change only under the session's mutex, and `publish` has found this one",
        );
        let detached = state
            .detached
            .as_mut()
            .expect("`publish` has planned with the detached session under the same mutex");
        // SAFETY: as above, and the cell's previous user has left.
        let handed_off = unsafe {
            let written = cell.handed_off().map(identity);
            detached.settle_handoff(cell.at(), handoff, written);
            cell.settle_user(waiter.entrance)
        };
        // The thread that hands off may not have answered the wait yet.
        waiter
            .wait
            .answer_early(Ok(LockAnswer::HandedOff(handed_off)));
    }
}
