//! Requests and grants: the choice of the next holder, and the messages to it. Rules 1, 2, 5, 6, 8, 13 and 14.

use super::context::StepContext;
use super::recalls::Recall;
use super::step::Step;
use super::{Place, Session};
use crate::EXISTING_SINCE;
use crate::attributes::{Delta, Holder};
use crate::id::{ProcessId, Request, SessionId, Ticket, Time, Token};
use crate::lock::Gate;
use crate::message::{AcquireRequest, Granted, Limited, Reason, Refusal, ToProcess, WaitMode};
use crate::mutant::Hook;

impl<H: Hook> Step<'_, H> {
    pub(crate) fn on_acquire(&mut self, process: &ProcessId, mut acquire: AcquireRequest) {
        let id = acquire.session.clone();
        // A process of 1.0 does not understand the refusal, so its flag means nothing. r[wire.newer]
        let minor = self.ctx.peers.get(process).map_or(0, |peer| peer.minor);
        acquire.existing &= minor >= EXISTING_SINCE;
        // r[grant.new-session]
        let session = self.sessions.get_or_create(&id);
        // r[limit.until-heard]
        if session.has_heard_of_loss(process, &acquire) {
            session.void(&id, &mut self.ctx);
        }
        if session.holder() == Some(process) {
            session.grant_again(&id, &acquire, &mut self.ctx);
        } else if session.holder().is_some() && !self.ctx.rules.waits_for_holder() {
            session.take_from_holder(&id, process, &acquire, &mut self.ctx);
        } else if session.refresh_waiter(&id, process, &acquire, &mut self.ctx) {
            // The request was a repetition and is answered. A process that has connected again may find the session
            // free.
            session.serve(&id, &mut self.ctx);
        } else if let Some(why) = session.refusal_of(process, &acquire, &self.ctx) {
            // r[limit.harms-nobody]
            self.ctx.refuse(process, &id, acquire.request, why);
        } else if session.holder().is_none() && !self.ctx.is_stopping() {
            // r[grant.at-once] r[grant.exclusive]
            // No connected process waits, so this request need not queue. Rule 6, r[queue.passes-by].
            let place = session.place(process, &acquire, &mut self.ctx);
            session.lock.hold(place);
            session.start_grant(&id, &mut self.ctx);
            session.publish(&id, Delta::default(), None, true, &mut self.ctx);
            return;
        } else {
            session.queue(&id, process, &acquire, &mut self.ctx);
        }
        self.break_deadlock(&id);
        if self.ctx.rules.forgets_absent() {
            // r[exists.leaves-nothing]
            self.tidy(&id);
        }
    }

    pub(crate) fn on_cancel(&mut self, process: &ProcessId, id: &SessionId, request: Request) {
        let session = self.sessions.get_or_create(id);
        if session.holder() == Some(process) && session.lock.holders()[0].request == request {
            if self.ctx.rules.keeps_cancelled_grant() {
                // The grant crossed the cancel and ends the request.
                // r[end.cancel-crossed]
                session.send_grant(id, &mut self.ctx);
            } else {
                session.void(id, &mut self.ctx);
            }
        } else {
            if session
                .lock
                .waiters()
                .any(|place| place.process == *process && place.request <= request)
            {
                session.remove_waiter(id, process, &mut self.ctx);
            }
            // r[end.cancelled]
            self.ctx.refuse(process, id, request, Refusal::Cancelled);
        }
        self.tidy(id);
    }

    pub(crate) fn on_wait_end(&mut self, id: &SessionId, process: &ProcessId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        // r[end.answered]
        session.refuse_waiter(id, process, Refusal::Deadline, &mut self.ctx);
        self.tidy(id);
    }
}

impl Session {
    /// Returns the process that has the grant.
    #[must_use]
    pub fn holder(&self) -> Option<&ProcessId> {
        self.record
            .head
            .holder
            .as_ref()
            .map(|holder| &holder.process)
    }

    /// Returns whether the session has durable content: a state, or a holder of the grant.
    pub(crate) fn is_known(&self) -> bool {
        self.record.exists() || self.holder().is_some()
    }

    /// Returns whether `process` has the grant with this token. Rule 9.
    #[must_use]
    pub fn is_held(&self, process: &ProcessId, token: Token) -> bool {
        self.token_of(process) == Some(token)
    }

    /// Returns the token of the grant that `process` has.
    pub(crate) fn token_of(&self, process: &ProcessId) -> Option<Token> {
        let holder = self.record.head.holder.as_ref();
        holder
            .filter(|holder| holder.process == *process)
            .map(|holder| holder.token)
    }

    /// Returns the token of the grant that `process` has, if its token was `former` before the session was renamed.
    pub(crate) fn token_renamed(&self, process: &ProcessId, former: Token) -> Option<Token> {
        let holder = self.record.head.holder.as_ref();
        holder
            .filter(|holder| holder.process == *process && holder.renamed == Some(former))
            .map(|holder| holder.token)
    }

