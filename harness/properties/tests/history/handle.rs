//! A request of the history, and the guard that it becomes.

use super::machine::{Machine, words};
use super::task::{LockCall, Said, Task, View};
use std::collections::BTreeMap;
use tenure_locks::Error;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::Refusal;
use tenure_protocol::process::{Answer, Names, Poison};
use tenure_protocol::{AttributeName, SessionId, ThreadId, Time};

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Doing {
    /// A lock.
    Asks,
    /// Nothing: it has it.
    Holds,
    Commits,
    Renames,
    Destroys,
}

/// See the [module](self).
pub(crate) struct Handle {
    pub(crate) acquire: LockCall,
    /// Where its locks are, also when the guard has not heard of a rename yet.
    pub(crate) session: SessionId,
    pub(crate) doing: Doing,
    /// What the machine has answered and the task has not been polled for.
    pub(crate) answer: Option<Answer>,
    /// The deadline of its request.
    pub(crate) until: Time,
    /// Since when it is inside.
    pub(crate) since: Time,
    pub(crate) task: Task,
    /// What it saw last.
    pub(crate) seen: Option<View>,
    /// Whether it has written and not committed.
    pub(crate) has_written: bool,
    /// What it has written, if it was accepted.
    pub(crate) wrote: Vec<Option<Value>>,
    /// Whether it has done something since.
    pub(crate) has_acted: bool,
    /// Whether its request had to wait.
    pub(crate) has_waited: bool,
}

impl Handle {
    pub(crate) fn thread(&self) -> ThreadId {
        self.acquire.thread
    }

    pub(crate) fn is_of(&self, thread: ThreadId, session: &SessionId) -> bool {
        self.acquire.thread == thread && self.session == *session
    }

    /// Whether it has locked its attributes: also when its task does not know yet.
    pub(crate) fn is_inside(&self) -> bool {
        match self.doing {
            Doing::Asks => matches!(self.answer, Some(Answer::Locked(_))),
            Doing::Destroys => !matches!(self.answer, Some(Answer::Destroyed)),
            _ => true,
        }
    }

    /// One of its attributes: `name` if it may be.
    pub(crate) fn own(&self, name: &AttributeName) -> AttributeName {
        match &self.acquire.names {
            Names::One(own) => own.clone(),
            Names::Many(own) if !own.contains(name) => own[0].clone(),
            _ => name.clone(),
        }
    }

    /// As a script names it.
    pub(crate) fn words(&self) -> String {
        format!("{}/{}", self.session, words(&self.acquire.names))
    }

    /// What it has to see while its grant stands.
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

/// What a task says to an answer of the machine.
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

/// The error that says what a refusal does. Where the first lock was taken is not compared: see [`is_same`].
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
        Refusal::Unsupported => unreachable!("the store is as new as the process"),
    }
}

/// Whether a task says what it should, less the place of a first lock, which the machine does not know.
pub(crate) fn is_same(expected: &Said, actual: &Said) -> bool {
    match (expected, actual) {
        (Said::Failed(Error::AlreadyLocked(one)), Said::Failed(Error::AlreadyLocked(two))) => {
            one.session == two.session
        }
        // Whose limit it is, is said by the locks alone.
        (Said::Failed(Error::Limit(one)), Said::Failed(Error::Limit(two))) => {
            (&one.session, one.limit) == (&two.session, two.limit)
        }
        _ => expected == actual,
    }
}
