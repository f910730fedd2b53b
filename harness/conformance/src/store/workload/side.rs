//! The knowledge of a process in a history, and the messages for its steps.

use crate::store::oracle::Connection;
use crate::store::workload::act::{Act, SESSIONS, What};
use std::array;
use tenure_protocol::message::{AcquireRequest, Commit, GrantRef, Granted, Release, WaitMode};
use tenure_protocol::{
    Delta, Incarnation, Link, ProcessId, Request, SessionId, Ticket, ToProcess, ToStore, Token,
    Version,
};

/// A process's knowledge of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    pub(super) grant: Option<Grant>,
    pub(super) wait: Option<Wait>,
    /// Tokens of ended grants.
    pub(super) old: Vec<Token>,
    /// The version of the process's copy.
    pub(super) copy: Option<Version>,
    pub(super) committed: Option<ToStore>,
    pub(super) released: Option<ToStore>,
    pub(super) renamed: Option<ToStore>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) token: Token,
    pub(super) version: Version,
    pub(super) request: Request,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) request: Request,
    pub(super) wait_mode: WaitMode,
    pub(super) ticket: Option<Ticket>,
}

/// The state of a process.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) name: ProcessId,
    pub(super) link: Link,
    pub(super) connection: Option<Connection>,
    pub(super) last_request: u64,
    /// Whether the process has sent Goodbye, so that it must be restarted.
    pub(super) is_gone: bool,
    pub(super) own: [Own; SESSIONS],
}

pub(super) fn side(index: usize) -> Side {
    Side {
        name: ProcessId::new(format!("p{}", index + 1)).expect("short"),
        link: Link {
            incarnation: Incarnation(1),
            number: 0,
        },
        connection: None,
        last_request: 0,
        is_gone: false,
        own: array::from_fn(|_| Own::default()),
    }
}

pub(super) fn session(index: usize) -> SessionId {
    SessionId::new(format!("s{}", index + 1)).expect("short")
}

impl Side {
    /// Drops all knowledge.
    pub(super) fn forget(&mut self) {
        for own in &mut self.own {
            own.end();
            own.wait = None;
            own.copy = None;
        }
    }

    pub(super) fn acquire_request(&self, index: usize, wait: Wait) -> AcquireRequest {
        AcquireRequest {
            session: session(index),
            request: wait.request,
            known: self.own[index].copy,
            wait_mode: wait.wait_mode,
            ticket: wait.ticket,
            existing: false,
        }
    }

    fn next_request(&mut self) -> Request {
        self.last_request += 1;
        Request(self.last_request)
    }

    pub(super) fn message(
        &mut self,
        act: Act,
        delta: Delta,
        stranger: Option<Grant>,
    ) -> Option<ToStore> {
        let own = &self.own[act.session];
        let (grant, wait) = (own.grant, own.wait);
        let old = own.old.last().copied();
        match act.what {
            What::Acquire | What::Try if grant.is_none() && wait.is_none() => {
                let wait_mode = if act.what == What::Try {
                    WaitMode::Try
                } else {
                    WaitMode::Wait
                };
                Some(self.ask(act.session, wait_mode))
            }
            What::AskAnew if grant.is_some() || wait.is_some() => {
                let wait_mode = wait.map_or(WaitMode::Wait, |wait| wait.wait_mode);
                Some(self.ask(act.session, wait_mode))
            }
            What::AskAgain => {
                let granted = grant.map(|grant| Wait {
                    request: grant.request,
                    wait_mode: WaitMode::Wait,
                    ticket: None,
                });
                Some(ToStore::Acquire(
                    self.acquire_request(act.session, wait.or(granted)?),
                ))
            }
            What::Cancel | What::CancelOld => {
                let request = wait.map(|wait| wait.request);
                let request = request.or_else(|| grant.map(|grant| grant.request))?;
                let back = u64::from(act.what == What::CancelOld);
                let request = Request(request.0.checked_sub(back)?);
                let session = session(act.session);
                Some(ToStore::Cancel { session, request })
            }
            What::CommitAgain => own.committed.clone(),
            What::ReleaseAgain => own.released.clone(),
            What::RenameAgain => own.renamed.clone(),
            What::Commit
            | What::Release
            | What::ReleaseUnchanged
            | What::Requeue
            | What::Busy
            | What::Blocked
            | What::Destroy
            | What::Rename => self.write(act, delta, grant?),
            What::CommitOld
            | What::ReleaseOld
            | What::RequeueOld
            | What::BusyOld
            | What::DestroyOld => self.write_under(act, delta, old?),
            What::CommitStranger | What::ReleaseStranger | What::DestroyStranger => {
                self.write_under(act, delta, stranger?.token)
            }
            _ => None,
        }
    }

    fn ask(&mut self, index: usize, wait_mode: WaitMode) -> ToStore {
        let request = self.next_request();
        let wait = Wait {
            request,
            wait_mode,
            ticket: self.own[index].wait.and_then(|wait| wait.ticket),
        };
        if self.own[index].grant.is_none() {
            self.own[index].wait = Some(wait);
        }
        ToStore::Acquire(self.acquire_request(index, wait))
    }

