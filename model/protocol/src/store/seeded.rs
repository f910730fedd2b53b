//! Seeded bugs of the store that are more than a wrong decision. A sound store contains nothing of this file.

use super::context::StepContext;
use super::step::Step;
use super::{Output, Session};
use crate::attributes::Delta;
use crate::id::{ProcessId, SessionId};
use crate::message::{AcquireRequest, Granted, Release, ToProcess};
use crate::mutant::Hook;

impl<H: Hook> Step<'_, H> {
    /// Brings a destroyed session back to memory for a late write. Returns whether the write does so.
    pub(super) fn resurrect(&mut self, id: &SessionId, delta: &Delta) -> bool {
        let exists = self.sessions.get(id).is_some_and(Session::is_known);
        let is_back = !exists && !delta.is_empty();
        if is_back {
            self.sessions.get_or_create(id);
        }
        is_back
    }

    /// Brings a destroyed session back, with the changes of a late release.
    pub(super) fn resurrect_written(&mut self, id: &SessionId, delta: &Delta) {
        if self.resurrect(id, delta) {
            let session = self.sessions.get_or_create(id);
            session.write(delta, &mut self.ctx);
            self.ctx.persist(id, session, delta.clone());
        }
    }
}

impl Session {
    /// Grants a held session to another process.
    pub(super) fn take_from_holder<H: Hook>(
        &mut self,
        id: &SessionId,
        process: &ProcessId,
        acquire: &AcquireRequest,
        ctx: &mut StepContext<'_, H>,
    ) {
        let place = self.place(process, acquire, ctx);
        self.end_grant(id, ctx);
        self.lock.enqueue_before(place, |_| true);
        ctx.waits(process, id);
        self.pass_on(id, Delta::default(), None, ctx);
    }

    /// Voids a grant, and leaves its recall to the next one.
    pub(super) fn void_under_recall<H: Hook>(
        &mut self,
        id: &SessionId,
        ctx: &mut StepContext<'_, H>,
    ) {
        let recall = self.recall.take();
        self.end_grant(id, ctx);
        self.recall = recall;
        self.pass_on(id, Delta::default(), None, ctx);
        if let (Some(_), Some(holder)) = (&self.recall, self.holder()) {
            ctx.is_recalled(holder, id, true); // Without this, a keep-alive would hide the bug.
        }
    }

    /// Writes a released session after the next process has become its holder, which receives the state before the
    /// changes.
    pub(super) fn write_after_granting<H: Hook>(
        &mut self,
        process: &ProcessId,
        release: &Release,
        ctx: &mut StepContext<'_, H>,
    ) {
        let former = self.record.state_since(self.lock.holders()[0].known);
        let id = &release.session;
        let version = self.write(&release.delta, ctx);
        ctx.persist(id, self, release.delta.clone());
        let released = ToProcess::Released {
            session: id.clone(),
            token: release.token,
            version: Some(version),
            limit: None,
        };
        ctx.send(process, released);
        self.send_grant(id, ctx);
        if let Some(Output::Send {
            message: ToProcess::Granted(Granted { state, .. }),
            ..
        }) = ctx.out.last_mut()
        {
            *state = former;
        }
    }
}
