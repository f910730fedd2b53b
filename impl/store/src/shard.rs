//! The driver of the store's machine: one lock around it, and what it needs to carry its outputs out.
//!
//! Whoever has an input takes a step: a connection's task its messages, the ticker what is due, the writer what became durable.
//! No task stands between, so a message costs no hop; decoding, encoding, sockets and the disk are outside of the lock.
//!
//! # Order
//! Updates go to the [writer](crate::writer) in the order of output. The machine's
//! [`DurabilityBarrier`](tenure_protocol::store::DurabilityBarrier) says which message waits for which update (rule 8). A
//! message that waits no more goes to its connection's [outbox](crate::outbox).

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
use tenure_protocol::message::GrantRef;
use tenure_protocol::store::{Admission, Envelope, Input, Output, Stopping, Timer};
use tenure_protocol::{Link, ProcessId, Record, SessionId, StoreMachine, Time, ToProcess, ToStore};
use tenure_wire::{Fault, FaultCode};
use tokio::sync::{Notify, watch};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shard {
    core: Mutex<Core>,
    pub(crate) clock: Clock,
    pub(crate) writer: Arc<Writer>,
    metrics: Arc<Metrics>,
    /// An earlier deadline than before.
    pub(crate) sooner: Notify,
    /// Why the engine has failed, once it has.
    pub(crate) failed: watch::Sender<Option<Failure>>,
    /// A grant may have ended, or a connection has, while the store stops.
    pub(crate) released: Notify,
    /// Inputs that were deferred were taken.
    unparked: Notify,
}

/// Why a store cannot go on.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Engine(Arc<EngineError>),
    /// The engine's thread panicked.
    Panic,
}

