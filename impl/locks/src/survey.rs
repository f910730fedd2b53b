//! Visits of sessions: to show the threads in them, and to free the memory of idle ones.

use crate::entry::Entry;
use crate::error::Error;
use crate::hub::Hub;
use crate::machine::Machine;
use crate::snapshot::{Busy, Holder};
use crate::sync::Arc;
use crate::uses::{Cached, Class};
use crate::waiter::Waiter;
use std::collections::BTreeSet;
use std::time::Duration;
use tenure_protocol::process::Names;
use tenure_protocol::{SessionId, Time};

impl Hub {
    /// Returns the sessions that threads may be inside of or wait for.
    pub(crate) fn awake(&self) -> Vec<Arc<Entry>> {
        let machine = self.machine();
        let mut ids: BTreeSet<SessionId> = machine.uses.awake().cloned().collect();
        ids.extend(self.map.noted());
        drop(machine);
        ids.iter().filter_map(|id| self.map.get(id)).collect()
    }

    /// Returns the threads inside a session, and the threads that wait for it.
    pub(crate) fn busy(&self, entry: &Entry) -> Busy {
        if self.is_forked() {
            return Busy {
                session: entry.id.clone(),
                holders: Vec::new(),
                waiters: Vec::new(),
            };
        }
        let machine = self.machine();
        let own = entry.lock();
        let others = own.state.inside().iter();
        let others = others.map(|inside| (inside.names.clone(), inside.entrance));
        let mut inside: Vec<_> = others.collect();
        let users = entry.users();
        inside.extend(users.map(|(name, entrance)| (Names::One(name.clone()), entrance)));
        let waiters = own
            .state
            .detached
            .as_ref()
            .map(|detached| detached.waiters().collect());
        drop(own);
        let now = self.clock.now();
        let holders = inside.into_iter().map(|(names, entrance)| Holder {
            thread: entrance.thread,
            names,
            held_for: Duration::from_millis(now.since(entrance.now)),
            place: entrance.place,
        });
        let waiters = waiters.or_else(|| {
            let session = machine.process.session(&entry.id)?;
            let waiters = session.lock().waiters();
            Some(waiters.map(|claim| claim.thread).collect())
        });
        Busy {
            session: entry.id.clone(),
            holders: holders.collect(),
            waiters: waiters.unwrap_or_default(),
        }
    }

    /// Frees memory of idle sessions. See [`Locks::sweep`](crate::Locks::sweep).
    pub(crate) fn sweep(&self, unused_ms: u64) {
        if self.is_forked() {
            return;
        }
        let now = self.clock.now();
        let mut machine = self.machine();
        let mut ids = machine.uses.take_noted();
        ids.extend(self.map.take_noted());
        if unused_ms <= now.0 {
            ids.extend(machine.uses.stale(now.before(unused_ms)));
        }
        for id in &ids {
            self.look(&mut machine, id, (now, unused_ms));
        }
    }

    /// Returns idle sessions. See [`Locks::idle`](crate::Locks::idle).
    pub(crate) fn idle(
        &self,
        cached: Cached,
        unused_ms: u64,
        max: usize,
    ) -> Vec<(Time, SessionId)> {
        let now = self.clock.now();
        let mut machine = self.machine();
        // If all sessions are in use, this limits the number of visits.
        let mut looks = max.saturating_mul(4).saturating_add(64);
        let mut idle: Vec<(Time, SessionId)> = Vec::new();
        let mut after = None;
        while idle.len() < max
            && looks > 0
            && let Some(first) = machine.uses.first(cached, after.as_ref())
            && now.since(first.0) >= unused_ms
        {
            looks -= 1;
            let is_used = self.look(&mut machine, &first.1, (now, u64::MAX));
            // If the session has moved in the order, it was used since, and comes later.
            if machine.uses.has(cached, &first) {
                if !is_used {
                    idle.push(first.clone());
                }
                after = Some(first);
            }
        }
        idle
    }

    /// Visits a session: updates its class and its last use, frees memory of an idle session, and forgets a session
    /// without any state. Returns whether a thread is inside.
    fn look(&self, machine: &mut Machine, id: &SessionId, (now, unused_ms): (Time, u64)) -> bool {
        let Machine { process, uses, .. } = machine;
        let mut is_used = false;
        uses.visits += 1;
        self.map.update(id, |entry| {
            let own = entry.lock();
            is_used = own.is_used();
            let found = match (own.used(), process.session(id)) {
                (Some(_), _) if is_used => Some((Class::Warm, now)),
                (Some(used), _) => Some((Class::Warm, used)),
                (None, Some(session)) if session.is_forgettable() && !is_used => {
                    Some((Class::Copy, session.used()))
                }
                (None, Some(_)) => Some((Class::Other, now)),
                (None, None) => None,
            };
            let before = own.state.last_use.class;
            drop(own);
            let (mut class, used) = found.unwrap_or((Class::Other, now));
            let is_unused = !is_used && now.since(used) >= unused_ms;
            let folds = class == Class::Copy || class == Class::Warm && is_unused;
            // Checked again: a thread that came by id counted as an owner until it entered, and does not
            // count since.
            if let Some(entry) = Arc::get_mut(entry)
                && !entry.lock().is_used()
            {
                if found.is_none() {
                    let mut own = entry.lock();
                    uses.put(id, &mut own.state.last_use, Class::New, Time::ZERO);
                    return false;
                }
                if folds && entry.has_cells() {
                    entry.fold();
                }
                if class == Class::Warm && !entry.has_cells() && (folds || before == Class::Cold) {
                    class = Class::Cold;
                }
            } else if class == Class::Warm && (is_unused || before == Class::Owned && !is_used) {
                class = Class::Owned;
            }
            let mut own = entry.lock();
            own.state.last_use.visited();
            uses.put(id, &mut own.state.last_use, class, used);
            true
        });
        is_used
    }

    /// Returns an error if the host refuses to put this OS thread to sleep for a lock.
    pub(crate) fn may_sleep(&self, entry: &Entry, waiter: &Waiter) -> Result<(), Error> {
        let own = waiter.entrance.thread;
        let is_local = || {
            let busy = self.busy(entry);
            let mut holders = busy.holders.iter().map(|holder| holder.thread);
            let mut waiters = busy.waiters.iter();
            holders.any(|thread| thread != own) || waiters.any(|thread| *thread != own)
        };
        if self.clock.may_sleep(&is_local, waiter.entrance.place) {
            return Ok(());
        }
        Err(Error::BlocksRuntime(Box::new(entry.id.clone())))
    }
}
