//! The beginning of a grant, and its recall. Rules 2, 3, 7, 12 and 14.

use super::context::StepContext;
use super::session::{Grant, Phase, Session};
use crate::attributes::State;
use crate::id::{SessionId, Token};
use crate::message::{Granted, RecallInfo, Refusal, ToProcess, ToStore};
use crate::mutant::Hook;
use alloc::vec::Vec;

impl Session {
    /// Handles a message that concerns this session alone.
    pub(crate) fn on_message<H: Hook>(
        &mut self,
        id: &SessionId,
        message: ToProcess,
        ctx: &mut StepContext<'_, H>,
    ) {
        match message {
            ToProcess::Granted(granted) => self.on_granted(id, granted, ctx),
            ToProcess::Queued {
                request, ticket, ..
            } => self.on_queued(request, ticket),
            ToProcess::Recall { hold, info } => self.on_recall(id, hold.token, info, ctx),
            ToProcess::Committed {
                token,
                base,
                version,
                ..
            } => self.on_committed(id, token, (base, version), ctx),
            ToProcess::Released { token, version, .. } => self.on_released(id, token, version, ctx),
            ToProcess::Revoked { token, .. } => self.on_revoked(id, token, ctx),
            ToProcess::NotRenamed { token, why, .. } => self.on_not_renamed(id, token, why, ctx),
            // These messages concern more than this session.
            ToProcess::Refused { .. }
            | ToProcess::Gone { .. }
            | ToProcess::Welcome { .. }
            | ToProcess::Alive { .. }
            | ToProcess::LeaseEnded
            | ToProcess::Superseded
            | ToProcess::Full => {}
        }
    }

    fn on_granted<H: Hook>(
        &mut self,
        id: &SessionId,
        granted: Granted,
        ctx: &mut StepContext<'_, H>,
    ) {
        let token = granted.token;
        // r[grant.unasked]
        let is_asked = match &self.phase {
            Phase::Held(grant) if grant.token >= token => return, // The grant is a repetition or came late.
            Phase::Releasing {
                token: given_back, ..
            } if *given_back >= token => return, // The grant crossed the release.
            Phase::Wanted { request, .. } => ctx.rules.is_answer(*request, granted.request),
            Phase::Cancelling { request } => *request == granted.request,
            Phase::Releasing { requeue, .. } => *requeue == Some(granted.request),
            Phase::Absent | Phase::Held(_) => false,
        };
        if !is_asked || self.has_turned_down() >= Some(token) {
            // r[grant.returns-unasked]
            return self.turn_down(id, token, ctx);
        }
        if !self.take_state(&granted) {
            // The grant is a delta to a state that was dropped since, so the process asks for the full state.
            // r[grant.returns-unasked]
            self.turn_down(id, token, ctx);
            return self.acquire(id, ctx);
        }
        // A client state that the process already has is within the limits.
        let is_new = granted.state != State::Unchanged;
        // r[limit.session-too-large]
        if is_new && let Some(limited) = self.state.over(&ctx.settings.limits) {
            // The session would never fit: its waiting threads are refused, and no other session is harmed. Rule 18.
            self.phase = Phase::Absent;
            self.drop_base();
            self.turn_down(id, token, ctx);
            return self.refuse_waiters(id, &Refusal::Limit(limited), |_| true, ctx);
        }
        self.start_grant(id, &granted, ctx);
    }

    /// Takes over the state of a grant. Returns `false` when the state needs a base that the process does not have.
    fn take_state(&mut self, granted: &Granted) -> bool {
        // The store has accepted the release: the client state at the release is the base.
        let has_base = self.version.is_some() || matches!(self.phase, Phase::Releasing { .. });
        match &granted.state {
            // r[grant.needs-base]
            State::Unchanged | State::Delta(_) if !has_base => return false,
            State::Unchanged => {}
            State::Delta(delta) => self.state.apply(delta),
            State::Full(delta) => {
                self.drop_base();
                self.state.apply(delta);
            }
        }
        self.version = Some(granted.version);
        self.returning = None;
        true
    }

