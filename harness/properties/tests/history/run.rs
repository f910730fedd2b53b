//! The manager and the machine side by side: both get the same inputs, and their outputs are compared.
//!
//! This file contains no rule of the protocol. After every operation, it compares:
//!
//! - every message that either side sends, in order, and both stores with their messages under way;
//! - the woken tasks, which must be exactly those whose requests the machine has answered;
//! - the values that each guard sees, its token, and whether it is recalled;
//! - the threads inside each session, with their attributes and the time of the lock, and the waiting threads, in
//!   order;
//! - the sizes of sessions, which must be within the limits, however the threads inside leave;
//! - the reported discards, the next deadline, the lease, and whether the process has left.

use super::handle::{Doing, Handle};
use super::machine::{Machine, To, words};
use super::net::{Net, Out};
use super::op::Setup;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;
use tenure_locks::{Discarded, Event, Locks};
use tenure_protocol::message::{Refusal, Release};
use tenure_protocol::process::{Answer, Call, Input, Poison};
use tenure_protocol::{Incarnation, SessionId, ThreadId, Time, ToStore};

/// A difference between both sides.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) actual: String,
}

pub(crate) type Checked<T = ()> = Result<T, Wrong>;

pub(crate) fn same<T: PartialEq + Debug>(
    what: impl FnOnce() -> String,
    expected: &T,
    actual: &T,
) -> Checked {
    if expected == actual {
        return Ok(());
    }
    Err(Wrong {
        what: what(),
        expected: format!("{expected:?}"),
        actual: format!("{actual:?}"),
    })
}

/// Both sides of a history. See the [module](self).
pub(crate) struct Run {
    pub(crate) setup: Setup,
    pub(crate) now: Time,
    pub(crate) locks: Locks,
    /// The side of the manager.
    pub(crate) net: Net,
    pub(crate) machine: Machine,
    /// The side of the machine.
    pub(crate) twin: Net,
    pub(crate) handles: Vec<Handle>,
    /// The threads that have dropped the future of a commit, destroy or rename whose answer may still come, oldest
    /// first.
    pub(crate) forgotten: Vec<(ThreadId, SessionId, Doing)>,
    /// The discards that the machine reports.
    discards: Vec<(SessionId, ThreadId, Poison)>,
    /// The script so far.
    pub(crate) lines: Vec<String>,
}

/// The manager's events, except for messages and discards.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Hints {
    pub(crate) until: Vec<Time>,
}

impl Run {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            now: Time::ZERO,
            locks: Locks::with_manual_clock(setup.process(), Incarnation(1)),
            net: Net::new(setup.store()),
            machine: Machine::new(setup.machine()),
            twin: Net::new(setup.store()),
            handles: Vec::new(),
            forgotten: Vec::new(),
            discards: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Opens a connection, and lets the store accept the process.
    pub(crate) fn start(&mut self) -> Checked {
        self.both(Input::Connected)?;
        self.carry()
    }

    /// Runs an input that is no thread's call.
    pub(crate) fn both(&mut self, input: Input) -> Checked {
        let told = self.machine.input(self.now, input.clone());
        for to in told {
            self.route(to, None);
        }
        match input {
            Input::Connected => self.locks.connected(),
            Input::Disconnected => self.locks.disconnected(),
            Input::Message { link, message } => self.locks.message(link, message),
            Input::Release(session) => self.locks.release(&session),
            Input::Forget(session) => self.locks.forget(&session),
            Input::Shutdown => self.locks.shutdown(),
            Input::Thread { .. } | Input::Timer(_) => {
                unreachable!("threads call `call`, and timers run in `tick`")
            }
        }
        self.settle().map(drop)
    }

    /// Makes a thread's call to the machine only. `is_direct` means that an answer comes at once or not at all.
    pub(crate) fn call(
        &mut self,
        thread: ThreadId,
        session: &SessionId,
        call: &Call,
        is_direct: bool,
    ) -> Option<Answer> {
        let mut told = None;
        for to in self.machine.call(self.now, thread, session, call) {
            let direct = (is_direct && told.is_none()).then_some((thread, session));
            let own = self.route(to, direct);
            told = told.or(own);
        }
        told
    }

    /// Handles the passed deadlines at the machine.
    pub(crate) fn tick_machine(&mut self) {
        for to in self.machine.tick(self.now) {
            self.route(to, None);
        }
    }

