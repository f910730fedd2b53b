//! Writes under the fence: commit, release, destroy, rename, expiry. Rules 7, 9, 14 and 16.

use super::context::StepContext;
use super::step::Step;
use super::{Output, Session, grants};
use crate::attributes::{Change, Delta, Update};
use crate::config::StoreSettings;
use crate::id::{ProcessId, Request, SessionId, Time, Token, Version};
use crate::message::{
    AcquireRequest, Commit, GrantRef, Limited, Reason, Refusal, Release, Revocation, ToProcess,
    WaitMode,
};
use crate::mutant::Hook;

impl<H: Hook> Step<'_, H> {
    pub(crate) fn on_commit(&mut self, process: &ProcessId, commit: Commit) {
        let Commit {
            session,
            token,
            base,
            delta,
        } = commit;
        let id = &session;
        if !self.ctx.rules.stays_destroyed() {
            self.resurrect(id, &delta);
        }
        let rules = self.ctx.rules;
        let may_commit = |own: &Session| rules.may_commit(own.is_held(process, token));
        // r[destroy.stays]
        let Some(session) = self.sessions.get_mut(id).filter(|own| may_commit(own)) else {
            // r[fence.commit]
            self.ctx.fence(process, id, token);
            return;
        };
        // r[limit.harms-nobody]
        let refused = session.may_write(base, &delta, self.ctx.settings).err();
        if session.is_spoilt || refused.is_some() {
            // r[limit.ends-grant] r[commit.base-ends-grant]
            return session.spoil(id, process, refused.flatten(), &mut self.ctx);
        }
        if rules.is_new_commit(base, session.record.head.version) {
            // r[commit.keeps-grant]
            let version = session.write(&delta, &mut self.ctx);
            // r[expiry.busy-is-use]
            session.touch(&self.ctx);
            // r[commit.answered]
            let committed = ToProcess::Committed {
                session: id.clone(),
                token,
                base,
                version,
            };
            let from = self.ctx.out.len();
            // r[commit.durable]
            self.ctx.persist(id, session, delta);
            self.ctx.send(process, committed);
            rules.order_commit(self.ctx.out, from);
        } else {
            // r[commit.repeated]
            // The holder commits to one version after the other, so this commit was accepted before: its answer was
            // lost, or it came twice. Nothing else can have changed the version under its token.
            let version = session.record.head.version;
            self.ctx.send(
                process,
                ToProcess::Committed {
                    session: id.clone(),
                    token,
                    base,
                    version,
                },
            );
        }
    }

    pub(crate) fn on_release(&mut self, process: &ProcessId, release: Release) {
        let Release {
            session: id,
            token,
            base,
            delta,
            requeue,
            ..
        } = &release;
        let token = *token;
        if !self.ctx.rules.stays_destroyed() {
            self.resurrect_written(id, delta);
        }
        let requeued = requeue.map(|request| requeued(id, request, None));
        let rules = self.ctx.rules;
        let may_release =
            |own: &Session| rules.may_release(own.is_held(process, token), process, own.holder());
        // r[destroy.stays]
        let Some(session) = self.sessions.get_mut(id).filter(|own| may_release(own)) else {
            // r[release.old]
            self.ctx.send(process, refused(id, token, None));
            if let Some(acquire) = requeued {
                // r[release.requeued]
                self.on_acquire(process, acquire);
            }
            return;
        };
        if let Err(limit) = session.may_write(*base, delta, self.ctx.settings) {
            // r[limit.ends-grant] r[commit.base-ends-grant]
            // No thread is inside any more, so the grant ends at once, and the changes are lost.
            session.end_grant(id, &mut self.ctx);
            let released = refused(id, token, limit);
            session.pass_on(
                id,
                Delta::default(),
                Some((process, released)),
                &mut self.ctx,
            );
            self.tidy(id);
            if let Some(acquire) = requeued {
                // r[release.requeued]
                self.on_acquire(process, acquire);
            }
            return;
        }
        let id = id.clone();
        session.release(process, release, &mut self.ctx);
        self.tidy(&id);
    }

    /// Destroys a session. A destroyed session stays destroyed. Rule 16.
    pub(crate) fn on_destroy(&mut self, process: &ProcessId, id: &SessionId, token: Token) {
        let session = self.sessions.get_mut(id);
        let gone = ToProcess::Gone {
            session: id.clone(),
            token,
            renamed: None,
        };
        match session {
            Some(session) if session.is_held(process, token) && !session.is_spoilt => {
                // r[destroy.answered]
                session.destroy(id, Some((process, gone)), &mut self.ctx);
                self.sessions.remove(id);
            }
            Some(session) if session.is_known() => {
                // r[destroy.answered-old]
                self.ctx.fence(process, id, token);
            }
            // r[destroy.answered-old]
            _ => self.ctx.send(process, gone),
        }
    }

    pub(crate) fn on_rename(
        &mut self,
        process: &ProcessId,
        id: &SessionId,
        token: Token,
        to: SessionId,
    ) {
        let session = id.clone();
        let is_held = self
            .sessions
            .get(id)
            .is_some_and(|own| own.is_held(process, token) && !own.is_spoilt);
        let taken = self.sessions.get(&to);
        // r[rename.repeated]
        if let Some(renamed) = taken.and_then(|own| own.token_renamed(process, token)) {
            // The request is a repetition.
            let renamed = Some(GrantRef {
                session: to,
                token: renamed,
            });
            self.ctx.send(
                process,
                ToProcess::Gone {
                    session,
                    token,
                    renamed,
                },
            );
        } else if !is_held {
            // r[fence.rename]
            self.ctx.fence(process, id, token);
        } else if taken.is_some() {
            // r[rename.taken]
            let why = Refusal::IdTaken;
            self.ctx.send(
                process,
                ToProcess::NotRenamed {
                    session,
                    token,
                    why,
                },
            );
        } else {
            // r[rename.moves]
            let mut moved = self
                .sessions
                .remove(id)
                .expect("is_held above has found the session in memory");
            moved.rename(id, &to, &mut self.ctx);
            self.sessions.insert(to, moved);
        }
    }

    /// Handles the end of the time to live. Rule 16.
    pub(crate) fn on_expire(&mut self, id: &SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        // r[expiry.not-while-held]
        if !self.ctx.rules.may_expire(session.holder().is_some()) {
            // r[expiry.recalls]
            session.ensure_recall(id, Reason::Expiry, &mut self.ctx);
            return;
        }
        session.end_grant(id, &mut self.ctx);
        // r[expiry.ends]
        session.destroy(id, None, &mut self.ctx);
        self.sessions.remove(id);
    }
}

