//! Everything that can happen in a state, and what fairness promises of it.

use super::{
    Model, PROCESSES, PROCESSES_MAX, SESSIONS, System, THREADS_MAX, app::Do, session_index,
    thread_id,
};
use crate::graph::Class;
use serde::{Deserialize, Serialize};
use std::fmt;
use tenure_protocol::process::{Connection, Timer as OfProcess};
use tenure_protocol::store::Timer as OfStore;
use tenure_protocol::{Hook, ToProcess, ToStore};

/// One transition. Processes, threads, sessions are numbered from 0 here, and from 1 in text.
#[allow(missing_docs)] // The fields are what they are called, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// A thread takes the next step of its program, or leaves.
    Thread { process: u8, thread: u8 },
    /// A waiting thread gives up.
    Abandon { process: u8, thread: u8 },
    /// A message arrives at the store: the one at this place in the channel. One that stays arrives again.
    ToStore { process: u8, place: u8, stays: bool },
    /// A message arrives at the process.
    ToProcess { process: u8, place: u8, stays: bool },
    /// A message to the store is lost.
    LoseUp { process: u8, place: u8 },
    /// A message to the process is lost.
    LoseDown { process: u8, place: u8 },
    /// The connection is cut; so many messages to the store still arrive, none to the process.
    Cut { process: u8, arrive: u8 },
    /// The process opens a connection.
    Connect { process: u8 },
    /// The process dies; so many of its messages still arrive.
    Crash { process: u8, arrive: u8 },
    /// A dead process starts again.
    Start { process: u8 },
    /// The process shuts down.
    Shutdown { process: u8 },
    /// The process gives an idle session back of its own accord.
    GiveBack { process: u8, session: u8 },
    /// The store dies, and starts again from what is durable.
    Restart,
    /// The next update becomes durable.
    Flush,
    /// A timer of the store fires.
    StoreTimer(StoreTimer),
    /// A timer of a process fires.
    ProcessTimer { process: u8, timer: ProcessTimer },
    /// Time passes by one, on the store's clock and on these of the processes: 0, 1 or 2 each.
    Tick { clocks: [u8; PROCESSES_MAX] },
}

/// A timer of the store.
#[allow(missing_docs)] // The fields are what they are called, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StoreTimer {
    /// The lease of a process ends.
    Lease { process: u8 },
    /// A recall is repeated.
    Remind { session: u8 },
    /// A recall's deadline passes.
    Revoke { session: u8 },
    /// A process has waited too long.
    Wait { session: u8, process: u8 },
    /// An unused session's time ends.
    Expire { session: u8 },
}

/// A timer of a process.
#[allow(missing_docs)] // The fields are what they are called, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProcessTimer {
    /// Its lease ends.
    Lease,
    /// A keep-alive is due.
    KeepAlive,
    /// The hello is sent again.
    ResendHello,
    /// What a session waits for is sent again.
    Resend { session: u8 },
    /// A recalled grant is given up.
    Late { session: u8 },
    /// A thread has waited too long.
    Wait { session: u8, thread: u8 },
}

impl StoreTimer {
    pub(super) fn of(timer: &OfStore) -> Self {
        let session = |id| session_index(id) as u8;
        let process = |name| super::canonical::index(name) as u8;
        match timer {
            OfStore::Lease(name) => Self::Lease {
                process: process(name),
            },
            OfStore::Remind(id) => Self::Remind {
                session: session(id),
            },
            OfStore::Revoke(id) => Self::Revoke {
                session: session(id),
            },
            OfStore::Wait(id, name) => Self::Wait {
                session: session(id),
                process: process(name),
            },
            OfStore::Expire(id) => Self::Expire {
                session: session(id),
            },
        }
    }

    pub(super) fn timer(self) -> OfStore {
        let session = |index: u8| SESSIONS[usize::from(index)].clone();
        let name = |index: u8| PROCESSES[usize::from(index)].clone();
        match self {
            Self::Lease { process } => OfStore::Lease(name(process)),
            Self::Remind { session: index } => OfStore::Remind(session(index)),
            Self::Revoke { session: index } => OfStore::Revoke(session(index)),
            Self::Wait {
                session: index,
                process,
            } => OfStore::Wait(session(index), name(process)),
            Self::Expire { session: index } => OfStore::Expire(session(index)),
        }
    }
}

