//! A step of the process machine: locks the machine, reattaches the sessions concerned, runs the machine, carries out
//! its outputs, detaches sessions again, and wakes threads.

use crate::answers::Destroyed;
use crate::cell::Held;
use crate::content::{Content, Write};
use crate::entry::Entry;
use crate::error::Error;
use crate::event::Event;
use crate::granted::{Granted, Values};
use crate::hub::Hub;
use crate::machine::Machine;
use crate::mutant::{self, LockMutant};
use crate::snapshot::{Discard, Discarded};
use crate::sync::{Arc, MutexGuard, lock};
use crate::wait::{Outcome, Wait, wake_all};
use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::task::Waker;
use tenure_protocol::message::Refusal;
use tenure_protocol::process::{
    Answer, Call, Concerned, Connection, Input, Names, Output, Poison, Timer,
};
use tenure_protocol::{SessionId, ThreadId, Time, ToProcess, Token};

/// One or several steps of the machine, under its mutex. Collects the wakers to wake afterwards.
pub(crate) struct Step<'h> {
    pub(crate) hub: &'h Hub,
    pub(crate) machine: MutexGuard<'h, Machine>,
    pub(crate) now: Time,
    pub(crate) woken: Vec<Waker>,
    /// The sessions that may be detached again afterwards.
    pub(crate) touched: Vec<Arc<Entry>>,
    /// The values of a thread that has left, to be dropped after others have been woken.
    pub(crate) left: Option<[Content; 2]>,
}

/// The kind of call that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Lock,
    Commit,
    Destroy,
    Rename,
}

impl Kind {
    /// Returns the kind of a call, or `None` for a call without an awaited answer.
    fn of(call: &Call) -> Option<Self> {
        match call {
            Call::Lock { .. } => Some(Self::Lock),
            Call::Commit => Some(Self::Commit),
            Call::Destroy => Some(Self::Destroy),
            Call::Rename(_) => Some(Self::Rename),
            Call::Abandon | Call::Write { .. } | Call::Unlock(_) | Call::Discard(_) => None,
        }
    }
}

impl Hub {
    /// Locks the machine for a step.
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
}

