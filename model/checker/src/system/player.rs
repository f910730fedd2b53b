//! A step of a process and its application in the model: the threads call the machine, and its answers move the
//! threads.

use super::app::{Do, Thread};
use super::canonical::NEVER;
use super::event::TraceEvent;
use super::watch::{self, Violation};
use super::{ATTRIBUTES, Model, ProcessSide, SESSIONS, VALUES, thread_id};
use tenure_protocol::message::Refusal;
use tenure_protocol::process::{Answer, Call, Connection, Input, Names, Output};
use tenure_protocol::{Hook, Incarnation, Link, ProcessMachine, ToProcess, ToStore, Value};

/// An event at a process and its application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cue {
    /// A thread takes its next step.
    Run(u8),
    /// A waiting thread gives up.
    Abandon(u8),
    /// A message arrives.
    Hear(Link, ToProcess),
    /// The connection is cut.
    Cut,
    /// A new connection exists.
    Connect,
    /// The process crashes.
    Crash,
    /// The process starts again.
    Start,
    /// The process shuts down.
    Shutdown,
    /// The process gives a session back.
    GiveBack(u8),
    /// A timer fires.
    Timer(super::ProcessTimer),
    /// The process's clock moves. All clocks are then put back: the process's by its step, the store's and the
    /// network's by one.
    Tick([u8; super::PROCESSES_MAX]),
}

/// The effects of an event.
#[derive(Clone, Debug, Default)]
pub(super) struct Played {
    pub(super) sent: Vec<(Link, ToStore)>,
    /// The connection that the process closes.
    pub(super) closed: Option<Link>,
    pub(super) violation: Option<Violation>,
    /// The threads that were refused as absent, one bit for each.
    pub(super) told_absent: u8,
}

/// A process with its application; see the [module](self).
pub(super) struct Player<'a, H> {
    model: &'a Model<H>,
    pub(super) side: ProcessSide<H>,
    pub(super) played: Played,
    /// The calls and answers between threads and process, if they are recorded.
    said: Option<Vec<TraceEvent>>,
}

/// Returns the nth value that threads write.
pub(super) fn value(nth: usize) -> Value {
    Value::from_static(VALUES[nth])
}

impl<'a, H: Hook> Player<'a, H> {
    pub(super) fn play(model: &'a Model<H>, side: ProcessSide<H>, cue: Cue) -> Self {
        let mut player = Self {
            model,
            side,
            played: Played::default(),
            said: None,
        };
        player.take(cue);
        player
    }

    /// Returns the calls and answers between threads and process on an event.
    pub(super) fn overhear(model: &'a Model<H>, side: ProcessSide<H>, cue: Cue) -> Vec<TraceEvent> {
        let mut player = Self {
            model,
            side,
            played: Played::default(),
            said: Some(Vec::new()),
        };
        player.take(cue);
        player.said.unwrap_or_default()
    }

    fn take(&mut self, cue: Cue) {
        match cue {
            Cue::Run(thread) => self.run(thread.into()),
            Cue::Abandon(thread) => self.abandon(thread.into()),
            Cue::Hear(link, message) => self.step(Input::Message { link, message }),
            Cue::Cut => self.step(Input::Disconnected),
            Cue::Connect => self.step(Input::Connected),
            Cue::Crash => {
                self.side.machine = None;
                self.side.threads = Default::default();
            }
            Cue::Start => self.start(),
            Cue::Shutdown => self.step(Input::Shutdown),
            Cue::GiveBack(session) => {
                self.step(Input::Release(SESSIONS[usize::from(session)].clone()))
            }
            Cue::Timer(timer) => self.step(Input::Timer(timer.timer())),
            Cue::Tick(clocks) => {
                let side = &mut self.side;
                side.skew = side.skew + clocks[usize::from(side.index)] - 1;
                super::canonical::Numbered::visit(side, &mut super::canonical::Shift::new(clocks));
            }
        }
    }

