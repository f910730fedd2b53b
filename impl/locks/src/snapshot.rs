//! Who is inside and who waits, for people who look for a long hold; and what was discarded.

use crate::error;
use std::fmt;
use std::panic::Location;
use std::time::Duration;
use tenure_protocol::id::ShortId;
use tenure_protocol::process::{Names, Poison};
use tenure_protocol::{SessionId, ThreadId};

/// A thread that is inside a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// Which thread, as the manager numbers them.
    pub thread: ThreadId,
    /// What it has locked.
    pub names: Names,
    /// How long it has been inside, to a few milliseconds.
    pub held_for: Duration,
    /// From which line of the program.
    pub place: &'static Location<'static>,
}

/// A session that threads use or wait for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Busy {
    /// Which session.
    pub session: SessionId,
    /// Who is inside, in no particular order. Each is right; together they need not be of one moment.
    pub holders: Vec<Holder>,
    /// Who waits, in order of arrival.
    pub waiters: Vec<ThreadId>,
}

/// A write set that was discarded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Discard {
    /// Of which session.
    pub session: SessionId,
    /// Whose it was.
    pub thread: ThreadId,
    /// Where it had locked the attributes, if that is still known.
    pub place: Option<&'static Location<'static>>,
    /// Why.
    pub why: Discarded,
}

/// Why a write set was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discarded {
    /// The thread panicked while it was inside.
    Panic,
    /// The grant was lost.
    Lost(Poison),
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "session {}: what thread {} wrote is discarded",
            ShortId(&self.session),
            self.thread
        )?;
        match self.why {
            Discarded::Panic => f.write_str(", it panicked"),
            Discarded::Lost(why) => write!(f, ", the grant was lost ({})", error::poison(why)),
        }?;
        self.place
            .map_or(Ok(()), |place| write!(f, "; locked at {place}"))
    }
}
