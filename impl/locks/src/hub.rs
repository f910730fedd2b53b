//! The state that all handles of a manager share: the process machine behind its mutex, and all sessions.
//!
//! Mutexes are locked in this order: the machine's, a shard's of the map, a session's. A session is detached and
//! reattached only under the machine's mutex and its own. So a thread that holds the machine's mutex finds each session
//! where it is, unless that thread itself reattaches it.

use crate::cell::Entrance;
use crate::clock::Clock;
use crate::entry::{Entered, Entry, Locked};
use crate::error::Error;
use crate::granted::Granted;
use crate::limits::Agreed;
use crate::machine::Machine;
use crate::map::Map;
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use crate::wait::Wait;
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::{GrantRef, Refusal};
use tenure_protocol::process::Names;
use tenure_protocol::{AttributeName, Incarnation, ProcessSettings, SessionId, ThreadId};

/// The state that all handles of a manager share.
pub(crate) struct Hub {
    pub(crate) machine: Mutex<Machine>,
    pub(crate) map: Map,
    pub(crate) clock: Clock,
    pub(crate) limits: Agreed,
    /// The attribute names that threads have used. Most sessions use the same names, so each name is stored once.
    names: Mutex<HashSet<AttributeName>>,
    /// The number of times that a thread has lost a grant while inside. Changes under the machine's mutex.
    pub(crate) losses: AtomicU64,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive() // Never the ids and values: they are secret.
    }
}

impl Hub {
    pub(crate) fn new(settings: ProcessSettings, incarnation: Incarnation, clock: Clock) -> Self {
        let limits = settings.limits.clone();
        Self {
            machine: Mutex::new(Machine::new(settings, incarnation)),
            map: Map::new(),
            names: Mutex::new(HashSet::new()),
            clock,
            limits: Agreed::new(limits),
            losses: AtomicU64::new(0),
        }
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    /// Returns whether this OS process is a child, by `fork`, of the process that created the manager. If so, another
    /// thread may have held any mutex at the fork, and will never unlock it. So every caller checks this before it
    /// locks a mutex.
    #[inline(always)]
    pub(crate) fn is_forked(&self) -> bool {
        self.clock.is_forked()
    }

    /// Returns an error in a child of a `fork`.
    #[inline(always)]
    pub(crate) fn refuse_forked(&self) -> Result<(), Error> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        Ok(())
    }

    /// Returns the entry of a session, and creates it if there is none. In a child of a `fork`, returns an entry that
    /// is not in the map.
    #[inline]
    pub(crate) fn entry(&self, id: &SessionId) -> Arc<Entry> {
        if self.is_forked() {
            return Arc::new(Entry::new(id.clone()));
        }
        self.map.get_or_make(id)
    }

    /// Returns the shared copy of an attribute name.
    pub(crate) fn name(&self, name: &[u8]) -> Result<AttributeName, Error> {
        /// The maximum number of shared names. An application has few; names beyond this limit are not shared.
        const NAMES_MAX: usize = 1_024;
        self.refuse_forked()?;
        let new = AttributeName::new(name.to_vec())?;
        let mut names = lock(&self.names);
        if let Some(known) = names.get(&new) {
            return Ok(known.clone());
        }
        if names.len() < NAMES_MAX {
            names.insert(new.clone());
        }
        Ok(new)
    }

    /// Returns whether the lease has ended by the exact clock.
    pub(crate) fn has_outlived_lease(&self) -> bool {
        self.clock.is_past_lease(self.clock.now())
    }

    /// Returns whether the lease has ended by the coarse clock.
    #[inline(always)]
    pub(crate) fn is_past_lease(&self) -> bool {
        self.clock.is_past_lease(self.clock.coarse())
    }

    /// Enters one attribute without the machine, if possible. A request for an `existing` session must ask the machine,
    /// unless the session is known to exist.
    pub(crate) fn enter_one<'e>(
        &self,
        entry: &'e Entry,
        name: &AttributeName,
        entrance: Entrance,
        existing: bool,
    ) -> Option<Entered<'e>> {
        if self.has_outlived_lease() {
            return None;
        }
        self.use_session(entry, existing, |own| {
            own.enter_one(name, entrance, &self.limits.current())
        })
    }

    /// Enters several attributes without the machine, as [`Hub::enter_one`].
    pub(crate) fn enter_session(
        &self,
        entry: &Entry,
        names: &Names,
        entrance: Entrance,
        existing: bool,
    ) -> Option<Granted> {
        if self.has_outlived_lease() {
            return None;
        }
        self.use_session(entry, existing, |own| own.enter_session(names, entrance))
    }

    /// Returns the error for a refusal of the machine.
    pub(crate) fn refused(&self, session: &SessionId, why: Refusal) -> Error {
        self.limits.refused(session, why)
    }

    /// Locks the entry of a session for a thread that uses the session, and notes the use if the order of last use
    /// needs it. A request for an `existing` session does not enter a session that may not exist.
    #[inline(always)]
    fn use_session<'e, R>(
        &self,
        entry: &'e Entry,
        existing: bool,
        enter: impl FnOnce(&mut Locked<'e>) -> Option<R>,
    ) -> Option<R> {
        let mut own = entry.lock();
        let wakes = own.state.last_use.wakes();
        let enters = !existing || own.exists();
        let entered = enters.then(|| enter(&mut own)).flatten();
        drop(own);
        if wakes {
            self.map.note(&entry.id);
        }
        entered
    }

    /// Returns the entry of the session that a guard is in: the new one, if the guard's rename has been answered.
    pub(crate) fn moved(
        &self,
        entry: &Arc<Entry>,
        rename: Option<&Arc<Wait<GrantRef>>>,
    ) -> Arc<Entry> {
        match rename.and_then(|wait| self.renamed(wait)) {
            Some(to) => self.map.get_or_make(&to.session),
            None => Arc::clone(entry),
        }
    }

    /// Returns the new grant of a renamed session, if the answer is a rename.
    pub(crate) fn renamed(&self, wait: &Wait<GrantRef>) -> Option<GrantRef> {
        if self.is_forked() {
            return None;
        }
        wait.peek()
    }

    /// Returns the value that `thread`, which is inside, sees in an attribute without an open cell.
    pub(crate) fn value(
        &self,
        entry: &Entry,
        thread: ThreadId,
        name: &AttributeName,
    ) -> Option<Value> {
        if self.is_forked() {
            return None;
        }
        if let Some(detached) = &entry.lock().state.detached {
            return detached.value(thread, name).cloned();
        }
        let machine = self.machine();
        // Checked again: the session may have been detached in between. It cannot be detached while the machine
        // is locked.
        if let Some(detached) = &entry.lock().state.detached {
            return detached.value(thread, name).cloned();
        }
        let session = machine.process.session(&entry.id)?;
        session.value(thread, name).cloned()
    }

    /// Returns whether the grant of a session is recalled.
    pub(crate) fn is_recalled(&self, entry: &Entry) -> bool {
        if self.is_past_lease() {
            return true;
        }
        if entry.lock().state.detached.is_some() {
            return false;
        }
        let machine = self.machine();
        // Checked again: the session may have been detached in between. It cannot be detached while the machine
        // is locked.
        if entry.lock().state.detached.is_some() {
            return false;
        }
        let session = machine.process.session(&entry.id);
        session
            .and_then(|session| session.grant())
            .is_none_or(|grant| grant.recall.is_some() || grant.give_back)
    }
}
