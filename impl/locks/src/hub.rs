//! The process machine behind its lock, and everything that needs it: waiting, messages, timers, and sessions that are not
//! lent.
//!
//! Locks are taken in this order: the machine's, a shard's of the map, a session's. A session is lent and taken back only
//! under the machine's and its own; so under the machine's lock it stays where it is unless it is taken back here.

use crate::cell::{Entrance, Held};
use crate::clock::Clock;
use crate::content::Content;
use crate::entry::{Entered, Entry, Granted, Inside, has};
use crate::error::{Error, First};
use crate::event::Event;
use crate::fault::{self, Fault};
use crate::map::Map;
use crate::snapshot::{Busy, Discard, Discarded, Holder};
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use crate::wait::{Outcome, Wait};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::{Patience, Refusal};
use tenure_protocol::process::{Answer, Call, Concerned, Input, Names, Output, Poison, Timer};
use tenure_protocol::{
    AttributeName, Incarnation, Limits, Process, ProcessSettings, SessionId, Settings, ThreadId,
    Time,
};

/// What all handles share.
#[derive(Debug)]
pub(crate) struct Hub {
    machine: Mutex<Machine>,
    pub(crate) map: Map,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    /// Names of attributes that threads have used: most sessions have the same ones, so each is kept once.
    names: Mutex<HashSet<AttributeName>>,
    /// When the lease ends; the largest number when there is none. For those who only ask.
    lease: AtomicU64,
}

/// What stands behind the lock.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) process: Process,
    /// Who waits for an answer of the process.
    waiting: BTreeMap<Key, Waiting>,
    pub(crate) events: VecDeque<Event>,
    /// The outputs of a step, empty between steps: its memory is kept.
    out: Vec<Output>,
    /// Who takes the events out.
    pub(crate) driver: Option<Waker>,
}

/// A thread may have a guard and a request in a session at once, and use both: it waits once for each kind of thing.
type Key = (ThreadId, SessionId, Kind);

/// What an answer is awaited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Lock,
    Commit,
    /// The end of the session, or its new id.
    Ending,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Lock, Self::Commit, Self::Ending];

    /// Of a call; `None` when nobody waits for its answer.
    fn of(call: &Call) -> Option<Self> {
        match call {
            Call::Lock { .. } => Some(Self::Lock),
            Call::Commit => Some(Self::Commit),
            Call::Destroy | Call::Rename(_) => Some(Self::Ending),
            Call::Abandon | Call::Write { .. } | Call::Unlock(_) | Call::Discard(_) => None,
        }
    }
}

#[derive(Debug)]
struct Waiting {
    wait: Arc<Wait>,
    /// What it wants to lock, and from where; `None` when it waits for something else.
    locks: Option<(Names, Entrance)>,
    /// How many answers come first, to earlier commits of the thread that nobody waits for any more.
    earlier: usize,
}

/// A step of the process, or several: the machine is locked, and whom to wake is remembered until it is not.
pub(crate) struct Step<'h> {
    hub: &'h Hub,
    pub(crate) machine: MutexGuard<'h, Machine>,
    now: Time,
    woken: Vec<Waker>,
    /// What may be lent again afterwards.
    touched: Vec<Arc<Entry>>,
    /// What a thread that left leaves behind: to be dropped when others have been woken.
    left: Option<[Content; 2]>,
}

/// How the process answered a lock.
pub(crate) enum Asked {
    Locked(Granted),
    Refused(Error),
    Waits(Arc<Wait>),
}

