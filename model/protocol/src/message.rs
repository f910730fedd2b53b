//! Everything that a process and the store say to each other.
//!
//! Every message is idempotent on (incarnation, request, token): it may arrive twice, late, or after its cause has gone
//! (rule 14). A process numbers its connections, and either side drops what comes on any but the newest (rule 15).

use crate::attributes::{Delta, State};
use crate::config::StoreLimits;
use crate::id::{Incarnation, ProcessId, Request, SessionId, Ticket, Time, Token, Version};
use crate::renumber::Numbers;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// How long a request is willing to wait at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WaitMode {
    /// Not at all for a thread: refused unless the session is free or only cached. Rule 13.
    Try,
    /// Until granted, or the store's longest wait.
    Wait,
}

/// A grant that a process has, or has released without an answer yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GrantRef {
    /// Which session.
    pub session: SessionId,
    /// The token of the grant.
    pub token: Token,
}

/// A request that a process waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AcquireRequest {
    /// Which session.
    pub session: SessionId,
    /// The process's number for the request.
    pub request: Request,
    /// The version of the client state that the process has. Rule 7.
    pub known: Option<Version>,
    /// How long it is willing to wait.
    #[serde(rename = "patience")]
    pub wait_mode: WaitMode,
    /// Its place in the queue, when the store has already given it one. Rule 5.
    pub ticket: Option<Ticket>,
    /// Whether the process wants the session only if it exists. Since 1.1; a `Hello` lists no such request. Rule 16.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub existing: bool,
}

/// From a process to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToStore {
    /// First on every connection: who I am, what I hold and what I wait for. Rule 15.
    Hello {
        /// Which start of the process this is.
        incarnation: Incarnation,
        /// The highest minor version of the protocol that the process speaks. On the wire it belongs to the connection.
        #[serde(default)]
        minor: u8,
        /// When it was sent, on the process's clock; comes back in `Welcome`. Rule 10.
        sent: Time,
        /// The grants that the process has, or has released without an answer yet.
        holds: Vec<GrantRef>,
        /// The requests that it waits for.
        waits: Vec<AcquireRequest>,
    },
    /// I live. Rule 10.
    KeepAlive {
        /// When it was sent, on the process's clock; comes back in `Alive`.
        sent: Time,
    },
    /// I want a session.
    Acquire(AcquireRequest),
    /// I no longer want it. Rule 14: the request still ends exactly once.
    Cancel {
        /// Which session.
        session: SessionId,
        /// Which request.
        request: Request,
    },
    /// Make these changes durable; I keep the grant.
    Commit {
        /// Which session.
        session: SessionId,
        /// The token of the grant. Rule 9.
        token: Token,
        /// The version that the changes are made to.
        base: Version,
        /// The attributes that changed.
        delta: Delta,
    },
    /// I give the grant back. Repeated until acknowledged. Rule 14.
    Release {
        /// Which session.
        session: SessionId,
        /// The token of the grant. Rule 9.
        token: Token,
        /// The version that the changes are made to.
        base: Version,
        /// The attributes that changed since.
        delta: Delta,
        /// A new request, behind all who wait. Rule 12.
        requeue: Option<Request>,
        /// How long ago, in milliseconds, a thread last used the session. Rule 16.
        idle_ms: u64,
    },
    /// I have seen the recall, and threads are inside. Moves no deadline. Rule 3.
    Busy {
        /// Which session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// How many threads are inside.
        inside: u32,
        /// The sessions without which these threads cannot leave, sorted. Rule 17.
        blocked_on: Vec<SessionId>,
    },
    /// End the session. Rule 16.
    Destroy {
        /// Which session.
        session: SessionId,
        /// The token of the grant. Rule 9.
        token: Token,
    },
    /// Give the session another id; the old one ends. Guards against session fixation.
    Rename {
        /// Which session.
        session: SessionId,
        /// The token of the grant. Rule 9.
        token: Token,
        /// Its id from now on; must not exist.
        to: SessionId,
    },
    /// I stop and have released everything.
    Goodbye,
}

