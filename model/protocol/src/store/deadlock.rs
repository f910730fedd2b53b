//! Cycles across sessions: holders that cannot give back before they get what another one holds. Rule 17.
//!
//! A session *needs* another when its holder was recalled, said that threads inside cannot leave without the other, and
//! waits for it here. All threads inside must leave before a grant comes back, so every cycle of needs is a deadlock.

use super::{Output, StoreMachine};
use crate::id::{ProcessId, SessionId, Time};
use crate::message::Refusal;
use crate::mutant::{Hook, ProtocolMutant};
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

impl<H: Hook> StoreMachine<H> {
    /// Refuses one wait of a cycle through `start`, or through a session whose holder waits for `start`, if there is one.
    pub(crate) fn break_deadlock(&mut self, now: Time, start: &SessionId, out: &mut Vec<Output>) {
        if self.hook.is_mutant(ProtocolMutant::OverlooksDeadlock) {
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
        let (mut ctx, sessions) = self.open(now, out);
        if let (Some(process), Some(session)) = (victim, sessions.get_mut(&wanted)) {
            // r[deadlock.found]
            session.refuse_waiter(&wanted, &process, Refusal::Deadlock { cycle }, &mut ctx);
        }
    }

    /// A cycle of needs that starts and ends at `start`. Every session is visited at most once.
    fn cycle_through(&self, start: &SessionId) -> Option<Vec<SessionId>> {
        let needs = self.needs(start);
        if needs.is_empty() {
            return None; // By far the most.
        }
        let mut seen = BTreeSet::from([start]);
        // The path, and for each session on it what it needs that was not followed yet.
        let mut path = vec![(start, needs)];
        while let Some((_, needs)) = path.last_mut() {
            match needs.pop() {
                Some(next) if next == start => {
                    return Some(path.into_iter().map(|(id, _)| id.clone()).collect());
                }
                Some(next) if seen.insert(next) => path.push((next, self.needs(next))),
                Some(_) => {}
                None => drop(path.pop()),
            }
        }
        None
    }

    /// The sessions that this one's holder waits for and cannot give it back without.
    pub(crate) fn needs(&self, id: &SessionId) -> Vec<&SessionId> {
        let session = self.sessions.get(id);
        let Some((process, busy)) =
            session.and_then(|session| Some((session.holder()?, session.busy.as_ref()?)))
        else {
            return Vec::new();
        };
        // r[deadlock.true]
        self.waited_for(process, &busy.blocked_on).collect()
    }

    /// Which of these sessions the process waits for.
    pub(crate) fn waited_for<'s>(
        &'s self,
        process: &ProcessId,
        sessions: &'s [SessionId],
    ) -> impl Iterator<Item = &'s SessionId> {
        let waits = self.peer(process).map(|peer| &peer.waits);
        sessions
            .iter()
            .filter(move |id| waits.is_some_and(|waits| waits.contains(*id)))
    }
}
