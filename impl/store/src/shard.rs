//! The driver of the store's machine: one lock around it, and what it needs to carry its outputs out.
//!
//! Whoever has an input takes a step: a connection's task its messages, the ticker what is due, the writer what became durable.
//! No task stands between, so a message costs no hop; decoding, encoding, sockets and the disk are outside of the lock.
//!
//! # Order
//! Updates go to the [writer](crate::writer) in the order of output. A message that follows an update of its session is held
//! back until that update is durable (rule 8); then it goes to its connection's [outbox](crate::outbox). So the messages about
//! one session leave in the order of output, on whatever connection. A message about a process as a whole waits for what its
//! own step made durable.

use crate::clock::Clock;
use crate::memory::{Line, Parked, Residents};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::timers::{Owner, Timers};
use crate::writer::{Durable, Writer};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tenure_engine::EngineError;
use tenure_protocol::message::{Limited, Refusal};
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{
    Link, ProcessId, Record, SessionId, Store, Time, ToProcess, ToStore, Update,
};
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
    pub(crate) failed: watch::Sender<Option<Arc<EngineError>>>,
    /// Changes when a grant ends while the store stops.
    pub(crate) released: Notify,
}

#[derive(Debug)]
struct Core {
    machine: Store,
    out: Vec<Output>,
    timers: Timers,
    residents: Residents,
    parked: Parked,
    /// What was asked for and has no record.
    absent: HashSet<SessionId>,
    connections: HashMap<(ProcessId, Link), Arc<Outbox>>,
    undurable: Undurable,
    is_full: bool,
    is_stopping: bool,
}

/// What waits for the disk.
#[derive(Debug, Default)]
struct Undurable {
    /// The number of the last update of each session that has one that is not durable.
    last: HashMap<SessionId, u64>,
    /// All updates that are not durable, in order.
    order: VecDeque<(u64, SessionId)>,
    /// Messages by the update that they wait for.
    held: BTreeMap<u64, Vec<(ProcessId, Link, ToProcess)>>,
}

impl Undurable {
    fn note(&mut self, sequence: u64, id: &SessionId) {
        self.last.insert(id.clone(), sequence);
        self.order.push_back((sequence, id.clone()));
    }

    /// The messages that have waited for the updates up to `sequence`.
    fn take(&mut self, sequence: u64) -> BTreeMap<u64, Vec<(ProcessId, Link, ToProcess)>> {
        while let Some((number, id)) = self.order.pop_front_if(|(number, _)| *number <= sequence) {
            if self.last.get(&id) == Some(&number) {
                self.last.remove(&id);
            }
        }
        let rest = self.held.split_off(&(sequence + 1));
        std::mem::replace(&mut self.held, rest)
    }
}

impl Shard {
    pub(crate) fn new(
        machine: Store,
        clock: Clock,
        writer: Arc<Writer>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            core: Mutex::new(Core {
                machine,
                out: Vec::new(),
                timers: Timers::default(),
                residents: Residents::default(),
                parked: Parked::default(),
                absent: HashSet::new(),
                connections: HashMap::new(),
                undurable: Undurable::default(),
                is_full: false,
                is_stopping: false,
            }),
            clock,
            writer,
            metrics,
            sooner: Notify::new(),
            failed: watch::Sender::new(None),
            released: Notify::new(),
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

    /// A connection says hello. `false` when there is one of the same name and number.
    pub(crate) fn connect(&self, process: &ProcessId, link: Link, outbox: &Arc<Outbox>) -> bool {
        let mut core = self.core();
        let key = (process.clone(), link);
        if core.connections.contains_key(&key) {
            return false;
        }
        core.connections.insert(key, Arc::clone(outbox));
        true
    }

    /// A message came.
    pub(crate) fn message(&self, process: &ProcessId, link: Link, message: ToStore) {
        self.metrics.received(&message);
        let mut core = self.core();
        if let ToStore::Acquire(wish) = &message {
            if core.is_stopping {
                return; // It will be asked again, of the store that starts next.
            }
            if core.is_full && !core.knows(process, &wish.session) {
                let why = Refusal::Limit(Limited::Storage);
                let (session, request) = (wish.session.clone(), wish.request);
                let refused = ToProcess::Refused {
                    session,
                    request,
                    why,
                };
                self.metrics.sent(&refused);
                core.deliver(process, link, refused);
                return;
            }
        }
        let process = process.clone();
        let input = Input::Message {
            process,
            link,
            message,
        };
        self.submit(&mut core, input);
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
            core.reset(owner);
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
            undurable,
            ..
        } = &mut *core;
        let before = if residents.len() > resident_max {
            now
        } else {
            now.before(evict_ms)
        };
        for id in residents.old(before, |id| machine.session(id).is_some()) {
            let has_record = machine
                .session(&id)
                .is_some_and(|session| session.record().exists());
            if !undurable.last.contains_key(&id) && machine.evict(&id) && has_record {
                residents.leave(&id);
            }
        }
        self.metrics.sessions(residents.len(), residents.outside());
    }

