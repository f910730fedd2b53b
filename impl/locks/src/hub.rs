//! The process machine behind its lock, and everything that needs it: waiting, messages, timers, and sessions that are not
//! detached.
//!
//! Locks are taken in this order: the machine's, a shard's of the map, a session's. A session is detached and reattached only
//! under the machine's and its own; so under the machine's lock it stays where it is unless it is taken back here.

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

/// What all handles share.
pub(crate) struct Hub {
    pub(crate) machine: Mutex<Machine>,
    pub(crate) map: Map,
    pub(crate) clock: Clock,
    pub(crate) limits: Agreed,
    /// Names of attributes that threads have used: most sessions have the same ones, so each is kept once.
    names: Mutex<HashSet<AttributeName>>,
    /// How often a thread inside has lost its grant. Changes under the machine's lock.
    pub(crate) losses: AtomicU64,
}

/// How the process answered a lock.
pub(crate) enum Asked {
    Locked(Box<Granted>),
    Refused(Error),
    Waits(Arc<Waiter>),
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive() // Everybody's ids and values are in there.
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

    /// Whether this OS process is a child, by `fork`, of the one that made this. Then another thread may have held any lock at
    /// the fork, and no thread will release it: every caller looks here before it takes a lock.
    #[inline(always)]
    pub(crate) fn is_forked(&self) -> bool {
        self.clock.is_forked()
    }

