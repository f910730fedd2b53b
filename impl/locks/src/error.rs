//! What can go wrong, to which session, and what to do next.
//!
//! Errors end in logs, and the id of a session is as good as a password there: in words, a session is its [`ShortId`].

use crate::limits::Agreed;
use std::fmt;
use std::panic::Location;
use tenure_protocol::AttributeName;
use tenure_protocol::SessionId;
use tenure_protocol::id::{NameLength, ShortId};
use tenure_protocol::message::{Limited, Refusal};
use tenure_protocol::process::Poison;

/// Why something was not done. Large parts are boxed: a result is no larger than a guard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of an attribute is empty or too long.
    #[error("{0}")]
    Name(NameLength),
    /// The thread has locked one of the attributes already, or waits for it. Waiting would never end.
    #[error("session {}: this thread already {}", ShortId(&.0.session), .0)]
    AlreadyLocked(Box<First>),
    /// The wait has lasted too long. Rule 17. Try again, or tell the user that the session is busy.
    #[error("session {}: the wait for the lock has passed its deadline", ShortId(.0))]
    Deadline(Box<SessionId>),
    /// The wait would never end: this thread holds what others wait for who hold what it waits for. Rule 17. Unlock what
    /// this thread holds and begin again.
    #[error("a wait would never end, in a cycle through the sessions {:?}", .cycle.iter().map(ShortId).collect::<Vec<_>>())]
    Deadlock {
        /// The sessions of the cycle: each one's holder waits for the next one's, the last one's for the first's.
        cycle: Box<[SessionId]>,
    },
    /// A try would have had to wait for a thread. Rule 13.
    #[error("session {}: locked by another thread, and this was only a try", ShortId(.0))]
    WouldBlock(Box<SessionId>),
    /// The session was destroyed or renamed while this waited for it. Rule 16.
    #[error("session {}: it was destroyed or renamed", ShortId(.0))]
    Gone(Box<SessionId>),
    /// The session does not exist, and only one that exists was asked for ([`LockRequest::existing`](crate::LockRequest::existing)). Nothing was made,
    /// here or at the store. Take the id for unknown: let the user log in again.
    #[error("session {}: it does not exist, and only a session that exists was asked for", ShortId(.0))]
    Absent(Box<SessionId>),
    /// The store speaks a version of the protocol in which this cannot be asked for. Nothing was sent; the connection and all other
    /// requests go on. [`Unsupported`] says what needs which version.
    #[error("session {}: {}", ShortId(&.0.session), .0)]
    Unsupported(Box<Unsupported>),
    /// The id that a session was to be renamed to is taken. Choose another.
    #[error("session {}: the new id is taken", ShortId(.0))]
    IdTaken(Box<SessionId>),
    /// A limit is reached; nothing has changed. Rule 18. [`Exceeded`] says which limit, whose, and its value.
    #[error("session {}: {}", ShortId(&.0.session), .0)]
    Limit(Box<Exceeded>),
    /// The lease ended while the thread was inside: what it wrote is discarded. Rule 10. Lock again and begin again.
    #[error("session {}: {}", ShortId(.0), lost(Poison::LeaseLost))]
    LeaseLost(Box<SessionId>),
    /// The store took the grant while the thread was inside: what it wrote is discarded. Rule 11. Lock again and begin again.
    #[error("session {}: {}", ShortId(.0), lost(Poison::Revoked))]
    Revoked(Box<SessionId>),
    /// The session was recalled and the thread inside was too late: what it wrote is discarded. Rule 11. Lock again and begin
    /// again, and be faster: [`Guard::recalled`](crate::Guard::recalled).
    #[error("session {}: {}", ShortId(.0), lost(Poison::Late))]
    Late(Box<SessionId>),
    /// A newer start of this process has taken over. This one can lock nothing any more, and what a thread inside wrote is
    /// discarded. Rule 10. Stop, or give each process a name of its own.
    #[error(
        "session {}: a newer start of this process has taken over, and this one can lock nothing any more; stop this process, or give each process a name of its own",
        ShortId(.0)
    )]
    Superseded(Box<SessionId>),
    /// The guard does not have this attribute.
    #[error("attribute {0} is not locked by this guard")]
    NotLocked(Box<AttributeName>),
    /// This OS process is a child, by `fork`, of the one that has the locks. Nothing was done, here or there. Connect in the
    /// child, after the fork, or execute another program there; guards and handles from before the fork are of no use.
    #[error(
        "this OS process was forked from the one that holds the locks, and has none of them; connect a process of its own after the fork, or exec another program"
    )]
    Forked,
    /// A blocking wait inside a task would have stopped the only thread of its runtime, while another thread or task of this process has
    /// the lock or comes first. If that is a task of the same runtime the wait could not end. Nothing was locked. Await the lock, or
    /// wait for it in `tokio::task::spawn_blocking`; in a runtime of several threads also in `tokio::task::block_in_place`.
    #[error(
        "session {}: a blocking wait would stop the only thread of this runtime, which the holder of the lock may need; await the lock, or wait in spawn_blocking",
        ShortId(.0)
    )]
    BlocksRuntime(Box<SessionId>),
    /// The process is shutting down.
    #[error("session {}: the process is shutting down", ShortId(.0))]
    ShuttingDown(Box<SessionId>),
}

