//! The shard: the driver of the store's machine. It holds the machine behind one mutex and carries out the machine's
//! outputs.
//!
//! The task that has an input also takes the step: a connection's task for its messages, the ticker for timers, the
//! writer for durable updates. No other task is in between, so a message needs no task switch. Decoding, encoding,
//! sockets and the disk are outside the critical section.
//!
//! # Order
//! Updates go to the [writer](crate::writer) in the order of the machine's outputs. The machine's
//! [`DurabilityBarrier`](tenure_protocol::store::DurabilityBarrier) determines which message waits for which update
//! (rule 8). A message whose update is durable goes to its connection's [outbox](crate::outbox).

use crate::clock::Clock;
use crate::core::{Core, Greeting};
use crate::memory::{Fate, InputQueue};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::timers::Owner;
use crate::writer::{Durable, Writer};
use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenure_engine::EngineError;
use tenure_protocol::id::ShortId;
use tenure_protocol::message::{GrantRef, Granted};
use tenure_protocol::store::{Admission, Envelope, Input, Output, Stopping, Timer};
use tenure_protocol::{Link, ProcessId, Record, SessionId, StoreMachine, Time, ToProcess, ToStore};
use tenure_wire::{Fault, FaultCode};
use tokio::sync::{Notify, watch};

/// The driver of the store's machine. See the [module](self).
#[derive(Debug)]
pub(crate) struct Shard {
    core: Mutex<Core>,
    pub(crate) clock: Clock,
    pub(crate) writer: Arc<Writer>,
    metrics: Arc<Metrics>,
    /// Notified when the earliest deadline has moved forward.
    pub(crate) sooner: Notify,
    /// The failure of the engine, once it has failed.
    pub(crate) failed: watch::Sender<Option<Failure>>,
    /// Notified when a grant may have ended while the store stops, or when a connection has ended.
    pub(crate) released: Notify,
    /// Notified when deferred inputs were taken.
    unparked: Notify,
}

/// The failure because of which a store cannot continue.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Engine(Arc<EngineError>),
    /// The engine's thread panicked.
    Panic,
}

/// The most bytes of one process's deferred inputs. Above this limit the connection stops reading from the process.
const DEFERRED_BYTES_MAX: usize = 64 << 10;

impl Shard {
    pub(crate) fn new(
        machine: StoreMachine,
        clock: Clock,
        writer: Arc<Writer>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            core: Mutex::new(Core::new(machine)),
            clock,
            writer,
            metrics,
            sooner: Notify::new(),
            failed: watch::Sender::new(None),
            released: Notify::new(),
            unparked: Notify::new(),
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core
            .lock()
            .expect("no thread panics inside the store's machine; a panic there is a bug in Tenure")
    }

    /// Loads a session into memory during start. Its record has a holder, so the session must be in memory.
    pub(crate) fn admit(&self, id: &SessionId, record: &Record) {
        let now = self.clock.now();
        let mut core = self.core();
        core.machine.admit(id, record, now);
        core.residents.touch(id, now);
        core.set_timers(std::slice::from_ref(id));
        if let Some(holder) = &record.head.holder {
            core.set_lease(&holder.process);
        }
    }

    /// Registers, during start, a session that stays on disk until an input concerns it. `expires` is the end of its
    /// time to live.
    pub(crate) fn leave_outside(&self, id: &SessionId, expires: Option<Time>) {
        let mut core = self.core();
        core.residents.leave(id);
        core.timers.set(Owner::Session(id.clone()), expires);
    }

