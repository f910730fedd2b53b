//! The state behind the shard's mutex, and the queries that need only it.

use crate::memory::{Deferred, Residents};
use crate::outbox::Outbox;
use crate::timers::{Owner, Timers};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tenure_protocol::store::{DurabilityBarrier, Envelope, Input, Output, Timer};
use tenure_protocol::{Link, ProcessId, SessionId, StoreMachine, Time, ToStore};
use tenure_wire::{Fault, FaultCode};

/// The state behind the shard's mutex. See the [module](self).
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) machine: StoreMachine,
    pub(crate) out: Vec<Output>,
    pub(crate) timers: Timers,
    pub(crate) residents: Residents,
    pub(crate) deferred: Deferred,
    pub(crate) connections: HashMap<(ProcessId, Link), Arc<Outbox>>,
    pub(crate) barrier: DurabilityBarrier,
    pub(crate) is_closed: bool,
}

impl Core {
    pub(crate) fn new(machine: StoreMachine) -> Self {
        Self {
            machine,
            out: Vec::new(),
            timers: Timers::default(),
            residents: Residents::default(),
            deferred: Deferred::default(),
            connections: HashMap::new(),
            barrier: DurabilityBarrier::default(),
            is_closed: false,
        }
    }

    pub(crate) fn deliver(&self, (process, link, message): Envelope) {
        if let Some(outbox) = self.connections.get(&(process, link)) {
            outbox.send(message);
        }
    }

    /// Returns the link that the machine currently accepts for a process.
    pub(crate) fn link(&self, process: &ProcessId) -> Option<Link> {
        self.machine.peer(process)?.link()
    }

    /// Returns the given sessions that may have a record on disk and are not in memory. A session with a pending update
    /// is excluded: it is in memory, or has ended.
    pub(crate) fn missing(&self, concerned: &[SessionId]) -> BTreeSet<SessionId> {
        let missing = concerned.iter().filter(|id| {
            self.residents.is_outside(id)
                && self.machine.session(id).is_none()
                && !self.barrier.has(id)
                && !self.deferred.is_absent(id)
        });
        missing.cloned().collect()
    }

    pub(crate) fn set_timers(&mut self, ids: &[SessionId]) {
        for id in ids {
            if self.machine.session(id).is_some() || !self.residents.is_outside(id) {
                let due = self.machine.timers_of(id).map(|(due, _)| due).min();
                self.timers.set(Owner::Session(id.clone()), due);
            }
        }
    }

    pub(crate) fn set_lease(&mut self, process: &ProcessId) {
        let due = self.machine.peer(process).map(|peer| peer.lease());
        self.timers.set(Owner::Process(process.clone()), due);
    }

    /// Returns the timers of `owner` that are due at `now`.
    pub(crate) fn due(&self, owner: &Owner, now: Time) -> Vec<Timer> {
        match owner {
            Owner::Process(process) => [Timer::Lease(process.clone())].into(),
            // The only timer of a session outside memory is the end of its time to live.
            Owner::Session(id) if self.machine.session(id).is_none() => {
                [Timer::Expire(id.clone())].into()
            }
            Owner::Session(id) => {
                let mut due: Vec<_> = self
                    .machine
                    .timers_of(id)
                    .filter(|(due, _)| *due <= now)
                    .collect();
                due.sort();
                due.into_iter().map(|(_, timer)| timer).collect()
            }
        }
    }

    /// Sets the deadline of `owner` again after [`Timers::pop`] removed it.
    pub(crate) fn reset(&mut self, owner: Owner) {
        match owner {
            Owner::Process(process) => self.set_lease(&process),
            Owner::Session(id) => self.set_timers(&[id]),
        }
    }
}

/// The link of a hello, and the link that its process had before.
#[derive(Debug)]
pub(crate) struct Greeting {
    process: ProcessId,
    link: Link,
    former: Option<Link>,
}

impl Greeting {
    pub(crate) fn of(core: &Core, input: &Input) -> Option<Self> {
        let Input::Message {
            process,
            link,
            message: ToStore::Hello(_),
        } = input
        else {
            return None;
        };
        Some(Self {
            process: process.clone(),
            link: *link,
            former: core.link(process),
        })
    }

    /// Closes each connection whose link the machine no longer accepts. A connection that came too late would otherwise
    /// wait for its welcome for ever.
    pub(crate) fn settle(self, core: &Core) {
        let current = core.link(&self.process);
        let unheard = [Some(self.link), self.former].into_iter().flatten();
        // r[connect.closes-replaced] r[connect.late-hello]
        for link in unheard.filter(|link| current != Some(*link)) {
            if let Some(outbox) = core.connections.get(&(self.process.clone(), link)) {
                let text = "another connection of this process has a higher link number and replaces this one";
                outbox.close(Some(Fault::new(FaultCode::Unexpected, text)));
            }
        }
    }
}
