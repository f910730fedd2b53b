//! The manager itself: sessions for threads, and one side for the driver that connects it to a store.

use crate::clock::Clock;
#[cfg(doc)]
use crate::error::Error;
use crate::event::Event;
use crate::host::Host;
use crate::hub::Hub;
use crate::request::LockRequest;
use crate::session::Session;
use crate::session_ref::SessionRef;
use crate::snapshot::Busy;
use crate::step::Machine;
use crate::sync::Arc;
use crate::uses::Cached;
use crate::wait::block_on;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::task::{Context, Poll};
use std::time::Duration;
use tenure_protocol::process::Input;
use tenure_protocol::{Incarnation, Link, ProcessSettings, SessionId, Time, ToProcess};

/// All locks of one process. Clones are the same.
#[derive(Clone, Debug)]
pub struct Locks {
    hub: Arc<Hub>,
}

impl Locks {
    /// Those of a process that starts. `incarnation` is larger than that of any earlier start under the same name (rule 10).
    #[must_use]
    pub fn new(settings: ProcessSettings, incarnation: Incarnation) -> Self {
        Self {
            hub: Arc::new(Hub::new(settings, incarnation, Clock::system())),
        }
    }

    /// As [`Locks::new`], with the clocks of `host`.
    ///
    /// [`Locks::new`] has no cheap clock: a lock that is cached is given out until the first tick after the end of the lease.
    #[must_use]
    pub fn with_host(
        settings: ProcessSettings,
        incarnation: Incarnation,
        host: Box<dyn Host>,
    ) -> Self {
        Self {
            hub: Arc::new(Hub::new(settings, incarnation, Clock::of(host))),
        }
    }

    /// As [`Locks::new`], with a clock that stands until [`Locks::set_time`] moves it: for tests and simulations.
    #[must_use]
    pub fn with_manual_clock(settings: ProcessSettings, incarnation: Incarnation) -> Self {
        Self {
            hub: Arc::new(Hub::new(settings, incarnation, Clock::manual())),
        }
    }

    /// A handle to a session, whether or not there is one.
    #[inline]
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Session {
        Session {
            hub: Arc::clone(&self.hub),
            entry: self.hub.entry(id),
        }
    }

    /// Asks for one attribute of a session, as [`Session::lock`] does, for who has no handle and needs none: it takes less than to
    /// open the session for one lock alone.
    #[track_caller]
    #[inline(always)]
    pub fn lock<'s, N: AsRef<[u8]> + ?Sized>(
        &'s self,
        session: &'s SessionId,
        name: &'s N,
    ) -> LockRequest<'s> {
        let of = SessionRef::Id(&self.hub, session);
        LockRequest::new(of, name.as_ref(), Location::caller())
    }

    /// Returns the sessions that threads use or wait for, in the order of their ids. Looks at those that were used since memory was
    /// last given back ([`Locks::sweep`]), at each for a moment: a thread that takes a cached attribute does not notice.
    #[must_use]
    pub fn busy(&self) -> Vec<Busy> {
        if self.is_forked() {
            return Vec::new();
        }
        let entries = self.hub.awake();
        let busy = entries.iter().map(|entry| self.hub.busy(entry));
        busy.filter(|busy| !busy.holders.is_empty() || !busy.waiters.is_empty())
            .collect()
    }

    /// Whether this OS process is a child, by `fork`, of the one that made this: then every call ends with [`Error::Forked`], or does
    /// nothing where it returns none.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.hub.is_forked()
    }

    /// The time on the manager's clock, in milliseconds since it was made.
    #[must_use]
    pub fn now(&self) -> Time {
        self.hub.clock.now()
    }
}

/// The driver's side: what goes in. What comes out is an [`Event`].
impl Locks {
    /// There is a connection to the store.
    pub fn connected(&self) {
        self.take(Input::Connected);
    }

    /// The connection was lost. Frees nothing (rule 10).
    pub fn disconnected(&self) {
        self.take(Input::Disconnected);
    }

