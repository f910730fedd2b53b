//! What is known of the target from outside: since when a lease runs, until when a recall lets the holder be, what a process
//! has a copy of. Nothing of it depends on how what came is explained.

use crate::store::grant::applied;
use crate::store::oracle::Connection;
use std::collections::BTreeMap;
use std::time::Duration;
use tenure_protocol::attributes::{State, Value};
use tenure_protocol::message::GrantRef;
use tenure_protocol::{
    AttributeName, ProcessId, Request, SessionId, Time, ToProcess, ToStore, Token, Version,
};
use tokio::time::Instant;

/// The attributes of a session.
pub(crate) type Attributes = BTreeMap<AttributeName, Value>;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// When each hello or keep-alive was said, and not answered yet.
    said: BTreeMap<(Connection, Time), Instant>,
    /// When a process's lease ends at the earliest.
    leases: BTreeMap<ProcessId, Instant>,
    /// The same when the step began.
    leases_before: BTreeMap<ProcessId, Instant>,
    pub(crate) lease: Duration,
    /// The longest that a recall left to its holder.
    pub(crate) recall: Duration,
    /// When a grant may be revoked at the earliest.
    recalls: BTreeMap<(SessionId, Token), Instant>,
    /// What a process has, that asks for a session.
    bases: BTreeMap<(ProcessId, SessionId, Request), Vec<Attributes>>,
    /// Requests that came with a release: what they build on is the version that the release makes.
    requeued: BTreeMap<(ProcessId, SessionId), Request>,
    /// When the step began: what comes was said no sooner, but for what was under way.
    began: Option<Instant>,
    /// What time it is, for who looks at what happened earlier; `None`: it happens.
    pub(crate) now: Option<Instant>,
    /// The last version that a session was seen in, with what it was.
    pub(crate) copies: BTreeMap<(SessionId, Version), Attributes>,
}

impl Ledger {
    fn now(&self) -> Instant {
        self.now.unwrap_or_else(Instant::now)
    }

    /// It is that time, and what comes may have been said so much sooner.
    pub(crate) fn looks_back_at(&mut self, now: Instant, slack: Duration) {
        self.now = Some(now);
        self.began = Some(now.checked_sub(slack).unwrap_or(now));
    }

    /// A step begins.
    pub(crate) fn begin(&mut self) {
        self.began = Some(self.now());
        self.leases_before.clone_from(&self.leases);
    }

    pub(crate) fn says_it_lives(&mut self, connection: &Connection, sent: Time) {
        let now = self.now();
        self.said.insert((connection.clone(), sent), now);
    }

    pub(crate) fn asks(
        &mut self,
        process: &ProcessId,
        session: &SessionId,
        request: Request,
        known: Option<Version>,
    ) {
        let base = known.and_then(|known| self.copies.get(&(session.clone(), known)));
        let base = base.cloned();
        let key = (process.clone(), session.clone(), request);
        self.bases.entry(key).or_default().extend(base);
    }

    pub(crate) fn requeues(&mut self, process: &ProcessId, session: &SessionId, request: Request) {
        let key = (process.clone(), session.clone());
        self.requeued.insert(key, request);
    }

    /// A release made that version.
    pub(crate) fn released(&mut self, process: &ProcessId, session: &SessionId, version: Version) {
        let key = (process.clone(), session.clone());
        if let Some(request) = self.requeued.remove(&key) {
            self.asks(process, session, request, Some(version));
        }
    }

    /// What the process may have after a grant; nothing when the grant builds on what the process has not.
    pub(crate) fn results(
        &self,
        process: &ProcessId,
        session: &SessionId,
        request: Request,
        state: &State,
    ) -> Vec<Attributes> {
        if matches!(state, State::Full(_)) {
            return vec![applied(&Attributes::new(), state)];
        }
        let key = (process.clone(), session.clone(), request);
        let bases = self.bases.get(&key).into_iter().flatten();
        bases.map(|base| applied(base, state)).collect()
    }

    /// Notes what a message says of times.
    pub(crate) fn hears(&mut self, connection: &Connection, message: &ToProcess) {
        match message {
            ToProcess::Welcome { sent, lease_ms, .. } => {
                self.answered(connection, *sent, *lease_ms)
            }
            ToProcess::Alive {
                sent,
                lease_ms,
                recalls,
            } => {
                self.answered(connection, *sent, *lease_ms);
                for (hold, info) in recalls {
                    self.recalled(hold, info.deadline_ms);
                }
            }
            ToProcess::Granted {
                session,
                token,
                recall: Some(info),
                ..
            } => {
                let (session, token) = (session.clone(), *token);
                self.recalled(&GrantRef { session, token }, info.deadline_ms);
            }
            ToProcess::Recall { hold, info } => self.recalled(hold, info.deadline_ms),
            ToProcess::Gone {
                session,
                renamed: Some(hold),
                ..
            } => self.renamed(&connection.process, session, &hold.session),
            _ => {}
        }
    }

