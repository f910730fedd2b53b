//! Which thread waits where, what blocks the threads inside a recalled session, and deadlocks. Rules 3 and 17.

use super::desk::Desk;
use super::session::{Ending, Phase, Session};
use super::{Answer, Output, Process};
use crate::defect::{Defect, Hook};
use crate::id::{SessionId, ThreadId, Time, Token};
use crate::lock::Claim;
use crate::message::{Refusal, ToStore};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

impl<H: Hook> Process<H> {
    /// Keeps `waits` right after a step of the session `id`, whose outputs begin at `from`.
    pub(crate) fn note_waits(&mut self, id: &SessionId, from: usize, out: &[Output]) {
        for output in &out[from..] {
            let Output::Answer {
                thread,
                answer: Answer::Locked(_) | Answer::Refused(_) | Answer::Poisoned(_),
                ..
            } = output
            else {
                continue;
            };
            if self.waits.get(thread) == Some(id) {
                self.waits.remove(thread);
            }
        }
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        for claim in session.state.lock.waiters() {
            self.waits.entry(claim.thread).or_insert_with(|| id.clone());
        }
    }

    /// Says `Busy` for each recalled session with threads inside: when the recall comes, and when other sessions block them.
    /// Answers whether the gate of `id` has just been found closed.
    pub(crate) fn note_busy(&mut self, id: &SessionId, out: &mut Vec<Output>) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        let owes_busy = core::mem::take(&mut session.owes_busy);
        let is_busy = session.late_due().is_some();
        if !is_busy && !self.busy.is_empty() {
            self.busy.remove(id);
        }
        if is_busy && owes_busy {
            let blocked_on = self.blocked_on(id);
            self.say_busy(id, blocked_on, out);
        }
        let said: Vec<SessionId> = self.busy.keys().cloned().collect();
        for session in said {
            let blocked_on = self.blocked_on(&session);
            if self.busy.get(&session) != Some(&blocked_on) {
                self.say_busy(&session, blocked_on, out);
            }
        }
        owes_busy
    }

    /// A gate that closes makes those outside wait for all inside, who may wait for them elsewhere. Rule 17.
    pub(crate) fn break_gate_deadlocks(
        &mut self,
        now: Time,
        id: &SessionId,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let waiting: Vec<ThreadId> = session
            .state
            .lock
            .waiters()
            .map(|claim| claim.thread)
            .collect();
        for thread in waiting {
            self.break_local_deadlock(now, thread, out);
        }
    }

    fn say_busy(&mut self, id: &SessionId, blocked_on: Vec<SessionId>, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let (Some(grant), Some(link)) = (session.grant(), self.link()) else {
            return;
        };
        let (token, inside) = (grant.token, session.inside());
        let message = ToStore::Busy {
            session: id.clone(),
            token,
            inside,
            blocked_on: blocked_on.clone(),
        };
        out.push(Output::Send { link, message });
        self.busy.insert(id.clone(), blocked_on);
    }

    /// The sessions that the threads inside `id` cannot leave it without, because the store has to grant them first.
    fn blocked_on(&self, id: &SessionId) -> Vec<SessionId> {
        let mut found = BTreeSet::new();
        for thread in self.blockers_of(self.insiders(id)) {
            if let Some((session, waited)) = self.wait_of(thread)
                && waited.is_remote_for(thread)
            {
                found.insert(session.clone());
            }
        }
        found.into_iter().collect()
    }

    fn insiders(&self, id: &SessionId) -> Vec<ThreadId> {
        let session = self.sessions.get(id);
        session
            .map(|session| {
                session
                    .state
                    .lock
                    .holders()
                    .iter()
                    .map(|claim| claim.thread)
                    .collect()
            })
            .unwrap_or_default()
    }

    fn wait_of(&self, thread: ThreadId) -> Option<(&SessionId, &Session)> {
        let id = self.waits.get(&thread)?;
        Some((id, self.sessions.get(id)?))
    }

    /// `threads` and all threads of this process that they wait for, directly or not.
    fn blockers_of(&self, threads: Vec<ThreadId>) -> BTreeSet<ThreadId> {
        let mut open = threads;
        let mut seen = BTreeSet::new();
        while let Some(thread) = open.pop() {
            if seen.insert(thread)
                && let Some((_, session)) = self.wait_of(thread)
            {
                open.extend(session.blockers_of(thread));
            }
        }
        seen
    }

    /// The threads that a refused wait concerns: those in the cycle. Rule 17.
    pub(crate) fn victims_of(&self, why: &Refusal) -> BTreeSet<ThreadId> {
        match why {
            Refusal::Deadlock { cycle } => {
                self.blockers_of(cycle.iter().flat_map(|id| self.insiders(id)).collect())
            }
            _ => BTreeSet::new(),
        }
    }

    /// Refuses the wait that `thread` has just begun if, through threads of this process, it waits for itself.
    pub(crate) fn break_local_deadlock(
        &mut self,
        now: Time,
        thread: ThreadId,
        out: &mut Vec<Output>,
    ) {
        if self.hook.makes(Defect::OverlooksLocalDeadlock) {
            return;
        }
        let Some((id, session)) = self.wait_of(thread) else {
            return;
        };
        let id = id.clone();
        let blockers = self.blockers_of(session.blockers_of(thread));
        if !blockers.contains(&thread) {
            return;
        }
        // The sessions through which the threads of the cycle wait, for whoever has to find it.
        let cycle = blockers
            .iter()
            .filter_map(|blocker| self.waits.get(blocker))
            .cloned();
        let cycle: BTreeSet<SessionId> = cycle.chain([id.clone()]).collect();
        let why = Refusal::Deadlock {
            cycle: cycle.into_iter().collect(),
        };
        self.in_session(now, &id, out, |session, id, desk| {
            session.end_wait(id, thread, why, desk)
        });
    }
}

