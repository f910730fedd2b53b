//! Level two: a process serves its threads from its cached grants.
//!
//! Each session of the process is one [`Session`]: the request or grant at the store, the client state, and the threads
//! that hold and wait for attributes. A session takes its own steps, so a concurrent driver can put each session behind
//! its own lock. [`ProcessMachine`] keeps the state of the process as a whole: the connection, the lease, and the waits
//! of each thread.
//!
//! Threads write into write sets. A write set becomes part of the client state when its thread unlocks. The changes
//! become durable when the thread commits or when the grant is released. A thread whose grant was lost is *poisoned*:
//! its write set is discarded, and the thread is notified.
//!
//! The machine deliberately has no OS threads, wakers or sockets. It does not decide when to give an idle grant back;
//! the driver does (rule 4).

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
use context::{Step, StepContext};
use index::{Derived, Index, due};
use waits::Waits;
use watch::Watch;

/// An event that a process handles in one step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A new connection to the store. The process sends its hello on it.
    Connected,
    /// The connection was lost. Frees nothing (rule 10).
    Disconnected,
    /// A message arrived from the store, on the connection `link`.
    Message {
        /// The connection on which the message arrived.
        link: Link,
        /// The message.
        message: ToProcess,
    },
    /// A call of a thread on a session.
    Thread {
        /// The thread.
        thread: ThreadId,
        /// The session.
        session: SessionId,
        /// The call.
        call: Call,
    },
    /// The driver wants the session's grant given back if no thread is inside. Rule 4.
    Release(SessionId),
    /// The driver wants the client state dropped of a session that the process does not hold.
    Forget(SessionId),
    /// A timer may be due. A timer that is not due is ignored.
    Timer(Timer),
    /// The process shall stop: admit no thread, release every grant, and say goodbye.
    Shutdown,
}

/// A set of attributes of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Names {
    /// All attributes, present and future.
    All,
    /// One attribute.
    One(AttributeName),
    /// Several attributes: all of them are locked or none.
    Many(Vec<AttributeName>),
}

/// A call of a thread on a session. Every `Lock` is answered exactly once (rule 14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Locks attributes. Answered by `Locked`, `Refused` or `Poisoned`.
    Lock {
        /// The attributes.
        names: Names,
        /// Whether the thread waits for other threads, or only tries.
        wait_mode: WaitMode,
        /// Whether to lock the session only if it exists. Rule 16.
        existing: bool,
        /// The time at which the wait ends: every wait has a deadline. Rule 17.
        until: Time,
    },
    /// Ends the thread's wait. Answered by `Refused`.
    Abandon,
    /// Writes an attribute that the thread has locked into the thread's write set; `None` removes the attribute.
    /// Answered only when refused.
    Write {
        /// The attribute.
        name: AttributeName,
        /// The new value.
        value: Option<Value>,
    },
    /// Makes the thread's write set part of the client state, and frees these attributes, which were locked together.
    /// Answered only when refused.
    Unlock(Names),
    /// Discards the thread's writes to these attributes and frees them. Answered only when refused.
    Discard(Names),
    /// Makes the thread's writes durable while the thread keeps the attributes. Answered by `Committed`, `Refused` or
    /// `Poisoned`. A thread that leaves before the answer may get none: its writes then become durable with the
    /// release.
    Commit,
    /// Ends the session. The thread must have locked all attributes. Answered by `Destroyed`, `Refused` or `Poisoned`.
    Destroy,
    /// Gives the session a new id. The thread must have locked all attributes. Answered by `Renamed`, `Refused` or
    /// `Poisoned`.
    Rename(SessionId),
}

/// The answer to a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The attributes are locked, under the grant with this token.
    Locked(Token),
    /// The request ends without effect.
    Refused(Refusal),
    /// The writes are durable, at this version or an earlier one.
    Committed(Version),
    /// The session has ended, and with it the thread's locks.
    Destroyed,
    /// The session and the thread's locks have a new id. The reference names this id and the grant's token.
    Renamed(GrantRef),
    /// The grant was lost while the thread was inside. The thread's writes are discarded, and its view of the session
    /// is stale. The thread leaves by `Unlock` or `Discard`. A commit without an answer may or may not have become
    /// durable.
    Poisoned(Poison),
}