    /// Passes an answer of the machine to the waiting handle. Returns a refusal of the call of `direct`.
    fn route(
        &mut self,
        (thread, session, answer): To,
        direct: Option<(ThreadId, &SessionId)>,
    ) -> Option<Answer> {
        let key = (thread, session);
        let is_key = |own: &Handle| own.is_of(key.0, &key.1) && own.answer.is_none();
        match &answer {
            Answer::Refused(_) if direct == Some((thread, &key.1)) => return Some(answer),
            Answer::Poisoned(why) => {
                self.discards.push((key.1.clone(), thread, *why));
                self.forgotten
                    .retain(|(own, session, _)| (*own, session) != (key.0, &key.1));
                // The thread has left, and this is the answer to its destroy or rename.
                self.machine.lost(thread, &key.1)?;
            }
            Answer::Committed(_) if self.remembers(&key, |doing| doing == Doing::Commits) => {
                return None;
            }
            Answer::Destroyed if self.remembers(&key, |doing| doing == Doing::Destroys) => {
                return None;
            }
            Answer::Renamed(to) => {
                let is_forgotten = self.remembers(&key, |doing| doing == Doing::Renames);
                let mut own = self.handles.iter_mut().filter(|own| {
                    own.is_of(key.0, &key.1)
                        && own.doing != Doing::Asks
                        && (own.doing == Doing::Renames) != is_forgotten
                });
                if let Some(own) = own.next() {
                    own.session = to.session.clone();
                    if !is_forgotten {
                        own.answer = Some(answer);
                    }
                }
                return None;
            }
            Answer::Refused(Refusal::IdTaken)
                if self.remembers(&key, |doing| doing == Doing::Renames) =>
            {
                return None;
            }
            _ => {}
        }
        let waits = |own: &&mut Handle| is_key(own) && own.doing != Doing::Holds;
        if let Some(own) = self.handles.iter_mut().find(waits) {
            if own.doing == Doing::Asks {
                own.since = self.now;
            }
            own.answer = Some(answer);
        }
        None
    }

    /// Returns whether an answer belongs to a future that was dropped, and removes that future from the list.
    fn remembers(
        &mut self,
        (thread, session): &(ThreadId, SessionId),
        is_meant: impl Fn(Doing) -> bool,
    ) -> bool {
        let mut all = self.forgotten.iter();
        let place =
            all.position(|(own, at, doing)| own == thread && at == session && is_meant(*doing));
        place.map(|place| self.forgotten.remove(place)).is_some()
    }

    /// Takes the manager's outputs, compares them, and passes them on.
    pub(crate) fn settle(&mut self) -> Checked<Hints> {
        let mut hints = Hints::default();
        let mut outs = Vec::new();
        let mut discards = Vec::new();
        while let Some(event) = self.locks.try_event() {
            match event {
                Event::Send { link, message } => outs.push(Out::Send(link, message)),
                Event::Disconnect { link } => outs.push(Out::Close(link)),
                Event::Until(until) => hints.until.push(until),
                Event::Discarded(discard) => match discard.why {
                    Discarded::Lost(why) => discards.push((discard.session, discard.thread, why)),
                    other => unreachable!(
                        "no thread of a history panics, so no such discard is reported: {other:?}"
                    ),
                },
            }
        }
        let expected = std::mem::take(&mut self.machine.outs);
        for (out, expected) in outs.iter_mut().zip(&expected) {
            forgive_idle(out, expected);
        }
        same(|| "the list of sent messages".to_owned(), &expected, &outs)?;
        for (own, twin) in outs.into_iter().zip(expected) {
            self.net.take(own);
            self.twin.take(twin);
        }
        // The discards of one step may come in any order: threads in cells have no position among the others.
        let mut expected = std::mem::take(&mut self.discards);
        expected.sort();
        discards.sort();
        same(
            || "the list of reported discards".to_owned(),
            &expected,
            &discards,
        )?;
        // A commit whose grant is lost gets no answer.
        let machine = &self.machine;
        self.forgotten
            .retain(|(_, session, doing)| *doing != Doing::Commits || machine.has_commit(session));
        Ok(hints)
    }

    /// Delivers the next message to the store. Returns whether there was one.
    pub(crate) fn reach_store(&mut self) -> bool {
        self.twin.reach_store();
        self.net.reach_store()
    }

    /// Delivers the next message to the process. Returns whether there was one.
    pub(crate) fn reach_process(&mut self) -> Checked<bool> {
        let (own, twin) = (self.net.reach_process(), self.twin.reach_process());
        same(
            || "the next message of the two stores".to_owned(),
            &twin,
            &own,
        )?;
        let Some((link, message)) = own else {
            return Ok(false);
        };
        self.both(Input::Message { link, message })?;
        Ok(true)
    }

    /// Delivers messages until none is under way.
    pub(crate) fn carry(&mut self) -> Checked {
        while self.reach_store() || self.reach_process()? {}
        Ok(())
    }

