//! A second copy of a process, driven as a concurrent driver does: every session that can be detached is detached, and
//! single attributes are handed out. Both come back only for a step that concerns them. The copy must produce the same
//! outputs and have the same state.
//!
//! A write to a handed-out attribute stays there when the attribute is taken in around its user. The write is brought
//! in when the user does something through the session. It must be accepted then, regardless of the steps in between.

use super::words;
use std::collections::BTreeMap;
use tenure_protocol::attributes::Value;
use tenure_protocol::process::{Answer, Call, Concerned, Detached, Handoff, Input, Names, Output};
use tenure_protocol::{AttributeName, Limits, ProcessMachine, SessionId, ThreadId, Time};

/// The copy of a process; see the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Twin {
    process: ProcessMachine,
    limits: Limits,
    detached: BTreeMap<SessionId, Outside>,
    /// The writes to attributes of attached sessions.
    closed: BTreeMap<SessionId, Vec<Closed>>,
}

/// A session outside the process, and its attributes outside the session.
#[derive(Clone, Debug)]
struct Outside {
    detached: Detached,
    attributes: BTreeMap<AttributeName, Attribute>,
    closed: Vec<Closed>,
}

/// The earlier writes of the user of an attribute that was taken in around it.
#[derive(Clone, Debug)]
struct Closed {
    name: AttributeName,
    thread: ThreadId,
    written: Option<Value>,
}

#[derive(Clone, Debug)]
struct Attribute {
    value: Option<Value>,
    is_changed: bool,
    bytes_max: u32,
    used: Time,
    user: Option<ThreadId>,
    written: Option<Option<Value>>,
}

impl Twin {
    pub(crate) fn new(process: ProcessMachine, limits: Limits) -> Self {
        Self {
            process,
            limits,
            detached: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }

    /// Takes the step that `other` has just taken with these outputs.
    pub(crate) fn step(
        &mut self,
        now: Time,
        input: &Input,
        other: &ProcessMachine,
        outputs: &[Output],
    ) {
        let mut out = Vec::new();
        if !self.step_outside(now, input, &mut out) {
            let concerned: Vec<SessionId> = match self.process.concerned(now, input) {
                Concerned::These(ids) => ids.into_iter().cloned().collect(),
                Concerned::All => self.detached.keys().cloned().collect(),
            };
            for id in &concerned {
                self.reattach(id);
            }
            let caller = match input {
                Input::Thread { thread, .. } => Some(*thread),
                _ => None,
            };
            for id in &concerned {
                while let Some(other) = self.process.entangled(caller, id).cloned() {
                    self.reattach(&other);
                }
            }
            if let Input::Thread {
                thread,
                session,
                call,
            } = input
                && brings_in(call)
            {
                self.bring_in(now, session, |own| own == *thread);
            }
            self.process.step(now, input.clone(), &mut out);
        }
        let (own, others) = (in_any_order(&out), in_any_order(outputs));
        assert_eq!(
            own, others,
            "{input:?}, with these detached: {:#?}",
            self.detached
        );
        let mut whole = self.clone();
        for id in self.detached.keys() {
            whole.reattach(id);
        }
        self.forget_lost(&whole.process);
        for id in whole.closed.clone().keys() {
            whole.bring_in(now, id, |_| true);
        }
        assert_eq!(parts(&whole.process), parts(other), "{input:?}");
        self.detach();
    }

    fn detach(&mut self) {
        let ids: Vec<SessionId> = self.process.sessions().map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(detached) = self.process.detach(&id) {
                let outside = Outside {
                    detached,
                    attributes: BTreeMap::new(),
                    closed: self.closed.remove(&id).unwrap_or_default(),
                };
                self.detached.insert(id, outside);
            }
        }
    }

    fn reattach(&mut self, id: &SessionId) {
        if let Some(mut outside) = self.detached.remove(id) {
            outside.take_in(|_| true);
            self.process.reattach(id.clone(), outside.detached);
            self.closed.insert(id.clone(), outside.closed);
        }
    }

