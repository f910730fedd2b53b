//! The manager: sessions for threads, and an interface for the driver that connects the manager to a store.

use crate::by_id::ById;
use crate::clock::Clock;
#[cfg(doc)]
use crate::error::Error;
use crate::event::Event;
use crate::host::Host;
use crate::hub::Hub;
use crate::machine::Machine;
use crate::request::LockRequest;
use crate::session::Session;
use crate::session_ref::SessionRef;
use crate::snapshot::Busy;
use crate::sync::Arc;
use crate::uses::Cached;
use crate::wait::block_on;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::task::{Context, Poll};
use std::time::Duration;
use tenure_protocol::process::Input;
use tenure_protocol::{Incarnation, Link, ProcessSettings, SessionId, Time, ToProcess};

/// The lock manager of one process. Clones share one manager.
#[derive(Clone, Debug)]
pub struct Locks {
    hub: Arc<Hub>,
}

impl Locks {
    /// Creates the manager of a process that starts. `incarnation` must be larger than in any earlier start under the
    /// same name (rule 10). Without a [`Host`], this manager has no cheap clock, so it grants cached locks until the
    /// first tick after the end of the lease.
    #[must_use]
    pub fn new(settings: ProcessSettings, incarnation: Incarnation) -> Self {
        Self {
            hub: Arc::new(Hub::new(settings, incarnation, Clock::system())),
        }
    }

    /// Creates a manager as [`Locks::new`] does, with the clocks of `host`.
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

    /// Creates a manager as [`Locks::new`] does, with a clock that only [`Locks::set_time`] moves. For tests and
    /// simulations.
    #[must_use]
    pub fn with_manual_clock(settings: ProcessSettings, incarnation: Incarnation) -> Self {
        Self {
            hub: Arc::new(Hub::new(settings, incarnation, Clock::manual())),
        }
    }

    /// Returns a handle to a session. The session need not exist.
    #[inline]
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Session {
        Session {
            hub: Arc::clone(&self.hub),
            entry: self.hub.entry(id),
        }
    }

    /// Requests the lock of one attribute by session id. Cheaper than `session(id).lock(name)` for a single lock.
    #[track_caller]
    #[inline(always)]
    pub fn lock<'s, N: AsRef<[u8]> + ?Sized>(
        &'s self,
        session: &'s SessionId,
        name: &'s N,
    ) -> LockRequest<'s> {
        let of = SessionRef::Id(ById::new(&self.hub, session));
        LockRequest::new(of, name.as_ref(), Location::caller())
    }

    /// Returns the sessions whose locks threads hold or wait for, ordered by id. Visits the sessions that were used
    /// since the last [`Locks::sweep`] freed their memory. Each visit is short and does not delay a thread that takes a
    /// cached attribute.
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

    /// Returns whether this OS process is a child, by `fork`, of the process that created the manager. If so, every
    /// call fails with [`Error::Forked`], or does nothing if it returns no result.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.hub.is_forked()
    }

    /// Returns the time on the manager's clock, in milliseconds since its creation.
    #[must_use]
    pub fn now(&self) -> Time {
        self.hub.clock.now()
    }
}

/// The driver's interface: its inputs. The outputs are [`Event`]s.
impl Locks {
    /// Notes that a connection to the store is open.
    pub fn connected(&self) {
        self.take(Input::Connected);
    }

    /// Notes that the connection was lost. Frees no grant (rule 10).
    pub fn disconnected(&self) {
        self.take(Input::Disconnected);
    }

    /// Handles a message from the store on the connection `link`, such as a grant, a recall, or the end of the lease.
    pub fn message(&self, link: Link, message: ToProcess) {
        self.take(Input::Message { link, message });
    }

    /// Gives the grant of a session back, unless a thread holds a lock in it. Rule 4.
    pub fn release(&self, session: &SessionId) {
        self.take(Input::Release(session.clone()));
    }

    /// Drops the cached copy of a session that this process does not hold.
    pub fn forget(&self, session: &SessionId) {
        self.take(Input::Forget(session.clone()));
    }

