//! The cost of a step, counted in visited waiters and never in time. A short queue is scanned and counts nothing, so
//! each test also has a queue of thousands. The count must grow only with the number of events.
#![cfg(debug_assertions)] // Where the machines count.

use crate::support::words::attribute;
use tenure_protocol::attributes::State;
use tenure_protocol::message::{Granted, Refusal, WaitMode};
use tenure_protocol::process::{Answer, Call, Input, Names, Output, Timer};
use tenure_protocol::{
    Delta, Incarnation, Link, ProcessMachine, ProcessSettings, SessionId, Settings, Stamp,
    ThreadId, Time, ToProcess, ToStore, Token, Version,
};

/// The most waiters that one call may visit.
const VISITS_MAX: u64 = 16;

fn id(name: &str) -> SessionId {
    SessionId::new(name.to_owned()).expect("a short id")
}

/// A process, and the store's part by hand: each request is granted at once.
struct One {
    process: ProcessMachine,
    now: Time,
    stamps: u64,
    answers: Vec<(ThreadId, Answer)>,
}

impl One {
    fn new() -> Self {
        let mut settings = ProcessSettings::default();
        settings.limits.threads_max = usize::MAX;
        let mut one = Self {
            process: ProcessMachine::new(Settings::new(settings), Incarnation(1)),
            now: Time::ZERO,
            stamps: 0,
            answers: Vec::new(),
        };
        one.input(Input::Connected);
        one.message(ToProcess::Welcome {
            minor: tenure_protocol::MINOR,
            sent: Time::ZERO,
            lease_ms: 1 << 40,
            holds: Vec::new(),
            gone: Vec::new(),
            limits: None,
        });
        one
    }

    fn message(&mut self, message: ToProcess) {
        let link = Link {
            incarnation: Incarnation(1),
            number: 1,
        };
        self.input(Input::Message { link, message });
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.process.step(self.now, input, &mut out);
        self.take(out);
    }

    fn call(&mut self, thread: u64, session: &SessionId, call: Call) {
        let mut out = Vec::new();
        let thread = ThreadId(thread);
        self.process
            .call(self.now, thread, session, &call, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send {
                    message: ToStore::Acquire(acquire),
                    ..
                } => {
                    self.stamps += 1;
                    let stamp = Stamp {
                        epoch: 1,
                        sequence: self.stamps,
                    };
                    self.message(ToProcess::Granted(Granted {
                        session: acquire.session,
                        request: acquire.request,
                        token: Token(stamp),
                        version: Version::NONE,
                        state: State::Full(Delta::default()),
                        recall: None,
                        give_back: false,
                    }));
                }
                Output::Answer { thread, answer, .. } => self.answers.push((thread, answer)),
                _ => {}
            }
        }
    }

    fn lock(&mut self, thread: u64, session: &SessionId, names: &Names) {
        let lock = Call::Lock {
            names: names.clone(),
            wait_mode: WaitMode::Wait,
            until: Time(1_000 + thread),
            existing: false,
        };
        self.call(thread, session, lock);
    }

    fn unlock(&mut self, thread: u64, session: &SessionId, names: &Names) {
        self.call(thread, session, Call::Unlock(names.clone()));
    }

    /// Returns the threads that were admitted since the last call.
    fn let_in(&mut self) -> Vec<u64> {
        let answers = self.answers.drain(..);
        let let_in = answers.filter(|(_, answer)| matches!(answer, Answer::Locked(_)));
        let_in.map(|(thread, _)| thread.0).collect()
    }

    fn visits(&self, session: &SessionId) -> u64 {
        self.process
            .session(session)
            .expect("it is held")
            .lock()
            .visits()
    }
}

fn name(at: u64) -> Names {
    Names::One(attribute(&format!("n{at:05}")))
}