/// Which limit is exceeded. Rule 18.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// In which session.
    pub session: SessionId,
    /// Which limit.
    pub limit: Limited,
    /// Who sets it.
    pub whose: Whose,
    /// Its value; `None` when the store has not said it.
    pub max: Option<u64>,
}

/// What a store is too old for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// For which session it was asked.
    pub session: SessionId,
    /// What was asked for.
    pub feature: &'static str,
    /// The version of the protocol that it needs: major, minor.
    pub needs: (u8, u8),
    /// The version that the store speaks: major, minor.
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
            "{feature} needs a store that speaks version {}.{} of the protocol, and this one speaks {}.{}; update the store, or lock without it",
            needs.0, needs.1, store.0, store.1
        )
    }
}

/// Who sets a limit.
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

/// Where the lock is that a thread has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// In which session.
    pub session: SessionId,
    /// Where the first lock was taken; `None` when the thread only waits for it.
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
    /// The session that it is about; `None` when it is about a name, about several, or about none.
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

    /// Whether the grant was lost while the thread was inside, so that what it wrote is discarded: [`Error::LeaseLost`],
    /// [`Error::Revoked`], [`Error::Late`] or [`Error::Superseded`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::LeaseLost(_) | Self::Revoked(_) | Self::Late(_) | Self::Superseded(_)
        )
    }

    /// Returns whether the same request may succeed later: the session or the store was busy, or the grant was lost. `false` for what
    /// the program has to change first, and for what has ended for good.
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

    /// A thread that was inside has lost the grant.
    pub(crate) fn lost(session: &SessionId, why: Poison) -> Self {
        let session = Box::new(session.clone());
        match why {
            Poison::LeaseLost => Self::LeaseLost(session),
            Poison::Revoked => Self::Revoked(session),
            Poison::Late => Self::Late(session),
            Poison::Superseded => Self::Superseded(session),
        }
    }

    /// What a refusal means to a thread, less those that need to know more than the session.
    pub(crate) fn refused(session: &SessionId, why: Refusal, limits: &Agreed) -> Self {
        let id = session;
        let session = || Box::new(session.clone());
        match why {
            Refusal::WouldBlock => Self::WouldBlock(session()),
            Refusal::Cancelled | Refusal::Deadline => Self::Deadline(session()),
            Refusal::Deadlock { cycle } => Self::Deadlock {
                cycle: cycle.into(),
            },
            Refusal::Limit(limited) => Self::Limit(limits.exceeded(id, limited)),
            Refusal::Gone | Refusal::NotHeld => Self::Gone(session()),
            Refusal::AlreadyLocked => Self::AlreadyLocked(Box::new(First {
                session: *session(),
                place: None,
            })),
            Refusal::IdTaken => Self::IdTaken(session()),
            Refusal::ShuttingDown => Self::ShuttingDown(session()),
            Refusal::Absent => Self::Absent(session()),
            Refusal::Unsupported => Self::Unsupported(limits.unsupported(id)),
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
        Limited::Storage => "what the store can make durable: its disk is full",
    }
}

fn lost(why: Poison) -> String {
    let why = poison(why);
    format!("the grant was lost while it was in use ({why}); what was written is discarded")
}

/// In words.
pub(crate) fn poison(why: Poison) -> &'static str {
    match why {
        Poison::LeaseLost => "the lease ended",
        Poison::Revoked => "the store took it",
        Poison::Late => "it was recalled, and the thread was late",
        Poison::Superseded => "a newer incarnation of this process took over",
    }
}
