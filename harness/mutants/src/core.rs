//! The store's machine with its simulated disk and its connections.
//!
//! The disk is slow: an update becomes durable at the next flush, some milliseconds later, and the messages that wait
//! for it leave then. A message that leaves too early is thereby wrong if the store is killed in between.

use crate::mutant::{DriverMutant, Mutant};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tenure_protocol::attributes::{Records, State};
use tenure_protocol::config::Settings;
use tenure_protocol::message::{Commit, Granted};
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    Link, ProcessId, SessionId, StoreMachine as Machine, StoreSettings, Time, ToProcess, ToStore,
};
use tenure_wire::FromStore;
use tokio::sync::mpsc::UnboundedSender;

/// The channel to a connection. `None` closes the connection.
pub(crate) type Line = UnboundedSender<Option<FromStore>>;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) mutant: Mutant,
    settings: StoreSettings,
    origin: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    machine: Machine<Mutant>,
    durable: Records,
    /// The outputs that are not durable yet, and the messages that wait for them.
    queue: VecDeque<Output>,
    epoch: u64,
    lines: HashMap<(ProcessId, Link), Line>,
    sent: u64,
    /// The state of the last grant.
    last_state: Option<State>,
    /// The number of this life of the store. Messages on connections of an earlier life have no effect.
    life: u64,
}

