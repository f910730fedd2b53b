//! The actions of the model: everything that can happen in a state.

use super::{
    Model, PROCESSES, PROCESSES_MAX, ProcessTimer, SESSIONS, StoreTimer, System, session_index,
    thread_id,
};
use serde::{Deserialize, Serialize};
use tenure_protocol::Hook;
use tenure_protocol::process::{Connection, Timer as OfProcess};
use tenure_protocol::store::{Stopping, Timer as OfStore};

/// One transition. Processes, threads and sessions are numbered from 0 here, and from 1 in text.
#[allow(missing_docs)] // The names of the fields say it; all count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// A thread takes the next step of its program, or leaves.
    Thread { process: u8, thread: u8 },
    /// A waiting thread gives up.
    Abandon { process: u8, thread: u8 },
    /// The message at this place in the channel arrives at the store. If `stays` is set, it arrives again later.
    ToStore { process: u8, place: u8, stays: bool },
    /// The message at this place in the channel arrives at the process. If `stays` is set, it arrives again later.
    ToProcess { process: u8, place: u8, stays: bool },
    /// A message to the store is lost.
    LoseUp { process: u8, place: u8 },
    /// A message to the process is lost.
    LoseDown { process: u8, place: u8 },
    /// The connection is cut: `arrive` messages to the store still arrive, and none to the process.
    Cut { process: u8, arrive: u8 },
    /// The connection goes silent without being closed: no message arrives on it any more, and neither end notices at
    /// once.
    Silence { process: u8 },
    /// The process opens a connection.
    Connect { process: u8 },
    /// The process crashes; `arrive` of its messages still arrive.
    Crash { process: u8, arrive: u8 },
    /// A dead process starts again.
    Start { process: u8 },
    /// The process shuts down.
    Shutdown { process: u8 },
    /// The process gives an idle session back voluntarily.
    GiveBack { process: u8, session: u8 },
    /// The store crashes and recovers from the durable records.
    Restart,
    /// The next update becomes durable.
    Flush,
    /// The store begins to stop: for a restart, or to drain until every grant has come back.
    Stop { drains: bool },
    /// The store's disk becomes full, or has room again.
    Fill { is_full: bool },
    /// A timer of the store fires.
    StoreTimer(StoreTimer),
    /// A timer of a process fires.
    ProcessTimer { process: u8, timer: ProcessTimer },
    /// Time passes by one on the store's clock, and by these steps, 0 to 2, on the clocks of the processes.
    Tick { clocks: [u8; PROCESSES_MAX] },
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

    pub(crate) fn timer(self) -> OfStore {
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
            OfProcess::Silent => Self::Silent,
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
            Self::Silent => OfProcess::Silent,
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
    pub(crate) fn list_actions(&self, state: &System<H>, actions: &mut Vec<Action>) {
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
            // A process that has left, or that stops, begins no program.
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

    /// Lists connecting, cutting, crashing, starting and stopping.
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
        // A further cut waits until the store has noticed the last one. Otherwise cuts would fill the channel without
        // end.
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
        let (_, now) = self.universe.now();
        let left = machine.lease().map_or(0, |lease| lease.since(now));
        let silences = self.universe.silences.is_some_and(|least| left >= least);
        if silences && wire.is_open && machine.connection() != Connection::Down {
            actions.push(Action::Silence { process: index });
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
        let up = |place, stays| Action::ToStore {
            process,
            place,
            stays,
        };
        let down = |place, stays| Action::ToProcess {
            process,
            place,
            stays,
        };
        let lose_up = |place| Action::LoseUp { process, place };
        let lose_down = |place| Action::LoseDown { process, place };
        list_arrivals(wire.up.len(), is_wild, up, lose_up, actions);
        list_arrivals(wire.down.len(), is_wild, down, lose_down, actions);
    }

    fn list_store(&self, state: &System<H>, actions: &mut Vec<Action>) {
        let admission = state.store.machine.admission();
        let is_durable = state.store.updates.is_empty();
        if !is_durable && !admission.is_full {
            actions.push(Action::Flush);
        }
        if self.universe.closes {
            if admission.stopping < Stopping::Keeping {
                actions.push(Action::Stop { drains: false });
            }
            if admission.stopping < Stopping::Draining {
                actions.push(Action::Stop { drains: true });
            }
        }
        if self.universe.fills {
            let is_full = !admission.is_full;
            actions.push(Action::Fill { is_full });
        }
        // A store that stops has ended when all updates are durable and, if it drains, every grant has come back.
        let has_stopped = match admission.stopping {
            Stopping::No => false,
            Stopping::Keeping => is_durable,
            Stopping::Draining => is_durable && state.store.machine.held() == 0,
        };
        if self.universe.restarts || has_stopped {
            actions.push(Action::Restart);
        }
    }

    fn list_timers(&self, state: &System<H>, actions: &mut Vec<Action>) {
        if !self.universe.has_timers() {
            return;
        }
        let (store_now, process_now) = self.universe.now();
        for (due, timer) in state.store.machine.timers() {
            let timer = StoreTimer::of(&timer);
            let is_spared = match timer {
                StoreTimer::Lease { process } => self.is_spared(state, process),
                StoreTimer::Wait { process, .. } => !self.is_faulty(process),
                // Where no message is lost, a reminder adds nothing, but would make the state space infinite.
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

    /// Returns whether the model keeps the lease of a process from ending, because the process lives.
    fn is_spared(&self, state: &System<H>, process: u8) -> bool {
        let ends = self.universe.ends_leases && self.is_faulty(process);
        !ends && self.universe.clocks.is_none() && lives(state, process)
    }

    /// Returns whether the faults of the universe affect this process.
    pub(super) fn is_faulty(&self, process: u8) -> bool {
        process < self.universe.faulty
    }

    /// Returns whether no message is under way, and every process has a connection.
    fn is_still(&self, state: &System<H>) -> bool {
        let is_connected = |machine: &tenure_protocol::ProcessMachine<H>| {
            machine.connection() != Connection::Down || machine.has_left()
        };
        state
            .each_wire()
            .all(|(_, wire)| wire.up.is_empty() && wire.down.is_empty())
            && state
                .each_machine()
                .all(|(_, machine)| is_connected(machine))
    }

    /// Lists ticks. Time passes only when no process has a due timer, because a process fires its timers in time. The
    /// store may be late.
    fn list_ticks(
        &self,
        state: &System<H>,
        clocks: crate::universe::Clocks,
        actions: &mut Vec<Action>,
    ) {
        let (_, now) = self.universe.now();
        if clocks.is_prompt && !self.is_still(state) {
            return;
        }
        let fires = |timer: OfProcess| {
            let timer = ProcessTimer::of(&timer);
            !matches!(timer, ProcessTimer::Resend { .. }) && (self.universe.process_timers)(timer)
        };
        if state.each_machine().any(|(_, machine)| {
            machine
                .timers()
                .any(|(due, timer)| due <= now && fires(timer))
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
}

/// Returns the process that holds a session.
pub(super) fn holder<H: Hook>(state: &System<H>, session: u8) -> Option<u8> {
    let session = state
        .store
        .machine
        .session(&SESSIONS[usize::from(session)])?;
    Some(super::canonical::index(session.holder()?) as u8)
}

/// Returns whether a process runs and has not said goodbye.
pub(super) fn lives<H: Hook>(state: &System<H>, process: u8) -> bool {
    let side = state.processes[usize::from(process)].as_ref();
    side.and_then(|side| side.machine.as_ref())
        .is_some_and(|machine| !machine.has_left())
}

/// Lists the possible fates of the messages of a channel. In order, the first one arrives. In an unreliable network,
/// each of them may arrive, arrive and stay, or be lost.
fn list_arrivals(
    messages: usize,
    is_wild: bool,
    arrives: impl Fn(u8, bool) -> Action,
    is_lost: impl Fn(u8) -> Action,
    actions: &mut Vec<Action>,
) {
    for place in 0..messages as u8 {
        if place == 0 || is_wild {
            actions.push(arrives(place, false));
        }
        if is_wild {
            actions.push(arrives(place, true));
            actions.push(is_lost(place));
        }
    }
}
