//! The session's side of a handoff: planned and published when the session's mutex is unlocked, settled or withdrawn
//! when the mutex is locked.
#![allow(unsafe_code)]

use crate::cells::Cells;
use crate::key::Key;
use crate::mutant::{self, LockMutant};
use crate::state::State;
use crate::waiter::LockAnswer;
use std::convert::identity;
use tenure_protocol::process::{Handoff, Names};

/// Publishes the next handoff, if the session can predict it. The plan is valid until the mutex is locked again.
///
/// # Safety
/// `cells` are the cells of the session with this state.
#[cold]
pub(crate) unsafe fn publish(state: &mut State, cells: &Cells) -> Option<()> {
    let handoff = state.detached.as_mut()?.plan()?;
    let Handoff { name, from, to } = &handoff;
    let waiter = state.waiting(*to)?;
    if !matches!(waiter.names, Names::One(_)) {
        return None; // A request for several attributes, which happens to name only this one.
    }
    let cell = cells.get(Key::new(name.as_bytes()))?;
    // SAFETY: the mutex of the cell's session is held, since the state is behind it.
    let is_planned = unsafe { cell.publish(*from, waiter) };
    state.note_handoff(is_planned.then_some(handoff));
    Some(())
}

/// Settles in the session a handoff that was planned, if it has happened. Otherwise, withdraws it.
///
/// # Safety
/// As [`publish`].
#[cold]
pub(crate) unsafe fn settle(state: &mut State, cells: &Cells, handoff: &Handoff) {
    let cell = cells.get(Key::new(handoff.name.as_bytes()));
    let cell = cell
        .expect("`publish` has found this cell, and cells are never removed from a session in use");
    // SAFETY: the mutex of the cell's session is held, since the state is behind it.
    let is_withdrawn = unsafe { cell.withdraw() };
    if is_withdrawn || mutant::is(LockMutant::OverlooksHandoff) {
        return;
    }
    let waiter = state.end_waiting(handoff.to);
    let waiter = waiter
        .expect("waiters change only under the session's mutex, and `publish` has found this one");
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