/// Returns the answer to a release whose changes were not written: the grant has ended before, or they exceed a limit.
fn refused(id: &SessionId, token: Token, limit: Option<Limited>) -> ToProcess {
    ToProcess::Released {
        session: id.clone(),
        token,
        version: None,
        limit,
    }
}

/// Creates the request that a release with `requeue` carries. Rule 12.
fn requeued(id: &SessionId, request: Request, known: Option<Version>) -> AcquireRequest {
    AcquireRequest {
        session: id.clone(),
        request,
        known,
        wait_mode: WaitMode::Wait,
        ticket: None,
        existing: false,
    }
}

impl Session {
    /// Applies a delta and returns the resulting version.
    pub(super) fn write<H: Hook>(
        &mut self,
        delta: &Delta,
        ctx: &mut StepContext<'_, H>,
    ) -> Version {
        if !delta.is_empty() {
            let former = self.record.head.floor;
            self.record.apply(delta, Version(ctx.stamps.draw()));
            let floor = &mut self.record.head.floor;
            *floor = ctx.rules.written_floor(former, *floor);
            if self.record.head.expires.is_none() {
                self.touch(ctx);
            }
        }
        self.record.head.version
    }

    /// Notes that the session is used now. Rule 16.
    pub(crate) fn touch<H: Hook>(&mut self, ctx: &StepContext<'_, H>) {
        self.live_from(ctx.now, ctx);
    }

