//! The errors of locks and guards: what failed, in which session, and what to do next.
//!
//! Error texts end up in logs, and a session id is as secret as a password. So every text names a session by its
//! [`ShortId`].

use std::fmt;
use std::panic::Location;
use tenure_protocol::AttributeName;
use tenure_protocol::SessionId;
use tenure_protocol::id::{NameLength, ShortId};
use tenure_protocol::message::Limited;
use tenure_protocol::process::Poison;

/// The reason why a request or an operation failed. Large parts are boxed, so that a result is no larger than a guard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of an attribute is empty or too long.
    #[error("{0}")]
    Name(NameLength),
    /// The thread already holds one of the attributes, or already waits for it. This wait would never end. Use the
    /// first guard, or drop it before.
    #[error("session {}: this thread already {}", ShortId(&.0.session), .0)]
    AlreadyLocked(Box<First>),
    /// The deadline of the wait has passed. Rule 17. Try again, or report to the user that the session is busy.
    #[error(
        "session {}: the wait for the lock has passed its deadline; try again, or raise the time limit",
        ShortId(.0)
    )]
    Deadline(Box<SessionId>),
    /// The wait would be a deadlock: this thread holds a lock that another thread of the cycle waits for. Rule 17.
    /// Release the locks of this thread and start again.
    #[error(
        "this wait would be a deadlock, in a cycle through the sessions {:?}; unlock and start again",
        .cycle.iter().map(ShortId).collect::<Vec<_>>()
    )]
    Deadlock {
        /// The sessions of the cycle. The holder of each session waits for the next one, and the holder of the last for
        /// the first.
        cycle: Box<[SessionId]>,
    },
    /// A try would have had to wait for another thread. Rule 13.
    #[error("session {}: another thread holds the lock, and the request was a try, which does not wait", ShortId(.0))]
    WouldBlock(Box<SessionId>),
    /// The session was destroyed or renamed during the wait. Rule 16.
    #[error("session {}: the session was destroyed or renamed during the wait", ShortId(.0))]
    Gone(Box<SessionId>),
    /// The session does not exist, and the request was restricted to a session that exists
    /// ([`LockRequest::existing`](crate::LockRequest::existing)). No data was created in this process or at the store.
    /// Treat the id as unknown, and let the user log in again.
    #[error("session {}: the session does not exist, and the request was for an existing session only", ShortId(.0))]
    Absent(Box<SessionId>),
    /// The store speaks an older version of the protocol, without this feature. No message was sent, and the connection
    /// and all other requests still work. [`Unsupported`] names the feature and the required version.
    #[error("session {}: {}", ShortId(&.0.session), .0)]
    Unsupported(Box<Unsupported>),
    /// The new id of a rename is taken. Choose another id.
    #[error("session {}: the new id of the rename is taken; choose another id", ShortId(.0))]
    IdTaken(Box<SessionId>),
    /// A limit is reached, and nothing has changed. Rule 18. [`Exceeded`] names the limit, its value, and whether the
    /// store or this process sets it.
    #[error("session {}: {}", ShortId(&.0.session), .0)]
    Limit(Box<Exceeded>),
    /// The lease ended while the thread held the lock, and its writes are discarded. Rule 10. Lock again and start
    /// again.
    #[error("session {}: {}", ShortId(.0), lost(Poison::LeaseLost))]
    LeaseLost(Box<SessionId>),
    /// The store revoked the grant while the thread held the lock, and its writes are discarded. Rule 11. Lock again
    /// and start again.
    #[error("session {}: {}", ShortId(.0), lost(Poison::Revoked))]
    Revoked(Box<SessionId>),
    /// The thread held the lock past the deadline of a recall, and its writes are discarded. Rule 11. Lock again and
    /// start again. To finish earlier, check [`Guard::recalled`](crate::Guard::recalled).
    #[error("session {}: {}", ShortId(.0), lost(Poison::Late))]
    Late(Box<SessionId>),
    /// A newer start of this process has taken over. This process can lock nothing any more, and the writes under its
    /// guards are discarded. Rule 10. Stop this process, or give each process its own name.
    #[error(
        "session {}: a newer start of this process has taken over, and this one can lock nothing any more; stop \
         this process, or give each process its own name",
        ShortId(.0)
    )]
    Superseded(Box<SessionId>),
    /// The guard does not lock this attribute.
    #[error("this guard does not lock attribute {0}")]
    NotLocked(Box<AttributeName>),
    /// This OS process is a child, by `fork`, of the process that holds the locks. The call had no effect in either
    /// process. Connect in the child after the fork, or execute another program. The child cannot use guards and
    /// handles from before the fork.
    #[error(
        "this OS process was forked from the one that holds the locks, and holds none itself; connect again after \
         the fork, or exec another program"
    )]
    Forked,
    /// A blocking wait inside of a task would have blocked the only thread of its runtime. Another thread or task of
    /// this process holds the lock, or comes first. If that task runs on the same runtime, the wait could never end.
    /// Nothing was locked.
    ///
    /// Await the lock, or wait in `tokio::task::spawn_blocking`. On a multi-threaded runtime,
    /// `tokio::task::block_in_place` works too.
    #[error(
        "session {}: a blocking wait would block the only thread of this runtime, which the holder of the lock may \
         need; await the lock, or wait in spawn_blocking",
        ShortId(.0)
    )]
    BlocksRuntime(Box<SessionId>),
    /// The process is shutting down, and grants no more locks.
    #[error("session {}: the process is shutting down", ShortId(.0))]
    ShuttingDown(Box<SessionId>),
}

