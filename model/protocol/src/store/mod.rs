//! Level one: the store decides which process may access a session.
//!
//! Per session there are facts that do not depend on each other, and one field for each: the durable record (state,
//! version, holder), the queue, the recall, what the holder said it is busy with. *Grant* and *recall* are never one
//! state. Per process there is one lease, not one per grant.
//!
//! # Outputs
//! Outputs are carried out in order, and that order is the durability contract: a [`Output::Send`] that follows a
//! [`Output::Persist`] must not leave before that update is durable (rule 8). A driver may run ahead and commit in
//! groups: a [`DurabilityBarrier`] tells it which message depends on which update.
//!
//! Deliberately absent: clocks, sockets, disks; eviction of idle sessions from memory (the driver's); any knowledge of
//! threads beyond what `Busy` says.

mod admission;
mod barrier;
mod context;
mod deadlock;
mod grants;
mod memory;
mod peers;
mod recalls;
mod sessions;
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
use crate::message::{Reason, ToStore, WaitMode};
use crate::mutant::{Hook, ProtocolMutant, Sound};
use crate::renumber::Numbers;
use alloc::vec::Vec;
use context::{Peers, StepContext};
use sessions::Sessions;

/// What happens to a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A message arrived from a process, on the connection `link`.
    Message {
        /// Who sent it.
        process: ProcessId,
        /// On which of its connections.
        link: Link,
        /// What it says.
        message: ToStore,
    },
    /// A connection was lost. Frees nothing (rule 10).
    Disconnected {
        /// Whose.
        process: ProcessId,
        /// Which.
        link: Link,
    },
    /// A timer may be due; one that is not, is ignored.
    Timer(Timer),
    /// The operator wants the session given back.
    Recall(SessionId),
    /// What the store may take on has changed: its disk is full or has room again, or the store stops.
    Admission(Admission),
}

/// What a store waits for, see [`StoreMachine::timers`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The end of a process's lease. Rule 10.
    Lease(ProcessId),
    /// A recall is to be repeated. Rule 11.
    Remind(SessionId),
    /// A recall's deadline. Rule 11.
    Revoke(SessionId),
    /// The end of a process's wait for a session. Rule 17.
    Wait(SessionId, ProcessId),
    /// The end of an unused session. Rule 16.
    Expire(SessionId),
}

/// A process in a session's queue, or at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which process.
    pub process: ProcessId,
    /// Its number for the request.
    pub request: Request,
    /// Its place in the order of arrival.
    pub ticket: Ticket,
    /// The version that it has.
    pub known: Option<Version>,
    /// Whether it waits for threads.
    pub wait_mode: WaitMode,
    /// Whether it wants the session only if that exists. Rule 16.
    pub existing: bool,
    /// When its wait ends.
    pub until: Time,
}

impl Claim for Place {
    type Owner = ProcessId;

    fn owner(&self) -> &ProcessId {
        &self.process
    }

    fn parts(&self) -> Parts<'_> {
        Parts::All // Exclusive. Rule 1.
    }

    fn until(&self) -> Time {
        self.until
    }

    fn is_try(&self) -> bool {
        self.wait_mode == WaitMode::Try
    }
}

/// What a holder said when it was recalled and threads were inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Busy {
    /// How many threads.
    pub inside: u32,
    /// The sessions that they cannot leave without.
    pub blocked_on: Vec<SessionId>,
}

/// One session, as the store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    pub(crate) record: Record,
    pub(crate) lock: Lock<Place>,
    pub(crate) recall: Option<Recall>,
    pub(crate) busy: Option<Busy>,
    /// Whether the holder has been told that the grant is lost, since it committed what it may not: the session is passed on when
    /// the holder shows that it has heard that, or when its recall ends. Rules 1 and 18.
    pub(crate) is_spoilt: bool,
    /// How many grants in a row went to another process than the one before, and which had the last. Rule 2.
    pub(crate) turns: u8,
    pub(crate) last_holder: Option<ProcessId>,
}

impl Session {
    /// The durable record, as last given to [`Output::Persist`].
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The holder and the queue.
    #[must_use]
    pub fn lock(&self) -> &Lock<Place> {
        &self.lock
    }