    /// A message arrived from the store on the connection `link`: granted, recalled, revoked, the lease's end.
    pub fn message(&self, link: Link, message: ToProcess) {
        self.take(Input::Message { link, message });
    }

    /// Gives the session's grant back if no thread is inside. Rule 4.
    pub fn release(&self, session: &SessionId) {
        self.take(Input::Release(session.clone()));
    }

    /// Drops what is kept of a session that is not held.
    pub fn forget(&self, session: &SessionId) {
        self.take(Input::Forget(session.clone()));
    }

    /// Stops: lets nobody in, releases everything as it becomes idle, says goodbye.
    pub fn shutdown(&self) {
        self.take(Input::Shutdown);
    }

    /// Does what is due. To be called by [`Locks::next_deadline`], and about every 100 ms while threads are at work: times
    /// that people look at are as fine as this.
    pub fn tick(&self) {
        if self.is_forked() {
            return;
        }
        let now = self.hub.clock.now();
        loop {
            let mut step = self.hub.step();
            step.reattach_waited(now);
            let due = step.machine.process.due_timers(now);
            let is_done = due.is_empty();
            for (_, timer) in due {
                step.run(Input::Timer(timer));
            }
            let has_unfetched = step.machine.unfetched.is_due(now);
            step.finish();
            if is_done && has_unfetched {
                self.hub.take_unfetched();
            }
            if is_done {
                return;
            }
        }
    }