    /// Brings in the writes of the threads that `is_meant` accepts, to an attached session.
    fn bring_in(&mut self, now: Time, id: &SessionId, is_meant: impl Fn(ThreadId) -> bool) {
        let closed = self.closed.get_mut(id).into_iter();
        let meant = closed.flat_map(|closed| closed.extract_if(.., |own| is_meant(own.thread)));
        let mut out = Vec::new();
        for Closed {
            name,
            thread,
            written: value,
        } in meant
        {
            let call = Call::Write { name, value };
            self.process.call(now, thread, id, &call, &mut out);
        }
        assert_eq!(out, [], "what was accepted is kept");
    }

    /// Drops the writes of threads that have lost the grant. With `whole`, the process has lost all sessions.
    fn forget_lost(&mut self, whole: &ProcessMachine) {
        for (id, closed) in &mut self.closed {
            let session = whole.session(id);
            closed.retain(|own| session.is_some_and(|session| session.is_inside(own.thread)));
        }
        self.closed.retain(|_, closed| !closed.is_empty());
    }

    /// Does without the process every step that is possible without it.
    fn step_outside(&mut self, now: Time, input: &Input, out: &mut Vec<Output>) -> bool {
        let Input::Thread {
            thread,
            session,
            call,
        } = input
        else {
            return false;
        };
        if self.process.concerned(now, input) == Concerned::All {
            return false; // The lease has ended.
        }
        let Some(outside) = self.detached.get_mut(session) else {
            return false;
        };
        let locked = |token, thread| Output::Answer {
            thread,
            session: session.clone(),
            answer: Answer::Locked(token),
        };
        if let Some(next) = outside.handoff(now, *thread, call) {
            out.push(locked(outside.detached.token(), next));
            return true;
        }
        let is_done = outside.call(now, *thread, call, &self.limits);
        let is_lock = matches!(call, Call::Lock { .. });
        let mut let_in: Vec<ThreadId> = (is_done && is_lock)
            .then_some(*thread)
            .into_iter()
            .collect();
        let_in.extend(core::iter::from_fn(|| outside.detached.admit()));
        let token = outside.detached.token();
        out.extend(let_in.into_iter().map(|thread| locked(token, thread)));
        is_done
    }
}

/// Returns whether a thread that makes this call goes through the session, if its attribute is not handed out.
fn brings_in(call: &Call) -> bool {
    !matches!(call, Call::Lock { .. } | Call::Abandon)
}

/// Returns the outputs with the answers to threads inside in the order of their numbers, because those threads have no
/// particular order.
fn in_any_order(outputs: &[Output]) -> Vec<Output> {
    let poisoned = |output: &Output| match output {
        Output::Answer {
            thread,
            answer: Answer::Poisoned(_),
            ..
        } => Some(*thread),
        _ => None,
    };
    let mut outputs = outputs.to_vec();
    for run in outputs.chunk_by_mut(|one, two| poisoned(one).is_some() && poisoned(two).is_some()) {
        run.sort_by_key(poisoned);
    }
    outputs
}

/// Returns a process as text, with the threads that are or were inside in the order of their numbers.
fn parts(process: &ProcessMachine) -> Vec<(String, String)> {
    let sorted = |words: String| {
        let mut parts: Vec<String> = words.split(", ").map(str::to_owned).collect();
        for part in &mut parts {
            if let Some(inside) = part.strip_prefix("inside ") {
                let mut inside: Vec<&str> = inside.split(' ').collect();
                inside.sort_unstable();
                *part = format!("inside {}", inside.join(" "));
            }
        }
        let is_poisoned = |part: &String| part.contains(" poisoned (");
        for run in parts.chunk_by_mut(|one, two| is_poisoned(one) && is_poisoned(two)) {
            run.sort_unstable();
        }
        parts.join(", ")
    };
    let parts = words::parts_of_process(process).into_iter();
    parts.map(|(name, words)| (name, sorted(words))).collect()
}