    /// Returns the message of the holder.
    fn write(&mut self, act: Act, delta: Delta, grant: Grant) -> Option<ToStore> {
        let what = session(act.session);
        let Grant { token, version, .. } = grant;
        let message = match act.what {
            What::Commit => ToStore::Commit(Commit {
                session: what,
                token,
                base: version,
                delta,
            }),
            What::Destroy => ToStore::Destroy {
                session: what,
                token,
            },
            What::Rename => ToStore::Rename {
                session: what,
                token,
                to: session((act.session + 1) % SESSIONS),
            },
            What::Busy | What::Blocked => ToStore::Busy {
                session: what,
                token,
                inside: 1,
                blocked_on: (act.what == What::Blocked)
                    .then(|| session((act.session + 1) % SESSIONS))
                    .into_iter()
                    .collect(),
            },
            _ => {
                let requeue = (act.what == What::Requeue).then(|| self.next_request());
                let is_changed = act.what != What::ReleaseUnchanged;
                if let Some(request) = requeue {
                    self.own[act.session].wait = Some(Wait {
                        request,
                        wait_mode: WaitMode::Wait,
                        ticket: None,
                    });
                }
                ToStore::Release(Release {
                    session: what,
                    token,
                    base: version,
                    delta: if is_changed { delta } else { Delta::default() },
                    requeue,
                    idle_ms: 0,
                })
            }
        };
        let own = &mut self.own[act.session];
        match &message {
            ToStore::Commit(_) => own.committed = Some(message.clone()),
            ToStore::Release(_) => own.released = Some(message.clone()),
            ToStore::Rename { .. } => own.renamed = Some(message.clone()),
            _ => {}
        }
        Some(message)
    }

    /// Returns a write of a process that does not have that grant.
    fn write_under(&mut self, act: Act, delta: Delta, token: Token) -> Option<ToStore> {
        let what = session(act.session);
        let base = self.own[act.session].copy.unwrap_or(Version::NONE);
        Some(match act.what {
            What::CommitOld | What::CommitStranger => ToStore::Commit(Commit {
                session: what,
                token,
                base,
                delta,
            }),
            What::DestroyOld | What::DestroyStranger => ToStore::Destroy {
                session: what,
                token,
            },
            What::BusyOld => ToStore::Busy {
                session: what,
                token,
                inside: 1,
                blocked_on: Vec::new(),
            },
            _ => {
                let own = &self.own[act.session];
                let may_ask = own.grant.is_none() && own.wait.is_none();
                let is_asked = act.what == What::RequeueOld && may_ask;
                let requeue = is_asked.then(|| self.next_request());
                if let Some(request) = requeue {
                    self.own[act.session].wait = Some(Wait {
                        request,
                        wait_mode: WaitMode::Wait,
                        ticket: None,
                    });
                }
                ToStore::Release(Release {
                    session: what,
                    token,
                    base,
                    delta,
                    requeue,
                    idle_ms: 0,
                })
            }
        })
    }

    // ---- hearing ----------------------------------------------------------------------------------------------------

    fn own(&mut self, id: &SessionId) -> Option<&mut Own> {
        let index = (0..SESSIONS).find(|index| session(*index) == *id)?;
        Some(&mut self.own[index])
    }

    pub(super) fn hear(&mut self, message: &ToProcess) {
        match message {
            ToProcess::Welcome { holds, gone, .. } => self.welcome(holds, gone),
            ToProcess::LeaseEnded | ToProcess::Superseded | ToProcess::Full => {
                self.forget();
                self.connection = None;
                self.is_gone |= *message == ToProcess::Superseded;
            }
            ToProcess::Gone {
                session,
                token,
                renamed,
            } => self.gone(session, *token, renamed.as_ref()),
            _ => {
                if let Some(own) = message.session().and_then(|session| self.own(session)) {
                    own.hear(message);
                }
            }
        }
    }

    fn welcome(&mut self, holds: &[GrantRef], gone: &[(GrantRef, Option<GrantRef>)]) {
        for index in 0..SESSIONS {
            let Some(grant) = self.own[index].grant else {
                continue;
            };
            let (session, token) = (session(index), grant.token);
            let hold = GrantRef { session, token };
            if let Some((_, renamed)) = gone.iter().find(|(own, _)| *own == hold) {
                self.gone(&hold.session, token, renamed.as_ref());
            } else if !holds.contains(&hold) {
                self.own[index].end();
                self.own[index].copy = None;
            }
        }
    }

    fn gone(&mut self, session: &SessionId, token: Token, renamed: Option<&GrantRef>) {
        let Some(own) = self.own(session) else { return };
        let Some(grant) = own.grant.filter(|grant| grant.token == token) else {
            return;
        };
        own.end();
        own.copy = None;
        if let Some(renamed) = renamed
            && let Some(other) = self.own(&renamed.session)
        {
            other.end();
            other.copy = None;
            other.grant = Some(Grant {
                token: renamed.token,
                ..grant
            });
        }
    }
}

impl Own {
    fn end(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.old.push(grant.token);
        }
    }

    fn has(&self, token: Token) -> bool {
        self.grant.is_some_and(|grant| grant.token == token)
    }

    fn hear(&mut self, message: &ToProcess) {
        match message {
            ToProcess::Granted(Granted {
                token,
                version,
                request,
                ..
            }) => {
                if !self.has(*token) {
                    self.end();
                }
                self.wait = None;
                self.copy = Some(*version);
                self.grant = Some(Grant {
                    token: *token,
                    version: *version,
                    request: *request,
                });
            }
            ToProcess::Queued {
                request, ticket, ..
            } => {
                if let Some(wait) = &mut self.wait
                    && wait.request == *request
                {
                    wait.ticket = Some(*ticket);
                }
            }
            ToProcess::Committed { token, version, .. } => {
                if let Some(grant) = &mut self.grant
                    && grant.token == *token
                {
                    grant.version = *version;
                    self.copy = Some(*version);
                }
            }
            ToProcess::Released { token, version, .. } if self.has(*token) => {
                self.end();
                self.copy = *version;
            }
            ToProcess::Revoked { token, .. } if self.has(*token) => {
                self.end();
                self.copy = None;
            }
            ToProcess::Refused { request, .. } => {
                self.wait = self.wait.filter(|wait| wait.request != *request);
            }
            _ => {}
        }
    }
}
