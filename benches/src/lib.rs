//! Shared set-up for the benches in `benches/` and the counts in `tests/`: machines that are connected and know each
//! other, and the inputs that are common.
//!
//! Names are on the heap, as they are when they come from a request, not in the program.

use tenure_protocol::attributes::{Change, Head, Record, Records, Update, Value};
use tenure_protocol::message::{AcquireRequest, Hello, WaitMode};
use tenure_protocol::process::{self, Call, Names};
use tenure_protocol::store;
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Link, ProcessId, ProcessMachine, ProcessSettings, Request,
    SessionId, Settings, Stamp, StoreMachine, StoreSettings, ThreadId, Time, ToProcess, ToStore,
    Version,
};

/// No time passes: what the clock costs is the driver's.
pub const NOW: Time = Time(1);

/// The id of the `at`th session: 24 bytes, as a session cookie has.
#[must_use]
pub fn session(at: usize) -> SessionId {
    SessionId::new(format!("session-{at:016}")).expect("24 bytes")
}

/// The name of the `at`th attribute.
#[must_use]
pub fn attribute(at: usize) -> AttributeName {
    AttributeName::new(format!("attribute-{at}")).expect("a short name")
}

/// The name of the `at`th process.
#[must_use]
pub fn process(at: usize) -> ProcessId {
    ProcessId::new(format!("process-{at}")).expect("a short name")
}

/// A value of 64 bytes.
#[must_use]
pub fn value() -> Value {
    Value::from(vec![7; 64])
}

/// A change of one attribute.
#[must_use]
pub fn delta() -> Delta {
    [Change {
        name: attribute(0),
        value: Some(value()),
    }]
    .into_iter()
    .collect()
}

/// The only connection of every process here.
pub const LINK: Link = Link {
    incarnation: Incarnation(1),
    number: 1,
};

/// Settings under which a grant is always kept.
#[must_use]
pub fn store_settings() -> Settings<StoreSettings> {
    Settings::new(StoreSettings {
        turns: 0,
        ..StoreSettings::default()
    })
}

/// A store with two processes connected and `count` sessions of two attributes, all free.
#[must_use]
pub fn store(count: usize) -> StoreMachine {
    let mut records = Records::default();
    for at in 0..count {
        let version = Version(Stamp {
            epoch: 1,
            sequence: at as u64 + 1,
        });
        let changes = [0, 1].map(|name| Change {
            name: attribute(name),
            value: Some(value()),
        });
        let head = Head {
            version,
            floor: version,
            ..Record::default().head
        };
        records.apply(&Update::Put {
            session: session(at),
            head,
            delta: changes.into_iter().collect(),
            is_whole: true,
        });
    }
    let mut store = StoreMachine::recover(store_settings(), 2, &records, NOW);
    let mut out = Vec::new();
    for at in 0..2 {
        let hello = ToStore::Hello(Hello {
            minor: tenure_protocol::MINOR,
            incarnation: Incarnation(1),
            sent: NOW,
            holds: vec![],
            waits: vec![],
        });
        store.step(NOW, from(&process(at), hello), &mut out);
    }
    store
}

/// `message` of `process`, as the store gets it.
#[must_use]
pub fn from(process: &ProcessId, message: ToStore) -> store::Input {
    store::Input::Message {
        process: process.clone(),
        link: LINK,
        message,
    }
}

/// Sessions in an order that no cache foresees.
#[must_use]
pub fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..count).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        order.swap(
            at,
            usize::try_from(state >> 33).expect("31 bits") % (at + 1),
        );
    }
    order
}

/// A request for a session.
#[must_use]
pub fn acquire(session: &SessionId, request: u64) -> ToStore {
    ToStore::Acquire(AcquireRequest {
        session: session.clone(),
        request: Request(request),
        known: None,
        wait_mode: WaitMode::Wait,
        ticket: None,
        existing: false,
    })
}