impl Outside {
    fn call(&mut self, now: Time, thread: ThreadId, call: &Call, limits: &Limits) -> bool {
        if brings_in(call) {
            self.bring_in(thread, limits);
        }
        match call {
            Call::Lock { existing: true, .. } if !self.detached.exists() => false,
            Call::Lock {
                names: Names::One(name),
                ..
            } if self.hand_out(name, limits) => {
                let attribute = self.attributes.get_mut(name).expect("handed out");
                let is_free = attribute.user.is_none();
                attribute.user = attribute.user.or(Some(thread));
                is_free
            }
            Call::Lock { names, .. } => {
                self.take_in(|name| match names {
                    Names::All => true,
                    Names::One(own) => own == name,
                    Names::Many(own) => own.contains(name),
                });
                self.detached.enter(thread, names)
            }
            Call::Write { name, value } => match self.used_by(thread, name) {
                Some(own) => {
                    let length = value.as_ref().map_or(0, Value::len);
                    let fits = length <= own.bytes_max as usize;
                    if fits {
                        own.written = Some(value.clone());
                    }
                    fits
                }
                None => self.detached.write(thread, name, value.as_ref(), limits) == Ok(true),
            },
            Call::Unlock(names) => self.leave(now, thread, names, true),
            Call::Discard(names) => self.leave(now, thread, names, false),
            Call::Abandon | Call::Commit | Call::Destroy | Call::Rename(_) => false,
        }
    }

    /// Lets a thread leave an attribute that was taken in around it, as planned. Returns the admitted thread.
    fn handoff(&mut self, now: Time, thread: ThreadId, call: &Call) -> Option<ThreadId> {
        let handoff = self.detached.plan()?;
        let Handoff { name, from, to } = &handoff;
        if *from != thread || *call != Call::Unlock(Names::One(name.clone())) {
            return None;
        }
        let is_it = |own: &mut Closed| own.thread == thread && own.name == *name;
        let own = self.closed.extract_if(.., is_it).next();
        let written = own.map(|own| own.written);
        self.detached.settle_handoff(now, &handoff, written);
        Some(*to)
    }

    fn used_by(&mut self, thread: ThreadId, name: &AttributeName) -> Option<&mut Attribute> {
        let attribute = self.attributes.get_mut(name)?;
        (attribute.user == Some(thread)).then_some(attribute)
    }

    fn leave(&mut self, now: Time, thread: ThreadId, names: &Names, keeps: bool) -> bool {
        if let Names::One(name) = names
            && let Some(own) = self.used_by(thread, name)
        {
            if let (Some(written), true) = (own.written.take(), keeps) {
                own.is_changed |= written != own.value;
                own.value = written;
            }
            own.user = None;
            own.used = now;
            return true;
        }
        self.detached.leave(now, thread, names, keeps)
    }

    fn hand_out(&mut self, name: &AttributeName, limits: &Limits) -> bool {
        if self.attributes.contains_key(name) {
            return true;
        }
        let Some(out) = self.detached.hand_out(name, limits) else {
            return false;
        };
        let attribute = Attribute {
            value: out.value,
            is_changed: false,
            bytes_max: out.bytes_max,
            used: Time::ZERO,
            user: None,
            written: None,
        };
        self.attributes.insert(name.clone(), attribute);
        true
    }

    /// Takes attributes in. The writes of their users stay at the attributes.
    fn take_in(&mut self, is_meant: impl Fn(&AttributeName) -> bool) {
        let names: Vec<AttributeName> = self.attributes.keys().cloned().collect();
        for name in names.into_iter().filter(is_meant) {
            let own = self.attributes.remove(&name).expect("handed out");
            let value = (own.value, own.is_changed);
            self.detached.take_in(&name, value, own.used, own.user);
            if let (Some(thread), Some(written)) = (own.user, own.written) {
                self.closed.push(Closed {
                    name,
                    thread,
                    written,
                });
            }
        }
    }

    /// Brings in the writes of `thread` to its handed-out attributes.
    fn bring_in(&mut self, thread: ThreadId, limits: &Limits) {
        for own in self.closed.extract_if(.., |own| own.thread == thread) {
            let written = own.written.as_ref();
            let is_written = self.detached.write(thread, &own.name, written, limits);
            assert_eq!(is_written, Ok(true), "what was accepted is kept");
        }
    }
}
