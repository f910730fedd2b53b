//! Level one: the store decides which process may access a session.
//!
//! Each session has several independent facts, with one field each: the durable record (state, version, holder), the
//! queue, the recall, and the holder's report that it is busy. *Grant* and *recall* are always separate facts. Each
//! process has one lease, not one lease per grant.
//!
//! # Outputs
//! A driver carries out the outputs in order, and that order is the durability contract: an [`Output::Send`] that
//! follows an [`Output::Persist`] must not leave before that update is durable (rule 8). A driver may run ahead and use
//! group commit: a [`DurabilityBarrier`] says which message depends on which update.
//!
//! The machine deliberately has no clocks, sockets or disks. It does not evict idle sessions from memory; the driver
//! does. It knows no more of threads than `Busy` says.

mod admission;
mod barrier;
mod context;
mod deadlock;
mod drain;
mod grants;
mod link;
mod memory;
mod peers;
mod recalls;
mod seeded;
mod sessions;
mod step;
mod writes;

pub use admission::{Admission, Stopping};
pub use barrier::{DurabilityBarrier, Envelope};
pub use context::{Output, Stamps};
pub use peers::Peer;
pub use recalls::Recall;

use crate::attributes::{Record, Records};
use crate::config::{Settings, StoreSettings};
use crate::id::{Link, ProcessId, Request, SessionId, Ticket, Time, Version};
use crate::lock::{Claim, Lock, Parts};
use crate::message::{ToStore, WaitMode};
use crate::mutant::{Hook, Sound};
use crate::renumber::Numbers;
use alloc::vec::Vec;
use context::StepContext;
use peers::Peers;
use sessions::Sessions;
use step::Step;

/// An event that a store handles in one step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A message arrived from a process, on the connection `link`.
    Message {
        /// The sender.
        process: ProcessId,
        /// The connection of the sender on which the message arrived.
        link: Link,
        /// The message.
        message: ToStore,
    },
    /// A connection was lost. Frees nothing (rule 10).
    Disconnected {
        /// The process that was connected.
        process: ProcessId,
        /// The lost connection.
        link: Link,
    },
    /// A timer may be due. A timer that is not due is ignored.
    Timer(Timer),
    /// The operator wants the grant of the session back.
    Recall(SessionId),
    /// The conditions for new work have changed: the disk is full or has room again, or the store stops.
    Admission(Admission),
}

/// A timer of a store, see [`StoreMachine::timers`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The end of a process's lease. Rule 10.
    Lease(ProcessId),
    /// The repetition of a recall. Rule 11.
    Remind(SessionId),
    /// The deadline of a recall. Rule 11.
    Revoke(SessionId),
    /// The end of a process's wait for a session. Rule 17.
    Wait(SessionId, ProcessId),
    /// The end of an unused session. Rule 16.
    Expire(SessionId),
}

/// A claim of a process: as a waiter in a session's queue, or as the session's holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The process.
    pub process: ProcessId,
    /// The number that the process gave the request.
    pub request: Request,
    /// The place in the order of arrival.
    pub ticket: Ticket,
    /// The version that the process has, if any.
    pub known: Option<Version>,
    /// Whether the process waits for threads, or only tries.
    pub wait_mode: WaitMode,
    /// Whether the request is only for a session that exists. Rule 16.
    pub existing: bool,
    /// The time at which the wait ends.
    pub until: Time,
}

impl Claim for Place {
    type Owner = ProcessId;

    fn owner(&self) -> &ProcessId {
        &self.process
    }

    fn parts(&self) -> Parts<'_> {
        Parts::All // A grant covers the whole session. Rule 1.
    }

    fn until(&self) -> Time {
        self.until
    }

    fn is_try(&self) -> bool {
        self.wait_mode == WaitMode::Try
    }
}

/// The report of a recalled holder that threads are inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Busy {
    /// The number of threads inside.
    pub inside: u32,
    /// The sessions that these threads need before they can leave.
    pub blocked_on: Vec<SessionId>,
}