/// The way in which a grant was lost while a thread was inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Poison {
    /// The lease ended. Rule 10.
    LeaseLost,
    /// The store revoked the grant. Rule 11.
    Revoked,
    /// The thread was still inside when the process had to give the recalled grant up. Rule 11.
    Late,
    /// A newer incarnation of the process has connected. Rule 10.
    Superseded,
}

/// A timer of a process, see [`ProcessMachine::timers`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The end of the lease, less the margin. Rule 10.
    Lease,
    /// The time for the next keep-alive. Rule 10.
    KeepAlive,
    /// The end of the wait for the answer to a keep-alive: the process tries another connection. Rule 10.
    Silent,
    /// The time to send the hello, or a session's unanswered message, again. Rule 14.
    Resend(Option<SessionId>),
    /// The time to give a recalled grant up although threads are inside. Rule 11.
    Late(SessionId),
    /// The end of a thread's wait. Rule 17.
    Wait(SessionId, ThreadId),
}

/// The connection, as the process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// There is no connection.
    Down,
    /// The process has sent its hello, and the store has not answered yet.
    Greeting(Link),
    /// The store has welcomed the process.
    Up(Link),
}

/// The state machine of a process. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessMachine<H = Sound> {
    pub(crate) rules: H,
    pub(crate) settings: Settings<ProcessSettings>,
    pub(crate) incarnation: Incarnation,
    pub(crate) connection: Connection,
    pub(crate) links: u64,
    pub(crate) requests: u64,
    /// The last request drawn before the unanswered hello. Later requests are not listed in that hello.
    pub(crate) requests_said: u64,
    /// The end of the lease on the process's clock, less the margin; `None` without a lease.
    pub(crate) lease: Option<Time>,
    pub(crate) keep_alive: Time,
    /// The time at which the first unanswered keep-alive was sent on this connection.
    pub(crate) asked: Option<Time>,
    pub(crate) is_closing: bool,
    pub(crate) has_left: bool,
    /// Whether a newer incarnation has connected, which is then the reason for `is_closing` and `has_left`.
    pub(crate) is_superseded: bool,
    /// The highest minor version of the store that has welcomed the process; 0 before the welcome.
    pub(crate) store_minor: u8,
    /// The limits on the writes of threads: the smaller of the process's own limits and the limits in the last welcome.
    /// Rule 18.
    pub(crate) limits: Limits,
    pub(crate) sessions: BTreeMap<SessionId, Box<Session>>,
    /// The sessions for which each thread waits.
    pub(crate) waits: Waits,
    /// The recalled sessions with threads inside, each with the blocking sessions that were last reported to the store.
    pub(crate) busy: BTreeMap<SessionId, Vec<SessionId>>,
    /// The detached sessions with waiting threads. Some of these threads may have been admitted since.
    pub(crate) waited: BTreeMap<SessionId, Derived<Option<Time>>>,
    pub(crate) index: Derived<Index>,
    pub(crate) watch: Derived<Watch>,
}

impl ProcessMachine {
    /// Creates a process that starts. `incarnation` must be larger than that of any earlier start under the same name
    /// (rule 10).
    #[must_use]
    pub fn new(settings: Settings<ProcessSettings>, incarnation: Incarnation) -> Self {
        Self::with_hook(Sound, settings, incarnation)
    }
}