    /// Creates the claim of a request. Its ticket is the ticket that the request presents, or a new one. Rule 5.
    pub(crate) fn place<H: Hook>(
        &self,
        process: &ProcessId,
        acquire: &AcquireRequest,
        ctx: &mut StepContext<'_, H>,
    ) -> Place {
        let last = ctx.stamps.last();
        let is_taken = |ticket: &Ticket| self.lock.waiters().any(|place| place.ticket == *ticket);
        // r[queue.presented]
        let presented = ctx.rules.presented(acquire.ticket);
        let presented = presented.filter(|ticket| ticket.0 <= last && !is_taken(ticket));
        Place {
            process: process.clone(),
            request: acquire.request,
            // r[queue.tickets-rise]
            ticket: presented.unwrap_or_else(|| Ticket(ctx.stamps.draw())),
            known: acquire.known,
            wait_mode: acquire.wait_mode,
            existing: acquire.existing,
            until: ctx.now.after(ctx.settings.wait_ms),
        }
    }

    /// Returns the reason for which a new request cannot even wait, if any.
    fn refusal_of<H: Hook>(
        &self,
        process: &ProcessId,
        acquire: &AcquireRequest,
        ctx: &StepContext<'_, H>,
    ) -> Option<Refusal> {
        let limits = &ctx.settings.limits;
        let stops = ctx.is_stopping();
        let has_to_wait = self.holder().is_some() || stops;
        let waiting = self.lock.waiting();
        // r[limit.waiters]
        if has_to_wait && ctx.rules.is_queue_full(waiting, limits.waiters_max) {
            return Some(Refusal::Limit(Limited::Waiters));
        }
        // r[limit.grants]
        if ctx
            .peers
            .get(process)
            .is_some_and(|peer| peer.concerns() >= limits.grants_max)
        {
            return Some(Refusal::Limit(Limited::Grants));
        }
        // r[exists.only] r[exists.true]
        if acquire.existing && ctx.rules.is_absent(self.record.exists()) && self.holder().is_none()
        {
            // The refusal needs no room on the disk, so this test comes first. r[exists.absent]
            return Some(Refusal::Absent);
        }
        // r[limit.storage]
        if ctx.is_full() && !stops {
            return Some(Refusal::Limit(Limited::Storage));
        }
        // r[try.refused-otherwise]
        if stops && acquire.wait_mode == WaitMode::Try {
            return Some(Refusal::WouldBlock);
        }
        let holder = self.holder()?;
        // r[try.refused-when-busy]
        let is_busy = self.busy.is_some() && ctx.rules.refuses_busy_try();
        // r[try.refused-otherwise]
        let would_wait = waiting > 0 || is_busy || !ctx.is_connected(holder);
        (acquire.wait_mode == WaitMode::Try && would_wait).then_some(Refusal::WouldBlock)
    }

    /// Puts a request into the queue and recalls the holder's grant. Rules 3 and 5.
    pub(crate) fn queue<H: Hook>(
        &mut self,
        id: &SessionId,
        process: &ProcessId,
        acquire: &AcquireRequest,
        ctx: &mut StepContext<'_, H>,
    ) {
        let place = self.place(process, acquire, ctx);
        let ticket = place.ticket;
        let rules = ctx.rules;
        // r[queue.presented]
        self.lock
            .enqueue_before(place, |other| rules.goes_before(ticket, other.ticket));
        ctx.waits(process, id);
        // r[queue.told]
        ctx.send(process, queued(acquire, ticket));
        // r[stop.keeps]
        if !ctx.is_stopping()
            && let Some(reason) = rules.reason_of(acquire.wait_mode)
        {
            // r[try.recalls] r[recall.asks]
            self.ensure_recall(id, reason, ctx);
        }
    }

    /// Updates the claim of a request that already waits, and repeats the answer. Returns whether the process was
    /// waiting. Rule 14.
    fn refresh_waiter<H: Hook>(
        &mut self,
        id: &SessionId,
        process: &ProcessId,
        acquire: &AcquireRequest,
        ctx: &mut StepContext<'_, H>,
    ) -> bool {
        if !ctx.rules.joins_wait() {
            return false;
        }
        let refreshed = self.lock.change_waiter(process, |place| {
            // r[grant.no-late-request]
            if acquire.request < place.request {
                return None; // The request came late.
            }
            // r[queue.same-ticket]
            let is_patient =
                place.wait_mode == WaitMode::Wait || acquire.wait_mode == WaitMode::Wait;
            place.wait_mode = if is_patient {
                WaitMode::Wait
            } else {
                WaitMode::Try
            };
            place.existing &= acquire.existing; // r[exists.never-stricter]
            place.request = acquire.request;
            place.known = acquire.known;
            Some((is_patient, place.ticket))
        });
        let (is_patient, ticket) = match refreshed {
            None => return false,
            Some(None) => return true,
            Some(Some(refreshed)) => refreshed,
        };
        if self.holder().is_none() && !ctx.is_stopping() {
            return true; // The process receives the session, and no place in the queue.
        }
        // r[queue.same-ticket]
        ctx.send(process, queued(acquire, ticket));
        if is_patient && !ctx.is_stopping() {
            // r[recall.asks]
            self.ensure_recall(id, Reason::Wait, ctx);
        }
        true
    }

