//! The process machine behind its mutex, and all operations that need the machine: waits, messages, timers, and
//! sessions that are not detached.
//!
//! Mutexes are locked in this order: the machine's, a shard's of the map, a session's. A session is detached and
//! reattached only under the machine's mutex and its own. So a thread that holds the machine's mutex finds each session
//! where it is, unless that thread itself reattaches it.

use crate::cell::{Entrance, Held};
use crate::clock::Clock;
use crate::entry::{Entered, Entry, Granted, Locked};
use crate::error::Error;
use crate::event::Event;
use crate::limits::Agreed;
use crate::map::Map;
use crate::mutant::{self, LockMutant};
use crate::snapshot::{Busy, Discard, Holder};
use crate::step::{Kind, Machine, Step, Waiting};
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use crate::unfetched::Unfetched;
use crate::uses::{Cached, Class, Uses};
use crate::wait::{Outcome, Wait, Waiter};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::{GrantRef, Refusal, WaitMode};
use tenure_protocol::process::{Answer, Call, Input, Names, Timer};
use tenure_protocol::{
    AttributeName, Incarnation, ProcessMachine, ProcessSettings, SessionId, Settings, ThreadId,
    Time,
};

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

/// The machine's answer to a lock request.
pub(crate) enum Asked {
    Locked(Box<Granted>),
    Refused(Error),
    Waits(Arc<Waiter>),
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
            machine: Mutex::new(Machine {
                process: ProcessMachine::with_hook(
                    mutant::Own,
                    Settings::new(settings),
                    incarnation,
                ),
                waiting: BTreeMap::new(),
                events: VecDeque::new(),
                out: Vec::new(),
                unfetched: Unfetched::new(),
                driver: None,
                uses: Uses::default(),
            }),
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

    pub(crate) fn step(&self) -> Step<'_> {
        let machine = lock(&self.machine);
        Step {
            hub: self,
            machine,
            now: self.clock.now(),
            woken: Vec::new(),
            touched: Vec::new(),
            left: None,
        }
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

    /// Requests a lock from the machine.
    pub(crate) fn ask(
        &self,
        entry: &Arc<Entry>,
        names: &Names,
        entrance: Entrance,
        (wait_mode, existing, until): (WaitMode, bool, Time),
    ) -> Asked {
        if let Err(forked) = self.refuse_forked() {
            return Asked::Refused(forked);
        }
        let thread = entrance.thread;
        let mut step = self.step();
        // From here on, only this step can grant the lock.
        step.reattach(entry);
        let losses = self.losses.load(Ordering::Relaxed);
        let waiter = Arc::new(Waiter::new(entrance, names.clone(), losses));
        let is_noted = entry.lock().state.note_waiting(Arc::clone(&waiter));
        if !is_noted {
            step.finish();
            return Asked::Refused(self.refused(&entry.id, Refusal::AlreadyLocked));
        }
        let call = Call::Lock {
            names: names.clone(),
            wait_mode,
            existing,
            until,
        };
        step.call(entry, thread, &call);
        let asked = match waiter.wait.take() {
            Some(Outcome::Locked(granted)) => Asked::Locked(granted),
            Some(Outcome::Failed(error)) => Asked::Refused(*error),
            // A handoff in a cell is impossible, because this request has not waited.
            Some(_) => {
                unreachable!("the machine answers a lock request only with a lock or a refusal")
            }
            None => {
                step.machine.events.push_back(Event::Until(until));
                let own = (entry.id.clone(), Arc::clone(&waiter));
                step.machine.unfetched.note(until, own.0, own.1);
                Asked::Waits(Arc::clone(&waiter))
            }
        };
        let finished = catch_unwind(AssertUnwindSafe(|| step.finish()));
        if let Err(panicked) = finished {
            // A waker has panicked, and only this call knows of the request.
            if let Asked::Locked(granted) = asked {
                waiter.wait.answer_early(Outcome::Locked(granted));
            }
            self.abandon(entry, &waiter);
            resume_unwind(panicked);
        }
        asked
    }

    /// Withdraws a waiting request. If the lock was granted in the meantime, the thread leaves again.
    pub(crate) fn abandon(&self, entry: &Arc<Entry>, waiter: &Arc<Waiter>) {
        if mutant::is(LockMutant::LeaksWaiter) || self.is_forked() {
            return;
        }
        let Waiter {
            wait,
            entrance,
            names,
            ..
        } = &**waiter;
        let thread = entrance.thread;
        let mut step = self.step();
        step.reattach(entry);
        let was_waiting = entry.lock().state.end_wait(waiter);
        if was_waiting {
            step.call(entry, thread, &Call::Abandon);
        }
        // The result does not matter: if the grant was lost as well, the lock is gone in any case.
        let mut leaves = |held| drop(step.leave_writing(entry, thread, names, None, false, held));
        let (outcome, waker) = wait.close();
        match outcome {
            _ if mutant::is(LockMutant::KeepsUnwantedGrant) => {}
            Some(Outcome::Locked(_)) => leaves(None),
            Some(Outcome::Entered(handed_off)) => {
                leaves(Some(entry.follow(handed_off, *entrance)));
            }
            _ => {}
        }
        step.finish();
        drop(waker);
    }

