//! The sessions that a step of the store visits: their number depends on the change, not on the size of the store.
//!
//! A hook counts the sessions that a step looks up or passes on a walk. Time is not measured here; the benches measure
//! it.

use std::cell::Cell;
use tenure_protocol::message::{AcquireRequest, Hello, Refusal, Release, WaitMode};
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    Hook, Incarnation, Link, ProcessId, ProcessRules, Records, Request, SessionId, Settings,
    StoreMachine, StoreRules, StoreSettings, Time, ToProcess, ToStore,
};

thread_local! {
    static VISITS: Cell<usize> = const { Cell::new(0) };
}

/// A hook that counts the visits of the machine on this thread. It has a size, so the invariants, which walk over all
/// sessions, are not asserted after each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Counting(u8);

impl StoreRules for Counting {}
impl ProcessRules for Counting {}

impl Hook for Counting {
    fn visits(self) {
        VISITS.set(VISITS.get() + 1);
    }
}

const NOW: Time = Time(1_000);
const GRANTS: [usize; 3] = [1, 100, 10_000];

fn name(process: &str) -> ProcessId {
    ProcessId::new(process.to_owned()).expect("a short name")
}

fn session(at: usize) -> SessionId {
    SessionId::new(format!("{at:08}")).expect("a short id")
}

/// A store, with the connections of its processes.
struct Rig(StoreMachine<Counting>, Link);

impl Rig {
    /// Creates a store in which process `p` holds `grants` sessions and `q` is connected.
    fn holding(grants: usize) -> Self {
        let settings = Settings::new(StoreSettings::default());
        let store = StoreMachine::with_hook(Counting(0), settings, 1, &Records::default(), NOW);
        let incarnation = Incarnation(1);
        let number = 1;
        let mut rig = Self(
            store,
            Link {
                incarnation,
                number,
            },
        );
        for process in ["p", "q"] {
            rig.hello(process);
        }
        for at in 0..grants {
            rig.say("p", acquire(at, WaitMode::Wait));
        }
        assert_eq!(rig.0.held(), grants);
        rig
    }

    fn hello(&mut self, process: &str) {
        let hello = ToStore::Hello(Hello {
            minor: tenure_protocol::MINOR,
            incarnation: Incarnation(1),
            sent: NOW,
            holds: Vec::new(),
            waits: Vec::new(),
        });
        self.say(process, hello);
    }

    /// Takes a step, and returns its outputs and the number of visited sessions.
    fn step(&mut self, input: Input) -> (Vec<Output>, usize) {
        let mut out = Vec::new();
        VISITS.set(0);
        self.0.step(NOW, input, &mut out);
        (out, VISITS.get())
    }

    fn say(&mut self, process: &str, message: ToStore) -> (Vec<Output>, usize) {
        self.step(Input::Message {
            process: name(process),
            link: self.1,
            message,
        })
    }

    fn cut(&mut self, process: &str) -> (Vec<Output>, usize) {
        self.step(Input::Disconnected {
            process: name(process),
            link: self.1,
        })
    }

    /// Returns the number of recalls that a keep-alive of `p` repeats, and the number of visited sessions.
    fn keep_alive(&mut self) -> (usize, usize) {
        let (out, visits) = self.say("p", ToStore::KeepAlive { sent: NOW });
        let [
            Output::Send {
                message: ToProcess::Alive { recalls, .. },
                ..
            },
        ] = &out[..]
        else {
            panic!("a keep-alive is answered with `Alive` alone: {out:?}");
        };
        (recalls.len(), visits)
    }
}

fn acquire(at: usize, wait_mode: WaitMode) -> ToStore {
    ToStore::Acquire(AcquireRequest {
        session: session(at),
        request: Request(at as u64 + 1),
        known: None,
        wait_mode,
        ticket: None,
        existing: false,
    })
}