impl<H: Hook> ProcessMachine<H> {
    /// Creates a process as [`ProcessMachine::new`] does, with a hook.
    #[must_use]
    pub fn with_hook(
        hook: H,
        settings: Settings<ProcessSettings>,
        incarnation: Incarnation,
    ) -> Self {
        Self {
            rules: hook,
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

    /// Handles one input and appends the outputs to `out`. `now` never goes back.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        let step = &mut Step { now, out };
        self.notice_time(step);
        match input {
            Input::Connected => self.on_connected(step),
            Input::Disconnected => self.lose_connection(),
            Input::Message { link, message } => self.on_message(link, message, step),
            Input::Thread {
                thread,
                ref session,
                ref call,
            } => self.on_call(thread, session, call, step),
            Input::Release(session) => self.in_session(&session, step, Session::release_if_idle),
            Input::Forget(session) => self.on_forget(&session),
            Input::Timer(timer) => self.on_timer(timer, step),
            Input::Shutdown => self.on_shutdown(step),
        }
        self.end_step(step);
    }

    /// Handles [`Input::Thread`] without owned arguments. A driver that keeps names and calls avoids clones with it.
    pub fn call(
        &mut self,
        now: Time,
        thread: ThreadId,
        session: &SessionId,
        call: &Call,
        out: &mut Vec<Output>,
    ) {
        let step = &mut Step { now, out };
        self.notice_time(step);
        self.on_call(thread, session, call, step);
        self.end_step(step);
    }

    /// Ends an outlived lease before a step. The timer may be late, but no thread may use a grant after the end of the
    /// lease.
    fn notice_time(&mut self, step: &mut Step<'_>) {
        if self.has_outlived_lease(step.now) {
            self.on_lease_lost(Poison::LeaseLost, step);
        }
    }

    fn end_step(&mut self, step: &mut Step<'_>) {
        self.say_goodbye_when_done(step);
        #[cfg(debug_assertions)]
        self.assert_invariants();
    }

    /// Asserts the invariants of every state. The check walks over all sessions, so it runs only while there are few.
    /// The debug build of an application keeps its cost per change.
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
            "the index agrees with the sessions, because each step notes the session that it changed: {:#?}",
            self.sessions
        );
        let mut said = self.busy.iter();
        let is_said = self.link().is_none()
            || self.watch.is_stale
            || said.all(|(id, blocked_on)| self.blocked_on(id).0 == *blocked_on);
        assert!(
            is_said,
            "the store knows the blocking sessions, because note_busy reports each change: {self:#?}"
        );
        if size_of::<H>() == 0 {
            crate::invariant::assert_process(self);
        }
    }

    fn on_call(&mut self, thread: ThreadId, id: &SessionId, call: &Call, step: &mut Step<'_>) {
        let is_lock = matches!(call, Call::Lock { .. });
        let caller = Some(thread).filter(|_| is_lock);
        let makes_new = is_lock;
        let is_known = self.in_session_or_new(id, (makes_new, caller), step, |session, id, ctx| {
            session.call(id, thread, call, ctx)
        });
        if is_lock {
            self.break_local_deadlock(thread, id, step);
        } else if !is_known {
            step.answer(thread, id, Answer::Refused(Refusal::NotHeld));
        }
    }

    /// Lets a session take a step, and updates the facts that the process keeps about the session.
    pub(crate) fn in_session(
        &mut self,
        id: &SessionId,
        step: &mut Step<'_>,
        act: impl FnOnce(&mut Session, &SessionId, &mut StepContext<'_, H>),
    ) {
        self.in_session_or_new(id, (true, None), step, act);
    }

    /// Lets a session take a step as [`ProcessMachine::in_session`] does. Creates the session only when `makes_new` is
    /// set, and returns whether there is such a session. `caller` is a thread that may begin to wait.
    fn in_session_or_new(
        &mut self,
        id: &SessionId,
        (makes_new, caller): (bool, Option<ThreadId>),
        step: &mut Step<'_>,
        act: impl FnOnce(&mut Session, &SessionId, &mut StepContext<'_, H>),
    ) -> bool {
        let before = step.out.len();
        let link = self.link();
        let Self {
            rules,
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
            step: step.reborrow(),
            rules: *rules,
            settings,
            limits,
            link,
            store_minor: *store_minor,
            requests,
            is_closing: *is_closing,
        };
        // The look-up is by reference: for a cached session, the common case, the id is not cloned.
        let session = match sessions.get_mut(id) {
            Some(session) => session,
            None if makes_new => sessions.entry(id.clone()).or_default(),
            None => return false,
        };
        let was_waited = session.state.lock.waiting() > 0;
        act(session, id, &mut ctx);
        index.note(id, session, settings.resend_ms);
        // In the common case a thread enters or leaves a cached session, and no thread waits. Such a step needs one
        // look-up.
        let is_waited = was_waited || session.state.lock.waiting() > 0;
        let is_local = !is_waited && !session.owes_busy && !session.is_blank();
        let is_said = !self.busy.is_empty() && (self.watch.is_stale || self.busy.contains_key(id));
        if is_local && !is_said {
            return true;
        }
        self.note_waits(id, caller, &step.out[before..]);
        if self.note_busy(id, caller, step) {
            self.break_gate_deadlocks(id, step);
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

    /// Removes a session and its entries in the index.
    pub(crate) fn remove_session(&mut self, id: &SessionId) -> Option<Box<Session>> {
        let mut session = self.sessions.remove(id)?;
        self.index.forget(id, &mut session);
        Some(session)
    }

    /// Inserts a session, and returns the former session of this id.
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

    fn on_timer(&mut self, timer: Timer, step: &mut Step<'_>) {
        if self.due(&timer).is_none_or(|due| due > step.now) {
            return;
        }
        match timer {
            // r[lease.lost]
            Timer::Lease => self.on_lease_lost(Poison::LeaseLost, step),
            Timer::KeepAlive => self.on_keep_alive(step),
            Timer::Silent => self.on_silent(step),
            Timer::Resend(None) => self.on_connected(step),
            // r[end.resends]
            Timer::Resend(Some(session)) => self.in_session(&session, step, Session::resend),
            Timer::Late(session) => self.in_session(&session, step, Session::give_up),
            // r[thread.deadline]
            Timer::Wait(session, thread) => self.in_session(&session, step, |session, id, ctx| {
                session.end_wait(id, thread, Refusal::Deadline, ctx);
            }),
        }
    }

    /// Returns when `timer` is due, or `None` when the timer no longer applies.
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

    /// Returns all timers of the process with the time at which each is due. Walks over all sessions and waiters: for
    /// checkers. A driver calls [`ProcessMachine::due_timers`].
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

    /// Returns the timers that are due at `now`, the earliest first. The cost grows only with the number of due timers.
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

    /// Returns the timers that belong to no session.
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

    /// Returns when the next timer is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let resends = self.index.resends.first();
        let resend = resends.filter(|_| self.link().is_some());
        let sessions = resend.into_iter().chain(self.index.ends.first());
        let sessions = sessions.map(|(due, _)| *due);
        sessions.chain(self.own_timers().map(|(due, _)| due)).min()
    }

    /// Returns the number of sessions that the process knows, with the detached ones.
    #[must_use]
    pub fn known(&self) -> usize {
        self.sessions.len() + self.index.detached
    }

    /// Returns the number of grants that are on their way back to the store.
    #[must_use]
    pub fn releasing(&self) -> usize {
        self.index.releasing
    }

    /// Returns the number of grants that the process has, with those of detached sessions.
    #[must_use]
    pub fn held(&self) -> usize {
        self.index.held + self.index.detached
    }

    /// Returns the sessions of the process that are not detached.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (id, &**session))
    }

    /// Returns one session, unless it is unknown or detached.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id).map(|session| &**session)
    }

    /// Returns the state of the connection.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// Returns the incarnation of the process.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns when the lease ends on the process's clock, less the margin, or `None` without a lease.
    #[must_use]
    pub fn lease(&self) -> Option<Time> {
        self.lease
    }

    /// Returns whether the process has stopped for ever: it said goodbye, or a newer incarnation took its place.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.has_left
    }

    /// Returns whether a newer incarnation has connected. Such a process refuses threads in the way of a process that
    /// shuts down.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.is_superseded
    }

    /// Returns whether the process is shutting down.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Returns the limits on the writes of threads: the smaller of the process's own limits and the limits in the last
    /// welcome.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the highest minor version of the protocol that the store speaks, or `None` before the welcome.
    #[must_use]
    pub fn store_minor(&self) -> Option<u8> {
        self.link().map(|_| self.store_minor)
    }

    /// Returns the session for which each waiting thread waits. If a thread waits for several, the map has the earliest
    /// wait.
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

    /// Shows every number in the process to `numbers`. `process` is the name of the process.
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