/// Bytes of deferred inputs of one process beyond which nothing more is read from it.
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
            .expect("a thread panicked in the store's machine, which is a bug in Tenure")
    }

    /// At the start: a record that has a holder, so that its session has to be in memory.
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

    /// At the start: a session that stays on the disk until it is concerned, and when it ends if it has a time to live.
    pub(crate) fn leave_outside(&self, id: &SessionId, expires: Option<Time>) {
        let mut core = self.core();
        core.residents.leave(id);
        core.timers.set(Owner::Session(id.clone()), expires);
    }

    /// A connection says hello.
    pub(crate) fn connect(
        &self,
        process: &ProcessId,
        link: Link,
        outbox: &Arc<Outbox>,
    ) -> Result<(), Fault> {
        let mut core = self.core();
        if core.is_closed {
            let text = "the store stops; try again";
            return Err(Fault::new(FaultCode::ShuttingDown, text));
        }
        match core.connections.entry((process.clone(), link)) {
            Entry::Occupied(_) => {
                let text = "this process has a connection of this number";
                Err(Fault::new(FaultCode::Unexpected, text))
            }
            Entry::Vacant(place) => {
                place.insert(Arc::clone(outbox));
                Ok(())
            }
        }
    }

    /// A message came.
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
            // It concerns no session, and does not wait for the disk behind what does.
            self.step(&mut core, input);
        } else {
            self.submit(&mut core, input);
        }
    }

    /// Waits until not much of what this process said waits for sessions to be read.
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

    /// A connection has ended.
    pub(crate) fn disconnect(&self, process: &ProcessId, link: Link) {
        let mut core = self.core();
        core.connections.remove(&(process.clone(), link));
        let process = process.clone();
        self.submit(&mut core, Input::Disconnected { process, link });
    }

    /// The operator wants a session back.
    pub(crate) fn recall(&self, id: &SessionId) {
        self.submit(&mut self.core(), Input::Recall(id.clone()));
    }

    /// Does what is due. Answers when the next thing is.
    pub(crate) fn tick(&self) -> Option<Time> {
        let now = self.clock.now();
        let mut core = self.core();
        while let Some(owner) = core.timers.pop(now) {
            for timer in core.due(&owner, now) {
                self.submit(&mut core, Input::Timer(timer));
            }
            // One that is deferred is set again when it is taken: until then it would be due at once.
            if !core.deferred.has(&owner.queue()) {
                core.reset(owner);
            }
        }
        core.timers.next()
    }

    /// Lets sessions leave memory that are free, durable, and were not used for `evict_ms`; or even so, if there are more than
    /// `resident_max`. A part of them at a time.
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

    /// From now on nothing new is granted; what is held stays with its holder, or is recalled. Returns how many grants there
    /// are.
    pub(crate) fn stop(&self, stopping: Stopping) -> usize {
        let mut core = self.core();
        let admission = Admission {
            stopping,
            ..core.machine.admission()
        };
        // The input concerns held sessions, which are in memory, so nothing has to be read first.
        self.step(&mut core, Input::Admission(admission));
        core.machine.held()
    }

    /// How many sessions are held.
    pub(crate) fn held(&self) -> usize {
        self.core().machine.held()
    }

    /// From now on nothing is heard.
    pub(crate) fn close(&self) {
        // Even after a panic.
        let core = self.core.lock();
        core.unwrap_or_else(PoisonError::into_inner).is_closed = true;
    }

    /// Looks at the machine, for people.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&StoreMachine, Time) -> R) -> R {
        look(&self.core().machine, self.clock.now())
    }

    /// Whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        self.core().machine.admission().is_full
    }

    /// Takes a step, now or when what it concerns is in memory.
    fn submit(&self, core: &mut Core, input: Input) {
        let queue = InputQueue::of(&input);
        // r[wire.in-order]
        if core.deferred.has(&queue) {
            return core.deferred.push(queue, input);
        }
        let concerned = core.machine.concerned(&input);
        let missing = core.missing(&concerned);
        if missing.is_empty() {
            self.step(core, input);
        } else {
            core.deferred.push(queue.clone(), input);
            self.fetch(core, &queue, concerned, &missing);
        }
    }

    /// Has read what the first input of a queue waits for.
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

    /// The first input of a queue has what it waited for: takes it, and those behind it up to the next that has to wait.
    fn unpark(&self, core: &mut Core, queue: &InputQueue) {
        while let Some(input) = core.deferred.pop(queue) {
            self.step(core, input);
            let Some(next) = core.deferred.front(queue) else {
                return;
            };
            let concerned = core.machine.concerned(next);
            let missing = core.missing(&concerned);
            if !missing.is_empty() {
                return self.fetch(core, queue, concerned, &missing);
            }
        }
    }

    fn step(&self, core: &mut Core, input: Input) {
        let now = self.clock.now();
        let concerned = core.machine.concerned(&input);
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
        for id in &concerned {
            if core.machine.session(id).is_some() {
                core.residents.touch(id, now);
            }
        }
        let next = core.timers.next();
        core.set_timers(&concerned);
        if let Some(process) = leased {
            core.set_lease(&process);
        }
        if core.timers.next() < next || next.is_none() {
            self.sooner.notify_one();
        }
    }

    fn carry_out(&self, core: &mut Core, out: &mut Vec<Output>) {
        // What this step made durable last.
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
                    tracing::warn!(%process, %link, "disconnected: it broke the protocol or was replaced");
                    if let Some(outbox) = core.connections.get(&(process, link)) {
                        let text = "against the protocol, beyond a limit of the store, or replaced";
                        outbox.close(Some(Fault::new(FaultCode::Unexpected, text)));
                    }
                }
            }
        }
    }
}

impl Shard {
    /// Sends a message when what it says is durable.
    fn send(&self, core: &mut Core, own: Option<u64>, envelope: Envelope) {
        log(&envelope);
        self.metrics.sent(&envelope.2);
        // r[grant.durable] r[commit.durable]
        if let Some(envelope) = core.barrier.hold(own, envelope) {
            core.deliver(envelope);
        }
    }
}

/// Who gets a session, and who is to give it back: so that it can be followed through the logs of all.
fn log((process, _, message): &Envelope) {
    match message {
        ToProcess::Granted { session, token, .. } => {
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
                "released without its changes, which pass this limit; raise it here, or lower that of the process"
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
                "revoked: a commit passes this limit; raise it here, or lower that of the process"
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
                tracing::error!(%error, "the engine has failed: the store stops");
                Failure::Engine(Arc::new(error))
            }
            None => Failure::Panic,
        };
        self.failed.send_replace(Some(failure));
    }
}