/// An exceeded limit. Rule 18.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The session of the request.
    pub session: SessionId,
    /// The kind of the limit.
    pub limit: Limited,
    /// Whether the store or this process sets the limit.
    pub whose: Whose,
    /// The value of the limit. `None` if the store has not sent it.
    pub max: Option<u64>,
}

/// A feature that the store is too old for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The session of the request.
    pub session: SessionId,
    /// The feature.
    pub feature: &'static str,
    /// The protocol version that the feature needs: major, minor.
    pub needs: (u8, u8),
    /// The protocol version of the store: major, minor.
    pub store: (u8, u8),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            feature,
            needs,
            store,
            ..
        } = self;
        write!(
            f,
            "{feature} needs a store that speaks version {}.{} of the protocol, and this one speaks {}.{}; \
             update the store, or lock without it",
            needs.0, needs.1, store.0, store.1
        )
    }
}

/// The side that sets a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Whose {
    /// The store, in its settings.
    Store,
    /// This process, in its `ProcessSettings`.
    Process,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.whose {
            Whose::Store => "the store",
            Whose::Process => "this process",
        };
        match self.max {
            Some(max) => write!(
                f,
                "over the limit of {whose}: at most {max} {}",
                limit(self.limit)
            ),
            None => write!(f, "over the limit of {whose} on {}", limit(self.limit)),
        }
    }
}

/// The first lock of a thread that requests the same attribute again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// The session of both locks.
    pub session: SessionId,
    /// The source line of the first lock. `None` if the thread only waits for that lock.
    pub place: Option<&'static Location<'static>>,
}

impl fmt::Display for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(f, "holds one of these attributes, locked at {place}"),
            None => f.write_str("waits for one of these attributes"),
        }
    }
}

impl From<NameLength> for Error {
    fn from(why: NameLength) -> Self {
        Self::Name(why)
    }
}

impl Error {
    /// Returns the session of the error. Returns `None` for an error about a name, about several sessions, or about
    /// none.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Name(_) | Self::NotLocked(_) | Self::Deadlock { .. } | Self::Forked => None,
            Self::AlreadyLocked(first) => Some(&first.session),
            Self::Limit(exceeded) => Some(&exceeded.session),
            Self::Unsupported(unsupported) => Some(&unsupported.session),
            Self::Deadline(session)
            | Self::WouldBlock(session)
            | Self::Gone(session)
            | Self::Absent(session)
            | Self::IdTaken(session)
            | Self::LeaseLost(session)
            | Self::Revoked(session)
            | Self::Late(session)
            | Self::Superseded(session)
            | Self::BlocksRuntime(session)
            | Self::ShuttingDown(session) => Some(session),
        }
    }

    /// Returns whether the grant was lost while the thread held the lock, so that its writes are discarded:
    /// [`Error::LeaseLost`], [`Error::Revoked`], [`Error::Late`] or [`Error::Superseded`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::LeaseLost(_) | Self::Revoked(_) | Self::Late(_) | Self::Superseded(_)
        )
    }

    /// Returns whether the same request may succeed later: the session or the store was busy, or the grant was lost.
    /// Returns `false` if the program must change something first, and if the session or the process has ended for
    /// good.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Deadline(_)
            | Self::Deadlock { .. }
            | Self::WouldBlock(_)
            | Self::LeaseLost(_)
            | Self::Revoked(_)
            | Self::Late(_) => true,
            Self::Limit(exceeded) => matches!(
                exceeded.limit,
                Limited::Processes
                    | Limited::Grants
                    | Limited::Waiters
                    | Limited::Threads
                    | Limited::Storage
            ),
            Self::Name(_)
            | Self::AlreadyLocked(_)
            | Self::Gone(_)
            | Self::Absent(_)
            | Self::Unsupported(_)
            | Self::IdTaken(_)
            | Self::Superseded(_)
            | Self::NotLocked(_)
            | Self::Forked
            | Self::BlocksRuntime(_)
            | Self::ShuttingDown(_) => false,
        }
    }

    /// Returns the error of a thread that held a lock when the grant was lost.
    pub(crate) fn lost(session: &SessionId, why: Poison) -> Self {
        let session = Box::new(session.clone());
        match why {
            Poison::LeaseLost => Self::LeaseLost(session),
            Poison::Revoked => Self::Revoked(session),
            Poison::Late => Self::Late(session),
            Poison::Superseded => Self::Superseded(session),
        }
    }
}

fn limit(limited: Limited) -> &'static str {
    match limited {
        Limited::Processes => "processes at the store",
        Limited::Grants => "grants of one process",
        Limited::Waiters => "processes that wait for one session",
        Limited::Attributes => "attributes of one session",
        Limited::AttributeBytes => "bytes of one attribute",
        Limited::SessionBytes => "bytes of one session",
        Limited::Threads => "threads that wait for one session",
        Limited::Storage => "bytes that the store can make durable: its disk is full",
    }
}

fn lost(why: Poison) -> String {
    let why = poison(why);
    format!(
        "the grant was lost while it was in use ({why}), and the writes are discarded; lock again and start again"
    )
}

/// Returns the reason of a lost grant in words.
pub(crate) fn poison(why: Poison) -> &'static str {
    match why {
        Poison::LeaseLost => "the lease ended",
        Poison::Revoked => "the store revoked the grant",
        Poison::Late => "the thread missed the deadline of a recall",
        Poison::Superseded => "a newer incarnation of this process took over",
    }
}