/// Why the store wants a grant back. A later reason counts more than an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The time to live may have ended: give it back unless threads are inside. Rule 16.
    Expiry,
    /// Another process tries: give it back unless threads are inside. Rule 13.
    Try,
    /// Another process waits: close the gate and give it back when the threads inside are done. Rules 3 and 12.
    Wait,
    /// The operator asked. As [`Reason::Wait`].
    Operator,
}

impl Reason {
    /// Whether the gate closes, and the grant is given back in any case.
    #[must_use]
    pub fn insists(self) -> bool {
        self >= Self::Wait
    }
}

/// A recall, as the holder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecallInfo {
    /// Why.
    pub reason: Reason,
    /// In how many milliseconds the store revokes the grant. Rule 11.
    pub deadline_ms: u64,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// A try would have had to wait. Rule 13.
    WouldBlock,
    /// The request was cancelled. Rule 14.
    Cancelled,
    /// The wait has lasted too long. Rule 17.
    Deadline,
    /// The wait would never end: each session's holder waits for the next one's, the last one's for the first's. Rule 17.
    Deadlock {
        /// The sessions of the cycle.
        cycle: Vec<SessionId>,
    },
    /// A limit is reached. Rule 18.
    Limit(Limited),
    /// The session that was asked for was destroyed or renamed meanwhile. Rule 16.
    Gone,
    /// The thread holds one of the attributes already, or already waits.
    AlreadyLocked,
    /// The thread does not hold what it wants to use or give back.
    NotHeld,
    /// The new id of a renamed session is taken.
    IdTaken,
    /// The process is shutting down.
    ShuttingDown,
    /// Only a session that exists was asked for, and it does not exist. Since 1.1. Rule 16.
    Absent,
    /// The store speaks an older version, in which this cannot be asked for. A process says it to its threads.
    Unsupported,
}

/// Which limit. Rule 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Limited {
    /// Processes at the store.
    Processes,
    /// Grants of one process.
    Grants,
    /// Waiters for one session.
    Waiters,
    /// Attributes of one session.
    Attributes,
    /// Bytes of one attribute.
    AttributeBytes,
    /// Bytes of one session.
    SessionBytes,
    /// Waiting threads of one process for one session.
    Threads,
    /// What the store can make durable: its disk is full. Said by its driver, before the request reaches the machine.
    Storage,
}

/// Why the store took a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Revocation {
    /// The recall's deadline passed. Rule 11.
    RecallDeadline,
    /// The token is an old one: the grant ended before. Rule 9.
    Fenced,
}

