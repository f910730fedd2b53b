//! Bookkeeping of the sessions in memory, the sessions only on disk, and the inputs that wait for a session to be
//! loaded.

use crate::size;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use tenure_protocol::store::Input;
use tenure_protocol::{ProcessId, SessionId, Time};

/// The number of sessions that one [`Residents::sweep`] examines, which bounds how long the sweep holds the shard's
/// mutex.
const LOOK_MAX: usize = 2_000;

/// The sessions in memory, in approximate order of their last use.
#[derive(Debug, Default)]
pub(crate) struct Residents {
    resident: HashMap<SessionId, Resident>,
    /// The sessions that may leave memory, each with its last use when it was queued. A session that was used since
    /// then is queued again when it reaches the front.
    ring: VecDeque<(Time, SessionId)>,
    /// The number of sessions that are only on disk, per hash of their id. Hashes take less memory than ids. A false
    /// positive costs one read and nothing else.
    outside: HashMap<u64, u32>,
    outside_count: usize,
}

/// The entry of a session in memory.
#[derive(Clone, Copy, Debug)]
struct Resident {
    touched: Time,
    is_in_ring: bool,
}

impl Residents {
    /// Records that a session is in memory and is used now.
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

    /// Records that a session has left memory and is only on disk.
    pub(crate) fn leave(&mut self, id: &SessionId) {
        self.resident.remove(id);
        *self.outside.entry(id.frozen_hash()).or_default() += 1;
        self.outside_count += 1;
    }

    /// Records that a session which was only on disk has been loaded.
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

    /// Returns whether a session that is not in memory may have a record on disk.
    pub(crate) fn is_outside(&self, id: &SessionId) -> bool {
        !self.outside.is_empty() && self.outside.contains_key(&id.frozen_hash())
    }

    pub(crate) fn len(&self) -> usize {
        self.resident.len()
    }

    /// Returns the number of sessions that are only on disk.
    pub(crate) fn outside(&self) -> usize {
        self.outside_count
    }

    /// Examines sessions whose last use is before `before`, the longest unused first, and treats each as `fate`
    /// returns. One call examines at most [`LOOK_MAX`] entries, so the caller repeats it. Sessions with a later use are
    /// skipped.
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

/// The decision on a session in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The session stays in memory, and is examined again after it has been unused for the same time once more.
    Stays,
    /// The session stays in memory at least until its next use, because a process holds it or waits for it.
    Held,
    /// The session has left memory and is only on disk.
    Leaves,
    /// The session has no record any more.
    Ended,
}

/// The queue to which a deferred input belongs. Inputs of one process, or of one session, stay in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum InputQueue {
    Process(ProcessId),
    Session(SessionId),
    /// Inputs that concern the store as a whole. They are never deferred.
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

/// The deferred inputs: inputs that wait for sessions to be loaded.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    queues: HashMap<InputQueue, Waiting>,
    /// For each session that is being loaded, the queues whose first input waits for it.
    reads: HashMap<SessionId, Vec<InputQueue>>,
    /// The sessions that the first input of some queue concerns. They stay in memory until that input is taken.
    pins: HashMap<SessionId, Pin>,
}

/// The deferred inputs of one queue.
#[derive(Debug, Default)]
struct Waiting {
    inputs: VecDeque<Input>,
    bytes: usize,
    /// The sessions that the first input concerns.
    concerned: Vec<SessionId>,
    /// The number of sessions that the first input still waits for.
    missing: usize,
}

#[derive(Debug, Default)]
struct Pin {
    count: usize,
    /// True if the session was looked up and has no record.
    is_absent: bool,
}

impl Deferred {
    /// Returns whether earlier inputs of the same queue are deferred.
    pub(crate) fn has(&self, queue: &InputQueue) -> bool {
        !self.queues.is_empty() && self.queues.contains_key(queue)
    }

    /// Returns the estimated size of a queue's inputs in bytes.
    pub(crate) fn bytes(&self, queue: &InputQueue) -> usize {
        self.queues.get(queue).map_or(0, |waiting| waiting.bytes)
    }

    /// Appends an input to its queue. If the input is the first of its queue, the caller also calls
    /// [`wait`](Self::wait).
    pub(crate) fn push(&mut self, queue: InputQueue, input: Input) {
        let waiting = self.queues.entry(queue).or_default();
        waiting.bytes += size::of_input(&input);
        waiting.inputs.push_back(input);
    }

    /// Registers the sessions that the first input of a queue concerns, and those among them that are missing from
    /// memory. Returns the sessions to load, without those that are already being loaded for another queue.
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

    /// Records that a session was loaded. Returns the queues whose first input now waits for nothing more.
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

    /// Returns the first input of a queue without removing it.
    pub(crate) fn front(&self, queue: &InputQueue) -> Option<&Input> {
        self.queues.get(queue)?.inputs.front()
    }

    /// Removes and returns the first input of a queue.
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

    /// Returns whether a session must stay in memory for a deferred input.
    pub(crate) fn is_pinned(&self, id: &SessionId) -> bool {
        !self.pins.is_empty() && self.pins.contains_key(id)
    }

    /// Returns whether a session was looked up for a deferred input and has no record.
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
            residents.sweep(later, later, |_| {
                unreachable!("every session in memory was used at the time of this sweep")
            });
        }
        assert_eq!((residents.len(), residents.ring.len()), (2, 2));
    }

    /// Returns the sessions that a sweep examines.
    fn looked_at(residents: &mut Residents, now: u64, before: u64, fate: Fate) -> Vec<SessionId> {
        let mut seen = Vec::new();
        residents.sweep(Time(now), Time(before), |id| {
            seen.push(id.clone());
            fate
        });
        seen
    }

    #[test]
    fn a_sweep_examines_sessions_unused_for_long_and_each_held_session_only_once() {
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
        assert_eq!(
            seen.len(),
            499,
            "every session except the one that was used again"
        );
        assert_eq!(looked_at(&mut residents, 41, 20, Fate::Held), none);
        // A held session is examined again after its next use, for example after its release.
        residents.touch(&ids[3], Time(50));
        assert_eq!(
            looked_at(&mut residents, 60, 55, Fate::Leaves),
            [ids[7].clone(), ids[3].clone()]
        );
        assert_eq!((residents.len(), residents.outside()), (498, 2));
        assert!(residents.ring.is_empty());
    }

    #[test]
    fn a_deferred_input_waits_for_all_missing_sessions_and_pins_them_until_it_is_taken() {
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
