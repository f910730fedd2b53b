//! The state behind the machine's mutex: the process machine, and the registered waits for its answers.

use crate::event::Event;
use crate::mutant;
use crate::sync::Arc;
use crate::unfetched::Unfetched;
use crate::uses::Uses;
use crate::wait::Wait;
use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use tenure_protocol::process::{Call, Output};
use tenure_protocol::{
    Incarnation, ProcessMachine, ProcessSettings, SessionId, Settings, ThreadId,
};

/// The state behind the machine's mutex.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) process: ProcessMachine<mutant::Own>,
    /// The threads that wait for an answer to a call other than a lock. Waiting lock requests are stored in the
    /// session's entry.
    pub(crate) waiting: BTreeMap<Key, Waiting>,
    pub(crate) events: VecDeque<Event>,
    /// The output buffer of a step. Empty between steps, but its memory is kept.
    pub(crate) out: Vec<Output>,
    /// The waiting requests by deadline, including granted ones that were not taken yet.
    pub(crate) unfetched: Unfetched,
    /// The waker of the driver, which takes the events.
    pub(crate) driver: Option<Waker>,
    /// The sessions ordered by last use.
    pub(crate) uses: Uses,
}

/// The key of a wait. A thread may use a guard and a request in the same session at once, so it has one wait for each
/// kind of call.
pub(crate) type Key = (ThreadId, SessionId, Kind);

/// The kind of call that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Lock,
    Commit,
    /// The end of the session, or its new id.
    Ending,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Lock, Self::Commit, Self::Ending];

    /// Returns the kind of a call, or `None` for a call without an awaited answer.
    pub(crate) fn of(call: &Call) -> Option<Self> {
        match call {
            Call::Lock { .. } => Some(Self::Lock),
            Call::Commit => Some(Self::Commit),
            Call::Destroy | Call::Rename(_) => Some(Self::Ending),
            Call::Abandon | Call::Write { .. } | Call::Unlock(_) | Call::Discard(_) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) wait: Arc<Wait>,
    /// The number of answers that come first: to earlier commits of the thread that it no longer waits for.
    pub(crate) earlier: usize,
}

impl Machine {
    pub(crate) fn new(settings: ProcessSettings, incarnation: Incarnation) -> Self {
        let settings = Settings::new(settings);
        Self {
            process: ProcessMachine::with_hook(mutant::Own, settings, incarnation),
            waiting: BTreeMap::new(),
            events: VecDeque::new(),
            out: Vec::new(),
            unfetched: Unfetched::new(),
            driver: None,
            uses: Uses::default(),
        }
    }

    /// Takes the next event. When there is none, frees the memory that many events needed.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            self.events.shrink_to(64);
        }
        event
    }
}