    /// Repeats the grant to the process that has it: the process did not receive the grant, or asks again. Links keep
    /// order, and a process asks only when it has no grant and no unanswered release. The repeated grant is therefore
    /// unused.
    fn grant_again<H: Hook>(
        &mut self,
        id: &SessionId,
        acquire: &AcquireRequest,
        ctx: &mut StepContext<'_, H>,
    ) {
        let place = self
            .lock
            .holders_mut()
            .next()
            .expect("a held session has a holder in its lock: start_grant sets both");
        // r[grant.no-late-request]
        if acquire.request < place.request {
            return; // The request came late.
        }
        // r[grant.names-request]
        place.request = acquire.request;
        place.known = acquire.known;
        if !ctx.rules.keeps_token() {
            self.renew_token(id, ctx);
        }
        // r[grant.same-again]
        self.send_grant(id, ctx);
    }

    /// Gives the grant a new token.
    pub(crate) fn renew_token<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        let token = Token(ctx.stamps.draw());
        if let Some(holder) = &mut self.record.head.holder {
            holder.token = token;
        }
        ctx.persist(id, self, Delta::default());
    }

    pub(crate) fn remove_waiter<H: Hook>(
        &mut self,
        id: &SessionId,
        process: &ProcessId,
        ctx: &mut StepContext<'_, H>,
    ) -> Option<Place> {
        let place = self.lock.remove_waiter(|place| place.process == *process)?;
        // A recall that this request caused stays until the holder answers. Otherwise cancelled requests could cause
        // any number of recalls.
        ctx.waits_no_more(process, id);
        self.spare_holder(id, ctx);
        Some(place)
    }

    pub(crate) fn refuse_waiter<H: Hook>(
        &mut self,
        id: &SessionId,
        process: &ProcessId,
        why: Refusal,
        ctx: &mut StepContext<'_, H>,
    ) {
        // r[end.once]
        if let Some(place) = self.remove_waiter(id, process, ctx) {
            ctx.refuse(process, id, place.request, why);
        }
    }

    /// Ends the current grant. The caller passes the session on.
    pub(crate) fn end_grant<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        // r[recall.ends-with-grant]
        self.set_recall(id, None, ctx);
        self.busy = None;
        self.is_spoilt = false;
        self.lock.remove_holders();
        if let Some(holder) = self.record.head.holder.take() {
            ctx.holds_no_more(&holder.process, id);
        }
    }

    /// Voids a grant without the holder's consent and passes the session on.
    pub(crate) fn void<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        if !ctx.rules.ends_recall() {
            return self.void_under_recall(id, ctx);
        }
        self.end_grant(id, ctx);
        self.pass_on(id, Delta::default(), None, ctx);
    }

    /// Grants a free session to the first connected waiter, if there is one. r[queue.passes-by]
    fn serve<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        // r[queue.passes-by] r[grant.exclusive]
        if self.holder().is_none() && self.admit_next(id, ctx) {
            self.publish(id, Delta::default(), None, true, ctx);
        }
    }

    /// Grants a free session to the first connected waiter, if any, and makes the change durable. The caller has
    /// already applied `delta`. The `reply` to the process that caused the change goes out first. Rules 5, 6 and 8.
    pub(crate) fn pass_on<H: Hook>(
        &mut self,
        id: &SessionId,
        delta: Delta,
        reply: Option<(&ProcessId, ToProcess)>,
        ctx: &mut StepContext<'_, H>,
    ) {
        // r[queue.passes-by]
        let is_granted = self.admit_next(id, ctx);
        self.publish(id, delta, reply, is_granted, ctx);
    }

    /// Makes the change durable, and then sends the grant when there is a new holder. Rule 8.
    fn publish<H: Hook>(
        &mut self,
        id: &SessionId,
        delta: Delta,
        reply: Option<(&ProcessId, ToProcess)>,
        is_granted: bool,
        ctx: &mut StepContext<'_, H>,
    ) {
        let from = ctx.out.len();
        // r[grant.durable]
        ctx.persist(id, self, delta);
        if let Some((process, message)) = reply {
            ctx.send(process, message);
        }
        let sent = ctx.out.len();
        if is_granted {
            self.send_grant(id, ctx);
        }
        ctx.rules.order_grant(ctx.out, from, sent);
    }

    /// Refuses the requests at the head of the queue that are only for an existing session, when there is none. If a
    /// connected process that accepts a new session is ahead in the queue, a request behind it waits: that process may
    /// create the session. r[exists.absent]
    fn refuse_absent<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        if !ctx.rules.is_absent(self.record.exists()) {
            return;
        }
        let mut is_head = true;
        let absent = self.lock.remove_waiters_if(|place| {
            is_head &= place.existing || !ctx.is_connected(&place.process);
            // r[exists.true]
            is_head && place.existing
        });
        // r[exists.only] r[exists.absent]
        for place in absent {
            ctx.waits_no_more(&place.process, id);
            ctx.refuse(&place.process, id, place.request, Refusal::Absent);
        }
    }

    /// Makes the first connected waiter the holder, in memory. A process without a connection is passed by and keeps
    /// its place. r[queue.fifo-connected], r[grant.connected]
    pub(crate) fn admit_next<H: Hook>(
        &mut self,
        id: &SessionId,
        ctx: &mut StepContext<'_, H>,
    ) -> bool {
        self.refuse_absent(id, ctx);
        let mut next = self.lock.next(Gate::Open);
        // r[queue.fifo-connected] r[grant.connected]
        while let Some(spot) = next
            && !ctx
                .rules
                .may_receive(ctx.is_connected(&self.lock.at(spot).process))
        {
            next = self.lock.after(spot);
        }
        // r[stop.grants-nothing]
        let Some(head) = next.filter(|_| !ctx.is_stopping()) else {
            return false;
        };
        let next = ctx.rules.next_holder(head, || self.lock.after(head));
        // r[end.once]
        self.lock.admit(next);
        self.start_grant(id, ctx);
        true
    }

    /// Makes the holder of the lock the holder of the record, with a new token.
    fn start_grant<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        let place = self
            .lock
            .holders_mut()
            .next()
            .expect("the caller has put a claim among the holders of the lock");
        (place.ticket, place.until) = (Ticket::default(), Time::ZERO); // Both fields were for the wait.
        let process = place.process.clone();
        // The process had a lease when it queued, and the end of the lease would have removed the claim.
        let incarnation = ctx
            .peers
            .get(&process)
            .map(|peer| peer.incarnation)
            .unwrap_or_default();
        ctx.holds(&process, id);
        // r[grant.token-rises]
        self.record.head.holder = Some(Holder {
            process: process.clone(),
            incarnation,
            token: Token(ctx.stamps.draw()),
            renamed: None,
        });
        if ctx.settings.turns > 0 {
            let is_turn = self
                .last_holder
                .as_ref()
                .is_some_and(|last| *last != process);
            self.turns = if is_turn {
                self.turns.saturating_add(1).min(ctx.settings.turns)
            } else {
                0
            };
            self.last_holder = Some(process);
        }
    }

    /// Sends the holder its grant. Other processes that try are refused; other processes that wait recall the grant at
    /// once (rule 2).
    pub(crate) fn send_grant<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        if ctx.rules.refuses_busy_try() {
            // r[try.refused-otherwise]
            self.refuse_tries(id, ctx);
        }
        let is_left = self.recall.is_some() && !ctx.rules.ends_recall();
        // r[recall.not-without-reason] r[recall.asks]
        if let (None, Some(reason)) = (&self.recall, self.reason_of_waiters(ctx.peers))
            && ctx.rules.may_recall()
            && !ctx.is_stopping()
        {
            let recall = Recall::new(reason, ctx.now, ctx.settings);
            self.set_recall(id, Some(recall), ctx);
        }
        let holder = self
            .record
            .head
            .holder
            .as_ref()
            .expect("the caller has made a process the holder of the record");
        let place = &self.lock.holders()[0];
        // r[grant.state]
        let state = || self.record.state_since(place.known);
        let state = ctx.rules.granted_state(place.known, state);
        let message = ToProcess::Granted(Granted {
            session: id.clone(),
            // r[grant.names-request]
            request: place.request,
            token: holder.token,
            version: self.record.head.version,
            state,
            recall: self
                .recall
                .as_ref()
                .filter(|_| !is_left)
                .map(|recall| recall.recall_info(ctx.now)),
            // r[grant.give-back]
            give_back: ctx.settings.turns > 0 && self.turns >= ctx.settings.turns,
        });
        ctx.send(&holder.process, message);
    }
}

/// Builds the message that tells a process its place in the queue. Rule 5.
pub(super) fn queued(acquire: &AcquireRequest, ticket: Ticket) -> ToProcess {
    ToProcess::Queued {
        session: acquire.session.clone(),
        request: acquire.request,
        ticket,
    }
}