impl ProcessTimer {
    pub(super) fn of(timer: &OfProcess) -> Self {
        let session = |id| session_index(id) as u8;
        match timer {
            OfProcess::Lease => Self::Lease,
            OfProcess::KeepAlive => Self::KeepAlive,
            OfProcess::Resend(None) => Self::ResendHello,
            OfProcess::Resend(Some(id)) => Self::Resend {
                session: session(id),
            },
            OfProcess::Late(id) => Self::Late {
                session: session(id),
            },
            OfProcess::Wait(id, thread) => Self::Wait {
                session: session(id),
                thread: (thread.0 - 1) as u8,
            },
        }
    }

    pub(super) fn timer(self) -> OfProcess {
        let session = |index: u8| SESSIONS[usize::from(index)].clone();
        match self {
            Self::Lease => OfProcess::Lease,
            Self::KeepAlive => OfProcess::KeepAlive,
            Self::ResendHello => OfProcess::Resend(None),
            Self::Resend { session: index } => OfProcess::Resend(Some(session(index))),
            Self::Late { session: index } => OfProcess::Late(session(index)),
            Self::Wait {
                session: index,
                thread,
            } => OfProcess::Wait(session(index), thread_id(usize::from(thread))),
        }
    }
}

impl<H: Hook> Model<H> {
    pub(super) fn list_actions(&self, state: &System<H>, actions: &mut Vec<Action>) {
        for (index, process) in state.each_process() {
            self.list_threads(index, process, actions);
            self.list_life(index, state, actions);
        }
        for (index, wire) in state.each_wire() {
            self.list_deliveries(index as u8, wire, actions);
        }
        self.list_store(state, actions);
        self.list_timers(state, actions);
        if let Some(clocks) = self.universe.clocks {
            self.list_ticks(state, clocks, actions);
        }
    }

    fn list_threads(
        &self,
        index: usize,
        process: &super::ProcessSide<H>,
        actions: &mut Vec<Action>,
    ) {
        let Some(machine) = &process.machine else {
            return;
        };
        let index8 = index as u8;
        for thread in 0..self.threads(index) {
            let (state, thread8) = (&process.threads[thread], thread as u8);
            // A process that has left or stops runs nothing new.
            let may_begin = !machine.has_left() && !machine.is_closing();
            if !state.is_waiting && (may_begin || !state.is_idle()) {
                actions.push(Action::Thread {
                    process: index8,
                    thread: thread8,
                });
            }
            let is_lock = self.program(index, thread)[usize::from(state.at)]
                .locks()
                .is_some();
            if state.is_waiting && is_lock && self.universe.abandons && self.is_faulty(index8) {
                actions.push(Action::Abandon {
                    process: index8,
                    thread: thread8,
                });
            }
        }
        if self.universe.gives_back {
            for (session, client) in machine.sessions() {
                if client.grant().is_some() && client.lock().is_free() {
                    actions.push(Action::GiveBack {
                        process: index8,
                        session: session_index(session) as u8,
                    });
                }
            }
        }
    }

    /// Connecting, cutting, crashing, starting, stopping.
    fn list_life(&self, index: usize, state: &System<H>, actions: &mut Vec<Action>) {
        let (Some(process), Some(wire)) = (&state.processes[index], &state.wires[index]) else {
            return;
        };
        let index = index as u8;
        let Some(machine) = &process.machine else {
            actions.push(Action::Start { process: index });
            return;
        };
        if machine.connection() == Connection::Down && !machine.has_left() {
            actions.push(Action::Connect { process: index });
        }
        // A further cut waits until the store has noticed the last: else cuts pile up in the channel without end.
        let is_noticed = wire.up.iter().all(|(_, message)| message.is_some());
        let cuts = self.universe.cuts
            && self.is_faulty(index)
            && is_noticed
            && machine.connection() != Connection::Down;
        for arrive in 0..=wire.up.len() as u8 {
            if cuts {
                actions.push(Action::Cut {
                    process: index,
                    arrive,
                });
            }
            if self.universe.crashes && self.is_faulty(index) && is_noticed {
                actions.push(Action::Crash {
                    process: index,
                    arrive,
                });
            }
        }
        if self.universe.stops && !machine.is_closing() {
            actions.push(Action::Shutdown { process: index });
        }
        if machine.has_left() && self.universe.stops {
            actions.push(Action::Start { process: index });
        }
    }

