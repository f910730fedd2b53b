//! The messages of a script's steps, with the target's numbers.

use crate::end::{CaseEnd, Play};
use crate::store::derived::script::{Step, stamp};
use crate::store::oracle::{Connection, Kind};
use crate::store::set;
use tenure_protocol::message::{AcquireRequest, Commit, GrantRef, Release, WaitMode};
use tenure_protocol::{
    Delta, Incarnation, Link, ProcessId, Request, SessionId, Stamp, Ticket, ToStore, Token, Version,
};

/// A function that returns the target's number for one of the machine's, if the target has sent it.
pub(super) type Theirs<'t> = &'t dyn Fn(Kind, &SessionId, Stamp) -> Option<Stamp>;

/// The reason of a skip: the target has never sent a number that the script needs, because the target took another
/// allowed way.
pub(super) const ANOTHER_WAY: &str = "the target took another way that the rules allow, on which the script's next \
step is impossible";

fn missing(what: &str) -> CaseEnd {
    CaseEnd::fault(format!("a script's step has no {what}"))
}

impl Step {
    pub(super) fn process(&self) -> Play<ProcessId> {
        let name = self.process.clone().ok_or_else(|| missing("process"))?;
        ProcessId::new(name).map_err(CaseEnd::fault)
    }

    pub(super) fn session(&self) -> Play<SessionId> {
        let name = self.session.clone().ok_or_else(|| missing("session"))?;
        SessionId::new(name).map_err(CaseEnd::fault)
    }

    fn request(&self) -> Play<Request> {
        self.request.map(Request).ok_or_else(|| missing("request"))
    }

    pub(super) fn connection(&self) -> Play<Connection> {
        let [incarnation, number] = self.link.ok_or_else(|| missing("link"))?;
        let incarnation = Incarnation(incarnation);
        Ok(Connection {
            process: self.process()?,
            link: Link {
                incarnation,
                number,
            },
        })
    }

    /// Returns the target's number for one of the machine's.
    fn theirs(&self, their: Theirs<'_>, kind: Kind, ours: [u64; 2]) -> Play<Stamp> {
        let ours = stamp(ours);
        if ours == Stamp::default() {
            return Ok(ours);
        }
        their(kind, &self.session()?, ours).ok_or_else(|| CaseEnd::Skipped(ANOTHER_WAY.to_owned()))
    }

    fn token(&self, their: Theirs<'_>) -> Play<Token> {
        let ours = self.token.ok_or_else(|| missing("token"))?;
        self.theirs(their, Kind::Token, ours).map(Token)
    }

    fn base(&self, their: Theirs<'_>) -> Play<Version> {
        let ours = self.base.ok_or_else(|| missing("base"))?;
        self.theirs(their, Kind::Version, ours).map(Version)
    }

    pub(super) fn hold(&self, their: Theirs<'_>) -> Play<GrantRef> {
        Ok(GrantRef {
            session: self.session()?,
            token: self.token(their)?,
        })
    }

    pub(super) fn acquire_request(&self, their: Theirs<'_>) -> Play<AcquireRequest> {
        let known = self
            .known
            .map(|ours| self.theirs(their, Kind::Version, ours));
        // The target need not report a place in the queue.
        let session = self.session()?;
        let ticket = self
            .ticket
            .and_then(|ours| their(Kind::Ticket, &session, stamp(ours)));
        Ok(AcquireRequest {
            session,
            request: self.request()?,
            known: known.transpose()?.map(Version),
            wait_mode: match self.wait_mode.as_deref() {
                Some("try") => WaitMode::Try,
                _ => WaitMode::Wait,
            },
            ticket: ticket.map(Ticket),
            existing: false,
        })
    }

    fn delta(&self) -> Delta {
        let changes = self.set.iter().flatten();
        set(changes.map(|(name, value)| (name.as_str(), value.as_deref())))
    }

    pub(super) fn message(&self, their: Theirs<'_>) -> Play<ToStore> {
        let session = self.session()?;
        Ok(match self.what.as_str() {
            "acquire" => ToStore::Acquire(self.acquire_request(their)?),
            "cancel" => ToStore::Cancel {
                session,
                request: self.request()?,
            },
            "commit" => ToStore::Commit(Commit {
                session,
                token: self.token(their)?,
                base: self.base(their)?,
                delta: self.delta(),
            }),
            "release" => ToStore::Release(Release {
                session,
                token: self.token(their)?,
                base: self.base(their)?,
                delta: self.delta(),
                requeue: self.requeue.map(Request),
                idle_ms: 0,
            }),
            "busy" => {
                let all = self.blocked_on.iter().flatten().cloned();
                let all: Result<Vec<_>, _> = all.map(SessionId::new).collect();
                ToStore::Busy {
                    session,
                    token: self.token(their)?,
                    inside: 1,
                    blocked_on: all.map_err(CaseEnd::fault)?,
                }
            }
            "destroy" => ToStore::Destroy {
                session,
                token: self.token(their)?,
            },
            "rename" => {
                let to = self.to.clone().ok_or_else(|| missing("new id"))?;
                ToStore::Rename {
                    session,
                    token: self.token(their)?,
                    to: SessionId::new(to).map_err(CaseEnd::fault)?,
                }
            }
            other => {
                return Err(CaseEnd::fault(format!(
                    "the script has the unknown action {other}"
                )));
            }
        })
    }
}
