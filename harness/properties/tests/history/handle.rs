//! A lock request of the history, and the guard that it becomes.

use super::machine::{Machine, words};
use super::task::{LockCall, Said, Task, View};
use std::collections::BTreeMap;
use tenure_locks::Error;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::Refusal;
use tenure_protocol::process::{Answer, Names, Poison};
use tenure_protocol::{AttributeName, SessionId, ThreadId, Time};

/// The operation that a handle waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Doing {
    /// A lock request.
    Asks,
    /// None: the guard exists.
    Holds,
    Commits,
    Renames,
    Destroys,
}

/// A lock request or a guard. See the [module](self).
pub(crate) struct Handle {
    pub(crate) acquire: LockCall,
    /// The session of its locks, even if the guard has not learned of a rename yet.
    pub(crate) session: SessionId,
    pub(crate) doing: Doing,
    /// The machine's answer, if the task has not been polled since.
    pub(crate) answer: Option<Answer>,
    /// The deadline of the request.
    pub(crate) until: Time,
    /// The time at which the lock was granted.
    pub(crate) since: Time,
    pub(crate) task: Task,
    /// The values that the guard saw last.
    pub(crate) seen: Option<View>,
    /// Whether the guard has uncommitted writes.
    pub(crate) has_written: bool,
    /// The accepted writes.
    pub(crate) wrote: Vec<Option<Value>>,
    /// Whether the guard has done anything since.
    pub(crate) has_acted: bool,
    /// Whether the request had to wait.
    pub(crate) has_waited: bool,
}

impl Handle {
    pub(crate) fn thread(&self) -> ThreadId {
        self.acquire.thread
    }

    pub(crate) fn is_of(&self, thread: ThreadId, session: &SessionId) -> bool {
        self.acquire.thread == thread && self.session == *session
    }

    /// Returns whether the attributes are locked, even if the task has not been polled since.
    pub(crate) fn is_inside(&self) -> bool {
        match self.doing {
            Doing::Asks => matches!(self.answer, Some(Answer::Locked(_))),
            Doing::Destroys => !matches!(self.answer, Some(Answer::Destroyed)),
            _ => true,
        }
    }

    /// Returns one of the locked attributes: `name`, if it is one of them.
    pub(crate) fn own(&self, name: &AttributeName) -> AttributeName {
        match &self.acquire.names {
            Names::One(own) => own.clone(),
            Names::Many(own) if !own.contains(name) => own[0].clone(),
            _ => name.clone(),
        }
    }

    /// Returns the text of this handle in a script.
    pub(crate) fn words(&self) -> String {
        format!("{}/{}", self.session, words(&self.acquire.names))
    }

    /// Returns the values that the guard must see while its grant is valid.
    pub(crate) fn expected(&self, machine: &Machine) -> View {
        let session = machine.process().session(&self.session);
        let mut values = BTreeMap::new();
        for slot in session.map(|session| session.slots()).unwrap_or_default() {
            let is_own = match &self.acquire.names {
                Names::All => true,
                Names::One(own) => *own == slot.name,
                Names::Many(own) => own.contains(&slot.name),
            };
            let value = session.and_then(|session| session.value(self.thread(), &slot.name));
            if let (true, Some(value)) = (is_own, value) {
                values.insert(slot.name.to_string(), value.clone());
            }
        }
        View {
            token: machine.token(&self.session).unwrap_or_default(),
            recalled: machine.is_recalled(&self.session),
            values,
        }
    }
}

/// Returns the expected result of a task for an answer of the machine.
pub(crate) fn said(session: &SessionId, answer: &Answer) -> Said {
    match answer {
        Answer::Locked(_) => Said::Locked,
        Answer::Committed(version) => Said::Committed(*version),
        Answer::Destroyed => Said::Destroyed,
        Answer::Renamed(_) => Said::Renamed,
        Answer::Poisoned(why) => Said::Failed(poisoned(session, *why)),
        Answer::Refused(why) => Said::Failed(refused(session, why)),
    }
}

pub(crate) fn poisoned(session: &SessionId, why: Poison) -> Error {
    let session = Box::new(session.clone());
    match why {
        Poison::LeaseLost => Error::LeaseLost(session),
        Poison::Revoked => Error::Revoked(session),
        Poison::Late => Error::Late(session),
        Poison::Superseded => Error::Superseded(session),
    }
}

/// Returns the error for a refusal. The source line of a first lock is not compared: see [`is_same`].
pub(crate) fn refused(session: &SessionId, why: &Refusal) -> Error {
    let session = Box::new(session.clone());
    match why {
        Refusal::WouldBlock => Error::WouldBlock(session),
        Refusal::Cancelled | Refusal::Deadline => Error::Deadline(session),
        Refusal::Deadlock { cycle } => Error::Deadlock {
            cycle: cycle.clone().into(),
        },
        Refusal::Limit(limited) => Error::Limit(Box::new(tenure_locks::Exceeded {
            session: *session,
            limit: *limited,
            whose: tenure_locks::Whose::Process,
            max: None,
        })),
        Refusal::Gone | Refusal::NotHeld => Error::Gone(session),
        Refusal::AlreadyLocked => Error::AlreadyLocked(Box::new(tenure_locks::First {
            session: *session,
            place: None,
        })),
        Refusal::IdTaken => Error::IdTaken(session),
        Refusal::ShuttingDown => Error::ShuttingDown(session),
        Refusal::Absent => Error::Absent(session),
        Refusal::Unsupported => unreachable!("the store of a history speaks the newest version"),
    }
}

/// Returns whether a task's result is the expected one, except for the source line of a first lock, which the machine
/// does not know.
pub(crate) fn is_same(expected: &Said, actual: &Said) -> bool {
    match (expected, actual) {
        (Said::Failed(Error::AlreadyLocked(one)), Said::Failed(Error::AlreadyLocked(two))) => {
            one.session == two.session
        }
        // Only the manager knows whose limit was exceeded.
        (Said::Failed(Error::Limit(one)), Said::Failed(Error::Limit(two))) => {
            (&one.session, one.limit) == (&two.session, two.limit)
        }
        _ => expected == actual,
    }
}
