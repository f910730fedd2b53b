//! Recalls: the store asks a holder for its grant, reminds the holder, and revokes the grant in the end. Rules 3, 11
//! and 13.

use super::context::StepContext;
use super::peers::Peers;
use super::step::Step;
use super::{Busy, Session, StoreMachine};
use crate::attributes::Delta;
use crate::id::{ProcessId, Request, SessionId, Time, Token};
use crate::message::{GrantRef, Reason, RecallInfo, Refusal, Revocation, ToProcess, WaitMode};
use crate::mutant::Hook;

/// A recall of the current grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recall {
    /// The reason of the recall.
    pub reason: Reason,
    /// The time at which the recall is repeated.
    pub remind: Time,
    /// The time at which the grant is revoked. It is set when the reason first insists, and `Busy` does not move it
    /// (rule 3). While no connected process waits, the deadline moves on (r[recall.for-nobody]).
    pub deadline: Time,
}

impl Recall {
    pub(crate) fn new(reason: Reason, now: Time, settings: &crate::StoreSettings) -> Self {
        Self {
            reason,
            remind: now.after(settings.remind_ms),
            deadline: now.after(settings.recall_ms),
        }
    }

    pub(crate) fn recall_info(&self, now: Time) -> RecallInfo {
        RecallInfo {
            reason: self.reason,
            deadline_ms: self.deadline.since(now),
        }
    }
}

impl Session {
    /// Begins or ends a recall, and updates the holder's list of recalled grants.
    pub(crate) fn set_recall<H: Hook>(
        &mut self,
        id: &SessionId,
        recall: Option<Recall>,
        ctx: &mut StepContext<'_, H>,
    ) {
        if let Some(holder) = self.holder()
            && recall.is_some() != self.recall.is_some()
        {
            ctx.is_recalled(holder, id, recall.is_some());
        }
        self.recall = recall;
    }

    /// Recalls the grant, unless it is already recalled for a reason of at least the same rank. At most once per grant
    /// and reason (rule 3).
    pub(crate) fn ensure_recall<H: Hook>(
        &mut self,
        id: &SessionId,
        reason: Reason,
        ctx: &mut StepContext<'_, H>,
    ) {
        // r[recall.once]
        if !ctx.rules.may_recall()
            || self.holder().is_none()
            || self
                .recall
                .as_ref()
                .is_some_and(|recall| recall.reason >= reason)
        {
            return;
        }
        let earlier = self.recall.as_ref();
        let insists = earlier.filter(|recall| recall.reason.insists());
        let mut recall = Recall::new(reason, ctx.now, ctx.settings);
        if let Some(earlier) = insists {
            // r[recall.deadline-kept]
            recall.deadline = earlier.deadline;
        } else if self.is_recovered() {
            // An earlier start may have recalled the grant with a later deadline. r[recall.not-early]
            recall.deadline = recall.deadline.max(ctx.settings.promised.recall);
        }
        self.set_recall(id, Some(recall), ctx);
        self.repeat_recall(id, ctx);
    }

    /// Returns whether an earlier start of the store made the grant.
    fn is_recovered(&self) -> bool {
        let mut holders = self.lock.holders().iter();
        holders.any(|place| place.request == Request::default())
    }

    fn is_recalled_for_nobody(&self, peers: &Peers) -> bool {
        let recall = self.recall.as_ref();
        recall.is_some_and(|recall| recall.reason == Reason::Wait)
            && self.reason_of_waiters(peers) != Some(Reason::Wait)
    }

    /// Extends the deadline to the whole time if the recall serves no connected waiter. Returns whether that is so.
    fn moves_deadline<H: Hook>(&mut self, ctx: &StepContext<'_, H>) -> bool {
        let is_for_nobody = self.is_recalled_for_nobody(ctx.peers);
        let is_spared = ctx.rules.spares_holder(is_for_nobody);
        if let Some(recall) = self.recall.as_mut().filter(|_| is_spared) {
            // r[recall.for-nobody]
            let whole = ctx.now.after(ctx.settings.recall_ms);
            recall.deadline = recall.deadline.max(whole);
        }
        is_spared
    }

