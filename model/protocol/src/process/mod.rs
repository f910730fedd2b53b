//! Level two: a process serves its threads from the grants that it keeps.
//!
//! Per session there is one [`Session`]: what the process has asked the store for, the client state, which threads hold and
//! wait for which attributes. It takes its own steps, so that a concurrent driver can put each session behind its own
//! lock. Around them, [`ProcessMachine`] keeps what belongs to the whole process: the connection, the lease, and which thread
//! waits where.
//!
//! Threads write into write sets, which become part of the client state when they unlock, durable when they commit or
//! when the grant is released. A thread whose grant was lost is *poisoned*: its write set is discarded and it is told.
//!
//! Deliberately absent: OS threads, wakers, sockets; when to give an idle grant back (the driver's choice, rule 4).

mod commit;
mod context;
mod detach;
mod grant;
mod index;
mod link;
mod release;
mod request;
mod session;
mod state;
mod threads;
mod waits;
mod watch;

pub use context::Output;
pub use detach::{Concerned, Detached, HandedOut, Handoff};
pub use session::{Ending, Grant, Outgoing, Phase, Session};
pub use state::{Slot, ThreadClaim, Wanted, Written};

use crate::attributes::Value;
use crate::config::{Limits, ProcessSettings, Settings};
use crate::id::{
    AttributeName, Incarnation, Link, ProcessId, SessionId, ThreadId, Time, Token, Version,
};
use crate::message::{GrantRef, Refusal, ToProcess, WaitMode};
use crate::mutant::{Hook, Sound};
use crate::renumber::Numbers;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use context::StepContext;
use index::{Derived, Index, due};
use waits::Waits;
use watch::Watch;

/// What happens to a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// There is a connection to the store; the process says hello on it.
    Connected,
    /// The connection was lost. Frees nothing (rule 10).
    Disconnected,
    /// A message arrived from the store, on the connection `link`.
    Message {
        /// On which connection.
        link: Link,
        /// What it says.
        message: ToProcess,
    },
    /// A thread wants something of a session.
    Thread {
        /// Which thread.
        thread: ThreadId,
        /// Which session.
        session: SessionId,
        /// What.
        call: Call,
    },
    /// Give the session's grant back if no thread is inside. Rule 4.
    Release(SessionId),
    /// Drop what is kept of a session that is not held.
    Forget(SessionId),
    /// A timer may be due; one that is not, is ignored.
    Timer(Timer),
    /// Stop: admit no one, release everything, say goodbye.
    Shutdown,
}

/// Which attributes of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Names {
    /// All, present and future.
    All,
    /// One.
    One(AttributeName),
    /// Several: all of them or none.
    Many(Vec<AttributeName>),
}

/// What a thread wants of a session. Every `Lock` is answered exactly once (rule 14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Lock attributes; answered by `Locked` or `Refused`.
    Lock {
        /// Which.
        names: Names,
        /// Whether to wait for threads.
        wait_mode: WaitMode,
        /// Whether to lock only a session that exists. Rule 16.
        existing: bool,
        /// When the wait ends. Rule 17: every wait has a deadline.
        until: Time,
    },
    /// Stop waiting; answered by `Refused`.
    Abandon,
    /// Write an attribute that the thread has locked, into its write set; `None` removes it. Answered only when refused.
    Write {
        /// Which.
        name: AttributeName,
        /// What.
        value: Option<Value>,
    },
    /// Make the thread's write set part of the client state and free these attributes, locked together. Answered only
    /// when refused.
    Unlock(Names),
    /// Discard the thread's writes to these attributes and free them. Answered only when refused.
    Discard(Names),
    /// Make the thread's writes durable and keep the attributes; answered by `Committed`, `Refused` or `Poisoned`. A thread
    /// that leaves before that may get no answer: its writes then become durable with the release.
    Commit,
    /// End the session, of which the thread has locked all. Answered by `Destroyed`, `Refused` or `Poisoned`.
    Destroy,
    /// Give the session, of which the thread has locked all, a new id. Answered by `Renamed`, `Refused` or `Poisoned`.
    Rename(SessionId),
}

/// What a thread is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The attributes are locked, under this grant.
    Locked(Token),
    /// The request ends without effect.
    Refused(Refusal),
    /// The writes are durable, at this version or an earlier one.
    Committed(Version),
    /// The session has ended, and with it the thread's locks.
    Destroyed,
    /// The session has this id from now on, and the thread's locks with it; its grant has this token.
    Renamed(GrantRef),
    /// The grant was lost while the thread was inside: its writes are discarded, and what it reads is stale. It leaves by
    /// `Unlock` or `Discard`. A commit without an answer may or may not have become durable.
    Poisoned(Poison),
}

