//! A process whose threads want a session only if it exists, beyond the situations of the transcripts.

use tenure_protocol::message::{AcquireRequest, Granted, Hello, Refusal, WaitMode};
use tenure_protocol::process::{Answer, Call, Input, Names, Output, Phase};
use tenure_protocol::{
    AttributeName, Incarnation, Link, MINOR, ProcessMachine, ProcessSettings, Request, SessionId,
    Settings, ThreadId, Time, ToProcess, ToStore, Version,
};

const NOW: Time = Time(1_000);

struct Rig {
    process: ProcessMachine,
    link: u64,
}

impl Rig {
    /// Creates a process that a store of this minor version has welcomed.
    fn new(minor: u8) -> Self {
        let settings = Settings::new(ProcessSettings::default());
        let mut rig = Self {
            process: ProcessMachine::new(settings, Incarnation(1)),
            link: 0,
        };
        rig.connect();
        rig.welcome(minor);
        rig
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.process.step(NOW, input, &mut out);
        out
    }

    fn connect(&mut self) -> Vec<ToStore> {
        self.link += 1;
        sent(&self.step(Input::Connected))
    }

    fn hear(&mut self, message: ToProcess) -> Vec<Output> {
        let link = Link {
            incarnation: Incarnation(1),
            number: self.link,
        };
        self.step(Input::Message { link, message })
    }

    fn welcome(&mut self, minor: u8) -> Vec<Output> {
        self.hear(ToProcess::Welcome {
            minor,
            sent: NOW,
            lease_ms: 10_000,
            holds: Vec::new(),
            gone: Vec::new(),
            limits: None,
        })
    }

    fn lock(&mut self, thread: u64, session: &'static str, existing: bool) -> Vec<Output> {
        let call = Call::Lock {
            names: Names::One(AttributeName::from_static("a")),
            wait_mode: WaitMode::Wait,
            existing,
            until: NOW.after(60_000),
        };
        self.step(Input::Thread {
            thread: ThreadId(thread),
            session: id(session),
            call,
        })
    }

    fn absent(&mut self, session: &'static str, request: u64) -> Vec<Output> {
        self.hear(ToProcess::Refused {
            session: id(session),
            request: Request(request),
            why: Refusal::Absent,
        })
    }
}

fn id(session: &'static str) -> SessionId {
    SessionId::from_static(session)
}

fn sent(out: &[Output]) -> Vec<ToStore> {
    let sent = out.iter().filter_map(|output| match output {
        Output::Send { message, .. } => Some(message.clone()),
        _ => None,
    });
    sent.collect()
}

fn told(out: &[Output]) -> Vec<(u64, Answer)> {
    let told = out.iter().filter_map(|output| match output {
        Output::Answer { thread, answer, .. } => Some((thread.0, answer.clone())),
        _ => None,
    });
    told.collect()
}

fn acquire_request(session: &'static str, request: u64, existing: bool) -> AcquireRequest {
    AcquireRequest {
        session: id(session),
        request: Request(request),
        known: None,
        wait_mode: WaitMode::Wait,
        ticket: None,
        existing,
    }
}

fn refused(thread: u64, why: Refusal) -> (u64, Answer) {
    (thread, Answer::Refused(why))
}

#[test]
fn a_store_of_1_0_receives_no_request_for_an_existing_session_and_all_others() {
    let mut rig = Rig::new(0);
    let out = rig.lock(1, "s", true);
    assert_eq!(told(&out), [refused(1, Refusal::Unsupported)]);
    assert_eq!(sent(&out), []);
    assert_eq!(rig.process.known(), 0);
    let out = rig.lock(1, "s", false);
    assert_eq!(
        sent(&out),
        [ToStore::Acquire(acquire_request("s", 1, false))]
    );
    // The request of another thread is under way. This thread joins it, and the grant decides.
    let out = rig.lock(2, "s", true);
    assert_eq!((told(&out), sent(&out)), (Vec::new(), Vec::new()));
}

#[test]
fn an_older_store_that_replaces_a_newer_one_receives_no_such_request() {
    let mut rig = Rig::new(MINOR);
    let out = rig.lock(1, "s", true);
    assert_eq!(
        sent(&out),
        [ToStore::Acquire(acquire_request("s", 1, true))]
    );
    rig.step(Input::Disconnected);
    assert_eq!(rig.process.store_minor(), None);
    let hello = rig.connect();
    assert!(
        matches!(&hello[..], [ToStore::Hello(Hello { waits, minor: MINOR, .. })] if waits.is_empty()),
        "{hello:?}"
    );
    let out = rig.welcome(0);
    assert_eq!(told(&out), [refused(1, Refusal::Unsupported)]);
    assert_eq!(sent(&out), []);
}

#[test]
fn a_thread_that_asks_after_the_request_was_sent_gets_its_own_answer() {
    let mut rig = Rig::new(MINOR);
    rig.lock(1, "s", true);
    // The session may have been created since the process asked the store.
    assert_eq!(sent(&rig.lock(2, "s", true)), []);
    let out = rig.absent("s", 1);
    assert_eq!(told(&out), [refused(1, Refusal::Absent)]);
    assert_eq!(
        sent(&out),
        [ToStore::Acquire(acquire_request("s", 2, true))]
    );
    let out = rig.absent("s", 2);
    assert_eq!(told(&out), [refused(2, Refusal::Absent)]);
    assert_eq!(sent(&out), []);
    assert_eq!(rig.process.known(), 0, "nothing is left of it");
}

#[test]
fn a_grant_of_an_absent_session_admits_no_thread_that_wants_an_existing_one() {
    let mut rig = Rig::new(MINOR);
    rig.lock(1, "s", false);
    rig.lock(2, "s", true);
    let out = rig.hear(ToProcess::Granted(Granted {
        session: id("s"),
        request: Request(1),
        token: tenure_protocol::Token::default(),
        version: Version::NONE,
        state: tenure_protocol::attributes::State::Full(tenure_protocol::Delta::default()),
        recall: None,
        give_back: false,
    }));
    let locked = |out: &[Output]| {
        told(out)
            .iter()
            .map(|(thread, _)| *thread)
            .collect::<Vec<_>>()
    };
    assert_eq!(locked(&out), [1]);
    // The first thread has changed nothing.
    let out = rig.step(Input::Thread {
        thread: ThreadId(1),
        session: id("s"),
        call: Call::Unlock(Names::One(AttributeName::from_static("a"))),
    });
    assert_eq!(told(&out), [refused(2, Refusal::Absent)]);
    let session = rig.process.session(&id("s")).expect("it is kept");
    assert!(matches!(session.phase(), Phase::Held(_)));
}