    /// Compares everything that was not compared when it was put out.
    pub(crate) fn compare(&mut self) -> Checked {
        for handle in &self.handles {
            if !matches!(handle.doing, Doing::Holds) {
                let what = || format!("the wake-up of t{} ({})", handle.thread(), handle.words());
                same(what, &handle.answer.is_some(), &handle.task.is_woken())?;
            }
        }
        self.compare_views()?;
        self.compare_insiders()?;
        let too_large = self.machine.too_large(&self.setup.limits());
        same(
            || "the list of sessions that are too large".to_owned(),
            &Vec::new(),
            &too_large,
        )?;
        let process = self.machine.process();
        let ends = (process.lease(), process.next_deadline(), process.has_left());
        let own = &self.locks;
        let actual = (own.lease(), own.next_deadline(), own.has_left());
        same(
            || "the lease, the next deadline, or whether the process has left".to_owned(),
            &ends,
            &actual,
        )?;
        match self.twin.differs(&self.net) {
            None => Ok(()),
            Some((expected, actual)) => Err(Wrong {
                what: "the stores".to_owned(),
                expected,
                actual,
            }),
        }
    }

    fn compare_views(&mut self) -> Checked {
        for handle in &mut self.handles {
            if handle.doing != Doing::Holds {
                handle.seen = None;
                continue;
            }
            let mut seen = handle.task.look();
            if self
                .machine
                .lost(handle.thread(), &handle.session)
                .is_none()
            {
                let what = || format!("the view of t{} in {}", handle.thread(), handle.words());
                same(what, &handle.expected(&self.machine), &seen)?;
            } else {
                // The machine has forgotten the writes of this thread. The guard still sees them until
                // it leaves.
                seen.recalled = true;
                let before = handle.seen.take().filter(|_| !handle.has_acted);
                if let Some(mut before) = before {
                    before.recalled = true;
                    same(
                        || {
                            format!(
                                "the remaining view of t{} in {}",
                                handle.thread(),
                                handle.words()
                            )
                        },
                        &before,
                        &seen,
                    )?;
                }
            }
            handle.has_acted = false;
            handle.seen = Some(seen);
        }
        Ok(())
    }

    /// Compares the threads inside, with their attributes and times, and the waiting threads.
    fn compare_insiders(&self) -> Checked {
        // If its session has ended or moved, a guard counts in the old session until its task learns of that.
        let is_told = |handle: &Handle| {
            !matches!(handle.answer, Some(Answer::Destroyed | Answer::Renamed(_)))
        };
        let mut expected: BTreeMap<SessionId, (Vec<_>, Vec<ThreadId>)> = BTreeMap::new();
        for (id, _) in self.machine.process().sessions() {
            expected.entry(id.clone()).or_default().1 = self.machine.waiters(id);
        }
        let inside = self.handles.iter().filter(|handle| handle.is_inside());
        for handle in inside.clone() {
            let holder = (handle.thread(), words(&handle.acquire.names), handle.since);
            let holders = &mut expected.entry(handle.session.clone()).or_default().0;
            holders.push(holder);
        }
        for (id, (holders, _)) in &mut expected {
            holders.sort();
            let lost = |handle: &&Handle| self.machine.lost(handle.thread(), id).is_some();
            let stand = inside
                .clone()
                .filter(|own| own.session == *id && !lost(own));
            let mut stand: Vec<_> = stand
                .map(|own| (own.thread(), words(&own.acquire.names)))
                .collect();
            stand.sort();
            let what = || format!("the list of threads that the machine has in {id}");
            same(what, &stand, &self.machine.holders(id))?;
        }
        if !self.handles.iter().all(is_told) {
            return Ok(());
        }
        expected.retain(|_, (holders, waiters)| !holders.is_empty() || !waiters.is_empty());
        let now = self.locks.now();
        let since = |held_for: Duration| {
            now.before(
                u64::try_from(held_for.as_millis())
                    .expect("the time of a history fits into 64 bits"),
            )
        };
        let busy = self.locks.busy().into_iter().map(|busy| {
            let holders = busy.holders.iter();
            let holders: BTreeSet<_> = holders
                .map(|own| (own.thread, words(&own.names), since(own.held_for)))
                .collect();
            let holders = holders.into_iter().collect();
            (busy.session, (holders, busy.waiters))
        });
        let busy: BTreeMap<SessionId, (Vec<_>, Vec<ThreadId>)> = busy.collect();
        same(
            || "the list of threads inside or waiting".to_owned(),
            &expected,
            &busy,
        )
    }
}

/// Compares the last use of a session. In the manager, a thread that enters uses the session; in the machine, one that
/// leaves. Both are the same unless a thread never left because the grant was given up. Then the manager's last use is
/// later.
fn forgive_idle(out: &mut Out, expected: &Out) {
    if let (
        Out::Send(_, ToStore::Release(Release { idle_ms: own, .. })),
        Out::Send(_, ToStore::Release(Release { idle_ms, .. })),
    ) = (out, expected)
        && *own < *idle_ms
    {
        *own = *idle_ms;
    }
}