    /// Takes back locks that were granted and not taken by their deadlines.
    pub(crate) fn take_unfetched(&self) {
        loop {
            let mut step = self.step();
            let now = step.now;
            let Some((id, waiter)) = step.machine.unfetched.next_due(now) else {
                return step.finish();
            };
            let entry = self.map.get(&id);
            if let Some(entry) = entry {
                // Reattached first, so that a handoff that has happened is settled.
                step.reattach(&entry);
                let late = self.refused(&id, Refusal::Deadline);
                if let Some((granted, waker)) = waiter.wait.expire(late) {
                    let held = match granted {
                        Outcome::Entered(handed_off) => {
                            Some(entry.follow(handed_off, waiter.entrance))
                        }
                        _ => None,
                    };
                    let (thread, names) = (waiter.entrance.thread, &waiter.names);
                    // The result does not matter: if the grant was lost as well, the request fails
                    // in any case.
                    let _ = step.leave_writing(&entry, thread, names, None, false, held);
                    step.woken.extend(waker);
                }
            }
            step.finish();
        }
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

    /// Refuses the request of a thread whose deadline has passed, unless it was answered.
    pub(crate) fn end_wait(&self, entry: &Arc<Entry>, thread: ThreadId) {
        let mut step = self.step();
        let timer = Timer::Wait(entry.id.clone(), thread);
        step.run(Input::Timer(timer));
        step.finish();
    }

    /// Returns the entry of the session that a guard is in: the new one, if the guard's rename has been answered.
    pub(crate) fn moved(&self, entry: &Arc<Entry>, ending: Option<&Arc<Wait>>) -> Arc<Entry> {
        match ending.and_then(|wait| self.renamed(wait)) {
            Some(to) => self.map.get_or_make(&to.session),
            None => Arc::clone(entry),
        }
    }

    /// Returns the new grant of a renamed session, if the answer is a rename.
    pub(crate) fn renamed(&self, wait: &Wait) -> Option<GrantRef> {
        if self.is_forked() {
            return None;
        }
        wait.renamed()
    }

    /// Registers a thread for the answer to a call other than a lock, and makes the call. `of` returns the session of
    /// the guard. It is called under the machine's mutex, when no answer of a rename can intervene.
    pub(crate) fn ask_to(
        &self,
        of: impl FnOnce() -> Arc<Entry>,
        thread: ThreadId,
        writes: Option<(&AttributeName, Option<Value>)>,
        call: &Call,
        wait: &Arc<Wait>,
    ) -> Result<(), Error> {
        self.refuse_forked()?;
        let mut step = self.step();
        let entry = &of();
        let kind = Kind::of(call)
            .expect("the callers pass a commit, a destroy or a rename, which are all answered");
        let key = (thread, entry.id.clone(), kind);
        if step.machine.waiting.contains_key(&key) {
            return Err(self.refused(&entry.id, Refusal::AlreadyLocked));
        }
        if let Some((name, value)) = writes {
            let name = name.clone();
            step.call(entry, thread, &Call::Write { name, value });
        }
        step.reattach(entry);
        let session = step.machine.process.session(&entry.id);
        let waiting = Waiting {
            wait: Arc::clone(wait),
            earlier: session.map_or(0, |session| match kind {
                Kind::Commit => session.commits_of(thread),
                _ => 0,
            }),
        };
        step.machine.waiting.insert(key, waiting);
        step.call(entry, thread, call);
        step.finish();
        Ok(())
    }

    /// Withdraws the registration for the answer to a commit.
    pub(crate) fn forget_commit(&self, entry: &Entry, thread: ThreadId, wait: &Wait) {
        if self.is_forked() {
            return;
        }
        let mut step = self.step();
        step.forget(&(thread, entry.id.clone(), Kind::Commit), wait);
        step.finish();
    }

    /// Leaves a session after a pending end or rename, whether or not that has happened.
    pub(crate) fn leave_ending(
        &self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        names: &Names,
        keeps: bool,
        wait: &Wait,
    ) -> Result<(), Error> {
        self.refuse_forked()?;
        let mut step = self.step();
        // In one step: otherwise an answer could arrive in between and be lost.
        step.forget(&(thread, entry.id.clone(), Kind::Ending), wait);
        let result = match wait.take() {
            Some(Outcome::Destroyed) => Ok(()),
            Some(Outcome::Renamed(to)) => {
                let entry = self.map.get_or_make(&to.session);
                step.leave_writing(&entry, thread, names, None, keeps, None)
            }
            _ => step.leave_writing(entry, thread, names, None, keeps, None),
        };
        step.finish();
        result
    }

    /// Writes an attribute through the session.
    pub(crate) fn write(
        &self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        name: &AttributeName,
        value: Option<&Value>,
        held: Option<&mut Held<'_>>,
    ) -> Result<(), Error> {
        self.refuse_forked()?;
        let is_past_lease = self.is_past_lease();
        let mut own = entry.lock();
        if held.is_some() {
            own.close(name);
        }
        if let Some(detached) = &mut own.state.detached
            && !is_past_lease
        {
            return match detached.write(thread, name, value, &self.limits.current()) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Error::NotLocked(Box::new(name.clone()))),
                Err(limited) => Err(Error::Limit(self.limits.exceeded(&entry.id, limited))),
            };
        }
        drop(own);
        let mut step = self.step();
        let call = Call::Write {
            name: name.clone(),
            value: value.cloned(),
        };
        let answer = step.call(entry, thread, &call);
        let lost = step.lost(entry, thread);
        step.finish();
        match (lost, answer) {
            (Some(why), _) => Err(Error::lost(&entry.id, why)),
            (None, Some(Answer::Refused(why))) => Err(self.refused(&entry.id, why)),
            (None, _) => Ok(()),
        }
    }

    /// Leaves attributes that were locked together, through the session.
    pub(crate) fn leave(
        &self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        names: &Names,
        keeps: bool,
        held: Option<Held<'_>>,
    ) -> Result<(), Error> {
        self.refuse_forked()?;
        let written = held.as_ref().and_then(Held::written).filter(|_| keeps);
        let write = match names {
            Names::One(name) => written.map(|value| (name, value)),
            _ => None, // A guard of several attributes writes to the session directly.
        };
        let is_past_lease = self.is_past_lease();
        let mut own = entry.lock();
        if own.state.detached.is_some() && !is_past_lease {
            let now = self.clock.seen();
            let detached =
                own.state.detached.as_mut().expect(
                    "the condition above has found the detached session, under the same mutex",
                );
            let mut result = Ok(());
            if let Some((name, value)) = write
                && let Err(limited) =
                    detached.write(thread, name, value.as_ref(), &self.limits.current())
            {
                result = Err(Error::Limit(self.limits.exceeded(&entry.id, limited)));
            }
            let has_left = detached.leave(now, thread, names, keeps);
            debug_assert!(
                has_left,
                "the thread of a guard is inside its detached session"
            );
            let left = own.let_out(thread, names, held);
            let woken = own.admit(now);
            drop(own);
            woken.wake();
            drop(left);
            return result;
        }
        drop(own);
        self.leave_process(entry, thread, names, write, (keeps, held))
    }

    #[inline(never)]
    fn leave_process(
        &self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        names: &Names,
        write: Option<(&AttributeName, Option<Value>)>,
        (keeps, held): (bool, Option<Held<'_>>),
    ) -> Result<(), Error> {
        let mut step = self.step();
        let result = step.leave_writing(entry, thread, names, write, keeps, held);
        step.finish();
        result
    }

    /// Checks that the grant of a guard of `thread` is still valid. `is_detached` means that the guard's cell is open.
    pub(crate) fn check(
        &self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        is_detached: bool,
    ) -> Result<(), Error> {
        self.refuse_forked()?;
        if is_detached && !self.has_outlived_lease() {
            return Ok(());
        }
        let mut step = self.step();
        step.notice_lease();
        let lost = step.lost(entry, thread);
        step.finish();
        lost.map_or(Ok(()), |why| Err(Error::lost(&entry.id, why)))
    }

    /// Checks that the lease is still valid when a thread takes the guard that was granted to it earlier.
    ///
    /// If the store revoked the grant in the meantime, the check succeeds: the thread was inside when it lost the
    /// grant, and its guard reports the loss.
    #[inline(always)]
    pub(crate) fn still_stands(&self, entry: &Arc<Entry>, waiter: &Waiter) -> Result<(), Error> {
        let is_sure = self.losses.load(Ordering::Relaxed) == waiter.losses && !self.is_past_lease();
        if is_sure || mutant::is(LockMutant::OutlivesLease) {
            return Ok(());
        }
        match self.check(entry, waiter.entrance.thread, false) {
            Err(Error::Revoked(_) | Error::Late(_)) | Ok(()) => Ok(()),
            lost => lost,
        }
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

    /// Records and reports a discarded write set.
    pub(crate) fn discarded(&self, entry: &Entry, discard: Discard) {
        if self.is_forked() {
            return;
        }
        entry.lock().state.note_discard(discard.clone());
        let mut step = self.step();
        step.machine.events.push_back(Event::Discarded(discard));
        step.finish();
    }
}
