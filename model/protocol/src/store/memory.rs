//! What of a store is in memory. A driver that has more sessions than memory lets those that are free leave it, brings them back
//! before a step concerns them, and keeps the timers of the rest in an index.
//!
//! To the machine, a session that it does not have in memory does not exist. So the driver asks [`StoreMachine::concerned`] before
//! each step, and [admits](StoreMachine::admit) what is durable and missing.

use super::{Input, Place, Session, StoreMachine, Timer};
use crate::attributes::Record;
use crate::id::{Request, SessionId, Ticket, Time};
use crate::message::{ToStore, WaitMode};
use crate::mutant::{Hook, ProtocolMutant};
use alloc::boxed::Box;
use alloc::vec::Vec;

impl<H: Hook> StoreMachine<H> {
    /// Takes in one durable record, at the start or when the session is concerned again. Its holder, if it has one, gets a
    /// whole lease from `now` unless its lease is known (rule 8). A session that is in memory already stays as it is.
    pub fn admit(&mut self, id: &SessionId, record: &Record, now: Time) {
        if self.sessions.contains(id) {
            return;
        }
        let mut session = Session {
            record: record.clone(),
            ..Session::default()
        };
        if self.hook.is_mutant(ProtocolMutant::ForgetsHolderOnRestart) {
            session.record.head.holder = None;
        }
        if let Some(holder) = &session.record.head.holder {
            // r[lease.restart]
            let lease = now.after(self.settings.lease_ms);
            let lease = lease.max(self.settings.promised.lease);
            self.peers
                .recover(&holder.process, holder.incarnation, lease, id);
            session.last_holder = (self.settings.turns > 0).then(|| holder.process.clone());
            session.lock.hold(Place {
                process: holder.process.clone(),
                // Not durable: whatever the holder asks for is answered with this grant.
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

    /// Lets a session leave memory, if nobody holds it or waits for it. What is remembered of it beyond its record is no
    /// more than a hint (who had the last grants, rule 2). Answers whether it has left.
    ///
    /// The driver does this only when the session's last update is durable.
    pub fn evict(&mut self, id: &SessionId) -> bool {
        let is_idle = |session: &Session| session.lock.is_free() && session.lock.waiting() == 0;
        let leaves = self.session(id).is_some_and(is_idle);
        if leaves {
            self.sessions.remove(id);
        }
        leaves
    }

    /// The sessions whose record the step `input` may read, or whose timers it may set. Before it, those that have a durable
    /// record are to be in memory.
    #[must_use]
    pub fn concerned(&self, input: &Input) -> Vec<SessionId> {
        let of_peer = |process| {
            let peer = self.peer(process);
            peer.into_iter().flat_map(|peer| peer.sessions().cloned())
        };
        // A deadlock is broken by refusing a wait, which may move the deadline of a recall. Rule 17, r[recall.for-nobody].
        let asked = |id: &SessionId| {
            let needed = self.needs(id).into_iter().cloned();
            [id.clone()].into_iter().chain(needed)
        };
        match input {
            Input::Message {
                process, message, ..
            } => match message {
                ToStore::Hello { holds, waits, .. } => {
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
                    let needed = self.waited_for(process, blocked_on).cloned();
                    [session.clone()].into_iter().chain(needed).collect()
                }
                ToStore::Release {
                    session,
                    requeue: Some(_),
                    ..
                } => asked(session).collect(),
                ToStore::Rename { session, to, .. } => [session.clone(), to.clone()].into(),
                ToStore::Cancel { session, .. }
                | ToStore::Commit { session, .. }
                | ToStore::Release { session, .. }
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
            // What is held is in memory.
            Input::Admission(admission) if admission.stopping > self.admission.stopping => {
                self.all_held().cloned().collect()
            }
            Input::Admission(_) => Vec::new(),
        }
    }

    /// What the store waits for because of one session, with the time when it is due.
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
