//! The context of a step: the time, the settings, the counter, the processes, and the outputs.

use super::admission::Admission;
use super::peers::Peer;
use crate::attributes::{Delta, Update};
use crate::config::StoreSettings;
use crate::id::{Incarnation, Link, ProcessId, Request, SessionId, Stamp, Time, Token};
use crate::message::{Refusal, Revocation, ToProcess};
use crate::mutant::Hook;
use crate::renumber::Numbers;
use crate::store::Session;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// An action that a store asks of its driver. See the [module](crate::store#outputs) for the order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// An update to make durable, after all earlier updates of the same session.
    Persist(Update),
    /// A message to send on the connection `link` of `process`, when all earlier updates of its session are durable.
    /// The driver drops the message when the connection is gone: the next `Welcome` repeats what was missed.
    Send {
        /// The receiver.
        process: ProcessId,
        /// The connection of the receiver.
        link: Link,
        /// The message.
        message: ToProcess,
    },
    /// A connection to close: the process broke the protocol or was replaced.
    Disconnect {
        /// The process.
        process: ProcessId,
        /// The connection.
        link: Link,
    },
}

/// A counter of stamps, strictly increasing for ever as long as the epochs increase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamps {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
}

impl Stamps {
    pub(crate) fn new(epoch: u64) -> Self {
        Self { epoch, sequence: 0 }
    }

    pub(crate) fn draw(&mut self) -> Stamp {
        // r[grant.token-rises]
        self.sequence += 1;
        self.last()
    }

    /// Returns the last stamp drawn.
    #[must_use]
    pub fn last(self) -> Stamp {
        Stamp {
            epoch: self.epoch,
            sequence: self.sequence,
        }
    }
}

/// The processes that have a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Peers {
    peers: BTreeMap<ProcessId, Box<Peer>>,
    /// The number of sessions that all processes together hold.
    pub(crate) held: usize,
    /// The number of waits of all processes together, one for each place in a queue.
    pub(crate) waiting: usize,
}

impl Peers {
    pub(crate) fn get(&self, process: &ProcessId) -> Option<&Peer> {
        self.peers.get(process).map(|peer| &**peer)
    }

    pub(crate) fn get_mut(&mut self, process: &ProcessId) -> Option<&mut Peer> {
        self.peers.get_mut(process).map(|peer| &mut **peer)
    }

    pub(crate) fn is_connected(&self, process: &ProcessId) -> bool {
        self.get(process).is_some_and(|peer| peer.link.is_some())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ProcessId, &Peer)> {
        self.peers.iter().map(|(process, peer)| (process, &**peer))
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns the process, after creating it if it had no lease.
    pub(crate) fn enter(&mut self, process: &ProcessId) -> &mut Peer {
        self.peers.entry(process.clone()).or_insert_with(|| {
            Box::new(Peer {
                incarnation: Incarnation::default(),
                minor: 0,
                link: None,
                last_link: 0,
                lease: Time::ZERO,
                holds: BTreeSet::new(),
                waits: BTreeSet::new(),
                recalled: BTreeSet::new(),
            })
        })
    }

    pub(crate) fn remove(&mut self, process: &ProcessId) {
        self.forget_stakes(process);
        self.peers.remove(process);
    }

    /// Notes that the process holds the session and no longer waits for it.
    pub(crate) fn holds(&mut self, process: &ProcessId, id: &SessionId) {
        self.waits_no_more(process, id);
        if let Some(peer) = self.peers.get_mut(process) {
            self.held += usize::from(peer.holds.insert(id.clone()));
        }
    }

    pub(crate) fn holds_no_more(&mut self, process: &ProcessId, id: &SessionId) {
        if let Some(peer) = self.peers.get_mut(process) {
            self.held -= usize::from(peer.holds.remove(id));
            peer.recalled.remove(id);
        }
    }

    pub(crate) fn waits(&mut self, process: &ProcessId, id: &SessionId) {
        if let Some(peer) = self.peers.get_mut(process) {
            self.waiting += usize::from(peer.waits.insert(id.clone()));
        }
    }

    pub(crate) fn waits_no_more(&mut self, process: &ProcessId, id: &SessionId) {
        if let Some(peer) = self.peers.get_mut(process) {
            self.waiting -= usize::from(peer.waits.remove(id));
        }
    }

    /// Forgets all remaining holds and waits of the process.
    pub(crate) fn forget_stakes(&mut self, process: &ProcessId) {
        if let Some(peer) = self.peers.get_mut(process) {
            self.held -= core::mem::take(&mut peer.holds).len();
            self.waiting -= core::mem::take(&mut peer.waits).len();
            peer.recalled.clear();
        }
    }

    pub(crate) fn rename(&mut self, name: impl Fn(&ProcessId) -> ProcessId) {
        let old = core::mem::take(&mut self.peers);
        self.peers = old
            .into_iter()
            .map(|(process, peer)| (name(&process), peer))
            .collect();
    }

    /// Enters a holder that the records name. The holder receives a lease; its connection comes with its `Hello`.
    pub(crate) fn recover(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        lease: Time,
        session: &SessionId,
    ) {
        let is_new = !self.peers.contains_key(process);
        let peer = self.enter(process);
        if is_new {
            peer.lease = lease;
        }
        peer.incarnation = peer.incarnation.max(incarnation);
        self.holds(process, session);
    }

    pub(crate) fn visit(&mut self, numbers: &mut impl Numbers) {
        for (process, peer) in &mut self.peers {
            peer.visit(process, numbers);
        }
    }
}

/// The context of a step; see the [module](self).
pub(crate) struct StepContext<'a, H> {
    pub(crate) now: Time,
    pub(crate) rules: H,
    pub(crate) settings: &'a StoreSettings,
    pub(crate) admission: Admission,
    pub(crate) stamps: &'a mut Stamps,
    pub(crate) peers: &'a mut Peers,
    pub(crate) out: &'a mut Vec<Output>,
}