    fn program(&self, thread: usize) -> &'static [Do] {
        self.model.program(self.side.index.into(), thread)
    }

    fn start(&mut self) {
        let (hook, settings) = (self.model.hook, self.model.process_settings.clone());
        self.side.incarnation += 1;
        self.side.threads = Default::default();
        self.side.machine = Some(ProcessMachine::with_hook(
            hook,
            settings,
            Incarnation(self.side.incarnation),
        ));
    }

    fn step(&mut self, input: Input) {
        let Some(machine) = &mut self.side.machine else {
            return;
        };
        let mut out = Vec::new();
        let process = usize::from(self.side.index);
        if let (
            Some(said),
            Input::Thread {
                thread,
                session,
                call,
            },
        ) = (&mut self.said, &input)
        {
            said.push(TraceEvent::Called {
                process,
                thread: *thread,
                session: session.clone(),
                call: call.clone(),
            });
        }
        let is_watched = !matches!(
            input,
            Input::Thread {
                call: Call::Write { .. },
                ..
            }
        );
        let before = is_watched.then(|| machine.clone());
        let link = match machine.connection() {
            Connection::Greeting(link) | Connection::Up(link) => Some(link),
            Connection::Down => None,
        };
        machine.step(self.model.universe.now().1, input.clone(), &mut out);
        if let Some(before) = before {
            let violation = watch::process_step(&before, machine, &input, &out, &self.side.threads);
            self.played.violation = self.played.violation.or(violation);
        }
        for output in out {
            match output {
                Output::Send { link, message } => self.played.sent.push((link, message)),
                Output::Answer {
                    thread,
                    answer,
                    session,
                } => {
                    if let Some(said) = &mut self.said {
                        said.push(TraceEvent::Answered {
                            process,
                            thread,
                            session,
                            answer: answer.clone(),
                        });
                    }
                    self.answer((thread.0 - 1) as usize, &answer);
                }
                Output::Disconnect { .. } => self.played.closed = link,
            }
        }
    }

    fn answer(&mut self, thread: usize, answer: &Answer) {
        let program = self.program(thread);
        let own = &mut self.side.threads[thread];
        let was_waiting = core::mem::take(&mut own.is_waiting);
        let arrival = core::mem::take(&mut own.arrival);
        let is_write_refused = matches!(answer, Answer::Refused(Refusal::Limit(_))) && !was_waiting;
        if is_write_refused {
            return; // The thread goes on without that write.
        }
        if *answer == Answer::Refused(Refusal::Absent) {
            self.played.told_absent |= 1 << thread;
        }
        match answer {
            Answer::Locked(_) | Answer::Committed(_) | Answer::Renamed(_) | Answer::Destroyed => {
                own.at += 1
            }
            Answer::Refused(_) => own.is_leaving = true,
            Answer::Poisoned(_) => {
                // A wait for a lock elsewhere continues; a commit, destroy or rename has its answer.
                own.is_waiting = was_waiting && program[usize::from(own.at)].locks().is_some();
                own.arrival = if own.is_waiting { arrival } else { 0 };
                own.is_leaving = true;
            }
        }
        own.wrap(program);
        if own.arrival == 0 && arrival > 0 {
            let others = self
                .side
                .threads
                .iter_mut()
                .filter(|other| other.arrival > arrival);
            others.for_each(|other| other.arrival -= 1);
        }
        if !was_waiting && !matches!(answer, Answer::Poisoned(_)) {
            self.played.violation = self.played.violation.or(Some(Violation::EndedTwice));
        }
    }

    /// Takes the next step of a thread's program.
    fn run(&mut self, thread: usize) {
        let own = self.side.threads[thread];
        if own.is_leaving {
            return self.leave(thread);
        }
        let step = self.program(thread)[usize::from(own.at)];
        match step {
            Do::Lock(..) | Do::Try(..) | Do::LockExisting(..) => self.lock(thread, step),
            Do::Write(session, attribute) => {
                self.write(thread, session, attribute);
                self.advance(thread);
            }
            Do::Commit(session) => self.ask(thread, session, Call::Commit),
            Do::Destroy(session) => self.ask(thread, session, Call::Destroy),
            Do::Rename(from, to) => self.ask(
                thread,
                from,
                Call::Rename(SESSIONS[usize::from(to)].clone()),
            ),
            Do::Unlock | Do::WriteAndUnlock(_) | Do::Discard => self.unlock(thread, step),
        }
    }

    fn unlock(&mut self, thread: usize, step: Do) {
        let (program, own) = (self.program(thread), self.side.threads[thread]);
        let place = *own
            .locks(program)
            .last()
            .expect("a program of the table unlocks only after a lock");
        let (session, names) = lock_names(program, place, usize::from(own.at));
        if let Do::WriteAndUnlock(attributes) = step {
            attributes
                .iter()
                .for_each(|attribute| self.write(thread, session, *attribute));
        }
        self.advance(thread);
        let call = if step == Do::Discard {
            Call::Discard(names)
        } else {
            Call::Unlock(names)
        };
        self.call(thread, session, call);
    }

    fn advance(&mut self, thread: usize) {
        let program = self.program(thread);
        let own = &mut self.side.threads[thread];
        own.at += 1;
        own.wrap(program);
    }

    /// Frees the last lock of a refused or poisoned thread.
    fn leave(&mut self, thread: usize) {
        let program = self.program(thread);
        let own = &mut self.side.threads[thread];
        let place = *own
            .locks(program)
            .last()
            .expect("a leaving thread holds a lock, or wrap has ended its leaving");
        let (session, names) = lock_names(program, place, usize::from(own.at));
        own.at = place as u8;
        own.wrap(program);
        self.call(thread, session, Call::Discard(names));
    }

    fn lock(&mut self, thread: usize, step: Do) {
        let (session, attributes, wait_mode) =
            step.locks().expect("run calls this only for lock steps");
        let last = self
            .side
            .threads
            .iter()
            .map(|other| other.arrival)
            .max()
            .unwrap_or(0);
        self.side.threads[thread].arrival = last + 1;
        let until = if self.model.universe.clocks.is_some() {
            NEVER
        } else {
            self.model.universe.now().1
        };
        self.ask(
            thread,
            session,
            Call::Lock {
                names: names_of(attributes),
                wait_mode,
                existing: step.locks_existing().is_some(),
                until,
            },
        );
    }

    /// Makes a call that the process will answer.
    fn ask(&mut self, thread: usize, session: u8, call: Call) {
        self.side.threads[thread].is_waiting = true;
        self.call(thread, session, call);
    }

    fn call(&mut self, thread: usize, session: u8, call: Call) {
        let session = SESSIONS[usize::from(session)].clone();
        self.step(Input::Thread {
            thread: thread_id(thread),
            session,
            call,
        });
    }

    /// Writes the value after the one that the thread reads.
    fn write(&mut self, thread: usize, session: u8, attribute: u8) {
        let (id, name) = (
            &SESSIONS[usize::from(session)],
            &ATTRIBUTES[usize::from(attribute)],
        );
        let machine = self.side.machine.as_ref();
        let read = machine
            .and_then(|machine| machine.session(id)?.value(thread_id(thread), name).cloned());
        let last = read
            .and_then(|read| VALUES.iter().position(|value| **value == read[..]))
            .unwrap_or(0);
        let next = value((last + 1) % usize::from(self.model.universe.values));
        self.call(
            thread,
            session,
            Call::Write {
                name: name.clone(),
                value: Some(next),
            },
        );
    }

    fn abandon(&mut self, thread: usize) {
        let at = usize::from(self.side.threads[thread].at);
        if let Some((session, _, _)) = self.program(thread)[at].locks() {
            self.call(thread, session, Call::Abandon);
        }
    }
}

impl Thread {
    /// Resets the thread when its program is done, or when a leaving thread has no lock left.
    fn wrap(&mut self, program: &[Do]) {
        let is_done = usize::from(self.at) == program.len();
        if is_done || (self.is_leaving && !self.is_waiting && self.locks(program).is_empty()) {
            *self = Self::default();
        }
    }
}

fn names_of(attributes: &[u8]) -> Names {
    let name = |attribute: &u8| ATTRIBUTES[usize::from(*attribute)].clone();
    match attributes {
        [] => Names::All,
        [one] => Names::One(name(one)),
        many => Names::Many(many.iter().map(name).collect()),
    }
}

/// Returns the session and the names of the lock at `place`, for a program at step `at`. The session has its id after
/// renames.
fn lock_names(program: &[Do], place: usize, at: usize) -> (u8, Names) {
    let (mut session, attributes, _) = program[place]
        .locks()
        .expect("Thread::locks returns only places of lock steps");
    for step in &program[place..at] {
        if let Do::Rename(from, to) = step
            && *from == session
        {
            session = *to;
        }
    }
    (session, names_of(attributes))
}
