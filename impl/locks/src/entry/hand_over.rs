//! The session's side of a hand-over that is made in its cell (`cell/hand_over`): when the lock is let go, what is sure to
//! come next is prepared; when it is taken, what has happened since is noted, and what has not is taken back.
//!
//! `unsafe` as in [`entry`](super): the lock of the cell's session is held.
#![allow(unsafe_code)]

use super::Locked;
use crate::cells::Key;
use crate::mutant::{self, LockMutant};
use crate::wait::Outcome;
use tenure_protocol::process::{HandOver, Names};

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        let rare = self.state.rare.as_ref();
        if rare.is_some_and(|rare| !rare.waiting.is_empty()) {
            self.prepare();
        }
    }
}

impl Locked<'_> {
    /// Prepares the hand-over that is sure to come next, if there is one, until this is locked again.
    #[cold]
    fn prepare(&mut self) -> Option<()> {
        let state = &mut *self.state;
        let hand_over = state.lent.as_mut()?.foresee()?;
        let HandOver { name, from, to } = &hand_over;
        let rare = state.rare.as_mut()?;
        let waiter = rare.waiting.get(to)?;
        if !matches!(waiter.names, Names::One(_)) {
            return None; // It asked for several, and named one.
        }
        let cell = self.cells.get(Key::new(name.as_bytes()))?;
        // SAFETY: the lock of the cell's session is held.
        let is_prepared = unsafe { cell.prepare(*from, waiter) };
        rare.hand_over = is_prepared.then_some(hand_over);
        Some(())
    }

    /// Has the session note a hand-over that was prepared and has happened.
    #[inline]
    pub(super) fn catch_up(&mut self) {
        let rare = self.state.rare.as_mut();
        if let Some(hand_over) = rare.and_then(|rare| rare.hand_over.take()) {
            self.note(&hand_over);
        }
    }

    #[cold]
    fn note(&mut self, hand_over: &HandOver) {
        let cell = self.cells.get(Key::new(hand_over.name.as_bytes()));
        let cell = cell.expect("it was prepared there");
        // SAFETY: the lock of the cell's session is held.
        let is_revoked = unsafe { cell.revoke() };
        if is_revoked || mutant::is(LockMutant::OverlooksHandOver) {
            return;
        }
        let state = &mut *self.state;
        let waiter = state.end_waiting(hand_over.to);
        let waiter = waiter.expect("it waited when the session was last locked");
        let lent = state.lent.as_mut().expect("as before");
        // SAFETY: as above; the cell's user has left.
        let handed_over = unsafe {
            lent.note_hand_over(cell.at(), hand_over, cell.handed_over());
            cell.note_user(waiter.entrance)
        };
        // Whoever hands over may not have come to that.
        waiter.wait.answer_early(Outcome::Entered(handed_over));
    }
}
