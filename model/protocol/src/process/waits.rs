//! The waits of each thread, the sessions that block the threads inside a recalled session, and deadlocks. Rules 3 and
//! 17.

use super::context::{Step, StepContext};
use super::session::{Ending, Phase, Session};
use super::watch::Reach;
use super::{Answer, Output, ProcessMachine};
use crate::id::{SessionId, ThreadId, Token};
use crate::message::{Refusal, ToStore};
use crate::mutant::Hook;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

impl<H: Hook> ProcessMachine<H> {
    /// Updates `waits` after a step of the session `id` with these outputs. `caller` is the thread that called.
    pub(crate) fn note_waits(
        &mut self,
        id: &SessionId,
        caller: Option<ThreadId>,
        outputs: &[Output],
    ) {
        for output in outputs {
            let Output::Answer {
                thread,
                answer: Answer::Locked(_) | Answer::Refused(_) | Answer::Poisoned(_),
                ..
            } = output
            else {
                continue;
            };
            if !self.is_waiting(*thread, id) {
                self.waits.end(*thread, id);
            }
        }
        if let Some(thread) = caller
            && self.is_waiting(thread, id)
        {
            self.waits.begin(thread, id);
        }
    }

    fn is_waiting(&self, thread: ThreadId, id: &SessionId) -> bool {
        let session = self.sessions.get(id);
        session.is_some_and(|session| session.state.is_waiting(thread))
    }

    /// Sends `Busy` for each recalled session with threads inside: when the recall comes, and when the blocking
    /// sessions change. Returns whether this step has closed the gate of `id`. `caller` is a thread that may have begun
    /// to wait.
    pub(crate) fn note_busy(
        &mut self,
        id: &SessionId,
        caller: Option<ThreadId>,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        let owes_busy = core::mem::take(&mut session.owes_busy);
        let is_busy = session.late_due().is_some();
        if !is_busy && !self.busy.is_empty() {
            self.forget_busy(id);
        }
        if is_busy && owes_busy {
            let blocked_on = self.blocked_on(id).0;
            // r[recall.obeyed]
            self.say_busy(id, blocked_on, step);
        }
        for session in self.busy_beside(id, caller) {
            let (blocked_on, reach) = self.blocked_on(&session);
            self.watch.set(&session, reach);
            if self.busy.get(&session) != Some(&blocked_on) {
                // r[deadlock.says-again]
                self.say_busy(&session, blocked_on, step);
            }
        }
        owes_busy
    }

    pub(crate) fn forget_busy(&mut self, id: &SessionId) {
        self.busy.remove(id);
        self.watch.forget(id);
    }

    /// Returns the recalled sessions whose reported blocking sessions the step of `id` may have changed.
    fn busy_beside(&mut self, id: &SessionId, caller: Option<ThreadId>) -> BTreeSet<SessionId> {
        if self.busy.is_empty() {
            return BTreeSet::new();
        }
        if core::mem::take(&mut self.watch.is_stale) {
            return self.busy.keys().cloned().collect();
        }
        let waits = caller.into_iter().flat_map(|thread| self.waits.of(thread));
        let sessions = waits.chain([id]);
        let beside = sessions.flat_map(|session| self.watch.of_session(session));
        let threads = caller.into_iter();
        let beside = beside.chain(threads.flat_map(|thread| self.watch.of_thread(thread)));
        let own = self.busy.get_key_value(id).map(|(id, _)| id);
        beside.chain(own).cloned().collect()
    }

    /// Refuses waits that a closing gate turns into a deadlock. When the gate closes, threads outside wait for all
    /// threads inside, which may wait for them in other sessions. Rule 17.
    pub(crate) fn break_gate_deadlocks(&mut self, id: &SessionId, step: &mut Step<'_>) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        // A waiting thread outside this set is in no cycle: it is blocked by some of the threads in the set alone.
        let reached = self.blockers_of(self.insiders(id));
        let lock = &session.state.lock;
        let places = reached.iter();
        let mut waiting: Vec<_> = places
            .filter_map(|thread| Some((lock.place_of(thread)?, *thread)))
            .collect();
        waiting.sort_unstable();
        for (_, thread) in waiting {
            self.break_local_deadlock(thread, id, step);
        }
    }

