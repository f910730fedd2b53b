//! The messages between a process and the store.
//!
//! Every message is idempotent on (incarnation, request, token): a message may arrive twice, late, or after its cause
//! is gone (rule 14). A process numbers its connections. Either side drops messages of every connection but the newest
//! (rule 15).

use crate::attributes::{Delta, State};
use crate::config::StoreLimits;
use crate::id::{Incarnation, ProcessId, Request, SessionId, Ticket, Time, Token, Version};
use crate::renumber::Numbers;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The way in which a request waits at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WaitMode {
    /// A request that does not wait for threads: refused unless the session is free or only cached. Rule 13.
    Try,
    /// A request that waits until it is granted or the store's longest wait has passed.
    Wait,
}

/// A reference to a grant that a process has, or has released without an acknowledgement yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GrantRef {
    /// The session of the grant.
    pub session: SessionId,
    /// The token of the grant.
    pub token: Token,
}

/// A request of a process for a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AcquireRequest {
    /// The session.
    pub session: SessionId,
    /// The number that the process gave the request.
    pub request: Request,
    /// The version of the client state that the process has, if any. Rule 7.
    pub known: Option<Version>,
    /// The way in which the request waits.
    #[serde(rename = "patience")]
    pub wait_mode: WaitMode,
    /// The place in the queue, when the store has given the request one already. Rule 5.
    pub ticket: Option<Ticket>,
    /// Whether the request is only for a session that exists. Since 1.1. A `Hello` lists no such request. Rule 16.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub existing: bool,
}

/// The content of [`ToStore::Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hello {
    /// The incarnation of the process: the number of its start.
    pub incarnation: Incarnation,
    /// The highest minor version of the protocol that the process speaks. On the wire this number belongs to the
    /// connection.
    #[serde(default)]
    pub minor: u8,
    /// The time of sending, on the process's clock. `Welcome` returns it. Rule 10.
    pub sent: Time,
    /// The grants that the process has, or has released without an answer yet.
    pub holds: Vec<GrantRef>,
    /// The requests for which the process waits.
    pub waits: Vec<AcquireRequest>,
}

/// The content of [`ToStore::Commit`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Commit {
    /// The session.
    pub session: SessionId,
    /// The token of the grant. Rule 9.
    pub token: Token,
    /// The version that the changes are made to.
    pub base: Version,
    /// The attributes that changed.
    pub delta: Delta,
}

/// The content of [`ToStore::Release`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Release {
    /// The session.
    pub session: SessionId,
    /// The token of the grant. Rule 9.
    pub token: Token,
    /// The version that the changes are made to.
    pub base: Version,
    /// The attributes that changed since that version.
    pub delta: Delta,
    /// A new request of the same process, which queues behind all other waiters. Rule 12.
    pub requeue: Option<Request>,
    /// The time since a thread last used the session, in milliseconds. Rule 16.
    pub idle_ms: u64,
}

/// The content of [`ToProcess::Granted`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Granted {
    /// The session.
    pub session: SessionId,
    /// The request that the grant ends.
    pub request: Request,
    /// The token of the grant. Rule 9.
    pub token: Token,
    /// The version of the state.
    pub version: Version,
    /// The state of the session. Rule 7.
    pub state: State,
    /// The recall of this grant, when other processes already wait. Rule 2.
    pub recall: Option<RecallInfo>,
    /// Whether the process shall give the grant back when idle, because processes take turns. Rule 2.
    pub give_back: bool,
}

