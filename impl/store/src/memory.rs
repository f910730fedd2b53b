//! Which sessions are in memory, which only on the disk, and what waits until one is back.

use std::collections::{HashMap, VecDeque};
use tenure_protocol::store::Input;
use tenure_protocol::{ProcessId, SessionId, Time};

/// Sessions that are looked at in one [`Residents::old`]: an upper bound on how long the shard is held up.
const LOOK_MAX: usize = 2_000;

/// The sessions in memory, in about the order of their last use.
#[derive(Debug, Default)]
pub(crate) struct Residents {
    touched: HashMap<SessionId, Time>,
    ring: VecDeque<SessionId>,
    /// How many of each hash are on the disk alone: less memory than their ids, and a look-up that says yes wrongly costs
    /// a read, nothing else.
    outside: HashMap<u64, u32>,
}

impl Residents {
    /// It is used now, and in memory.
    pub(crate) fn touch(&mut self, id: &SessionId, now: Time) {
        if let Some(touched) = self.touched.get_mut(id) {
            *touched = now;
        } else {
            self.touched.insert(id.clone(), now);
            self.ring.push_back(id.clone());
        }
    }

    /// It is on the disk alone from now on.
    pub(crate) fn leave(&mut self, id: &SessionId) {
        self.touched.remove(id);
        *self.outside.entry(id.frozen_hash()).or_default() += 1;
    }

    /// It was on the disk alone, and was read.
    pub(crate) fn come_back(&mut self, id: &SessionId) {
        let hash = id.frozen_hash();
        if let Some(count) = self.outside.get_mut(&hash) {
            *count -= 1;
            if *count == 0 {
                self.outside.remove(&hash);
            }
        }
    }

    /// Whether a session that is not in memory may have a record.
    pub(crate) fn is_outside(&self, id: &SessionId) -> bool {
        !self.outside.is_empty() && self.outside.contains_key(&id.frozen_hash())
    }

    pub(crate) fn len(&self) -> usize {
        self.touched.len()
    }

    /// How many are on the disk alone.
    pub(crate) fn outside(&self) -> usize {
        self.outside.values().map(|count| *count as usize).sum()
    }

    /// Some that are no longer in memory are forgotten, and some that were not used since `before` are named. To be called
    /// again and again: each call looks at the next ones.
    pub(crate) fn old(
        &mut self,
        before: Time,
        is_resident: impl Fn(&SessionId) -> bool,
    ) -> Vec<SessionId> {
        let mut old = Vec::new();
        for _ in 0..self.ring.len().min(LOOK_MAX) {
            let Some(id) = self.ring.pop_front() else {
                break;
            };
            match self.touched.get(&id) {
                None => {} // It left.
                Some(_) if !is_resident(&id) => drop(self.touched.remove(&id)),
                Some(touched) => {
                    if *touched < before {
                        old.push(id.clone());
                    }
                    self.ring.push_back(id);
                }
            }
        }
        old
    }
}

/// Whose inputs wait: a process's stay in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    Process(ProcessId),
    Session(SessionId),
}

impl Line {
    pub(crate) fn of(input: &Input) -> Self {
        use tenure_protocol::store::Timer::{Expire, Lease, Remind, Revoke, Wait};
        match input {
            Input::Message { process, .. }
            | Input::Disconnected { process, .. }
            | Input::Timer(Lease(process)) => Self::Process(process.clone()),
            Input::Timer(Remind(id) | Revoke(id) | Wait(id, _) | Expire(id))
            | Input::Recall(id) => Self::Session(id.clone()),
        }
    }
}

/// Inputs that wait for sessions to be read.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    lines: HashMap<Line, VecDeque<Input>>,
    /// Who waits for each session that is being read.
    waits: HashMap<SessionId, Vec<Line>>,
}

impl Parked {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether earlier inputs of the same line wait.
    pub(crate) fn has(&self, line: &Line) -> bool {
        self.lines.contains_key(line)
    }

    /// Puts an input behind the others of its line.
    pub(crate) fn push(&mut self, line: Line, input: Input) {
        self.lines.entry(line).or_default().push_back(input);
    }

    /// The next input of a line, which stays.
    pub(crate) fn front(&self, line: &Line) -> Option<&Input> {
        self.lines.get(line)?.front()
    }

    /// Takes the next input of a line.
    pub(crate) fn pop(&mut self, line: &Line) -> Option<Input> {
        let inputs = self.lines.get_mut(line)?;
        let input = inputs.pop_front();
        if inputs.is_empty() {
            self.lines.remove(line);
        }
        input
    }

    /// A line waits for a session. Answers whether it is the first: then the session is to be read.
    pub(crate) fn wait(&mut self, line: Line, id: SessionId) -> bool {
        let lines = self.waits.entry(id).or_default();
        let is_first = lines.is_empty();
        if !lines.contains(&line) {
            lines.push(line);
        }
        is_first
    }

    /// A session is there: who has waited for it.
    pub(crate) fn loaded(&mut self, id: &SessionId) -> Vec<Line> {
        self.waits.remove(id).unwrap_or_default()
    }
}
