//! Steps that every process takes: request, commit, release, and receive the answers.

use crate::end::Play;
use crate::store::grant::{applied, apply};
use crate::store::{Grant, ScriptedProcess};
use std::collections::BTreeMap;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::{
    AcquireRequest, Commit, Granted, RecallInfo, Refusal, Release, WaitMode,
};
use tenure_protocol::{
    AttributeName, Delta, Request, SessionId, Ticket, ToProcess, ToStore, Token, Version,
};

impl ScriptedProcess {
    /// Returns a request for a session with the next request number.
    pub(crate) fn acquire_request(&mut self, session: &SessionId) -> AcquireRequest {
        self.last_request += 1;
        AcquireRequest {
            session: session.clone(),
            request: Request(self.last_request),
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: None,
            existing: false,
        }
    }

    /// Sends a request for a session.
    pub(crate) async fn ask(&mut self, session: &SessionId) -> Play<Request> {
        let acquire = self.acquire_request(session);
        let request = acquire.request;
        self.say(ToStore::Acquire(acquire)).await?;
        Ok(request)
    }

    /// Sends a try for a session.
    pub(crate) async fn try_for(&mut self, session: &SessionId) -> Play<Request> {
        let mut acquire = self.acquire_request(session);
        acquire.wait_mode = WaitMode::Try;
        let request = acquire.request;
        self.say(ToStore::Acquire(acquire)).await?;
        Ok(request)
    }

    /// Sends a request, and waits for the grant.
    pub(crate) async fn acquire(&mut self, session: &SessionId) -> Play<Grant> {
        let request = self.ask(session).await?;
        self.granted(session, request).await
    }

    /// Waits for a grant.
    pub(crate) async fn granted(&mut self, session: &SessionId, request: Request) -> Play<Grant> {
        self.granted_from(session, request, &BTreeMap::new(), 0)
            .await
    }

    /// Waits for a grant of a session of which this process has a base version.
    pub(crate) async fn granted_from(
        &mut self,
        session: &SessionId,
        request: Request,
        base: &BTreeMap<AttributeName, Value>,
        after_ms: u64,
    ) -> Play<Grant> {
        let expected = format!("Granted to {request:?} for {session}");
        self.expect_after(&expected, after_ms, |message| match message {
            ToProcess::Granted(Granted {
                session: own,
                request: answered,
                token,
                version,
                state,
                recall,
                give_back,
            }) if own == session && *answered == request => Some(Grant {
                session: own.clone(),
                request,
                token: *token,
                version: *version,
                state: state.clone(),
                attributes: applied(base, state),
                recall: *recall,
                give_back: *give_back,
            }),
            _ => None,
        })
        .await
    }

    /// Waits for a place in the queue.
    pub(crate) async fn queued(&mut self, session: &SessionId, request: Request) -> Play<Ticket> {
        let expected = format!("Queued for {request:?}");
        self.expect(&expected, |message| match message {
            ToProcess::Queued {
                session: own,
                request: answered,
                ticket,
            } if own == session && *answered == request => Some(*ticket),
            _ => None,
        })
        .await
    }

    /// Waits for a recall of that grant.
    pub(crate) async fn recalled(&mut self, grant: &Grant) -> Play<RecallInfo> {
        let expected = format!("Recall of {:?}", grant.hold());
        self.expect(&expected, |message| match message {
            ToProcess::Recall { hold, info } if *hold == grant.hold() => Some(*info),
            _ => None,
        })
        .await
    }

    /// Waits for a refusal.
    pub(crate) async fn refused(&mut self, session: &SessionId, request: Request) -> Play<Refusal> {
        self.refused_after(session, request, 0).await
    }

    pub(crate) async fn refused_after(
        &mut self,
        session: &SessionId,
        request: Request,
        after_ms: u64,
    ) -> Play<Refusal> {
        let expected = format!("Refused to {request:?}");
        self.expect_after(&expected, after_ms, |message| match message {
            ToProcess::Refused {
                session: own,
                request: answered,
                why,
            } if own == session && *answered == request => Some(why.clone()),
            _ => None,
        })
        .await
    }

    /// Commits, and waits until the commit is durable.
    pub(crate) async fn commit(&mut self, grant: &mut Grant, delta: Delta) -> Play<Version> {
        self.say_commit(grant, delta.clone()).await?;
        let base = grant.version;
        let hold = grant.hold();
        let version = self
            .expect("Committed", |message| match message {
                ToProcess::Committed {
                    session,
                    token,
                    base: own,
                    version,
                } if *session == hold.session && *token == hold.token && *own == base => {
                    Some(*version)
                }
                _ => None,
            })
            .await?;
        grant.version = version;
        apply(&mut grant.attributes, &delta);
        Ok(version)
    }

    pub(crate) async fn say_commit(&mut self, grant: &Grant, delta: Delta) -> Play {
        self.say(ToStore::Commit(Commit {
            session: grant.session.clone(),
            token: grant.token,
            base: grant.version,
            delta,
        }))
        .await
    }

    /// Releases, and waits for the acknowledgement. Returns the new version.
    pub(crate) async fn release(&mut self, grant: &Grant, delta: Delta) -> Play<Option<Version>> {
        self.say_release(grant, delta, None).await?;
        self.released(&grant.session, grant.token).await
    }

    pub(crate) async fn say_release(
        &mut self,
        grant: &Grant,
        delta: Delta,
        requeue: Option<Request>,
    ) -> Play {
        self.say(ToStore::Release(Release {
            session: grant.session.clone(),
            token: grant.token,
            base: grant.version,
            delta,
            requeue,
            idle_ms: 0,
        }))
        .await
    }

    pub(crate) async fn released(
        &mut self,
        session: &SessionId,
        token: Token,
    ) -> Play<Option<Version>> {
        self.expect("Released", |message| match message {
            ToProcess::Released {
                session: own,
                token: released,
                version,
                ..
            } if own == session && *released == token => Some(*version),
            _ => None,
        })
        .await
    }

    /// Reports that threads are inside.
    pub(crate) async fn busy(&mut self, grant: &Grant, blocked_on: Vec<SessionId>) -> Play {
        self.say(ToStore::Busy {
            session: grant.session.clone(),
            token: grant.token,
            inside: 1,
            blocked_on,
        })
        .await
    }
}