    /// When [`Locks::tick`] is to be called; `None` when nothing waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if self.is_forked() {
            return None;
        }
        let mut machine = self.hub.machine();
        let process = &mut machine.process;
        let mut waited = None;
        while let Some((end, id)) = process.next_wait_end() {
            let entry = self.hub.map.get(id);
            let first =
                entry.and_then(|entry| entry.lock().state.detached.as_ref()?.next_deadline());
            if first == Some(end) {
                waited = first;
                break;
            }
            // The thread has been let in since.
            let id = id.clone();
            process.note_wait_end(&id, first);
        }
        waited.into_iter().chain(process.next_deadline()).min()
    }

    /// Moves a manual clock; it never goes back.
    pub fn set_time(&self, now: Time) {
        self.hub.clock.set(now);
    }

    /// Gives back memory that only sessions in use need, of those that nobody has used for `unused_ms` milliseconds, and forgets
    /// those of which nothing is known. Looks at sessions that are new, that have changed, or whose time has come.
    pub fn sweep(&self, unused_ms: u64) {
        self.hub.sweep(unused_ms);
    }

    /// Returns up to `max` sessions that nobody has used for `unused_ms` milliseconds, the longest unused first, and since when. Of
    /// sessions that have changed it knows after the next [`Locks::sweep`]. Looks at those, and at sessions that were
    /// used since they were last looked at and come before them in the order known so far.
    #[must_use]
    pub fn idle(&self, cached: Cached, unused_ms: u64, max: usize) -> Vec<(Time, SessionId)> {
        if self.is_forked() {
            return Vec::new();
        }
        self.hub.idle(cached, unused_ms, max)
    }

    /// Gives back and forgets what nobody will miss: grants and copies that nobody has used for `idle_ms` milliseconds, and, when
    /// the process knows more than `cached_max` sessions, the longest unused: copies first, then grants, and a
    /// sixteenth more than must be. Sessions in use stay. To be called after [`Locks::sweep`].
    pub fn trim(&self, cached_max: usize, idle_ms: u64) {
        let target = cached_max - cached_max / 16;
        let release = |unused_ms, max| {
            for (_, session) in self.idle(Cached::Grant, unused_ms, max) {
                self.release(&session);
            }
        };
        let forget = |unused_ms, max| {
            for (_, session) in self.idle(Cached::Copy, unused_ms, max) {
                self.forget(&session);
            }
        };
        release(idle_ms, usize::MAX);
        forget(idle_ms, usize::MAX);
        let known = self.known();
        if known > cached_max {
            forget(0, known - target);
        }
        let held = self.held();
        if held > cached_max {
            release(0, held - target);
        }
    }

    /// Returns how many grants the process has.
    #[must_use]
    pub fn held(&self) -> usize {
        self.ask(|machine| machine.process.held())
    }

    /// Returns how many grants are on their way back to the store.
    #[must_use]
    pub fn releasing(&self) -> usize {
        self.ask(|machine| machine.process.releasing())
    }

    /// Returns how many sessions the process knows: those that it holds or asks for, and those of which it has a copy.
    #[must_use]
    pub fn known(&self) -> usize {
        self.ask(|machine| machine.process.known())
    }

    /// Returns for how many sessions the manager keeps something. For tests that count.
    #[doc(hidden)]
    #[must_use]
    pub fn entries(&self) -> usize {
        self.hub.map.len()
    }

    /// Returns how many waiters of a session have been looked at since its queue became long. For tests that count.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    #[must_use]
    pub fn waiter_visits(&self, session: &SessionId) -> u64 {
        let machine = self.hub.machine();
        let entry = self.hub.map.get(session);
        let detached = entry.and_then(|entry| Some(entry.lock().state.detached.as_ref()?.visits()));
        let own = || {
            machine
                .process
                .session(session)
                .map(|own| own.lock().visits())
        };
        detached.or_else(own).unwrap_or_default()
    }

    /// Returns how many sessions [`Locks::sweep`] and [`Locks::idle`] have looked at. For tests that count.
    #[doc(hidden)]
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.hub.machine().uses.visits
    }

    /// Whether the process has stopped for ever: it said goodbye, or a newer incarnation took its place.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.is_forked() || self.hub.machine().process.has_left()
    }

    /// When the lease ends, on the manager's clock and less the margin; `None` when there is none.
    #[must_use]
    pub fn lease(&self) -> Option<Time> {
        self.ask(|machine| machine.process.lease())
    }

    /// The next event, if there is one.
    #[must_use]
    pub fn try_event(&self) -> Option<Event> {
        self.ask(Machine::next_event)
    }

    /// The next event. One driver at a time: the waker of the last call counts.
    pub fn poll_event(&self, context: &Context<'_>) -> Poll<Event> {
        if self.is_forked() {
            return Poll::Pending;
        }
        let mut machine = self.hub.machine();
        if let Some(event) = machine.next_event() {
            return Poll::Ready(event);
        }
        let earlier = machine.driver.replace(context.waker().clone());
        drop(machine);
        drop(earlier); // With nothing locked: it may be the last that keeps a task, and its guards.
        Poll::Pending
    }

    /// The next event.
    pub fn event(&self) -> impl Future<Output = Event> + '_ {
        poll_fn(|context| self.poll_event(context))
    }

    /// The next event, or `None` when none comes within `limit`. Blocks this OS thread.
    #[must_use]
    pub fn wait_event(&self, limit: Duration) -> Option<Event> {
        let until = std::time::Instant::now() + limit.min(Duration::from_secs(1 << 30));
        let left = |_: &&Self| until.saturating_duration_since(std::time::Instant::now());
        block_on(
            self,
            |own, context| match own.poll_event(context) {
                Poll::Pending if !left(own).is_zero() => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
                Poll::Ready(event) => Poll::Ready(Some(event)),
            },
            left,
        )
    }

    /// Asks the machine. A child of a `fork` gets the default: another thread may have held the machine's lock at the fork.
    fn ask<R: Default>(&self, ask: impl FnOnce(&mut Machine) -> R) -> R {
        if self.is_forked() {
            return R::default();
        }
        ask(&mut self.hub.machine())
    }

    fn take(&self, input: Input) {
        if self.is_forked() {
            return;
        }
        let mut step = self.hub.step();
        step.run(input);
        step.finish();
    }
}
