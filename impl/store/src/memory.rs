//! Which sessions are in memory, which only on the disk, and what waits until one is back.

use crate::size;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use tenure_protocol::store::Input;
use tenure_protocol::{ProcessId, SessionId, Time};

/// Sessions that are looked at in one [`Residents::sweep`]: an upper bound on how long the shard is held up.
const LOOK_MAX: usize = 2_000;

/// The sessions in memory, in about the order of their last use.
#[derive(Debug, Default)]
pub(crate) struct Residents {
    resident: HashMap<SessionId, Resident>,
    /// The sessions that may leave, each with the time of its last use when it was put here. A session that was used since
    /// is put behind the others once it comes to the front.
    ring: VecDeque<(Time, SessionId)>,
    /// How many of each hash are on the disk alone: less memory than their ids, and a look-up that says yes wrongly costs
    /// a read, nothing else.
    outside: HashMap<u64, u32>,
    outside_count: usize,
}

/// A session in memory.
#[derive(Clone, Copy, Debug)]
struct Resident {
    touched: Time,
    is_in_ring: bool,
}

impl Residents {
    /// It is used now, and in memory.
    pub(crate) fn touch(&mut self, id: &SessionId, now: Time) {
        let resident = Resident {
            touched: now,
            is_in_ring: true,
        };
        let was_in_ring = match self.resident.get_mut(id) {
            Some(own) => std::mem::replace(own, resident).is_in_ring,
            None => {
                self.resident.insert(id.clone(), resident);
                false
            }
        };
        if !was_in_ring {
            self.ring.push_back((now, id.clone()));
        }
    }

    /// It is on the disk alone from now on.
    pub(crate) fn leave(&mut self, id: &SessionId) {
        self.resident.remove(id);
        *self.outside.entry(id.frozen_hash()).or_default() += 1;
        self.outside_count += 1;
    }

    /// It was on the disk alone, and was read.
    pub(crate) fn come_back(&mut self, id: &SessionId) {
        let hash = id.frozen_hash();
        if let Some(count) = self.outside.get_mut(&hash) {
            *count -= 1;
            self.outside_count -= 1;
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
        self.resident.len()
    }

    /// How many are on the disk alone.
    pub(crate) fn outside(&self) -> usize {
        self.outside_count
    }

    /// Looks at sessions that were last used before `before`, the longest unused first; at some of them only, so it is to be
    /// called again and again. `fate` says what becomes of each. Sessions that were used later are not looked at.
    pub(crate) fn sweep(
        &mut self,
        now: Time,
        before: Time,
        mut fate: impl FnMut(&SessionId) -> Fate,
    ) {
        for _ in 0..LOOK_MAX {
            let Some((_, id)) = self.ring.pop_front_if(|(at, _)| *at < before) else {
                return;
            };
            let Some(resident) = self.resident.get_mut(&id) else {
                continue;
            };
            if resident.touched >= before {
                self.ring.push_back((resident.touched, id));
                continue;
            }
            match fate(&id) {
                Fate::Stays => self.ring.push_back((now, id)),
                Fate::Held => resident.is_in_ring = false,
                Fate::Leaves => self.leave(&id),
                Fate::Ended => drop(self.resident.remove(&id)),
            }
        }
    }
}

/// What becomes of a session in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The session stays in memory, and is looked at again when it has been unused for as long once more.
    Stays,
    /// The session stays in memory until its next use: a process holds it, or waits for it.
    Held,
    /// It has left, and is on the disk.
    Leaves,
    /// It has no record any more.
    Ended,
}

/// Whose inputs wait: a process's stay in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum InputQueue {
    Process(ProcessId),
    Session(SessionId),
    /// What concerns the store as a whole, which never waits.
    Store,
}

