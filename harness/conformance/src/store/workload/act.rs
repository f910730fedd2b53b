//! The steps of random histories.

use std::fmt;

/// The number of processes.
pub(super) const PROCESSES: usize = 3;
/// The number of sessions.
pub(super) const SESSIONS: usize = 2;

/// A step: an action of a process on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Act {
    pub(super) process: usize,
    pub(super) session: usize,
    pub(super) what: What,
    /// The value to write, if the action writes.
    pub(super) value: u8,
}

/// The action of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Acquire,
    Try,
    /// Repeats the last request.
    AskAgain,
    /// Sends the next request although the last one has not ended, or is granted.
    AskAnew,
    Cancel,
    CancelOld,
    Commit,
    /// Repeats the last commit.
    CommitAgain,
    Release,
    ReleaseUnchanged,
    Requeue,
    /// Repeats the last release.
    ReleaseAgain,
    Busy,
    /// Sends Busy, blocked on the other session.
    Blocked,
    BusyOld,
    Destroy,
    DestroyOld,
    /// Renames the session to the id of the other session.
    Rename,
    RenameAgain,
    CommitOld,
    ReleaseOld,
    RequeueOld,
    /// Commits with the token of another process.
    CommitStranger,
    ReleaseStranger,
    DestroyStranger,
    Cut,
    /// Sends a hello with all grants and waits, again if already connected.
    Connect,
    /// Drops all knowledge without a restart.
    Forget,
    /// Restarts the process.
    Start,
    Goodbye,
    /// Stays silent until the next hello.
    Silence,
    Rest,
    Restart,
}

/// The frequencies of the actions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix(&'static [&'static [(u32, What)]]);

const USE: &[(u32, What)] = &[
    (10, What::Acquire),
    (5, What::Try),
    (2, What::Cancel),
    (5, What::Commit),
    (8, What::Release),
    (1, What::ReleaseUnchanged),
    (3, What::Requeue),
    (3, What::Busy),
    (2, What::Blocked),
    (2, What::Connect),
];
const LINK: &[(u32, What)] = &[
    (3, What::Cut),
    (6, What::Connect),
    (1, What::Forget),
    (1, What::Start),
    (1, What::Goodbye),
];
const STRANGE: &[(u32, What)] = &[
    (3, What::AskAgain),
    (1, What::AskAnew),
    (1, What::CancelOld),
    (2, What::CommitAgain),
    (2, What::ReleaseAgain),
    (2, What::BusyOld),
    (2, What::CommitOld),
    (2, What::ReleaseOld),
    (1, What::RequeueOld),
    (2, What::CommitStranger),
    (2, What::ReleaseStranger),
    (1, What::DestroyStranger),
    (1, What::DestroyOld),
];
const END: &[(u32, What)] = &[
    (4, What::Destroy),
    (1, What::DestroyOld),
    (5, What::Rename),
    (2, What::RenameAgain),
];
const TIME: &[(u32, What)] = &[(12, What::Rest), (3, What::Silence), (2, What::Cut)];
const AGAIN: &[(u32, What)] = &[(6, What::Restart), (12, What::Connect)];

impl Mix {
    pub(super) const LOCKS: Self = Self(&[USE]);
    pub(super) const LINKS: Self = Self(&[USE, LINK]);
    pub(super) const STRANGERS: Self = Self(&[USE, STRANGE]);
    pub(super) const ENDS: Self = Self(&[USE, END]);
    pub(super) const MIXED: Self = Self(&[USE, USE, LINK, STRANGE, END]);
    pub(super) const DEADLINES: Self = Self(&[USE, LINK, TIME]);
    pub(super) const RESTARTS: Self = Self(&[USE, USE, LINK, END, AGAIN, AGAIN]);

    pub(super) fn draw(self, chance: &mut fastrand::Rng) -> Act {
        let all = || self.0.iter().copied().flatten();
        let weights: u32 = all().map(|(weight, _)| weight).sum();
        let mut at = chance.u32(..weights);
        let mut what = What::Acquire;
        for (weight, own) in all() {
            if at < *weight {
                what = *own;
                break;
            }
            at -= weight;
        }
        Act {
            process: chance.usize(..PROCESSES),
            session: chance.usize(..SESSIONS),
            what,
            value: chance.u8(..),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p, s) = (self.process + 1, self.session + 1);
        match self.what {
            What::Rest | What::Restart => write!(f, "{:?}", self.what),
            What::Cut
            | What::Connect
            | What::Forget
            | What::Start
            | What::Goodbye
            | What::Silence => write!(f, "p{p} {:?}", self.what),
            what => write!(f, "p{p} {what:?} s{s}"),
        }
    }
}
