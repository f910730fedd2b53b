//! Threads: lock, write, unlock, and the gate. Rules 11 to 13.
//!
//! Threads inside come before threads outside, at the gate and in the queue. If a thread inside had to wait behind a
//! thread outside, it could never leave, and with the gate closed neither thread could proceed (rule 12).

use super::context::StepContext;
use super::session::{Ending, Grant, Phase, Session};
use super::state::ThreadClaim;
use super::{Answer, Call, Names, Poison};
use crate::attributes::Value;
use crate::id::{AttributeName, SessionId, ThreadId, Time};
use crate::lock::Gate;
use crate::message::{Limited, Refusal, ToStore, WaitMode};
use crate::mutant::Hook;

impl Session {
    pub(crate) fn call<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        call: &Call,
        ctx: &mut StepContext<'_, H>,
    ) {
        match call {
            Call::Lock {
                names,
                wait_mode,
                existing,
                until,
            } => self.lock_for(id, thread, names, (*wait_mode, *existing, *until), ctx),
            Call::Abandon => self.end_wait(id, thread, Refusal::Cancelled, ctx),
            Call::Write { name, value } => self.write(id, thread, name, value.as_ref(), ctx),
            Call::Unlock(names) => self.unlock(id, thread, names, true, ctx),
            Call::Discard(names) => {
                let keeps = ctx.rules.keeps_discarded();
                self.unlock(id, thread, names, keeps, ctx);
            }
            Call::Commit => self.commit_of(id, thread, ctx),
            Call::Destroy => self.end_session(id, thread, Ending::Destroy, ctx),
            Call::Rename(to) => self.end_session(id, thread, Ending::Rename(to.clone()), ctx),
        }
    }

    fn lock_for<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        names: &Names,
        (wait_mode, existing, until): (WaitMode, bool, Time),
        ctx: &mut StepContext<'_, H>,
    ) {
        if let Some(answer) = self.lock_misuse(thread, names, ctx) {
            return ctx.answer(thread, id, answer);
        }
        // r[thread.together]
        let claim = ThreadClaim {
            existing,
            ..ThreadClaim::new(thread, self.state.wanted(names), (wait_mode, until))
        };
        // r[thread.needs-grant]
        if let (Phase::Held(grant), true) = (&self.phase, self.may_enter(&claim, ctx)) {
            let token = grant.token;
            // r[exists.thread]
            if self.is_absent_to(&claim, ctx) {
                self.state.tidy();
                return ctx.refuse(thread, id, Refusal::Absent);
            }
            self.state.lock.hold(claim);
            // r[fence.token-shown]
            return ctx.answer(thread, id, Answer::Locked(token));
        }
        // r[try.thread]
        if wait_mode == WaitMode::Try && !self.may_try() {
            self.state.tidy();
            return ctx.refuse(thread, id, Refusal::WouldBlock);
        }
        // r[limit.threads]
        if self.state.lock.waiting() >= ctx.settings.limits.threads_max {
            return ctx.refuse(thread, id, Refusal::Limit(Limited::Threads));
        }
        self.awaits_existing = existing || (self.awaits_existing && self.state.lock.waiting() > 0);
        // r[gate.order]
        self.state.lock.enqueue_at(ctx.rules.queue_end(), claim);
        // r[thread.asks]
        self.want(id, wait_mode, ctx);
    }

    /// Returns the reason for which a thread may not even ask, if any.
    fn lock_misuse<H: Hook>(
        &self,
        thread: ThreadId,
        names: &Names,
        ctx: &StepContext<'_, H>,
    ) -> Option<Answer> {
        if let Some(why) = self.poison_of(thread) {
            return Some(Answer::Poisoned(why));
        }
        let is_named = |claim: &&ThreadClaim| match names {
            Names::All => true,
            Names::One(name) => self.state.claims(claim, name),
            Names::Many(names) => names.iter().any(|name| self.state.claims(claim, name)),
        };
        let mut own = self
            .state
            .lock
            .holders()
            .iter()
            .filter(|claim| claim.thread == thread);
        if own.any(|claim| is_named(&claim)) || self.state.is_waiting(thread) {
            return Some(Answer::Refused(Refusal::AlreadyLocked));
        }
        (ctx.is_closing && !self.is_inside(thread))
            .then_some(Answer::Refused(Refusal::ShuttingDown))
    }

    /// Returns the classes of threads that the gate lets pass. Rule 12.
    fn gate<H: Hook>(&self, ctx: &StepContext<'_, H>) -> Gate {
        // r[gate.closed] r[gate.insiders]
        ctx.rules.gate(self.grant().is_none_or(Grant::lets_in))
    }

    /// Returns whether a thread that asks now may enter at once.
    fn may_enter<H: Hook>(&self, claim: &ThreadClaim, ctx: &StepContext<'_, H>) -> bool {
        let passes_waiters = ctx.rules.passes_waiters();
        self.state
            .lock
            .may_enter(claim, self.gate(ctx), passes_waiters)
    }

    /// Returns whether a thread that only tries may ask the store. It may not when it would stand behind other threads
    /// there. Rule 13.
    fn may_try(&self) -> bool {
        matches!(
            self.phase,
            Phase::Absent
                | Phase::Wanted {
                    wait_mode: WaitMode::Try,
                    ..
                }
        )
    }

    /// Asks the store for the session, or changes the present request from a try to a wait.
    pub(crate) fn want<H: Hook>(
        &mut self,
        id: &SessionId,
        wanted: WaitMode,
        ctx: &mut StepContext<'_, H>,
    ) {
        match &mut self.phase {
            // r[end.one-at-a-time]
            Phase::Absent => self.acquire(id, ctx),
            // A thread that accepts a new session joins a request for an existing one without a message, because a
            // repetition could cross the end of the request. If the session is absent, the process asks again for that
            // thread.
            Phase::Wanted { wait_mode, .. } if *wait_mode < wanted => {
                *wait_mode = wanted;
                self.refuse_tries(id, ctx);
                self.resend(id, ctx);
            }
            _ => {}
        }
    }

    /// Returns whether an admissible thread wants only an existing session, while this session does not exist.
    /// r[exists.thread]
    fn is_absent_to<H: Hook>(&self, claim: &ThreadClaim, ctx: &StepContext<'_, H>) -> bool {
        claim.existing && !ctx.rules.admits_existing(self.exists())
    }

    /// Refuses the waiting threads that want only an existing session, when the process has the grant of a session that
    /// does not exist.
    pub(crate) fn refuse_absent<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        if !self.awaits_existing || self.exists() {
            return;
        }
        for claim in self.state.lock.remove_waiters_if(|claim| claim.existing) {
            ctx.refuse(claim.thread, id, Refusal::Absent);
        }
        self.awaits_existing = false;
    }

    /// Refuses the waiting threads that only try.
    pub(crate) fn refuse_tries<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        for claim in self.state.lock.remove_tries() {
            ctx.refuse(claim.thread, id, Refusal::WouldBlock);
        }
    }

    /// Refuses all waiting threads that `is_meant` accepts.
    pub(crate) fn refuse_waiters<H: Hook>(
        &mut self,
        id: &SessionId,
        why: &Refusal,
        is_meant: impl Fn(ThreadId) -> bool,
        ctx: &mut StepContext<'_, H>,
    ) {
        let meant = self
            .state
            .lock
            .remove_waiters_if(|claim| is_meant(claim.thread));
        for claim in meant {
            ctx.refuse(claim.thread, id, why.clone());
        }
    }

    /// Ends a wait without a grant, because the thread gives up or its deadline has passed. Rule 14.
    pub(crate) fn end_wait<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        why: Refusal,
        ctx: &mut StepContext<'_, H>,
    ) {
        if !ctx.rules.leaves_queue() {
            if self.state.is_waiting(thread) {
                ctx.refuse(thread, id, why);
            }
            return;
        }
        // r[thread.ends-once]
        if self.state.lock.remove_waiter_of(&thread).is_none() {
            return; // The grant of the lock has already answered the wait.
        }
        ctx.refuse(thread, id, why);
        if let (Phase::Wanted { request, .. }, 0) = (&self.phase, self.state.lock.waiting()) {
            let request = *request;
            // r[end.cancels]
            self.phase = Phase::Cancelling { request };
            self.sent = ctx.step.now;
            ctx.send(ToStore::Cancel {
                session: id.clone(),
                request,
            });
        }
        self.settle(id, ctx);
    }

    fn write<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        name: &AttributeName,
        value: Option<&Value>,
        ctx: &mut StepContext<'_, H>,
    ) {
        if self.poison_of(thread).is_some() {
            return; // The thread was notified, and its writes are discarded.
        }
        match self.state.write(thread, name, value, ctx.limits) {
            Ok(true) => {}
            // r[thread.stranger]
            Ok(false) => ctx.refuse(thread, id, Refusal::NotHeld),
            Err(limited) => ctx.refuse(thread, id, Refusal::Limit(limited)),
        }
    }

    fn unlock<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        names: &Names,
        keeps: bool,
        ctx: &mut StepContext<'_, H>,
    ) {
        let mut claim = self.state.leave(thread, names);
        if claim.is_none() && !ctx.rules.frees_own_alone() {
            claim = self.state.remove_any(names);
        }
        let Some(claim) = claim else {
            self.state.tidy();
            match self
                .poisoned
                .iter()
                .position(|(poisoned, _)| *poisoned == thread)
            {
                Some(place) => drop(self.poisoned.remove(place)),
                // r[thread.stranger]
                None => ctx.refuse(thread, id, Refusal::NotHeld),
            }
            return;
        };
        // r[thread.discards]
        if keeps {
            self.state.merge(claim.written);
        }
        self.used = ctx.step.now;
        self.settle(id, ctx);
    }

    /// Proceeds as far as the rules allow: admits threads, and gives the grant back when it is due.
    pub(crate) fn settle<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        self.admit(id, ctx);
        let Phase::Held(grant) = &self.phase else {
            return;
        };
        if grant.ending.is_some() {
            return; // The answer to the ending decides about the grant.
        }
        let is_recalled = grant.recall.is_some_and(|(info, _)| info.reason.insists());
        let is_idle = self.state.lock.is_free();
        // r[recall.keeps-until-out]
        if self.state.lock.holders().is_empty() {
            // r[grant.gives-back-hinted]
            let is_tired = is_idle && ctx.rules.gives_back(grant.give_back);
            if is_recalled || is_tired || (ctx.is_closing && is_idle) {
                // r[recall.obeyed]
                self.release(id, ctx);
            } else if is_idle {
                // r[grant.keeps]
                self.state.tidy();
            }
        } else if is_recalled {
            if !ctx.rules.waits_for_insiders() {
                return self.release(id, ctx);
            }
            // Under a recall, each write set is made durable when its thread leaves. Rule 11.
            // r[commit.under-recall]
            self.send_commit(id, ctx);
        }
    }

    /// Admits every admissible waiter.
    pub(crate) fn admit<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        // r[thread.needs-grant]
        while let Phase::Held(grant) = &self.phase {
            let token = grant.token;
            let Some(next) = self.state.lock.next(self.gate(ctx)) else {
                return;
            };
            let claim = self.state.lock.at(next);
            let thread = claim.thread;
            // r[exists.thread]
            if self.is_absent_to(claim, ctx) {
                self.state.lock.remove_waiter_of(&thread);
                ctx.refuse(thread, id, Refusal::Absent);
                continue;
            }
            self.state.lock.admit(next);
            // r[fence.token-shown]
            ctx.answer(thread, id, Answer::Locked(token));
        }
    }

    /// Poisons the threads inside, because the grant is lost: each thread is notified, and its writes are discarded.
    /// Rules 10 and 11.
    pub(crate) fn poison<H: Hook>(
        &mut self,
        id: &SessionId,
        why: Poison,
        ctx: &mut StepContext<'_, H>,
    ) {
        if ctx.rules.keeps_poisoned(why == Poison::Late) {
            self.state.merge_of(|_| true);
        }
        if why != Poison::Late {
            self.commit = None; // When a thread is late, the release carries the commit. Rule 11.
        }
        self.next_commit.clear();
        if let Phase::Held(grant) = &mut self.phase
            && let Some((thread, _)) = grant.ending.take()
            && !self.is_inside(thread)
        {
            ctx.answer(thread, id, Answer::Poisoned(why)); // The thread has left and waits only for this answer.
        }
        for claim in self.state.lock.remove_holders() {
            if self.poison_of(claim.thread).is_none() {
                self.poisoned.push((claim.thread, why));
                // This answer also ends the thread's wait for a further attribute, if any. Rule 14.
                // r[thread.ends-once]
                self.state.lock.remove_waiter_of(&claim.thread);
                // r[thread.told]
                ctx.answer(claim.thread, id, Answer::Poisoned(why));
            }
        }
    }
}