    /// Sets the expiry of a session that was last used at `used`. An earlier start of the store may have set a longer
    /// time to live, which the session keeps. Under the present settings no expiry is later than that of a use at this
    /// moment.
    fn live_from<H: Hook>(&mut self, used: Time, ctx: &StepContext<'_, H>) {
        let Some(live) = ctx.settings.time_to_live_ms else {
            self.record.head.expires = None;
            return;
        };
        let promised = self.record.head.expires;
        let promised = promised.filter(|promised| *promised > ctx.now.after(live));
        // r[expiry.not-early]
        self.record.head.expires = Some(promised.unwrap_or_else(|| used.after(live)));
    }

    /// Returns when the session's time to live ends, or `None` while the session is recalled.
    pub(crate) fn expire_due(&self) -> Option<Time> {
        self.record
            .head
            .expires
            // r[expiry.once-written]
            .filter(|_| self.record.exists() && self.recall.is_none())
    }

    /// Checks whether these changes may become part of the state. A process bases its changes only on versions that the
    /// store has, unless the store was set back, for example to an old backup. A process also keeps to every limit that
    /// it knows. Changes that enlarge nothing exceed no limit: the limits may be lower than when the state was written.
    /// Rules 7 and 18.
    ///
    /// The error is the limit, or `None` when the version is wrong. The error ends this grant and nothing else, because
    /// the process would send the same changes again on each connection. Without changes, as when a grant is turned
    /// down, the version is that of a copy, which may be of an earlier life of the session.
    fn may_write(
        &self,
        base: Version,
        delta: &Delta,
        settings: &StoreSettings,
    ) -> Result<(), Option<Limited>> {
        if delta.is_empty() {
            return Ok(());
        }
        // r[commit.base-ends-grant]
        if base > self.record.head.version {
            return Err(None);
        }
        let limits = &settings.limits;
        let is_too_large = |change: &Change| {
            let length = change.value.as_ref().map_or(0, bytes::Bytes::len);
            let before = || self.record.value(&change.name).map_or(0, bytes::Bytes::len);
            length > limits.attribute_bytes_max && length > before()
        };
        if delta.changes().iter().any(is_too_large) {
            return Err(Some(Limited::AttributeBytes));
        }
        let (bytes, count) = self.record.size_with(delta);
        if count <= limits.attributes_max && bytes <= limits.session_bytes_max {
            return Ok(());
        }
        let (bytes_before, count_before) = self.record.size_with(&Delta::default());
        if count > limits.attributes_max.max(count_before) {
            return Err(Some(Limited::Attributes));
        }
        if bytes > limits.session_bytes_max.max(bytes_before) {
            return Err(Some(Limited::SessionBytes));
        }
        Ok(())
    }

    /// Notifies the holder, which has committed a forbidden change, that its grant is lost. The holder's threads may be
    /// inside until it receives the message, so the session is passed on only afterwards. A process answers the recall
    /// of a grant that it does not have by a release. Rules 1 and 18.
    fn spoil<H: Hook>(
        &mut self,
        id: &SessionId,
        process: &ProcessId,
        limit: Option<Limited>,
        ctx: &mut StepContext<'_, H>,
    ) {
        let Some(token) = self.token_of(process) else {
            return;
        };
        ctx.send(
            process,
            ToProcess::Revoked {
                session: id.clone(),
                token,
                why: Revocation::Fenced,
                limit,
            },
        );
        if !ctx.rules.waits_until_heard() {
            return self.void(id, ctx);
        }
        // r[limit.until-heard]
        self.is_spoilt = true;
        let is_recalled = self
            .recall
            .as_ref()
            .is_some_and(|recall| recall.reason == Reason::Operator);
        if is_recalled {
            // The earlier recall came while the process had the grant. Only a recall after the loss is answered by a
            // release.
            self.repeat_recall(id, ctx);
        } else {
            self.ensure_recall(id, Reason::Operator, ctx);
        }
    }

    /// Returns whether a new request of the holder shows that the holder knows of the loss of its grant.
    pub(crate) fn has_heard_of_loss(&self, process: &ProcessId, acquire: &AcquireRequest) -> bool {
        let granted = self.lock.holders().first();
        self.is_spoilt
            && granted
                .is_some_and(|place| place.process == *process && place.request < acquire.request)
    }

