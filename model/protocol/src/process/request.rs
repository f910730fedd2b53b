//! The requests of a session to the store, and their repetition until the store answers. Rules 13 to 15 and 17.

use super::context::StepContext;
use super::session::{Ending, Grant, Phase, Returning, Session};
use super::state::ThreadClaim;
use crate::id::{Request, SessionId, ThreadId, Ticket};
use crate::message::{AcquireRequest, Commit, GrantRef, Refusal, Release, ToStore, WaitMode};
use crate::mutant::Hook;

impl Session {
    /// Asks the store for the session with a new request, if a thread waits.
    pub(crate) fn acquire<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        if self.state.lock.waiting() == 0 {
            return;
        }
        let wait_mode = if self.state.lock.has_patient() {
            WaitMode::Wait
        } else {
            WaitMode::Try
        };
        self.ask(id, (None, wait_mode), ctx);
    }

    /// Asks the store for the session with a new request. The request is only for an existing session when all waiting
    /// threads want that. If the store does not understand such a request, the threads are refused.
    fn ask<H: Hook>(
        &mut self,
        id: &SessionId,
        (ticket, wait_mode): (Option<Ticket>, WaitMode),
        ctx: &mut StepContext<'_, H>,
    ) {
        let existing =
            self.awaits_existing && self.state.lock.waiters().all(|claim| claim.existing);
        // r[exists.asks-newer] r[exists.unsupported]
        if existing && ctx.is_store_too_old() {
            self.phase = Phase::Absent;
            self.refuse_waiters(id, &Refusal::Unsupported, |_| true, ctx);
            return self.state.tidy();
        }
        if existing {
            self.state
                .lock
                .update(|claim| claim.is_asked = claim.existing);
        }
        self.phase = Phase::Wanted {
            request: ctx.draw_request(),
            ticket,
            wait_mode,
            existing,
        };
        self.resend(id, ctx);
    }

    /// Asks again after a welcome, with a new request and the ticket of the old one. The hello did not list the old
    /// request, which has therefore ended. r[exists.ends-with-link]
    pub(super) fn ask_behind_welcome<H: Hook>(
        &mut self,
        id: &SessionId,
        ctx: &mut StepContext<'_, H>,
    ) {
        if let Phase::Wanted {
            ticket,
            wait_mode,
            existing: true,
            ..
        } = self.phase
        {
            self.ask(id, (ticket, wait_mode), ctx);
        }
    }

    /// Returns the request for which the process waits, as `Hello` lists it. Rule 15.
    pub(crate) fn acquire_request(&self, id: &SessionId) -> Option<AcquireRequest> {
        // r[grant.known]
        let (request, ticket, wait_mode, known) = match self.phase {
            Phase::Wanted {
                request,
                ticket,
                wait_mode,
                ..
            } => (request, ticket, wait_mode, self.version),
            // The process does not know whether the store accepted the release, so it does not know its version either.
            Phase::Releasing {
                requeue: Some(request),
                ..
            } => (request, None, WaitMode::Wait, None),
            _ => return None,
        };
        Some(AcquireRequest {
            session: id.clone(),
            request,
            known,
            wait_mode,
            ticket,
            existing: matches!(self.phase, Phase::Wanted { existing: true, .. }),
        })
    }

    /// Returns the grant that the process has, or has released without an answer, as `Hello` lists it. Rule 15.
    pub(crate) fn hold(&self, id: &SessionId) -> Option<GrantRef> {
        match self.phase {
            // r[reconnect.names-holds]
            Phase::Held(Grant { token, .. }) | Phase::Releasing { token, .. } => Some(GrantRef {
                session: id.clone(),
                token,
            }),
            _ => None,
        }
    }

    /// Returns whether the session has sent a message that the store has not answered.
    pub(crate) fn is_waiting_for_store(&self) -> bool {
        let is_waiting = match &self.phase {
            Phase::Absent => false,
            Phase::Held(grant) => self.commit.is_some() || grant.ending.is_some(),
            Phase::Wanted { .. } | Phase::Cancelling { .. } | Phase::Releasing { .. } => true,
        };
        is_waiting
            || self
                .returning
                .is_some_and(|returning| !returning.is_answered)
    }

    /// Sends the unanswered message again. Rule 14.
    pub(crate) fn resend<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        let is_release = matches!(self.phase, Phase::Releasing { .. });
        if ctx.rules.resends(is_release) {
            self.say(id, ctx);
        }
    }

    /// Sends the message that the store has to answer in the present phase.
    pub(super) fn say<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        self.sent = ctx.step.now;
        let session = || id.clone();
        match &self.phase {
            Phase::Absent => {}
            Phase::Wanted { .. } => {
                if let Some(acquire) = self.acquire_request(id) {
                    ctx.send(ToStore::Acquire(acquire));
                }
            }
            Phase::Cancelling { request } => ctx.send(ToStore::Cancel {
                session: session(),
                request: *request,
            }),
            Phase::Held(grant) => {
                if let Some(commit) = &self.commit {
                    let (base, delta) = (commit.base, commit.delta.clone());
                    ctx.send(ToStore::Commit(Commit {
                        session: session(),
                        token: grant.token,
                        base,
                        delta,
                    }));
                }
                match &grant.ending {
                    Some((_, Ending::Destroy)) => {
                        ctx.send(ToStore::Destroy {
                            session: session(),
                            token: grant.token,
                        });
                    }
                    Some((_, Ending::Rename(to))) => {
                        ctx.send(ToStore::Rename {
                            session: session(),
                            token: grant.token,
                            to: to.clone(),
                        });
                    }
                    None => {}
                }
            }
            Phase::Releasing {
                token,
                base,
                delta,
                requeue,
                idle_ms,
            } => ctx.send(ToStore::Release(Release {
                session: session(),
                token: *token,
                base: *base,
                delta: delta.clone(),
                requeue: *requeue,
                idle_ms: *idle_ms,
            })),
        }
        if let Some(Returning {
            token,
            is_answered: false,
        }) = self.returning
        {
            self.send_back(id, token, ctx);
        }
    }

    pub(super) fn on_queued(&mut self, queued: Request, place: Ticket) {
        if let Phase::Wanted {
            request, ticket, ..
        } = &mut self.phase
            && *request == queued
        {
            // r[queue.keeps-ticket]
            *ticket = Some(place);
        }
    }

    /// Cancels the request that a release carried, if no thread wants the session any more.
    pub(crate) fn cancel_if_unwanted<H: Hook>(
        &mut self,
        id: &SessionId,
        ctx: &mut StepContext<'_, H>,
    ) {
        if let (Phase::Wanted { request, .. }, 0) = (&self.phase, self.state.lock.waiting()) {
            // r[end.cancels]
            self.phase = Phase::Cancelling { request: *request };
            self.resend(id, ctx);
        }
    }

    /// Handles the end of a request without a grant. `is_victim` returns whether a thread is in a deadlock.
    pub(crate) fn on_refused<H: Hook>(
        &mut self,
        id: &SessionId,
        refused: Request,
        why: &Refusal,
        is_victim: impl Fn(ThreadId) -> bool,
        ctx: &mut StepContext<'_, H>,
    ) {
        match self.phase {
            Phase::Wanted { request, .. } if request == refused => self.phase = Phase::Absent,
            Phase::Cancelling { request } if request == refused => {
                self.phase = Phase::Absent;
                return self.acquire(id, ctx);
            }
            // r[end.stray]
            _ => return,
        }
        match why {
            Refusal::WouldBlock => self.refuse_tries(id, ctx),
            // A thread's wait ends at the thread's own deadline; until then the process asks again.
            Refusal::Cancelled | Refusal::Deadline => {}
            // r[deadlock.victims]
            Refusal::Deadlock { .. } => self.refuse_waiters(id, why, is_victim, ctx),
            // r[exists.told]
            Refusal::Absent => self.refuse_asked(id, ctx),
            // r[limit.told]
            _ => self.refuse_waiters(id, why, |_| true, ctx),
        }
        if matches!(why, Refusal::Gone | Refusal::Absent) {
            self.drop_base();
        }
        // r[exists.told]
        self.acquire(id, ctx);
        self.forget_turned_down();
        self.state.tidy();
    }

    /// Refuses the threads for which the process has asked only for an existing session. A thread that came after the
    /// request was sent is left out, since the session may exist by now. For the other threads the process asks again.
    /// r[exists.not-before]
    fn refuse_asked<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        let rules = ctx.rules;
        // r[exists.not-before]
        let is_meant =
            |claim: &ThreadClaim| claim.existing && rules.is_refused_as_absent(claim.is_asked);
        for claim in self.state.lock.remove_waiters_if(is_meant) {
            ctx.refuse(claim.thread, id, Refusal::Absent);
        }
    }
}