impl InputQueue {
    pub(crate) fn of(input: &Input) -> Self {
        use tenure_protocol::store::Timer::{Expire, Lease, Remind, Revoke, Wait};
        match input {
            Input::Message { process, .. }
            | Input::Disconnected { process, .. }
            | Input::Timer(Lease(process)) => Self::Process(process.clone()),
            Input::Timer(Remind(id) | Revoke(id) | Wait(id, _) | Expire(id))
            | Input::Recall(id) => Self::Session(id.clone()),
            Input::Admission(_) => Self::Store,
        }
    }
}

/// Inputs that wait for sessions to be read.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    queues: HashMap<InputQueue, Waiting>,
    /// Who waits for each session that is being read.
    reads: HashMap<SessionId, Vec<InputQueue>>,
    /// What the first input of some queue concerns: it stays in memory until that input is taken.
    pins: HashMap<SessionId, Pin>,
}

/// The inputs of one queue.
#[derive(Debug, Default)]
struct Waiting {
    inputs: VecDeque<Input>,
    bytes: usize,
    /// What the first concerns.
    concerned: Vec<SessionId>,
    /// How many sessions it still waits for.
    missing: usize,
}

#[derive(Debug, Default)]
struct Pin {
    count: usize,
    /// It was read, and has no record.
    is_absent: bool,
}

impl Deferred {
    /// Whether earlier inputs of the same queue wait.
    pub(crate) fn has(&self, queue: &InputQueue) -> bool {
        !self.queues.is_empty() && self.queues.contains_key(queue)
    }

    /// About how many bytes the inputs of a queue take.
    pub(crate) fn bytes(&self, queue: &InputQueue) -> usize {
        self.queues.get(queue).map_or(0, |waiting| waiting.bytes)
    }

    /// Puts an input behind the others of its queue. The first has to [wait](Self::wait), too.
    pub(crate) fn push(&mut self, queue: InputQueue, input: Input) {
        let waiting = self.queues.entry(queue).or_default();
        waiting.bytes += size::of_input(&input);
        waiting.inputs.push_back(input);
    }

    /// The first input of a queue concerns these sessions and waits for those of them that are missing. Answers which are to
    /// be read: nobody has waited for them before.
    pub(crate) fn wait(
        &mut self,
        queue: &InputQueue,
        concerned: Vec<SessionId>,
        missing: &BTreeSet<SessionId>,
    ) -> Vec<SessionId> {
        for id in &concerned {
            self.pins.entry(id.clone()).or_default().count += 1;
        }
        if let Some(waiting) = self.queues.get_mut(queue) {
            waiting.concerned = concerned;
            waiting.missing = missing.len();
        }
        let mut first = Vec::new();
        for id in missing {
            let queues = self.reads.entry(id.clone()).or_default();
            if queues.is_empty() {
                first.push(id.clone());
            }
            queues.push(queue.clone());
        }
        first
    }

    /// A session was read. Answers the lines whose first input waits for nothing more.
    pub(crate) fn loaded(&mut self, id: &SessionId, is_absent: bool) -> Vec<InputQueue> {
        if let Some(pin) = self.pins.get_mut(id) {
            pin.is_absent = is_absent;
        }
        let mut ready = self.reads.remove(id).unwrap_or_default();
        ready.retain(|queue| {
            self.queues.get_mut(queue).is_some_and(|waiting| {
                waiting.missing -= 1;
                waiting.missing == 0
            })
        });
        ready
    }

    /// The next input of a queue, which stays.
    pub(crate) fn front(&self, queue: &InputQueue) -> Option<&Input> {
        self.queues.get(queue)?.inputs.front()
    }

    /// Takes the next input of a queue.
    pub(crate) fn pop(&mut self, queue: &InputQueue) -> Option<Input> {
        let waiting = self.queues.get_mut(queue)?;
        let input = waiting.inputs.pop_front();
        waiting.bytes -= input.as_ref().map_or(0, size::of_input);
        for id in std::mem::take(&mut waiting.concerned) {
            if let Entry::Occupied(mut pin) = self.pins.entry(id) {
                pin.get_mut().count -= 1;
                if pin.get().count == 0 {
                    pin.remove();
                }
            }
        }
        if waiting.inputs.is_empty() {
            self.queues.remove(queue);
        }
        input
    }