    fn list_deliveries(&self, process: u8, wire: &super::Wire, actions: &mut Vec<Action>) {
        let is_wild = self.universe.channel_max.is_some() && self.is_faulty(process);
        for place in 0..wire.up.len() as u8 {
            if place == 0 || is_wild {
                actions.push(Action::ToStore {
                    process,
                    place,
                    stays: false,
                });
            }
            if is_wild {
                actions.push(Action::ToStore {
                    process,
                    place,
                    stays: true,
                });
                actions.push(Action::LoseUp { process, place });
            }
        }
        for place in 0..wire.down.len() as u8 {
            if place == 0 || is_wild {
                actions.push(Action::ToProcess {
                    process,
                    place,
                    stays: false,
                });
            }
            if is_wild {
                actions.push(Action::ToProcess {
                    process,
                    place,
                    stays: true,
                });
                actions.push(Action::LoseDown { process, place });
            }
        }
    }

    fn list_store(&self, state: &System<H>, actions: &mut Vec<Action>) {
        if !state.store.outbox.is_empty() {
            actions.push(Action::Flush);
        }
        if self.universe.restarts {
            actions.push(Action::Restart);
        }
    }

    fn list_timers(&self, state: &System<H>, actions: &mut Vec<Action>) {
        if !self.universe.has_timers() {
            return;
        }
        let (store_now, process_now) = self.now();
        for (due, timer) in state.store.machine.timers() {
            let timer = StoreTimer::of(&timer);
            let is_spared = match timer {
                StoreTimer::Lease { process } => self.is_spared(state, process),
                StoreTimer::Wait { process, .. } => !self.is_faulty(process),
                // Where nothing is lost a reminder adds nothing, and without end.
                StoreTimer::Remind { session } => {
                    !holder(state, session).is_some_and(|process| self.is_faulty(process))
                }
                _ => false,
            };
            if due <= store_now && (self.universe.store_timers)(timer) && !is_spared {
                actions.push(Action::StoreTimer(timer));
            }
        }
        for (index, machine) in state.each_machine() {
            for (due, timer) in machine.timers() {
                let timer = ProcessTimer::of(&timer);
                let hits = self.universe.clocks.is_some() || self.is_faulty(index as u8);
                if due <= process_now && hits && (self.universe.process_timers)(timer) {
                    actions.push(Action::ProcessTimer {
                        process: index as u8,
                        timer,
                    });
                }
            }
        }
    }

    /// Whether the lease of a process does not end, because it lives.
    fn is_spared(&self, state: &System<H>, process: u8) -> bool {
        let ends = self.universe.ends_leases && self.is_faulty(process);
        !ends && self.universe.clocks.is_none() && lives(state, process)
    }

    /// Whether the faults of the universe hit this process.
    pub(super) fn is_faulty(&self, process: u8) -> bool {
        process < self.universe.faulty
    }

    /// Time passes when no process has a timer that is due: a process fires its own in time. The store may be late.
    fn list_ticks(
        &self,
        state: &System<H>,
        clocks: crate::universe::Clocks,
        actions: &mut Vec<Action>,
    ) {
        let (_, now) = self.now();
        let is_due = |timer: OfProcess| matches!(timer, OfProcess::Lease | OfProcess::KeepAlive);
        if state.each_machine().any(|(_, machine)| {
            machine
                .timers()
                .any(|(due, timer)| due <= now && is_due(timer))
        }) {
            return;
        }
        let mut choices = vec![[0; PROCESSES_MAX]];
        for (index, process) in state.each_process() {
            let skew = process.skew;
            let skew_max = if self.is_faulty(index as u8) {
                clocks.skew_max
            } else {
                0
            };
            let may = |by: &u8| (1..=1 + skew_max).contains(&(skew + by));
            let options: Vec<u8> = (0..=2).filter(may).collect();
            choices = choices
                .iter()
                .flat_map(|choice| options.iter().map(move |by| (*choice, *by)))
                .map(|(mut choice, by)| {
                    choice[index] = by;
                    choice
                })
                .collect();
        }
        actions.extend(choices.into_iter().map(|clocks| Action::Tick { clocks }));
    }

