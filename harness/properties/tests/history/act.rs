//! Applies an operation to the machine and then to the manager, and adds its line to the script. An operation without
//! effect in the current state adds no line.

use super::handle::{Doing, Handle};
use super::inside::shown;
use super::op::Op;
use super::run::{Checked, Run};
use super::task::LockCall;
use tenure_protocol::ThreadId;
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::Input;

impl Run {
    /// Applies one operation and compares the results. Returns whether the operation had an effect.
    pub(crate) fn act(&mut self, op: &Op) -> Checked<bool> {
        let lines = self.lines.len();
        self.once(op)?;
        if self.lines.len() == lines {
            return Ok(false);
        }
        if self.setup.carries && !matches!(op, Op::Break) {
            self.carry()?;
        }
        self.compare()?;
        if self.setup.polls {
            self.poll_woken()?;
        }
        Ok(true)
    }

    pub(crate) fn once(&mut self, op: &Op) -> Checked {
        match op.clone() {
            Op::Lock {
                thread,
                session,
                names,
                wait_mode,
                existing,
                within_ms,
            } => {
                let acquire = LockCall {
                    thread,
                    names,
                    wait_mode,
                    existing,
                    within_ms,
                };
                self.lock(&session, acquire)
            }
            Op::Poll(thread) => self.with_waiting(thread, "poll", Self::poll),
            Op::Cancel(thread) => self.cancel(thread),
            Op::Drop(thread, which) => self.drop_one(thread, which),
            Op::Unlock(thread, which) => {
                self.with_held(thread, which, "unlock", |run, at| run.leave(at, true))
            }
            Op::Discard(thread, which) => {
                self.with_held(thread, which, "discard", |run, at| run.leave(at, false))
            }
            Op::Set(thread, which, name, value) => self.write(thread, which, &name, value, false),
            Op::Edit(thread, which, name, value) => {
                self.write(thread, which, &name, Some(value), true)
            }
            Op::Check(thread, which) => self.with_held(thread, which, "check", Self::check),
            Op::Commit(thread, which) => self.commit(thread, which),
            Op::Rename(thread, which, to) => self.rename(thread, which, &to),
            Op::Destroy(thread, which) => self.destroy(thread, which),
            Op::Shutdown => self.input("shut down".to_owned(), Input::Shutdown),
            Op::Release(session) => {
                self.input(format!("release {session}"), Input::Release(session))
            }
            Op::Forget(session) => self.input(format!("forget {session}"), Input::Forget(session)),
            Op::Connect => self.input("connect".to_owned(), Input::Connected),
            Op::Sweep(unused_ms) => self.sweep(unused_ms),
            Op::Pass(ms) => self.pass(ms, None),
            Op::PassForget(ms, session) => self.pass(ms, Some(session)),
            op => self.by_others(op),
        }
    }

    pub(crate) fn by_others(&mut self, op: Op) -> Checked {
        match op {
            Op::Ask(session, wait_mode) => {
                let how = if wait_mode == WaitMode::Try {
                    "tries"
                } else {
                    "asks for"
                };
                self.lines.push(format!("another process {how} {session}"));
                self.net.ask(&session, wait_mode);
                self.twin.ask(&session, wait_mode);
            }
            Op::GiveBack(session, name, value) => {
                if self.net.held_elsewhere(&session).is_some() {
                    let value_words = shown(Some(&value));
                    let line = format!(
                        "another process: write {session}/{name} = {value_words}, and release {session}"
                    );
                    self.lines.push(line);
                    self.net.give_back(&session, name.clone(), value.clone());
                    self.twin.give_back(&session, name, value);
                }
            }
            Op::Recall(session) => {
                self.lines.push(format!("store: recall {session}"));
                self.net.recall(&session);
                self.twin.recall(&session);
            }
            Op::ReachStore => {
                if !self.setup.carries && self.reach_store() {
                    self.lines.push("one message reaches the store".to_owned());
                }
            }
            Op::ReachProcess => {
                if !self.setup.carries && self.net.replies() > 0 {
                    self.lines
                        .push("one message reaches the process".to_owned());
                    self.reach_process()?;
                }
            }
            Op::Carry => {
                if !self.setup.carries {
                    self.lines.push("all messages arrive".to_owned());
                    self.carry()?;
                }
            }
            Op::Break => {
                if self.net.is_up() {
                    self.lines.push("the connection breaks".to_owned());
                    self.net.break_off();
                    self.twin.break_off();
                    self.both(Input::Disconnected)?;
                }
            }
            _ => unreachable!("done before"),
        }
        Ok(())
    }

    pub(crate) fn input(&mut self, line: String, input: Input) -> Checked {
        self.lines.push(line);
        self.both(input)
    }

    /// Returns the handle of a thread without a pending answer: a thread does one thing at a time.
    pub(crate) fn waiting(&self, thread: ThreadId) -> Option<usize> {
        let mut handles = self.handles.iter();
        handles.position(|own| own.thread() == thread && own.doing != Doing::Holds)
    }

    pub(crate) fn held(&self, thread: ThreadId, which: usize) -> Option<usize> {
        let is_it = |own: &Handle| own.thread() == thread && own.doing == Doing::Holds;
        let held: Vec<usize> = (0..self.handles.len())
            .filter(|at| is_it(&self.handles[*at]))
            .collect();
        (!held.is_empty()).then(|| held[which % held.len()])
    }

    pub(crate) fn say(&mut self, at: usize, what: &str) {
        let own = &self.handles[at];
        self.lines
            .push(format!("t{}: {what} {}", own.thread(), own.words()));
    }

    pub(crate) fn with_waiting(
        &mut self,
        thread: ThreadId,
        what: &str,
        act: impl FnOnce(&mut Self, usize) -> Checked,
    ) -> Checked {
        let Some(at) = self.waiting(thread) else {
            return Ok(());
        };
        self.say(at, what);
        act(self, at)
    }

    pub(crate) fn with_held(
        &mut self,
        thread: ThreadId,
        which: usize,
        what: &str,
        act: impl FnOnce(&mut Self, usize) -> Checked,
    ) -> Checked {
        let Some(at) = self.held(thread, which) else {
            return Ok(());
        };
        self.say(at, what);
        self.handles[at].has_acted = true;
        act(self, at)
    }

    /// Calls `act` as [`Run::with_held`] does, unless the thread waits for an answer.
    pub(crate) fn with_idle(
        &mut self,
        thread: ThreadId,
        which: usize,
        what: &str,
        act: impl FnOnce(&mut Self, usize) -> Checked,
    ) -> Checked {
        if self.waiting(thread).is_some() {
            return Ok(());
        }
        self.with_held(thread, which, what, act)
    }
}