    fn release<H: Hook>(
        &mut self,
        process: &ProcessId,
        release: Release,
        ctx: &mut StepContext<'_, H>,
    ) {
        let id = &release.session;
        self.end_grant(id, ctx);
        if !ctx.rules.writes_before_granting() && self.admit_next(id, ctx) {
            return self.write_after_granting(process, &release, ctx);
        }
        // r[release.written]
        let version = self.write(&release.delta, ctx);
        if ctx.settings.time_to_live_ms.is_some() && self.record.exists() {
            self.live_from(ctx.now.before(release.idle_ms), ctx);
        }
        let mut queued = None;
        if let Some(request) = release.requeue {
            // r[release.requeued]
            let acquire = requeued(id, request, Some(version));
            let place = self.place(process, &acquire, ctx);
            queued = Some(grants::queued(&acquire, place.ticket));
            // r[queue.requeue-last]
            self.lock.enqueue_at(ctx.rules.requeue_end(), place);
            ctx.waits(process, id);
        }
        let released = ToProcess::Released {
            session: id.clone(),
            token: release.token,
            version: Some(version),
            limit: None,
        };
        // r[release.answered] r[commit.durable]
        let answer = Some((process, released));
        self.pass_on(id, release.delta, answer, ctx);
        let is_granted = self.holder() == Some(process);
        if let Some(queued) = queued.filter(|_| ctx.rules.tells_place(is_granted)) {
            // r[queue.told]
            ctx.send(process, queued);
        }
    }

    /// Ends the session: its record, its grant, and every wait for it.
    fn destroy<H: Hook>(
        &mut self,
        id: &SessionId,
        reply: Option<(&ProcessId, ToProcess)>,
        ctx: &mut StepContext<'_, H>,
    ) {
        self.end_grant(id, ctx);
        self.record = crate::Record::default();
        // r[commit.durable]
        ctx.out.push(Output::Persist(Update::Remove {
            session: id.clone(),
        }));
        self.end_waits(id, ctx);
        if let Some((process, message)) = reply {
            ctx.send(process, message);
        }
    }

    /// Moves the session to a new id, together with its holder. The waits end. The token is new, and no older copy
    /// under the new id counts as a base.
    fn rename<H: Hook>(&mut self, from: &SessionId, to: &SessionId, ctx: &mut StepContext<'_, H>) {
        // r[recall.ends-with-grant]
        self.set_recall(from, None, ctx);
        self.busy = None;
        let stamp = ctx.stamps.draw();
        let head = &mut self.record.head;
        let holder = head
            .holder
            .as_mut()
            .expect("the caller has checked that the process holds the session");
        let token = holder.token;
        holder.renamed = Some(token);
        // r[rename.new-token]
        holder.token = ctx.rules.renamed_token(token, Token(stamp));
        // r[grant.full]
        head.floor = ctx.rules.renamed_floor(head.floor, Version(stamp));
        let holder = holder.clone();
        let process = &holder.process;
        // r[commit.durable]
        ctx.out.push(Output::Persist(Update::Rename {
            from: from.clone(),
            to: to.clone(),
            head: head.clone(),
        }));
        self.end_waits(from, ctx);
        ctx.holds_no_more(process, from);
        ctx.holds(process, to);
        let renamed = GrantRef {
            session: to.clone(),
            token: holder.token,
        };
        let gone = ToProcess::Gone {
            session: from.clone(),
            token,
            renamed: Some(renamed),
        };
        ctx.send(process, gone);
        if ctx.is_draining() {
            // r[stop.drains]
            self.ensure_recall(to, Reason::Operator, ctx);
        }
    }

    fn end_waits<H: Hook>(&mut self, id: &SessionId, ctx: &mut StepContext<'_, H>) {
        for place in self.lock.remove_waiters() {
            ctx.waits_no_more(&place.process, id);
            if ctx.rules.tells_waiters_of_end() {
                // r[destroy.waiters]
                ctx.refuse(&place.process, id, place.request, Refusal::Gone);
            }
        }
    }
}