impl Hub {
    pub(crate) fn new(settings: ProcessSettings, incarnation: Incarnation, clock: Clock) -> Self {
        let limits = settings.limits.clone();
        Self {
            machine: Mutex::new(Machine {
                process: Process::new(Settings::new(settings), incarnation),
                waiting: BTreeMap::new(),
                events: VecDeque::new(),
                out: Vec::new(),
                driver: None,
            }),
            map: Map::new(),
            names: Mutex::new(HashSet::new()),
            clock,
            limits,
            lease: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    /// An attribute's name.
    pub(crate) fn name(&self, name: &[u8]) -> Result<AttributeName, Error> {
        /// An application has few; whoever makes names up as it goes keeps its own.
        const NAMES_MAX: usize = 1_024;
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

    /// Whether the lease has ended by the clock, which is looked at.
    pub(crate) fn has_outlived_lease(&self) -> bool {
        self.clock.now().0 > self.lease.load(Ordering::Relaxed)
    }

    /// Lets a thread into one attribute without the process, if it can.
    pub(crate) fn enter_one<'e>(
        &self,
        entry: &'e Entry,
        name: &AttributeName,
        entrance: Entrance,
    ) -> Option<Entered<'e>> {
        if self.has_outlived_lease() {
            return None;
        }
        entry.lock().enter_one(name, entrance, &self.limits)
    }

    /// Lets a thread into several attributes without the process, if it can.
    pub(crate) fn enter_session(
        &self,
        entry: &Entry,
        names: &Names,
        entrance: Entrance,
    ) -> Option<Granted> {
        if self.has_outlived_lease() {
            return None;
        }
        entry.lock().enter_session(names, entrance)
    }

    /// Asks the process for a lock.
    pub(crate) fn ask(
        &self,
        entry: &Arc<Entry>,
        names: &Names,
        entrance: Entrance,
        (patience, until): (Patience, Time),
    ) -> Asked {
        let thread = entrance.thread;
        let mut step = self.step();
        let key = (thread, entry.id.clone(), Kind::Lock);
        if step.machine.waiting.contains_key(&key) {
            return Asked::Refused(Error::refused(&entry.id, Refusal::AlreadyLocked));
        }
        let wait = Arc::new(Wait::default());
        let waiting = Waiting {
            wait: Arc::clone(&wait),
            locks: Some((names.clone(), entrance)),
            earlier: 0,
        };
        step.machine.waiting.insert(key, waiting);
        let call = Call::Lock {
            names: names.clone(),
            patience,
            until,
        };
        step.call(entry, thread, &call);
        let asked = match wait.take() {
            Some(Outcome::Locked(granted)) => Asked::Locked(granted),
            Some(Outcome::Failed(error)) => Asked::Refused(error),
            Some(_) => unreachable!("a lock is answered by a lock or a refusal"),
            None => {
                step.machine.events.push_back(Event::Until(until));
                Asked::Waits(wait)
            }
        };
        step.finish();
        asked
    }

    /// A thread no longer waits for a lock. If it was let in meanwhile it leaves again.
    pub(crate) fn abandon(&self, entry: &Arc<Entry>, names: &Names, thread: ThreadId, wait: &Wait) {
        if fault::is_made(Fault::LeaksWaiter) {
            return;
        }
        let mut step = self.step();
        let key = (thread, entry.id.clone(), Kind::Lock);
        if step.is_waiting(&key, wait) {
            step.machine.waiting.remove(&key);
            step.call(entry, thread, &Call::Abandon);
        }
        if let Some(Outcome::Locked(_)) = wait.take()
            && !fault::is_made(Fault::KeepsUnwantedGrant)
        {
            step.leave(entry, thread, names, false);
        }
        step.finish();
    }

    /// A thread's wait has passed its deadline: refuses it, unless it was answered.
    pub(crate) fn end_wait(&self, entry: &Arc<Entry>, thread: ThreadId) {
        let mut step = self.step();
        let timer = Timer::Wait(entry.id.clone(), thread);
        step.run(Input::Timer(timer));
        step.finish();
    }

    /// A thread waits for the answer to a call that is not a lock.
    pub(crate) fn ask_to(
        &self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        writes: Option<(&AttributeName, Option<Value>)>,
        call: &Call,
    ) -> Result<Arc<Wait>, Error> {
        let wait = Arc::new(Wait::default());
        let mut step = self.step();
        let kind = Kind::of(call).expect("a call that is answered");
        let key = (thread, entry.id.clone(), kind);
        if step.machine.waiting.contains_key(&key) {
            return Err(Error::refused(&entry.id, Refusal::AlreadyLocked));
        }
        if let Some((name, value)) = writes {
            let name = name.clone();
            step.call(entry, thread, &Call::Write { name, value });
        }
        step.bring_back(entry);
        let session = step.machine.process.session(&entry.id);
        let waiting = Waiting {
            wait: Arc::clone(&wait),
            locks: None,
            earlier: session.map_or(0, |session| match kind {
                Kind::Commit => session.commits_of(thread),
                _ => 0,
            }),
        };
        step.machine.waiting.insert(key, waiting);
        step.call(entry, thread, call);
        step.finish();
        Ok(wait)
    }

    /// A thread no longer waits for the answer to a commit.
    pub(crate) fn forget_commit(&self, entry: &Entry, thread: ThreadId, wait: &Wait) {
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
        let mut own = entry.lock();
        if held.is_some() {
            own.close(name);
        }
        if let Some(lent) = &mut own.state.lent {
            return match lent.write(thread, name, value, &self.limits) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Error::NotLocked(Box::new(name.clone()))),
                Err(limited) => Err(Error::Limit(Box::new(entry.id.clone()), limited)),
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
            (None, Some(Answer::Refused(why))) => Err(Error::refused(&entry.id, why)),
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
        let written = held.as_ref().and_then(Held::written).filter(|_| keeps);
        let write = match names {
            Names::One(name) => written.map(|value| (name, value)),
            _ => None, // Of several, what is written is in the session at once.
        };
        let mut own = entry.lock();
        if own.state.lent.is_some() {
            let now = self.clock.coarse();
            let lent = own.state.lent.as_mut().expect("just seen");
            let mut result = Ok(());
            if let Some((name, value)) = write
                && let Err(limited) = lent.write(thread, name, value.as_ref(), &self.limits)
            {
                result = Err(Error::Limit(Box::new(entry.id.clone()), limited));
            }
            let has_left = lent.leave(now, thread, names, keeps);
            debug_assert!(has_left, "a guard of a lent session is inside");
            drop(own.let_out(thread, names, held));
            return result;
        }
        drop(own);
        let mut step = self.step();
        let result = step.leave_writing(entry, thread, names, write, keeps, held);
        step.finish();
        result
    }

    /// Whether the grant under which `thread` is inside still stands. `is_lent`: nothing has been taken back.
    pub(crate) fn check(
        &self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        is_lent: bool,
    ) -> Result<(), Error> {
        if is_lent && !self.has_outlived_lease() {
            return Ok(());
        }
        let mut step = self.step();
        step.notice_lease();
        let lost = step.lost(entry, thread);
        step.finish();
        lost.map_or(Ok(()), |why| Err(Error::lost(&entry.id, why)))
    }

    /// What `thread`, which is inside, sees in an attribute that is not handed out.
    pub(crate) fn value(
        &self,
        entry: &Entry,
        thread: ThreadId,
        name: &AttributeName,
    ) -> Option<Value> {
        if let Some(lent) = &entry.lock().state.lent {
            return lent.value(thread, name).cloned();
        }
        let machine = self.machine();
        machine
            .process
            .session(&entry.id)?
            .value(thread, name)
            .cloned()
    }

    /// Who is inside a session, and who waits.
    pub(crate) fn busy(&self, entry: &Entry) -> Busy {
        let own = entry.lock();
        let others = own.state.inside().iter();
        let others = others.map(|inside| (inside.names.clone(), inside.entrance));
        let mut inside: Vec<_> = others.collect();
        let users = entry.users();
        inside.extend(users.map(|(name, entrance)| (Names::One(name.clone()), entrance)));
        drop(own);
        let holders = inside.into_iter().map(|(names, entrance)| Holder {
            thread: entrance.thread,
            names,
            since: entrance.now,
            place: entrance.place,
        });
        let machine = self.machine();
        let session = machine.process.session(&entry.id);
        let waiters =
            session.map(|session| session.lock().waiters().map(|claim| claim.thread).collect());
        Busy {
            session: entry.id.clone(),
            holders: holders.collect(),
            waiters: waiters.unwrap_or_default(),
        }
    }

    /// See [`Locks::sweep`](crate::Locks::sweep).
    pub(crate) fn sweep(&self, unused_ms: u64) {
        let now = self.clock.now();
        let mut machine = self.machine();
        let Machine {
            process, events, ..
        } = &mut *machine;
        self.map.sweep(|entry| {
            let own = entry.lock();
            let used = own.used().filter(|_| !own.is_used());
            let is_idle = used.is_some_and(|used| now.since(used) >= unused_ms);
            let is_known =
                own.state.lent.is_some() || own.is_used() || process.session(&entry.id).is_some();
            drop(own);
            if let (true, Some(since)) = (is_idle, used) {
                let session = entry.id.clone();
                events.push_back(Event::Idle { session, since });
            }
            let Some(entry) = Arc::get_mut(entry) else {
                return true; // Somebody has a handle.
            };
            if is_idle && entry.has_cells() {
                entry.fold();
            }
            is_known
        });
        let driver = if events.is_empty() {
            None
        } else {
            machine.driver.take()
        };
        drop(machine);
        driver.into_iter().for_each(Waker::wake);
    }

    /// Whether the grant of a session is recalled.
    pub(crate) fn is_recalled(&self, entry: &Entry) -> bool {
        if entry.lock().state.lent.is_some() {
            return false;
        }
        let machine = self.machine();
        let session = machine.process.session(&entry.id);
        session
            .and_then(|session| session.grant())
            .is_none_or(|grant| grant.recall.is_some() || grant.give_back)
    }

    /// Notes that a write set was discarded.
    pub(crate) fn discarded(&self, entry: &Entry, discard: Discard) {
        entry.lock().state.note_discard(discard.clone());
        let mut step = self.step();
        step.machine.events.push_back(Event::Discarded(discard));
        step.finish();
    }
}

impl Machine {
    /// Takes the next event out; memory that many events needed is given back when there is none.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            self.events.shrink_to(64);
        }
        event
    }
}

