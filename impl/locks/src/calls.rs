//! The calls of threads and guards that need the machine: waits, writes, and leaving a session that is not detached.

use crate::answers::{Destroyed, Ending};
use crate::cell::Held;
use crate::content::Write;
use crate::entry::Entry;
use crate::error::Error;
use crate::event::Event;
use crate::hub::Hub;
use crate::machine::Awaited;
use crate::mutant::{self, LockMutant};
use crate::snapshot::Discard;
use crate::sync::Arc;
use crate::wait::Wait;
use crate::waiter::{LockAnswer, Waiter};
use std::sync::atomic::Ordering;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::Refusal;
use tenure_protocol::process::{Answer, Call, Input, Names, Timer};
use tenure_protocol::{AttributeName, ThreadId, Version};

impl Hub {
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
        let mut leaves =
            |held| drop(step.leave_writing(entry, thread, names, Write::Unchanged, false, held));
        let (outcome, waker) = wait.close();
        match outcome {
            _ if mutant::is(LockMutant::KeepsUnwantedGrant) => {}
            Some(Ok(LockAnswer::Granted(_))) => leaves(None),
            Some(Ok(LockAnswer::HandedOff(handed_off))) => {
                leaves(Some(entry.follow(handed_off, *entrance)));
            }
            Some(Err(_)) | None => {}
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
                        LockAnswer::HandedOff(handed_off) => {
                            Some(entry.follow(handed_off, waiter.entrance))
                        }
                        LockAnswer::Granted(_) => None,
                    };
                    let (thread, names) = (waiter.entrance.thread, &waiter.names);
                    // The result does not matter: if the grant was lost as well, the request fails
                    // in any case.
                    let _ =
                        step.leave_writing(&entry, thread, names, Write::Unchanged, false, held);
                    step.woken.extend(waker);
                }
            }
            step.finish();
        }
    }

    /// Refuses the request of a thread whose deadline has passed, unless it was answered.
    pub(crate) fn end_wait(&self, entry: &Arc<Entry>, thread: ThreadId) {
        let mut step = self.step();
        let timer = Timer::Wait(entry.id.clone(), thread);
        step.run(Input::Timer(timer));
        step.finish();
    }

    /// Registers a thread for the answer to a call other than a lock, and makes the call after `write`. `of` returns
    /// the session of the guard. `of` is called under the machine's mutex, when no answer of a rename can intervene.
    pub(crate) fn ask_to<T: Awaited>(
        &self,
        of: impl FnOnce() -> Arc<Entry>,
        thread: ThreadId,
        write: Option<Call>,
        call: &Call,
        wait: &Arc<Wait<T>>,
    ) -> Result<(), Error> {
        self.refuse_forked()?;
        let mut step = self.step();
        let entry = &of();
        let key = (thread, entry.id.clone());
        if T::answers(&mut step.machine).has(&key) {
            return Err(self.refused(&entry.id, Refusal::AlreadyLocked));
        }
        if let Some(write) = write {
            step.call(entry, thread, &write);
        }
        step.reattach(entry);
        let earlier = T::earlier(&step.machine, &key);
        T::answers(&mut step.machine).register(key, Arc::clone(wait), earlier);
        step.call(entry, thread, call);
        step.finish();
        Ok(())
    }

    /// Withdraws the registration for the answer to a commit.
    pub(crate) fn forget_commit(&self, entry: &Entry, thread: ThreadId, wait: &Arc<Wait<Version>>) {
        if self.is_forked() {
            return;
        }
        let mut step = self.step();
        let key = (thread, entry.id.clone());
        step.machine.commits.forget(&key, wait);
        step.finish();
    }

    /// Leaves a session after a pending end or rename, whether or not that has happened.
    pub(crate) fn leave_ending(
        &self,
        entry: &Arc<Entry>,
        thread: ThreadId,
        names: &Names,
        keeps: bool,
        ending: &Ending,
    ) -> Result<(), Error> {
        self.refuse_forked()?;
        let mut step = self.step();
        // In one step: otherwise an answer could arrive in between and be lost.
        let key = (thread, entry.id.clone());
        let (is_destroyed, renamed) = match ending {
            Ending::Destroy(wait) => {
                step.machine.destroys.forget(&key, wait);
                (matches!(wait.take(), Some(Ok(Destroyed))), None)
            }
            Ending::Rename(wait) => {
                step.machine.renames.forget(&key, wait);
                (false, wait.take().and_then(Result::ok))
            }
        };
        let renamed = renamed.map(|to| self.map.get_or_make(&to.session));
        let result = if is_destroyed {
            Ok(())
        } else {
            let entry = renamed.as_ref().unwrap_or(entry);
            step.leave_writing(entry, thread, names, Write::Unchanged, keeps, None)
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
        // A guard of several attributes writes to the session directly.
        let write = match &held {
            Some(held) if keeps => held.written(),
            _ => Write::Unchanged,
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
            if let Names::One(name) = names {
                let written = write.map(|value| {
                    detached.write(thread, name, value.as_ref(), &self.limits.current())
                });
                if let Some(Err(limited)) = written {
                    result = Err(Error::Limit(self.limits.exceeded(&entry.id, limited)));
                }
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
        write: Write,
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