/// A process that is connected and welcome.
#[must_use]
pub fn connected() -> ProcessMachine {
    let mut process =
        ProcessMachine::new(Settings::new(ProcessSettings::default()), Incarnation(1));
    let mut out = Vec::new();
    process.step(NOW, process::Input::Connected, &mut out);
    let welcome = ToProcess::Welcome {
        minor: tenure_protocol::MINOR,
        sent: NOW,
        lease_ms: 10_000,
        holds: vec![],
        gone: vec![],
        limits: None,
    };
    process.step(NOW, to(welcome), &mut out);
    process
}

/// `message` of the store, as a process gets it.
#[must_use]
pub fn to(message: ToProcess) -> process::Input {
    process::Input::Message {
        link: LINK,
        message,
    }
}

/// The thread of every call.
pub const THREAD: ThreadId = ThreadId(1);

/// A lock of one attribute.
#[must_use]
pub fn lock(name: &AttributeName) -> Call {
    Call::Lock {
        names: Names::One(name.clone()),
        wait_mode: WaitMode::Wait,
        until: Time(60_000),
        existing: false,
    }
}

/// A write of one attribute.
#[must_use]
pub fn write(name: &AttributeName, value: &Value) -> Call {
    Call::Write {
        name: name.clone(),
        value: Some(value.clone()),
    }
}

/// The unlock of one attribute.
#[must_use]
pub fn unlock(name: &AttributeName) -> Call {
    Call::Unlock(Names::One(name.clone()))
}

/// A process, the `at`th, that holds the first `count` sessions of `store` and has used them once.
#[must_use]
pub fn holding(store: &mut StoreMachine, at: usize, count: usize) -> ProcessMachine {
    let mut rig = Rig {
        store: store.clone(),
        processes: vec![(process(at), connected())],
        to_store: Vec::new(),
        to_process: Vec::new(),
    };
    let name = attribute(0);
    for session in (0..count).map(session) {
        rig.thread(0, &session, &lock(&name));
        rig.thread(0, &session, &unlock(&name));
    }
    *store = rig.store;
    rig.processes.remove(0).1
}

/// A store and processes between which every message arrives at once.
#[derive(Debug)]
pub struct Rig {
    /// The store.
    pub store: StoreMachine,
    /// The processes and their names.
    pub processes: Vec<(ProcessId, ProcessMachine)>,
    /// Outputs of processes; reused.
    pub to_store: Vec<process::Output>,
    /// Outputs of the store; reused.
    pub to_process: Vec<store::Output>,
}

impl Rig {
    /// `count` sessions, and two processes.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            store: store(count),
            processes: (0..2).map(|at| (process(at), connected())).collect(),
            to_store: Vec::new(),
            to_process: Vec::new(),
        }
    }

    /// A thread calls, and everything that follows from it happens. Returns the number of messages sent.
    pub fn thread(&mut self, at: usize, session: &SessionId, call: &Call) -> usize {
        let (name, process) = &mut self.processes[at];
        process.call(NOW, THREAD, session, call, &mut self.to_store);
        let mut waiting = vec![];
        Self::take(&mut self.to_store, name, &mut waiting);
        let mut sent = 0;
        while let Some(input) = waiting.pop() {
            sent += 1;
            self.store.step(NOW, input, &mut self.to_process);
            for output in self.to_process.drain(..) {
                let store::Output::Send {
                    process: to_whom,
                    message,
                    ..
                } = output
                else {
                    continue;
                };
                sent += 1;
                let (name, process) = self
                    .processes
                    .iter_mut()
                    .find(|(name, _)| *name == to_whom)
                    .expect("one of them");
                process.step(NOW, to(message), &mut self.to_store);
                Self::take(&mut self.to_store, name, &mut waiting);
            }
        }
        sent
    }

    fn take(outputs: &mut Vec<process::Output>, name: &ProcessId, into: &mut Vec<store::Input>) {
        for output in outputs.drain(..) {
            if let process::Output::Send { message, .. } = output {
                into.insert(0, from(name, message));
            }
        }
    }
}