impl Core {
    pub(crate) fn new(mutant: Mutant, settings: StoreSettings) -> Self {
        let durable = Records::default();
        let shared = Settings::new(settings.clone());
        let machine = Machine::with_hook(mutant, shared, 1, &durable, Time::ZERO);
        Self {
            mutant,
            settings,
            origin: Instant::now(),
            inner: Mutex::new(Inner {
                machine,
                durable,
                queue: VecDeque::new(),
                epoch: 1,
                lines: HashMap::new(),
                sent: 0,
                last_state: None,
                life: 0,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn life(&self) -> u64 {
        self.inner().life
    }

    /// Kills and restarts the store. Updates that are not durable are lost.
    pub(crate) fn restart(&self) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.queue.clear();
        inner.lines.clear();
        inner.epoch += 1;
        inner.life += 1;
        let settings = Settings::new(self.settings.clone());
        let durable = &inner.durable;
        inner.machine = Machine::with_hook(self.mutant, settings, inner.epoch, durable, self.now());
    }

    /// Registers a connection that has sent its hello, and closes the connection that it replaces. Returns whether the
    /// connection is accepted.
    pub(crate) fn open(&self, process: &ProcessId, link: Link, line: &Line) -> bool {
        let mut inner = self.inner();
        if inner.lines.contains_key(&(process.clone(), link)) {
            return false;
        }
        let is_old = |own: &Link| own.incarnation == link.incarnation && own.number < link.number;
        let old = inner
            .lines
            .iter()
            .filter(|((own, at), _)| own == process && is_old(at));
        for (_, old) in old.filter(|_| !self.mutant.is(DriverMutant::ServesOldConnection)) {
            let _ = old.send(None); // The connection may have ended already.
        }
        inner.lines.insert((process.clone(), link), line.clone());
        true
    }

    /// Processes a message on a connection of that life of the store.
    pub(crate) fn hear(&self, life: u64, process: &ProcessId, link: Link, message: ToStore) {
        if self.life() != life {
            return;
        }
        let mut link = link;
        if self.mutant.is(DriverMutant::ServesOldConnection)
            && !matches!(message, ToStore::Hello(_))
        {
            let inner = self.inner();
            let own = inner.lines.keys().filter(|(own, _)| own == process);
            link = own.map(|(_, link)| *link).max().unwrap_or(link);
        }
        let is_keep_alive = matches!(message, ToStore::KeepAlive { .. } | ToStore::Hello(_));
        let message = self.misread(message);
        self.step(Input::Message {
            process: process.clone(),
            link,
            message,
        });
        if self.mutant.is(DriverMutant::LeaseByTraffic) && !is_keep_alive {
            let message = ToStore::KeepAlive { sent: Time::ZERO };
            let mut out = Vec::new();
            let process = process.clone();
            let input = Input::Message {
                process,
                link,
                message,
            };
            // The answer is not sent, because only the lease matters.
            self.inner().machine.step(self.now(), input, &mut out);
        }
    }

    pub(crate) fn closed(&self, life: u64, process: &ProcessId, link: Link) {
        if self.life() != life {
            return;
        }
        self.inner().lines.remove(&(process.clone(), link));
        self.step(Input::Disconnected {
            process: process.clone(),
            link,
        });
    }

    pub(crate) fn recall(&self, session: SessionId) {
        self.step(Input::Recall(session));
    }

    fn step(&self, input: Input) {
        let mut out = Vec::new();
        let mut inner = self.inner();
        inner.machine.step(self.now(), input, &mut out);
        inner.take(self.mutant, out);
    }

    /// Makes all queued updates durable, and sends the messages that wait for them.
    pub(crate) fn flush(&self) {
        self.inner().flush(self.mutant);
    }

    /// Fires the timers that are due.
    pub(crate) fn tick(&self) {
        if self.mutant.is(DriverMutant::ForgetsTimers) {
            return;
        }
        let now = self.now();
        let mut due: Vec<_> = self.inner().machine.timers().collect();
        due.retain(|(due, _)| *due <= now);
        due.sort();
        for (_, timer) in due {
            self.step(Input::Timer(timer));
        }
    }

    /// Returns a commit without its base version, as a driver passes it on that ignores versions.
    fn misread(&self, message: ToStore) -> ToStore {
        match message {
            ToStore::Commit(Commit {
                session,
                token,
                delta,
                base,
            }) if self.mutant.is(DriverMutant::WrongVersion) => {
                let inner = self.inner();
                let own = inner.machine.session(&session);
                ToStore::Commit(Commit {
                    base: own.map_or(base, |own| own.record().head.version),
                    session,
                    token,
                    delta,
                })
            }
            other => other,
        }
    }
}

impl Inner {
    /// Carries out outputs in order. Outputs behind an update that is not durable wait.
    fn take(&mut self, mutant: Mutant, out: Vec<Output>) {
        for output in out {
            let is_early = mutant.is(DriverMutant::SendsBeforeDurable);
            match output {
                Output::Persist(_) => self.queue.push_back(output),
                output if self.queue.is_empty() || is_early => self.send(mutant, output),
                output => self.queue.push_back(output),
            }
        }
    }

    fn flush(&mut self, mutant: Mutant) {
        while let Some(output) = self.queue.pop_front() {
            match output {
                Output::Persist(update) => self.durable.apply(&update),
                output => self.send(mutant, output),
            }
        }
    }

    /// Sends a message, unless its connection has ended.
    fn send(&mut self, mutant: Mutant, output: Output) {
        match output {
            Output::Send {
                process,
                link,
                message,
            } => {
                self.sent += 1;
                let is_refusal = matches!(message, ToProcess::Refused { .. });
                let message = self.garble(mutant, message);
                let own = (process, link);
                let mut line = self.lines.get(&own);
                if mutant.is(DriverMutant::WrongConnection) && self.sent.is_multiple_of(3) {
                    let mut others = self.lines.iter().filter(|(other, _)| **other != own);
                    line = others.next().map(|(_, other)| other).or(line);
                }
                let Some(line) = line else { return };
                if mutant.is(DriverMutant::RefusesTwice) && is_refusal {
                    let _ = line.send(Some(FromStore::Message(message.clone())));
                }
                let _ = line.send(Some(FromStore::Message(message)));
            }
            Output::Disconnect { process, link } => {
                if let Some(line) = self.lines.remove(&(process, link))
                    && !mutant.is(DriverMutant::ServesOldConnection)
                {
                    let _ = line.send(None);
                }
            }
            Output::Persist(_) => {
                unreachable!("send is called only with messages and disconnections")
            }
        }
    }

    fn garble(&mut self, mutant: Mutant, mut message: ToProcess) -> ToProcess {
        match &mut message {
            ToProcess::Granted(Granted { state, .. }) => {
                if mutant.is(DriverMutant::GrantWithoutState) {
                    *state = State::Unchanged;
                }
                let last = self.last_state.replace(state.clone());
                if let Some(last) = last.filter(|_| mutant.is(DriverMutant::MixesSessions)) {
                    *state = last;
                }
            }
            ToProcess::Alive { sent, .. } if mutant.is(DriverMutant::AnswersWithOwnTime) => {
                *sent = Time(sent.0 + 1);
            }
            _ => {}
        }
        message
    }
}
