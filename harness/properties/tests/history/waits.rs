//! The operations with a later result: locks, commits, destroys and renames; and dropping requests and guards.

use super::handle::{Doing, Handle, is_same, said};
use super::machine::words;
use super::run::{Checked, Hints, Run, Wrong, same};
use super::task::{Do, LockCall, Said, Task};
use tenure_locks::WAIT_MS;
use tenure_protocol::message::{Refusal, WaitMode};
use tenure_protocol::process::{Answer, Call, Names, Poison};
use tenure_protocol::{SessionId, ThreadId, Time};

/// The maximum number of requests and guards of one thread.
const HANDLES_MAX: usize = 3;

impl Run {
    pub(crate) fn lock(&mut self, session: &SessionId, acquire: LockCall) -> Checked {
        let thread = acquire.thread;
        let own = self.handles.iter().filter(|own| own.thread() == thread);
        if self.waiting(thread).is_some() || own.count() >= HANDLES_MAX {
            return Ok(());
        }
        let how = match acquire.wait_mode {
            WaitMode::Try => "try",
            WaitMode::Wait => "lock",
        };
        let within = acquire.within_ms.map(|ms| format!(" within {ms} ms"));
        let existing = if acquire.existing {
            " if it exists"
        } else {
            ""
        };
        let line = format!(
            "t{thread}: {how} {session}/{}{existing}",
            words(&acquire.names)
        );
        self.lines.push(line + &within.unwrap_or_default());
        let until = self
            .now
            .after(acquire.within_ms.unwrap_or(WAIT_MS))
            .max(Time(1));
        let call = Call::Lock {
            names: acquire.names.clone(),
            wait_mode: acquire.wait_mode,
            existing: acquire.existing,
            until,
        };
        self.handles.push(Handle {
            task: Task::new(self.locks.clone(), session.clone(), acquire.clone()),
            acquire,
            session: session.clone(),
            doing: Doing::Asks,
            answer: None,
            until,
            since: Time::ZERO,
            seen: None,
            has_written: false,
            wrote: Vec::new(),
            has_acted: true,
            has_waited: false,
        });
        self.call(thread, session, &call, false);
        let at = self.handles.len() - 1;
        let waits = self.handles[at].answer.is_none();
        self.handles[at].has_waited = waits;
        let said = self.handles[at].task.poll();
        let hints = self.heard(at, said)?;
        let expected = waits.then_some(until).into_iter().collect();
        same(
            || "the deadline in the driver's event".to_owned(),
            &expected,
            &hints.until,
        )
    }

    /// Starts an operation of a guard with a later result.
    pub(crate) fn begin(&mut self, at: usize, doing: Doing, call: &Call, what: Do) -> Checked {
        let own = &mut self.handles[at];
        own.doing = doing;
        let (thread, session) = (own.thread(), own.session.clone());
        self.call(thread, &session, call, false);
        self.let_out_if_not_ended(at);
        let said = self.handles[at].task.tell(what);
        self.heard(at, said).map(drop)
    }

    /// Starts a commit. The machine commits all writes of a thread in the session. The manager commits the writes of
    /// this guard, and perhaps not those of other guards, which may be in use elsewhere. So only this guard may have
    /// written.
    pub(crate) fn commit(&mut self, thread: ThreadId, which: usize) -> Checked {
        let Some(at) = self.held(thread, which) else {
            return Ok(());
        };
        let session = &self.handles[at].session;
        let mut others = self.handles.iter().enumerate();
        if others.any(|(other, own)| other != at && own.is_of(thread, session) && own.has_written) {
            return Ok(());
        }
        self.with_idle(thread, which, "commit", |run, at| {
            run.handles[at].has_written = false;
            run.begin(at, Doing::Commits, &Call::Commit, Do::Commit)
        })
    }

    pub(crate) fn rename(&mut self, thread: ThreadId, which: usize, to: &SessionId) -> Checked {
        // A thread that has lost the grant of a session counts as lost there until it leaves. The renamed
        // session would inherit that, so this case is left out.
        let mut own = self.handles.iter();
        if !self.may_end(thread, which) || own.any(|own| own.is_of(thread, to)) {
            return Ok(());
        }
        self.with_idle(thread, which, &format!("rename to {to}:"), |run, at| {
            let call = Call::Rename(to.clone());
            run.begin(at, Doing::Renames, &call, Do::Rename(to.clone()))
        })
    }

    pub(crate) fn destroy(&mut self, thread: ThreadId, which: usize) -> Checked {
        if !self.may_end(thread, which) {
            return Ok(());
        }
        self.with_idle(thread, which, "destroy", |run, at| {
            run.begin(at, Doing::Destroys, &Call::Destroy, Do::Destroy)
        })
    }

    /// Returns whether the handle is a set without a pending destroy or rename. Both sides refuse a second one, with
    /// different errors.
    pub(crate) fn may_end(&self, thread: ThreadId, which: usize) -> bool {
        let Some(at) = self.held(thread, which) else {
            return false;
        };
        let own = &self.handles[at];
        let mut forgotten = self.forgotten.iter();
        let has_begun = forgotten.any(|(thread, session, doing)| {
            own.is_of(*thread, session) && *doing != Doing::Commits
        });
        !has_begun && !matches!(own.acquire.names, Names::One(_))
    }

