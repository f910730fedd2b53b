//! The end of a grant: given back, given up, turned down, revoked or lost. Rules 3, 4, 10, 11 and 15.

use super::Poison;
use super::context::StepContext;
use super::session::{Grant, Phase, Returning, Session};
use crate::attributes::Delta;
use crate::id::{Request, SessionId, Time, Token, Version};
use crate::message::{Release, ToStore, WaitMode};
use crate::mutant::Hook;

impl Session {
    /// Gives an unwanted grant back unused, and remembers its token, because the message may come again.
    pub(super) fn turn_down<H: Hook>(
        &mut self,
        id: &SessionId,
        token: Token,
        ctx: &mut StepContext<'_, H>,
    ) {
        if self.has_turned_down().is_none_or(|last| last < token) {
            self.returning = Some(Returning {
                token,
                is_answered: false,
            });
        }
        self.sent = ctx.step.now;
        self.send_back(id, token, ctx);
    }

    /// Returns the token of the newest grant that was given back unused.
    pub(super) fn has_turned_down(&self) -> Option<Token> {
        self.returning.map(|returning| returning.token)
    }

    /// Forgets the grant that was given back unused, once no request could be mistaken for the request of that grant.
    pub(super) fn forget_turned_down(&mut self) {
        if self.phase == Phase::Absent {
            self.returning = self.returning.filter(|returning| !returning.is_answered);
        }
    }

    pub(super) fn send_back<H: Hook>(
        &self,
        id: &SessionId,
        token: Token,
        ctx: &mut StepContext<'_, H>,
    ) {
        let base = self.version.unwrap_or(Version::NONE);
        let delta = Delta::default();
        ctx.send(ToStore::Release(Release {
            session: id.clone(),
            token,
            base,
            delta,
            requeue: None,
            idle_ms: 0,
        }));
    }