    /// The recall of the grant, if any.
    #[must_use]
    pub fn recall(&self) -> Option<&Recall> {
        self.recall.as_ref()
    }

    /// What the holder said it is busy with.
    #[must_use]
    pub fn busy(&self) -> Option<&Busy> {
        self.busy.as_ref()
    }
}

/// The store. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreMachine<H = Sound> {
    pub(crate) hook: H,
    pub(crate) settings: Settings<StoreSettings>,
    pub(crate) admission: Admission,
    pub(crate) stamps: Stamps,
    pub(crate) peers: Peers,
    pub(crate) sessions: Sessions<H>,
}

impl StoreMachine {
    /// A store that starts, at `now`, from what is durable. `epoch` is larger than any with which a store was started
    /// on these records before, and is durable itself (rule 9). Every holder in the records gets a whole lease (rule 8).
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
    /// As [`StoreMachine::recover`], with a hook.
    #[must_use]
    pub fn with_hook(
        hook: H,
        settings: Settings<StoreSettings>,
        epoch: u64,
        records: &Records,
        now: Time,
    ) -> Self {
        let epoch = if hook.is_mutant(ProtocolMutant::ReusesTokens) {
            1
        } else {
            epoch
        };
        let mut store = Self {
            hook,
            settings,
            admission: Admission::default(),
            stamps: Stamps::new(epoch),
            peers: Peers::default(),
            sessions: Sessions::new(hook),
        };
        for (id, record) in records.iter() {
            store.admit(id, record, now);
        }
        store
    }