    fn start_grant<H: Hook>(
        &mut self,
        id: &SessionId,
        granted: &Granted,
        ctx: &mut StepContext<'_, H>,
    ) {
        let token = granted.token;
        let (give_back, ending) = (granted.give_back, None);
        self.phase = Phase::Held(Grant {
            token,
            recall: None,
            is_closed: false,
            give_back,
            ending,
        });
        self.used = ctx.step.now;
        // r[recall.early]
        let early = self
            .early_recall
            .take()
            .filter(|(early, _)| *early == token)
            .map(|(_, info)| info);
        let recall = granted.recall.max_by_reason(ctx.rules.early_recall(early));
        // A grant is good for at least one use, even when it is already recalled. Rule 12.
        if ctx.rules.uses_grant(recall.is_some()) {
            // r[gate.one-use]
            self.admit(id, ctx);
        }
        // r[try.thread]
        self.refuse_tries(id, ctx);
        match recall {
            Some(info) => self.take_recall(id, info, ctx),
            None => self.settle(id, ctx),
        }
    }

    pub(crate) fn on_recall<H: Hook>(
        &mut self,
        id: &SessionId,
        token: Token,
        info: RecallInfo,
        ctx: &mut StepContext<'_, H>,
    ) {
        match &self.phase {
            // r[recall.old]
            Phase::Held(grant) if grant.token == token => self.take_recall(id, info, ctx),
            // r[recall.crossed]
            Phase::Releasing {
                token: given_back, ..
            } if *given_back == token => self.resend(id, ctx),
            // r[recall.old]
            Phase::Held(grant) if grant.token > token => {}
            Phase::Wanted { .. }
            | Phase::Cancelling { .. }
            | Phase::Releasing {
                requeue: Some(_), ..
            } if self.has_turned_down() < Some(token) => {
                let rank = |(token, info): (Token, RecallInfo)| (token, info.reason);
                if self.early_recall.map(rank) <= Some((token, info.reason)) {
                    // r[recall.early]
                    self.early_recall = Some((token, info));
                }
            }
            _ => {
                // r[recall.unknown]
                self.turn_down(id, token, ctx);
            }
        }
    }

    /// Obeys a recall of the process's grant. Rules 3 and 12.
    fn take_recall<H: Hook>(
        &mut self,
        id: &SessionId,
        info: RecallInfo,
        ctx: &mut StepContext<'_, H>,
    ) {
        let has_threads = !self.state.lock.holders().is_empty();
        let Phase::Held(grant) = &mut self.phase else {
            return;
        };
        let is_busy = has_threads || grant.ending.is_some();
        // r[recall.mild-gate]
        if !info.reason.insists() {
            if is_busy {
                let (token, inside) = (grant.token, self.inside());
                // r[recall.mild-obeyed]
                ctx.send(ToStore::Busy {
                    session: id.clone(),
                    token,
                    inside,
                    blocked_on: Vec::new(),
                });
            } else {
                // r[recall.mild-obeyed]
                self.release(id, ctx);
            }
            return;
        }
        // r[recall.gives-up]
        let late = ctx
            .step
            .now
            .after(info.deadline_ms)
            .before(ctx.settings.recall_margin_ms);
        match &mut grant.recall {
            None => grant.recall = Some((info, late)),
            Some((said, until)) => {
                // A repetition states the remaining time. If that is as much as before, or more, the deadline is later.
                // r[recall.later]
                if info.deadline_ms >= said.deadline_ms {
                    *until = late.max(*until);
                }
                said.deadline_ms = info.deadline_ms;
            }
        }
        // r[gate.closed]
        grant.is_closed = true;
        // The process sends `Busy`, because it knows the sessions that block the threads.
        // r[recall.obeyed]
        self.owes_busy = has_threads;
        self.settle(id, ctx);
    }
}

/// A choice between two recalls: the one with the reason of higher rank.
trait MaxByReason {
    fn max_by_reason(self, other: Self) -> Self;
}

impl MaxByReason for Option<RecallInfo> {
    fn max_by_reason(self, other: Self) -> Self {
        [self, other]
            .into_iter()
            .flatten()
            .max_by_key(|info| info.reason)
    }
}