    /// What fairness promises. A class for each thread, each direction of each channel, each connection, each timer.
    pub(super) fn class_of(&self, state: &System<H>, action: Action) -> Class {
        let by_process = |base: u8, process: u8| Class::Fair(base + process);
        match action {
            Action::Thread { process, thread } => self.class_of_thread(state, process, thread),
            Action::ToStore {
                place: 0,
                stays: false,
                process,
            } => by_process(9, process),
            Action::ToProcess {
                place: 0,
                stays: false,
                process,
            } => by_process(12, process),
            Action::Connect { process } => by_process(15, process),
            Action::Flush => Class::Fair(18),
            Action::Tick { .. } => Class::Fair(19),
            Action::Abandon { .. }
            | Action::Start { .. }
            | Action::Shutdown { .. }
            | Action::GiveBack { .. } => Class::Free,
            Action::StoreTimer(timer) => self.class_of_store_timer(state, timer),
            Action::ProcessTimer { process, timer } => {
                self.class_of_process_timer(state, process, timer)
            }
            Action::ToStore { .. }
            | Action::ToProcess { .. }
            | Action::LoseUp { .. }
            | Action::LoseDown { .. }
            | Action::Cut { .. }
            | Action::Crash { .. }
            | Action::Restart => Class::Fault,
        }
    }

    fn class_of_thread(&self, state: &System<H>, process: u8, thread: u8) -> Class {
        let class = Class::Fair(process * THREADS_MAX as u8 + thread);
        let Some(side) = &state.processes[usize::from(process)] else {
            return Class::Free;
        };
        let own = side.threads[usize::from(thread)];
        let is_first = own.is_idle();
        // In a universe where threads linger, one that is inside may stay for ever; a refused or poisoned one leaves.
        let step = self.program(usize::from(process), usize::from(thread))[usize::from(own.at)];
        let lingers = self.universe.lingers
            && !own.is_leaving
            && matches!(step, Do::Unlock | Do::WriteAndUnlock(_));
        if is_first || lingers {
            Class::Free
        } else {
            class
        }
    }

    /// A lease ends fairly when nobody keeps it alive; that of a process that lives ends by a fault of the clocks.
    fn class_of_store_timer(&self, state: &System<H>, timer: StoreTimer) -> Class {
        match timer {
            StoreTimer::Lease { process } => {
                let is_fault = lives(state, process) && self.universe.clocks.is_none();
                if is_fault {
                    Class::Fault
                } else {
                    Class::Fair(20 + process)
                }
            }
            StoreTimer::Remind { session } => {
                let holder = holder(state, session);
                if holder.is_some_and(|process| store_is_hasty(state, process)) {
                    Class::Fault
                } else {
                    Class::Fair(23 + session)
                }
            }
            StoreTimer::Revoke { session } if self.universe.lingers => Class::Fair(25 + session),
            StoreTimer::Revoke { .. } | StoreTimer::Wait { .. } => Class::Fault,
            StoreTimer::Expire { .. } => Class::Free,
        }
    }

    fn class_of_process_timer(&self, state: &System<H>, process: u8, timer: ProcessTimer) -> Class {
        match timer {
            // It ends fairly when the store has ended it; before, by a fault of the clocks.
            ProcessTimer::Lease => {
                let has_lease = state
                    .store
                    .machine
                    .peer(&PROCESSES[usize::from(process)])
                    .is_some();
                let is_fault = has_lease && self.universe.clocks.is_none();
                if is_fault {
                    Class::Fault
                } else {
                    Class::Fair(27 + process)
                }
            }
            ProcessTimer::ResendHello | ProcessTimer::Resend { .. }
                if process_is_hasty(state, process) =>
            {
                Class::Fault
            }
            ProcessTimer::KeepAlive => Class::Fair(30 + process),
            ProcessTimer::ResendHello => Class::Fair(33 + process),
            ProcessTimer::Resend { session } => Class::Fair(36 + process * 2 + session),
            ProcessTimer::Late { session } if self.universe.lingers => {
                Class::Fair(42 + process * 2 + session)
            }
            ProcessTimer::Late { .. } => Class::Fault,
            ProcessTimer::Wait { .. } => Class::Free,
        }
    }
}

/// Whether the store would repeat a recall while that or its answer is under way. Whoever repeats himself so soon has been
/// too quick for the network, which happens finitely often, like the network's other faults.
fn store_is_hasty<H>(state: &System<H>, process: u8) -> bool {
    let wire = state.wires[usize::from(process)].as_ref();
    let is_recall = |message: &ToProcess| matches!(message, ToProcess::Recall { .. });
    wire.is_some_and(|wire| {
        wire.down.iter().any(|(_, message)| is_recall(message))
            || wire.up.iter().any(|(_, message)| is_answer(message))
    })
}