    /// What a process knows of a session goes along with its new id.
    fn renamed(&mut self, process: &ProcessId, from: &SessionId, to: &SessionId) {
        let bases = self.bases.iter();
        let own = bases.filter(|((own, session, _), _)| own == process && session == from);
        let moved = own.map(|((_, _, request), base)| {
            let key = (process.clone(), to.clone(), *request);
            (key, base.clone())
        });
        let moved: Vec<_> = moved.collect();
        for (key, base) in moved {
            self.bases.entry(key).or_default().extend(base);
        }
        let copies = self.copies.iter().filter(|((own, _), _)| own == from);
        let copies = copies.map(|((_, version), own)| ((to.clone(), *version), own.clone()));
        let copies: Vec<_> = copies.collect();
        self.copies.extend(copies);
    }

    fn answered(&mut self, connection: &Connection, sent: Time, lease_ms: u64) {
        self.lease = Duration::from_millis(lease_ms);
        if let Some(said) = self.said.remove(&(connection.clone(), sent)) {
            let end = said + self.lease;
            let own = self.leases.entry(connection.process.clone()).or_insert(end);
            *own = end.max(*own);
        }
    }

    fn recalled(&mut self, hold: &GrantRef, deadline_ms: u64) {
        let span = Duration::from_millis(deadline_ms);
        self.recall = self.recall.max(span);
        let from = self.began.unwrap_or_else(|| self.now());
        self.recalls
            .insert((hold.session.clone(), hold.token), from + span);
    }

    /// Whether the lease of a process may have ended, now or before the step.
    pub(crate) fn may_end(&self, process: &ProcessId, is_before: bool) -> bool {
        let leases = if is_before {
            &self.leases_before
        } else {
            &self.leases
        };
        let end = leases.get(process);
        end.is_none_or(|end| self.now() >= *end)
    }

    /// Whether a grant may have been revoked. Of one that was not recalled where it could be heard nothing is known.
    pub(crate) fn may_revoke(&self, session: &SessionId, token: Option<Token>) -> bool {
        let until = token.and_then(|token| self.recalls.get(&(session.clone(), token)));
        until.is_none_or(|until| self.now() >= *until)
    }

    /// What a process has said of its requests.
    pub(crate) fn said(&mut self, process: &ProcessId, message: &ToStore) {
        match message {
            ToStore::Acquire(acquire) => {
                self.asks(process, &acquire.session, acquire.request, acquire.known);
            }
            ToStore::Release {
                session,
                requeue: Some(request),
                ..
            } => self.requeues(process, session, *request),
            _ => {}
        }
    }

    /// What the state that a grant brings may make.
    pub(crate) fn results_of(&self, process: &ProcessId, message: &ToProcess) -> Vec<Attributes> {
        match message {
            ToProcess::Granted {
                session,
                request,
                state,
                ..
            } => self.results(process, session, *request, state),
            _ => Vec::new(),
        }
    }

    /// Notes what a session is in a version; `now` is what it is now.
    pub(crate) fn copy(
        &mut self,
        process: &ProcessId,
        message: &ToProcess,
        results: &[Attributes],
        now: impl Fn(&SessionId) -> Attributes,
    ) {
        let (session, version, attributes) = match message {
            ToProcess::Granted {
                session, version, ..
            } => {
                let now = now(session);
                let is_now = results.iter().find(|own| **own == now);
                (
                    session,
                    version,
                    is_now.or_else(|| results.first()).cloned(),
                )
            }
            ToProcess::Committed {
                session, version, ..
            }
            | ToProcess::Released {
                session,
                version: Some(version),
                ..
            } => (session, version, Some(now(session))),
            _ => return,
        };
        if let Some(attributes) = attributes {
            self.copies.insert((session.clone(), *version), attributes);
        }
        if matches!(message, ToProcess::Released { .. }) {
            self.released(process, session, *version);
        }
    }

    /// Whether it was told until when it has that grant.
    pub(crate) fn is_recalled(&self, session: &SessionId, token: Token) -> bool {
        self.recalls.contains_key(&(session.clone(), token))
    }

    /// After a restart every lease is whole.
    pub(crate) fn restarted(&mut self) {
        let end = self.now() + self.lease;
        self.leases.values_mut().for_each(|own| *own = end);
        self.said.clear();
    }
}
