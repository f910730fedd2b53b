//! The state behind the machine's mutex: the process machine, and the registered waits for its answers.

use crate::answers::{Answers, Destroyed, Key};
use crate::event::Event;
use crate::mutant;
use crate::unfetched::Unfetched;
use crate::uses::Uses;
use std::collections::VecDeque;
use std::task::Waker;
use tenure_protocol::message::GrantRef;
use tenure_protocol::process::Output;
use tenure_protocol::{Incarnation, ProcessMachine, ProcessSettings, Settings, Version};

/// The state behind the machine's mutex.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) process: ProcessMachine<mutant::Own>,
    pub(crate) commits: Answers<Version>,
    pub(crate) destroys: Answers<Destroyed>,
    pub(crate) renames: Answers<GrantRef>,
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

/// An answer that a thread waits for, other than a lock.
pub(crate) trait Awaited: Sized {
    /// Returns the threads that wait for such an answer.
    fn answers(machine: &mut Machine) -> &mut Answers<Self>;

    /// Returns the number of such answers that come before the one to the thread's next call.
    fn earlier(_: &Machine, _: &Key) -> usize {
        0
    }
}

impl Awaited for Version {
    fn earlier(machine: &Machine, (thread, id): &Key) -> usize {
        let session = machine.process.session(id);
        session.map_or(0, |session| session.commits_of(*thread))
    }

    fn answers(machine: &mut Machine) -> &mut Answers<Self> {
        &mut machine.commits
    }
}

impl Awaited for Destroyed {
    fn answers(machine: &mut Machine) -> &mut Answers<Self> {
        &mut machine.destroys
    }
}

impl Awaited for GrantRef {
    fn answers(machine: &mut Machine) -> &mut Answers<Self> {
        &mut machine.renames
    }
}

impl Machine {
    pub(crate) fn new(settings: ProcessSettings, incarnation: Incarnation) -> Self {
        let settings = Settings::new(settings);
        Self {
            process: ProcessMachine::with_hook(mutant::Own, settings, incarnation),
            commits: Answers::new(),
            destroys: Answers::new(),
            renames: Answers::new(),
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
