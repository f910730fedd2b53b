//! Snapshots for people who look for a long hold: holders and waiters, and discarded write sets.

use crate::error;
use std::fmt;
use std::panic::Location;
use std::time::Duration;
use tenure_protocol::id::ShortId;
use tenure_protocol::process::{Names, Poison};
use tenure_protocol::{SessionId, ThreadId};

/// A thread that holds a lock in a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// The number of the thread in this manager.
    pub thread: ThreadId,
    /// The attributes that the thread has locked.
    pub names: Names,
    /// The time since the lock was granted, to a few milliseconds.
    pub held_for: Duration,
    /// The source line of the lock request.
    pub place: &'static Location<'static>,
}

/// A session whose locks threads hold or wait for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Busy {
    /// The id of the session.
    pub session: SessionId,
    /// The threads that hold a lock, in no particular order. Each item is correct, but the items may be from slightly
    /// different moments.
    pub holders: Vec<Holder>,
    /// The threads that wait for a lock, in order of arrival.
    pub waiters: Vec<ThreadId>,
}

/// A discarded write set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Discard {
    /// The session of the writes.
    pub session: SessionId,
    /// The thread that made the writes.
    pub thread: ThreadId,
    /// The source line at which that thread locked the attributes, if still known.
    pub place: Option<&'static Location<'static>>,
    /// The reason.
    pub why: Discarded,
}

/// The reason why a write set was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discarded {
    /// The thread panicked while it held the lock.
    Panic,
    /// The grant was lost.
    Lost(Poison),
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "session {}: the writes of thread {} are discarded",
            ShortId(&self.session),
            self.thread
        )?;
        match self.why {
            Discarded::Panic => f.write_str(", because the thread panicked"),
            Discarded::Lost(why) => {
                write!(f, ", because the grant was lost ({})", error::poison(why))
            }
        }?;
        self.place
            .map_or(Ok(()), |place| write!(f, "; locked at {place}"))
    }
}