/// A message from a process to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToStore {
    /// The first message on every connection: the identity, the grants and the waits of the process. Rule 15.
    Hello(Hello),
    /// A keep-alive: the process renews its lease. Rule 10.
    KeepAlive {
        /// The time of sending, on the process's clock. `Alive` returns it.
        sent: Time,
    },
    /// A request for a session.
    Acquire(AcquireRequest),
    /// The end of the process's interest in a request. The request still ends exactly once. Rule 14.
    Cancel {
        /// The session.
        session: SessionId,
        /// The request.
        request: Request,
    },
    /// Changes that the store shall make durable while the process keeps the grant.
    Commit(Commit),
    /// The return of a grant. The process repeats this message until the store acknowledges it. Rule 14.
    Release(Release),
    /// A report that the process has seen the recall and that threads are inside. It moves no deadline. Rule 3.
    Busy {
        /// The session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// The number of threads inside.
        inside: u32,
        /// The sessions that these threads need before they can leave, sorted. Rule 17.
        blocked_on: Vec<SessionId>,
    },
    /// A request to end the session. Rule 16.
    Destroy {
        /// The session.
        session: SessionId,
        /// The token of the grant. Rule 9.
        token: Token,
    },
    /// A request to give the session another id; the old id ends. This guards against session fixation.
    Rename {
        /// The session.
        session: SessionId,
        /// The token of the grant. Rule 9.
        token: Token,
        /// The new id of the session. No session with this id may exist.
        to: SessionId,
    },
    /// The last message of a process that stops and has released every grant.
    Goodbye,
}

/// The reason for which the store recalls a grant. A later reason in this list overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The time to live may have ended: the holder gives the grant back unless threads are inside. Rule 16.
    Expiry,
    /// Another process tries: the holder gives the grant back unless threads are inside. Rule 13.
    Try,
    /// Another process waits: the holder closes the gate and gives the grant back when the threads inside are done.
    /// Rules 3 and 12.
    Wait,
    /// The operator asked. The effect is that of [`Reason::Wait`].
    Operator,
}

impl Reason {
    /// Returns whether the holder must close the gate and give the grant back in any case.
    #[must_use]
    pub fn insists(self) -> bool {
        self >= Self::Wait
    }
}

impl From<WaitMode> for Reason {
    /// Returns the reason for which a waiter of this kind recalls the grant.
    fn from(wait_mode: WaitMode) -> Self {
        match wait_mode {
            WaitMode::Try => Self::Try,
            WaitMode::Wait => Self::Wait,
        }
    }
}

/// The reason and the deadline of a recall, as the holder receives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecallInfo {
    /// The reason of the recall.
    pub reason: Reason,
    /// The time until the store revokes the grant, in milliseconds. Rule 11.
    pub deadline_ms: u64,
}

/// The reason for which a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// A try would have had to wait. Rule 13.
    WouldBlock,
    /// The request was cancelled. Rule 14.
    Cancelled,
    /// The wait has lasted too long. Rule 17.
    Deadline,
    /// The wait would never end: each session's holder waits for the next session, and the last one's for the first.
    /// Rule 17.
    Deadlock {
        /// The sessions of the cycle.
        cycle: Vec<SessionId>,
    },
    /// A limit was reached. Rule 18.
    Limit(Limited),
    /// The requested session was destroyed or renamed meanwhile. Rule 16.
    Gone,
    /// The thread already holds one of the attributes, or already waits.
    AlreadyLocked,
    /// The thread does not hold the attribute that it wants to use or give back.
    NotHeld,
    /// The new id of a renamed session is taken.
    IdTaken,
    /// The process is shutting down.
    ShuttingDown,
    /// The request was only for a session that exists, and the session does not exist. Since 1.1. Rule 16.
    Absent,
    /// The store speaks an older version that has no such request. Only a process sends this refusal, to its threads.
    Unsupported,
}

/// The limit that a request exceeds. Rule 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Limited {
    /// The number of processes at the store.
    Processes,
    /// The number of grants of one process.
    Grants,
    /// The number of waiters for one session.
    Waiters,
    /// The number of attributes of one session.
    Attributes,
    /// The bytes of one attribute.
    AttributeBytes,
    /// The bytes of one session.
    SessionBytes,
    /// The number of threads of one process that wait for one session.
    Threads,
    /// The storage of the store: its disk is full. The driver refuses the request before the request reaches the
    /// machine.
    Storage,
}

/// The reason for which the store revoked a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Revocation {
    /// The recall's deadline passed. Rule 11.
    RecallDeadline,
    /// The token is old: the grant had ended before. Rule 9.
    Fenced,
}