impl Step<'_> {
    /// Reattaches a detached session to the machine.
    pub(crate) fn reattach(&mut self, entry: &Arc<Entry>) {
        if self.touched.iter().any(|own| Arc::ptr_eq(own, entry)) {
            return; // The session is detached again only at the end of the step.
        }
        if let Some(detached) = entry.lock().take() {
            self.machine.process.reattach(entry.id.clone(), detached);
        }
        self.touched.push(Arc::clone(entry));
    }

    fn reattach_all(&mut self) {
        for entry in self.hub.map.all() {
            if let Some(detached) = entry.lock().take() {
                self.machine.process.reattach(entry.id.clone(), detached);
            }
            self.touched.push(entry);
        }
    }

    /// Reattaches the sessions that are entangled with a reattached one: the sessions that a search for deadlocks
    /// visits.
    fn reattach_entangled(&mut self, thread: Option<ThreadId>, id: &SessionId) {
        while let Some(other) = self.machine.process.entangled(thread, id)
            && !mutant::is(LockMutant::OverlooksDetached)
        {
            let entry = self
                .hub
                .map
                .get(other)
                .expect("a detached session has an entry in the map");
            self.reattach(&entry);
        }
    }

    /// Reattaches the sessions in which the wait of a thread has ended by `now`.
    pub(crate) fn reattach_waited(&mut self, now: Time) {
        while let Some((end, id)) = self.machine.process.next_wait_end()
            && end <= now
        {
            let entry = self
                .hub
                .map
                .get(id)
                .expect("a detached session has an entry in the map");
            self.reattach(&entry);
        }
    }

    fn reattach_concerned(&mut self, input: &Input) {
        match self.machine.process.concerned(self.now, input) {
            Concerned::All => self.reattach_all(),
            Concerned::These(ids) => {
                for id in &ids {
                    if let Some(entry) = self.hub.map.get(id) {
                        self.reattach(&entry);
                    }
                }
                for id in ids {
                    self.reattach_entangled(None, id);
                }
            }
        }
    }

    /// Runs a step for an input that is no thread's call.
    pub(crate) fn run(&mut self, input: Input) {
        self.reattach_concerned(&input);
        let said = match &input {
            Input::Message {
                link,
                message: ToProcess::Welcome { minor, limits, .. },
            } => Some((*link, (*minor, *limits))),
            _ => None,
        };
        let Machine { process, out, .. } = &mut *self.machine;
        process.step(self.now, input, out);
        // A welcome on an earlier connection is ignored.
        if let Some((link, said)) = said
            && process.connection() == Connection::Up(link)
        {
            self.hub.limits.note(said, process.limits());
        }
        self.deliver(None);
    }

    fn has_outlived_lease(&self) -> bool {
        self.machine
            .process
            .lease()
            .is_some_and(|end| end < self.now)
    }

    /// Ends the lease in the machine if it has passed.
    pub(crate) fn notice_lease(&mut self) {
        if self.has_outlived_lease() {
            self.run(Input::Timer(Timer::Lease));
        }
    }

    /// Runs a thread's call. Returns the machine's immediate answer, unless the thread is registered as waiting for it.
    pub(crate) fn call(
        &mut self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        call: &Call,
    ) -> Option<Answer> {
        if self.has_outlived_lease() {
            self.reattach_all();
        }
        self.reattach(entry);
        self.reattach_entangled(Some(thread), &entry.id);
        let Machine { process, out, .. } = &mut *self.machine;
        process.call(self.now, thread, &entry.id, call, out);
        self.deliver(Some((thread, &entry.id, Kind::of(call))))
    }

    /// Carries out the outputs of the machine. Returns the answer to `own`, the current call, if no wait is registered
    /// for it.
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
                        // The answer to the current call, and not to a registered wait of the
                        // thread.
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

    /// Delivers an answer to the registered wait of a thread. A thread without one gets the answer when it leaves.
    /// `called` is the kind of the current call.
    fn tell(&mut self, thread: ThreadId, id: &SessionId, answer: Answer, called: Option<Kind>) {
        let key = || (thread, id.clone());
        match answer {
            Answer::Locked(token) => self.tell_locker(thread, id, Ok(token)),
            Answer::Committed(version) => {
                let wait = self.machine.commits.next(&key());
                self.answer(wait, Ok(version));
            }
            Answer::Destroyed => {
                let wait = self.machine.destroys.next(&key());
                if wait.is_some() {
                    self.move_guard(thread, id, None);
                }
                self.answer(wait, Ok(Destroyed));
            }
            Answer::Renamed(to) => {
                // The new session is known here from now on, even if the thread has left.
                let entry = self.hub.map.get_or_make(&to.session);
                self.reattach(&entry);
                // A pending commit of the thread moves along, and is answered under the new id.
                let key = key();
                self.machine.commits.rename(&key, to.session.clone());
                let wait = self.machine.renames.next(&key);
                if wait.is_some() {
                    self.move_guard(thread, id, Some(&to.session));
                }
                self.answer(wait, Ok(to));
            }
            Answer::Poisoned(why) => self.tell_lost(thread, id, why),
            Answer::Refused(why) => {
                // The store's refusal of a rename. Every other refusal of the store belongs to a lock.
                let is_rename = why == Refusal::IdTaken;
                let kind = called.unwrap_or(Kind::Lock);
                let kind = if is_rename { Kind::Rename } else { kind };
                self.tell_refused(thread, id, why, kind);
            }
        }
    }

    fn answer<T>(&mut self, wait: Option<Arc<Wait<T>>>, outcome: Outcome<T>) {
        let waker = wait.and_then(|wait| wait.answer(outcome));
        self.woken.extend(waker);
    }

    fn tell_refused(&mut self, thread: ThreadId, id: &SessionId, why: Refusal, kind: Kind) {
        // The process does shut down, and the newer incarnation is the reason.
        let is_superseded = self.machine.process.is_superseded();
        let error = if why == Refusal::ShuttingDown && is_superseded {
            Error::lost(id, Poison::Superseded)
        } else {
            self.hub.refused(id, why)
        };
        let key = || (thread, id.clone());
        match kind {
            Kind::Lock => self.tell_locker(thread, id, Err(error)),
            Kind::Commit => {
                let wait = self.machine.commits.next(&key());
                self.answer(wait, Err(Box::new(error)));
            }
            Kind::Destroy => {
                let wait = self.machine.destroys.next(&key());
                self.answer(wait, Err(Box::new(error)));
            }
            Kind::Rename => {
                let wait = self.machine.renames.next(&key());
                self.answer(wait, Err(Box::new(error)));
            }
        }
    }

    fn tell_lost(&mut self, thread: ThreadId, id: &SessionId, why: Poison) {
        self.note_lost(thread, id, why);
        let key = (thread, id.clone());
        // A thread that has left waits at most for its end or rename. A thread that asks again goes on waiting.
        let session = self.machine.process.session(id);
        if session.is_some_and(|own| own.poison_of(thread).is_some()) {
            self.tell_locker(thread, id, Err(Error::lost(id, why)));
            let commit = self.machine.commits.remove(&key);
            self.answer(commit, Err(Box::new(Error::lost(id, why))));
        }
        let destroy = self.machine.destroys.remove(&key);
        self.answer(destroy, Err(Box::new(Error::lost(id, why))));
        let rename = self.machine.renames.remove(&key);
        self.answer(rename, Err(Box::new(Error::lost(id, why))));
    }

    /// Delivers an answer to a waiting lock request.
    fn tell_locker(&mut self, thread: ThreadId, id: &SessionId, answer: Result<Token, Error>) {
        // In a step that concerns only a few sessions, this finds the entry without the map.
        let mut touched = self.touched.iter().take(4);
        let touched = touched.find(|entry| entry.id == *id).cloned();
        let Some(entry) = touched.or_else(|| self.hub.map.get(id)) else {
            return;
        };
        let mut own = entry.lock();
        let Some(waiter) = own.state.end_waiting(thread) else {
            return;
        };
        let waker = match answer {
            Ok(token) => {
                let granted = self.granted(id, token, &waiter.names);
                own.state.let_in(self.now, &waiter, granted)
            }
            Err(mut error) => {
                if let Error::AlreadyLocked(first) = &mut error {
                    let held = own.place_of(thread, &waiter.names);
                    first.place = held.map(|entrance| entrance.place);
                }
                drop(own);
                waiter.wait.answer(Err(Box::new(error)))
            }
        };
        self.woken.extend(waker);
    }

    /// Returns the locked attributes of a thread in a session that is not detached.
    fn granted(&self, id: &SessionId, token: Token, names: &Names) -> Granted {
        let session = self.machine.process.session(id);
        let slots = session.map(|session| session.slots()).unwrap_or_default();
        let all = slots.iter();
        let all = all.filter_map(|slot| Some((&slot.name, slot.value.as_ref()?)));
        Granted {
            token,
            values: Values::of(names, all),
        }
    }

    /// Moves the guard that has ended or renamed its session: out of the session, or into the renamed one.
    fn move_guard(&self, thread: ThreadId, from: &SessionId, to: Option<&SessionId>) {
        let entry = self.hub.map.get(from);
        let inside = entry.and_then(|entry| entry.lock().state.end_inside(thread, &Names::All));
        if let (Some(inside), Some(to)) = (inside, to) {
            let entry = self.hub.map.get_or_make(to);
            entry.lock().state.note_inside(inside);
        }
    }

    fn note_lost(&mut self, thread: ThreadId, id: &SessionId, why: Poison) {
        let Some(entry) = self.hub.map.get(id) else {
            return;
        };
        self.hub.losses.fetch_add(1, Ordering::Relaxed);
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

    pub(crate) fn lost(&self, entry: &Entry, thread: ThreadId) -> Option<Poison> {
        let session = self.machine.process.session(&entry.id)?;
        session.poison_of(thread)
    }

    pub(crate) fn leave_writing(
        &mut self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        names: &Names,
        write: Write,
        keeps: bool,
        held: Option<Held<'_>>,
    ) -> Result<(), Error> {
        self.notice_lease();
        self.reattach(entry);
        let lost = self.lost(entry, thread);
        let mut result = Ok(());
        // The machine remembers the lost grant of a thread until the last of its guards has left.
        if lost.is_none() || entry.lock().guards_of(thread) <= 1 {
            if let Names::One(name) = names
                && let Some(write) = write.call(name)
            {
                let told = self.call(entry, thread, &write);
                if let Some(Answer::Refused(why)) = told {
                    result = Err(self.hub.refused(&entry.id, why));
                }
            }
            let call = if keeps {
                Call::Unlock(names.clone())
            } else {
                Call::Discard(names.clone())
            };
            let told = self.call(entry, thread, &call);
            if let Some(Answer::Refused(why)) = told {
                result = Err(self.hub.refused(&entry.id, why));
            }
        }
        self.left = entry.lock().let_out(thread, names, held);
        match lost {
            Some(_) if mutant::is(LockMutant::HidesPoison) => Ok(()),
            Some(why) => Err(Error::lost(&entry.id, why)),
            None => result,
        }
    }

    /// Wakes the collected wakers, and then detaches sessions. In this order, since the woken threads have waited
    /// longest.
    pub(crate) fn finish(mut self) {
        self.hub.clock.set_lease(self.machine.process.lease());
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
        let mut result = Ok(());
        if !woken.is_empty() {
            drop(machine);
            result = wake_all(woken);
            drop(left);
            machine = lock(&hub.machine);
        }
        for entry in touched {
            let mut own = entry.lock();
            if own.state.detached.is_none() {
                own.state.detached = machine.process.detach(&entry.id);
            }
            let is_detached = own.state.detached.is_some();
            let last_use = &mut own.state.last_use;
            machine.uses.note(&entry.id, last_use, is_detached);
        }
        drop(machine);
        if let Err(panicked) = result {
            resume_unwind(panicked);
        }
    }
}