    /// Registers a connection that has sent its hello.
    pub(crate) fn connect(
        &self,
        process: &ProcessId,
        link: Link,
        outbox: &Arc<Outbox>,
    ) -> Result<(), Fault> {
        let mut core = self.core();
        if core.is_closed {
            let text = "the store is stopping; connect again after its restart";
            return Err(Fault::new(FaultCode::ShuttingDown, text));
        }
        match core.connections.entry((process.clone(), link)) {
            Entry::Occupied(_) => {
                let text = "this process already has a connection with this link number; connect with a higher one";
                Err(Fault::new(FaultCode::Unexpected, text))
            }
            Entry::Vacant(place) => {
                place.insert(Arc::clone(outbox));
                Ok(())
            }
        }
    }

    /// Processes a message of a process.
    pub(crate) fn message(&self, process: &ProcessId, link: Link, message: ToStore) {
        self.metrics.received(&message);
        let mut core = self.core();
        if core.is_closed {
            return;
        }
        let lives =
            matches!(message, ToStore::KeepAlive { .. }) && core.link(process) == Some(link);
        let process = process.clone();
        let input = Input::Message {
            process,
            link,
            message,
        };
        if lives {
            // A keep-alive concerns no session, so it overtakes inputs that wait for the disk.
            self.step(&mut core, input);
        } else {
            self.submit(&mut core, input);
        }
    }

    /// Waits until the deferred inputs of this process are below [`DEFERRED_BYTES_MAX`].
    pub(crate) async fn caught_up(&self, process: &ProcessId) {
        let queue = InputQueue::Process(process.clone());
        loop {
            let unparked = self.unparked.notified();
            if self.core().deferred.bytes(&queue) <= DEFERRED_BYTES_MAX {
                return;
            }
            unparked.await;
        }
    }

    /// Removes a connection that has ended.
    pub(crate) fn disconnect(&self, process: &ProcessId, link: Link) {
        let mut core = self.core();
        core.connections.remove(&(process.clone(), link));
        let process = process.clone();
        self.submit(&mut core, Input::Disconnected { process, link });
    }

    /// Recalls a session on behalf of the operator.
    pub(crate) fn recall(&self, id: &SessionId) {
        self.submit(&mut self.core(), Input::Recall(id.clone()));
    }

    /// Runs all timers that are due. Returns the time of the next one.
    pub(crate) fn tick(&self) -> Option<Time> {
        let now = self.clock.now();
        let mut core = self.core();
        while let Some(owner) = core.timers.pop(now) {
            for timer in core.due(&owner, now) {
                self.submit(&mut core, Input::Timer(timer));
            }
            // If the timer's input is deferred, the deadline is set again when the input is taken. Set now, it would be
            // due at once.
            if !core.deferred.has(&owner.queue()) {
                core.reset(owner);
            }
        }
        core.timers.next()
    }

    /// Removes some sessions from memory that are free, durable and unused for `evict_ms`. If more than `resident_max`
    /// sessions are in memory, the time of the last use is ignored.
    pub(crate) fn evict(&self, evict_ms: u64, resident_max: usize) {
        let now = self.clock.now();
        let mut core = self.core();
        let Core {
            machine,
            residents,
            barrier,
            deferred,
            ..
        } = &mut *core;
        let before = if residents.len() > resident_max {
            now
        } else {
            now.before(evict_ms)
        };
        residents.sweep(now, before, |id| {
            let Some(session) = machine.session(id) else {
                return Fate::Ended;
            };
            let has_record = session.record().exists();
            if !session.lock().is_free() {
                Fate::Held
            } else if barrier.has(id) || deferred.is_pinned(id) || !machine.evict(id) {
                Fate::Stays
            } else if has_record {
                Fate::Leaves
            } else {
                Fate::Ended
            }
        });
        self.metrics.sessions(residents.len(), residents.outside());
    }

    /// Stops granting new requests. Grants stay with their holders or are recalled, as `stopping` states. Returns the
    /// number of grants.
    pub(crate) fn stop(&self, stopping: Stopping) -> usize {
        let mut core = self.core();
        let admission = Admission {
            stopping,
            ..core.machine.admission()
        };
        // This input concerns only held sessions, which are always in memory, so nothing has to be loaded first.
        self.step(&mut core, Input::Admission(admission));
        core.machine.held()
    }