impl<H: Hook> StepContext<'_, H> {
    /// Sends a message to a connected process. A process without a connection learns the same after its `Hello` (rule
    /// 15).
    pub(crate) fn send(&mut self, process: &ProcessId, message: ToProcess) {
        if let Some(link) = self.peers.get(process).and_then(|peer| peer.link) {
            self.out.push(Output::Send {
                process: process.clone(),
                link,
                message,
            });
        }
    }

    /// Ends a request without a grant.
    pub(crate) fn refuse(
        &mut self,
        process: &ProcessId,
        session: &SessionId,
        request: Request,
        why: Refusal,
    ) {
        let session = session.clone();
        self.send(
            process,
            ToProcess::Refused {
                session,
                request,
                why,
            },
        );
    }

    /// Refuses a write whose token is not that of the grant. Rule 9.
    pub(crate) fn fence(&mut self, process: &ProcessId, session: &SessionId, token: Token) {
        let (session, why) = (session.clone(), Revocation::Fenced);
        self.send(
            process,
            ToProcess::Revoked {
                session,
                token,
                why,
                limit: None,
            },
        );
    }

    pub(crate) fn is_connected(&self, process: &ProcessId) -> bool {
        self.peers.is_connected(process)
    }

    pub(crate) fn persist(&mut self, session: &SessionId, of: &Session, delta: Delta) {
        let update = if of.is_known() {
            Update::Put {
                session: session.clone(),
                head: of.record.head.clone(),
                delta,
            }
        } else {
            Update::Remove {
                session: session.clone(),
            }
        };
        self.out.push(Output::Persist(update));
    }

    /// Notes that the process holds the session. See [`Peer::holds`].
    pub(crate) fn holds(&mut self, process: &ProcessId, id: &SessionId) {
        self.peers.holds(process, id);
    }

    /// Notes that the process no longer holds the session.
    pub(crate) fn holds_no_more(&mut self, process: &ProcessId, id: &SessionId) {
        self.peers.holds_no_more(process, id);
    }

    /// Notes that the process waits for the session. See [`Peer::waits`].
    pub(crate) fn waits(&mut self, process: &ProcessId, id: &SessionId) {
        self.peers.waits(process, id);
    }

    /// Notes that the process no longer waits for the session.
    pub(crate) fn waits_no_more(&mut self, process: &ProcessId, id: &SessionId) {
        self.peers.waits_no_more(process, id);
    }

    /// Notes whether the grant of the session that the process has is recalled. See [`Peer::recalled`].
    pub(crate) fn is_recalled(&mut self, process: &ProcessId, id: &SessionId, is_recalled: bool) {
        let Some(peer) = self.peers.get_mut(process) else {
            return;
        };
        if is_recalled {
            peer.recalled.insert(id.clone());
        } else {
            peer.recalled.remove(id);
        }
    }
}
