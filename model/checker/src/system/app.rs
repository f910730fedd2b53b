//! The application of the model: threads that repeat small programs for ever, and check the answers.

use tenure_protocol::message::WaitMode;

/// A step of a program. Sessions and attributes are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Do {
    /// Locks attributes of a session; an empty list stands for all attributes.
    Lock(u8, &'static [u8]),
    /// Locks attributes of a session as a try.
    Try(u8, &'static [u8]),
    /// Locks attributes of a session only if the session exists.
    LockExisting(u8, &'static [u8]),
    /// Writes an attribute of a session: the value after the one that the thread reads.
    Write(u8, u8),
    /// Commits the thread's writes in a session, and waits for the answer.
    Commit(u8),
    /// Writes these attributes and unlocks the last lock.
    WriteAndUnlock(&'static [u8]),
    /// Unlocks the last lock.
    Unlock,
    /// Discards the writes under the last lock, as a panicking thread does, and frees the lock.
    Discard,
    /// Destroys the session, which the thread has locked as a whole.
    Destroy(u8),
    /// Renames the session, which the thread has locked as a whole, to the id of another.
    Rename(u8, u8),
}

impl Do {
    /// Returns the session, the attributes and the wait mode of a lock step.
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

    /// Returns the session of a lock step that is only for an existing session.
    #[must_use]
    pub fn locks_existing(self) -> Option<u8> {
        match self {
            Self::LockExisting(session, _) => Some(session),
            _ => None,
        }
    }
}

/// A thread of the model: its position in its program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Thread {
    /// The step that the thread takes next or waits for.
    pub at: u8,
    /// Whether the thread waits for an answer.
    pub is_waiting: bool,
    /// Whether the thread was refused or poisoned, and now frees its locks before it begins anew.
    pub is_leaving: bool,
    /// The thread's place among the waiting threads of the process, in order of arrival, from 1; 0 when it does not
    /// wait.
    pub arrival: u8,
}

impl Thread {
    /// Returns whether the thread is at the beginning, without a lock and without a request.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the program steps of the locks that the thread holds, first to last. The session of such a lock has the
    /// id of the lock step, or of the last rename since.
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