    /// Returns the number of held sessions.
    pub(crate) fn held(&self) -> usize {
        self.core().machine.held()
    }

    /// Returns the failure of the engine, once it has failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failed.borrow().clone()
    }

    /// Ignores all messages and connections from now on.
    pub(crate) fn close(&self) {
        // Continue even if a panic has poisoned the mutex.
        let core = self.core.lock();
        core.unwrap_or_else(PoisonError::into_inner).is_closed = true;
    }

    /// Runs a read-only query on the machine, for the admin listener.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&StoreMachine, Time) -> R) -> R {
        look(&self.core().machine, self.clock.now())
    }

    /// Returns whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        self.core().machine.admission().is_full
    }

    /// Takes a step with this input, at once or when the sessions that it concerns are in memory.
    fn submit(&self, core: &mut Core, input: Input) {
        let queue = InputQueue::of(&input);
        // r[wire.in-order]
        if core.deferred.has(&queue) {
            return core.deferred.push(queue, input);
        }
        let concerned = core.machine.concerned(&input);
        let missing = core.missing(&concerned);
        if missing.is_empty() {
            self.step_with(core, input, &concerned);
        } else {
            core.deferred.push(queue.clone(), input);
            self.fetch(core, &queue, concerned, &missing);
        }
    }

    /// Requests the missing sessions of a queue's first input from the writer.
    fn fetch(
        &self,
        core: &mut Core,
        queue: &InputQueue,
        concerned: Vec<SessionId>,
        missing: &BTreeSet<SessionId>,
    ) {
        for id in core.deferred.wait(queue, concerned, missing) {
            self.writer.load(id);
        }
    }

    /// Takes the first input of a queue, whose sessions are now loaded, and the inputs behind it up to the next that
    /// must wait.
    fn unpark(&self, core: &mut Core, queue: &InputQueue) {
        while let Some(next) = core.deferred.front(queue) {
            let concerned = core.machine.concerned(next);
            let missing = core.missing(&concerned);
            if !missing.is_empty() {
                return self.fetch(core, queue, concerned, &missing);
            }
            if let Some(input) = core.deferred.pop(queue) {
                self.step_with(core, input, &concerned);
            }
        }
    }

    /// Takes a step that concerns only sessions in memory.
    fn step(&self, core: &mut Core, input: Input) {
        let concerned = core.machine.concerned(&input);
        self.step_with(core, input, &concerned);
    }

    /// Takes a step. `concerned` are the sessions that it concerns, all of them in memory.
    fn step_with(&self, core: &mut Core, input: Input, concerned: &[SessionId]) {
        let now = self.clock.now();
        let leased = match &input {
            Input::Message { process, .. } | Input::Timer(Timer::Lease(process)) => {
                Some(process.clone())
            }
            _ => None,
        };
        let hello = Greeting::of(core, &input);
        let mut out = std::mem::take(&mut core.out);
        core.machine.step(now, input, &mut out);
        self.carry_out(core, &mut out);
        core.out = out;
        if let Some(hello) = hello {
            hello.settle(core);
        }
        for id in concerned {
            if core.machine.session(id).is_some() {
                core.residents.touch(id, now);
            }
        }
        let next = core.timers.next();
        core.set_timers(concerned);
        if let Some(process) = leased {
            core.set_lease(&process);
        }
        if core.timers.next() < next || next.is_none() {
            self.sooner.notify_one();
        }
    }

    fn carry_out(&self, core: &mut Core, out: &mut Vec<Output>) {
        // The sequence number of the last update of this step.
        let mut own = None;
        for output in out.drain(..) {
            match output {
                Output::Persist(update) => {
                    let ids = update.sessions().map(Option::<&SessionId>::cloned);
                    let sequence = self.writer.write(update);
                    for id in ids.iter().flatten() {
                        core.barrier.note(sequence, id);
                    }
                    own = Some(sequence);
                    if core.machine.admission().stopping.is_stopping() {
                        self.released.notify_one();
                    }
                }
                Output::Send {
                    process,
                    link,
                    message,
                } => self.send(core, own, (process, link, message)),
                Output::Disconnect { process, link } => {
                    tracing::warn!(%process, %link, "connection closed: the process violated the protocol or a limit, \
                    or a newer connection replaced this one");
                    if let Some(outbox) = core.connections.get(&(process, link)) {
                        let text = "this connection violated the protocol or a limit of the store, or a newer \
                        connection replaced it";
                        outbox.close(Some(Fault::new(FaultCode::Unexpected, text)));
                    }
                }
            }
        }
    }
}