/// A message from the store to a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToProcess {
    /// The answer to `Hello`. Each grant in `Hello` is held, gone or, when listed in neither `holds` nor `gone`, lost.
    /// Rule 15.
    Welcome {
        /// The highest minor version of the protocol that the store speaks. On the wire this number stands in the
        /// frame's header.
        #[serde(default)]
        minor: u8,
        /// The time at which the `Hello` was sent, on the process's clock.
        sent: Time,
        /// The length of the lease in milliseconds, counted from `sent`. Rule 10.
        lease_ms: u64,
        /// The grants that the store knows of, among those in `Hello`.
        holds: Vec<GrantRef>,
        /// The grants whose session was destroyed or renamed. For a renamed session, the second part is the grant under
        /// the new id. This repeats a lost `Gone`.
        gone: Vec<(GrantRef, Option<GrantRef>)>,
        /// The limits of the store; `None` from a store of 1.0. Rule 18.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limits: Option<StoreLimits>,
    },
    /// The answer to `KeepAlive`.
    Alive {
        /// The time at which the `KeepAlive` was sent, on the process's clock.
        sent: Time,
        /// The length of the lease in milliseconds, counted from `sent`.
        lease_ms: u64,
        /// The recalls that no release has answered yet. Rule 11.
        recalls: Vec<(GrantRef, RecallInfo)>,
    },
    /// A grant of a session.
    Granted(Granted),
    /// A place in the queue: the request waits behind other requests. Rule 5.
    Queued {
        /// The session.
        session: SessionId,
        /// The request.
        request: Request,
        /// The place of the request in the queue.
        ticket: Ticket,
    },
    /// A recall: the process shall give the grant back. Rule 3.
    Recall {
        /// The recalled grant.
        hold: GrantRef,
        /// The reason and the deadline.
        #[serde(rename = "notice")]
        info: RecallInfo,
    },
    /// The acknowledgement of a commit: its changes are durable.
    Committed {
        /// The session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// The version that the changes were made to.
        base: Version,
        /// The version after the commit.
        version: Version,
    },
    /// The acknowledgement of a release.
    Released {
        /// The session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// The version that the release made; `None` when the grant had ended before or the changes exceed a limit.
        version: Option<Version>,
        /// The limit of the store that the changes exceed. For logs: a process of 1.0 does not read it. Rule 18.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Limited>,
    },
    /// The loss of a grant: the store has revoked it.
    Revoked {
        /// The session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// The reason.
        why: Revocation,
        /// The limit of the store that a commit exceeds. For logs: a process of 1.0 does not read it. Rule 18.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Limited>,
    },
    /// The end of a request without a grant.
    Refused {
        /// The session.
        session: SessionId,
        /// The request.
        request: Request,
        /// The reason.
        why: Refusal,
    },
    /// The refusal of a rename. The grant stays.
    NotRenamed {
        /// The session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// The reason.
        why: Refusal,
    },
    /// The end of a session that the receiving process destroyed or renamed. After a rename the grant moves to the new
    /// id.
    Gone {
        /// The session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// The grant under the new id, when the session was renamed. Its token may be newer than `token`, because an
        /// earlier session under the new id may have had later tokens (rule 9).
        renamed: Option<GrantRef>,
    },
    /// The end of the lease: the process holds nothing and has to send `Hello` again. Rule 10.
    LeaseEnded,
    /// The arrival of a newer incarnation of the process: the receiver has to stop. Rule 10.
    Superseded,
    /// The refusal of a `Hello`, because the store already knows as many processes as its limit allows. Rule 18.
    Full,
}

