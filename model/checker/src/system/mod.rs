//! The whole system as one state: the store, the processes with their threads, and the network between them.
//!
//! The machines are those of production: `tenure_protocol::StoreMachine` and `ProcessMachine`. This module adds their
//! environment: an application of small programs, channels that may lose, repeat, reorder or break, processes and
//! stores that crash, a disk that makes updates durable late, and clocks that drift. One [`Action`] is one transition.
//!
//! This module deliberately contains no rule of the protocol. The checks that need the step itself, such as the order
//! of grants, compare the states before and after the step, in `watch`.

mod actions;
pub mod app;
mod bitset;
mod canonical;
mod draft;
pub(crate) mod event;
mod fairness;
mod label;
mod memo;
mod number;
mod part;
mod player;
mod scope;
mod shared;
mod stage;
mod start;
mod successor;
mod symmetry;
pub(crate) mod timer;
mod watch;

pub use actions::Action;
pub use canonical::Numbered;
pub use shared::Shared;
pub use timer::{ProcessTimer, StoreTimer};
pub use watch::Violation;

use crate::universe::Universe;
use app::{Do, Thread};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tenure_protocol::process::Connection;
use tenure_protocol::store::DurabilityBarrier;
use tenure_protocol::{
    AttributeName, Hook, Link, ProcessId, ProcessMachine, Records, SessionId, Settings, Stamp,
    StoreMachine, ThreadId, ToProcess, ToStore, Update,
};

/// The most processes of a universe.
pub const PROCESSES_MAX: usize = 3;
/// The most threads of a process.
pub const THREADS_MAX: usize = 3;

/// The names of the processes.
pub static PROCESSES: [ProcessId; PROCESSES_MAX] = [
    ProcessId::from_static("p1"),
    ProcessId::from_static("p2"),
    ProcessId::from_static("p3"),
];
/// The names of the sessions.
pub static SESSIONS: [SessionId; 2] = [SessionId::from_static("s1"), SessionId::from_static("s2")];
/// The names of the attributes.
pub static ATTRIBUTES: [AttributeName; 2] = [
    AttributeName::from_static("a"),
    AttributeName::from_static("b"),
];
/// The values that threads write, one after the other.
pub(crate) static VALUES: [&[u8]; 3] = [b"0", b"1", b"22"];

/// Returns the id of the thread at `index` of a process.
#[must_use]
pub fn thread_id(index: usize) -> ThreadId {
    ThreadId(index as u64 + 1)
}

/// Returns the index of a session of this name.
#[must_use]
pub fn session_index(id: &SessionId) -> usize {
    SESSIONS
        .iter()
        .position(|session| session == id)
        .expect("the machines know only the sessions of the model")
}

/// The universe of a state, for rendering. All states of a run have the same universe, so it takes no part in
/// comparisons.
#[derive(Clone, Copy)]
pub struct InUniverse(pub &'static Universe);

impl PartialEq for InUniverse {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for InUniverse {}

impl Hash for InUniverse {
    fn hash<S: Hasher>(&self, _: &mut S) {}
}

impl Debug for InUniverse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

/// The store and its disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreSide<H> {
    /// The machine.
    pub machine: StoreMachine<H>,
    /// The durable records; empty in a universe that cannot lose the store.
    pub durable: Records,
    /// The updates that are not durable yet, in order. The first one has number 1 in the barrier.
    pub updates: Vec<Update>,
    /// The messages that wait for some of these updates.
    pub barrier: DurabilityBarrier,
    /// The universe.
    pub universe: InUniverse,
}

/// A process and its application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessSide<H> {
    /// The index of the process.
    pub index: u8,
    /// The machine; `None` while the process is dead.
    pub machine: Option<ProcessMachine<H>>,
    /// The incarnation of the last start.
    pub incarnation: u64,
    /// The threads of the process.
    pub threads: [Thread; THREADS_MAX],
    /// The time by which the process's clock is ahead of the store's.
    pub skew: u8,
}

/// The messages under way between a process and the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wire {
    /// The index of the process.
    pub index: u8,
    /// Whether the connection is open, so that a message sent now arrives.
    pub is_open: bool,
    /// The messages to the store, the first sent first. `None` notifies the store that the connection was cut.
    pub up: Vec<(Link, Option<ToStore>)>,
    /// The messages to the process.
    pub down: Vec<(Link, ToProcess)>,
}

/// A state of the whole system. The debugger and Stateright's Explorer show its facts one by one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct System<H> {
    /// The store.
    pub store: Shared<StoreSide<H>>,
    /// The processes.
    pub processes: [Option<Shared<ProcessSide<H>>>; PROCESSES_MAX],
    /// The connections.
    pub wires: [Option<Shared<Wire>>; PROCESSES_MAX],
    /// The time at which each session was last destroyed. No write under an older grant may reach it. Kept only where
    /// the universe watches that.
    pub destroyed: [Stamp; 2],
    /// The threads that want a session only if it exists, and whose session has been absent at some time since they
    /// asked: these threads may be refused as absent. One bit for each, by process and thread.
    pub absent: u16,
    /// The violation of the last step, if any.
    pub violation: Option<Violation>,
}