    /// Gives the grant up shortly before the recall's deadline: finished threads' changes are saved, late threads'
    /// changes are lost. Rule 11.
    pub(crate) fn give_up<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        // r[recall.gives-up]
        self.poison(id, Poison::Late, ctx);
        self.settle(id, ctx);
    }

    /// Returns when the grant is given up although threads are inside.
    pub(crate) fn late_due(&self) -> Option<Time> {
        let (_, late) = self.grant()?.recall?;
        (!self.state.lock.holders().is_empty()).then_some(late)
    }

    /// Gives an idle grant back for the driver, which has an idle limit and a cache limit. Rule 4.
    pub(crate) fn release_if_idle<H: Hook>(
        &mut self,
        id: &SessionId,
        ctx: &mut StepContext<'_, H>,
    ) {
        // r[release.voluntary]
        if self.grant().is_some_and(|grant| grant.ending.is_none()) && self.state.lock.is_free() {
            self.release(id, ctx);
        }
    }

    /// Gives the grant back, with all changes that the store has not acknowledged. Rules 3, 7 and 12.
    pub(crate) fn release<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        let Phase::Held(grant) = &self.phase else {
            return;
        };
        let token = grant.token;
        self.refuse_absent(id, ctx);
        // r[release.whole]
        let unanswered = self.commit.take().filter(|_| ctx.rules.releases_commit());
        let mut delta = unanswered.map(|commit| commit.delta).unwrap_or_default();
        // r[release.whole]
        for change in self.state.take_dirty().changes() {
            delta.set(change.name.clone(), change.value.clone());
        }
        self.next_commit.clear(); // These threads have left.
        // r[gate.requeues]
        let requeue = (self.state.lock.waiting() > 0).then(|| ctx.draw_request());
        let base = self.version.unwrap_or(Version::NONE);
        // r[expiry.idle-said]
        let idle_ms = ctx.step.now.since(self.used);
        // r[release.over]
        self.phase = Phase::Releasing {
            token,
            base,
            delta,
            requeue,
            idle_ms,
        };
        self.say(id, ctx);
    }

    pub(super) fn on_released<H: Hook>(
        &mut self,
        id: &SessionId,
        released: Token,
        version: Option<Version>,
        ctx: &mut StepContext<'_, H>,
    ) {
        if let Some(returning) = &mut self.returning {
            returning.is_answered |= returning.token == released;
        }
        self.forget_turned_down();
        // r[end.stray]
        if !matches!(self.phase, Phase::Releasing { token, .. } if token == released) {
            return;
        }
        if version.is_none() {
            return self.lose_release(id, false, ctx); // The store has queued the new request.
        }
        let Phase::Releasing { requeue, .. } = core::mem::take(&mut self.phase) else {
            return;
        };
        self.version = version;
        // When a release carries a new request, the store takes the released state for the base of the next grant.
        // r[grant.keeps-base]
        if !ctx.settings.keeps_base && requeue.is_none() {
            self.drop_base();
        }
        self.state.tidy();
        match requeue {
            Some(request) => {
                self.phase = Phase::Wanted {
                    request,
                    ticket: None,
                    wait_mode: WaitMode::Wait,
                    existing: false,
                }
            }
            None => self.acquire(id, ctx),
        }
        self.cancel_if_unwanted(id, ctx);
    }

    /// Drops the client state, because the grant had ended before its release arrived, or the acknowledgement was lost.
    /// `asks` says whether the process has to repeat the request that the release carried.
    pub(crate) fn lose_release<H: Hook>(
        &mut self,
        id: &SessionId,
        asks: bool,
        ctx: &mut StepContext<'_, H>,
    ) {
        let Phase::Releasing { requeue, .. } = core::mem::take(&mut self.phase) else {
            return;
        };
        if ctx.rules.drops_lost_base() {
            // r[release.drops-lost]
            self.drop_base();
        }
        match requeue {
            Some(request) if !asks => {
                self.phase = Phase::Wanted {
                    request,
                    ticket: None,
                    wait_mode: WaitMode::Wait,
                    existing: false,
                };
                self.cancel_if_unwanted(id, ctx);
            }
            _ => self.acquire(id, ctx),
        }
    }

    pub(super) fn on_revoked<H: Hook>(
        &mut self,
        id: &SessionId,
        revoked: Token,
        ctx: &mut StepContext<'_, H>,
    ) {
        match self.phase {
            Phase::Held(Grant { token, .. }) if token == revoked => {
                // r[fence.revoked]
                self.lose_grant(id, Poison::Revoked, ctx);
                self.acquire(id, ctx);
            }
            // The release is under way, and the store will queue the request that it carries.
            Phase::Releasing { token, .. } if token == revoked => self.lose_release(id, false, ctx),
            // r[end.stray]
            _ => {}
        }
    }

    /// Loses a grant without a release. Uncommitted changes are lost with it.
    pub(crate) fn lose_grant<H: Hook>(
        &mut self,
        id: &SessionId,
        why: Poison,
        ctx: &mut StepContext<'_, H>,
    ) {
        self.poison(id, why, ctx);
        self.phase = Phase::Absent;
        if ctx.rules.drops_lost_base() {
            self.drop_base();
        }
    }

    /// Handles the end of the lease: a grant is lost, and a wait continues with its ticket. Rule 10.
    pub(crate) fn on_lease_lost<H: Hook>(
        &mut self,
        id: &SessionId,
        why: Poison,
        ctx: &mut StepContext<'_, H>,
    ) {
        match self.phase {
            Phase::Held(_) if !ctx.rules.ends_with_lease() => return,
            // r[lease.lost]
            Phase::Held(_) => self.lose_grant(id, why, ctx),
            Phase::Releasing { .. } => return self.lose_release(id, true, ctx),
            Phase::Cancelling { .. } => self.phase = Phase::Absent,
            // r[lease.lost]
            Phase::Wanted { .. } | Phase::Absent => {}
        }
        self.early_recall = None;
        self.returning = None;
        if self.phase == Phase::Absent {
            self.acquire(id, ctx);
        }
    }

    /// Handles a welcome on a new connection. `is_known` says whether the store knows the grant. `said` is the last
    /// request that the hello can have listed. Rule 15.
    pub(crate) fn on_welcome<H: Hook>(
        &mut self,
        id: &SessionId,
        is_known: bool,
        said: Request,
        ctx: &mut StepContext<'_, H>,
    ) {
        self.early_recall = None; // The store repeats its recalls.
        self.returning = None; // A grant that the hello did not list is void.
        match &self.phase {
            // r[reconnect.repeats]
            Phase::Held(_) if is_known => self.resend(id, ctx),
            // r[reconnect.lost]
            Phase::Held(_) => {
                self.lose_grant(id, Poison::Revoked, ctx);
                self.acquire(id, ctx);
            }
            // r[reconnect.repeats]
            Phase::Releasing { .. } if is_known => self.resend(id, ctx),
            // r[reconnect.lost]
            Phase::Releasing { requeue, .. } => {
                let asks = requeue.is_some_and(|request| request > said);
                self.lose_release(id, asks, ctx);
            }
            // r[exists.ends-with-link]
            Phase::Wanted { existing: true, .. } => self.ask_behind_welcome(id, ctx),
            // r[reconnect.repeats]
            Phase::Wanted { request, .. } if *request > said => self.resend(id, ctx),
            // r[reconnect.repeats]
            Phase::Cancelling { .. } => self.resend(id, ctx),
            Phase::Wanted { .. } | Phase::Absent => {}
        }
    }
}