impl Shard {
    /// Sends a message after the updates that it depends on are durable.
    fn send(&self, core: &mut Core, own: Option<u64>, envelope: Envelope) {
        log(&envelope);
        self.metrics.sent(&envelope.2);
        // r[grant.durable] r[commit.durable]
        if let Some(envelope) = core.barrier.hold(own, envelope) {
            core.deliver(envelope);
        }
    }
}

/// Logs grants, recalls and their ends, so that a session can be followed through the logs of all processes.
fn log((process, _, message): &Envelope) {
    match message {
        ToProcess::Granted(Granted { session, token, .. }) => {
            tracing::debug!(session = %ShortId(session), %process, %token, "granted");
        }
        ToProcess::Recall { hold, info } => {
            let GrantRef { session, token } = hold;
            tracing::debug!(session = %ShortId(session), %process, %token, reason = ?info.reason, "recalled");
        }
        ToProcess::Released {
            session,
            token,
            limit,
            ..
        } => match limit {
            Some(limit) => tracing::warn!(
                session = %ShortId(session), %process, %token, ?limit,
                "released without its changes, because they exceed this limit; raise the limit here, or lower that of \
                the process"
            ),
            None => {
                tracing::debug!(session = %ShortId(session), %process, %token, "released");
            }
        },
        ToProcess::Revoked {
            session,
            token,
            why,
            limit,
        } => match limit {
            Some(limit) => tracing::warn!(
                session = %ShortId(session), %process, %token, ?limit,
                "revoked because a commit exceeds this limit; raise the limit here, or lower that of the process"
            ),
            None => {
                tracing::warn!(session = %ShortId(session), %process, %token, ?why, "revoked");
            }
        },
        _ => {}
    }
}

impl Durable for Shard {
    fn on_durable(&self, sequence: u64) {
        let mut core = self.core();
        for envelope in core.barrier.take(sequence) {
            core.deliver(envelope);
        }
    }

    fn on_loaded(&self, session: SessionId, record: Option<Record>) {
        let now = self.clock.now();
        let mut core = self.core();
        let is_absent = record.is_none();
        if let Some(record) = record {
            core.machine.admit(&session, &record, now);
            core.residents.come_back(&session);
            core.residents.touch(&session, now);
        }
        for queue in core.deferred.loaded(&session, is_absent) {
            self.unpark(&mut core, &queue);
        }
        core.set_timers(&[session]);
        drop(core);
        self.unparked.notify_waiters();
    }

    fn on_full(&self, is_full: bool) {
        let mut core = self.core();
        let admission = Admission {
            is_full,
            ..core.machine.admission()
        };
        self.step(&mut core, Input::Admission(admission));
        drop(core);
        self.metrics.full(is_full);
    }

    fn on_failed(&self, error: Option<EngineError>) {
        let failure = match error {
            Some(error) => {
                tracing::error!(%error, "the storage engine has failed: the store stops; commits that were not \
                acknowledged may not be durable");
                Failure::Engine(Arc::new(error))
            }
            None => Failure::Panic,
        };
        self.failed.send_replace(Some(failure));
    }
}
