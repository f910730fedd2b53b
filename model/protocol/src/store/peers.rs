//! The processes that have a lease.

use crate::id::{Incarnation, Link, ProcessId, SessionId, Time};
use crate::renumber::Numbers;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A process that has a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub(crate) incarnation: Incarnation,
    /// The highest minor version that the process speaks; 0 before its `Hello`.
    pub(crate) minor: u8,
    pub(crate) link: Option<Link>,
    /// The number of the newest connection of this incarnation. A `Hello` on an older connection has come late.
    pub(crate) last_link: u64,
    pub(crate) lease: Time,
    /// The sessions that the process holds.
    pub(crate) holds: BTreeSet<SessionId>,
    /// The sessions that the process waits for.
    pub(crate) waits: BTreeSet<SessionId>,
    /// The held sessions whose grant is recalled. A keep-alive repeats these recalls.
    pub(crate) recalled: BTreeSet<SessionId>,
}

impl Peer {
    /// Returns the incarnation of the process.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns the highest minor version of the protocol that the process stated in its last `Hello`; 0 before that.
    #[must_use]
    pub fn minor(&self) -> u8 {
        self.minor
    }

    /// Returns the process's connection, if it has one.
    #[must_use]
    pub fn link(&self) -> Option<Link> {
        self.link
    }

    /// Returns when the lease of the process ends, on the store's clock.
    #[must_use]
    pub fn lease(&self) -> Time {
        self.lease
    }

    /// Returns the sessions that the process holds or waits for, in no particular order.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionId> {
        self.holds.iter().chain(&self.waits)
    }

    /// Returns the number of sessions that the process holds or waits for.
    #[must_use]
    pub fn concerns(&self) -> usize {
        self.holds.len() + self.waits.len()
    }

    /// Returns whether the process holds the session or waits for it.
    #[must_use]
    pub fn is_concerned(&self, id: &SessionId) -> bool {
        self.holds.contains(id) || self.waits.contains(id)
    }

    /// Returns the sessions that the process holds.
    #[must_use]
    pub fn holds(&self) -> &BTreeSet<SessionId> {
        &self.holds
    }

    /// Returns the sessions that the process waits for.
    #[must_use]
    pub fn waits(&self) -> &BTreeSet<SessionId> {
        &self.waits
    }

    /// Returns the sessions that the process holds and whose grant is recalled.
    #[must_use]
    pub fn recalled(&self) -> &BTreeSet<SessionId> {
        &self.recalled
    }

    /// Returns the sessions that the process holds or waits for, in the order of their ids.
    pub(crate) fn in_order(&self) -> Vec<SessionId> {
        self.holds.union(&self.waits).cloned().collect()
    }

    pub(crate) fn visit(&mut self, process: &ProcessId, numbers: &mut impl Numbers) {
        let mut last = Link {
            incarnation: self.incarnation,
            number: self.last_link,
        };
        numbers.incarnation(process, &mut self.incarnation);
        numbers.link(process, &mut last);
        self.last_link = last.number;
        if let Some(link) = &mut self.link {
            numbers.link(process, link);
        }
        numbers.time(&mut self.lease);
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

    /// Returns the held sessions.
    pub(crate) fn all_held(&self) -> impl Iterator<Item = &SessionId> {
        self.peers.values().flat_map(|peer| &peer.holds)
    }

    /// Returns those of `sessions` that the process waits for.
    pub(crate) fn waited_for<'s>(
        &'s self,
        process: &ProcessId,
        sessions: &'s [SessionId],
    ) -> impl Iterator<Item = &'s SessionId> {
        let waits = self.get(process).map(|peer| &peer.waits);
        sessions
            .iter()
            .filter(move |id| waits.is_some_and(|waits| waits.contains(*id)))
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