    fn say_busy(&mut self, id: &SessionId, blocked_on: Vec<SessionId>, step: &mut Step<'_>) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let (Some(grant), Some(link)) = (session.grant(), self.link()) else {
            self.watch.is_stale = true;
            return;
        };
        let (token, inside) = (grant.token, session.inside());
        let message = ToStore::Busy {
            session: id.clone(),
            token,
            inside,
            blocked_on: blocked_on.clone(),
        };
        step.send(link, message);
        self.busy.insert(id.clone(), blocked_on);
    }

    /// Returns the sessions that the threads inside `id` need before they can leave and that the store has to grant
    /// first. Also returns the reach of the search, on which the result depends.
    pub(crate) fn blocked_on(&self, id: &SessionId) -> (Vec<SessionId>, Reach) {
        let mut found = BTreeSet::new();
        let mut sessions = BTreeSet::new();
        let threads = self.blockers_of(self.insiders(id));
        for thread in &threads {
            for (session, waited) in self.waits_of(*thread) {
                sessions.insert(session);
                // r[deadlock.blocked-on]
                if waited.is_remote_for(*thread) {
                    found.insert(session.clone());
                }
            }
        }
        let reach = Reach {
            threads: threads.into_iter().collect(),
            sessions: sessions.into_iter().cloned().collect(),
        };
        (found.into_iter().collect(), reach)
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

    /// Returns the sessions in which `thread` waits: one, unless the application waits for several at once.
    fn waits_of(&self, thread: ThreadId) -> impl Iterator<Item = (&SessionId, &Session)> {
        let ids = self.waits.of(thread);
        ids.filter_map(|id| Some((id, &**self.sessions.get(id)?)))
    }

    /// Returns `threads` and all threads of this process that have to leave before them, directly or indirectly. A
    /// waiter in front for the same attributes is left out: the same threads block it. The search therefore visits only
    /// threads inside.
    fn blockers_of(&self, threads: Vec<ThreadId>) -> BTreeSet<ThreadId> {
        let mut open = threads;
        let mut seen = BTreeSet::new();
        while let Some(thread) = open.pop() {
            if seen.insert(thread) {
                for (id, session) in self.waits_of(thread) {
                    open.extend(self.blockers_in(id, session, thread));
                }
            }
        }
        seen
    }

    /// Returns the threads that have to leave before `thread`, which waits in the session `id`.
    fn blockers_in(&self, id: &SessionId, session: &Session, thread: ThreadId) -> Vec<ThreadId> {
        let mut blockers = session.blockers_of(thread);
        // A waiter in front that also waits elsewhere may be blocked by further threads.
        let lock = &session.state.lock;
        let behind = lock.place_of(&thread);
        let behind = behind.filter(|_| !session.is_remote_for(thread));
        let in_front = self.waits.twofold_in(id).filter(|other| {
            let place = lock.place_of(other);
            let places = behind.zip(place);
            places.is_some_and(|(behind, place)| lock.is_behind(behind, place))
        });
        blockers.extend(in_front);
        blockers
    }

    /// Returns the threads that a refused wait concerns, which are those in the cycle. Rule 17.
    pub(crate) fn victims_of(&self, why: &Refusal) -> BTreeSet<ThreadId> {
        match why {
            Refusal::Deadlock { cycle } => {
                self.blockers_of(cycle.iter().flat_map(|id| self.insiders(id)).collect())
            }
            _ => BTreeSet::new(),
        }
    }

    /// Refuses the wait of `thread` in the session `id` if the thread waits for itself through threads of this process.
    /// Called when a wait begins and when a gate closes: a cycle that a new wait closes contains the waiting thread.
    pub(crate) fn break_local_deadlock(
        &mut self,
        thread: ThreadId,
        id: &SessionId,
        step: &mut Step<'_>,
    ) {
        if !self.rules.breaks_local_deadlock() || !self.is_waiting(thread, id) {
            return;
        }
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let blockers = self.blockers_of(self.blockers_in(id, session, thread));
        if !blockers.contains(&thread) {
            return;
        }
        // The refusal names the sessions through which the threads of the cycle wait, so that a developer can find the
        // deadlock.
        let cycle = blockers.iter().flat_map(|blocker| self.waits.of(*blocker));
        let cycle = cycle.cloned();
        let cycle: BTreeSet<SessionId> = cycle.chain([id.clone()]).collect();
        let why = Refusal::Deadlock {
            cycle: cycle.into_iter().collect(),
        };
        // r[deadlock.local]
        self.in_session(id, step, |session, id, ctx| {
            session.end_wait(id, thread, why, ctx)
        });
    }
}