    /// A guard set that could not end its session is dropped with the attempt.
    pub(crate) fn let_out_if_not_ended(&mut self, at: usize) {
        let own = &self.handles[at];
        let has_failed = matches!(own.answer, Some(Answer::Refused(_) | Answer::Poisoned(_)));
        if own.doing == Doing::Destroys && has_failed {
            self.let_out(at, true);
        }
    }

    pub(crate) fn poll(&mut self, at: usize) -> Checked {
        self.let_out_if_not_ended(at);
        self.let_out_if_lost_before_it_came(at);
        let said = self.handles[at].task.poll();
        self.heard(at, said).map(drop)
    }

    /// A request fails and leaves if its lease ended before its task took the guard. After a revocation, the task gets
    /// a guard that reports the loss.
    fn let_out_if_lost_before_it_came(&mut self, at: usize) {
        let own = &self.handles[at];
        let is_granted = own.doing == Doing::Asks && matches!(own.answer, Some(Answer::Locked(_)));
        if is_granted
            && let Some(why @ (Poison::LeaseLost | Poison::Superseded)) =
                self.machine.lost(own.thread(), &own.session)
        {
            self.let_out(at, false);
            self.handles[at].answer = Some(Answer::Poisoned(why));
        }
    }

    /// Requests whose lock was granted but not taken by the deadline are refused, and leave.
    pub(crate) fn take_unfetched(&mut self) {
        let mut due: Vec<_> = (0..self.handles.len()).collect();
        due.retain(|at| {
            let own = &self.handles[*at];
            let is_granted = matches!(own.answer, Some(Answer::Locked(_)));
            own.doing == Doing::Asks && own.has_waited && is_granted && own.until <= self.now
        });
        due.sort_by_key(|at| self.handles[*at].until);
        for at in due {
            self.let_out(at, false);
            self.handles[at].answer = Some(Answer::Refused(Refusal::Deadline));
        }
    }

    /// Polls all woken tasks, until no further task is woken.
    pub(crate) fn poll_woken(&mut self) -> Checked {
        while let Some(at) = self.handles.iter().position(|own| own.answer.is_some()) {
            self.poll(at)?;
            if self.setup.carries {
                self.carry()?;
            }
            self.compare()?;
        }
        Ok(())
    }

    /// Checks that the result of a task, or its wait, is the machine's answer.
    pub(crate) fn heard(&mut self, at: usize, actual: Option<Said>) -> Checked<Hints> {
        let own = &mut self.handles[at];
        own.has_acted = true;
        let answer = own.answer.take();
        // A guard that has not learned the new id of its session reports the old one. This is the only case in
        // which the answers of library and machine may differ.
        let expected = answer.as_ref().map(|answer| said(&own.session, answer));
        let is_right = match (&expected, &actual) {
            (Some(expected), Some(actual)) => is_same(expected, actual),
            (None, None) => true,
            _ => false,
        };
        if !is_right {
            let words = |said: Option<Said>| match said {
                Some(said) => format!("{said:?}"),
                None => "nothing yet".to_owned(),
            };
            return Err(Wrong {
                what: format!("the result of t{} for {}", own.thread(), own.words()),
                expected: words(expected),
                actual: words(actual),
            });
        }
        if let Some(said) = actual {
            let has_guard = match own.doing {
                Doing::Asks => said == Said::Locked,
                doing => doing != Doing::Destroys,
            };
            if has_guard {
                own.doing = Doing::Holds;
            } else {
                self.handles.remove(at);
            }
        }
        self.settle()
    }

    /// Drops the future of a commit or a rename, and keeps its guard.
    pub(crate) fn cancel(&mut self, thread: ThreadId) -> Checked {
        let Some(at) = self.waiting(thread) else {
            return Ok(());
        };
        if !matches!(self.handles[at].doing, Doing::Commits | Doing::Renames) {
            return Ok(());
        }
        self.say(at, "drop the pending future for");
        self.forget(at);
        let own = &mut self.handles[at];
        own.doing = Doing::Holds;
        own.has_acted = true;
        own.task.cancel();
        self.settle().map(drop)
    }

    /// Forgets the pending operation of `at`.
    pub(crate) fn forget(&mut self, at: usize) {
        let own = &mut self.handles[at];
        if own.answer.take().is_none() {
            self.forgotten
                .push((own.thread(), own.session.clone(), own.doing));
        }
    }

    pub(crate) fn drop_one(&mut self, thread: ThreadId, which: usize) -> Checked {
        let own: Vec<usize> = (0..self.handles.len())
            .filter(|at| self.handles[*at].thread() == thread)
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        let at = own[which % own.len()];
        self.say(at, "drop");
        self.drop_at(at)
    }

    pub(crate) fn drop_at(&mut self, at: usize) -> Checked {
        let own = &self.handles[at];
        let (thread, session) = (own.thread(), own.session.clone());
        match (own.doing, &own.answer) {
            (Doing::Asks, None) => drop(self.call(thread, &session, &Call::Abandon, true)),
            (Doing::Asks, Some(Answer::Locked(_))) => drop(self.let_out(at, false)),
            (Doing::Asks, Some(_)) => {}
            (Doing::Holds, _) => drop(self.let_out(at, true)),
            (Doing::Commits | Doing::Renames | Doing::Destroys, _) => {
                let has_ended = matches!(own.answer, Some(Answer::Destroyed));
                self.forget(at);
                if !has_ended {
                    self.let_out(at, true);
                }
            }
        }
        drop(self.handles.remove(at));
        self.settle().map(drop)
    }
}