/// How a grant was lost while a thread was inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Poison {
    /// The lease ended. Rule 10.
    LeaseLost,
    /// The store took the grant. Rule 11.
    Revoked,
    /// The thread was late when the grant was recalled. Rule 11.
    Late,
    /// A newer incarnation of the process is here. Rule 10.
    Superseded,
}

/// What a process waits for, see [`ProcessMachine::timers`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The end of the lease, less the margin. Rule 10.
    Lease,
    /// A keep-alive is to be sent. Rule 10.
    KeepAlive,
    /// A keep-alive has waited too long for its answer: another connection is to be tried. Rule 10.
    Silent,
    /// The hello, or what a session waits for, is to be sent again. Rule 14.
    Resend(Option<SessionId>),
    /// A recalled grant is to be given up although threads are inside. Rule 11.
    Late(SessionId),
    /// The end of a thread's wait. Rule 17.
    Wait(SessionId, ThreadId),
}

/// The connection, as the process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// There is none.
    Down,
    /// Hello was said, the store has not answered.
    Greeting(Link),
    /// The store has welcomed the process.
    Up(Link),
}

/// A process. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessMachine<H = Sound> {
    pub(crate) hook: H,
    pub(crate) settings: Settings<ProcessSettings>,
    pub(crate) incarnation: Incarnation,
    pub(crate) connection: Connection,
    pub(crate) links: u64,
    pub(crate) requests: u64,
    /// The last request drawn before the hello that was not answered yet: later ones are not in it.
    pub(crate) requests_said: u64,
    /// When the lease ends, on the process's clock, less the margin; `None` when there is none.
    pub(crate) lease: Option<Time>,
    pub(crate) keep_alive: Time,
    /// When the first keep-alive was sent on this connection that is unanswered.
    pub(crate) asked: Option<Time>,
    pub(crate) is_closing: bool,
    pub(crate) has_left: bool,
    /// A newer incarnation is here: why it is closing, and has left.
    pub(crate) is_superseded: bool,
    /// The highest minor version of the store that has welcomed the process; 0 while no store has.
    pub(crate) store_minor: u8,
    /// What threads may write: the smaller of its own limits and those of the store that has welcomed it last. Rule 18.
    pub(crate) limits: Limits,
    pub(crate) sessions: BTreeMap<SessionId, Box<Session>>,
    /// Which thread waits for which session.
    pub(crate) waits: Waits,
    /// Recalled sessions with threads inside, and the sessions that were last said to block them.
    pub(crate) busy: BTreeMap<SessionId, Vec<SessionId>>,
    /// Sessions that are detached although threads wait there: some may have been let in since.
    pub(crate) waited: BTreeMap<SessionId, Derived<Option<Time>>>,
    pub(crate) index: Derived<Index>,
    pub(crate) watch: Derived<Watch>,
}

impl ProcessMachine {
    /// A process that starts. `incarnation` is larger than that of any earlier start under the same name (rule 10).
    #[must_use]
    pub fn new(settings: Settings<ProcessSettings>, incarnation: Incarnation) -> Self {
        Self::with_hook(Sound, settings, incarnation)
    }
}

impl<H: Hook> ProcessMachine<H> {
    /// As [`ProcessMachine::new`], with a hook.
    #[must_use]
    pub fn with_hook(
        hook: H,
        settings: Settings<ProcessSettings>,
        incarnation: Incarnation,
    ) -> Self {
        Self {
            hook,
            limits: settings.limits.clone(),
            settings,
            incarnation,
            connection: Connection::Down,
            links: 0,
            requests: 0,
            requests_said: 0,
            lease: None,
            keep_alive: Time::ZERO,
            asked: None,
            is_closing: false,
            has_left: false,
            is_superseded: false,
            store_minor: 0,
            sessions: BTreeMap::new(),
            waits: Waits::default(),
            busy: BTreeMap::new(),
            waited: BTreeMap::new(),
            index: Derived::default(),
            watch: Derived::default(),
        }
    }