#[test]
fn a_keep_alive_visits_only_the_recalled_grants() {
    for grants in GRANTS {
        let mut rig = Rig::holding(grants);
        assert_eq!(rig.keep_alive(), (0, 0), "{grants} grants, none recalled");
        let wanted = grants.min(7);
        for at in 0..wanted {
            rig.say("q", acquire(at, WaitMode::Wait));
        }
        assert_eq!(rig.keep_alive(), (wanted, wanted), "{grants} grants");
        for at in 0..wanted {
            let id = session(at);
            let holder = rig
                .0
                .session(&id)
                .and_then(|own| own.record().head.holder.clone());
            let token = holder.expect("p holds it").token;
            let release = ToStore::Release(Release {
                session: id,
                token,
                base: tenure_protocol::Version::NONE,
                delta: tenure_protocol::Delta::default(),
                requeue: None,
                idle_ms: 0,
            });
            rig.say("p", release);
        }
        assert_eq!(rig.keep_alive(), (0, 0), "what was recalled has gone back");
    }
}

#[test]
fn a_cut_connection_visits_only_the_sessions_that_a_try_has_recalled() {
    for grants in GRANTS {
        let mut rig = Rig::holding(grants);
        let (out, visits) = rig.cut("p");
        assert_eq!(
            (out.len(), visits),
            (0, 0),
            "{grants} grants, none recalled"
        );

        let mut rig = Rig::holding(grants);
        rig.say("q", acquire(grants / 2, WaitMode::Try));
        let (out, visits) = rig.cut("p");
        assert_eq!((out.len(), visits), (1, 1), "the try is refused");
    }
}

#[test]
fn a_cut_connection_visits_the_sessions_that_its_process_waits_for() {
    for grants in GRANTS {
        let mut rig = Rig::holding(grants);
        let wanted = grants.min(7);
        for at in 0..wanted {
            rig.say("q", acquire(at, WaitMode::Wait));
        }
        let (out, visits) = rig.cut("q");
        assert_eq!((out.len(), visits), (0, wanted), "{grants} grants");
    }
}

#[test]
fn a_request_visits_only_its_own_session() {
    let visits = GRANTS.map(|grants| {
        let mut rig = Rig::holding(grants);
        let wait = rig.say("q", acquire(0, WaitMode::Wait)).1;
        let grant = rig.say("q", acquire(grants, WaitMode::Wait)).1;
        (wait, grant)
    });
    assert!(visits.iter().all(|own| *own == visits[0]), "{visits:?}");
}

#[test]
fn a_request_for_an_absent_session_costs_one_look_up_and_leaves_nothing() {
    let visits = GRANTS.map(|grants| {
        let mut rig = Rig::holding(grants);
        let resident = rig.0.resident();
        let mut visits = 0;
        for at in grants..grants + 100 {
            let ToStore::Acquire(acquire) = acquire(at, WaitMode::Wait) else {
                unreachable!("an acquire")
            };
            let acquire = AcquireRequest {
                existing: true,
                ..acquire
            };
            let (out, visited) = rig.say("q", ToStore::Acquire(acquire));
            let [
                Output::Send {
                    message: ToProcess::Refused { why, .. },
                    ..
                },
            ] = &out[..]
            else {
                panic!("it is refused, and nothing is made durable: {out:?}");
            };
            assert_eq!(*why, Refusal::Absent);
            visits += visited;
        }
        assert_eq!(rig.0.resident(), resident, "nothing stays in memory");
        visits
    });
    assert!(visits.iter().all(|own| *own == visits[0]), "{visits:?}");
}

#[test]
fn held_and_waiting_are_counted_without_a_walk() {
    let mut rig = Rig::holding(100);
    for at in 0..7 {
        rig.say("q", acquire(at, WaitMode::Wait));
    }
    VISITS.set(0);
    let counts = (rig.0.resident(), rig.0.held(), rig.0.waiting());
    assert_eq!((counts, VISITS.get()), ((100, 100, 7), 0));
}
