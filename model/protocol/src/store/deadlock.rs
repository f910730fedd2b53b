//! Deadlocks across sessions: cycles of holders that each need a session of the next one before they can release. Rule
//! 17.
//!
//! A session *needs* another session when three conditions hold: its holder was recalled, reported that threads inside
//! cannot leave without the other session, and waits for that session at this store. All threads inside must leave
//! before a grant comes back, so every cycle of needs is a deadlock.

use super::peers::Peers;
use super::sessions::Sessions;
use super::step::Step;
use crate::id::SessionId;
use crate::message::Refusal;
use crate::mutant::Hook;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

impl<H: Hook> Step<'_, H> {
    /// Refuses one wait of a cycle through `start`, or through a session whose holder waits for `start`, if there is
    /// one.
    pub(crate) fn break_deadlock(&mut self, start: &SessionId) {
        if !self.ctx.rules.breaks_deadlock() {
            return;
        }
        let Some(cycle) = self.cycle_through(start) else {
            return;
        };
        let victim = self
            .sessions
            .get(&cycle[0])
            .and_then(|session| session.holder())
            .cloned();
        // r[deadlock.true]
        let wanted = cycle[1 % cycle.len()].clone();
        if let (Some(process), Some(session)) = (victim, self.sessions.get_mut(&wanted)) {
            // r[deadlock.found]
            session.refuse_waiter(
                &wanted,
                &process,
                Refusal::Deadlock { cycle },
                &mut self.ctx,
            );
        }
    }

    /// Returns a cycle of needs that starts and ends at `start`. Visits every session at most once.
    fn cycle_through(&self, start: &SessionId) -> Option<Vec<SessionId>> {
        let needs = |id| needs(id, self.sessions, self.ctx.peers);
        let first = needs(start);
        if first.is_empty() {
            return None; // Most sessions need no other session.
        }
        let mut seen = BTreeSet::from([start]);
        // The path. Each entry has a session and the needs of that session that were not followed yet.
        let mut path = vec![(start, first)];
        while let Some((_, open)) = path.last_mut() {
            match open.pop() {
                Some(next) if next == start => {
                    return Some(path.into_iter().map(|(id, _)| id.clone()).collect());
                }
                Some(next) if seen.insert(next) => path.push((next, needs(next))),
                Some(_) => {}
                None => drop(path.pop()),
            }
        }
        None
    }
}

/// Returns the sessions that the holder of the session `id` waits for and needs before it can release.
pub(super) fn needs<'s, H: Hook>(
    id: &SessionId,
    sessions: &'s Sessions<H>,
    peers: &'s Peers,
) -> Vec<&'s SessionId> {
    let session = sessions.get(id);
    let Some((process, busy)) =
        session.and_then(|session| Some((session.holder()?, session.busy.as_ref()?)))
    else {
        return Vec::new();
    };
    // r[deadlock.true]
    peers.waited_for(process, &busy.blocked_on).collect()
}
