//! The context of a step: the time, the settings, the counter, the processes, and the outputs.

use super::admission::{Admission, Stopping};
use super::peers::Peers;
use crate::attributes::{Delta, Update};
use crate::config::StoreSettings;
use crate::id::{Link, ProcessId, Request, SessionId, Stamp, Time, Token};
use crate::message::{Refusal, Revocation, ToProcess};
use crate::mutant::Hook;
use crate::store::Session;
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

/// The context of a step; see the [module](self).
pub(crate) struct StepContext<'a, H> {
    pub(crate) now: Time,
    pub(crate) rules: H,
    pub(crate) settings: &'a StoreSettings,
    pub(crate) admission: &'a mut Admission,
    pub(crate) stamps: &'a mut Stamps,
    pub(crate) peers: &'a mut Peers,
    pub(crate) out: &'a mut Vec<Output>,
}

impl<H: Hook> StepContext<'_, H> {
    /// Returns whether the store stops, so that it must not make a grant.
    pub(crate) fn is_stopping(&self) -> bool {
        self.rules
            .grants_nothing(self.admission.stopping.is_stopping())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.admission.stopping == Stopping::Draining
    }

    /// Returns whether the disk is full, so that a request that does not wait yet is refused.
    pub(crate) fn is_full(&self) -> bool {
        self.rules.refuses_for_storage(self.admission.is_full)
    }

    /// Sends a message to a connected process. A process without a connection learns the same after its `Hello` (rule
    /// 15).
    pub(crate) fn send(&mut self, process: &ProcessId, message: ToProcess) {
        if let Some(link) = self.peers.get(process).and_then(|peer| peer.link) {
            self.send_on(link, process, message);
        }
    }

    /// Sends a message on a connection. The process may be without a lease.
    pub(crate) fn send_on(&mut self, link: Link, process: &ProcessId, message: ToProcess) {
        self.out.push(Output::Send {
            process: process.clone(),
            link,
            message,
        });
    }

    /// Sends the reason for which a connection is not accepted, and closes the connection.
    pub(crate) fn turn_away(&mut self, link: Link, process: &ProcessId, why: ToProcess) {
        self.send_on(link, process, why);
        self.out.push(Output::Disconnect {
            process: process.clone(),
            link,
        });
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
                is_whole: of.record.is_made_by(&delta),
                delta,
            }
        } else {
            Update::Remove {
                session: session.clone(),
            }
        };
        self.out.push(Output::Persist(update));
    }

    /// Notes that the process holds the session. See [`holds`](super::peers::Peer::holds).
    pub(crate) fn holds(&mut self, process: &ProcessId, id: &SessionId) {
        self.peers.holds(process, id);
    }

    /// Notes that the process no longer holds the session.
    pub(crate) fn holds_no_more(&mut self, process: &ProcessId, id: &SessionId) {
        self.peers.holds_no_more(process, id);
    }

    /// Notes that the process waits for the session. See [`waits`](super::peers::Peer::waits).
    pub(crate) fn waits(&mut self, process: &ProcessId, id: &SessionId) {
        self.peers.waits(process, id);
    }

    /// Notes that the process no longer waits for the session.
    pub(crate) fn waits_no_more(&mut self, process: &ProcessId, id: &SessionId) {
        self.peers.waits_no_more(process, id);
    }

    /// Notes whether the grant of the session that the process has is recalled. See
    /// [`recalled`](super::peers::Peer::recalled).
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