/// Lets a thread hold an attribute while `count` threads ask for it. Every second one gives up, and all others have it
/// in turn. Returns the average number of visited waiters for each call.
fn every_second_gives_up(count: u64) -> u64 {
    let (mut one, s) = (One::new(), id("s"));
    let name = name(0);
    one.lock(1, &s, &name);
    (2..count + 2).for_each(|thread| one.lock(thread, &s, &name));
    for thread in (2..count + 2).step_by(2) {
        one.call(thread, &s, Call::Abandon);
    }
    assert_eq!(one.let_in(), [1]);
    let (mut inside, mut served) = (1, 0);
    loop {
        one.unlock(inside, &s, &name);
        let Some(next) = one.let_in().first().copied() else {
            break;
        };
        assert!(next > inside, "in order of arrival");
        (inside, served) = (next, served + 1);
    }
    assert_eq!(served, count / 2);
    one.visits(&s) / (2 * count)
}

#[test]
fn a_long_queue_costs_each_waiter_a_few_visits() {
    for count in [100, 1_000, 10_000] {
        let each = every_second_gives_up(count);
        assert!(
            each <= VISITS_MAX,
            "{count}: {each} waiters looked at for each call"
        );
    }
}

/// Does the same as [`every_second_gives_up`], but each waiter has locked an attribute of a session of its own, so that
/// the wait of each of them may close a cycle.
#[test]
fn threads_that_hold_elsewhere_wait_for_the_same_as_cheaply() {
    for count in [100, 2_000] {
        let (mut one, s) = (One::new(), id("s"));
        let name = name(0);
        one.lock(1, &s, &name);
        for thread in 2..count + 2 {
            let own = id(&format!("own{thread}"));
            one.lock(thread, &own, &name);
            one.lock(thread, &s, &name);
        }
        assert_eq!(one.let_in().len() as u64, count + 1, "only their own");
        let each = one.visits(&s) / count;
        assert!(
            each <= VISITS_MAX,
            "{count}: {each} waiters looked at for each call"
        );
    }
}

#[test]
fn a_cycle_behind_a_long_queue_is_found_in_a_few_visits() {
    const COUNT: u64 = 5_000;
    let (mut one, s, r) = (One::new(), id("s"), id("r"));
    let name = name(0);
    one.lock(1, &s, &name);
    one.lock(2, &r, &name);
    (10..COUNT).for_each(|thread| one.lock(thread, &s, &name));
    one.lock(2, &s, &name);
    one.answers.clear();
    let before = one.visits(&s);
    one.lock(1, &r, &name);
    let mut cycle = vec![r, s.clone()];
    cycle.sort();
    let refused = Answer::Refused(Refusal::Deadlock { cycle });
    assert_eq!(one.answers, [(ThreadId(1), refused)]);
    let visits = one.visits(&s) - before;
    assert!(visits <= VISITS_MAX, "{visits} waiters looked at");
}

/// One thread holds the whole session, and each of the others waits for an attribute of its own.
#[test]
fn waiters_for_different_attributes_are_admitted_in_a_few_visits_each() {
    for count in [100, 1_000] {
        let (mut one, s) = (One::new(), id("s"));
        one.lock(1, &s, &Names::All);
        // The attributes are named beforehand, in order: a new name moves the later names of its session.
        (2..count + 2).for_each(|thread| one.lock(thread, &s, &name(thread)));
        one.let_in();
        let before = one.visits(&s);
        one.unlock(1, &s, &Names::All);
        assert_eq!(one.let_in(), Vec::from_iter(2..count + 2));
        let each = (one.visits(&s) - before) / count;
        assert!(
            each <= VISITS_MAX,
            "{count}: {each} waiters looked at for each"
        );
    }
}

#[test]
fn a_wait_that_ends_is_found_in_a_few_visits() {
    const COUNT: u64 = 5_000;
    let (mut one, s) = (One::new(), id("s"));
    let name = name(0);
    one.lock(1, &s, &name);
    (2..COUNT).for_each(|thread| one.lock(thread, &s, &name));
    one.answers.clear();
    let before = one.visits(&s);
    for thread in 2..1_002 {
        one.now = Time(1_000 + thread);
        assert_eq!(one.process.next_deadline(), Some(one.now));
        one.input(Input::Timer(Timer::Wait(s.clone(), ThreadId(thread))));
        let refused = (ThreadId(thread), Answer::Refused(Refusal::Deadline));
        assert_eq!(one.answers.pop(), Some(refused));
    }
    let each = (one.visits(&s) - before) / 1_000;
    assert!(each <= VISITS_MAX, "{each} waiters looked at for each end");
}
