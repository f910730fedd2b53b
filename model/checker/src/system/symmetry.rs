//! Symmetry: of the states that differ only in which of several like processes is which, one is explored.
//!
//! Like are processes whose threads run the same programs and which the same faults hit. The machines never ask for a
//! process's name but to compare it, except to choose the victim of a deadlock between sessions; so a universe is reduced
//! only where there is one session. Nor is it where the disk is part of the state, or clocks are, or who may be told that a
//! session is absent: these keep names too.
//!
//! Sound for safety, since every property speaks of all processes alike. Not for progress: a cycle of such states may be
//! one in which everyone is served in turn.

use super::{Model, PROCESSES, PROCESSES_MAX, ProcessSide, StoreSide, System, Wire};
use crate::explore::fingerprint;
use crate::universe::Universe;
use tenure_protocol::{Hook, ProcessId};

/// The index that each process gets.
pub(super) type Permutation = [u8; PROCESSES_MAX];

/// Every way to exchange like processes, less the one that leaves all as they are; empty where none is sound.
pub(super) fn permutations(universe: &Universe) -> Vec<Permutation> {
    let is_sound = universe.sessions == 1
        && !universe.has_disk()
        && universe.clocks.is_none()
        && !universe.asks_existing();
    let count = universe.programs.len();
    let like = |index: usize, other: usize| {
        let faulty = usize::from(universe.faulty);
        universe.programs[index] == universe.programs[other] && (index < faulty) == (other < faulty)
    };
    let identity: Permutation = std::array::from_fn(|index| index as u8);
    let mut found = vec![identity];
    // Any permutation is made of exchanges of two.
    for first in 0..count {
        for second in first + 1..count {
            if is_sound && like(first, second) {
                let exchanged = found.clone().into_iter().map(|mut permutation| {
                    permutation.swap(first, second);
                    permutation
                });
                found.extend(exchanged);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found.retain(|permutation| *permutation != identity);
    found
}

/// A part of a state that knows names of processes.
pub(super) trait Named: Sized {
    /// The same with other names.
    fn renamed(self, permutation: &Permutation) -> Self;
}

impl<H: Hook> Named for StoreSide<H> {
    fn renamed(mut self, permutation: &Permutation) -> Self {
        self.machine.rename_processes(|name: &ProcessId| {
            let index = super::canonical::index(name) as usize;
            PROCESSES[usize::from(permutation[index])].clone()
        });
        self
    }
}

impl<H: Hook> Named for ProcessSide<H> {
    fn renamed(mut self, permutation: &Permutation) -> Self {
        self.index = permutation[usize::from(self.index)];
        self
    }
}

impl Named for Wire {
    fn renamed(mut self, permutation: &Permutation) -> Self {
        self.index = permutation[usize::from(self.index)];
        self
    }
}

/// Not the fingerprint itself: the least of several crowd in one part of the visited set, which makes it slow.
fn rank<H: Hook>(state: &System<H>) -> u64 {
    fingerprint(state).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl<H: Hook> Model<H> {
    /// Of all states that are this one with like processes exchanged, the one whose fingerprint ranks first.
    pub(super) fn representative(&self, state: System<H>) -> System<H> {
        if self.permutations.is_empty() {
            return state;
        }
        let mut least = rank(&state);
        let mut chosen = None;
        for permutation in &self.permutations {
            let other = self.permuted(&state, permutation);
            let rank = rank(&other);
            if rank < least {
                (least, chosen) = (rank, Some(other));
            }
        }
        chosen.unwrap_or(state)
    }

    /// Numbers are canonical before and after: they are ranked for each process by itself.
    fn permuted(&self, state: &System<H>, permutation: &Permutation) -> System<H> {
        let mut next = state.clone();
        next.store = self.memos.stores.renamed(&state.store, permutation);
        for (index, target) in permutation.iter().enumerate() {
            let target = usize::from(*target);
            let process = state.processes[index].as_ref();
            next.processes[target] =
                process.map(|part| self.memos.processes.renamed(part, permutation));
            let wire = state.wires[index].as_ref();
            next.wires[target] = wire.map(|part| self.memos.wires.renamed(part, permutation));
        }
        next
    }
}