impl Session {
    /// Returns whether the waiting `thread` also waits for the store: the process has no grant, or none that the thread
    /// may use.
    fn is_remote_for(&self, thread: ThreadId) -> bool {
        match &self.phase {
            Phase::Held(grant) => !grant.lets_in() && !self.is_inside(thread),
            _ => true,
        }
    }

    /// Returns the threads inside that must leave before `thread` can be admitted here.
    fn blockers_of(&self, thread: ThreadId) -> Vec<ThreadId> {
        let lock = &self.state.lock;
        let Some(spot) = lock.place_of(&thread) else {
            return Vec::new();
        };
        if self.is_remote_for(thread) {
            // All threads inside must leave before the grant can come again.
            return lock.holders().iter().map(|claim| claim.thread).collect();
        }
        lock.in_the_way(spot).map(|claim| claim.thread).collect()
    }

    /// Returns the unanswered operation of a thread on the whole session under this token, if any.
    pub(crate) fn ending(&self, token: Token) -> Option<&Ending> {
        let grant = self.grant().filter(|grant| grant.token == token)?;
        grant.ending.as_ref().map(|(_, ending)| ending)
    }

    /// Gives the grant a new token after a rename. Returns the thread that asked for the rename.
    pub(crate) fn end_renaming(&mut self, token: Token) -> Option<ThreadId> {
        let Phase::Held(grant) = &mut self.phase else {
            return None;
        };
        // r[rename.new-hold]
        grant.token = token;
        // The threads that waited for the old id have been refused.
        grant.recall = None;
        grant.is_closed = false;
        grant.ending.take().map(|(thread, _)| thread)
    }

    /// Adopts the threads that waited for this id before a session was renamed to it.
    pub(crate) fn adopt<H: Hook>(
        &mut self,
        _: &SessionId,
        waiting: &Self,
        _: &mut StepContext<'_, H>,
    ) {
        for claim in waiting.state.lock.waiters() {
            let names = waiting.state.names(&claim.wanted);
            let wanted = self.state.wanted(&names);
            self.state.lock.enqueue(super::ThreadClaim {
                wanted,
                ..claim.clone()
            });
        }
        self.awaits_existing |= waiting.awaits_existing;
        self.poisoned.extend(waiting.poisoned.iter().copied());
    }

    /// Refuses all waiting threads that are not inside, because the process shuts down.
    pub(crate) fn close<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
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
            ctx,
        );
        self.cancel_if_unwanted(id, ctx);
        self.settle(id, ctx);
    }

    /// Returns whether the session has no grant, no unanswered message, no holder and no waiter.
    pub(crate) fn is_settled(&self) -> bool {
        self.phase == Phase::Absent && !self.is_waiting_for_store() && self.state.lock.is_free()
    }
}

/// The sessions for which each thread waits. Nearly every thread waits for one session at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Waits {
    /// The session for which each thread has waited longest.
    pub(crate) first: BTreeMap<ThreadId, SessionId>,
    /// The other sessions of each thread, in the order in which the waits began.
    further: BTreeMap<ThreadId, Vec<SessionId>>,
}

impl Waits {
    pub(crate) fn begin(&mut self, thread: ThreadId, id: &SessionId) {
        let first = self.first.entry(thread).or_insert_with(|| id.clone());
        if first == id {
            return;
        }
        let further = self.further.entry(thread).or_default();
        if !further.contains(id) {
            further.push(id.clone());
        }
    }

    pub(crate) fn end(&mut self, thread: ThreadId, id: &SessionId) {
        let further = self.further.get_mut(&thread);
        if let Some(further) = further {
            if self.first.get(&thread) == Some(id) {
                self.first.insert(thread, further.remove(0));
            } else {
                further.retain(|own| own != id);
            }
            if further.is_empty() {
                self.further.remove(&thread);
            }
        } else if self.first.get(&thread) == Some(id) {
            self.first.remove(&thread);
        }
    }

    /// Returns the sessions for which `thread` waits.
    pub(crate) fn of(&self, thread: ThreadId) -> impl Iterator<Item = &SessionId> {
        let further = self.further.get(&thread);
        let first = self.first.get(&thread).into_iter();
        first.chain(further.into_iter().flatten())
    }

    /// Returns the threads that wait for `id` and for another session.
    pub(crate) fn twofold_in(&self, id: &SessionId) -> impl Iterator<Item = ThreadId> {
        let twofold = self.further.iter();
        let here = twofold.filter(move |(thread, further)| {
            further.contains(id) || self.first.get(thread) == Some(id)
        });
        here.map(|(thread, _)| *thread)
    }
}