    /// Whether a session has to stay in memory for an input that waits.
    pub(crate) fn is_pinned(&self, id: &SessionId) -> bool {
        !self.pins.is_empty() && self.pins.contains_key(id)
    }

    /// Whether a session was read for an input that waits, and had no record.
    pub(crate) fn is_absent(&self, id: &SessionId) -> bool {
        self.pins.get(id).is_some_and(|pin| pin.is_absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_does_not_grow_when_sessions_leave_and_come_back() {
        let mut residents = Residents::default();
        let ids = ["a", "b", "c"].map(SessionId::from_static);
        for round in (1..100).step_by(2) {
            let later = Time(round + 1);
            for id in &ids {
                residents.touch(id, Time(round));
            }
            residents.sweep(later, later, |id| {
                if *id == ids[2] {
                    Fate::Ended
                } else {
                    Fate::Leaves
                }
            });
            assert_eq!((residents.len(), residents.outside()), (0, 2));
            for id in &ids[..2] {
                residents.come_back(id);
                residents.touch(id, later);
            }
            residents.sweep(later, later, |_| unreachable!("none is unused for so long"));
        }
        assert_eq!((residents.len(), residents.ring.len()), (2, 2));
    }

    /// The sessions that a sweep looks at.
    fn looked_at(residents: &mut Residents, now: u64, before: u64, fate: Fate) -> Vec<SessionId> {
        let mut seen = Vec::new();
        residents.sweep(Time(now), Time(before), |id| {
            seen.push(id.clone());
            fate
        });
        seen
    }

    #[test]
    fn a_sweep_looks_at_what_is_unused_for_long_and_at_a_held_session_once() {
        let mut residents = Residents::default();
        let ids: Vec<SessionId> = (0..500)
            .map(|at| SessionId::new(format!("{at:03}")).expect("a short id"))
            .collect();
        for id in &ids {
            residents.touch(id, Time(10));
        }
        let none: [SessionId; 0] = [];
        assert_eq!(looked_at(&mut residents, 20, 10, Fate::Held), none);
        residents.touch(&ids[7], Time(30));
        let seen = looked_at(&mut residents, 40, 20, Fate::Held);
        assert_eq!(seen.len(), 499, "all but the one that was used");
        assert_eq!(looked_at(&mut residents, 41, 20, Fate::Held), none);
        // Held sessions are looked at again after they were used, as when they were given back.
        residents.touch(&ids[3], Time(50));
        assert_eq!(
            looked_at(&mut residents, 60, 55, Fate::Leaves),
            [ids[7].clone(), ids[3].clone()]
        );
        assert_eq!((residents.len(), residents.outside()), (498, 2));
        assert!(residents.ring.is_empty());
    }

    #[test]
    fn an_input_waits_until_all_is_read_and_what_it_concerns_is_pinned_until_it_is_taken() {
        let [a, b, c] = ["a", "b", "c"].map(SessionId::from_static);
        let input = Input::Recall(a.clone());
        let queue = InputQueue::Session(a.clone());
        let mut deferred = Deferred::default();
        deferred.push(queue.clone(), input.clone());
        let missing = BTreeSet::from([a.clone(), b.clone()]);
        let concerned = vec![a.clone(), b.clone(), c.clone(), a.clone()];
        let read = deferred.wait(&queue, concerned, &missing);
        assert_eq!(read.len(), 2);
        assert!(deferred.loaded(&a, true).is_empty());
        assert!(deferred.is_absent(&a) && deferred.is_pinned(&c));
        assert_eq!(deferred.loaded(&b, false), std::slice::from_ref(&queue));
        assert_eq!(deferred.pop(&queue), Some(input));
        assert!(!deferred.is_pinned(&a) && !deferred.is_absent(&a) && !deferred.has(&queue));
        assert_eq!(deferred.bytes(&queue), 0);
    }
}
