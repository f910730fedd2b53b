//! What every step of a session shares: the time, the settings, the counter, the processes, and the outputs.

use super::peers::Peer;
use crate::attributes::{Delta, Update};
use crate::config::StoreSettings;
use crate::defect::{Defect, Hook};
use crate::id::{Incarnation, Link, ProcessId, Request, SessionId, Stamp, Time, Token};
use crate::message::{Refusal, Revocation, ToProcess};
use crate::renumber::Numbers;
use crate::store::Session;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What a store wants done. See the [module](crate::store#outputs) for the order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Make this durable, after all earlier updates of the same session.
    Persist(Update),
    /// Send this on the connection `link` of `process`, when all earlier updates of its session are durable. It is dropped
    /// when the connection has gone: `Hello` will say what was missed.
    Send {
        /// To whom.
        process: ProcessId,
        /// On which connection.
        link: Link,
        /// What.
        message: ToProcess,
    },
    /// The process broke the protocol or was replaced: close this connection.
    Disconnect {
        /// Whose.
        process: ProcessId,
        /// Which.
        link: Link,
    },
}

impl Output {
    /// Shows every number in the output.
    pub fn visit(&mut self, numbers: &mut impl Numbers) {
        match self {
            Self::Persist(Update::Put { head, .. } | Update::Rename { head, .. }) => {
                head.visit(numbers)
            }
            Self::Persist(_) => {}
            Self::Send {
                process,
                link,
                message,
            } => {
                numbers.link(process, link);
                message.visit(process, numbers);
            }
            Self::Disconnect { process, link } => numbers.link(process, link),
        }
    }
}

/// Draws stamps, strictly increasing for ever as long as the epoch is.
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
        self.sequence += 1;
        self.last()
    }

    /// The last stamp drawn.
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
}

impl Peers {
    pub(crate) fn get(&self, process: &ProcessId) -> Option<&Peer> {
        self.peers.get(process).map(|peer| &**peer)
    }

    pub(crate) fn get_mut(&mut self, process: &ProcessId) -> Option<&mut Peer> {
        self.peers.get_mut(process).map(|peer| &mut **peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ProcessId, &Peer)> {
        self.peers.iter().map(|(process, peer)| (process, &**peer))
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn insert(&mut self, process: &ProcessId, peer: Peer) {
        self.peers.insert(process.clone(), Box::new(peer));
    }

    pub(crate) fn remove(&mut self, process: &ProcessId) -> Option<Box<Peer>> {
        self.peers.remove(process)
    }

    pub(crate) fn rename(&mut self, name: impl Fn(&ProcessId) -> ProcessId) {
        let old = core::mem::take(&mut self.peers);
        self.peers = old
            .into_iter()
            .map(|(process, peer)| (name(&process), peer))
            .collect();
    }

    /// A holder that the records name: it gets a lease, and `Hello` will bring its connection.
    pub(crate) fn recover(
        &mut self,
        process: &ProcessId,
        incarnation: Incarnation,
        lease: Time,
        session: &SessionId,
    ) {
        let peer = self.peers.entry(process.clone()).or_insert_with(|| {
            Box::new(Peer {
                incarnation,
                link: None,
                last_link: 0,
                lease,
                sessions: BTreeSet::new(),
            })
        });
        peer.incarnation = peer.incarnation.max(incarnation);
        peer.sessions.insert(session.clone());
    }

    pub(crate) fn visit(&mut self, numbers: &mut impl Numbers) {
        for (process, peer) in &mut self.peers {
            peer.visit(process, numbers);
        }
    }
}

/// See the [module](self).
pub(crate) struct Desk<'a, H> {
    pub(crate) now: Time,
    pub(crate) hook: H,
    pub(crate) settings: &'a StoreSettings,
    pub(crate) stamps: &'a mut Stamps,
    pub(crate) peers: &'a mut Peers,
    pub(crate) out: &'a mut Vec<Output>,
}

impl<H: Hook> Desk<'_, H> {
    pub(crate) fn makes(&self, defect: Defect) -> bool {
        self.hook.makes(defect)
    }

    /// Sends to a process that is connected. One that is not will be told after its `Hello` (rule 15).
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

    /// Answers a write whose token is not that of the grant. Rule 9.
    pub(crate) fn fence(&mut self, process: &ProcessId, session: &SessionId, token: Token) {
        let (session, why) = (session.clone(), Revocation::Fenced);
        self.send(
            process,
            ToProcess::Revoked {
                session,
                token,
                why,
            },
        );
    }

    pub(crate) fn is_connected(&self, process: &ProcessId) -> bool {
        self.peers
            .get(process)
            .is_some_and(|peer| peer.link.is_some())
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

    /// Keeps the process's list of sessions right after its place in one has changed.
    pub(crate) fn relink(&mut self, process: &ProcessId, id: &SessionId, session: &Session) {
        let Some(peer) = self.peers.get_mut(process) else {
            return;
        };
        if session.concerns(process) {
            peer.sessions.insert(id.clone());
        } else {
            peer.sessions.remove(id);
        }
    }
}