impl Session {
    /// Whether `thread`, which waits here, waits for the store as well: there is no grant, or none that it may use.
    fn is_remote_for(&self, thread: ThreadId) -> bool {
        match &self.phase {
            Phase::Held(grant) => !grant.lets_in() && !self.is_inside(thread),
            _ => true,
        }
    }

    /// The threads that must leave, or be admitted, before `thread` can be admitted here.
    fn blockers_of(&self, thread: ThreadId) -> Vec<ThreadId> {
        let Some(place) = self
            .state
            .lock
            .waiters()
            .position(|claim| claim.thread == thread)
        else {
            return Vec::new();
        };
        if self.is_remote_for(thread) {
            // All inside must leave before the grant can come again.
            return self
                .state
                .lock
                .holders()
                .iter()
                .map(|claim| claim.thread)
                .collect();
        }
        let claim = self.state.lock.waiters().nth(place).expect("just found");
        let own_rank = !self.is_inside(thread);
        let holders = self.state.lock.holders().iter();
        let earlier = self
            .state
            .lock
            .waiters()
            .enumerate()
            .filter(|(other_place, other)| {
                let other_rank = !self.is_inside(other.thread);
                (other_rank, *other_place) < (own_rank, place)
            });
        let all = holders.chain(earlier.map(|(_, other)| other));
        all.filter(|other| other.conflicts(claim))
            .map(|other| other.thread)
            .collect()
    }

    /// What a thread does to the whole session under this token, without an answer yet.
    pub(crate) fn ending(&self, token: Token) -> Option<&Ending> {
        let grant = self.grant().filter(|grant| grant.token == token)?;
        grant.ending.as_ref().map(|(_, ending)| ending)
    }

    /// The session has a new id, and the grant this token; answers who asked for that.
    pub(crate) fn end_renaming(&mut self, token: Token) -> Option<ThreadId> {
        let Phase::Held(grant) = &mut self.phase else {
            return None;
        };
        grant.token = token;
        // Those who waited for the old id were told that it has gone.
        grant.recall = None;
        grant.is_closed = false;
        grant.ending.take().map(|(thread, _)| thread)
    }

    /// Takes in the threads that waited for this id before a session was renamed to it.
    pub(crate) fn adopt<H: Hook>(&mut self, _: &SessionId, waiting: &Self, _: &mut Desk<'_, H>) {
        for claim in waiting.state.lock.waiters() {
            let names = waiting.state.names(&claim.wanted);
            let wanted = self.state.wanted(&names);
            self.state.lock.enqueue(super::ThreadClaim {
                wanted,
                ..claim.clone()
            });
        }
        self.poisoned.extend(waiting.poisoned.iter().copied());
    }

    /// The process shuts down: no one may wait who is not inside.
    pub(crate) fn close<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        let insiders: Vec<ThreadId> = self
            .state
            .lock
            .holders()
            .iter()
            .map(|claim| claim.thread)
            .collect();
        self.refuse_waiters(
            id,
            &Refusal::ShuttingDown,
            |thread| !insiders.contains(&thread),
            desk,
        );
        self.cancel_if_unwanted(id, desk);
        self.settle(id, desk);
    }

    /// Whether nothing is held, wanted or without an answer.
    pub(crate) fn is_settled(&self) -> bool {
        self.phase == Phase::Absent && !self.is_waiting_for_store() && self.state.lock.is_free()
    }
}
