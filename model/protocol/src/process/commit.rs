//! Making changes durable while the grant is cached, and ending or renaming a session. Rules 7, 9 and 16.

use super::Answer;
use super::context::StepContext;
use super::session::{Ending, Grant, Outgoing, Phase, Session};
use super::state::Wanted;
use crate::id::{SessionId, ThreadId, Token, Version};
use crate::message::{Commit, Refusal, ToStore};
use crate::mutant::Hook;

impl Session {
    /// Makes the writes of a thread durable.
    pub(crate) fn commit_of<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        ctx: &mut StepContext<'_, H>,
    ) {
        if let Some(why) = self.poison_of(thread) {
            return ctx.answer(thread, id, Answer::Poisoned(why));
        }
        if !self.is_inside(thread) {
            return ctx.refuse(thread, id, Refusal::NotHeld);
        }
        self.state.merge_of(|inside| inside == thread);
        if self.commit.is_none() && !self.state.is_dirty() {
            let version = self.version.unwrap_or(Version::NONE);
            return ctx.answer(thread, id, Answer::Committed(version));
        }
        self.next_commit.push(thread);
        self.send_commit(id, ctx);
    }

    /// Sends the changes, unless a commit is unanswered: the answer to that commit then causes the next one.
    pub(crate) fn send_commit<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        let Phase::Held(grant) = &self.phase else {
            return;
        };
        // r[commit.one-at-a-time]
        if self.commit.is_some() || !self.state.is_dirty() {
            return;
        }
        let token = grant.token;
        let base = self.version.unwrap_or(Version::NONE);
        let delta = self.state.take_dirty();
        let threads = core::mem::take(&mut self.next_commit);
        self.sent = ctx.step.now;
        ctx.send(ToStore::Commit(Commit {
            session: id.clone(),
            token,
            base,
            delta: delta.clone(),
        }));
        self.commit = Some(Outgoing {
            base,
            delta,
            threads,
        });
    }

    pub(crate) fn on_committed<H: Hook>(
        &mut self,
        id: &SessionId,
        token: Token,
        (base, version): (Version, Version),
        ctx: &mut StepContext<'_, H>,
    ) {
        // r[end.stray]
        if self.grant().is_none_or(|grant| grant.token != token) {
            return;
        }
        let Some(commit) = self.commit.take_if(|commit| commit.base == base) else {
            return;
        };
        self.version = Some(version);
        // r[commit.told]
        for thread in commit.threads {
            ctx.answer(thread, id, Answer::Committed(version));
        }
        if !self.next_commit.is_empty() {
            self.send_commit(id, ctx);
            // The changes of these threads were in the answered commit.
            if self.commit.is_none() {
                for thread in core::mem::take(&mut self.next_commit) {
                    ctx.answer(thread, id, Answer::Committed(version));
                }
            }
        }
        self.settle(id, ctx);
    }

    /// Ends or renames a session for a thread that has locked all attributes.
    pub(crate) fn end_session<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        ending: Ending,
        ctx: &mut StepContext<'_, H>,
    ) {
        if let Some(why) = self.poison_of(thread) {
            return ctx.answer(thread, id, Answer::Poisoned(why));
        }
        let has_all = self
            .state
            .claims_of(thread)
            .any(|claim| claim.wanted == Wanted::All);
        let Phase::Held(grant) = &mut self.phase else {
            return ctx.refuse(thread, id, Refusal::NotHeld);
        };
        // r[destroy.all-locked]
        if !has_all || grant.ending.is_some() {
            return ctx.refuse(thread, id, Refusal::NotHeld);
        }
        grant.ending = Some((thread, ending));
        self.resend(id, ctx);
    }

    pub(crate) fn on_not_renamed<H: Hook>(
        &mut self,
        id: &SessionId,
        token: Token,
        why: Refusal,
        ctx: &mut StepContext<'_, H>,
    ) {
        let Phase::Held(grant) = &mut self.phase else {
            return;
        };
        if grant.token == token
            && let Some((thread, _)) = grant.ending.take()
        {
            ctx.refuse(thread, id, why);
            self.settle(id, ctx);
        }
    }

    /// Handles the end of the session that this process has asked for.
    pub(crate) fn on_destroyed<H: Hook>(
        &mut self,
        id: &SessionId,
        token: Token,
        ctx: &mut StepContext<'_, H>,
    ) {
        if self
            .ending(token)
            .is_none_or(|ending| !ending.is_done_by(None))
        {
            return;
        }
        let Phase::Held(Grant { ending, .. }) = core::mem::take(&mut self.phase) else {
            return;
        };
        self.state.lock.remove_holders();
        self.commit = None;
        self.next_commit.clear();
        if let Some((thread, _)) = ending {
            ctx.answer(thread, id, Answer::Destroyed);
        }
        self.refuse_waiters(id, &Refusal::Gone, |_| true, ctx);
        // r[release.drops-lost]
        self.drop_base();
    }
}
