//! The durability barrier: a message leaves only when the updates that it depends on are durable. Rule 8.
//!
//! A driver makes updates durable in the order of output, many together (group commit), and goes on stepping meanwhile.
//! A message is therefore held back until the updates that it depends on are durable, and no longer:
//!
//! - a message about a session depends on the last update of that session before it;
//! - a `Welcome` depends on the sessions whose end or rename it reports, and on the updates that its own step output
//!   before it;
//! - any other message about a process as a whole depends on the updates that its own step output before it;
//! - a message that follows a held message about a process as a whole, on the same connection, depends on the same
//!   updates.
//!
//! The messages about one session therefore leave in the order of output, on every connection, and no message overtakes
//! a `Welcome` on its own connection. A `Welcome` may overtake updates of sessions that it does not mention: it leaves
//! out a grant whose end is not durable yet. If the store dies before that end is durable, the process does not name
//! the grant to the next start, and the next start ends the grant again.
//!
//! The store's driver and the checker's model of a disk both use this type.

use crate::id::{Link, ProcessId, SessionId};
use crate::message::ToProcess;
use crate::renumber::Numbers;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// A message with its receiver and connection.
pub type Envelope = (ProcessId, Link, ToProcess);

/// A barrier that holds messages back until the updates that they depend on are durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DurabilityBarrier {
    /// The number of the last update of each session that has an update that is not durable.
    last: BTreeMap<SessionId, u64>,
    /// The sessions of all updates that are not durable, in order.
    order: VecDeque<(u64, SessionId)>,
    /// The held messages, by the number of the update that they wait for.
    held: BTreeMap<u64, Vec<Envelope>>,
    /// The connections on which a message about the process as a whole is held. No message overtakes it.
    gates: BTreeMap<(ProcessId, Link), u64>,
}

impl DurabilityBarrier {
    /// Notes that the update `number`, which changes the session `id`, was passed to the disk. The numbers rise.
    pub fn note(&mut self, number: u64, id: &SessionId) {
        self.last.insert(id.clone(), number);
        self.order.push_back((number, id.clone()));
    }

    /// Returns whether the session has an update that is not durable.
    #[must_use]
    pub fn has(&self, id: &SessionId) -> bool {
        self.last.contains_key(id)
    }

    /// Holds a message until its updates are durable. `own` is the number of the last update that the same step output
    /// before the message. Returns the message when it may leave at once.
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
            return None; // Without such updates no message waits behind a gate either.
        }
        let last = |id| self.last.get(id).copied();
        let said = match message {
            // The end of a session counts as the answer to the process that ended or renamed it.
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

    /// Notes that all updates up to `number` are durable. Returns the messages that have waited for these updates, in
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

    /// Returns the held messages, each with the number of the update that it waits for.
    pub fn held(&self) -> impl Iterator<Item = (u64, &Envelope)> {
        let held = self.held.iter();
        held.flat_map(|(number, envelopes)| envelopes.iter().map(|envelope| (*number, envelope)))
    }

    /// Lowers the numbers of all updates by `by`. The first `by` updates are durable. The checker uses this to keep the
    /// numbers from rising for ever.
    pub fn rebase(&mut self, by: u64) {
        let lower = |number: &mut u64| *number -= by;
        self.last.values_mut().for_each(lower);
        self.order.iter_mut().for_each(|(number, _)| lower(number));
        self.gates.values_mut().for_each(lower);
        let held = core::mem::take(&mut self.held).into_iter();
        self.held = held.map(|(number, own)| (number - by, own)).collect();
    }

    /// Shows every protocol number in the messages and connections to `numbers`. The numbers of updates are not
    /// protocol numbers.
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
