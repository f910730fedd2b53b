//! When a message may leave: what it says must be durable first. Rule 8.
//!
//! A driver makes updates durable in the order of output, many together, and goes on stepping meanwhile. So a message is held
//! back until the updates are durable that it depends on, and no longer:
//!
//! - a message about a session depends on the last update of that session before it;
//! - a `Welcome` depends on the sessions whose end or rename it tells, and on what its own step has made durable before it;
//! - any other message about a process as a whole depends on what its own step has made durable before it;
//! - whatever follows a held message about a process as a whole on the same connection depends on what that depends on.
//!
//! So the messages about one session leave in the order of output, on whatever connection, and nothing overtakes a `Welcome`
//! on its own connection. A `Welcome` may overtake updates of sessions that it does not speak of: it leaves out a grant whose
//! end is not durable yet. If the store dies before it is, the process does not name that grant to the next start, which ends
//! it again.
//!
//! The store's driver and the checker's model of its disk hold messages back by this one type.

use crate::id::{Link, ProcessId, SessionId};
use crate::message::ToProcess;
use crate::renumber::Numbers;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// A message and where it goes.
pub type Envelope = (ProcessId, Link, ToProcess);

/// Holds a message back until the updates that it depends on are durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DurabilityBarrier {
    /// The number of the last update of each session that has one that is not durable.
    last: BTreeMap<SessionId, u64>,
    /// The sessions of all updates that are not durable, in order.
    order: VecDeque<(u64, SessionId)>,
    /// Messages by the update that they wait for.
    held: BTreeMap<u64, Vec<Envelope>>,
    /// Connections for which a message about the process as a whole waits: nothing overtakes it.
    gates: BTreeMap<(ProcessId, Link), u64>,
}

impl DurabilityBarrier {
    /// Notes that the update of this number, which changes this session, was passed to the disk. Numbers rise.
    pub fn note(&mut self, number: u64, id: &SessionId) {
        self.last.insert(id.clone(), number);
        self.order.push_back((number, id.clone()));
    }

    /// Whether an update of this session is not durable.
    #[must_use]
    pub fn has(&self, id: &SessionId) -> bool {
        self.last.contains_key(id)
    }

    /// Keeps a message until what it depends on is durable. `own` is the number of the last update that its own step has made
    /// before it. Returns the message when it may leave at once.
    pub fn hold(&mut self, own: Option<u64>, envelope: Envelope) -> Option<Envelope> {
        // r[grant.durable] r[commit.durable]
        let Some(number) = self.waits_for(own, &envelope) else {
            return Some(envelope);
        };
        if envelope.2.session().is_none() {
            self.gates.insert((envelope.0.clone(), envelope.1), number);
        }
        self.held.entry(number).or_default().push(envelope);
        None
    }

    fn waits_for(&self, own: Option<u64>, (process, link, message): &Envelope) -> Option<u64> {
        if self.last.is_empty() {
            return None; // Then neither is anything behind a gate.
        }
        let last = |id| self.last.get(id).copied();
        let said = match message {
            // What has become of a session is as good as an answer to the process that ended or renamed it.
            ToProcess::Welcome { gone, .. } => {
                let ids = gone.iter().flat_map(|(hold, renamed)| {
                    [Some(hold), renamed.as_ref()].into_iter().flatten()
                });
                ids.filter_map(|hold| last(&hold.session)).max().max(own)
            }
            message => message.session().map_or(own, last),
        };
        if self.gates.is_empty() {
            return said;
        }
        said.max(self.gates.get(&(process.clone(), *link)).copied())
    }

    /// Notes that everything up to the update of this number is durable. Returns the messages that have waited for it, in
    /// order.
    pub fn take(&mut self, number: u64) -> impl Iterator<Item = Envelope> + use<> {
        while let Some((durable, id)) = self.order.pop_front_if(|(own, _)| *own <= number) {
            if self.last.get(&id) == Some(&durable) {
                self.last.remove(&id);
            }
        }
        self.gates.retain(|_, gate| *gate > number);
        let rest = self.held.split_off(&(number + 1));
        core::mem::replace(&mut self.held, rest)
            .into_values()
            .flatten()
    }

    /// The messages that are held, each with the number of the update that it waits for.
    pub fn held(&self) -> impl Iterator<Item = (u64, &Envelope)> {
        let held = self.held.iter();
        held.flat_map(|(number, envelopes)| envelopes.iter().map(|envelope| (*number, envelope)))
    }

    /// Numbers all updates anew, lower by `by`: for the checker, in which they must not rise for ever. The first `by` updates
    /// are durable.
    pub fn rebase(&mut self, by: u64) {
        let lower = |number: &mut u64| *number -= by;
        self.last.values_mut().for_each(lower);
        self.order.iter_mut().for_each(|(number, _)| lower(number));
        self.gates.values_mut().for_each(lower);
        let held = core::mem::take(&mut self.held).into_iter();
        self.held = held.map(|(number, own)| (number - by, own)).collect();
    }

    /// Shows every number of the protocol in the messages and connections. The numbers of updates are none.
    pub fn visit(&mut self, numbers: &mut impl Numbers) {
        for (process, link, message) in self.held.values_mut().flatten() {
            numbers.link(process, link);
            message.visit(process, numbers);
        }
        let gates = core::mem::take(&mut self.gates).into_iter();
        self.gates = gates
            .map(|((process, mut link), number)| {
                numbers.link(&process, &mut link);
                ((process, link), number)
            })
            .collect();
    }
}