    /// Refuses whatever a child of a `fork` asks for.
    #[inline(always)]
    pub(crate) fn refuse_forked(&self) -> Result<(), Error> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        Ok(())
    }

    /// What is kept of a session, from now on if it was not before. A child of a `fork` gets what nobody else has.
    #[inline]
    pub(crate) fn entry(&self, id: &SessionId) -> Arc<Entry> {
        if self.is_forked() {
            return Arc::new(Entry::new(id.clone()));
        }
        self.map.get_or_make(id)
    }

    /// An attribute's name.
    pub(crate) fn name(&self, name: &[u8]) -> Result<AttributeName, Error> {
        /// An application has few; whoever makes names up as it goes keeps its own.
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

    /// Whether the lease has ended by the exact clock.
    pub(crate) fn has_outlived_lease(&self) -> bool {
        self.clock.is_past_lease(self.clock.now())
    }

    /// Whether the lease has ended by the coarse clock.
    #[inline(always)]
    pub(crate) fn is_past_lease(&self) -> bool {
        self.clock.is_past_lease(self.clock.coarse())
    }

    /// Lets a thread into one attribute without the process, if it can. One that wants only an `existing` session has to ask the
    /// process, unless the session is known to exist.
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

    /// Lets a thread into several attributes without the process, as [`Hub::enter_one`].
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

    /// Returns what a refusal means to a thread.
    pub(crate) fn refused(&self, session: &SessionId, why: Refusal) -> Error {
        Error::refused(session, why, &self.limits)
    }

    /// Locks a session for a thread that uses it, and notes a use that the order of use does not know yet. A thread that wants only an
    /// `existing` session does not enter one that may not exist.
    #[inline(always)]
    fn use_session<'e, R>(
        &self,
        entry: &'e Entry,
        existing: bool,
        enter: impl FnOnce(&mut Locked<'e>) -> Option<R>,
    ) -> Option<R> {
        let mut own = entry.lock();
        let wakes = own.state.wakes();
        let enters = !existing || own.exists();
        let entered = enters.then(|| enter(&mut own)).flatten();
        drop(own);
        if wakes {
            self.map.note(&entry.id);
        }
        entered
    }

    /// Asks the process for a lock.
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
        // From here on nobody lets it in who is not in this step.
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
            // Not in a cell: it has not waited.
            Some(_) => unreachable!("a lock is answered by a lock or a refusal"),
            None => {
                step.machine.events.push_back(Event::Until(until));
                let own = (entry.id.clone(), Arc::clone(&waiter));
                step.machine.unfetched.note(until, own.0, own.1);
                Asked::Waits(Arc::clone(&waiter))
            }
        };
        let finished = catch_unwind(AssertUnwindSafe(|| step.finish()));
        if let Err(panicked) = finished {
            // A waker has panicked, and nobody but this knows of the request.
            if let Asked::Locked(granted) = asked {
                waiter.wait.answer_early(Outcome::Locked(granted));
            }
            self.abandon(entry, &waiter);
            resume_unwind(panicked);
        }
        asked
    }

    /// A thread no longer waits for a lock. If it was let in meanwhile it leaves again.
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
        // Nobody waits for the result: if the grant was lost as well, it is gone either way.
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

    /// Takes locks back that were granted and not fetched by their deadlines.
    pub(crate) fn take_unfetched(&self) {
        loop {
            let mut step = self.step();
            let now = step.now;
            let Some((id, waiter)) = step.machine.unfetched.next_due(now) else {
                return step.finish();
            };
            let entry = self.map.get(&id);
            if let Some(entry) = entry {
                // First, so that a handoff that has happened is noted.
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
                    // If the grant was lost as well, the request fails either way.
                    let _ = step.leave_writing(&entry, thread, names, None, false, held);
                    step.woken.extend(waker);
                }
            }
            step.finish();
        }
    }

    /// Refuses to put this OS thread to sleep for a lock where the host says so.
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

    /// A thread's wait has passed its deadline: refuses it, unless it was answered.
    pub(crate) fn end_wait(&self, entry: &Arc<Entry>, thread: ThreadId) {
        let mut step = self.step();
        let timer = Timer::Wait(entry.id.clone(), thread);
        step.run(Input::Timer(timer));
        step.finish();
    }

    /// What is kept of the session in which a guard is, after what it may have been answered.
    pub(crate) fn moved(&self, entry: &Arc<Entry>, ending: Option<&Arc<Wait>>) -> Arc<Entry> {
        match ending.and_then(|wait| self.renamed(wait)) {
            Some(to) => self.map.get_or_make(&to.session),
            None => Arc::clone(entry),
        }
    }

    /// What a session is since it was renamed, if that is the answer.
    pub(crate) fn renamed(&self, wait: &Wait) -> Option<GrantRef> {
        if self.is_forked() {
            return None;
        }
        wait.renamed()
    }

    /// A thread waits for the answer to a call that is not a lock. Which session it is in is asked `of` it when no answer can come
    /// in between that says that it has moved.
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
        let kind = Kind::of(call).expect("a call that is answered");
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

    /// A thread no longer waits for the answer to a commit.
    pub(crate) fn forget_commit(&self, entry: &Entry, thread: ThreadId, wait: &Wait) {
        if self.is_forked() {
            return;
        }
        let mut step = self.step();
        step.forget(&(thread, entry.id.clone(), Kind::Commit), wait);
        step.finish();
    }

    /// Lets a thread out of a session that it has wanted to end or to rename, whether that has happened or not.
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
        // In one step: afterwards no answer can come that nobody takes.
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

    /// Writes an attribute by way of the session.
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

    /// Lets a thread out of attributes that it locked together, by way of the session.
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
            _ => None, // Of several, what is written is in the session at once.
        };
        let is_past_lease = self.is_past_lease();
        let mut own = entry.lock();
        if own.state.detached.is_some() && !is_past_lease {
            let now = self.clock.seen();
            let detached = own.state.detached.as_mut().expect("just seen");
            let mut result = Ok(());
            if let Some((name, value)) = write
                && let Err(limited) =
                    detached.write(thread, name, value.as_ref(), &self.limits.current())
            {
                result = Err(Error::Limit(self.limits.exceeded(&entry.id, limited)));
            }
            let has_left = detached.leave(now, thread, names, keeps);
            debug_assert!(has_left, "a guard of a detached session is inside");
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

    /// Whether the grant under which `thread` is inside still stands. `is_detached`: nothing has been taken back.
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

    /// Whether the lease still stands when a thread that was let in while it did something else comes for its guard.
    ///
    /// A thread whose grant was revoked meanwhile gets its guard, which says so: it was let in, and then it lost the grant.
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

    /// What `thread`, which is inside, sees in an attribute that is not handed out.
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
        // Looked at anew: it may have been detached again in between, and is not while the machine is locked.
        if let Some(detached) = &entry.lock().state.detached {
            return detached.value(thread, name).cloned();
        }
        let session = machine.process.session(&entry.id)?;
        session.value(thread, name).cloned()
    }

    /// The sessions that somebody may be inside of or wait for.
    pub(crate) fn awake(&self) -> Vec<Arc<Entry>> {
        let machine = self.machine();
        let mut ids: BTreeSet<SessionId> = machine.uses.awake().cloned().collect();
        ids.extend(self.map.noted());
        drop(machine);
        ids.iter().filter_map(|id| self.map.get(id)).collect()
    }

    /// Who is inside a session, and who waits.
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

    /// See [`Locks::sweep`](crate::Locks::sweep).
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

    /// See [`Locks::idle`](crate::Locks::idle).
    pub(crate) fn idle(
        &self,
        cached: Cached,
        unused_ms: u64,
        max: usize,
    ) -> Vec<(Time, SessionId)> {
        let now = self.clock.now();
        let mut machine = self.machine();
        // When all are in use, none is idle, and no more than so many are looked at to find that.
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
            // If not, it was used since, and comes later.
            if machine.uses.has(cached, &first) {
                if !is_used {
                    idle.push(first.clone());
                }
                after = Some(first);
            }
        }
        idle
    }

    /// Finds out what a session is now, gives back memory that it does not need when it is unused for so long, and forgets it when
    /// nothing is known of it. Answers whether a thread is inside.
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
            let before = own.state.class;
            drop(own);
            let (mut class, used) = found.unwrap_or((Class::Other, now));
            let is_unused = !is_used && now.since(used) >= unused_ms;
            let folds = class == Class::Copy || class == Class::Warm && is_unused;
            // Looked at anew: whoever came by id has had an owner until it went in, and counts as none since.
            if let Some(entry) = Arc::get_mut(entry)
                && !entry.lock().is_used()
            {
                if found.is_none() {
                    let mut own = entry.lock();
                    uses.put(id, &mut own.state, Class::New, Time::ZERO);
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
            own.state.is_noted = false;
            uses.put(id, &mut own.state, class, used);
            true
        });
        is_used
    }

    /// Whether the grant of a session is recalled.
    pub(crate) fn is_recalled(&self, entry: &Entry) -> bool {
        if self.is_past_lease() {
            return true;
        }
        if entry.lock().state.detached.is_some() {
            return false;
        }
        let machine = self.machine();
        // Looked at anew: it may have been detached again in between, and is not while the machine is locked.
        if entry.lock().state.detached.is_some() {
            return false;
        }
        let session = machine.process.session(&entry.id);
        session
            .and_then(|session| session.grant())
            .is_none_or(|grant| grant.recall.is_some() || grant.give_back)
    }

    /// Notes that a write set was discarded.
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