/// One session in the store's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    pub(crate) record: Record,
    pub(crate) lock: Lock<Place>,
    pub(crate) recall: Option<Recall>,
    pub(crate) busy: Option<Busy>,
    /// Whether the grant is lost because the holder committed a forbidden change. The store has notified the holder.
    /// The session is passed on when the holder shows that it knows of the loss, or when its recall ends. Rules 1 and
    /// 18.
    pub(crate) is_spoilt: bool,
    /// The number of grants in a row that changed the holder, and the holder of the last grant. Rule 2.
    pub(crate) turns: u8,
    pub(crate) last_holder: Option<ProcessId>,
}

impl Session {
    /// Returns the durable record, as last given to [`Output::Persist`].
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Returns the lock with the holder and the queue.
    #[must_use]
    pub fn lock(&self) -> &Lock<Place> {
        &self.lock
    }

    /// Returns the recall of the grant, if any.
    #[must_use]
    pub fn recall(&self) -> Option<&Recall> {
        self.recall.as_ref()
    }

    /// Returns the holder's report that threads are inside, if any.
    #[must_use]
    pub fn busy(&self) -> Option<&Busy> {
        self.busy.as_ref()
    }
}

/// The state machine of the store. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreMachine<H = Sound> {
    pub(crate) rules: H,
    pub(crate) settings: Settings<StoreSettings>,
    pub(crate) admission: Admission,
    pub(crate) stamps: Stamps,
    pub(crate) peers: Peers,
    pub(crate) sessions: Sessions<H>,
}

impl StoreMachine {
    /// Creates a store that starts at `now` from the durable records. `epoch` must be larger than the epoch of every
    /// earlier start on these records, and must itself be durable (rule 9). Every holder in the records receives a
    /// whole lease (rule 8).
    #[must_use]
    pub fn recover(
        settings: Settings<StoreSettings>,
        epoch: u64,
        records: &Records,
        now: Time,
    ) -> Self {
        Self::with_hook(Sound, settings, epoch, records, now)
    }
}

impl<H: Hook> StoreMachine<H> {
    /// Creates a store as [`StoreMachine::recover`] does, with a hook.
    #[must_use]
    pub fn with_hook(
        hook: H,
        settings: Settings<StoreSettings>,
        epoch: u64,
        records: &Records,
        now: Time,
    ) -> Self {
        let mut store = Self {
            rules: hook,
            settings,
            admission: Admission::default(),
            stamps: Stamps::new(hook.epoch(epoch)),
            peers: Peers::default(),
            sessions: Sessions::new(hook),
        };
        for (id, record) in records.iter() {
            store.admit(id, record, now);
        }
        store
    }

