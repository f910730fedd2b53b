//! The ledger: facts about the target that are visible from outside. Examples are the beginning of each lease, the
//! deadline of each recall, and the copies of processes. None of them depends on a hypothesis.

use crate::store::grant::applied;
use crate::store::oracle::Connection;
use std::collections::BTreeMap;
use std::time::Duration;
use tenure_protocol::attributes::{State, Value};
use tenure_protocol::message::{GrantRef, Granted, Release};
use tenure_protocol::{
    AttributeName, ProcessId, Request, SessionId, Time, ToProcess, ToStore, Token, Version,
};
use tokio::time::Instant;

/// The attributes of a session.
pub(crate) type Attributes = BTreeMap<AttributeName, Value>;

/// The ledger. See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The time at which each unanswered hello or keep-alive was sent.
    said: BTreeMap<(Connection, Time), Instant>,
    /// The earliest end of each process's lease.
    leases: BTreeMap<ProcessId, Instant>,
    /// The earliest ends of leases at the beginning of the step.
    leases_before: BTreeMap<ProcessId, Instant>,
    pub(crate) lease: Duration,
    /// The longest time that a recall has left to its holder.
    pub(crate) recall: Duration,
    /// The earliest time at which each grant may be revoked.
    recalls: BTreeMap<(SessionId, Token), Instant>,
    /// The possible base states of a process that requests a session.
    bases: BTreeMap<(ProcessId, SessionId, Request), Vec<Attributes>>,
    /// Requests that came with a release. Their base is the version that the release makes.
    requeued: BTreeMap<(ProcessId, SessionId), Request>,
    /// The beginning of the step. Received messages were sent later, except for messages in flight.
    began: Option<Instant>,
    /// The time to assume when earlier events are examined, or `None` for the present.
    pub(crate) now: Option<Instant>,
    /// The attributes of each session in each observed version.
    pub(crate) copies: BTreeMap<(SessionId, Version), Attributes>,
}

impl Ledger {
    fn now(&self) -> Instant {
        self.now.unwrap_or_else(Instant::now)
    }

    /// Sets the time to assume, minus the given slack.
    pub(crate) fn looks_back_at(&mut self, now: Instant, slack: Duration) {
        self.now = Some(now);
        self.began = Some(now.checked_sub(slack).unwrap_or(now));
    }

    /// Begins a step.
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

    /// Records the version that a release has made.
    pub(crate) fn released(&mut self, process: &ProcessId, session: &SessionId, version: Version) {
        let key = (process.clone(), session.clone());
        if let Some(request) = self.requeued.remove(&key) {
            self.asks(process, session, request, Some(version));
        }
    }

    /// Returns the states that the process may have after a grant. The result is empty if the grant builds on a state
    /// that the process does not have.
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

    /// Records the times stated in a message.
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
            ToProcess::Granted(Granted {
                session,
                token,
                recall: Some(info),
                ..
            }) => {
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

    /// Moves a process's knowledge of a session to its new id.
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

    /// Returns whether the lease of a process may have ended, now or before the step.
    pub(crate) fn may_end(&self, process: &ProcessId, is_before: bool) -> bool {
        let leases = if is_before {
            &self.leases_before
        } else {
            &self.leases
        };
        let end = leases.get(process);
        end.is_none_or(|end| self.now() >= *end)
    }

    /// Returns whether a grant may have been revoked. Nothing is known of a grant whose recall could not be received.
    pub(crate) fn may_revoke(&self, session: &SessionId, token: Option<Token>) -> bool {
        let until = token.and_then(|token| self.recalls.get(&(session.clone(), token)));
        until.is_none_or(|until| self.now() >= *until)
    }

    /// Records the requests in a message of a process.
    pub(crate) fn said(&mut self, process: &ProcessId, message: &ToStore) {
        match message {
            ToStore::Acquire(acquire) => {
                self.asks(process, &acquire.session, acquire.request, acquire.known);
            }
            ToStore::Release(Release {
                session,
                requeue: Some(request),
                ..
            }) => self.requeues(process, session, *request),
            _ => {}
        }
    }

    /// Returns the possible results of the state in a grant.
    pub(crate) fn results_of(&self, process: &ProcessId, message: &ToProcess) -> Vec<Attributes> {
        match message {
            ToProcess::Granted(Granted {
                session,
                request,
                state,
                ..
            }) => self.results(process, session, *request, state),
            _ => Vec::new(),
        }
    }

    /// Records the attributes of a session in a version. `now` is the current state.
    pub(crate) fn copy(
        &mut self,
        process: &ProcessId,
        message: &ToProcess,
        results: &[Attributes],
        now: impl Fn(&SessionId) -> Attributes,
    ) {
        let (session, version, attributes) = match message {
            ToProcess::Granted(Granted {
                session, version, ..
            }) => {
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

    /// Returns whether the deadline of that grant was stated.
    pub(crate) fn is_recalled(&self, session: &SessionId, token: Token) -> bool {
        self.recalls.contains_key(&(session.clone(), token))
    }

    /// After a restart of the store, every lease is whole.
    pub(crate) fn restarted(&mut self) {
        let end = self.now() + self.lease;
        self.leases.values_mut().for_each(|own| *own = end);
        self.said.clear();
    }
}