    /// One step. `now` never goes back.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Message {
                process,
                link,
                message,
            } => self.on_message(now, process, link, message, out),
            Input::Disconnected { process, link } => self.on_disconnected(now, &process, link, out),
            Input::Timer(timer) => self.on_timer(now, timer, out),
            Input::Recall(session) => self.on_operator_recall(now, &session, out),
            Input::Admission(admission) => self.on_admission(now, admission, out),
        }
        #[cfg(debug_assertions)]
        if size_of::<H>() == 0 {
            crate::invariant::assert_store(self);
        }
    }

    fn on_message(
        &mut self,
        now: Time,
        process: ProcessId,
        link: Link,
        message: ToStore,
        out: &mut Vec<Output>,
    ) {
        if let ToStore::Hello {
            incarnation,
            minor,
            sent,
            holds,
            waits,
        } = message
        {
            return self.on_hello(
                now,
                &process,
                peers::Hello {
                    link,
                    incarnation,
                    minor,
                    sent,
                    holds,
                    waits,
                },
                out,
            );
        }
        if !self.knows(&process, link, &message, out) {
            return;
        }
        match message {
            ToStore::KeepAlive { sent } => self.on_keep_alive(now, &process, sent, out),
            ToStore::Goodbye => self.on_goodbye(now, &process, out),
            ToStore::Acquire(acquire) => self.on_acquire(now, &process, acquire, out),
            ToStore::Cancel { session, request } => {
                self.on_cancel(now, &process, &session, request, out)
            }
            of_grant => self.on_message_of_grant(now, &process, of_grant, out),
        }
    }

    /// Takes a message that names a grant by its token.
    fn on_message_of_grant(
        &mut self,
        now: Time,
        process: &ProcessId,
        message: ToStore,
        out: &mut Vec<Output>,
    ) {
        match message {
            ToStore::Commit {
                session,
                token,
                base,
                delta,
            } => {
                let write = writes::Write { token, base, delta };
                self.on_commit(now, process, &session, write, out);
            }
            ToStore::Release {
                session,
                token,
                base,
                delta,
                requeue,
                idle_ms,
            } => {
                let write = writes::Write { token, base, delta };
                let after = writes::After { requeue, idle_ms };
                self.on_release(now, process, &session, write, after, out);
            }
            ToStore::Busy {
                session,
                token,
                inside,
                blocked_on,
            } => {
                let busy = Busy { inside, blocked_on };
                self.on_busy(now, process, &session, token, busy, out);
            }
            ToStore::Destroy { session, token } => {
                self.on_destroy(now, process, &session, token, out)
            }
            ToStore::Rename { session, token, to } => {
                self.on_rename(now, process, &session, token, to, out)
            }
            ToStore::Hello { .. }
            | ToStore::KeepAlive { .. }
            | ToStore::Goodbye
            | ToStore::Acquire(_)
            | ToStore::Cancel { .. } => unreachable!("`on_message` takes what names no grant"),
        }
    }

    fn on_timer(&mut self, now: Time, timer: Timer, out: &mut Vec<Output>) {
        // r[recall.not-early] r[expiry.not-early]
        if self.due(&timer).is_none_or(|due| due > now) {
            return;
        }
        match timer {
            Timer::Lease(process) => self.on_lease_end(now, &process, out),
            Timer::Remind(session) => self.on_remind(now, &session, out),
            Timer::Revoke(session) => self.on_revoke(now, &session, out),
            Timer::Wait(session, process) => self.on_wait_end(now, &session, &process, out),
            Timer::Expire(session) => self.on_expire(now, &session, out),
        }
    }

    /// When `timer` is due; `None` when nothing waits for it any more.
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

    /// Everything that the store waits for, with the time when it is due. Walks over all sessions and processes: for checkers
    /// and tests. A driver keeps an index, which it refreshes by [`StoreMachine::timers_of`] for the sessions that a step
    /// [concerned](StoreMachine::concerned).
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

    /// When the next timer is due. Walks over everything, as [`StoreMachine::timers`] does.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers().map(|(due, _)| due).min()
    }

    /// The sessions that the store has in memory.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter()
    }

    /// How many sessions the store has in memory.
    #[must_use]
    pub fn resident(&self) -> usize {
        self.sessions.len()
    }

    /// How many sessions are held. Costs no walk.
    #[must_use]
    pub fn held(&self) -> usize {
        self.peers.held
    }

    /// How many requests wait, in all queues together. Costs no walk.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.peers.waiting
    }

    /// One session.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// One process, if it has a lease.
    #[must_use]
    pub fn peer(&self, process: &ProcessId) -> Option<&Peer> {
        self.peers.get(process)
    }

    /// Returns whether a process has a lease and a connection. One that waits without a connection is passed by (rule 5).
    #[must_use]
    pub fn is_connected(&self, process: &ProcessId) -> bool {
        self.peers.is_connected(process)
    }

    /// The processes that have a lease.
    pub fn peers(&self) -> impl Iterator<Item = (&ProcessId, &Peer)> {
        self.peers.iter()
    }

    /// The numbers that the store draws.
    #[must_use]
    pub fn stamps(&self) -> Stamps {
        self.stamps
    }

    fn on_operator_recall(&mut self, now: Time, id: &SessionId, out: &mut Vec<Output>) {
        let (mut ctx, sessions) = self.open(now, out);
        if let Some(session) = sessions.get_mut(id) {
            // r[recall.operator]
            session.ensure_recall(id, Reason::Operator, &mut ctx);
        }
    }

    /// Splits the store into what every session's step shares and the sessions.
    pub(crate) fn open<'a>(
        &'a mut self,
        now: Time,
        out: &'a mut Vec<Output>,
    ) -> (StepContext<'a, H>, &'a mut Sessions<H>) {
        let Self {
            hook,
            settings,
            admission,
            stamps,
            peers,
            sessions,
        } = self;
        (
            StepContext {
                now,
                hook: *hook,
                settings,
                admission: *admission,
                stamps,
                peers,
                out,
            },
            sessions,
        )
    }

    /// Forgets a session of which nothing is left to know.
    pub(crate) fn tidy(&mut self, id: &SessionId) {
        if self
            .sessions
            .get(id)
            .is_some_and(|session| session.lock.is_free() && !session.record.exists())
        {
            self.sessions.remove(id);
        }
    }

    /// Shows every number in the store.
    pub fn visit(&mut self, numbers: &mut impl Numbers) {
        numbers.store_counter(&mut self.stamps.epoch, &mut self.stamps.sequence);
        self.peers.visit(numbers);
        for session in self.sessions.values_mut() {
            session.visit(numbers);
        }
    }

    /// Gives the processes other names, no two the same one: for the checker, which explores one of the states that differ
    /// only in which of several like processes is which.
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