    /// Begins the shutdown: grants no more locks, releases each session when it becomes idle, and then sends a goodbye.
    pub fn shutdown(&self) {
        self.take(Input::Shutdown);
    }

    /// Handles all deadlines that have passed. The driver must call this no later than [`Locks::next_deadline`], and
    /// about every 100 ms while threads are active. Times shown to people are as precise as these calls.
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

    /// Returns the time by which the driver must call [`Locks::tick`]. Returns `None` if there is no deadline.
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
            // This thread has been granted its lock in the meantime.
            let id = id.clone();
            process.note_wait_end(&id, first);
        }
        waited.into_iter().chain(process.next_deadline()).min()
    }

    /// Moves a manual clock forward. The clock never goes back.
    pub fn set_time(&self, now: Time) {
        self.hub.clock.set(now);
    }

    /// Frees the memory that only sessions in use need, for sessions unused for `unused_ms` milliseconds. Forgets
    /// sessions without any state. Visits only sessions that are new, that have changed, or that are due.
    pub fn sweep(&self, unused_ms: u64) {
        self.hub.sweep(unused_ms);
    }

    /// Returns up to `max` sessions unused for `unused_ms` milliseconds, with the time of their last use, least
    /// recently used first. Changes since the last [`Locks::sweep`] are not included. Visits the returned sessions, and
    /// those before them in the known order that were used in the meantime.
    #[must_use]
    pub fn idle(&self, cached: Cached, unused_ms: u64, max: usize) -> Vec<(Time, SessionId)> {
        if self.is_forked() {
            return Vec::new();
        }
        self.hub.idle(cached, unused_ms, max)
    }

    /// Releases idle grants and drops idle copies. First, this affects grants and copies unused for `idle_ms`
    /// milliseconds. Then, if more than `cached_max` sessions are known, it affects the least recently used: copies
    /// first, then grants, until a sixteenth of `cached_max` is free. Sessions in use stay. Call this after
    /// [`Locks::sweep`].
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

    /// Returns the number of grants of this process.
    #[must_use]
    pub fn held(&self) -> usize {
        self.ask(|machine| machine.process.held())
    }

    /// Returns the number of grants that are being given back to the store.
    #[must_use]
    pub fn releasing(&self) -> usize {
        self.ask(|machine| machine.process.releasing())
    }

    /// Returns the number of sessions that the process knows: held, requested, or with a cached copy.
    #[must_use]
    pub fn known(&self) -> usize {
        self.ask(|machine| machine.process.known())
    }

    /// Returns the number of sessions that the manager has an entry for. For tests that count.
    #[doc(hidden)]
    #[must_use]
    pub fn entries(&self) -> usize {
        self.hub.map.len()
    }

    /// Returns the number of waiters of a session that were visited since its queue became long. For tests that count.
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

    /// Returns the number of sessions that [`Locks::sweep`] and [`Locks::idle`] have visited. For tests that count.
    #[doc(hidden)]
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.hub.machine().uses.visits
    }

    /// Returns whether the process has stopped for good: it has sent its goodbye, or a newer incarnation has taken
    /// over.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.is_forked() || self.hub.machine().process.has_left()
    }

    /// Returns the end of the lease on the manager's clock, with the margin subtracted. Returns `None` without a lease.
    #[must_use]
    pub fn lease(&self) -> Option<Time> {
        self.ask(|machine| machine.process.lease())
    }

    /// Returns the next event, if there is one.
    #[must_use]
    pub fn try_event(&self) -> Option<Event> {
        self.ask(Machine::next_event)
    }

    /// Polls for the next event. Only one driver may poll at a time: the waker of the last call is woken.
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
        drop(earlier); // Dropped without a lock: a dropped waker may drop a task and its guards.
        Poll::Pending
    }

    /// Waits for the next event.
    pub fn event(&self) -> impl Future<Output = Event> + '_ {
        poll_fn(|context| self.poll_event(context))
    }

    /// Waits for the next event, and blocks this OS thread. Returns `None` if there is no event within `limit`.
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

    /// Queries the machine. In a child of a `fork`, returns the default: another thread may have held the machine's
    /// mutex at the fork.
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
