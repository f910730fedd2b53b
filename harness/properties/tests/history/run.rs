//! The manager and the machine side by side: what goes into one goes into the other, and what comes out is compared.
//!
//! No rule stands here. What is compared, after every operation:
//! - every message that either sends, in order; both stores and what is under way, whole;
//! - which task was woken: those and only those whose requests the machine has answered;
//! - what each guard sees, its token, and whether it is recalled;
//! - who is inside each session, with what and since when, and who waits, in order;
//! - that no session is larger than it may be, and will not be however its threads leave;
//! - the discards that are reported; the next deadline, the lease, whether the process has left.

use super::handle::{Doing, Handle};
use super::machine::{Machine, To, words};
use super::net::{Net, Out};
use super::op::Setup;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;
use tenure_locks::{Discarded, Event, Locks};
use tenure_protocol::message::Refusal;
use tenure_protocol::process::{Answer, Call, Input, Poison};
use tenure_protocol::{Incarnation, SessionId, ThreadId, Time, ToStore};

/// A difference.
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

/// See the [module](self).
pub(crate) struct Run {
    pub(crate) setup: Setup,
    pub(crate) now: Time,
    pub(crate) locks: Locks,
    /// The manager's.
    pub(crate) net: Net,
    pub(crate) machine: Machine,
    /// The machine's.
    pub(crate) twin: Net,
    pub(crate) handles: Vec<Handle>,
    /// Who has dropped the future of a commit or an ending to which an answer may come, oldest first.
    pub(crate) forgotten: Vec<(ThreadId, SessionId, Doing)>,
    /// The discards that the machine tells of.
    discards: Vec<(SessionId, ThreadId, Poison)>,
    /// The script so far.
    pub(crate) lines: Vec<String>,
}

/// What the manager's events said beside messages and discards.
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

    /// A connection is made, and the process welcomed.
    pub(crate) fn start(&mut self) -> Checked {
        self.both(Input::Connected)?;
        self.carry()
    }

    /// An input that no thread makes.
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
            Input::Thread { .. } | Input::Timer(_) => unreachable!("threads and ticks do that"),
        }
        self.settle().map(drop)
    }

    /// A thread's call, to the machine alone. `is_direct`: it is answered at once if at all.
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

    /// Time has passed: what is due is done at the machine.
    pub(crate) fn tick_machine(&mut self) {
        for to in self.machine.tick(self.now) {
            self.route(to, None);
        }
    }

    /// An answer of the machine goes to whoever waits for it; gives back what is refused to `direct`.
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
                // It had left, and this is the answer to what it did to the whole session.
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

    /// Whether an answer belongs to a future that was dropped; then it has come.
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

    /// Takes what the manager has put out, compares, and passes it on.
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
                    other => unreachable!("no thread panics in a history: {other:?}"),
                },
            }
        }
        let expected = std::mem::take(&mut self.machine.outs);
        for (out, expected) in outs.iter_mut().zip(&expected) {
            forgive_idle(out, expected);
        }
        same(|| "what is sent".to_owned(), &expected, &outs)?;
        for (own, twin) in outs.into_iter().zip(expected) {
            self.net.take(own);
            self.twin.take(twin);
        }
        // Those of one step, in any order: who is inside by way of what is handed out has no place among the others.
        let mut expected = std::mem::take(&mut self.discards);
        expected.sort();
        discards.sort();
        same(
            || "which discards are reported".to_owned(),
            &expected,
            &discards,
        )?;
        // A commit that has gone with its grant is not answered any more.
        let machine = &self.machine;
        self.forgotten
            .retain(|(_, session, doing)| *doing != Doing::Commits || machine.has_commit(session));
        Ok(hints)
    }

    /// The next message arrives at the store; answers whether there was one.
    pub(crate) fn reach_store(&mut self) -> bool {
        self.twin.reach_store();
        self.net.reach_store()
    }

    /// The next message arrives at the process; answers whether there was one.
    pub(crate) fn reach_process(&mut self) -> Checked<bool> {
        let (own, twin) = (self.net.reach_process(), self.twin.reach_process());
        same(|| "what the stores say".to_owned(), &twin, &own)?;
        let Some((link, message)) = own else {
            return Ok(false);
        };
        self.both(Input::Message { link, message })?;
        Ok(true)
    }

    /// Messages arrive until none is under way.
    pub(crate) fn carry(&mut self) -> Checked {
        while self.reach_store() || self.reach_process()? {}
        Ok(())
    }

    /// Compares what has not been compared where it came out.
    pub(crate) fn compare(&mut self) -> Checked {
        for handle in &self.handles {
            if !matches!(handle.doing, Doing::Holds) {
                let what = || format!("whether t{} is woken ({})", handle.thread(), handle.words());
                same(what, &handle.answer.is_some(), &handle.task.is_woken())?;
            }
        }
        self.compare_views()?;
        self.compare_insiders()?;
        let too_large = self.machine.too_large(&self.setup.limits());
        same(
            || "which sessions are too large".to_owned(),
            &Vec::new(),
            &too_large,
        )?;
        let process = self.machine.process();
        let ends = (process.lease(), process.next_deadline(), process.has_left());
        let own = &self.locks;
        let actual = (own.lease(), own.next_deadline(), own.has_left());
        same(
            || "the lease, the next deadline, whether it has left".to_owned(),
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
                let what = || format!("what t{} sees in {}", handle.thread(), handle.words());
                same(what, &handle.expected(&self.machine), &seen)?;
            } else {
                // The machine has forgotten what it wrote; it sees that still, until it leaves.
                seen.recalled = true;
                let before = handle.seen.take().filter(|_| !handle.has_acted);
                if let Some(mut before) = before {
                    before.recalled = true;
                    same(
                        || format!("what t{} still sees in {}", handle.thread(), handle.words()),
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

    /// Who is inside, with what and since when; who waits.
    fn compare_insiders(&self) -> Checked {
        // A guard whose session has ended or moved under it is where it was until its task is told.
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
            let what = || format!("whose locks the machine has in {id}, and whose there should be");
            same(what, &stand, &self.machine.holders(id))?;
        }
        if !self.handles.iter().all(is_told) {
            return Ok(());
        }
        expected.retain(|_, (holders, waiters)| !holders.is_empty() || !waiters.is_empty());
        let now = self.locks.now();
        let since = |held_for: Duration| {
            now.before(u64::try_from(held_for.as_millis()).expect("a short history"))
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
            || "who is inside and who waits".to_owned(),
            &expected,
            &busy,
        )
    }
}

/// The manager counts a session as used also when a thread goes in, the machine when one leaves. It is the same unless a
/// thread never left: the grant was given up around it. Then the manager says that the session was used more lately.
fn forgive_idle(out: &mut Out, expected: &Out) {
    if let (
        Out::Send(_, ToStore::Release { idle_ms: own, .. }),
        Out::Send(_, ToStore::Release { idle_ms, .. }),
    ) = (out, expected)
        && *own < *idle_ms
    {
        *own = *idle_ms;
    }
}
