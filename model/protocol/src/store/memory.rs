//! The sessions of a store that are in memory. A driver with more sessions than memory evicts free sessions and keeps
//! their timers in an index. Before a step concerns an evicted session, the driver admits it again.
//!
//! For the machine, a session that is not in memory does not exist. The driver therefore calls
//! [`StoreMachine::concerned`] before each step, and [admits](StoreMachine::admit) the durable records that are
//! missing.

use super::deadlock::needs;
use super::{Input, Place, Session, StoreMachine, Timer};
use crate::attributes::Record;
use crate::id::{Request, SessionId, Ticket, Time};
use crate::message::{Commit, Hello, Release, ToStore, WaitMode};
use crate::mutant::Hook;
use alloc::boxed::Box;
use alloc::vec::Vec;

impl<H: Hook> StoreMachine<H> {
    /// Admits one durable record to memory, at the start or when a step concerns the session again. The holder, if any,
    /// receives a whole lease from `now`, unless its lease is already known (rule 8). A session in memory stays
    /// unchanged.
    pub fn admit(&mut self, id: &SessionId, record: &Record, now: Time) {
        if self.sessions.contains(id) {
            return;
        }
        let mut session = Session {
            record: record.clone(),
            ..Session::default()
        };
        let holder = &mut session.record.head.holder;
        *holder = self.rules.recovered_holder(holder.take());
        if let Some(holder) = &session.record.head.holder {
            // r[lease.restart]
            let lease = now.after(self.settings.lease_ms);
            let lease = lease.max(self.settings.promised.lease);
            self.peers
                .recover(&holder.process, holder.incarnation, lease, id);
            session.last_holder = (self.settings.turns > 0).then(|| holder.process.clone());
            session.lock.hold(Place {
                process: holder.process.clone(),
                // The request is not durable: any request of the holder is answered with this grant.
                request: Request(0),
                ticket: Ticket::default(),
                known: None,
                wait_mode: WaitMode::Wait,
                existing: false,
                until: now,
            });
        }
        self.sessions.insert(id.clone(), Box::new(session));
    }

    /// Evicts a session from memory, if the session has no holder and no waiter. Returns whether the session was
    /// evicted. Beside the record, only a hint is lost: the holders of the last grants (rule 2).
    ///
    /// The driver calls this only when the session's last update is durable.
    pub fn evict(&mut self, id: &SessionId) -> bool {
        let is_idle = |session: &Session| session.lock.is_free() && session.lock.waiting() == 0;
        let leaves = self.session(id).is_some_and(is_idle);
        if leaves {
            self.sessions.remove(id);
        }
        leaves
    }

    /// Returns the sessions whose record the step `input` may read, or whose timers it may set. Before the step, the
    /// driver admits those of them that have a durable record.
    #[must_use]
    pub fn concerned(&self, input: &Input) -> Vec<SessionId> {
        let of_peer = |process| {
            let peer = self.peer(process);
            peer.into_iter().flat_map(|peer| peer.sessions().cloned())
        };
        // To break a deadlock the store refuses a wait, which may move the deadline of a recall. Rule 17,
        // r[recall.for-nobody].
        let asked = |id: &SessionId| {
            let needed = needs(id, &self.sessions, &self.peers).into_iter().cloned();
            [id.clone()].into_iter().chain(needed)
        };
        match input {
            Input::Message {
                process, message, ..
            } => match message {
                ToStore::Hello(Hello { holds, waits, .. }) => {
                    let holds = holds.iter().map(|hold| hold.session.clone());
                    let waits = waits.iter().flat_map(|acquire| asked(&acquire.session));
                    of_peer(process).chain(holds).chain(waits).collect()
                }
                ToStore::Goodbye => of_peer(process).collect(),
                ToStore::KeepAlive { .. } => Vec::new(),
                ToStore::Acquire(acquire) => asked(&acquire.session).collect(),
                ToStore::Busy {
                    session,
                    blocked_on,
                    ..
                } => {
                    let needed = self.peers.waited_for(process, blocked_on).cloned();
                    [session.clone()].into_iter().chain(needed).collect()
                }
                ToStore::Release(Release {
                    session,
                    requeue: Some(_),
                    ..
                }) => asked(session).collect(),
                ToStore::Rename { session, to, .. } => [session.clone(), to.clone()].into(),
                ToStore::Cancel { session, .. }
                | ToStore::Commit(Commit { session, .. })
                | ToStore::Release(Release { session, .. })
                | ToStore::Destroy { session, .. } => [session.clone()].into(),
            },
            Input::Disconnected { process, .. } => {
                let peer = self.peer(process).into_iter();
                peer.flat_map(|peer| peer.recalled.iter().chain(&peer.waits).cloned())
                    .collect()
            }
            Input::Timer(Timer::Lease(process)) => of_peer(process).collect(),
            Input::Timer(
                Timer::Remind(session)
                | Timer::Revoke(session)
                | Timer::Wait(session, _)
                | Timer::Expire(session),
            )
            | Input::Recall(session) => [session.clone()].into(),
            // Every held session is in memory.
            Input::Admission(admission) if admission.stopping > self.admission.stopping => {
                self.peers.all_held().cloned().collect()
            }
            Input::Admission(_) => Vec::new(),
        }
    }

    /// Returns the timers of one session, each with the time at which it is due.
    pub fn timers_of<'s>(&'s self, id: &'s SessionId) -> impl Iterator<Item = (Time, Timer)> + 's {
        let session = self.session(id).into_iter();
        session.flat_map(move |session| {
            let waits = session.lock.waiters();
            let waits =
                waits.map(|place| (place.until, Timer::Wait(id.clone(), place.process.clone())));
            let recall = session.recall.as_ref();
            let remind = recall.map(|recall| (recall.remind, Timer::Remind(id.clone())));
            let revoke = self.revoke_due(session);
            let revoke = revoke.map(|due| (due, Timer::Revoke(id.clone())));
            let expire = session.expire_due();
            let expire = expire.map(|due| (due, Timer::Expire(id.clone())));
            remind.into_iter().chain(revoke).chain(expire).chain(waits)
        })
    }
}