    /// From now on nothing new is granted, and everything that is held is recalled. Answers how many grants there are.
    pub(crate) fn stop(&self) -> usize {
        let mut core = self.core();
        core.is_stopping = true;
        let held = core.held();
        for id in &held {
            self.submit(&mut core, Input::Recall(id.clone()));
        }
        held.len()
    }

    /// How many sessions are held.
    pub(crate) fn held(&self) -> usize {
        self.core().held().len()
    }

    /// Closes all connections.
    pub(crate) fn close_all(&self, fault: &Fault) {
        for outbox in self.core().connections.values() {
            outbox.close(Some(fault.clone()));
        }
    }

    /// Looks at the machine, for people.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Store, Time) -> R) -> R {
        look(&self.core().machine, self.clock.now())
    }

    /// Whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        self.core().is_full
    }

    /// Takes a step, now or when what it concerns is in memory.
    fn submit(&self, core: &mut Core, input: Input) {
        let is_behind = !core.parked.is_empty() && core.parked.has(&Line::of(&input));
        let concerned = core.machine.concerned(&input);
        if is_behind || !self.fetch(core, &input, &concerned) {
            core.parked.push(Line::of(&input), input);
        } else {
            self.step(core, input, &concerned);
        }
    }

    /// Whether all that an input concerns is in memory; what is not is read.
    fn fetch(&self, core: &mut Core, input: &Input, concerned: &[SessionId]) -> bool {
        let mut is_there = true;
        for id in concerned {
            let is_outside = core.residents.is_outside(id) && core.machine.session(id).is_none();
            if is_outside && !core.absent.contains(id) {
                is_there = false;
                if core.parked.wait(Line::of(input), id.clone()) {
                    self.writer.load(id.clone());
                }
            }
        }
        is_there
    }

    fn step(&self, core: &mut Core, input: Input, concerned: &[SessionId]) {
        let now = self.clock.now();
        let process = match &input {
            Input::Message { process, .. } | Input::Timer(Timer::Lease(process)) => {
                Some(process.clone())
            }
            _ => None,
        };
        let mut out = std::mem::take(&mut core.out);
        core.machine.step(now, input, &mut out);
        let granted = if core.is_stopping {
            granted(&out)
        } else {
            Vec::new()
        };
        self.carry_out(core, &mut out);
        core.out = out;
        for id in concerned {
            if core.machine.session(id).is_some() {
                core.residents.touch(id, now);
            }
        }
        let next = core.timers.next();
        core.set_timers(concerned);
        if let Some(process) = process {
            core.set_lease(&process);
        }
        if core.timers.next() < next || next.is_none() {
            self.sooner.notify_one();
        }
        for id in granted {
            self.submit(core, Input::Recall(id));
        }
    }

    fn carry_out(&self, core: &mut Core, out: &mut Vec<Output>) {
        // What this step made durable last.
        let mut own = None;
        for output in out.drain(..) {
            match output {
                Output::Persist(update) => {
                    let ids = match &update {
                        Update::Put { session, .. } | Update::Remove { session } => {
                            [Some(session.clone()), None]
                        }
                        Update::Rename { from, to, .. } => [Some(from.clone()), Some(to.clone())],
                    };
                    let sequence = self.writer.write(update);
                    for id in ids.iter().flatten() {
                        core.undurable.note(sequence, id);
                    }
                    own = Some(sequence);
                }
                Output::Send {
                    process,
                    link,
                    message,
                } => {
                    self.metrics.sent(&message);
                    if core.is_stopping && matches!(message, ToProcess::Released { .. }) {
                        self.released.notify_one();
                    }
                    let waits_for = match message.session() {
                        Some(id) => core.undurable.last.get(id).copied(),
                        None => own,
                    };
                    match waits_for {
                        Some(sequence) => {
                            let held = core.undurable.held.entry(sequence).or_default();
                            held.push((process, link, message));
                        }
                        None => core.deliver(&process, link, message),
                    }
                }
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

/// The sessions that were granted.
fn granted(out: &[Output]) -> Vec<SessionId> {
    let granted = out.iter().filter_map(|output| match output {
        Output::Send {
            message: ToProcess::Granted { session, .. },
            ..
        } => Some(session.clone()),
        _ => None,
    });
    granted.collect()
}

impl Durable for Shard {
    fn on_durable(&self, sequence: u64) {
        let mut core = self.core();
        for (process, link, message) in core.undurable.take(sequence).into_values().flatten() {
            core.deliver(&process, link, message);
        }
    }

    fn on_loaded(&self, session: SessionId, record: Option<Record>) {
        let now = self.clock.now();
        let mut core = self.core();
        match record {
            Some(record) => {
                core.machine.admit(&session, &record, now);
                core.residents.come_back(&session);
                core.residents.touch(&session, now);
            }
            None => drop(core.absent.insert(session.clone())),
        }
        for line in core.parked.loaded(&session) {
            while let Some(input) = core.parked.front(&line).cloned() {
                let concerned = core.machine.concerned(&input);
                if !self.fetch(&mut core, &input, &concerned) {
                    break;
                }
                core.parked.pop(&line);
                self.step(&mut core, input, &concerned);
            }
        }
        core.absent.remove(&session);
        core.set_timers(&[session]);
    }

    fn on_full(&self, is_full: bool) {
        self.core().is_full = is_full;
        self.metrics.full(is_full);
    }

    fn on_failed(&self, error: EngineError) {
        tracing::error!(%error, "the engine has failed: the store stops");
        self.failed.send_replace(Some(Arc::new(error)));
    }
}

impl Core {
    fn deliver(&self, process: &ProcessId, link: Link, message: ToProcess) {
        if let Some(outbox) = self.connections.get(&(process.clone(), link)) {
            outbox.send(message);
        }
    }

    /// Whether the process holds the session or waits for it.
    fn knows(&self, process: &ProcessId, id: &SessionId) -> bool {
        let peer = self.machine.peer(process);
        peer.is_some_and(|peer| peer.sessions().contains(id))
    }

    fn held(&self) -> Vec<SessionId> {
        let sessions = self.machine.sessions();
        let held = sessions.filter(|(_, session)| session.holder().is_some());
        held.map(|(id, _)| id.clone()).collect()
    }

    fn set_timers(&mut self, ids: &[SessionId]) {
        for id in ids {
            if self.machine.session(id).is_some() || !self.residents.is_outside(id) {
                let due = self.machine.timers_of(id).map(|(due, _)| due).min();
                self.timers.set(Owner::Session(id.clone()), due);
            }
        }
    }

    fn set_lease(&mut self, process: &ProcessId) {
        let due = self.machine.peer(process).map(|peer| peer.lease());
        self.timers.set(Owner::Process(process.clone()), due);
    }

    /// What is due for `owner`.
    fn due(&self, owner: &Owner, now: Time) -> Vec<Timer> {
        match owner {
            Owner::Process(process) => [Timer::Lease(process.clone())].into(),
            // What ends a session that is not in memory is its time to live.
            Owner::Session(id) if self.machine.session(id).is_none() => {
                [Timer::Expire(id.clone())].into()
            }
            Owner::Session(id) => {
                let mut due: Vec<_> = self
                    .machine
                    .timers_of(id)
                    .filter(|(due, _)| *due <= now)
                    .collect();
                due.sort();
                due.into_iter().map(|(_, timer)| timer).collect()
            }
        }
    }

    /// Sets the timer again that was taken out.
    fn reset(&mut self, owner: Owner) {
        match owner {
            Owner::Process(process) => self.set_lease(&process),
            Owner::Session(id) => self.set_timers(&[id]),
        }
    }
}