    /// Handles the leaving or disconnection of a waiter. If no other connected waiter needs the recall, the holder
    /// receives a later deadline. The store sends that at most as often as it repeats a recall, even if requests are
    /// made and cancelled again and again. r[recall.once], r[recall.for-nobody]
    pub(crate) fn spare_holder<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        let Some(recall) = &self.recall else {
            return;
        };
        let whole = ctx.now.after(ctx.settings.recall_ms);
        let gains_ms = whole.since(recall.deadline);
        // r[recall.spares]
        if gains_ms >= ctx.settings.remind_ms.max(1) && self.moves_deadline(ctx) {
            self.repeat_recall(id, ctx);
        }
    }

    /// Sends the recall again, if there is one.
    pub(crate) fn repeat_recall<H: Hook>(&self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        let (Some(recall), Some(holder)) = (&self.recall, &self.record.head.holder) else {
            return;
        };
        let hold = GrantRef {
            session: id.clone(),
            token: holder.token,
        };
        ctx.send(
            &holder.process,
            ToProcess::Recall {
                hold,
                info: recall.recall_info(ctx.now),
            },
        );
    }

    /// Returns the recall that `process` has not answered yet, if any.
    pub(crate) fn recall_of(
        &self,
        id: &SessionId,
        process: &ProcessId,
        now: Time,
    ) -> Option<(GrantRef, RecallInfo)> {
        let token = self.token_of(process)?;
        let recall = self.recall.as_ref()?;
        Some((
            GrantRef {
                session: id.clone(),
                token,
            },
            recall.recall_info(now),
        ))
    }

    /// Refuses all waiters that only try. Rule 13.
    pub(crate) fn refuse_tries<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        while let Some(place) = self
            .lock
            .remove_waiter(|place| place.wait_mode == WaitMode::Try)
        {
            ctx.waits_no_more(&place.process, id);
            ctx.refuse(&place.process, id, place.request, Refusal::WouldBlock);
        }
        self.forget_mild_recall(id, ctx);
    }

    /// Drops a recall that does not insist, once no waiter needs it any more.
    fn forget_mild_recall<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        let is_mild = self
            .recall
            .as_ref()
            .is_some_and(|recall| !recall.reason.insists());
        // r[recall.mild-answered]
        if is_mild {
            self.set_recall(id, None, ctx);
        }
    }

    /// Returns the reason for which the connected waiters need the grant back, if any.
    pub(crate) fn reason_of_waiters(&self, peers: &Peers) -> Option<Reason> {
        let waiters = self.lock.waiters();
        let connected = waiters.filter(|place| peers.is_connected(&place.process));
        connected
            .map(|place| place.wait_mode)
            .max()
            .map(Reason::from)
    }
}

impl<H: Hook> StoreMachine<H> {
    /// Returns whether the grant of a session is recalled for waiters of which none is connected any more. Such a
    /// recall revokes no grant. Rule 11, r[recall.for-nobody]
    #[must_use]
    pub fn is_recalled_for_nobody(&self, id: &SessionId) -> bool {
        self.session(id)
            .is_some_and(|session| session.is_recalled_for_nobody(&self.peers))
    }

    pub(crate) fn revoke_due(&self, session: &Session) -> Option<Time> {
        let is_revoked = self.rules.revokes(session.busy.is_some());
        session
            .recall
            .as_ref()
            // r[recall.mild]
            .filter(|recall| recall.reason.insists() && is_revoked)
            .map(|recall| recall.deadline)
    }
}

impl<H: Hook> Step<'_, H> {
    pub(crate) fn on_operator_recall(&mut self, id: &SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            // r[recall.operator]
            session.ensure_recall(id, Reason::Operator, &mut self.ctx);
        }
    }

    pub(crate) fn on_busy(
        &mut self,
        process: &ProcessId,
        id: &SessionId,
        token: Token,
        mut busy: Busy,
    ) {
        // The store reads this list whenever a process waits for the session, so its length is limited. A longer cycle
        // ends by a deadline.
        busy.blocked_on
            .truncate(self.ctx.settings.limits.threads_max);
        busy.blocked_on.shrink_to_fit();
        let Some(session) = self
            .sessions
            .get_mut(id)
            // r[recall.stray-busy]
            .filter(|session| session.is_held(process, token))
        else {
            return;
        };
        if session.recall.is_none() {
            return; // The answered recall did not insist and was dropped meanwhile.
        }
        session.busy = Some(busy);
        // r[expiry.busy-is-use]
        session.touch(&self.ctx);
        if self.ctx.rules.refuses_busy_try() {
            // r[try.refused-when-busy]
            session.refuse_tries(id, &mut self.ctx);
        }
        if session.recall.is_none() {
            session.busy = None;
        }
        self.break_deadlock(id);
    }

    pub(crate) fn on_remind(&mut self, id: &SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.moves_deadline(&self.ctx);
        if let Some(recall) = &mut session.recall {
            recall.remind = self.ctx.now.after(self.ctx.settings.remind_ms);
        }
        // r[recall.reminds]
        session.repeat_recall(id, &mut self.ctx);
    }

    /// Handles the deadline of a recall: the store revokes this one grant. Rule 11.
    pub(crate) fn on_revoke(&mut self, id: &SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(holder) = session.record.head.holder.clone() else {
            return;
        };
        // r[recall.for-nobody]
        if session.moves_deadline(&self.ctx) {
            return; // The next repetition of the recall carries the new deadline.
        }
        // r[recall.revokes]
        session.end_grant(id, &mut self.ctx);
        let why = Revocation::RecallDeadline;
        let revoked = ToProcess::Revoked {
            session: id.clone(),
            token: holder.token,
            why,
            limit: None,
        };
        session.pass_on(
            id,
            Delta::default(),
            Some((&holder.process, revoked)),
            &mut self.ctx,
        );
        self.tidy(id);
    }
}