/// Whether a process would repeat itself while what it said is under way.
fn process_is_hasty<H>(state: &System<H>, process: u8) -> bool {
    let wire = state.wires[usize::from(process)].as_ref();
    wire.is_some_and(|wire| !wire.up.iter().all(|(_, message)| is_answer(message)))
}

/// Whether a message answers a recall and is not repeated by itself.
fn is_answer(message: &Option<ToStore>) -> bool {
    matches!(message, Some(ToStore::Busy { .. }))
}

/// The process that holds a session.
fn holder<H: Hook>(state: &System<H>, session: u8) -> Option<u8> {
    let session = state
        .store
        .machine
        .session(&SESSIONS[usize::from(session)])?;
    Some(super::canonical::index(session.holder()?) as u8)
}

/// Whether a process runs and has not said goodbye.
fn lives<H: Hook>(state: &System<H>, process: u8) -> bool {
    let side = state.processes[usize::from(process)].as_ref();
    side.and_then(|side| side.machine.as_ref())
        .is_some_and(|machine| !machine.has_left())
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nth = |place: &u8| {
            if *place == 0 {
                String::new()
            } else {
                format!(" (out of order: {})", place + 1)
            }
        };
        let again = |stays: &bool| {
            if *stays {
                ", and will arrive again"
            } else {
                ""
            }
        };
        match self {
            Self::Thread { process, thread } => {
                write!(f, "p{}.t{} goes on", process + 1, thread + 1)
            }
            Self::Abandon { process, thread } => {
                write!(f, "p{}.t{} gives up waiting", process + 1, thread + 1)
            }
            Self::ToStore {
                process,
                place,
                stays,
            } => {
                write!(
                    f,
                    "store hears p{}{}{}",
                    process + 1,
                    nth(place),
                    again(stays)
                )
            }
            Self::ToProcess {
                process,
                place,
                stays,
            } => {
                write!(
                    f,
                    "p{} hears the store{}{}",
                    process + 1,
                    nth(place),
                    again(stays)
                )
            }
            Self::LoseUp { process, place } => {
                write!(f, "message {} of p{} is lost", place + 1, process + 1)
            }
            Self::LoseDown { process, place } => {
                write!(f, "message {} to p{} is lost", place + 1, process + 1)
            }
            Self::Cut { process, arrive } => {
                write!(
                    f,
                    "connection of p{} is cut, {arrive} of its messages still arrive",
                    process + 1
                )
            }
            Self::Connect { process } => write!(f, "p{} connects", process + 1),
            Self::Crash { process, arrive } => {
                write!(
                    f,
                    "p{} dies, {arrive} of its messages still arrive",
                    process + 1
                )
            }
            Self::Start { process } => write!(f, "p{} starts again", process + 1),
            Self::Shutdown { process } => write!(f, "p{} shuts down", process + 1),
            Self::GiveBack { process, session } => {
                write!(f, "p{} gives s{} back unasked", process + 1, session + 1)
            }
            Self::Restart => write!(f, "store dies and starts again"),
            Self::Flush => write!(f, "an update becomes durable"),
            Self::StoreTimer(timer) => write!(f, "{timer}"),
            Self::ProcessTimer { process, timer } => write!(f, "p{}: {timer}", process + 1),
            Self::Tick { clocks } => write!(f, "time passes (clocks of the processes: {clocks:?})"),
        }
    }
}

impl fmt::Display for StoreTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease { process } => write!(f, "store ends the lease of p{}", process + 1),
            Self::Remind { session } => write!(f, "store repeats the recall of s{}", session + 1),
            Self::Revoke { session } => write!(f, "recall deadline of s{} passes", session + 1),
            Self::Wait { session, process } => write!(
                f,
                "p{} has waited too long for s{}",
                process + 1,
                session + 1
            ),
            Self::Expire { session } => write!(f, "time to live of s{} ends", session + 1),
        }
    }
}

impl fmt::Display for ProcessTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease => write!(f, "lease ends"),
            Self::KeepAlive => write!(f, "keep-alive is due"),
            Self::ResendHello => write!(f, "hello is sent again"),
            Self::Resend { session } => write!(f, "request for s{} is sent again", session + 1),
            Self::Late { session } => {
                write!(f, "gives up s{} although threads are inside", session + 1)
            }
            Self::Wait { session, thread } => write!(
                f,
                "t{} has waited too long for s{}",
                thread + 1,
                session + 1
            ),
        }
    }
}
