//! Processes: hello, keep-alive, goodbye, disconnection, and the end of a lease. Rules 10 and 15.

use super::Session;
use super::context::StepContext;
use super::peers::Peer;
use super::step::Step;
use crate::id::{Link, ProcessId, Request, SessionId, Time, Token};
use crate::message::{AcquireRequest, GrantRef, Hello, ToProcess, ToStore};
use crate::mutant::Hook;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

impl<H: Hook> Step<'_, H> {
    /// Returns whether the message comes from a process with a lease, on the process's newest connection.
    pub(crate) fn knows(&mut self, process: &ProcessId, link: Link, message: &ToStore) -> bool {
        match self.ctx.peers.get(process) {
            // r[connect.old-connection]
            Some(peer) => peer.link == Some(link),
            None => {
                // r[lease.told]
                if *message != ToStore::Goodbye {
                    self.ctx.send_on(link, process, ToProcess::LeaseEnded);
                }
                false
            }
        }
    }

    pub(crate) fn on_hello(&mut self, process: &ProcessId, link: Link, hello: Hello) {
        let incarnation = hello.incarnation;
        if let Some(peer) = self.ctx.peers.get(process) {
            // r[connect.superseded]
            if incarnation < peer.incarnation {
                return self.ctx.turn_away(link, process, ToProcess::Superseded);
            }
            // r[connect.late-hello]
            if incarnation == peer.incarnation && link.number <= peer.last_link {
                return; // This hello came late: a newer connection has already sent one.
            }
            if self.ctx.rules.replaces(incarnation, peer.incarnation) {
                if let Some(old) = peer.link {
                    // r[connect.closes-replaced]
                    self.ctx.turn_away(old, process, ToProcess::Superseded);
                }
                // r[connect.new-incarnation]
                self.void_all(process);
            }
        } else if self.ctx.peers.len() >= self.ctx.settings.limits.processes_max {
            // r[limit.processes]
            return self.ctx.turn_away(link, process, ToProcess::Full);
        }
        let mut lease = self.ctx.now.after(self.ctx.settings.lease_ms);
        if let Some(peer) = self.ctx.peers.get(process)
            && peer.incarnation == incarnation
        {
            // An earlier start may have granted a longer lease, on which the process relies. r[lease.whole]
            lease = lease.max(peer.lease);
        }
        let peer = self.ctx.peers.enter(process);
        (peer.incarnation, peer.minor) = (incarnation, hello.minor);
        (peer.link, peer.last_link) = (Some(link), link.number);
        // r[lease.only-keep-alive]
        peer.lease = lease;
        self.reconcile(process, hello);
    }

    fn is_held(&self, process: &ProcessId, hold: &GrantRef) -> bool {
        let session = self.sessions.get(&hold.session);
        session.is_some_and(|session| session.is_held(process, hold.token))
    }

    /// Returns the contents of lost `Gone` messages for these grants, where one can have been sent: the session is no
    /// more, or was renamed.
    fn ends_of(
        &self,
        process: &ProcessId,
        lost: Vec<GrantRef>,
    ) -> Vec<(GrantRef, Option<GrantRef>)> {
        if lost.is_empty() {
            return Vec::new();
        }
        let own = self.ctx.peers.get(process).into_iter();
        let renamed: BTreeMap<Token, GrantRef> = own
            .flat_map(|peer| &peer.holds)
            .filter_map(|id| {
                let holder = self.sessions.get(id)?.record.head.holder.as_ref();
                let holder = holder.filter(|holder| holder.process == *process)?;
                let (session, token) = (id.clone(), holder.token);
                Some((holder.renamed?, GrantRef { session, token }))
            })
            .collect();
        // r[reconnect.ended]
        let end = |hold: GrantRef| match renamed.get(&hold.token) {
            Some(renamed) => Some((hold, Some(renamed.clone()))),
            None => {
                let left = self.sessions.get(&hold.session);
                (!left.is_some_and(|left| left.is_known())).then_some((hold, None))
            }
        };
        lost.into_iter().filter_map(end).collect()
    }

    /// Reconciles, rule by rule, the holds and waits that the process states with those that the store has. Rule 15.
    fn reconcile(&mut self, process: &ProcessId, hello: Hello) {
        let Hello {
            sent, holds, waits, ..
        } = hello;
        // r[reconnect.known]
        let (holds, lost): (Vec<GrantRef>, Vec<GrantRef>) = holds
            .into_iter()
            .partition(|hold| self.is_held(process, hold));
        let gone = self.ends_of(process, lost);
        let lease_ms = self.ctx.settings.lease_ms;
        // r[limit.told-in-welcome]
        let limits = self
            .ctx
            .rules
            .stated_limits(self.ctx.settings.limits.said());
        // r[connect.answers-hello]
        self.ctx.send(
            process,
            ToProcess::Welcome {
                minor: crate::MINOR,
                // r[lease.echo]
                sent,
                lease_ms,
                holds: holds.clone(),
                gone: gone.clone(),
                limits,
            },
        );
        // A session that was renamed is held under its new id.
        let renamed = gone.into_iter().filter_map(|(_, renamed)| renamed);
        let held = holds.into_iter().chain(renamed).map(|hold| hold.session);
        let held: BTreeSet<SessionId> = held.collect();

        // A request for a session that the process has given back is settled by that release.
        // r[reconnect.not-both]
        let waits: Vec<AcquireRequest> = waits
            .into_iter()
            .filter(|acquire| !held.contains(&acquire.session))
            .collect();
        let wanted: BTreeMap<&SessionId, Request> = waits
            .iter()
            .map(|acquire| (&acquire.session, acquire.request))
            .collect();
        let known: Vec<SessionId> = self
            .ctx
            .peers
            .get(process)
            .map(Peer::in_order)
            .unwrap_or_default();
        for id in known {
            let is_held = held.contains(&id);
            let wanted = wanted.get(&id).copied();
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            // r[reconnect.dropped-wait]
            if wanted.is_none() {
                session.remove_waiter(&id, process, &mut self.ctx);
            }
            if is_held {
                // r[recall.repeated]
                session.repeat_recall(&id, &mut self.ctx);
            } else if session.holder() == Some(process) && self.ctx.rules.settles_unclaimed() {
                session.settle_unclaimed(&id, wanted, &mut self.ctx);
            }
            self.tidy(&id);
        }
        for acquire in self.ctx.rules.repeated(waits) {
            // r[reconnect.waits]
            self.on_acquire(process, acquire);
        }
    }

    pub(crate) fn on_keep_alive(&mut self, process: &ProcessId, sent: Time) {
        let lease_ms = self.ctx.settings.lease_ms;
        let Some(peer) = self.ctx.peers.get_mut(process) else {
            return;
        };
        // The lease never shrinks: an earlier start of the store may have granted a longer one. r[lease.whole]
        // r[lease.only-keep-alive]
        peer.lease = peer.lease.max(self.ctx.now.after(lease_ms));
        let recalled = peer
            .recalled
            .iter()
            .filter_map(|id| Some((id, self.sessions.get(id)?)));
        // r[recall.repeated]
        let recalls = recalled
            .filter_map(|(id, session)| session.recall_of(id, process, self.ctx.now))
            .collect();
        // r[lease.alive]
        self.ctx.send(
            process,
            ToProcess::Alive {
                // r[lease.echo]
                sent,
                lease_ms,
                recalls,
            },
        );
    }

    pub(crate) fn on_disconnected(&mut self, process: &ProcessId, link: Link) {
        let Some(peer) = self.ctx.peers.get_mut(process) else {
            return;
        };
        if peer.link != Some(link) {
            return;
        }
        // r[lease.frees-nothing]
        peer.link = None;
        if !self.ctx.rules.keeps_disconnected() {
            return self.void_all(process);
        }
        // The disconnected process may have been the last connected waiter for these sessions.
        // r[recall.for-nobody]
        let waits: Vec<SessionId> = peer.waits.iter().cloned().collect();
        // A try does not wait for a process that cannot answer (rule 13). Each try has caused a recall, so the recalled
        // sessions suffice.
        let recalled: Vec<SessionId> = peer.recalled.iter().cloned().collect();
        for id in recalled {
            if let Some(session) = self.sessions.get_mut(&id) {
                // r[try.refused-otherwise]
                session.refuse_tries(&id, &mut self.ctx);
            }
        }
        for id in waits {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.spare_holder(&id, &mut self.ctx);
            }
        }
    }

    pub(crate) fn on_goodbye(&mut self, process: &ProcessId) {
        // r[lease.goodbye]
        self.void_all(process);
        if self.ctx.rules.ends_lease_at_goodbye() {
            self.ctx.peers.remove(process);
        }
    }

    /// Handles the end of a lease: its grants are void, its waits are dropped, and its recalls are cleared. Rule 10.
    pub(crate) fn on_lease_end(&mut self, process: &ProcessId) {
        if self.ctx.rules.voids_at_lease_end() {
            // r[lease.ends]
            self.void_all(process);
        }
        self.ctx.send(process, ToProcess::LeaseEnded);
        self.ctx.peers.remove(process);
    }

    /// Ends every grant and every wait of the process.
    fn void_all(&mut self, process: &ProcessId) {
        let Some(sessions) = self.ctx.peers.get(process).map(Peer::in_order) else {
            return;
        };
        // The waits end first, so that nothing is granted to the process while its grants are passed on.
        if self.ctx.rules.ends_orphaned_waits() {
            for id in &sessions {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.remove_waiter(id, process, &mut self.ctx);
                }
            }
        }
        for id in &sessions {
            if let Some(session) = self.sessions.get_mut(id)
                && session.holder() == Some(process)
            {
                session.void(id, &mut self.ctx);
            }
            self.tidy(id);
        }
        self.ctx.peers.forget_stakes(process);
    }
}

impl Session {
    /// Settles a grant that its holder did not claim in a hello. `wanted` is the request for the session in that hello.
    /// Rule 9.
    fn settle_unclaimed<H: Hook>(
        &mut self,
        id: &SessionId,
        wanted: Option<Request>,
        ctx: &mut StepContext<'_, H>,
    ) {
        // A process that repeats the request of the grant has not received the grant. Any other process has received
        // it, and has ended it: its threads know the token, which must not be granted again.
        let granted_for = self.lock.holders()[0].request;
        match wanted {
            // r[reconnect.untold]
            Some(request) if request == granted_for => {}
            // r[reconnect.untold] r[reconnect.no-token-twice]
            Some(_) if granted_for == Request::default() => {
                // A restarted store does not know the request: the grant goes on under a new token.
                self.renew_token(id, ctx);
            }
            // r[reconnect.unclaimed] r[reconnect.no-token-twice]
            _ => self.void(id, ctx),
        }
    }
}