    /// Handles one input and appends the outputs to `out`. `now` never goes back.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        // r[recall.not-early] r[expiry.not-early]
        if let Input::Timer(timer) = &input
            && self.due(timer).is_none_or(|due| due > now)
        {
            return;
        }
        self.begin(now, out).take(input);
        #[cfg(debug_assertions)]
        if size_of::<H>() == 0 {
            crate::invariant::assert_store(self);
        }
    }

    /// Returns when `timer` is due, or `None` when the timer no longer applies.
    #[must_use]
    pub fn due(&self, timer: &Timer) -> Option<Time> {
        match timer {
            Timer::Lease(process) => self.peers.get(process).map(|peer| peer.lease),
            Timer::Remind(session) => self
                .sessions
                .get(session)?
                .recall
                .as_ref()
                .map(|recall| recall.remind),
            Timer::Revoke(session) => self.revoke_due(self.sessions.get(session)?),
            Timer::Wait(session, process) => {
                let mut waiters = self.sessions.get(session)?.lock.waiters();
                waiters
                    .find(|place| place.process == *process)
                    .map(|place| place.until)
            }
            Timer::Expire(session) => self.sessions.get(session)?.expire_due(),
        }
    }

    /// Returns all timers of the store with the time at which each is due. Walks over all sessions and processes: for
    /// checkers and tests. A driver keeps an index instead. It refreshes the index by [`StoreMachine::timers_of`] for
    /// the sessions that a step [concerned](StoreMachine::concerned).
    pub fn timers(&self) -> impl Iterator<Item = (Time, Timer)> + '_ {
        let leases = self
            .peers
            .iter()
            .map(|(process, _)| Timer::Lease(process.clone()));
        let sessions = self.sessions();
        let sessions = sessions.flat_map(|(id, _)| self.timers_of(id));
        leases
            .filter_map(|timer| Some((self.due(&timer)?, timer)))
            .chain(sessions)
    }

    /// Returns when the next timer is due. Walks over all sessions and processes, as [`StoreMachine::timers`] does.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers().map(|(due, _)| due).min()
    }

    /// Returns the sessions that the store has in memory.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter()
    }

    /// Returns the number of sessions that the store has in memory.
    #[must_use]
    pub fn resident(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the number of held sessions. Costs no walk.
    #[must_use]
    pub fn held(&self) -> usize {
        self.peers.held
    }

    /// Returns the number of waiting requests in all queues together. Costs no walk.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.peers.waiting
    }

    /// Returns one session, if it is in memory.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// Returns one process, if it has a lease.
    #[must_use]
    pub fn peer(&self, process: &ProcessId) -> Option<&Peer> {
        self.peers.get(process)
    }

    /// Returns whether a process has a lease and a connection. A waiter without a connection is passed by (rule 5).
    #[must_use]
    pub fn is_connected(&self, process: &ProcessId) -> bool {
        self.peers.is_connected(process)
    }

    /// Returns the processes that have a lease.
    pub fn peers(&self) -> impl Iterator<Item = (&ProcessId, &Peer)> {
        self.peers.iter()
    }

    /// Returns the conditions under which the store accepts new work.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.admission
    }

    /// Returns the counter from which the store draws stamps.
    #[must_use]
    pub fn stamps(&self) -> Stamps {
        self.stamps
    }

    /// Splits the store into the context of a step and the sessions.
    fn begin<'a>(&'a mut self, now: Time, out: &'a mut Vec<Output>) -> Step<'a, H> {
        let Self {
            rules,
            settings,
            admission,
            stamps,
            peers,
            sessions,
        } = self;
        let ctx = StepContext {
            now,
            rules: *rules,
            settings,
            admission,
            stamps,
            peers,
            out,
        };
        Step { ctx, sessions }
    }

    /// Shows every number in the store to `numbers`.
    pub fn visit(&mut self, numbers: &mut impl Numbers) {
        numbers.store_counter(&mut self.stamps.epoch, &mut self.stamps.sequence);
        self.peers.visit(numbers);
        for session in self.sessions.values_mut() {
            session.visit(numbers);
        }
    }

    /// Renames the processes; `name` must be injective. The checker uses this for symmetry reduction: of the states
    /// that differ only in the names of like processes it explores one.
    pub fn rename_processes(&mut self, name: impl Fn(&ProcessId) -> ProcessId) {
        self.peers.rename(&name);
        for session in self.sessions.values_mut() {
            session.rename_processes(&name);
        }
    }
}

impl Session {
    fn rename_processes(&mut self, name: &impl Fn(&ProcessId) -> ProcessId) {
        let holder = self.record.head.holder.as_mut();
        self.lock
            .update(|place| place.process = name(&place.process));
        holder
            .map(|holder| &mut holder.process)
            .into_iter()
            .chain(&mut self.last_holder)
            .for_each(|process| *process = name(process));
    }

    fn visit(&mut self, numbers: &mut impl Numbers) {
        self.record.visit(numbers);
        self.lock.update(|place| {
            numbers.request(&place.process, &mut place.request);
            numbers.stamp(&mut place.ticket.0);
            if let Some(known) = &mut place.known {
                numbers.stamp(&mut known.0);
            }
            numbers.time(&mut place.until);
        });
        if let Some(recall) = &mut self.recall {
            numbers.time(&mut recall.remind);
            numbers.time(&mut recall.deadline);
        }
    }
}
