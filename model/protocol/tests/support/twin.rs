//! The same process a second time, driven as a concurrent driver does it: every session that can be lent is lent, single
//! attributes are handed out, and both come back only for a step that concerns them. It must say the same, and be the same.

use super::words;
use std::collections::BTreeMap;
use tenure_protocol::attributes::Value;
use tenure_protocol::process::{Answer, Call, Concerned, Input, Lent, Names, Output};
use tenure_protocol::{AttributeName, Limits, Process, SessionId, ThreadId, Time};

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Twin {
    process: Process,
    limits: Limits,
    lent: BTreeMap<SessionId, Outside>,
}

/// A session outside the process, and its attributes outside the session.
#[derive(Clone, Debug)]
struct Outside {
    lent: Lent,
    attributes: BTreeMap<AttributeName, Attribute>,
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
    pub(crate) fn new(process: Process, limits: Limits) -> Self {
        Self {
            process,
            limits,
            lent: BTreeMap::new(),
        }
    }

    /// Takes the step that `other` has just taken with these outputs.
    pub(crate) fn step(&mut self, now: Time, input: &Input, other: &Process, outputs: &[Output]) {
        let mut out = Vec::new();
        if !self.step_outside(now, input, &mut out) {
            let concerned: Vec<SessionId> = match self.process.concerned(now, input) {
                Concerned::These(ids) => ids.into_iter().cloned().collect(),
                Concerned::All => self.lent.keys().cloned().collect(),
            };
            for id in concerned {
                self.take_back(&id);
            }
            self.process.step(now, input.clone(), &mut out);
        }
        let (own, others) = (in_any_order(&out), in_any_order(outputs));
        assert_eq!(own, others, "{input:?}, with these lent: {:#?}", self.lent);
        let mut whole = self.clone();
        for id in self.lent.keys() {
            whole.take_back(id);
        }
        assert_eq!(parts(&whole.process), parts(other), "{input:?}");
        self.lend();
    }

    fn lend(&mut self) {
        let ids: Vec<SessionId> = self.process.sessions().map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(lent) = self.process.lend(&id) {
                let attributes = BTreeMap::new();
                self.lent.insert(id, Outside { lent, attributes });
            }
        }
    }

    fn take_back(&mut self, id: &SessionId) {
        if let Some(mut outside) = self.lent.remove(id) {
            outside.take_in(&self.limits, |_| true);
            self.process.take_back(id.clone(), outside.lent);
        }
    }

    /// Does without the process what can be done without it.
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
        let Some(outside) = self.lent.get_mut(session) else {
            return false;
        };
        let is_done = outside.call(now, *thread, call, &self.limits);
        if is_done && matches!(call, Call::Lock { .. }) {
            let answer = Answer::Locked(outside.lent.token());
            let (thread, session) = (*thread, session.clone());
            out.push(Output::Answer {
                thread,
                session,
                answer,
            });
        }
        is_done
    }
}

/// The outputs; those inside, who stand in no particular order, are told in the order of their numbers.
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

/// A process in words; those who are or were inside in the order of their numbers.
fn parts(process: &Process) -> Vec<(String, String)> {
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
        match call {
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
                self.take_in(limits, |name| match names {
                    Names::All => true,
                    Names::One(own) => own == name,
                    Names::Many(own) => own.contains(name),
                });
                self.lent.enter(thread, names)
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
                None => self.lent.write(thread, name, value.as_ref(), limits) == Ok(true),
            },
            Call::Unlock(names) => self.leave(now, thread, names, true),
            Call::Discard(names) => self.leave(now, thread, names, false),
            Call::Abandon | Call::Commit | Call::Destroy | Call::Rename(_) => false,
        }
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
        self.lent.leave(now, thread, names, keeps)
    }

    fn hand_out(&mut self, name: &AttributeName, limits: &Limits) -> bool {
        if self.attributes.contains_key(name) {
            return true;
        }
        let Some(out) = self.lent.hand_out(name, limits) else {
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

    fn take_in(&mut self, limits: &Limits, is_meant: impl Fn(&AttributeName) -> bool) {
        let names: Vec<AttributeName> = self.attributes.keys().cloned().collect();
        for name in names.into_iter().filter(is_meant) {
            let own = self.attributes.remove(&name).expect("handed out");
            let value = (own.value, own.is_changed);
            self.lent.take_in(&name, value, own.used, own.user);
            if let (Some(thread), Some(written)) = (own.user, own.written) {
                // What it may grow to was kept for it.
                let is_written = self.lent.write(thread, &name, written.as_ref(), limits);
                assert_eq!(is_written, Ok(true));
            }
        }
    }
}
