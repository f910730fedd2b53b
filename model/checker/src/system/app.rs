//! The application of the model: threads that run small programs for ever, and check what they are told.

use tenure_protocol::message::WaitMode;

/// Something that a thread does. Sessions and attributes are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Do {
    /// Locks attributes of a session; all of it when the list is empty.
    Lock(u8, &'static [u8]),
    /// The same, as a try.
    Try(u8, &'static [u8]),
    /// Locks attributes of a session only if that exists.
    LockExisting(u8, &'static [u8]),
    /// Writes an attribute of a session: the value after the one that it reads.
    Write(u8, u8),
    /// Makes its writes in a session durable, and waits for that.
    Commit(u8),
    /// Writes these attributes and gives back what it locked last.
    WriteAndUnlock(&'static [u8]),
    /// Gives back what it locked last.
    Unlock,
    /// Discards what it wrote under the last lock, as if it had panicked, and gives that back.
    Discard,
    /// Ends the session that it has locked as a whole.
    Destroy(u8),
    /// Gives the session, which it has locked as a whole, the id of another.
    Rename(u8, u8),
}

impl Do {
    /// What a lock names: session, attributes, patience.
    #[must_use]
    pub fn locks(self) -> Option<(u8, &'static [u8], WaitMode)> {
        match self {
            Self::Lock(session, attributes) | Self::LockExisting(session, attributes) => {
                Some((session, attributes, WaitMode::Wait))
            }
            Self::Try(session, attributes) => Some((session, attributes, WaitMode::Try)),
            _ => None,
        }
    }

    /// Which session a lock names only if that exists.
    #[must_use]
    pub fn locks_existing(self) -> Option<u8> {
        match self {
            Self::LockExisting(session, _) => Some(session),
            _ => None,
        }
    }
}

/// A thread of the model: where it is in its program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Thread {
    /// What it does next, or waits for.
    pub at: u8,
    /// Whether it has asked and was not answered.
    pub is_waiting: bool,
    /// Whether it was refused or poisoned and gives back what it has, to begin anew.
    pub is_leaving: bool,
    /// Its place among the waiting threads of the process, in order of arrival, from 1; 0 when it does not wait.
    pub arrival: u8,
}

impl Thread {
    /// Whether it is at the beginning, with nothing locked and nothing asked.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }

    /// The places in the program of the locks that it has, first to last. The session's own id is that of the lock, or
    /// of the last rename since.
    #[must_use]
    pub fn locks(&self, program: &[Do]) -> Vec<usize> {
        let mut held = Vec::new();
        for (place, step) in program[..usize::from(self.at)].iter().enumerate() {
            match step {
                Do::Lock(..) | Do::Try(..) | Do::LockExisting(..) => held.push(place),
                Do::Unlock | Do::WriteAndUnlock(_) | Do::Discard | Do::Destroy(_) => {
                    held.pop();
                }
                Do::Write(..) | Do::Commit(_) | Do::Rename(..) => {}
            }
        }
        held
    }
}