/// From the store to a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToProcess {
    /// Answers `Hello`: each grant in it is known, gone or, when it is listed in neither, lost. Rule 15.
    Welcome {
        /// The highest minor version of the protocol that the store speaks. On the wire it stands in the frame's header.
        #[serde(default)]
        minor: u8,
        /// When the `Hello` was sent.
        sent: Time,
        /// How long the lease is, from then on. Rule 10.
        lease_ms: u64,
        /// The grants that the store knows of, among those in `Hello`.
        holds: Vec<GrantRef>,
        /// Those whose session is no more, or was renamed, with what the grant is since then: what a lost `Gone` said.
        gone: Vec<(GrantRef, Option<GrantRef>)>,
        /// The limits of the store; `None` from a store of 1.0. Rule 18.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limits: Option<StoreLimits>,
    },
    /// Answers `KeepAlive`.
    Alive {
        /// When the `KeepAlive` was sent.
        sent: Time,
        /// How long the lease is, from then on.
        lease_ms: u64,
        /// Recalls that were not answered by a release yet. Rule 11.
        recalls: Vec<(GrantRef, RecallInfo)>,
    },
    /// The session is yours.
    Granted {
        /// Which session.
        session: SessionId,
        /// Which request this ends.
        request: Request,
        /// The token of the grant. Rule 9.
        token: Token,
        /// The version of the state.
        version: Version,
        /// The state itself. Rule 7.
        state: State,
        /// Already recalled: others wait. Rule 2.
        recall: Option<RecallInfo>,
        /// Processes take turns: give it back when it is idle. Rule 2.
        give_back: bool,
    },
    /// Others come first. Rule 5.
    Queued {
        /// Which session.
        session: SessionId,
        /// Which request.
        request: Request,
        /// Its place.
        ticket: Ticket,
    },
    /// Give the grant back. Rule 3.
    Recall {
        /// Which grant.
        hold: GrantRef,
        /// Why, and until when.
        #[serde(rename = "notice")]
        info: RecallInfo,
    },
    /// The changes are durable.
    Committed {
        /// Which session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// The version that the changes were made to.
        base: Version,
        /// The version from now on.
        version: Version,
    },
    /// The grant is back.
    Released {
        /// Which session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// The version that the release made; `None` when the grant had ended before, or the changes pass a limit.
        version: Option<Version>,
        /// The limit of the store that the changes pass. For logs: a process of 1.0 does not read it. Rule 18.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Limited>,
    },
    /// The grant was taken.
    Revoked {
        /// Which session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// Why.
        why: Revocation,
        /// The limit of the store that a commit passes. For logs: a process of 1.0 does not read it. Rule 18.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Limited>,
    },
    /// The request ends without a grant.
    Refused {
        /// Which session.
        session: SessionId,
        /// Which request.
        request: Request,
        /// Why.
        why: Refusal,
    },
    /// The rename is refused; the grant stays.
    NotRenamed {
        /// Which session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// Why.
        why: Refusal,
    },
    /// The session was destroyed, or has another id, by you: the grant ends, or moves to the new id.
    Gone {
        /// Which session.
        session: SessionId,
        /// The token of the grant.
        token: Token,
        /// Its new id when it was renamed, and the token of the grant since then: who had the new id before may have had a
        /// later token than the grant (rule 9).
        renamed: Option<GrantRef>,
    },
    /// Your lease has ended: you hold nothing; say hello again. Rule 10.
    LeaseEnded,
    /// A newer incarnation of your process is here: stop. Rule 10.
    Superseded,
    /// The store knows too many processes. Rule 18.
    Full,
}

impl ToStore {
    /// Shows every number in a message of `process`.
    pub fn visit(&mut self, process: &ProcessId, numbers: &mut impl Numbers) {
        match self {
            Self::Hello {
                incarnation,
                sent,
                holds,
                waits,
                ..
            } => {
                numbers.incarnation(process, incarnation);
                numbers.process_time(process, sent);
                holds
                    .iter_mut()
                    .for_each(|hold| numbers.stamp(&mut hold.token.0));
                waits
                    .iter_mut()
                    .for_each(|acquire| acquire.visit(process, numbers));
            }
            Self::KeepAlive { sent } => numbers.process_time(process, sent),
            Self::Acquire(acquire) => acquire.visit(process, numbers),
            Self::Cancel { request, .. } => numbers.request(process, request),
            Self::Commit { token, base, .. } => {
                numbers.stamp(&mut token.0);
                numbers.stamp(&mut base.0);
            }
            Self::Release {
                token,
                base,
                requeue,
                ..
            } => {
                numbers.stamp(&mut token.0);
                numbers.stamp(&mut base.0);
                if let Some(request) = requeue {
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
    /// The one session that the message is about; `None` when it is about the process.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Granted { session, .. }
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

    /// Shows every number in a message to `process`.
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
            Self::Granted {
                request,
                token,
                version,
                ..
            } => {
                numbers.request(process, request);
                numbers.stamp(&mut token.0);
                numbers.stamp(&mut version.0);
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
