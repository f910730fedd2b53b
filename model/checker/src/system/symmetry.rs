//! Symmetry reduction: of the states that differ only in the names of like processes, one is explored.
//!
//! Two processes are alike when their threads run the same programs and the same faults affect them. The machines only
//! compare process names, except to choose the victim of a deadlock between sessions. A universe is therefore reduced
//! only if it has one session. It is not reduced if its state has a disk, clocks, or the set of threads that may be
//! refused as absent, because these keep names too.
//!
//! The reduction is sound for safety, since every property treats all processes alike. It is not sound for progress: a
//! cycle of reduced states may be a cycle in which every process is served in turn.

use super::{Model, PROCESSES, PROCESSES_MAX, ProcessSide, StoreSide, System, Wire};
use crate::explore::fingerprint;
use crate::universe::Universe;
use tenure_protocol::{Hook, ProcessId};

/// The new index of each process.
pub(super) type Permutation = [u8; PROCESSES_MAX];

/// Returns every permutation of like processes except the identity; empty where the reduction is not sound.
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
    // Every permutation is a product of exchanges of two.
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

/// A part of a state that contains names of processes.
pub(super) trait Named: Sized {
    /// Returns the same part with other names.
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

/// Returns the rank of a state. The fingerprint itself would not do: the least fingerprints crowd one part of the
/// visited set and slow it down.
fn rank<H: Hook>(state: &System<H>) -> u64 {
    fingerprint(state).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl<H: Hook> Model<H> {
    /// Returns, of all states that are equal up to an exchange of like processes, the one with the least rank.
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

    /// Exchanges processes. The numbers stay canonical, because they are ranked for each process by itself.
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
