//! What can go wrong, to which session, and what to do next.

use std::fmt;
use std::panic::Location;
use tenure_protocol::AttributeName;
use tenure_protocol::SessionId;
use tenure_protocol::id::NameLength;
use tenure_protocol::message::{Limited, Refusal};
use tenure_protocol::process::Poison;

/// Why something was not done. Large parts are boxed: a result is no larger than a guard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name of an attribute is empty or too long.
    #[error("{0}")]
    Name(NameLength),
    /// The thread has locked one of the attributes already, or waits for it. Waiting would never end.
    #[error("session {}: this thread already {}", .0.session, .0)]
    AlreadyLocked(Box<First>),
    /// The wait has lasted too long. Rule 17. Try again, or tell the user that the session is busy.
    #[error("session {0}: the wait for the lock has passed its deadline")]
    Deadline(Box<SessionId>),
    /// The wait would never end: this thread holds what others wait for who hold what it waits for. Rule 17. Unlock what
    /// this thread holds and begin again.
    #[error("a wait would never end, in a cycle through the sessions {0:?}")]
    Deadlock(Box<[SessionId]>),
    /// A try would have had to wait for a thread. Rule 13.
    #[error("session {0}: locked by another thread, and this was only a try")]
    WouldBlock(Box<SessionId>),
    /// The session was destroyed or renamed while this waited for it. Rule 16.
    #[error("session {0}: it was destroyed or renamed")]
    Gone(Box<SessionId>),
    /// The id that a session was to be renamed to is taken. Choose another.
    #[error("session {0}: the new id is taken")]
    IdTaken(Box<SessionId>),
    /// A limit is reached; nothing has changed. Rule 18.
    #[error("session {}: over the limit of {}", .0, limit(*.1))]
    Limit(Box<SessionId>, Limited),
    /// The grant was lost while the thread was inside: what it wrote is discarded. Lock again and begin again.
    #[error("session {}: the grant was lost while it was in use ({}); what was written is discarded", .0, poison(*.1))]
    Poisoned(Box<SessionId>, Poison),
    /// The guard does not have this attribute.
    #[error("attribute {0} is not locked by this guard")]
    NotLocked(Box<AttributeName>),
    /// The process is shutting down.
    #[error("session {0}: the process is shutting down")]
    ShuttingDown(Box<SessionId>),
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
    /// What a refusal means to a thread, less those that need to know more than the session.
    pub(crate) fn refused(session: &SessionId, why: Refusal) -> Self {
        let session = || Box::new(session.clone());
        match why {
            Refusal::WouldBlock => Self::WouldBlock(session()),
            Refusal::Cancelled | Refusal::Deadline => Self::Deadline(session()),
            Refusal::Deadlock { cycle } => Self::Deadlock(cycle.into()),
            Refusal::Limit(limited) => Self::Limit(session(), limited),
            Refusal::Gone | Refusal::NotHeld => Self::Gone(session()),
            Refusal::AlreadyLocked => Self::AlreadyLocked(Box::new(First {
                session: *session(),
                place: None,
            })),
            Refusal::IdTaken => Self::IdTaken(session()),
            Refusal::ShuttingDown => Self::ShuttingDown(session()),
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

/// In words.
pub(crate) fn poison(why: Poison) -> &'static str {
    match why {
        Poison::LeaseLost => "the lease ended",
        Poison::Revoked => "the store took it",
        Poison::Late => "it was recalled, and the thread was late",
        Poison::Superseded => "a newer incarnation of this process took over",
    }
}