impl ToStore {
    /// Shows every number in a message of `process` to `numbers`.
    pub fn visit(&mut self, process: &ProcessId, numbers: &mut impl Numbers) {
        match self {
            Self::Hello(hello) => {
                numbers.incarnation(process, &mut hello.incarnation);
                numbers.process_time(process, &mut hello.sent);
                let holds = hello.holds.iter_mut();
                holds.for_each(|hold| numbers.stamp(&mut hold.token.0));
                let waits = hello.waits.iter_mut();
                waits.for_each(|acquire| acquire.visit(process, numbers));
            }
            Self::KeepAlive { sent } => numbers.process_time(process, sent),
            Self::Acquire(acquire) => acquire.visit(process, numbers),
            Self::Cancel { request, .. } => numbers.request(process, request),
            Self::Commit(commit) => {
                numbers.stamp(&mut commit.token.0);
                numbers.stamp(&mut commit.base.0);
            }
            Self::Release(release) => {
                numbers.stamp(&mut release.token.0);
                numbers.stamp(&mut release.base.0);
                if let Some(request) = &mut release.requeue {
                    numbers.request(process, request);
                }
            }
            Self::Busy { token, .. } | Self::Destroy { token, .. } | Self::Rename { token, .. } => {
                numbers.stamp(&mut token.0);
            }
            Self::Goodbye => {}
        }
    }
}

impl AcquireRequest {
    pub(crate) fn visit(&mut self, process: &ProcessId, numbers: &mut impl Numbers) {
        numbers.request(process, &mut self.request);
        if let Some(known) = &mut self.known {
            numbers.stamp(&mut known.0);
        }
        if let Some(ticket) = &mut self.ticket {
            numbers.stamp(&mut ticket.0);
        }
    }
}

impl ToProcess {
    /// Returns the session that the message is about, or `None` when the message is about the process as a whole.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Granted(Granted { session, .. })
            | Self::Queued { session, .. }
            | Self::Recall {
                hold: GrantRef { session, .. },
                ..
            }
            | Self::Committed { session, .. }
            | Self::Released { session, .. }
            | Self::Revoked { session, .. }
            | Self::Refused { session, .. }
            | Self::NotRenamed { session, .. }
            | Self::Gone { session, .. } => Some(session),
            Self::Welcome { .. }
            | Self::Alive { .. }
            | Self::LeaseEnded
            | Self::Superseded
            | Self::Full => None,
        }
    }

    /// Shows every number in a message to `process` to `numbers`.
    pub fn visit(&mut self, process: &ProcessId, numbers: &mut impl Numbers) {
        match self {
            Self::Welcome {
                sent, holds, gone, ..
            } => {
                numbers.process_time(process, sent);
                holds
                    .iter_mut()
                    .chain(
                        gone.iter_mut()
                            .flat_map(|(hold, renamed)| [hold].into_iter().chain(renamed)),
                    )
                    .for_each(|hold| numbers.stamp(&mut hold.token.0));
            }
            Self::Alive { sent, recalls, .. } => {
                numbers.process_time(process, sent);
                recalls
                    .iter_mut()
                    .for_each(|(hold, _)| numbers.stamp(&mut hold.token.0));
            }
            Self::Granted(granted) => {
                numbers.request(process, &mut granted.request);
                numbers.stamp(&mut granted.token.0);
                numbers.stamp(&mut granted.version.0);
            }
            Self::Queued {
                request, ticket, ..
            } => {
                numbers.request(process, request);
                numbers.stamp(&mut ticket.0);
            }
            Self::Recall { hold, .. } => numbers.stamp(&mut hold.token.0),
            Self::Committed {
                token,
                base,
                version,
                ..
            } => {
                numbers.stamp(&mut token.0);
                numbers.stamp(&mut base.0);
                numbers.stamp(&mut version.0);
            }
            Self::Released { token, version, .. } => {
                numbers.stamp(&mut token.0);
                if let Some(version) = version {
                    numbers.stamp(&mut version.0);
                }
            }
            Self::Revoked { token, .. } | Self::NotRenamed { token, .. } => {
                numbers.stamp(&mut token.0);
            }
            Self::Gone { token, renamed, .. } => {
                numbers.stamp(&mut token.0);
                if let Some(renamed) = renamed {
                    numbers.stamp(&mut renamed.token.0);
                }
            }
            Self::Refused { request, .. } => numbers.request(process, request),
            Self::LeaseEnded | Self::Superseded | Self::Full => {}
        }
    }
}