impl<H> System<H> {
    /// Returns the processes with their index.
    pub fn each_process(&self) -> impl Iterator<Item = (usize, &ProcessSide<H>)> {
        self.processes
            .iter()
            .enumerate()
            .filter_map(|(index, process)| Some((index, &**process.as_ref()?)))
    }

    /// Returns the machines of the living processes, with their index.
    pub fn each_machine(&self) -> impl Iterator<Item = (usize, &ProcessMachine<H>)> {
        self.each_process()
            .filter_map(|(index, process)| Some((index, process.machine.as_ref()?)))
    }

    /// Returns the connections with their index.
    pub fn each_wire(&self) -> impl Iterator<Item = (usize, &Wire)> {
        self.wires
            .iter()
            .enumerate()
            .filter_map(|(index, wire)| Some((index, &**wire.as_ref()?)))
    }
}

impl<H: Hook> System<H> {
    /// Returns the connection of a process, as the process sees it.
    pub(crate) fn link(&self, index: usize) -> Option<Link> {
        let machine = self.processes[index].as_ref()?.machine.as_ref()?;
        match machine.connection() {
            Connection::Greeting(link) | Connection::Up(link) => Some(link),
            Connection::Down => None,
        }
    }
}

impl<H: Hook> Model<H> {
    /// Notes the waiting threads that want a session only if it exists, and whose session is absent. `before` is the
    /// earlier state, in which these threads may have waited already.
    fn with_absent(&self, mut next: System<H>, before: &System<H>) -> System<H> {
        if !self.universe.asks_existing() {
            return next;
        }
        let mut absent = 0;
        for (index, side) in next.each_process() {
            for (thread, own) in side.threads.iter().enumerate() {
                if let (true, Some(session)) = (own.is_waiting, self.wanted(index, thread, own)) {
                    let bit = 1 << (index * THREADS_MAX + thread);
                    let is_absent = !watch::exists(&next.store.machine, &SESSIONS[session]);
                    absent |= bit & (before.absent | if is_absent { bit } else { 0 });
                }
            }
        }
        next.absent = absent;
        next
    }

    /// Returns a violation if a process has refused threads as absent without an absence.
    fn falsely_absent(&self, state: &System<H>, index: usize, told: u8) -> Option<Violation> {
        let side = state.processes[index].as_ref()?;
        let is_false = |(thread, own): (usize, &Thread)| {
            let bit = 1 << (index * THREADS_MAX + thread);
            let is_told = told & 1 << thread != 0;
            let wanted = self.wanted(index, thread, own).filter(|_| is_told);
            wanted.is_some_and(|session| {
                let exists = watch::exists(&state.store.machine, &SESSIONS[session]);
                exists && state.absent & bit == 0
            })
        };
        let is_any = side.threads.iter().enumerate().any(is_false);
        is_any.then_some(Violation::FalselyAbsent)
    }

    /// Returns the session that a thread locks only if it exists, at its present step.
    fn wanted(&self, index: usize, thread: usize, own: &Thread) -> Option<usize> {
        let program = self.universe.programs.get(index)?.get(thread)?;
        let session = program[usize::from(own.at)].locks_existing()?;
        Some(session.into())
    }
}

/// The model of a universe, with a hook for the machines.
#[derive(Clone)]
pub struct Model<H> {
    /// The universe.
    pub universe: &'static Universe,
    /// The hook.
    pub hook: H,
    pub(crate) store_settings: Settings<tenure_protocol::StoreSettings>,
    pub(crate) process_settings: Settings<tenure_protocol::ProcessSettings>,
    memos: Arc<successor::Memos<H>>,
    /// The permutations of like processes that lead to equivalent states.
    permutations: Vec<symmetry::Permutation>,
}

impl<H: Debug> Debug for Model<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({}, {:?})", self.universe.name, self.hook)
    }
}

impl<H: Hook> Model<H> {
    /// Creates the model of a universe.
    #[must_use]
    pub fn new(universe: &'static Universe, hook: H) -> Self {
        Self {
            universe,
            hook,
            store_settings: Settings::new((universe.store)()),
            process_settings: Settings::new((universe.process)()),
            memos: Arc::default(),
            permutations: Vec::new(),
        }
    }

    /// Returns the same model with symmetry reduction over like processes. It has fewer states, is sound for safety
    /// only, and its paths change names on the way. Returns `None` if no two processes are alike or the reduction is
    /// not sound.
    #[must_use]
    pub fn reduced(mut self) -> Option<Self> {
        self.permutations = symmetry::permutations(self.universe);
        (!self.permutations.is_empty()).then_some(self)
    }

    /// Returns the program of a thread.
    #[must_use]
    pub fn program(&self, process: usize, thread: usize) -> &'static [Do] {
        self.universe.programs[process][thread]
    }

    pub(crate) fn threads(&self, process: usize) -> usize {
        self.universe.programs[process].len()
    }
}