    /// One step. `now` never goes back.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        self.notice_time(now, out);
        match input {
            Input::Connected => self.on_connected(now, out),
            Input::Disconnected => self.lose_connection(),
            Input::Message { link, message } => self.on_message(now, link, message, out),
            Input::Thread {
                thread,
                ref session,
                ref call,
            } => self.on_call(now, thread, session, call, out),
            Input::Release(session) => {
                self.in_session(now, &session, out, Session::release_if_idle)
            }
            Input::Forget(session) => self.on_forget(&session),
            Input::Timer(timer) => self.on_timer(now, timer, out),
            Input::Shutdown => self.on_shutdown(now, out),
        }
        self.end_step(out);
    }

    /// The step of [`Input::Thread`], for drivers that keep names and calls: nothing is cloned and dropped for it.
    pub fn call(
        &mut self,
        now: Time,
        thread: ThreadId,
        session: &SessionId,
        call: &Call,
        out: &mut Vec<Output>,
    ) {
        self.notice_time(now, out);
        self.on_call(now, thread, session, call, out);
        self.end_step(out);
    }

    /// A timer may be late, a thread must not be: whatever happens after the lease's end finds it ended.
    fn notice_time(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.has_outlived_lease(now) {
            self.on_lease_lost(now, Poison::LeaseLost, out);
        }
    }

    fn end_step(&mut self, out: &mut Vec<Output>) {
        self.say_goodbye_when_done(out);
        #[cfg(debug_assertions)]
        self.assert_invariants();
    }

    /// Asserts what must be true of every state. It looks at everything, so only while that is little: an application's debug
    /// build, too, is to pay for what changes.
    #[cfg(debug_assertions)]
    fn assert_invariants(&self) {
        const LITTLE: usize = 16;
        if self.sessions.len() > LITTLE || self.waits.first.len() > LITTLE {
            return;
        }
        let resend_ms = self.settings.resend_ms;
        let mut sessions = self.sessions.iter();
        let is_right = sessions.all(|(id, own)| self.index.is_right(id, own, resend_ms));
        assert!(
            is_right,
            "the index follows from the sessions: {:#?}",
            self.sessions
        );
        let mut said = self.busy.iter();
        let is_said = self.link().is_none()
            || self.watch.is_stale
            || said.all(|(id, blocked_on)| self.blocked_on(id).0 == *blocked_on);
        assert!(
            is_said,
            "the store knows what blocks recalled threads: {self:#?}"
        );
        if size_of::<H>() == 0 {
            crate::invariant::assert_process(self);
        }
    }

    fn on_call(
        &mut self,
        now: Time,
        thread: ThreadId,
        id: &SessionId,
        call: &Call,
        out: &mut Vec<Output>,
    ) {
        let is_lock = matches!(call, Call::Lock { .. });
        let caller = Some(thread).filter(|_| is_lock);
        let makes_new = is_lock;
        let is_known =
            self.in_session_or_new(now, id, (makes_new, caller), out, |session, id, ctx| {
                session.call(id, thread, call, ctx)
            });
        if is_lock {
            self.break_local_deadlock(now, thread, id, out);
        } else if !is_known {
            let answer = Answer::Refused(Refusal::NotHeld);
            out.push(Output::Answer {
                thread,
                session: id.clone(),
                answer,
            });
        }
    }

    /// Lets a session take a step, and keeps what the process knows of it right.
    pub(crate) fn in_session(
        &mut self,
        now: Time,
        id: &SessionId,
        out: &mut Vec<Output>,
        step: impl FnOnce(&mut Session, &SessionId, &mut StepContext<'_, H>),
    ) {
        self.in_session_or_new(now, id, (true, None), out, step);
    }

    /// As [`ProcessMachine::in_session`]; answers whether there is such a session, which is made only when `makes_new`. `caller` is a
    /// thread that may begin to wait.
    fn in_session_or_new(
        &mut self,
        now: Time,
        id: &SessionId,
        (makes_new, caller): (bool, Option<ThreadId>),
        out: &mut Vec<Output>,
        step: impl FnOnce(&mut Session, &SessionId, &mut StepContext<'_, H>),
    ) -> bool {
        let before = out.len();
        let link = self.link();
        let Self {
            hook,
            settings,
            requests,
            is_closing,
            store_minor,
            limits,
            sessions,
            index,
            ..
        } = self;
        let mut ctx = StepContext {
            now,
            hook: *hook,
            settings,
            limits,
            link,
            store_minor: *store_minor,
            requests,
            is_closing: *is_closing,
            out,
        };
        // Looked up by reference: a session that is cached, the common case, costs no clone of its id.
        let session = match sessions.get_mut(id) {
            Some(session) => session,
            None if makes_new => sessions.entry(id.clone()).or_default(),
            None => return false,
        };
        let was_waited = session.state.lock.waiting() > 0;
        step(session, id, &mut ctx);
        index.note(id, session, settings.resend_ms);
        // The common case: a thread went in or out of a session that is kept, and nobody waits. Looked up once.
        let is_waited = was_waited || session.state.lock.waiting() > 0;
        let is_local = !is_waited && !session.owes_busy && !session.is_blank();
        let is_said = !self.busy.is_empty() && (self.watch.is_stale || self.busy.contains_key(id));
        if is_local && !is_said {
            return true;
        }
        self.note_waits(id, caller, before, out);
        if self.note_busy(id, caller, out) {
            self.break_gate_deadlocks(now, id, out);
        }
        if self
            .sessions
            .get(id)
            .is_some_and(|session| session.is_blank())
        {
            self.remove_session(id);
        }
        true
    }

    /// Takes a session out.
    pub(crate) fn remove_session(&mut self, id: &SessionId) -> Option<Box<Session>> {
        let mut session = self.sessions.remove(id)?;
        self.index.forget(id, &mut session);
        Some(session)
    }

    /// Puts a session in. Answers the one that was there.
    pub(crate) fn insert_session(
        &mut self,
        id: SessionId,
        mut session: Box<Session>,
    ) -> Option<Box<Session>> {
        let before = self.remove_session(&id);
        self.index.note(&id, &mut session, self.settings.resend_ms);
        self.sessions.insert(id, session);
        before
    }

    fn on_forget(&mut self, id: &SessionId) {
        let session = self.sessions.get(id);
        if session.is_some_and(|session| session.is_forgettable()) {
            self.remove_session(id);
        }
    }

    fn on_timer(&mut self, now: Time, timer: Timer, out: &mut Vec<Output>) {
        if self.due(&timer).is_none_or(|due| due > now) {
            return;
        }
        match timer {
            // r[lease.lost]
            Timer::Lease => self.on_lease_lost(now, Poison::LeaseLost, out),
            Timer::KeepAlive => self.on_keep_alive(now, out),
            Timer::Silent => self.on_silent(out),
            Timer::Resend(None) => self.on_connected(now, out),
            // r[end.resends]
            Timer::Resend(Some(session)) => self.in_session(now, &session, out, Session::resend),
            Timer::Late(session) => self.in_session(now, &session, out, Session::give_up),
            // r[thread.deadline]
            Timer::Wait(session, thread) => {
                self.in_session(now, &session, out, |session, id, ctx| {
                    session.end_wait(id, thread, Refusal::Deadline, ctx);
                })
            }
        }
    }

    /// When `timer` is due; `None` when nothing waits for it any more.
    #[must_use]
    pub fn due(&self, timer: &Timer) -> Option<Time> {
        match timer {
            Timer::Lease => self.lease,
            Timer::KeepAlive => {
                matches!(self.connection, Connection::Up(_)).then_some(self.keep_alive)
            }
            Timer::Silent => self.silent_due(),
            Timer::Resend(None) => matches!(self.connection, Connection::Greeting(_))
                .then(|| self.keep_alive.after(self.greeting_ms())),
            Timer::Resend(Some(session)) => {
                self.link()?;
                let session = self.sessions.get(session)?;
                session
                    .is_waiting_for_store()
                    .then(|| session.sent.after(self.settings.resend_ms))
            }
            Timer::Late(session) => self.sessions.get(session)?.late_due(),
            Timer::Wait(session, thread) => {
                let lock = &self.sessions.get(session)?.state.lock;
                lock.waiter(thread).map(|claim| claim.until)
            }
        }
    }

    /// Everything that the process waits for, with the time when it is due. It walks over all sessions and waiters: for those who
    /// explore; a driver asks for what is [due](ProcessMachine::due_timers).
    pub fn timers(&self) -> impl Iterator<Item = (Time, Timer)> + '_ {
        let sessions = self.sessions.iter().flat_map(|(id, session)| {
            let waits = session
                .state
                .lock
                .waiters()
                .map(|claim| Timer::Wait(id.clone(), claim.thread));
            [Timer::Resend(Some(id.clone())), Timer::Late(id.clone())]
                .into_iter()
                .chain(waits)
        });
        let sessions = sessions.filter_map(|timer| Some((self.due(&timer)?, timer)));
        self.own_timers().chain(sessions)
    }

    /// The timers that are due at `now`, the earliest first. Costs what is due.
    #[must_use]
    pub fn due_timers(&self, now: Time) -> Vec<(Time, Timer)> {
        let mut timers: Vec<(Time, Timer)> = self.own_timers().collect();
        if self.link().is_some() {
            let resends = due(&self.index.resends, now);
            timers.extend(resends.map(|(due, id)| (*due, Timer::Resend(Some(id.clone())))));
        }
        for (_, id) in due(&self.index.ends, now) {
            let Some(session) = self.sessions.get(id) else {
                continue;
            };
            let late = session.late_due().map(|due| (due, Timer::Late(id.clone())));
            let ended = session.state.lock.ended(now).into_iter();
            let waits = ended.map(|claim| (claim.until, Timer::Wait(id.clone(), claim.thread)));
            timers.extend(late.into_iter().chain(waits));
        }
        timers.retain(|(due, _)| *due <= now);
        timers.sort();
        timers
    }

    /// The timers that belong to no session.
    fn own_timers(&self) -> impl Iterator<Item = (Time, Timer)> {
        let own = [
            Timer::Lease,
            Timer::KeepAlive,
            Timer::Silent,
            Timer::Resend(None),
        ];
        let own = own.into_iter();
        own.filter_map(|timer| Some((self.due(&timer)?, timer)))
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let resends = self.index.resends.first();
        let resend = resends.filter(|_| self.link().is_some());
        let sessions = resend.into_iter().chain(self.index.ends.first());
        let sessions = sessions.map(|(due, _)| *due);
        sessions.chain(self.own_timers().map(|(due, _)| due)).min()
    }

    /// How many sessions the process knows, detached ones among them.
    #[must_use]
    pub fn known(&self) -> usize {
        self.sessions.len() + self.index.detached
    }

    /// How many grants are on their way back to the store.
    #[must_use]
    pub fn releasing(&self) -> usize {
        self.index.releasing
    }

    /// How many grants the process has, whether or not their sessions are detached.
    #[must_use]
    pub fn held(&self) -> usize {
        self.index.held + self.index.detached
    }

    /// The sessions that the process knows of.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (id, &**session))
    }

    /// One session.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id).map(|session| &**session)
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// Which start of the process this is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// When the lease ends on the process's clock, less the margin; `None` when there is none.
    #[must_use]
    pub fn lease(&self) -> Option<Time> {
        self.lease
    }

    /// Whether the process has stopped for ever: it said goodbye, or a newer incarnation took its place.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.has_left
    }

    /// Whether a newer incarnation is here. Such a process refuses threads as one that shuts down; this is the reason.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.is_superseded
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Returns what threads may write: the smaller of the process's own limits and those of the store that has welcomed it last.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the highest minor version of the protocol that the store speaks; `None` while no store has welcomed the process.
    #[must_use]
    pub fn store_minor(&self) -> Option<u8> {
        self.link().map(|_| self.store_minor)
    }

    /// Which thread waits for which session; of several, for which it has waited longest.
    #[must_use]
    pub fn waits(&self) -> &BTreeMap<ThreadId, SessionId> {
        &self.waits.first
    }

    fn link(&self) -> Option<Link> {
        match self.connection {
            Connection::Up(link) => Some(link),
            // r[connect.hello-alone]
            Connection::Down | Connection::Greeting(_) => None,
        }
    }

    /// Shows every number in the process, whose name is `process`.
    pub fn visit(&mut self, process: &ProcessId, numbers: &mut impl Numbers) {
        numbers.link_counter(process, self.incarnation, &mut self.links);
        numbers.request_counter(process, &mut self.requests);
        numbers.request_counter(process, &mut self.requests_said);
        numbers.incarnation(process, &mut self.incarnation);
        if let Connection::Greeting(link) | Connection::Up(link) = &mut self.connection {
            numbers.link(process, link);
        }
        if let Some(lease) = &mut self.lease {
            numbers.process_time(process, lease);
        }
        numbers.process_time(process, &mut self.keep_alive);
        if let Some(asked) = &mut self.asked {
            numbers.process_time(process, asked);
        }
        let mut index = Index {
            detached: self.index.detached,
            waited: core::mem::take(&mut self.index.waited),
            ..Index::default()
        };
        for (id, session) in &mut self.sessions {
            session.visit(process, numbers);
            *session.noted = index::Noted::default();
            index.note(id, session, self.settings.resend_ms);
        }
        *self.index = index;
    }
}