impl Step<'_> {
    /// Puts a session that is lent back into the process.
    fn bring_back(&mut self, entry: &Arc<Entry>) {
        if self.touched.iter().any(|own| Arc::ptr_eq(own, entry)) {
            return; // It is lent again only at the end.
        }
        if let Some(lent) = entry.lock().take() {
            self.machine.process.take_back(entry.id.clone(), lent);
        }
        self.touched.push(Arc::clone(entry));
    }

    fn bring_back_all(&mut self) {
        for entry in self.hub.map.all() {
            if let Some(lent) = entry.lock().take() {
                self.machine.process.take_back(entry.id.clone(), lent);
            }
            self.touched.push(entry);
        }
    }

    fn bring_back_concerned(&mut self, input: &Input) {
        match self.machine.process.concerned(self.now, input) {
            Concerned::All => self.bring_back_all(),
            Concerned::These(ids) => {
                for id in ids {
                    if let Some(entry) = self.hub.map.get(id) {
                        self.bring_back(&entry);
                    }
                }
            }
        }
    }

    /// A step that no thread asks for.
    pub(crate) fn run(&mut self, input: Input) {
        self.bring_back_concerned(&input);
        let Machine { process, out, .. } = &mut *self.machine;
        process.step(self.now, input, out);
        self.deliver(None);
    }

    fn has_outlived_lease(&self) -> bool {
        self.machine
            .process
            .lease()
            .is_some_and(|end| end < self.now)
    }

    /// Ends the lease if it is over.
    fn notice_lease(&mut self) {
        if self.has_outlived_lease() {
            self.run(Input::Timer(Timer::Lease));
        }
    }

    /// A thread's call; answers what the process says to it at once, unless the thread is registered as waiting.
    pub(crate) fn call(
        &mut self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        call: &Call,
    ) -> Option<Answer> {
        if self.has_outlived_lease() {
            self.bring_back_all();
        }
        self.bring_back(entry);
        let Machine { process, out, .. } = &mut *self.machine;
        process.call(self.now, thread, &entry.id, call, out);
        self.deliver(Some((thread, &entry.id, Kind::of(call))))
    }

    /// Carries out what the process put out; gives back what `own` is told that does not wait.
    fn deliver(&mut self, own: Option<(ThreadId, &SessionId, Option<Kind>)>) -> Option<Answer> {
        let mut told = None;
        let mut out = std::mem::take(&mut self.machine.out);
        for output in out.drain(..) {
            match output {
                Output::Send { link, message } => {
                    self.machine.events.push_back(Event::Send { link, message });
                }
                Output::Disconnect { link } => {
                    self.machine.events.push_back(Event::Disconnect { link });
                }
                Output::Answer {
                    thread,
                    session,
                    answer,
                } => {
                    let own = own.filter(|own| (own.0, own.1) == (thread, &session));
                    match (own, &answer) {
                        // Not to what it waits for, but to what it has just called.
                        (Some((_, _, None)), Answer::Refused(_)) if told.is_none() => {
                            told = Some(answer);
                        }
                        (own, _) => {
                            let called = own.and_then(|(_, _, kind)| kind);
                            self.tell(thread, &session, answer, called);
                        }
                    }
                }
            }
        }
        out.shrink_to(64);
        self.machine.out = out;
        told
    }

    /// Answers whoever waits for this; who does not is told when it leaves. `called` is what the thread has just called.
    fn tell(&mut self, thread: ThreadId, id: &SessionId, answer: Answer, called: Option<Kind>) {
        let key = |kind| (thread, id.clone(), kind);
        let kind = match answer {
            Answer::Poisoned(why) => {
                self.note_lost(thread, id, why);
                // One that has left waits at most for what it did to the whole session; if it asks again it goes on waiting.
                let session = self.machine.process.session(id);
                let is_lost = session.is_some_and(|own| own.poison_of(thread).is_some());
                let kinds = if is_lost {
                    &Kind::ALL[..]
                } else {
                    &[Kind::Ending]
                };
                for &kind in kinds {
                    if let Some(waiting) = self.machine.waiting.remove(&key(kind)) {
                        self.answer(thread, id, answer.clone(), &waiting);
                    }
                }
                return;
            }
            Answer::Locked(_) => Kind::Lock,
            Answer::Committed(_) => Kind::Commit,
            Answer::Destroyed => Kind::Ending,
            Answer::Renamed(ref to) => {
                // Known here from now on, also when the thread has left.
                let entry = self.hub.map.get_or_make(&to.session);
                self.bring_back(&entry);
                Kind::Ending
            }
            // What the store answers to a rename; all else that it refuses is a lock.
            Answer::Refused(Refusal::IdTaken) => Kind::Ending,
            Answer::Refused(_) => called.unwrap_or(Kind::Lock),
        };
        let key = key(kind);
        match self.machine.waiting.get_mut(&key) {
            Some(Waiting { earlier, .. }) if *earlier > 0 => *earlier -= 1,
            Some(_) => {
                let waiting = self.machine.waiting.remove(&key).expect("just seen");
                self.answer(thread, id, answer, &waiting);
            }
            None => {}
        }
    }

    fn answer(&mut self, thread: ThreadId, id: &SessionId, answer: Answer, waiting: &Waiting) {
        let outcome = match answer {
            Answer::Locked(token) => {
                let (names, entrance) = waiting.locks.as_ref().expect("it asked for a lock");
                Outcome::Locked(self.grant(id, token, names, *entrance))
            }
            Answer::Committed(version) => Outcome::Committed(version),
            Answer::Destroyed => {
                self.move_guard(thread, id, None);
                Outcome::Destroyed
            }
            Answer::Renamed(to) => {
                self.move_guard(thread, id, Some(&to.session));
                Outcome::Renamed(to)
            }
            Answer::Poisoned(why) => Outcome::Failed(Error::lost(id, why)),
            Answer::Refused(Refusal::AlreadyLocked) => {
                let names = waiting.locks.as_ref().map(|(names, _)| names);
                Outcome::Failed(self.already_locked(thread, id, names))
            }
            Answer::Refused(why) => Outcome::Failed(Error::refused(id, why)),
        };
        self.woken.extend(waiting.wait.answer(outcome));
    }

    /// A thread was let in: its guard is counted from here, whenever it comes for it.
    fn grant(
        &mut self,
        id: &SessionId,
        token: tenure_protocol::Token,
        names: &Names,
        entrance: Entrance,
    ) -> Granted {
        let touched = self.touched.iter().find(|entry| entry.id == *id).cloned();
        if let Some(entry) = touched.or_else(|| self.hub.map.get(id)) {
            let names = names.clone();
            // It may have waited: it is inside from now on.
            let entrance = Entrance {
                now: self.now,
                ..entrance
            };
            entry.lock().state.note_inside(Inside { names, entrance });
        }
        let session = self.machine.process.session(id);
        let slots = session.map(|session| session.slots()).unwrap_or_default();
        let values = slots.iter().filter(|slot| has(names, &slot.name));
        let values = values.filter_map(|slot| Some((slot.name.clone(), slot.value.clone()?)));
        Granted {
            token,
            values: values.collect(),
        }
    }

    /// The guard that has ended its session is no longer inside, or inside another.
    fn move_guard(&self, thread: ThreadId, from: &SessionId, to: Option<&SessionId>) {
        let entry = self.hub.map.get(from);
        let inside = entry.and_then(|entry| entry.lock().forget(thread, &Names::All));
        if let (Some(inside), Some(to)) = (inside, to) {
            let entry = self.hub.map.get_or_make(to);
            entry.lock().state.note_inside(inside);
        }
    }

    fn already_locked(&self, thread: ThreadId, id: &SessionId, names: Option<&Names>) -> Error {
        let entry = self.hub.map.get(id);
        let place = entry.zip(names).and_then(|(entry, names)| {
            let own = entry.lock();
            own.place_of(thread, names).map(|entrance| entrance.place)
        });
        Error::AlreadyLocked(Box::new(First {
            session: id.clone(),
            place,
        }))
    }

    fn note_lost(&mut self, thread: ThreadId, id: &SessionId, why: Poison) {
        let Some(entry) = self.hub.map.get(id) else {
            return;
        };
        let mut own = entry.lock();
        let discard = Discard {
            session: id.clone(),
            thread,
            place: own
                .place_of(thread, &Names::All)
                .map(|entrance| entrance.place),
            why: Discarded::Lost(why),
        };
        own.state.note_discard(discard.clone());
        self.machine.events.push_back(Event::Discarded(discard));
    }

    /// Whether it is this wait that is registered.
    fn is_waiting(&self, key: &Key, wait: &Wait) -> bool {
        let waiting = self.machine.waiting.get(key);
        waiting.is_some_and(|waiting| std::ptr::eq(&*waiting.wait, wait))
    }

    /// Nobody waits for this any more.
    fn forget(&mut self, key: &Key, wait: &Wait) {
        if self.is_waiting(key, wait) {
            self.machine.waiting.remove(key);
        }
    }

    fn lost(&self, entry: &Entry, thread: ThreadId) -> Option<Poison> {
        let session = self.machine.process.session(&entry.id)?;
        session.poison_of(thread)
    }

    fn leave(&mut self, entry: &Arc<Entry>, thread: ThreadId, names: &Names, keeps: bool) {
        // Nobody waits for the result: if the grant was lost as well, it is gone either way.
        drop(self.leave_writing(entry, thread, names, None, keeps, None));
    }

    fn leave_writing(
        &mut self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        names: &Names,
        write: Option<(&AttributeName, Option<Value>)>,
        keeps: bool,
        held: Option<Held<'_>>,
    ) -> Result<(), Error> {
        self.bring_back(entry);
        let lost = self.lost(entry, thread);
        let mut result = Ok(());
        // A thread that has lost the grant is remembered until the last of its guards has left.
        if lost.is_none() || entry.lock().guards_of(thread) <= 1 {
            if let Some((name, value)) = write {
                let name = name.clone();
                let told = self.call(entry, thread, &Call::Write { name, value });
                if let Some(Answer::Refused(why)) = told {
                    result = Err(Error::refused(&entry.id, why));
                }
            }
            let call = if keeps {
                Call::Unlock(names.clone())
            } else {
                Call::Discard(names.clone())
            };
            let told = self.call(entry, thread, &call);
            if let Some(Answer::Refused(why)) = told {
                result = Err(Error::refused(&entry.id, why));
            }
        }
        self.left = entry.lock().let_out(thread, names, held);
        match lost {
            Some(_) if fault::is_made(Fault::HidesPoison) => Ok(()),
            Some(why) => Err(Error::lost(&entry.id, why)),
            None => result,
        }
    }

    /// Wakes whom there is to wake, and lends what can be lent. In this order: who sleeps has waited longest.
    pub(crate) fn finish(mut self) {
        let lease = self.machine.process.lease();
        let lease = lease.map_or(u64::MAX, |end| end.0);
        self.hub.lease.store(lease, Ordering::Relaxed);
        if !self.machine.events.is_empty() {
            self.woken.extend(self.machine.driver.take());
        }
        let Self {
            hub,
            mut machine,
            woken,
            touched,
            left,
            ..
        } = self;
        if !woken.is_empty() {
            drop(machine);
            woken.into_iter().for_each(Waker::wake);
            drop(left);
            machine = lock(&hub.machine);
        }
        for entry in touched {
            let mut own = entry.lock();
            if own.state.lent.is_none() {
                own.state.lent = machine.process.lend(&entry.id);
            }
        }
    }
}
